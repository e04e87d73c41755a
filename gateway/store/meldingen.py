"""Meldingen: which there are, which must be looked at again, what was published of them (spec 3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, exists, func, insert, select, update

from gateway.domain.policy import Grouping
from gateway.domain.signal import ACTIVE
from gateway.store.places import CHUNK, chunks
from gateway.store.tables import GroupingRow, MeldingRow, Publication, SignalRow

_MELDING: Table = MeldingRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_GROUPING: Table = GroupingRow.__table__  # type: ignore[attr-defined]
_PUBLICATION: Table = Publication.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Melding:
    """A melding as stored."""

    id: str
    municipality: str
    month: str
    level: str
    place: int
    touched_at: datetime | None
    is_urgent: bool
    version: int
    partner_id: str | None
    klasse: str | None
    fingerprint: str | None
    published: str | None
    first_published_at: datetime | None
    crisis_at: datetime | None
    due_on: date


_COLUMNS = [_MELDING.c[name] for name in Melding.__slots__]


def grouping_of(conn: Connection, municipality: str, month: str, policy: Grouping) -> Grouping:
    """The key that groups a municipality's month: the policy's when the month began (spec 3, Policy)."""
    where = (_GROUPING.c.municipality == municipality) & (_GROUPING.c.month == month)
    level = conn.execute(select(_GROUPING.c.level).where(where)).scalar()
    if level is None:
        conn.execute(insert(_GROUPING).values(municipality=municipality, month=month, level=policy))
        return policy
    return Grouping(level)


def find(
    conn: Connection, municipality: str, month: str, level: Grouping, places: Iterable[int]
) -> dict[int, str]:
    """The ids of a month's meldingen by place."""
    found: dict[int, str] = {}
    for chunk in chunks(places, CHUNK):
        query = select(_MELDING.c.place, _MELDING.c.id).where(
            _MELDING.c.municipality == municipality,
            _MELDING.c.month == month,
            _MELDING.c.level == level,
            _MELDING.c.place.in_(chunk),
        )
        found.update((place, melding_id) for place, melding_id in conn.execute(query))
    return found


