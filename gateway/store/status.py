"""What people look at: deliveries, outgoing files and the audit log in figures; never a name or a file name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, LargeBinary, Table, cast, func, select

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchState
from gateway.store.tables import AuditCheckpoint, AuditEntry, Delivery, Dispatch

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_ENTRY: Table = AuditEntry.__table__  # type: ignore[attr-defined]
_CHECKPOINT: Table = AuditCheckpoint.__table__  # type: ignore[attr-defined]

_WAITS = (DeliveryState.ARRIVED, DeliveryState.PROCESSING, DeliveryState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLine:
    """A delivery in figures; `refusal` is an F code, the counts are of rows."""

    id: str
    partner_id: str
    state: DeliveryState
    opened_at: datetime
    received_at: datetime | None
    size_bytes: int
    attempts: int
    refusal: str | None
    row_count: int
    new_count: int
    changed_count: int
    withdrawn_count: int
    rejected_count: int
    duplicate_count: int


def deliveries(
    conn: Connection, *, partner_id: str | None = None, state: DeliveryState | None = None
) -> list[DeliveryLine]:
    """Deliveries, oldest first: of one partner, in one state, or all of which more than a tombstone is left."""
    query = select(*(_DELIVERY.c[name] for name in DeliveryLine.__slots__))
    if partner_id is not None:
        query = query.where(_DELIVERY.c.partner_id == partner_id)
    if state is None:
        query = query.where(_DELIVERY.c.state != DeliveryState.PURGED)
    else:
        query = query.where(_DELIVERY.c.state == state)
    rows = conn.execute(query.order_by(_DELIVERY.c.opened_at, _DELIVERY.c.id)).mappings()
    return [DeliveryLine(**{**row, "state": DeliveryState(row["state"])}) for row in rows]


def count_by_state(conn: Connection) -> dict[DeliveryState, int]:
    """How many deliveries are in each state; states without one are left out."""
    query = select(_DELIVERY.c.state, func.count()).group_by(_DELIVERY.c.state)
    return {DeliveryState(row[0]): row[1] for row in conn.execute(query)}


def oldest_waiting(conn: Connection) -> datetime | None:
    """When the oldest delivery was received that is not processed yet."""
    query = select(func.min(_DELIVERY.c.received_at)).where(_DELIVERY.c.state.in_(_WAITS))
    oldest: datetime | None = conn.execute(query).scalar()
    return oldest


def behind(conn: Connection, delivery: DeliveryLine) -> int:
    """How many deliveries of the same partner wait behind a FAILED one."""
    arrival = select(_DELIVERY.c.arrival).where(_DELIVERY.c.id == delivery.id).scalar_subquery()
    query = select(func.count()).where(
        _DELIVERY.c.partner_id == delivery.partner_id,
        _DELIVERY.c.state == DeliveryState.ARRIVED,
        _DELIVERY.c.arrival > arrival,
    )
    return int(conn.execute(query).scalar_one())


def last_deliveries(conn: Connection) -> dict[str, datetime]:
    """When each partner's last file was received."""
    query = (
        select(_DELIVERY.c.partner_id, func.max(_DELIVERY.c.received_at))
        .where(_DELIVERY.c.received_at.is_not(None))
        .group_by(_DELIVERY.c.partner_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncollected:
    """Outgoing files that their partner has not read; a manifest or second form is counted with its file."""

    count: int
    oldest_at: datetime


def uncollected(conn: Connection) -> dict[str, Uncollected]:
    """What lies ready and was not collected, by partner."""
    query = (
        select(_DISPATCH.c.partner_id, func.count(), func.min(_DISPATCH.c.created_at))
        .where(
            _DISPATCH.c.state == DispatchState.READY,
            _DISPATCH.c.removed_at.is_(None),
            _DISPATCH.c.parent_id.is_(None),
        )
        .group_by(_DISPATCH.c.partner_id)
    )
    return {row[0]: Uncollected(count=row[1], oldest_at=row[2]) for row in conn.execute(query)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFigures:
    """The audit log: its entries, those that wait for a checkpoint, and the newest checkpoint."""

    entries: int
    unsequenced: int
    checkpoint_at: datetime | None


def audit_figures(conn: Connection) -> AuditFigures:
    """The audit log in figures."""
    total, numbered = conn.execute(select(func.count(), func.count(_ENTRY.c.leaf_index))).one()
    return AuditFigures(
        entries=total,
        unsequenced=total - numbered,
        checkpoint_at=conn.execute(select(func.max(_CHECKPOINT.c.at))).scalar(),
    )


def last_entries(conn: Connection, count: int) -> list[bytes]:
    """The newest entries of the audit log, oldest first, as they were written."""
    # SQLite keeps whatever type a tamperer wrote
    query = (
        select(cast(_ENTRY.c.entry, LargeBinary))
        .where(_ENTRY.c.entry.is_not(None))
        .order_by(_ENTRY.c.id.desc())
        .limit(count)
    )
    return list(conn.execute(query).scalars())[::-1]
