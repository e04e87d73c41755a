"""Meldingen: which there are, which must be looked at again, what was published of them (spec 3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, bindparam, exists, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.domain.melding import Klasse
from gateway.domain.policy import Grouping
from gateway.domain.signal import ACTIVE
from gateway.store.bulk import as_list, fetch, insert_rows, listed, stored
from gateway.store.places import CHUNK, chunks
from gateway.store.tables import GroupingRow, MeldingRow, PolicyRow, Publication, SignalRow

_MELDING: Table = MeldingRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_GROUPING: Table = GroupingRow.__table__  # type: ignore[attr-defined]
_PUBLICATION: Table = Publication.__table__  # type: ignore[attr-defined]
_POLICY: Table = PolicyRow.__table__  # type: ignore[attr-defined]


class Melding(NamedTuple):
    """A melding as stored."""

    id: str
    municipality: str
    month: str
    level: str
    place: int
    touched_at: datetime | None
    is_urgent: bool
    is_lost: bool
    version: int
    partner_id: str | None
    klasse: str | None
    fingerprint: str | None
    published: str | None
    first_published_at: datetime | None
    published_at: datetime | None
    crisis_at: datetime | None
    due_on: date


_COLUMNS = [_MELDING.c[name] for name in Melding._fields]


_GROUPING_OF = select(_GROUPING.c.municipality, _GROUPING.c.month, _GROUPING.c.level).where(
    listed(_GROUPING.c.municipality)
)


def groupings(conn: Connection, municipalities: Collection[str]) -> dict[tuple[str, str], Grouping]:
    """The key that groups each month of these municipalities, by municipality and month, as far as one is settled."""
    rows = conn.execute(_GROUPING_OF, {"listed": as_list(municipalities)})
    return {(municipality, month): Grouping(level) for municipality, month, level in rows}


def settle_groupings(conn: Connection, levels: Mapping[tuple[str, str], Grouping]) -> None:
    """The keys that group months that begin, by municipality and month (spec 3, Policy)."""
    insert_rows(
        conn,
        _GROUPING,
        [
            {"municipality": municipality, "month": month, "level": level.value}
            for (municipality, month), level in levels.items()
        ],
    )


#: Municipality, month (`YYYY-MM`), grouping key, and the place that it leads to.
Spot = tuple[str, str, str, int]
_AT_PLACES = select(
    _MELDING.c.id, _MELDING.c.municipality, _MELDING.c.month, _MELDING.c.level, _MELDING.c.place
).where(listed(_MELDING.c.place))


def find(conn: Connection, spots: Collection[Spot]) -> dict[Spot, str]:
    """The ids of the meldingen that there are at these spots."""
    wanted = set(spots)
    rows = conn.execute(_AT_PLACES, {"listed": as_list({place for *_, place in wanted})})
    return {(*spot,): melding_id for melding_id, *spot in rows if (*spot,) in wanted}


def add(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store new meldingen."""
    insert_rows(conn, _MELDING, rows)


_EXTEND = (
    update(_MELDING)
    .where(listed(_MELDING.c.id), _MELDING.c.due_on < bindparam("until", type_=_MELDING.c.due_on.type))
    .values(due_on=bindparam("until", type_=_MELDING.c.due_on.type))
)


def extend(conn: Connection, melding_ids: Collection[str], due_on: date) -> None:
    """A melding is held as long as any signal it ever held."""
    if melding_ids:
        conn.execute(_EXTEND, {"listed": as_list(melding_ids), "until": due_on})


class Span(NamedTuple):
    """A municipality's months from `first` to `last` (`YYYY-MM`), both included."""

    municipality: str
    first: str
    last: str


_TOUCH = (
    update(_MELDING)
    .where(listed(_MELDING.c.id), _MELDING.c.touched_at.is_(None))
    .values(touched_at=bindparam("now", type_=_MELDING.c.touched_at.type))
)


def touch(conn: Connection, spans: Mapping[Span, Collection[int]], now: datetime) -> list[str]:
    """The meldingen of spans at their places must be looked at again; `now` unless they were touched before.

    Returns:
        Their ids, also those that were touched before.
    """
    places = {place for many in spans.values() for place in many}
    rows = conn.execute(_AT_PLACES, {"listed": as_list(places)}).all()
    of: dict[str, list[Span]] = {}
    for span in spans:
        of.setdefault(span.municipality, []).append(span)
    found = [
        row.id
        for row in rows
        if any(
            span.first <= row.month <= span.last and row.place in spans[span]
            for span in of.get(row.municipality, ())
        )
    ]
    touch_ids(conn, found, now)
    return found


def touch_ids(conn: Connection, melding_ids: Collection[str], now: datetime) -> None:
    """These meldingen must be looked at again; `now` unless they were touched before."""
    if melding_ids:
        conn.execute(_TOUCH, {"listed": as_list(melding_ids), "now": now})


