"""The queue: deliveries that arrived, one at a time per partner, in order of arrival (spec 1, States)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Table, bindparam, exists, func, or_, select, update

from gateway.domain.delivery import MOST_ATTEMPTS, DeliveryState, Kind, check_transition
from gateway.store.prepared import Prepared
from gateway.store.tables import AnswerRow, DataKeyRow, Delivery, ExclusionRow, SignalRow

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]

#: How long a delivery rests after its nth crash.
_RESTS = (timedelta(0), timedelta(0), timedelta(seconds=2), timedelta(seconds=10), timedelta(seconds=60))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this worker processes."""

    id: str
    partner_id: str
    closed_at: datetime
    received_at: datetime
    arrival: int
    blob: str
    size_bytes: int
    sealed_bytes: int
    name_sealed: bytes
    raw_due_on: date
    is_trial: bool
    attempts: int


_HELD = (
    select(_DELIVERY.c.partner_id, func.min(_DELIVERY.c.arrival).label("arrival"))
    .where(or_(*(_DELIVERY.c.state == state for state in (DeliveryState.ARRIVED, DeliveryState.FAILED))))
    .group_by(_DELIVERY.c.partner_id)
    .subquery()
)
# made once: each file asks them
_FIRST_IN_LINE = Prepared(
    select(_DELIVERY.c.claimed_at, *(_DELIVERY.c[name] for name in Claimed.__slots__))
    .join(_HELD, _DELIVERY.c.arrival == _HELD.c.arrival)
    .where(_DELIVERY.c.state == DeliveryState.ARRIVED)
    .order_by(_DELIVERY.c.arrival)
)
_EARLIER = _DELIVERY.alias()
_LINE = Prepared(
    select(*(_DELIVERY.c[name] for name in Claimed.__slots__))
    .where(
        _DELIVERY.c.state == DeliveryState.ARRIVED,
        ~exists().where(
            _EARLIER.c.partner_id == _DELIVERY.c.partner_id,
            _EARLIER.c.state == DeliveryState.FAILED,
            _EARLIER.c.arrival < _DELIVERY.c.arrival,
        ),
    )
    .order_by(_DELIVERY.c.arrival)
    .limit(bindparam("at_most"))
)
_CLAIM = Prepared(
    update(_DELIVERY).where(_DELIVERY.c.id == bindparam("of")), ("state", "claimed_at", "attempts")
)
_HAS_STAGED = Prepared(
    select(
        or_(
            *(
                exists().where(table.c.delivery_id == bindparam("of"))
                for table in (SignalRow.__table__, AnswerRow.__table__, ExclusionRow.__table__)  # type: ignore[attr-defined]
            ),
            exists().where(_DATA_KEY.c.object_id == bindparam("of"), _DATA_KEY.c.municipality != ""),
        )
    )
)


def has_abandoned(conn: Connection) -> bool:
    """Whether a delivery is PROCESSING."""
    query = select(_DELIVERY.c.id).where(_DELIVERY.c.state == DeliveryState.PROCESSING).limit(1)
    return conn.execute(query).first() is not None


def has_staged(conn: Connection, delivery_id: str) -> bool:
    """Whether rows came of a delivery, or keys for them: of one that is undecided they are staged."""
    ((found,),) = _HAS_STAGED.rows(conn, {"of": delivery_id})
    return bool(found)


def release_abandoned(conn: Connection) -> list[tuple[str, DeliveryState]]:
    """Give back what a crashed worker held; after five crashes it is FAILED.

    Only for the holder of `Store.exclusive()`: whatever is PROCESSING then has lost its worker.
    """
    released: list[tuple[str, DeliveryState]] = []
    rows = conn.execute(
        select(_DELIVERY.c.id, _DELIVERY.c.attempts).where(_DELIVERY.c.state == DeliveryState.PROCESSING)
    ).all()
    for delivery_id, attempts in rows:
        state = DeliveryState.FAILED if attempts >= MOST_ATTEMPTS else DeliveryState.ARRIVED
        advance(conn, delivery_id, DeliveryState.PROCESSING, state)
        released.append((delivery_id, state))
    return released


def claim_next(conn: Connection, now: datetime) -> Claimed | None:
    """Claim the first delivery in line, or None.

    A FAILED delivery holds back its partner's later ones, nobody else's; one that crashed rests a while.
    """
    for claimed_at, *values in _FIRST_IN_LINE.rows(conn, {}):
        first = Claimed(*values)
        if claimed_at is None or claimed_at + _RESTS[min(first.attempts, len(_RESTS) - 1)] <= now:
            return claim(conn, first, now)
    return None


def first_in_line(conn: Connection, at_most: int) -> list[Claimed]:
    """Those that are claimed next, in their order, as far as none of them was claimed before; they are not claimed yet."""
    line = (Claimed(*values) for values in _LINE.rows(conn, {"at_most": at_most}))
    return list(takewhile(lambda each: not each.attempts, line))


