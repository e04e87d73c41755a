"""Postcode and house number to municipality: CBS's table in a file of its own.

It holds no personal data and changes once a year, so it stays out of the database that is backed up and
compacted every night. An address is one whole number, so that a sorted table is written at its end only.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from gateway.errors import CommandError, StoreError
from gateway.store.places import CHUNK, chunks

#: Above every house number.
_NUMBERS = 100_000
_SCHEMA = (
    "CREATE TABLE address (id INTEGER PRIMARY KEY, municipality INTEGER NOT NULL)",
    "CREATE TABLE municipality (code INTEGER PRIMARY KEY)",
    "CREATE TABLE source (year INTEGER NOT NULL, sha256 TEXT NOT NULL, loaded_at TEXT NOT NULL)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a table came from: its year, the SHA-256 (hex) of its file, and when it was loaded."""

    year: int
    sha256: str
    loaded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A table that is loaded: the codes in it, and how many addresses. The demo's has no source."""

    source: Source | None
    addresses: int
    municipalities: tuple[str, ...]


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Held by whoever makes a new table and puts it in its place.

    Raises:
        CommandError: somebody else is at it.
    """
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError("a table is being loaded at this moment: wait until that is done") from None
        yield
    finally:
        os.close(fd)


def make(path: Path, rows: Iterable[tuple[str, int, str]], source: Source | None = None) -> Loaded:
    """Write a new table beside the one in use; rows are of (postcode, house number, municipality code).

    Of an address that comes twice the last counts. What `rows` raises is raised, and nothing is left.

    Raises:
        StoreError: it can't be written.
    """
    fresh = _beside(path)
    fresh.unlink(missing_ok=True)
    codes: dict[str, int] = {}
    try:
        with closing(sqlite3.connect(fresh, isolation_level=None)) as conn:
            # a table that is not whole is made anew: it needs no journal
            conn.execute("PRAGMA journal_mode=OFF")
            conn.execute("PRAGMA synchronous=OFF")
            for statement in _SCHEMA:
                conn.execute(statement)
            conn.execute("BEGIN")
            conn.executemany("INSERT OR REPLACE INTO address VALUES (?, ?)", _numbered(rows, codes))
            conn.executemany("INSERT INTO municipality VALUES (?)", [(code,) for code in codes.values()])
            if source:
                told = (source.year, source.sha256, source.loaded_at.isoformat())
                conn.execute("INSERT INTO source VALUES (?, ?, ?)", told)
            conn.execute("COMMIT")
            (count,) = conn.execute("SELECT count(*) FROM address").fetchone()
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
    except BaseException as exc:
        fresh.unlink(missing_ok=True)
        if isinstance(exc, sqlite3.Error):
            raise StoreError(f"{fresh}: can't be written ({exc})") from exc
        raise
    return Loaded(source=source, addresses=count, municipalities=tuple(sorted(codes)))


def place(path: Path) -> None:
    """Put the new table in the place of the one in use, in one step."""
    _beside(path).replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path, rows: Iterable[tuple[str, int, str]]) -> Loaded:
    """Make a table that came with the gateway, and put it in its place."""
    loaded = make(path, rows)
    place(path)
    return loaded


def find(path: Path, addresses: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The municipality of each address that the table holds; none when no table was loaded.

    Raises:
        StoreError: the table can't be read.
    """
    wanted = {_number(*address): address for address in addresses}
    found: dict[tuple[str, int], str] = {}
    with _reading(path) as conn:
        if conn is None:
            return found
        for part in chunks(wanted, CHUNK):
            marks = ",".join("?" * len(part))
            rows = conn.execute(f"SELECT id, municipality FROM address WHERE id IN ({marks})", part)  # noqa: S608
            found.update((wanted[number], _code(code)) for number, code in rows)
    return found


def describe(path: Path) -> Loaded | None:
    """What is loaded; None when nothing is.

    Raises:
        StoreError: the table can't be read.
    """
    with _reading(path) as conn:
        if conn is None:
            return None
        (count,) = conn.execute("SELECT count(*) FROM address").fetchone()
        codes = conn.execute("SELECT code FROM municipality ORDER BY code").fetchall()
        told = conn.execute("SELECT year, sha256, loaded_at FROM source").fetchone()
    source = told and Source(year=told[0], sha256=told[1], loaded_at=datetime.fromisoformat(told[2]))
    return Loaded(source=source, addresses=count, municipalities=tuple(_code(code) for (code,) in codes))


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    if not path.exists():
        yield None
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as conn:
            yield conn
    except sqlite3.Error as exc:
        raise StoreError(
            f"{path}: can't be read ({exc}); load it again: gateway reference load FILE"
        ) from exc


def _beside(path: Path) -> Path:
    return path.with_suffix(".new")


def _numbered(rows: Iterable[tuple[str, int, str]], codes: dict[str, int]) -> Iterator[tuple[int, int]]:
    """Addresses and codes as whole numbers; notes the codes."""
    last, first = "", 0
    for postcode, number, municipality in rows:
        if postcode != last:
            last, first = postcode, _number(postcode, 0)
        code = codes.get(municipality)
        if code is None:
            code = codes[municipality] = int(municipality.removeprefix("GM"))
        yield first + number, code


def _number(postcode: str, number: int) -> int:
    """An address as one whole number, in the order of the table: `1011AB` and 99."""
    letters = (ord(postcode[4]) - ord("A")) * 26 + ord(postcode[5]) - ord("A")
    return (int(postcode[:4]) * 676 + letters) * _NUMBERS + number


@cache
def _code(number: int) -> str:
    return f"GM{number:04d}"
