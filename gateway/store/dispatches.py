"""What the exchange asks and tells about dispatches. Each function works in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, select, update

from gateway.domain.dispatch import DispatchState
from gateway.store.tables import IS_LISTED, Dispatch

_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A file that lies ready for its partner."""

    id: str
    partner_id: str
    name: str
    kind: str
    delivery_id: str | None
    blob: str
    size_bytes: int
    created_at: datetime


_COLUMNS = [_DISPATCH.c[name] for name in Outgoing.__slots__]


def listed(conn: Connection, partner_id: str, box: str) -> list[Outgoing]:
    """What lies in a partner's box, by name."""
    return [_outgoing(row) for row in conn.execute(_seen(partner_id, box).order_by(_DISPATCH.c.name))]


def named(conn: Connection, partner_id: str, box: str, name: str) -> Outgoing | None:
    """The file of that name in a partner's box."""
    row = conn.execute(_seen(partner_id, box).where(_DISPATCH.c.name == name)).one_or_none()
    return None if row is None else _outgoing(row)


def collect(conn: Connection, dispatch_id: str, at: datetime) -> bool:
    """The partner has read all of it; False: it had before, or the file has gone.

    A file that was REPLACED or BLOCKED while it was being read keeps its state; that it was collected is recorded.
    """
    first = conn.execute(
        update(_DISPATCH)
        .where(
            _DISPATCH.c.id == dispatch_id,
            _DISPATCH.c.collected_at.is_(None),
            _DISPATCH.c.state.in_((DispatchState.READY, DispatchState.BLOCKED, DispatchState.REPLACED)),
        )
        .values(collected_at=at)
    )
    conn.execute(
        update(_DISPATCH)
        .where(_DISPATCH.c.id == dispatch_id, _DISPATCH.c.state == DispatchState.READY)
        .values(state=DispatchState.COLLECTED)
    )
    return first.rowcount == 1


def remove(conn: Connection, dispatch_id: str, at: datetime) -> bool:
    """The partner says it has it: hidden from now on; False: it was hidden already."""
    done = conn.execute(
        update(_DISPATCH)
        .where(_DISPATCH.c.id == dispatch_id, _DISPATCH.c.removed_at.is_(None))
        .values(removed_at=at)
    )
    return done.rowcount == 1


def _seen(partner_id: str, box: str) -> Any:
    return select(*_COLUMNS).where(
        _DISPATCH.c.partner_id == partner_id,
        _DISPATCH.c.box == box,
        IS_LISTED,
        _DISPATCH.c.removed_at.is_(None),
    )


def _outgoing(row: Row[Any]) -> Outgoing:
    return Outgoing(**row._mapping)
