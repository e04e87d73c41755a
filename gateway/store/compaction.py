"""Compaction: what was deleted leaves the database file and its journal (spec 4, Retention: compact).

`secure_delete=ON` leaves a trace now and then in the free part of a page, and deleted rows stay in the WAL until
it is emptied. VACUUM writes every page anew, and a TRUNCATE checkpoint empties the WAL: it needs a moment in
which nobody reads an older state, so it is tried for a bounded time and then reported as not done.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

from gateway.domain.certificate import CompactionFigures
from gateway.store.engine import Store

#: VACUUM writes the database once aside and once into the WAL.
TIMES_SPACE = 2
#: How long writers may keep us waiting before the window, in seconds.
WINDOW_WAIT_S = 30.0
#: How long readers may keep the WAL from being emptied, in seconds, and how long each try lasts: between
#: tries the writers get their turn.
CHECKPOINT_WAIT_S = 60.0
_TRY_S = 1.0


def compact(
    store: Store, *, window_wait_s: float = WINDOW_WAIT_S, checkpoint_wait_s: float = CHECKPOINT_WAIT_S
) -> CompactionFigures:
    """Compact the database in one window in which writers wait, and nobody fails for it.

    Args:
        store: the database; the caller holds its exclusive lock.
        window_wait_s: how long to wait for the writers to let go.
        checkpoint_wait_s: how long to try to empty the WAL while others read.

    Returns:
        What was done, in bytes of the file and its WAL; its `seconds` are how long writers waited, its `reason` the code of what stood in the
        way: `disk`, `writers`, `readers` or `database`.
    """
    path = store.path
    before = path.stat().st_size + _wal_bytes(path)
    if shutil.disk_usage(path.parent).free < TIMES_SPACE * before:
        return _outcome(path, before, 0, reason="disk")
    conn = sqlite3.connect(path, isolation_level=None)
    try:
        conn.execute("PRAGMA secure_delete=ON")
        conn.execute("PRAGMA synchronous=FULL")
        # the copy aside may be a gigabyte: not in memory, and on the disk whose space was looked at. Its file
        # has no name from the start, and holds only what stays.
        conn.execute("PRAGMA temp_store=FILE")
        conn.execute(f"PRAGMA temp_store_directory='{str(path.parent).replace(chr(39), chr(39) * 2)}'")
        conn.execute(f"PRAGMA busy_timeout={int(_TRY_S * 1000)}")
        return _in_window(store, conn, before, window_wait_s, checkpoint_wait_s)
    finally:
        conn.close()


def _in_window(
    store: Store, conn: sqlite3.Connection, before: int, window_wait_s: float, checkpoint_wait_s: float
) -> CompactionFigures:
    with store.no_writers(within_s=window_wait_s) as alone:
        if not alone:
            return _outcome(store.path, before, 0, busy=True, reason="writers")
        began = time.monotonic()
        try:
            conn.execute("VACUUM")
            busy = _checkpoint(conn)
        except sqlite3.Error:
            return _outcome(store.path, before, time.monotonic() - began, reason="database")
        seconds = time.monotonic() - began
        if not busy:
            return _outcome(store.path, before, seconds)
    last = time.monotonic() + checkpoint_wait_s
    while time.monotonic() < last:
        with store.no_writers(within_s=_TRY_S) as alone:
            began = time.monotonic()
            if alone and not _checkpoint(conn):
                return _outcome(store.path, before, seconds + time.monotonic() - began)
            seconds += time.monotonic() - began
        time.sleep(_TRY_S / 10)
    return _outcome(store.path, before, seconds, busy=True, reason="readers")


def _checkpoint(conn: sqlite3.Connection) -> bool:
    """Empty the WAL; True when somebody was in the way."""
    busy, _, _ = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return bool(busy)


def _outcome(
    path: Path, before: int, seconds: float, *, busy: bool = False, reason: str = ""
) -> CompactionFigures:
    return CompactionFigures(
        bytes_before=before,
        bytes_after=path.stat().st_size,
        wal_bytes=_wal_bytes(path),
        seconds=round(seconds, 3),
        busy=busy,
        reason=reason,
    )


def _wal_bytes(path: Path) -> int:
    wal = path.with_name(f"{path.name}-wal")
    return wal.stat().st_size if wal.exists() else 0
