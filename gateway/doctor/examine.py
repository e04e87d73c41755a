"""The whole examination, in the order in which a person would look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from gateway.doctor import backup, data, door, folders, host, keys
from gateway.doctor.finding import Finding, fail, ok
from gateway.errors import ConfigError, ConfigErrors, KeyringError, StoreError
from gateway.files.table import Limits
from gateway.running import running
from gateway.settings import Home, Settings, load_settings
from gateway.store.engine import Store
from gateway.vault.keyring import Keyring


def examine(home: Home, now: datetime, backups: Sequence[Path] = ()) -> Iterator[Finding]:
    """Look at everything once and change nothing; findings come as they are made.

    Args:
        home: the home folder, however damaged.
        now: the time of the host.
        backups: folders or archives that are looked through for keys.

    Raises:
        ConfigError: the folder is no home.
    """
    if not home.config.is_dir() and not home.data.is_dir() and not home.keys.is_dir():
        raise ConfigError(f"{home.root.resolve()} is no home of a gateway; make one with: gateway init DIR")
    settings = _settings(home)
    daemon = running(home)
    if isinstance(settings, Settings):
        count = len(settings.partners)
        yield ok("configuration", f"{count:,} partner{'' if count == 1 else 's'}")
    else:
        yield settings
    yield from folders.look(home)
    yield from _keys(home, settings, now, is_running=daemon is not None)
    yield keys.host(home, now)
    yield from _data(home, settings, now)
    limits = settings.limits if isinstance(settings, Settings) else Limits()
    yield from host.look(home, daemon, limits.file_bytes)
    if isinstance(settings, Settings):
        if settings.scanner is not None:
            yield host.scanner(settings.scanner)
        yield door.look(settings, daemon, now)
    for path in backups:
        yield backup.look(path)


def _settings(home: Home) -> Settings | Finding:
    try:
        return load_settings(home.root)
    except ConfigErrors as exc:
        count = len(exc.problems)
        return fail(
            "configuration", f"{count} problem{'' if count == 1 else 's'}", "gateway check, which names each"
        )


def _keys(home: Home, settings: Settings | Finding, now: datetime, *, is_running: bool) -> Iterator[Finding]:
    try:
        provider = settings.root_provider if isinstance(settings, Settings) else None
        keyring = Keyring.open(home.keys, provider)
    except KeyringError as exc:
        yield fail("keyring", str(exc), "nothing can be received, read or destroyed without it")
        return
    yield keys.whole(keyring)
    yield keys.copies(keyring)
    if isinstance(settings, Settings):
        yield keys.ahead(keyring, settings.terms, now, is_running=is_running)


def _data(home: Home, settings: Settings | Finding, now: datetime) -> Iterator[Finding]:
    try:
        store = Store(home.db)
    except StoreError as exc:
        yield fail("database", str(exc), "stop the gateway, and restore data/ from a backup")
        return
    try:
        yield from data.look(home, store, now, settings.mandates if isinstance(settings, Settings) else {})
    finally:
        store.close()
