"""Legal holds, and what waits for approval (spec 4, Retention). Each function works in the caller's transaction.

What they keep is decided by `gateway.store.going`; here is which there are, and under which key it belongs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from gateway.domain.dispatch import DispatchKind
from gateway.domain.hold import AWAITING, HeldOut, waiting_id
from gateway.store import going, key_versions
from gateway.store.data_keys import NO_MUNICIPALITY, StoredKey
from gateway.store.retention_tables import HoldDelivery, HoldRow, WaitingRow
from gateway.store.tables import DataKeyRow, Delivery, DeliveryShare, Dispatch, DispatchContent, SignalRow

_HOLD: Table = HoldRow.__table__  # type: ignore[attr-defined]
_COVERED: Table = HoldDelivery.__table__  # type: ignore[attr-defined]
_WAITING: Table = WaitingRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_CONTENT: Table = DispatchContent.__table__  # type: ignore[attr-defined]
_SHARE: Table = DeliveryShare.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH = Dispatch.__table__.alias("sent")  # type: ignore[attr-defined]

#: Whose a data key's object is: a municipality; empty when it is only its partner's.
_WHOSE = func.coalesce(
    select(_DISPATCH.c.municipality).where(_DISPATCH.c.id == _DATA_KEY.c.object_id).scalar_subquery(),
    _DATA_KEY.c.municipality,
)
#: How ids of the keys of holds begin.
KEYS = "hold-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A legal hold as stored: asked for, in force from `placed_at`, until `lifted_at`."""

    id: str
    grounds: str
    authority: str
    reference: str
    review_on: date
    asked_at: datetime
    placed_at: datetime | None
    placed_by: tuple[str, ...]
    lift_asked_at: datetime | None
    lifted_at: datetime | None
    lifted_by: tuple[str, ...]
    #: the deliveries that it covers
    deliveries: tuple[str, ...]

    @property
    def is_in_force(self) -> bool:
        """Whether what it covers stays."""
        return self.placed_at is not None and self.lifted_at is None


_COLUMNS = [_HOLD.c[name] for name in Hold.__slots__ if name != "deliveries"]


def add(
    conn: Connection,
    hold_id: str,
    *,
    grounds: str,
    authority: str,
    reference: str,
    review_on: date,
    deliveries: Iterable[str],
    at: datetime,
) -> None:
    """A hold is asked for; it keeps nothing before it is placed."""
    conn.execute(
        insert(_HOLD).values(
            id=hold_id,
            grounds=grounds,
            authority=authority,
            reference=reference,
            review_on=review_on,
            asked_at=at,
        )
    )
    conn.execute(
        insert(_COVERED), [{"hold_id": hold_id, "delivery_id": each} for each in sorted(set(deliveries))]
    )


def hold(conn: Connection, hold_id: str) -> Hold | None:
    """A hold; None when there is none of that id."""
    return next(iter(_holds(conn, _HOLD.c.id == hold_id)), None)


def listed(conn: Connection) -> list[Hold]:
    """Every hold that there ever was, oldest first."""
    return _holds(conn)


def held(conn: Connection) -> list[Hold]:
    """The holds that are in force, oldest first."""
    return [each for each in _holds(conn) if each.is_in_force]


def covering(conn: Connection) -> dict[str, list[str]]:
    """Delivery -> the holds in force that cover it, in the order in which they were asked for."""
    found: dict[str, list[str]] = {}
    for each in held(conn):
        for delivery_id in each.deliveries:
            found.setdefault(delivery_id, []).append(each.id)
    return found


def place(conn: Connection, hold_id: str, approvers: Iterable[str], at: datetime) -> None:
    """A hold is in force from now on."""
    conn.execute(
        update(_HOLD).where(_HOLD.c.id == hold_id).values(placed_at=at, placed_by="\n".join(approvers))
    )


def ask_lift(conn: Connection, hold_id: str, at: datetime) -> None:
    """It is asked to lift a hold; it stays in force."""
    conn.execute(update(_HOLD).where(_HOLD.c.id == hold_id).values(lift_asked_at=at))


def lift(conn: Connection, hold_id: str, approvers: Iterable[str], at: datetime) -> None:
    """A hold is not in force any more."""
    conn.execute(
        update(_HOLD).where(_HOLD.c.id == hold_id).values(lifted_at=at, lifted_by="\n".join(approvers))
    )


