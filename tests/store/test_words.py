"""A column of states holds one of its words, whatever code stores it (spec 1, States)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from enum import StrEnum

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable
from sqlmodel import SQLModel

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchState
from gateway.domain.signal import SignalState


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    """A database in memory."""
    conn = sqlite3.connect(":memory:")
    yield conn
    conn.close()


@pytest.mark.parametrize(
    ("table", "states"),
    [("delivery", DeliveryState), ("signal", SignalState), ("dispatch", DispatchState)],
    ids=["delivery", "signal", "dispatch"],
)
def test_one_of_its_words_and_no_other(conn: sqlite3.Connection, table: str, states: type[StrEnum]) -> None:
    """Each word is taken; another, in capitals or empty, is refused by SQLite itself."""
    made = SQLModel.metadata.tables[table]
    conn.execute(str(CreateTable(made).compile(dialect=sqlite.dialect())))
    needed = [column.name for column in made.columns if not column.nullable]
    insert = f"INSERT INTO {table} ({', '.join(needed)}) VALUES ({', '.join('?' * len(needed))})"

    def store(number: int, state: str) -> None:
        conn.execute(insert, [state if name == "state" else number for name in needed])

    for number, state in enumerate(states):
        store(number, state.value)
    for wrong in ("elsewhere", next(iter(states)).upper(), ""):
        with pytest.raises(sqlite3.IntegrityError, match="state_listed"):
            store(len(states), wrong)
