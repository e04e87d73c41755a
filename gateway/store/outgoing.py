"""Dispatches as they are made: numbered, stored, visible with the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import sqlite

from gateway.domain.dispatch import DispatchState
from gateway.domain.partner import Box
from gateway.store.bulk import as_list, insert_rows, listed
from gateway.store.tables import IS_LISTED, Counter, Dispatch, DispatchContent

_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_COUNTER: Table = Counter.__table__  # type: ignore[attr-defined]
_CONTENT: Table = DispatchContent.__table__  # type: ignore[attr-defined]


_LAST = select(_COUNTER.c.name, _COUNTER.c.value).where(listed(_COUNTER.c.name))
_FRESH = sqlite.insert(_COUNTER)
_USE = _FRESH.on_conflict_do_update(index_elements=[_COUNTER.c.name], set_={"value": _FRESH.excluded.value})


def last_numbers(conn: Connection, names: Collection[str]) -> dict[str, int]:
    """The last number that was given out under each name; 0 at first."""
    found = {name: int(value) for name, value in conn.execute(_LAST, {"listed": as_list(names)})}
    return dict.fromkeys(names, 0) | found


def last_number(conn: Connection, name: str) -> int:
    """The last number that was given out under a name; 0 at first."""
    return last_numbers(conn, (name,))[name]


def use_numbers(conn: Connection, numbers: Mapping[str, int]) -> None:
    """Numbers are given out, each under its name."""
    if numbers:
        conn.execute(_USE, [{"name": name, "value": number} for name, number in numbers.items()])


def use_number(conn: Connection, name: str, number: int) -> None:
    """`number` is given out."""
    use_numbers(conn, {name: number})


def add(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store dispatches."""
    insert_rows(conn, _DISPATCH, rows)


def add_contents(conn: Connection, files: Mapping[str, Mapping[str, int]]) -> None:
    """Files, by the ids of their dispatches, tell of signals: how many of each delivery."""
    insert_rows(
        conn,
        _CONTENT,
        [
            {"dispatch_id": dispatch_id, "delivery_id": delivery_id, "signal_count": count}
            for dispatch_id, contents in files.items()
            for delivery_id, count in contents.items()
        ],
    )


def replace(conn: Connection, partner_id: str, box: Box, names: Collection[str]) -> int:
    """Newer files take the place of those that are listed under these names; how many there were.

    Who has one open finishes on it: its sealed bytes go at the next purge (spec 1, States).
    """
    done = conn.execute(
        update(_DISPATCH)
        .where(
            _DISPATCH.c.partner_id == partner_id,
            _DISPATCH.c.box == box,
            _DISPATCH.c.name.in_(names),
            IS_LISTED,
        )
        .values(state=DispatchState.REPLACED)
    )
    return done.rowcount