_TOUCH_FROM = (
    update(_MELDING)
    .where(
        listed(_MELDING.c.municipality),
        _MELDING.c.month >= bindparam("since"),
        _MELDING.c.touched_at.is_(None),
    )
    .values(touched_at=bindparam("now", type_=_MELDING.c.touched_at.type))
)


def touch_from(conn: Connection, municipalities: Collection[str], month: str, now: datetime) -> None:
    """Municipalities' meldingen of a month and later must be looked at again; `now` unless touched before."""
    conn.execute(_TOUCH_FROM, {"listed": as_list(municipalities), "since": month, "now": now})


class PolicyOfMonth(NamedTuple):
    """The policy that a month was published under last, as JSON, and the partner that served the municipality."""

    policy: str
    server: str


_POLICIES_OF = select(_POLICY.c.municipality, _POLICY.c.policy, _POLICY.c.server).where(
    listed(_POLICY.c.municipality), _POLICY.c.month == bindparam("in_month")
)


def policies_of(conn: Connection, municipalities: Collection[str], month: str) -> dict[str, PolicyOfMonth]:
    """The policy that each municipality's month was published under last; those of which nothing was are left out."""
    rows = conn.execute(_POLICIES_OF, {"listed": as_list(municipalities), "in_month": month})
    return {municipality: PolicyOfMonth(policy, server) for municipality, policy, server in rows}


_PUT_POLICY = upsert(_POLICY)
_USE_POLICY = _PUT_POLICY.on_conflict_do_update(
    index_elements=["municipality", "month"],
    set_={"policy": _PUT_POLICY.excluded.policy, "server": _PUT_POLICY.excluded.server},
)


def use_policies(conn: Connection, month: str, policies: Mapping[str, PolicyOfMonth]) -> None:
    """From now on the month of each of these municipalities is published under another policy."""
    if policies:
        conn.execute(
            _USE_POLICY,
            [{"municipality": code, "month": month, **each._asdict()} for code, each in policies.items()],
        )


_HOLDS_CRISIS = exists().where(
    _SIGNAL.c.melding_id == _MELDING.c.id,
    _SIGNAL.c.in_force,
    _SIGNAL.c.is_crisis,
    _SIGNAL.c.state.in_(ACTIVE),
    _SIGNAL.c.due_on >= bindparam("today", type_=_SIGNAL.c.due_on.type),
)
_MARK_URGENT = (
    update(_MELDING)
    .where(
        _MELDING.c.touched_at.is_not(None),
        listed(_MELDING.c.municipality, "codes"),
        _MELDING.c.is_urgent != _HOLDS_CRISIS,
    )
    .values(is_urgent=_HOLDS_CRISIS)
)
_MARK_URGENT_AMONG = _MARK_URGENT.where(listed(_MELDING.c.id))