def wrapped(conn: Connection, hold_id: str) -> list[StoredKey]:
    """The data keys of what a hold covers, as they are wrapped now; by id."""
    covered = select(_COVERED.c.delivery_id).where(_COVERED.c.hold_id == hold_id)
    query = select(*(_DATA_KEY.c[name] for name in StoredKey.__slots__)).where(
        _DATA_KEY.c.object_id.in_(covered)
    )
    return [StoredKey(**row) for row in conn.execute(query.order_by(_DATA_KEY.c.id)).mappings()]


def owners(conn: Connection, hold_id: str) -> set[tuple[str, str]]:
    """Municipality (empty: nobody's) and partner of all that a hold covers or, when it has gone, covered."""
    covered = select(_COVERED.c.delivery_id).where(_COVERED.c.hold_id == hold_id)
    shares = (
        select(_SHARE.c.municipality, _DELIVERY.c.partner_id)
        .join(_DELIVERY, _DELIVERY.c.id == _SHARE.c.delivery_id)
        .where(_SHARE.c.delivery_id.in_(covered))
    )
    files = select(_DELIVERY.c.partner_id).where(_DELIVERY.c.id.in_(covered))
    return {(row.municipality, row.partner_id) for row in conn.execute(shares)} | {
        ("", row.partner_id) for row in conn.execute(files)
    }


def kept(conn: Connection, delivery_ids: Collection[str]) -> set[str]:
    """Those of these deliveries of which something is kept past its day, by a legal hold or until approval."""
    query = select(_DATA_KEY.c.object_id).where(
        _DATA_KEY.c.object_id.in_(delivery_ids), _DATA_KEY.c.key_id.startswith(KEYS)
    )
    return set(conn.execute(query).scalars())


def answers_on(conn: Connection, hold_id: str, today: date) -> list[str]:
    """The answers to INZAGE that tell of what a hold kept past its day."""
    overdue = (
        select(_SIGNAL.c.delivery_id)
        .join(_COVERED, _COVERED.c.delivery_id == _SIGNAL.c.delivery_id)
        .where(_COVERED.c.hold_id == hold_id, _SIGNAL.c.due_on < today)
    )
    query = (
        select(_DISPATCH.c.id)
        .join(_CONTENT, _CONTENT.c.dispatch_id == _DISPATCH.c.id)
        .where(_DISPATCH.c.kind == DispatchKind.ACCESS, _CONTENT.c.delivery_id.in_(overdue))
    )
    return list(conn.execute(query.distinct()).scalars())


def states(conn: Connection, delivery_ids: Collection[str]) -> dict[str, str]:
    """The states of those of these deliveries that there are."""
    query = select(_DELIVERY.c.id, _DELIVERY.c.state).where(_DELIVERY.c.id.in_(delivery_ids))
    return {row.id: row.state for row in conn.execute(query)}


# What waits for approval ---------------------------------------------------------------------------------


def set_waiting(conn: Connection, through: Mapping[str, date]) -> None:
    """Of these municipalities, what is due after the day given waits for approval; of others nothing does."""
    conn.execute(delete(_WAITING))
    if through:
        rows = [{"municipality": each, "through": day} for each, day in sorted(through.items())]
        conn.execute(insert(_WAITING), rows)


def waiting(conn: Connection) -> dict[str, date]:
    """Municipality -> the last due day whose destruction is approved, where any waits."""
    return {row.municipality: row.through for row in conn.execute(select(_WAITING))}


# Keys ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Misplaced:
    """A data key that belongs under the key of a hold, or (None) under that of its day again."""

    stored: StoredKey
    hold_id: str | None


