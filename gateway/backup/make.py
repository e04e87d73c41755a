"""`gateway backup`: the gateway as it is at one moment, while it goes on (spec 4, Retention).

with the lock that intake, publication and purge take:
  log/        as it was signed last
  database    by VACUUM INTO: one snapshot, without what was deleted
then, while all goes on:
  sealed files that the snapshot names; they never change. What the purge let go of meanwhile is left out.
  config/, and keys/ only when asked for
then SHA256SUMS, and the entry `backup.made`, under a checkpoint: so `log/` tells a restored backup from what is newer
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from gateway import __version__
from gateway.audit.log import record
from gateway.backup.sums import About, Progress, Sums
from gateway.errors import CommandError
from gateway.gateway import Gateway
from gateway.store import blobs as known_blobs
from gateway.store.snapshot import blob_count, blobs, snapshot

DATABASE, VAULT, REFERENCE = "data/gateway.db", "data/vault", "data/reference.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup that was made. `purged` sealed files went while it was made, `missing` ones are still needed."""

    folder: Path
    about: About
    purged: int
    missing: tuple[str, ...]
    sha256: str


def make(
    gateway: Gateway, folder: Path, *, with_keys: bool, actor: str, progress: Progress | None = None
) -> Made:
    """Make a backup in a new or empty folder, readable by its owner only.

    Raises:
        CommandError: the folder is not empty, lies in the home, or can't be written.
        AuditError: the audit log was lost.
        StoreError: the database can't be copied.
    """
    home, now = gateway.home, gateway.clock.now()
    gateway.sign()
    _prepare(folder, home.root)
    try:
        sums = Sums(folder)
        with gateway.store.exclusive():
            _copy_tree(sums, folder, home.log, "log")
            (folder / VAULT).mkdir(mode=0o700)
            snapshot(gateway.store, folder / DATABASE)
        sums.keep(DATABASE)
        absent = _copy_blobs(sums, home.vault, folder, progress)
        with gateway.store.read() as conn:
            missing = absent & known_blobs.in_use(conn)
        if home.reference.exists():
            sums.copy(home.reference, REFERENCE)
        _copy_tree(sums, folder, home.config, "config")
        if with_keys:
            _copy_tree(sums, folder, home.keys, "keys")
        about = About(
            version=__version__,
            made_at=now.astimezone(UTC).isoformat(timespec="seconds"),
            files=sums.files + 1,
            blobs=sum(1 for _ in os.scandir(folder / VAULT)),
            bytes=sums.bytes,
            with_keys=with_keys,
            missing=len(missing),
        )
        digest = sums.finish(about)
    except OSError as exc:
        raise CommandError(f"{folder}: {exc.strerror or exc}; what is there is no backup: remove it") from exc
    with gateway.store.write() as conn:
        record(
            conn,
            action="backup.made",
            object_id=f"backup-{digest[:16]}",
            result="incomplete" if missing else "ok",
            origin="cli",
            actor=actor,
            at=gateway.clock.now(),
            node=gateway.node,
            detail={
                "files": about.files,
                "blobs": about.blobs,
                "bytes": about.bytes,
                "keys": "with" if with_keys else "without",
                "missing": about.missing,
                "sha256": digest,
            },
        )
    gateway.sign()
    purged = len(absent) - len(missing)
    return Made(folder=folder, about=about, purged=purged, missing=tuple(sorted(missing)), sha256=digest)


def _prepare(folder: Path, home: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        if any(folder.iterdir()):
            raise CommandError(f"{folder} is not empty: name a new folder, or give --dated for one in it")
        if folder.resolve().is_relative_to(home.resolve()):
            raise CommandError(f"{folder} lies in the home itself: a lost disk would lose both")
        (folder / "data").mkdir(mode=0o700)
    except OSError as exc:
        raise CommandError(f"{folder}: {exc.strerror}") from exc


def _copy_blobs(sums: Sums, vault: Path, folder: Path, progress: Progress | None) -> set[str]:
    """Copy what the snapshot names; the names of those that are not there any more."""
    database, absent = folder / DATABASE, set()
    total = blob_count(database)
    for done, name in enumerate(blobs(database), start=1):
        try:
            sums.copy(vault / name, f"{VAULT}/{name}")
        except FileNotFoundError:
            absent.add(name)
        if progress is not None:
            progress(done, total)
    return absent


def _copy_tree(sums: Sums, folder: Path, source: Path, name: str) -> None:
    (folder / name).mkdir(mode=0o700)
    for below in _files(source):
        path = f"{name}/{below}"
        for parent in reversed(Path(path).parents):
            (folder / parent).mkdir(mode=0o700, exist_ok=True)
        sums.copy(source / below, path)


def _files(folder: Path) -> Iterator[str]:
    """Every file below a folder, but what is being written: not followed out of it."""
    for root, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix()