def mark_urgent(
    conn: Connection, municipalities: Collection[str], today: date, *, among: Collection[str] | None = None
) -> None:
    """Touched meldingen that hold a crisis signal go out at once and alone (spec 3, Publication).

    Args:
        conn: a writing transaction.
        municipalities: that want it so.
        today: what is overdue takes no part.
        among: only meldingen of these ids; None: whatever was touched.
    """
    values = {"codes": as_list(municipalities), "today": today}
    if among is None:
        conn.execute(_MARK_URGENT, values)
    elif among:
        conn.execute(_MARK_URGENT_AMONG, values | {"listed": as_list(among)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What waits in a municipality: since when, and how many of it are urgent."""

    municipality: str
    since: datetime
    count: int
    urgent: int


_WAITING = (
    select(
        _MELDING.c.municipality,
        func.min(_MELDING.c.touched_at),
        func.count(),
        func.sum(_MELDING.c.is_urgent),
    )
    .where(_MELDING.c.touched_at.is_not(None))
    .group_by(_MELDING.c.municipality)
)
_URGENT_WAITING = _WAITING.where(_MELDING.c.is_urgent)


def waiting(conn: Connection, *, only_urgent: bool = False) -> list[Touched]:
    """Municipalities with meldingen that must be looked at again; of these all, or what is urgent alone."""
    return [
        Touched(municipality=gm, since=since, count=count, urgent=int(urgent))
        for gm, since, count, urgent in conn.execute(_URGENT_WAITING if only_urgent else _WAITING)
    ]


_TOUCHED = (
    select(*_COLUMNS)
    .where(listed(_MELDING.c.municipality), _MELDING.c.touched_at.is_not(None))
    .order_by(_MELDING.c.id)
)
_URGENT = _TOUCHED.where(_MELDING.c.is_urgent)


def touched(conn: Connection, municipalities: Collection[str], *, only_urgent: bool) -> list[Melding]:
    """The meldingen of municipalities to look at again, by id."""
    query = _URGENT if only_urgent else _TOUCHED
    return list(map(Melding._make, fetch(conn, query, {"listed": as_list(municipalities)})))


_PUBLISHED = select(*_COLUMNS).where(
    _MELDING.c.municipality == bindparam("of"),
    _MELDING.c.month == bindparam("in_month"),
    _MELDING.c.published.is_not(None),
)


class Standing(NamedTuple):
    """A melding whose last publication was MATCH, and its content then, as JSON."""

    id: str
    municipality: str
    published: str


_STANDING = select(*(_MELDING.c[name] for name in Standing._fields)).where(
    listed(_MELDING.c.municipality),
    _MELDING.c.month == bindparam("in_month"),
    _MELDING.c.published.is_not(None),
    _MELDING.c.klasse == Klasse.MATCH,
)


def matches(conn: Connection, municipalities: Collection[str], month: str) -> Iterator[Standing]:
    """The meldingen of municipalities' month that have a rank."""
    values = {"listed": as_list(municipalities), "in_month": month}
    return map(Standing._make, fetch(conn, _STANDING, values))


def published(conn: Connection, municipality: str, month: str) -> list[Melding]:
    """The meldingen of a month whose last publication was not VERVALLEN."""
    return [_melding(row) for row in conn.execute(_PUBLISHED, {"of": municipality, "in_month": month})]


def holders(conn: Connection) -> list[tuple[str, str]]:
    """Municipalities, each with a partner that holds meldingen of it, in a fixed order."""
    query = select(_MELDING.c.municipality, _MELDING.c.partner_id).distinct()
    query = query.where(_MELDING.c.published.is_not(None), _MELDING.c.partner_id.is_not(None))
    rows = conn.execute(query.order_by(_MELDING.c.municipality, _MELDING.c.partner_id))
    return [(row[0], row[1]) for row in rows]


def held(conn: Connection, municipality: str, partner_id: str) -> list[str]:
    """The ids of what a partner holds: meldingen of a municipality whose last publication was not VERVALLEN."""
    query = select(_MELDING.c.id).where(
        _MELDING.c.municipality == municipality,
        _MELDING.c.partner_id == partner_id,
        _MELDING.c.published.is_not(None),
    )
    return list(conn.execute(query.order_by(_MELDING.c.id)).scalars())


def some(conn: Connection, melding_ids: Iterable[str]) -> dict[str, Melding]:
    """Meldingen by id; those that are gone are left out."""
    found: dict[str, Melding] = {}
    for chunk in chunks(melding_ids, CHUNK):
        for row in conn.execute(select(*_COLUMNS).where(_MELDING.c.id.in_(chunk))):
            found[row.id] = _melding(row)
    return found


def get(conn: Connection, melding_id: str) -> Melding | None:
    """One melding by id."""
    row = conn.execute(select(*_COLUMNS).where(_MELDING.c.id == melding_id)).one_or_none()
    return None if row is None else _melding(row)


def level_of(conn: Connection, municipality: str, month: str) -> Grouping | None:
    """The key that groups a municipality's month; None: nothing was received for it yet."""
    where = (_GROUPING.c.municipality == municipality) & (_GROUPING.c.month == month)
    level = conn.execute(select(_GROUPING.c.level).where(where)).scalar()
    return None if level is None else Grouping(level)


def policy_hash_of(conn: Connection, municipality: str, at: datetime) -> str | None:
    """The hash of the policy under which a municipality's meldingen were published at that instant."""
    where = (_PUBLICATION.c.municipality == municipality) & (_PUBLICATION.c.at == at)
    found = conn.execute(select(_PUBLICATION.c.policy_hash).where(where)).scalars().first()
    return None if found is None else str(found)


_SETTLE = (
    update(_MELDING).where(listed(_MELDING.c.id)).values(touched_at=None, is_urgent=False, is_lost=False)
)


def settle(conn: Connection, melding_ids: Collection[str]) -> None:
    """Looked at: nothing about them changed."""
    if melding_ids:
        conn.execute(_SETTLE, {"listed": as_list(melding_ids)})


class Published(NamedTuple):
    """What is remembered of a melding's publication; without content (`published`) it lapsed."""

    version: int
    partner_id: str
    klasse: str
    fingerprint: str
    published: str | None
    is_crisis: bool
    id: str


# Text, as in `places`: a crisis that is over counts no more for the deadline of the next one.
_MARK_PUBLISHED = (
    "UPDATE melding SET version = ?, partner_id = ?, klasse = ?, fingerprint = ?, published = ?, "
    "crisis_at = CASE WHEN ? THEN coalesce(crisis_at, ?) END, first_published_at = coalesce(first_published_at, ?), "
    "published_at = ?, touched_at = NULL, is_urgent = 0, is_lost = 0 WHERE id = ?"
)


def mark_published(conn: Connection, rows: Iterable[Published], now: datetime) -> None:
    """Store what was published."""
    at = stored(_MELDING.c.published_at, now)
    # in the order of the index that finds them
    conn.exec_driver_sql(
        _MARK_PUBLISHED,
        [(*each[:6], at, at, at, each.id) for each in sorted(rows, key=attrgetter("id"))],
    )


def add_publications(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record publications."""
    insert_rows(conn, _PUBLICATION, rows)


def _melding(row: Any) -> Melding:
    return Melding(*row)