def misplaced(conn: Connection, today: date) -> list[Misplaced]:
    """The data keys that are not under the key they belong under, by id.

    What a legal hold covers belongs under the key of the first such hold; what stays past its day
    because it waits for approval, under that of its municipality and month of due days; all else under its day's.
    """
    by_delivery = covering(conn)
    found = []
    columns = [_DATA_KEY.c[name] for name in StoredKey.__slots__]
    is_covered = going.is_held(_DATA_KEY.c.object_id)
    for row in conn.execute(select(*columns).where(is_covered)).mappings():
        of = by_delivery[row["object_id"]]
        if row["key_id"] not in {f"{KEYS}{hold_id}" for hold_id in of}:
            found.append(Misplaced(stored=StoredKey(**row), hold_id=of[0]))
    freed = select(*columns).where(
        _DATA_KEY.c.key_id.startswith(KEYS), _DATA_KEY.c.due_on >= today, ~is_covered
    )
    found += [Misplaced(stored=StoredKey(**row), hold_id=None) for row in conn.execute(freed).mappings()]
    waits = select(*columns, _WHOSE.label("whose")).where(
        _DATA_KEY.c.due_on < today,
        ~is_covered,
        _WHOSE.in_(select(_WAITING.c.municipality)),
        ~going.data_key_goes(today),
    )
    for row in conn.execute(waits).mappings():
        hold_id = waiting_id(row["whose"], row["due_on"])
        if row["key_id"] != f"{KEYS}{hold_id}":
            stored = StoredKey(**{name: row[name] for name in StoredKey.__slots__})
            found.append(Misplaced(stored=stored, hold_id=hold_id))
    return sorted(found, key=lambda one: one.stored.id)


def rewrap(conn: Connection, stored_id: int, *, key_id: str, key_version: int, wrapped: bytes) -> None:
    """A data key is wrapped under another key; its due day stays.

    Raises:
        KeySuperseded: that key has a newer version in force: wrap it again.
    """
    key_versions.check(conn, key_id, key_version)
    conn.execute(
        update(_DATA_KEY)
        .where(_DATA_KEY.c.id == stored_id)
        .values(key_id=key_id, key_version=key_version, wrapped=wrapped)
    )


def keys_over(conn: Connection, key_ids: Collection[str], today: date) -> list[str]:
    """Those of the keys of holds that nothing needs which stays after today's purge, in their order."""
    in_force = {f"{KEYS}{each.id}" for each in held(conn)}
    needed = select(_DATA_KEY.c.key_id).where(
        _DATA_KEY.c.key_id.startswith(KEYS), ~going.data_key_goes(today)
    )
    used = set(conn.execute(needed.distinct()).scalars())
    return [key_id for key_id in key_ids if key_id not in in_force | used]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What is kept past its day of one municipality (empty: of nobody but its partner) by one hold."""

    municipality: str
    partner_id: str
    held: HeldOut


def left_out(conn: Connection, today: date) -> list[LeftOut]:
    """What is kept past its day. An object is what one data key serves; one that several holds cover counts for each."""
    legal = {each.id: each for each in held(conn)}
    counts: dict[tuple[str, str, str], int] = {}
    query = select(
        _WHOSE.label("whose"), _DATA_KEY.c.partner_id, _DATA_KEY.c.object_id, _DATA_KEY.c.key_id
    ).where(_DATA_KEY.c.due_on < today, _DATA_KEY.c.key_id.startswith(KEYS))
    by_delivery = covering(conn)
    for row in conn.execute(query):
        municipality = "" if row.whose == NO_MUNICIPALITY else row.whose
        for hold_id in by_delivery.get(row.object_id) or [row.key_id.removeprefix(KEYS)]:
            at = (municipality, row.partner_id, hold_id)
            counts[at] = counts.get(at, 0) + 1
    return [
        LeftOut(
            municipality=municipality,
            partner_id=partner_id,
            held=HeldOut(
                hold_id=hold_id,
                grounds=legal[hold_id].grounds if hold_id in legal else AWAITING,
                review_on=legal[hold_id].review_on if hold_id in legal else None,
                objects=objects,
            ),
        )
        for (municipality, partner_id, hold_id), objects in sorted(counts.items())
    ]


def _holds(conn: Connection, *conditions: Any) -> list[Hold]:
    query = select(*_COLUMNS).where(*conditions).order_by(_HOLD.c.asked_at, _HOLD.c.id)
    rows = list(conn.execute(query).mappings())
    deliveries: dict[str, list[str]] = {row["id"]: [] for row in rows}
    covered = select(_COVERED.c.hold_id, _COVERED.c.delivery_id).where(_COVERED.c.hold_id.in_(deliveries))
    for hold_id, delivery_id in conn.execute(covered.order_by(_COVERED.c.delivery_id)):
        deliveries[hold_id].append(delivery_id)
    return [
        Hold(
            **{
                **row,
                "placed_by": tuple(row["placed_by"].split("\n")) if row["placed_by"] else (),
                "lifted_by": tuple(row["lifted_by"].split("\n")) if row["lifted_by"] else (),
                "deliveries": tuple(deliveries[row["id"]]),
            }
        )
        for row in rows
    ]
