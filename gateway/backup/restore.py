"""`gateway restore`: a backup in the place of `data/`, whole or not at all; `keys/` and `log/` of the host stay.

It is put beside first, below `data/restoring/`, and compared with its list while it is copied. The database comes
last: while it is not there nothing starts, and the same command begins again. A mark, `data/restored`, says that what
`gateway.backup.replay` does is still to be done.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from gateway.audit.mark import set_mark
from gateway.backup.make import DATABASE, REFERENCE, VAULT
from gateway.backup.sums import About, Progress, about, listed, verify
from gateway.errors import CommandError, StoreError
from gateway.running import only_one
from gateway.settings import Home
from gateway.store.snapshot import last_written
from gateway.vault.durable import sync_folder, write_all

_ASIDE = "restoring"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """A backup that lies in its place. `with_config`: the home had no configuration, and has that of the backup."""

    about: About
    with_config: bool


def put_back(home: Home, folder: Path, *, replace: bool, progress: Progress | None = None) -> PutBack:
    """Put a backup in the place of `data/`; its configuration only where the home has none.

    Raises:
        CommandError: the backup is not whole, or the home has newer data and `replace` was not asked for.
        ConfigError: a gateway runs on the home.
    """
    if problems := verify(folder, progress):
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise CommandError(f"{folder} is not whole: {problems[0]}{more}; nothing was changed")
    try:
        home.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with only_one(home):
            if not replace and (reason := _newer(home, folder)):
                raise CommandError(f"{reason}; to lose that: gateway restore --replace {folder}")
            with_config = not home.gateway_file.exists()
            _lay_aside(home, folder, with_config=with_config)
            _swap(home, with_config=with_config)
    except OSError as exc:
        raise CommandError(
            f"{exc.filename or home.data}: {exc.strerror}; mend it, and run this again"
        ) from exc
    return PutBack(about=about(folder), with_config=with_config)


def _newer(home: Home, folder: Path) -> str:
    """What the home has that the backup has not; empty when it has nothing newer."""
    if not home.db.exists():
        return ""
    try:
        ours, theirs = last_written(home.db), last_written(folder / DATABASE)
    except StoreError:
        return f"{home.db} can't be read, and may be newer than the backup"
    return f"{home.db} is newer than the backup" if ours > theirs else ""


def _lay_aside(home: Home, folder: Path, *, with_config: bool) -> None:
    """Copy what is to be put back, compared once more on its way, and make it durable."""
    aside = home.data / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    (aside / "data").mkdir(mode=0o700)
    (aside / VAULT).mkdir(mode=0o700)
    for digest, name in listed(folder):
        is_config = name.startswith("config/")
        if name.startswith("data/") or (is_config and with_config):
            target = aside / name
            for parent in reversed(Path(name).parents):
                (aside / parent).mkdir(mode=0o700, exist_ok=True)
            if _copy(folder / name, target) != digest:
                raise CommandError(f"{folder / name} was altered meanwhile; nothing was changed")
    for path, _, _ in os.walk(aside):
        sync_folder(Path(path))


def _copy(source: Path, target: Path) -> str:
    digest = sha256()
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                write_all(fd, chunk)
        os.fsync(fd)
    finally:
        os.close(fd)
    return digest.hexdigest()


def _swap(home: Home, *, with_config: bool) -> None:
    """The old database goes first, the new one comes last: in between nothing starts."""
    aside = home.data / _ASIDE
    for suffix in ("", "-wal", "-shm"):
        home.db.with_name(home.db.name + suffix).unlink(missing_ok=True)
    sync_folder(home.data)
    if home.vault.exists():
        shutil.rmtree(home.vault)
    (aside / VAULT).rename(home.vault)
    if (aside / REFERENCE).exists():
        (aside / REFERENCE).replace(home.reference)
    if with_config:
        shutil.copytree(aside / "config", home.config, dirs_exist_ok=True)
        for path, _, names in os.walk(home.config):
            for name in names:
                with Path(path, name).open("rb") as file:
                    os.fsync(file.fileno())
            sync_folder(Path(path))
    set_mark(home.data)
    (aside / DATABASE).rename(home.db)
    sync_folder(home.data)
    shutil.rmtree(aside)
