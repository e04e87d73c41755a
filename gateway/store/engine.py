"""The database: opened once per process, read and written through short transactions.

SQLite in WAL with `synchronous=FULL`: a commit is on disk when `write()` ends. One writer at a time
holds the database, and the next waits for a lock of ours, which is had the moment it is free: SQLite would look
for its own in ever longer pauses. Readers never wait. Short changes that many want at once share one
transaction (`together`): a commit costs the same for one as for thirty.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, get_ident
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from gateway.domain.delivery import TRANSITIONS
from gateway.errors import StoreError
from gateway.store import retention_tables as _retention_tables  # noqa: F401  # its tables are made too
from gateway.store import tables as _tables
from gateway.store.prepared import driver, run
from gateway.together import Together

T = TypeVar("T")

#: How long a transaction waits for what is no writer of ours.
BUSY_TIMEOUT_MS = 30_000

#: Held by the one who writes, or compacts the database.
_WINDOW_LOCK = ".window"
#: How often is looked whether the writers let go, in seconds.
_LOOK_AGAIN_S = 0.002

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    # what is deleted is overwritten with zeros; compaction does the rest (reference: SQLite residue)
    "secure_delete=ON",
    "temp_store=MEMORY",
    # KiB of pages: with SQLite's own 2,000 a batch of an intake is written twice
    "cache_size=-16000",
    "foreign_keys=ON",
    # 8 MiB: a page that many small changes write again goes to the database once
    "wal_autocheckpoint=2000",
    f"busy_timeout={BUSY_TIMEOUT_MS}",
)


@dataclass(slots=True, eq=False)
class _Change(Generic[T]):
    """One caller's part of a shared transaction."""

    work: Callable[[Connection], T]
    is_durable: bool
    result: T | None = None
    error: Exception | None = None


class _Undone(Exception):
    """A change that is alone in its transaction raised."""


