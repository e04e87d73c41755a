"""Compaction: nothing deleted stays in the file or its journal, and nobody fails for it (spec 4, Retention)."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections import namedtuple
from datetime import date
from typing import Any

import pytest

from gateway.retention import figures
from gateway.store import compaction
from gateway.store.compaction import compact
from gateway.store.retention_tables import CompactionRow

#: The class of `conftest.py`.
World = Any

TRACE = b"a-word-that-was-here-and-nowhere-else"


def fill(world: World, count: int = 4000) -> None:
    """A table whose rows were deleted, as in the reference: an index in random order keeps traces."""
    with world.store.write() as conn:
        conn.exec_driver_sql("CREATE TABLE residue (id INTEGER PRIMARY KEY, word BLOB)")
        conn.exec_driver_sql("CREATE INDEX residue_word ON residue (word)")
        for number in range(count):
            word = str(number * 7919 % count).encode() + TRACE
            conn.exec_driver_sql("INSERT INTO residue (word) VALUES (?)", (word,))
    with world.store.write() as conn:
        conn.exec_driver_sql("DELETE FROM residue")


def on_disk(world: World) -> int:
    """How often the trace is in the database's files."""
    folder = world.home / "data"
    return sum(path.read_bytes().count(TRACE) for path in folder.glob("gateway.db*") if path.is_file())


def test_nothing_deleted_stays_and_the_figures_say_so(world: World) -> None:
    """Before it traces are in the WAL; after it in no file, the WAL is empty, and the file is smaller."""
    fill(world)
    assert on_disk(world) > 0
    done = compact(world.store)
    assert done.is_complete
    assert (done.busy, done.wal_bytes, done.reason) == (False, 0, "")
    assert on_disk(world) == 0
    assert done.bytes_after == (world.home / "data" / "gateway.db").stat().st_size
    assert not list((world.home / "data").glob("etilqs*")), "the copy aside has no name"


def test_a_reader_keeps_it_from_being_complete_and_nobody_hangs(world: World) -> None:
    """Another process reads an older state all the time: tried for a while, then told; afterwards it works."""
    fill(world, 100)
    reader = sqlite3.connect(world.store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM residue").fetchone()
    began = time.monotonic()
    done = compact(world.store, checkpoint_wait_s=0.3)
    assert time.monotonic() - began < 20
    assert (done.is_complete, done.busy, done.reason) == (False, True, "readers")
    with world.store.write() as conn:
        conn.exec_driver_sql("INSERT INTO residue (word) VALUES ('still writes')")
    reader.close()
    assert compact(world.store).is_complete


def test_a_reader_that_ends_in_time_does_not_matter(world: World) -> None:
    """It is tried again until the reader has gone."""
    fill(world, 100)
    reader = sqlite3.connect(world.store.path, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM residue").fetchone()
    timer = threading.Timer(0.5, reader.close)
    timer.start()
    assert compact(world.store).is_complete
    timer.join()


def test_a_writer_waits_for_the_window(world: World) -> None:
    """A CLOSE that comes meanwhile is not refused: it waits, and is durable after."""
    with world.store.no_writers(within_s=1) as alone:
        assert alone
        started, ended = threading.Event(), threading.Event()

        def write() -> None:
            started.set()
            with world.store.write() as conn:
                conn.exec_driver_sql("CREATE TABLE late (id INTEGER)")
            ended.set()

        thread = threading.Thread(target=write)
        thread.start()
        started.wait(10)
        assert not ended.wait(0.2)
    thread.join(30)
    assert ended.is_set()


def test_writers_that_do_not_let_go_keep_the_window_shut(world: World) -> None:
    """Waited for a bounded time; then nothing was touched."""
    with world.store.write():
        done = compact(world.store, window_wait_s=0.1)
    assert (done.reason, done.busy) == ("writers", True)


def test_a_disk_without_room_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """VACUUM needs twice the database: with less it is not begun."""
    usage = namedtuple("usage", "total used free")
    size = sum(
        path.stat().st_size for path in (world.home / "data").glob("gateway.db*") if path.suffix != ".db-shm"
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9 * size, 8 * size, 2 * size - 1))
    assert compact(world.store).reason == "disk"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9 * size, 7 * size, 2 * size))
    assert compact(world.store).is_complete


def test_a_certificate_without_compaction_is_incomplete(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are on record, and the certificate says `onvolledig` and why."""
    world.deliver(months=1)
    world.go_to(date(2026, 12, 23))
    reader = sqlite3.connect(world.store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM delivery").fetchone()
    monkeypatch.setattr(figures, "compact", lambda store: compaction.compact(store, checkpoint_wait_s=0.1))
    world.purge()
    reader.close()
    (row,) = world.rows(CompactionRow)
    assert (row["busy"], row["reason"]) == (True, "readers")
    for certificate in world.certificates():
        assert not certificate["is_complete"]
        assert b"Status:       onvolledig" in certificate["as_text"]
        assert "niet geheel gecompacteerd" in certificate["as_text"].decode()
    assert '"result":"readers"' in world.audit("database.compacted")[0]
