"""Changes of many callers in one transaction: a refusal undoes its own only, a broken transaction counts for nobody."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from gateway.errors import StoreError
from gateway.store.engine import Store
from gateway.store.tables import Counter

COUNTER = Counter.__table__


@pytest.fixture
def room():
    """Called for room; how often."""
    return []


@pytest.fixture
def store(tmp_path, room):
    """An empty database."""
    Store.create(tmp_path / "gateway.db").close()
    store = Store(tmp_path / "gateway.db", make_room=lambda: bool(room.append(1)) or True)
    yield store
    store.close()


def add(name):
    """Adds a counter; gives its name."""

    def work(conn):
        conn.execute(insert(COUNTER).values(name=name, value=1))
        return name

    return work


def names(store):
    """The counters that there are."""
    with store.read() as conn:
        return sorted(conn.execute(select(COUNTER.c.name)).scalars())


@contextmanager
def all_at_once(store, works):
    """The works in one transaction: they wait until the writer before them lets go."""
    with ThreadPoolExecutor(len(works) + 1) as threads:
        entered, go_on = threading.Event(), threading.Event()

        def hold(_conn):
            entered.set()
            assert go_on.wait(20)

        first = threads.submit(store.together, hold)
        assert entered.wait(20)
        futures = [threads.submit(store.together, work) for work in works]
        while len(store._changes._waiting) < len(works):
            threading.Event().wait(0.001)
        go_on.set()
        first.result(20)
        yield futures


def count_commits(store, monkeypatch):
    """Transactions of the store from now on."""
    begun, write = [], Store.write

    @contextmanager
    def counted(self, **how):
        begun.append(1)
        with write(self, **how) as conn:
            yield conn

    monkeypatch.setattr(Store, "write", counted)
    return begun


def synchronous(conn):
    """What a commit of this connection waits for: 1 for nothing, 2 for the disk."""
    return conn.exec_driver_sql("PRAGMA synchronous").scalar_one()


def test_one_that_need_not_be_durable_waits_for_no_disk(store):
    """By itself; with one that must, it is on disk too."""

    def tells(conn):
        add("hasty")(conn)
        return synchronous(conn)

    assert store.together(tells, is_durable=False) == 1
    assert store.together(synchronous) == 2
    assert names(store) == ["hasty"]
    entered, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(store.together, lambda _: entered.set() or go_on.wait(20))
        assert entered.wait(20)
        hasty = threads.submit(store.together, synchronous, is_durable=False)
        durable = threads.submit(store.together, synchronous)
        while len(store._changes._waiting) < 2:
            threading.Event().wait(0.001)
        go_on.set()
        assert (first.result(20), hasty.result(20), durable.result(20)) == (True, 2, 2)


def test_one_alone_that_refuses_leaves_nothing(store):
    """Its transaction is its own: what it did before is undone, and the next is as if it never was."""

    def refuses(conn):
        add("half")(conn)
        raise KeyError("refused")

    with pytest.raises(KeyError):
        store.together(refuses)
    with pytest.raises(IntegrityError):
        store.together(lambda conn: [add("twice")(conn), add("twice")(conn)])
    assert store.together(add("next")) == "next"
    assert names(store) == ["next"]


def test_thirty_changes_are_one_transaction(store, monkeypatch):
    """Each gets what its own work returned."""
    begun = count_commits(store, monkeypatch)
    works = [add(f"c{number:02}") for number in range(30)]
    with all_at_once(store, works) as futures:
        assert [each.result(20) for each in futures] == [f"c{number:02}" for number in range(30)]
    assert len(begun) == 2
    assert len(names(store)) == 30


def test_a_refusal_undoes_its_own_change_only(store):
    """Whatever it raises: its caller gets it, and the others are on disk."""

    def refuse(conn):
        add("half")(conn)
        raise KeyError("refused")

    with all_at_once(store, [add("a"), refuse, add("a"), add("b")]) as (first, refused, twice, last):
        with pytest.raises(KeyError, match="refused"):
            refused.result(20)
        outcomes = sorted(type(each.exception(20)) is IntegrityError for each in (first, twice))
        assert (outcomes, last.result(20)) == ([False, True], "b")
    assert names(store) == ["a", "b"]


def test_a_broken_transaction_counts_for_nobody(store):
    """SQLite may have rolled back all of it: also those that went well are told so."""

    def broken(_conn):
        raise OperationalError("", {}, Exception("disk I/O error"))

    with all_at_once(store, [add("a"), broken, add("b")]) as futures:
        for each in futures:
            with pytest.raises(StoreError, match="can't be written"):
                each.result(20)
    assert names(store) == []


def test_a_full_database_is_tried_again_once_there_is_room(store, room):
    """All of the transaction, once, also who came before; a disk that stays full is told."""
    tries = []

    def fails(times, letter):
        def work(conn):
            tries.append(1)
            pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
            most = pages if len(tries) <= times else pages + 1000
            conn.exec_driver_sql(f"PRAGMA max_page_count={most}")
            add(letter * 500_000)(conn)

        return work

    with all_at_once(store, [add("before"), fails(1, "x"), add("after")]) as futures:
        assert [each.result(20) for each in futures] == ["before", None, "after"]
    assert (len(tries), len(room)) == (2, 1)
    assert [name[:6] for name in names(store)] == ["after", "before", "xxxxxx"]
    tries.clear()
    with pytest.raises(StoreError, match="disk is full"):
        store.together(fails(9, "y"))
    assert (len(tries), len(names(store))) == (2, 3)
