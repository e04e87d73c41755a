"""Whom municipalities list, sealed: excluded residents and known ones (spec 3, Exclusions; spec 4, Rows and index)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from gateway.domain.delivery import DeliveryState, Kind
from gateway.store.bulk import as_list, listed
from gateway.store.places import CHUNK, chunks
from gateway.store.tables import Delivery, ExclusionRow

_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A listed resident as stored; `until` is inclusive."""

    id: int
    delivery_id: str
    data_key_id: int
    line: int
    partner_id: str
    municipality: str
    until: date
    sealed: bytes


_LISTED = [_EXCLUSION.c[name] for name in Listed.__slots__]


_IN_FORCE = (
    select(*_LISTED)
    .where(
        listed(_EXCLUSION.c.municipality),
        _EXCLUSION.c.kind == bindparam("of_kind"),
        _EXCLUSION.c.in_force,
        _EXCLUSION.c.due_on >= bindparam("today", type_=_EXCLUSION.c.due_on.type),
    )
    .order_by(_EXCLUSION.c.id)
)


def in_force(conn: Connection, kind: Kind, municipalities: Collection[str], today: date) -> Iterator[Listed]:
    """Whom these municipalities list, oldest first; what is overdue `today` takes part in nothing."""
    values = {"listed": as_list(municipalities), "of_kind": kind, "today": today}
    for row in conn.execute(_IN_FORCE, values).mappings():
        yield Listed(**row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A listed resident as long as the row is there: also one that was replaced or ended, or is overdue."""

    id: int
    delivery_id: str
    data_key_id: int
    line: int
    kind: str
    partner_id: str
    municipality: str
    in_force: bool
    until: date
    due_on: date
    sealed: bytes
    received_at: datetime


def held(conn: Connection, municipalities: Collection[str]) -> list[Held]:
    """Everybody whom these municipalities list, oldest first; not what a delivery stages."""
    columns = [_EXCLUSION.c[name] for name in Held.__slots__ if name != "received_at"]
    query = (
        select(*columns, _DELIVERY.c.received_at)
        .join(_DELIVERY, _DELIVERY.c.id == _EXCLUSION.c.delivery_id)
        .where(
            _EXCLUSION.c.municipality.in_(municipalities),
            _DELIVERY.c.state.in_((DeliveryState.PROCESSED, DeliveryState.PURGING)),
        )
    )
    return [Held(**row) for row in conn.execute(query.order_by(_EXCLUSION.c.id)).mappings()]


def at(conn: Connection, places: Iterable[tuple[str, int]]) -> list[Held]:
    """Listed residents by delivery and line."""
    columns = [_EXCLUSION.c[name] for name in Held.__slots__ if name != "received_at"]
    query = select(*columns, _DELIVERY.c.received_at).join(
        _DELIVERY, _DELIVERY.c.id == _EXCLUSION.c.delivery_id
    )
    return [
        Held(**row)
        for delivery_id, line in places
        for row in conn.execute(
            query.where(_EXCLUSION.c.delivery_id == delivery_id, _EXCLUSION.c.line == line)
        ).mappings()
    ]


def end(conn: Connection, ids: Collection[int], last: date) -> None:
    """A request ended these rows: they are overdue from now on, and take part in nothing."""
    for chunk in chunks(ids, CHUNK):
        conn.execute(update(_EXCLUSION).where(_EXCLUSION.c.id.in_(chunk)).values(due_on=last, is_erased=True))


def next_id(conn: Connection) -> int:
    """The id of the next row; for the holder of `Store.exclusive()` only."""
    return int(conn.execute(select(func.coalesce(func.max(_EXCLUSION.c.id), 0))).scalar_one()) + 1


def stage(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that nobody sees yet."""
    if rows:
        conn.execute(insert(_EXCLUSION), list(rows))


def drop_staged(conn: Connection, delivery_id: str, at_most: int) -> int:
    """Take away some of what an undecided delivery staged; how many, 0 when nothing is left."""
    some = select(_EXCLUSION.c.id).where(_EXCLUSION.c.delivery_id == delivery_id, ~_EXCLUSION.c.in_force)
    return conn.execute(delete(_EXCLUSION).where(_EXCLUSION.c.id.in_(some.limit(at_most)))).rowcount


def show(conn: Connection, delivery_id: str, *, replaced: Collection[int], today: date) -> None:
    """Make a delivery's rows count, in the caller's transaction; what they replace or end goes in the night of `today`."""
    conn.execute(update(_EXCLUSION).where(_EXCLUSION.c.delivery_id == delivery_id).values(in_force=True))
    for chunk in chunks(replaced, CHUNK):
        conn.execute(
            update(_EXCLUSION).where(_EXCLUSION.c.id.in_(chunk)).values(in_force=False, due_on=today)
        )