def claim(conn: Connection, delivery: Claimed, now: datetime) -> Claimed:
    """Claim a delivery that is in line. For the holder of `Store.exclusive()`: nobody else does."""
    check_transition(DeliveryState.ARRIVED, DeliveryState.PROCESSING)
    claimed = replace(delivery, attempts=delivery.attempts + 1)
    taken = {"state": DeliveryState.PROCESSING, "claimed_at": now, "attempts": claimed.attempts}
    _CLAIM.count(conn, {"of": claimed.id, **taken})
    return claimed


def advance(
    conn: Connection, delivery_id: str, before: DeliveryState, after: DeliveryState, **values: Any
) -> bool:
    """Move a delivery from one state to another; whether it was in `before`.

    Raises:
        IllegalTransition: the table of transitions does not list the change.
    """
    check_transition(before, after)
    moved = {"of": delivery_id, "before": before, "state": after, **values}
    return _advance(("state", *values)).count(conn, moved) == 1


@lru_cache(maxsize=32)
def _advance(columns: tuple[str, ...]) -> Prepared:
    chosen = (_DELIVERY.c.id == bindparam("of"), _DELIVERY.c.state == bindparam("before"))
    return Prepared(update(_DELIVERY).where(*chosen), columns)


def state_of(conn: Connection, delivery_id: str) -> DeliveryState | None:
    """The state of a delivery, None if there is no such delivery."""
    state = conn.execute(select(_DELIVERY.c.state).where(_DELIVERY.c.id == delivery_id)).scalar()
    return None if state is None else DeliveryState(state)


def waiting_count(conn: Connection) -> int:
    """Deliveries that can still be processed without a person: ARRIVED and not held back, or PROCESSING."""
    failed = (
        select(_DELIVERY.c.partner_id, func.min(_DELIVERY.c.arrival).label("arrival"))
        .where(_DELIVERY.c.state == DeliveryState.FAILED)
        .group_by(_DELIVERY.c.partner_id)
        .subquery()
    )
    query = (
        select(func.count())
        .select_from(_DELIVERY.outerjoin(failed, failed.c.partner_id == _DELIVERY.c.partner_id))
        .where(
            _DELIVERY.c.state.in_((DeliveryState.ARRIVED, DeliveryState.PROCESSING)),
            (failed.c.arrival.is_(None)) | (_DELIVERY.c.arrival < failed.c.arrival),
        )
    )
    return int(conn.execute(query).scalar_one())


def held_count(conn: Connection) -> int:
    """Deliveries that wait for a person: FAILED, or behind a FAILED one of the same partner."""
    waits = (DeliveryState.ARRIVED, DeliveryState.PROCESSING, DeliveryState.FAILED)
    query = select(func.count()).where(_DELIVERY.c.state.in_(waits))
    return int(conn.execute(query).scalar_one()) - waiting_count(conn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decidable:
    """A delivery that a person decides on, as far as its sender is told of it; what is gone is None."""

    id: str
    partner_id: str
    received_at: datetime
    size_bytes: int
    name_sealed: bytes | None
    blob: str | None


def get_in(conn: Connection, delivery_id: str, state: DeliveryState) -> Decidable | None:
    """A delivery if it is in a state."""
    columns = (_DELIVERY.c[name] for name in Decidable.__slots__)
    row = conn.execute(
        select(*columns).where(_DELIVERY.c.id == delivery_id, _DELIVERY.c.state == state)
    ).one_or_none()
    return None if row is None else Decidable(**row._mapping)


def processed(conn: Connection, partner_id: str) -> list[tuple[str, datetime]]:
    """A creditor's signal files of which rows may be held: ids, and when each was processed, as they came."""
    query = select(_DELIVERY.c.id, _DELIVERY.c.processed_at).where(
        _DELIVERY.c.partner_id == partner_id,
        _DELIVERY.c.kind == Kind.SIGNALS,
        _DELIVERY.c.state == DeliveryState.PROCESSED,
    )
    return [(row[0], row[1]) for row in conn.execute(query.order_by(_DELIVERY.c.arrival))]


def accepted_before(conn: Connection, partner_id: str, digests: dict[bytes, str], *, month_key: str) -> bool:
    """Whether the same bytes were processed earlier with an accepted row (spec 1, Uploads 6).

    Args:
        conn: a transaction.
        partner_id: whose file it is.
        digests: keyed digest -> id of the index key it was made with, for every live month.
        month_key: the index key of the month of receipt: an earlier file of another month counts only when each
            of its rows bore its own signaaldatum.
    """
    rows = conn.execute(
        select(_DELIVERY.c.content_key, _DELIVERY.c.every_row_dated).where(
            _DELIVERY.c.partner_id == partner_id,
            _DELIVERY.c.content_digest.in_(list(digests)),
            _DELIVERY.c.state == DeliveryState.PROCESSED,
            _DELIVERY.c.accepted_count > 0,
        )
    )
    return any(key == month_key or every_row_dated for key, every_row_dated in rows)
