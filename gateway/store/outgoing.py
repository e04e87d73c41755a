"""Dispatches as they are made: numbered, stored, visible with the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.dialects import sqlite

from gateway.store.tables import Counter, Dispatch, DispatchContent

_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_COUNTER: Table = Counter.__table__  # type: ignore[attr-defined]
_CONTENT: Table = DispatchContent.__table__  # type: ignore[attr-defined]


def last_number(conn: Connection, name: str) -> int:
    """The last number that was given out under a name; 0 at first."""
    return int(conn.execute(select(_COUNTER.c.value).where(_COUNTER.c.name == name)).scalar() or 0)


def use_number(conn: Connection, name: str, number: int) -> None:
    """`number` is given out."""
    fresh = sqlite.insert(_COUNTER).values(name=name, value=number)
    conn.execute(fresh.on_conflict_do_update(index_elements=[_COUNTER.c.name], set_={"value": number}))


def add(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store dispatches."""
    if rows:
        conn.execute(insert(_DISPATCH), list(rows))


def add_contents(conn: Connection, dispatch_id: str, contents: Mapping[str, int]) -> None:
    """A file tells of signals: how many of each delivery."""
    if contents:
        conn.execute(
            insert(_CONTENT),
            [
                {"dispatch_id": dispatch_id, "delivery_id": delivery_id, "signal_count": count}
                for delivery_id, count in contents.items()
            ],
        )
