"""Connections that are kept: who writes waits its turn, who glances for nobody, and what went wrong stays with nobody."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from gateway.store.engine import Store
from gateway.store.prepared import Prepared, run
from gateway.store.tables import Counter

COUNTER = Counter.__table__
ADD = Prepared(insert(COUNTER), ("name", "value"))
ALL = Prepared(select(COUNTER.c.name).order_by(COUNTER.c.name))


@pytest.fixture
def store(tmp_path):
    """An empty database."""
    store = Store.create(tmp_path / "gateway.db")
    yield store
    store.close()


def add(store, name):
    """A counter, past SQLAlchemy."""
    with store.write() as conn:
        ADD.count(conn, {"name": name, "value": 1})


def names(store):
    """The counters that there are."""
    with store.glance() as conn:
        return [name for (name,) in ALL.rows(conn, {})]


def test_a_writer_waits_for_a_lock_that_is_had_at_once(store):
    """Before it asks SQLite for anything: SQLite would have let it write."""
    fd = os.open(store.path.with_suffix(".window"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_SH)
    with ThreadPoolExecutor(1) as threads:
        writes = threads.submit(add, store, "a")
        with pytest.raises(TimeoutError):
            writes.result(0.3)
        assert names(store) == []
        os.close(fd)
        writes.result(20)
    assert names(store) == ["a"]


def test_what_a_writer_did_past_sqlalchemy_is_undone_with_the_rest(store):
    """And in one transaction with it."""
    with store.write() as conn:
        ADD.count(conn, {"name": "a", "value": 1})
        conn.execute(insert(COUNTER).values(name="b", value=1))
        ADD.count(conn, {"name": "c", "value": 1})
        assert names(store) == []
    assert names(store) == ["a", "b", "c"]

    def fails(conn, *, asks_sqlalchemy):
        ADD.count(conn, {"name": "d", "value": 1})
        if asks_sqlalchemy:
            conn.execute(insert(COUNTER).values(name="e", value=1))
        raise KeyError

    for asks_sqlalchemy in (False, True):
        with pytest.raises(KeyError), store.write() as conn:
            fails(conn, asks_sqlalchemy=asks_sqlalchemy)
    assert names(store) == ["a", "b", "c"]


def test_errors_are_those_of_sqlalchemy_and_quote_no_value(store):
    """Whoever catches them need not know which way a statement went."""
    add(store, "secret")
    with pytest.raises(IntegrityError) as caught:
        add(store, "secret")
    assert "secret" not in str(caught.value)
    add(store, "b")
    assert names(store) == ["b", "secret"]


def test_a_reader_sees_one_state_and_its_connection_is_used_again(store):
    """Also after something went wrong."""
    with store.read() as conn:
        assert ALL.rows(conn, {}) == []
        add(store, "a")
        assert ALL.rows(conn, {}) == []
        with store.read() as other:
            assert other is not conn
            assert ALL.rows(other, {}) == [("a",)]
    with pytest.raises(OperationalError), store.read() as conn:
        run(conn, "SELECT nothing")
    with store.read() as again:
        assert again is conn
        assert ALL.rows(again, {}) == [("a",)]


def test_a_glance_that_would_wait_says_so(store):
    """Another error is its own; and each glance sees what was written last."""
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY | 1 << 8  # SQLITE_BUSY_RECOVERY
    with pytest.raises(BlockingIOError), store.glance():
        raise OperationalError("", None, busy)
    with pytest.raises(OperationalError, match="nothing"), store.glance() as conn:
        run(conn, "SELECT nothing")
    with store.glance() as conn:
        assert conn.execute(select(COUNTER.c.name)).all() == []
    add(store, "a")
    assert names(store) == ["a"]


def test_a_transaction_within_a_transaction_is_refused(store):
    """It would wait for itself for ever; the outer one goes on."""
    with store.write() as conn:
        with pytest.raises(RuntimeError, match="within"), store.write():
            pass
        ADD.count(conn, {"name": "a", "value": 1})
    add(store, "b")
    assert names(store) == ["a", "b"]
