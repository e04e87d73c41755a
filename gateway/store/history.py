"""What is known of one delivery: its times and figures, its signals, its keys, the files that tell of it.

Ids, codes, counts and times only: no name of a person or of a received file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, func, select, update

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchKind, DispatchState
from gateway.domain.signal import SignalState
from gateway.store.signals import Version
from gateway.store.tables import DataKeyRow, Delivery, Dispatch, DispatchContent, SignalRow

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_CONTENT: Table = DispatchContent.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A delivery, also when only its tombstone is left."""

    id: str
    partner_id: str
    state: DeliveryState
    kind: str | None
    opened_at: datetime
    closed_at: datetime | None
    received_at: datetime | None
    claimed_at: datetime | None
    processed_at: datetime | None
    raw_gone_at: datetime | None
    purged_at: datetime | None
    arrival: int | None
    attempts: int
    key_fingerprint: str
    size_bytes: int
    sealed_bytes: int
    sealed_sha256: bytes | None
    refusal: str | None
    reason: str | None
    row_count: int
    new_count: int
    changed_count: int
    withdrawn_count: int
    rejected_count: int
    duplicate_count: int
    feedback_count: int
    listed_count: int
    ended_count: int
    purged_rows: int
    raw_due_on: date | None
    blob: str | None


def delivery(conn: Connection, delivery_id: str) -> Known | None:
    """A delivery; None when there is none of that id."""
    columns = (_DELIVERY.c[name] for name in Known.__slots__)
    row = conn.execute(select(*columns).where(_DELIVERY.c.id == delivery_id)).mappings().one_or_none()
    return None if row is None else Known(**{**row, "state": DeliveryState(row["state"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Signals whose version in force came in a delivery, of one municipality, state and due day."""

    municipality: str
    state: SignalState
    due_on: date
    count: int


def signals_of(conn: Connection, delivery_id: str) -> list[Held]:
    """What is held of a delivery's signals."""
    by = (_SIGNAL.c.municipality, _SIGNAL.c.state, _SIGNAL.c.due_on)
    query = (
        select(*by, func.count())
        .where(_SIGNAL.c.delivery_id == delivery_id, _SIGNAL.c.in_force)
        .group_by(*by)
    )
    return [
        Held(municipality=gm, state=SignalState(state), due_on=due_on, count=count)
        for gm, state, due_on, count in conn.execute(query.order_by(*by))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A wrapped data key of a delivery: of the received file (`municipality` is empty) or of rows of it."""

    municipality: str
    due_on: date
    key_id: str


def keys_of(conn: Connection, delivery_id: str) -> list[Key]:
    """The wrapped data keys that are left of a delivery."""
    query = select(*(_DATA_KEY.c[name] for name in Key.__slots__)).where(_DATA_KEY.c.object_id == delivery_id)
    rows = conn.execute(query.order_by(_DATA_KEY.c.due_on, _DATA_KEY.c.municipality)).mappings()
    return [Key(**row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An outgoing file that tells of a delivery.

    `signals` is how many of its signals it holds; None: it is about the file, and names rows of it. It lay ready
    from `created_at` until `removed_at` or `purged_at`.
    """

    id: str
    partner_id: str
    box: str
    name: str
    kind: DispatchKind
    state: DispatchState
    created_at: datetime
    collected_at: datetime | None
    removed_at: datetime | None
    purged_at: datetime | None
    due_on: date
    signals: int | None


def told_of(conn: Connection, delivery_id: str) -> list[Told]:
    """Every outgoing file that tells of a delivery or holds signals of it, oldest first; tombstones too."""
    of_it = _CONTENT.c.delivery_id == delivery_id
    columns = [_DISPATCH.c[name] for name in Told.__slots__ if name != "signals"]
    joined = _DISPATCH.outerjoin(_CONTENT, (_CONTENT.c.dispatch_id == _DISPATCH.c.id) & of_it)
    query = (
        select(*columns, _CONTENT.c.signal_count.label("signals"))
        .select_from(joined)
        .where(_CONTENT.c.dispatch_id.is_not(None) | (_DISPATCH.c.delivery_id == delivery_id))
        .order_by(_DISPATCH.c.created_at, _DISPATCH.c.name)
    )
    return [
        Told(**{**row, "kind": DispatchKind(row["kind"]), "state": DispatchState(row["state"])})
        for row in conn.execute(query).mappings()
    ]


# What is withdrawn ---------------------------------------------------------------------------------------


def _in_force(delivery_id: str, today: date) -> Any:
    ended = (SignalState.WITHDRAWN, SignalState.SUPERSEDED)
    return (
        (_SIGNAL.c.delivery_id == delivery_id)
        & _SIGNAL.c.in_force
        & _SIGNAL.c.state.not_in(ended)
        & (_SIGNAL.c.due_on >= today)
    )


def in_force_of(conn: Connection, delivery_id: str, today: date) -> list[Version]:
    """Signals whose version in force came in a delivery, that were not withdrawn or superseded, nor are overdue."""
    columns = (_SIGNAL.c[name] for name in Version.__slots__)
    query = select(*columns).where(_in_force(delivery_id, today)).order_by(_SIGNAL.c.id)
    return [Version(**dict(zip(Version.__slots__, row, strict=True))) for row in conn.execute(query)]


def withdraw(conn: Connection, delivery_id: str, today: date) -> int:
    """All of them are withdrawn; how many. No earlier version returns."""
    done = conn.execute(
        update(_SIGNAL).where(_in_force(delivery_id, today)).values(state=SignalState.WITHDRAWN)
    )
    return done.rowcount