class Store:
    """The database of one gateway.

    Args:
        path: the SQLite file; it must exist (`Store.create` makes it).
        make_room: called when the disk is full; True when it made some, so that it is tried once more.

    Raises:
        StoreError: the file is missing or no database of this gateway.
    """

    def __init__(self, path: Path, *, make_room: Callable[[], bool] = lambda: False) -> None:
        if not path.is_file():
            raise StoreError(
                f"{path}: no database here; make a home with: gateway init DIR, or put one back: gateway restore DIR"
            )
        self._path = path
        self._make_room = make_room
        self._changes: Together[_Change[Any]] = Together(self._change_all)
        self._engine = _engine(path)
        self._window = str(path.with_suffix(_WINDOW_LOCK))
        #: held by the thread that writes, and which that is
        self._writing, self._writer_id = Lock(), 0
        #: the connection that writes: kept, and with it what it holds of the database
        self._writes: Connection | None = None
        #: whether its commits wait for the disk
        self._is_durable = True
        #: connections that read, while nobody does
        self._reads: list[Connection] = []
        #: one for glances, and who has it
        self._looking = Lock()
        self._looks: Connection | None = None
        try:
            with self.read() as conn:
                conn.execute(text("SELECT 1 FROM delivery LIMIT 1"))
        except DatabaseError as exc:
            self._engine.dispose()
            raise StoreError(f"{path}: not a database of this gateway ({exc.orig})") from exc

    @classmethod
    def create(cls, path: Path) -> Store:
        """Make an empty database with every table, readable by its owner only."""
        path.touch(mode=0o600, exist_ok=False)
        engine = _engine(path)
        SQLModel.metadata.create_all(engine)
        with engine.begin() as conn:
            conn.exec_driver_sql(_transition_trigger())
        engine.dispose()
        return cls(path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot: what it sees does not change until it ends."""
        try:
            conn = self._reads.pop()
        except IndexError:
            conn = self._engine.connect()
        try:
            run(conn, "BEGIN")
            yield conn
        finally:
            _undo(conn)
            self._reads.append(conn)

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """For one look that an index answers: each statement sees a state of its own, and waits for nobody.

        It may be used where nothing may wait: what it reads are a few pages, which are in memory but at the first time.

        Raises:
            BlockingIOError: the database is being recovered, or another's; `read` waits for that.
        """
        with self._looking:
            conn = self._looks
            if conn is None:
                conn = self._looks = self._engine.connect()
                run(conn, "PRAGMA busy_timeout=0")
            try:
                yield conn
            except OperationalError as exc:
                if getattr(exc.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                raise BlockingIOError from exc
            finally:
                conn.rollback()

    @contextmanager
    def write(self, *, is_durable: bool = True) -> Iterator[Connection]:
        """A transaction that is on disk when the block ends, and never was when it raises.

        One that is not `is_durable` outlives this process, and is on disk with the next that is: a power cut may
        undo it, whole, and with it nothing that came before.

        It waits while the database is being compacted, however long that takes. When the disk is full it
        fails, and makes room for the next try.
        """
        try:
            with self._writer(is_durable=is_durable) as conn, _transaction(conn):
                yield conn
        except DatabaseError as exc:
            if _is_full(exc):
                self._make_room()
            raise

    def together(self, work: Callable[[Connection], T], *, is_durable: bool = True) -> T:
        """Do `work` in a transaction that is shared with those who wait at the same time.

        Args:
            work: a short change; it may be called twice, and the first time comes to nothing then.
            is_durable: whether it must be on disk, as in `write`; one that must takes the others along.

        Returns:
            What `work` returned, when it is on disk. What `work` raises undoes its own changes and nobody else's.

        Raises:
            StoreError: the database can't be written: nothing of the shared transaction was.
        """
        change = _Change(work, is_durable)
        self._changes.add(change)
        if change.error is not None:
            raise change.error
        return change.result  # type: ignore[return-value]  # set when there is no error

    @contextmanager
    def no_writers(self, *, within_s: float) -> Iterator[bool]:
        """Keep every writer waiting, in whatever process; False: within so many seconds they did not let go."""
        fd = self._open_lock(_WINDOW_LOCK)
        try:
            yield _locked(fd, within_s)
        finally:
            os.close(fd)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Held by intake, publication and purge, one at a time, in whatever process (spec 1, States).

        A file lock: it goes with its process, however that ends.
        """
        fd = self._open_lock(".lock")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def carrying_out(self) -> Iterator[None]:
        """Held by who does what two people approved, so that nothing is done twice; before `exclusive`, never in it."""
        fd = self._open_lock(".approved")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._path

    def quick_check(self) -> list[str]:
        """What SQLite finds damaged in the file; empty when it is whole. Reads all of it."""
        with self.read() as conn:
            found = conn.exec_driver_sql("PRAGMA quick_check(10)").scalars().all()
        return [each for each in found if each != "ok"]

    def close(self) -> None:
        """Let go of every connection."""
        for conn in (self._writes, self._looks, *self._reads):
            if conn is not None:
                conn.close()
        self._writes = self._looks = None
        self._reads.clear()
        self._engine.dispose()

    def _change_all(self, changes: list[_Change[Any]]) -> None:
        try:
            try:
                self._change_once(changes)
            except DatabaseError as exc:
                # `write` has made room by now, if there was any to make
                if not _is_full(exc):
                    raise
                self._change_once(changes)
        except DatabaseError as exc:
            raise StoreError(f"the database can't be written ({exc.orig})") from exc
        except OSError as exc:
            raise StoreError(f"the database can't be written ({exc.strerror or exc})") from exc

    def _change_once(self, changes: list[_Change[Any]]) -> None:
        if len(changes) == 1:
            self._change_alone(changes[0])
            return
        with self.write(is_durable=any(change.is_durable for change in changes)) as conn:
            for change in changes:
                change.result = change.error = None
                run(conn, "SAVEPOINT change")
                try:
                    change.result = change.work(conn)
                except Exception as exc:
                    if isinstance(exc, DatabaseError) and not isinstance(exc, IntegrityError):
                        # SQLite may have rolled back the whole transaction: none of it may count as done
                        raise
                    change.error = exc
                    run(conn, "ROLLBACK TO change")
                run(conn, "RELEASE change")

    def _change_alone(self, change: _Change[Any]) -> None:
        """Without a savepoint: what it raises undoes the transaction, which is its own."""
        change.result = change.error = None
        with suppress(_Undone), self.write(is_durable=change.is_durable) as conn:
            try:
                change.result = change.work(conn)
            except Exception as exc:
                if isinstance(exc, DatabaseError) and not isinstance(exc, IntegrityError):
                    raise
                change.error = exc
                raise _Undone from exc

    @contextmanager
    def _writer(self, *, is_durable: bool) -> Iterator[Connection]:
        if self._writer_id == get_ident():
            raise RuntimeError("a transaction within a transaction would wait for itself")
        with self._writing:
            fd = _opened_lock(self._window)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._writer_id = get_ident()
                yield self._connection(is_durable=is_durable)
            finally:
                self._writer_id = 0
                os.close(fd)

    def _connection(self, *, is_durable: bool) -> Connection:
        conn = self._writes
        if conn is None:
            conn = self._writes = self._engine.connect()
            self._is_durable = True
        if is_durable is not self._is_durable:
            run(conn, f"PRAGMA synchronous={'FULL' if is_durable else 'NORMAL'}")
            self._is_durable = is_durable
        return conn

    def _open_lock(self, suffix: str) -> int:
        return _opened_lock(str(self._path.with_suffix(suffix)))


@contextmanager
def _transaction(conn: Connection) -> Iterator[None]:
    """One that writes. Statements may go through SQLAlchemy, or past it (`prepared.py`)."""
    run(conn, "BEGIN IMMEDIATE")
    try:
        yield
        conn.commit()
        if driver(conn).in_transaction:  # SQLAlchemy was not asked for anything
            run(conn, "COMMIT")
    except BaseException:
        _undo(conn)
        raise


def _undo(conn: Connection) -> None:
    conn.rollback()
    if driver(conn).in_transaction:  # as above
        run(conn, "ROLLBACK")


def _opened_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(f"the database can't be written ({exc.strerror})") from exc


def _locked(fd: int, within_s: float) -> bool:
    """Whether the lock was had within the time: short transactions come and go, and none may wait for us long."""
    last = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= last:
                return False
            time.sleep(_LOOK_AGAIN_S)
        else:
            return True


def _is_full(exc: DatabaseError) -> bool:
    """Whether the disk has no room; the transaction is rolled back for sure then (https://sqlite.org/rescode.html)."""
    code = getattr(exc.orig, "sqlite_errorcode", 0)
    return code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
        hide_parameters=True,  # the text of an error quotes no row
        poolclass=NullPool,  # the store keeps those that it uses
    )

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None  # BEGIN is ours
        for pragma in _PRAGMAS:
            dbapi.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(conn: Connection) -> None:
        # a transaction that writes has begun before SQLAlchemy knows of it
        if not driver(conn).in_transaction:
            run(conn, "BEGIN")

    return engine


def _transition_trigger() -> str:
    """The table of transitions once more, where no code can pass it by."""
    pairs = ", ".join(
        f"'{before}>{after}'" for before, afters in TRANSITIONS.items() for after in sorted(afters)
    )
    return (
        f"CREATE TRIGGER delivery_transition BEFORE UPDATE OF state ON {_tables.Delivery.__tablename__} "
        f"WHEN OLD.state || '>' || NEW.state NOT IN ({pairs}) "
        "BEGIN SELECT RAISE(ABORT, 'not a transition of a delivery'); END"
    )