def add(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store new meldingen."""
    if rows:
        conn.execute(insert(_MELDING), list(rows))


def extend(conn: Connection, melding_ids: Collection[str], due_on: date) -> None:
    """A melding is held as long as any signal it ever held."""
    if melding_ids:
        conn.execute(
            update(_MELDING)
            .where(_MELDING.c.id == bindparam("melding"), _MELDING.c.due_on < due_on)
            .values(due_on=due_on),
            [{"melding": melding_id} for melding_id in melding_ids],
        )


def touch(conn: Connection, spans: Collection[tuple[str, int, str, str]], now: datetime) -> None:
    """Meldingen at a place must be looked at again.

    Args:
        conn: a transaction.
        spans: municipality, place, first and last month.
        now: when they were touched, unless they were already.
    """
    if spans:
        conn.execute(
            update(_MELDING)
            .where(
                _MELDING.c.place == bindparam("at_place"),
                _MELDING.c.municipality == bindparam("gm"),
                _MELDING.c.month >= bindparam("first"),
                _MELDING.c.month <= bindparam("last"),
            )
            .values(
                touched_at=func.coalesce(
                    _MELDING.c.touched_at, bindparam("at", type_=_MELDING.c.touched_at.type)
                )
            ),
            [
                {"gm": gm, "at_place": place, "first": first, "last": last, "at": now}
                for gm, place, first, last in spans
            ],
        )


def touch_contracts(conn: Connection, spans: Collection[tuple[int, str, str]], now: datetime) -> None:
    """Meldingen of later signals of a contract must be looked at again: `herhaald` may have changed.

    Args:
        conn: a transaction.
        spans: place of K1, first and last month.
        now: when they were touched, unless they were already.
    """
    if spans:
        of_contract = select(_SIGNAL.c.melding_id).where(
            _SIGNAL.c.place_k1 == bindparam("contract"),
            _SIGNAL.c.month >= bindparam("first"),
            _SIGNAL.c.month <= bindparam("last"),
            _SIGNAL.c.in_force,
            _SIGNAL.c.melding_id.is_not(None),
        )
        conn.execute(
            update(_MELDING)
            .where(_MELDING.c.id.in_(of_contract))
            .values(
                touched_at=func.coalesce(
                    _MELDING.c.touched_at, bindparam("at", type_=_MELDING.c.touched_at.type)
                )
            ),
            [{"contract": place, "first": first, "last": last, "at": now} for place, first, last in spans],
        )


def mark_urgent(conn: Connection, municipalities: Collection[str]) -> None:
    """Touched meldingen that hold a crisis signal go out at once and alone (spec 3, Publication)."""
    is_crisis = exists().where(
        _SIGNAL.c.melding_id == _MELDING.c.id,
        _SIGNAL.c.in_force,
        _SIGNAL.c.is_crisis,
        _SIGNAL.c.state.in_(ACTIVE),
    )
    conn.execute(
        update(_MELDING)
        .where(_MELDING.c.touched_at.is_not(None), _MELDING.c.municipality.in_(municipalities))
        .values(is_urgent=is_crisis)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What waits in a municipality: since when, and how many of it are urgent."""

    municipality: str
    since: datetime
    count: int
    urgent: int


def waiting(conn: Connection) -> list[Touched]:
    """Municipalities with meldingen that must be looked at again."""
    query = (
        select(
            _MELDING.c.municipality,
            func.min(_MELDING.c.touched_at),
            func.count(),
            func.sum(_MELDING.c.is_urgent),
        )
        .where(_MELDING.c.touched_at.is_not(None))
        .group_by(_MELDING.c.municipality)
    )
    return [
        Touched(municipality=gm, since=since, count=count, urgent=int(urgent))
        for gm, since, count, urgent in conn.execute(query)
    ]


def touched(conn: Connection, municipality: str, *, only_urgent: bool) -> list[Melding]:
    """The meldingen of a municipality to look at again."""
    query = select(*_COLUMNS).where(
        _MELDING.c.municipality == municipality, _MELDING.c.touched_at.is_not(None)
    )
    if only_urgent:
        query = query.where(_MELDING.c.is_urgent)
    return [_melding(row) for row in conn.execute(query.order_by(_MELDING.c.id))]


def published(conn: Connection, municipality: str, month: str) -> list[Melding]:
    """The meldingen of a month whose last publication was not VERVALLEN: ranks are made among them."""
    query = select(*_COLUMNS).where(
        _MELDING.c.municipality == municipality, _MELDING.c.month == month, _MELDING.c.published.is_not(None)
    )
    return [_melding(row) for row in conn.execute(query)]


def get(conn: Connection, melding_id: str) -> Melding | None:
    """One melding by id."""
    row = conn.execute(select(*_COLUMNS).where(_MELDING.c.id == melding_id)).one_or_none()
    return None if row is None else _melding(row)


def settle(conn: Connection, melding_ids: Collection[str]) -> None:
    """Looked at: nothing about them changed."""
    if melding_ids:
        conn.execute(
            update(_MELDING)
            .where(_MELDING.c.id == bindparam("melding"))
            .values(touched_at=None, is_urgent=False),
            [{"melding": melding_id} for melding_id in melding_ids],
        )


def mark_published(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store what was published; each row has `melding` (the id) and the columns that change."""
    if rows:
        names = [name for name in rows[0] if name != "melding"]
        conn.execute(
            update(_MELDING)
            .where(_MELDING.c.id == bindparam("melding"))
            .values(
                {name: bindparam(f"new_{name}", type_=_MELDING.c[name].type) for name in names}
                | {"touched_at": None, "is_urgent": False}
            ),
            [{"melding": row["melding"]} | {f"new_{name}": row[name] for name in names} for row in rows],
        )


def add_publication(conn: Connection, **values: Any) -> None:
    """Record one publication."""
    conn.execute(insert(_PUBLICATION).values(**values))


def _melding(row: Any) -> Melding:
    return Melding(**dict(zip(Melding.__slots__, row, strict=True)))
