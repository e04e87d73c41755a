"""A copy of the database as it is at one moment, for a backup; and what a copy tells without being opened for use."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from gateway.errors import StoreError
from gateway.store.engine import Store

#: Sealed bytes that a database names; one that is being received has none yet.
_BLOBS = (
    "SELECT blob FROM delivery WHERE blob IS NOT NULL AND raw_gone_at IS NULL AND state != 'receiving' "
    "UNION ALL SELECT blob FROM dispatch WHERE purged_at IS NULL AND blob != ''"
)


def snapshot(store: Store, target: Path) -> None:
    """Write the database to `target`, which must not exist: only what it holds, nothing of what was deleted.

    Readers and writers go on (https://sqlite.org/lang_vacuum.html); the caller makes it durable.
    """
    target.touch(mode=0o600, exist_ok=False)
    try:
        with closing(sqlite3.connect(store.path, isolation_level=None)) as conn:
            conn.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as exc:
        raise StoreError(f"{target}: the database can't be copied ({exc})") from exc


def blobs(path: Path) -> Iterator[str]:
    """The names of the sealed files that a copy needs."""
    with closing(_reading(path)) as conn:
        yield from (name for (name,) in conn.execute(_BLOBS))


def blob_count(path: Path) -> int:
    """How many those are."""
    with closing(_reading(path)) as conn:
        return int(conn.execute(f"SELECT count(*) FROM ({_BLOBS})").fetchone()[0])  # noqa: S608  # a constant


def last_written(path: Path) -> str:
    """When the last audit entry of a database was written, as it is stored: later ones compare as greater.

    Raises:
        StoreError: it can't be read, or is no database of a gateway.
    """
    try:
        with closing(sqlite3.connect(path)) as conn:
            return str(conn.execute("SELECT at FROM audit_entry ORDER BY id DESC LIMIT 1").fetchone()[0])
    except (sqlite3.Error, TypeError) as exc:
        raise StoreError(f"{path}: not a database of this gateway ({exc})") from exc


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?immutable=1", uri=True)
