"""Requests of municipalities about persons: which there are, and how far they are. In the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, exists, func, insert, select, update

from gateway.domain.delivery import DeliveryState
from gateway.domain.request import Ask, RequestState
from gateway.store.places import CHUNK, chunks
from gateway.store.tables import Delivery, RequestRow

_REQUEST: Table = RequestRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A request as stored; `parties`, `deliveries` and `backups_until` are those of an erasure that was carried out.

    `held_at` is when a legal hold first kept something of it.
    """

    id: str
    partner_id: str
    number: str
    ask: Ask
    state: RequestState
    delivery_id: str
    line: int
    received_at: datetime
    due_at: datetime
    done_at: datetime | None
    parties: tuple[str, ...]
    deliveries: tuple[str, ...]
    backups_until: date | None
    held_at: datetime | None


_COLUMNS = [_REQUEST.c[name] for name in Stored.__slots__]


def of_numbers(conn: Connection, partner_id: str, numbers: Iterable[str]) -> dict[str, Stored]:
    """A partner's requests of these numbers, by number."""
    found: dict[str, Stored] = {}
    for chunk in chunks(numbers, CHUNK):
        query = select(*_COLUMNS).where(_REQUEST.c.partner_id == partner_id, _REQUEST.c.number.in_(chunk))
        found.update((each.number, each) for each in map(_stored, conn.execute(query).mappings()))
    return found


def add(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store requests."""
    if rows:
        conn.execute(insert(_REQUEST), list(rows))


def by_id(conn: Connection, request_id: str) -> Stored | None:
    """A request; None when there is none of that id."""
    row = conn.execute(select(*_COLUMNS).where(_REQUEST.c.id == request_id)).mappings().one_or_none()
    return None if row is None else _stored(row)


def add_again(conn: Connection, request: Stored) -> None:
    """A request that a restored database does not know is on record again."""
    row = {name: getattr(request, name) for name in Stored.__slots__} | {"parties": "", "deliveries": ""}
    conn.execute(insert(_REQUEST).values(row))


def withdraw(conn: Connection, ids: Collection[str], at: datetime) -> None:
    """These requests are taken back before they took effect."""
    conn.execute(
        update(_REQUEST)
        .where(_REQUEST.c.id.in_(ids), _REQUEST.c.state == RequestState.WAITING)
        .values(state=RequestState.WITHDRAWN, done_at=at)
    )


def due(conn: Connection, now: datetime) -> list[Stored]:
    """Requests that take effect, oldest first; not while what their partner sent before that is still to be read."""
    unread = exists().where(
        _DELIVERY.c.partner_id == _REQUEST.c.partner_id,
        _DELIVERY.c.state.in_((DeliveryState.ARRIVED, DeliveryState.PROCESSING)),
        _DELIVERY.c.received_at < _REQUEST.c.due_at,
    )
    query = select(*_COLUMNS).where(
        _REQUEST.c.state == RequestState.WAITING, _REQUEST.c.due_at <= now, ~unread
    )
    return [
        _stored(row) for row in conn.execute(query.order_by(_REQUEST.c.due_at, _REQUEST.c.line)).mappings()
    ]


def erase(
    conn: Connection,
    request_id: str,
    *,
    parties: Iterable[str],
    deliveries: Iterable[str],
    backups_until: date,
    at: datetime,
) -> None:
    """What a request covers is marked: it goes with the next run of the purge."""
    conn.execute(
        update(_REQUEST)
        .where(_REQUEST.c.id == request_id)
        .values(
            state=RequestState.ERASING,
            parties=" ".join(sorted(parties)),
            deliveries=" ".join(sorted(deliveries)),
            backups_until=backups_until,
            done_at=at,
        )
    )


def erasing(conn: Connection) -> list[Stored]:
    """Requests whose erasure is under way."""
    return _in_state(conn, RequestState.ERASING)


def held(conn: Connection) -> list[Stored]:
    """Requests of which a legal hold keeps something."""
    return _in_state(conn, RequestState.HELD)


def hold(conn: Connection, request_id: str, at: datetime) -> None:
    """All that a request covers is gone, but for what a legal hold keeps."""
    conn.execute(
        update(_REQUEST)
        .where(_REQUEST.c.id == request_id)
        .values(state=RequestState.HELD, held_at=func.coalesce(_REQUEST.c.held_at, at))
    )


def go_on(conn: Connection, request_id: str) -> None:
    """No hold keeps anything of a request any more: the rest goes with this run of the purge."""
    conn.execute(
        update(_REQUEST)
        .where(_REQUEST.c.id == request_id, _REQUEST.c.state == RequestState.HELD)
        .values(state=RequestState.ERASING)
    )


def finish(conn: Connection, ids: Collection[str], at: datetime) -> None:
    """All that these requests covered is gone."""
    conn.execute(update(_REQUEST).where(_REQUEST.c.id.in_(ids)).values(state=RequestState.DONE, done_at=at))


def listed(conn: Connection) -> list[Stored]:
    """Every request, newest first."""
    query = select(*_COLUMNS).order_by(_REQUEST.c.received_at.desc(), _REQUEST.c.line.desc())
    return [_stored(row) for row in conn.execute(query).mappings()]


def _in_state(conn: Connection, state: RequestState) -> list[Stored]:
    query = select(*_COLUMNS).where(_REQUEST.c.state == state)
    return [_stored(row) for row in conn.execute(query.order_by(_REQUEST.c.id)).mappings()]


def _stored(row: Mapping[Any, Any]) -> Stored:
    return Stored(
        **{
            **row,
            "ask": Ask(row["ask"]),
            "state": RequestState(row["state"]),
            "parties": tuple(row["parties"].split()),
            "deliveries": tuple(row["deliveries"].split()),
        }
    )
