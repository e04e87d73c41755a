"""What is held on a person: rows by place, files that may hold more; and its early end (spec 4, WISSEN)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select, update
from sqlalchemy import delete as delete_from

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import LISTED, PROOFS, DispatchKind, DispatchState
from gateway.store.places import CHUNK, chunks
from gateway.store.signals import Version
from gateway.store.tables import (
    AnswerRow,
    DataKeyRow,
    Delivery,
    Dispatch,
    DispatchContent,
    IndexToken,
    MeldingRow,
    SignalRow,
)

_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_ANSWER: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_CONTENT: Table = DispatchContent.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_MELDING: Table = MeldingRow.__table__  # type: ignore[attr-defined]
_TOKEN: Table = IndexToken.__table__  # type: ignore[attr-defined]

#: The columns that hold a place.
_PLACES = ("place_s1", "place_k1", "place_a1", "place_a2", "place_p1", "place_as", "place_person")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A row that may be about a person; `klasse` is that of its melding as it was published last."""

    id: int
    number: str
    municipality: str
    delivery_id: str
    state: str
    in_force: bool
    month: str
    place_p1: int | None
    place_as: int | None
    melding_id: str | None
    klasse: str | None
    due_on: date
    contents_due_on: date


_HELD = [*(_SIGNAL.c[name] for name in Held.__slots__ if name != "klasse"), _MELDING.c.klasse]


def at_places(
    conn: Connection, municipalities: Collection[str], p1: Iterable[int], by_surname: Iterable[int]
) -> list[Held]:
    """Rows of these municipalities by the places of P1 and AS; every version, whatever its state."""
    where = or_(_SIGNAL.c.place_p1.in_(list(p1)), _SIGNAL.c.place_as.in_(list(by_surname)))
    return _held(conn, municipalities, where)


def unindexed(
    conn: Connection, municipalities: Collection[str], live_keys: Collection[str], today: date
) -> list[Held]:
    """Rows that no token may lead to any more: overdue ones, and those whose index key is gone."""
    where = or_(_SIGNAL.c.due_on < today, _SIGNAL.c.content_key.not_in(live_keys))
    return _held(conn, municipalities, where)


def versions_of(conn: Connection, numbers: Iterable[str]) -> list[Version]:
    """Every row of these signals, also versions that were replaced."""
    columns = [_SIGNAL.c[name] for name in Version.__slots__]
    return [
        Version(**dict(zip(Version.__slots__, row, strict=True)))
        for chunk in chunks(numbers, CHUNK)
        for row in conn.execute(select(*columns).where(_SIGNAL.c.number.in_(chunk)).order_by(_SIGNAL.c.id))
    ]


def _held(conn: Connection, municipalities: Collection[str], where: ColumnElement[bool]) -> list[Held]:
    shown = select(_DELIVERY.c.id).where(
        _DELIVERY.c.state.in_((DeliveryState.PROCESSED, DeliveryState.PURGING))
    )
    query = (
        select(*_HELD)
        .outerjoin(_MELDING, _MELDING.c.id == _SIGNAL.c.melding_id)
        .where(where, _SIGNAL.c.municipality.in_(municipalities), _SIGNAL.c.delivery_id.in_(shown))
        .order_by(_SIGNAL.c.id)
    )
    return [Held(**row) for row in conn.execute(query).mappings()]


# Answers and files ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a municipality answered on a signal."""

    signal_number: str
    partner_id: str
    outcome: str
    on: date
    contact: str | None
    reached: bool | None
    consents: bool
    suspend_until: date | None
    due_on: date


def answers_on(conn: Connection, numbers: Iterable[str]) -> list[Answered]:
    """All answers on these signals, in order of receipt."""
    columns = [_ANSWER.c[name] for name in Answered.__slots__]
    shown = select(_DELIVERY.c.id).where(_DELIVERY.c.state == DeliveryState.PROCESSED)
    return [
        Answered(**row)
        for chunk in chunks(numbers, CHUNK)
        for row in conn.execute(
            select(*columns)
            .where(_ANSWER.c.signal_number.in_(chunk), _ANSWER.c.delivery_id.in_(shown))
            .order_by(_ANSWER.c.arrival, _ANSWER.c.line)
        ).mappings()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A received file that is held, and was processed."""

    id: str
    partner_id: str
    received_at: datetime
    blob: str
    raw_due_on: date


def raws(conn: Connection, partner_ids: Collection[str]) -> list[Raw]:
    """The received files of these partners that are held, oldest first."""
    columns = [_DELIVERY.c[name] for name in Raw.__slots__]
    query = select(*columns).where(
        _DELIVERY.c.partner_id.in_(partner_ids),
        _DELIVERY.c.state == DeliveryState.PROCESSED,
        _DELIVERY.c.blob.is_not(None),
        _DELIVERY.c.raw_gone_at.is_(None),
    )
    return [Raw(**row) for row in conn.execute(query.order_by(_DELIVERY.c.arrival)).mappings()]


def raw(conn: Connection, delivery_id: str) -> Raw | None:
    """A received file, None when it is gone."""
    columns = [_DELIVERY.c[name] for name in Raw.__slots__]
    query = select(*columns).where(_DELIVERY.c.id == delivery_id, _DELIVERY.c.blob.is_not(None))
    row = conn.execute(query).mappings().one_or_none()
    return None if row is None else Raw(**row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An outgoing file that is held, hidden or not."""

    id: str
    partner_id: str
    municipality: str
    box: str
    name: str
    kind: str
    delivery_id: str | None
    parent_id: str | None
    blob: str
    created_at: datetime
    collected_at: datetime | None
    removed_at: datetime | None
    due_on: date


_OUTGOING = [_DISPATCH.c[name] for name in Outgoing.__slots__]
_IS_HELD = _DISPATCH.c.state.in_((*LISTED, DispatchState.BLOCKED, DispatchState.REPLACED))


def outgoing_of(conn: Connection, partner_id: str, municipalities: Collection[str]) -> list[Outgoing]:
    """The outgoing files for a partner or of these municipalities that are held; no proofs of destruction."""
    query = select(*_OUTGOING).where(
        _IS_HELD,
        or_(_DISPATCH.c.partner_id == partner_id, _DISPATCH.c.municipality.in_(municipalities)),
        _DISPATCH.c.kind.not_in(PROOFS),
    )
    return _outgoing(conn, query)


def outgoing_with(conn: Connection, delivery_ids: Iterable[str]) -> list[Outgoing]:
    """The outgoing files that are held and were made with signals of these deliveries."""
    told = select(_CONTENT.c.dispatch_id).where(_CONTENT.c.delivery_id.in_(list(delivery_ids)))
    return _outgoing(conn, select(*_OUTGOING).where(_IS_HELD, _DISPATCH.c.id.in_(told)))


def _outgoing(conn: Connection, query: Any) -> list[Outgoing]:
    rows = conn.execute(query.order_by(_DISPATCH.c.created_at, _DISPATCH.c.name)).mappings()
    return [Outgoing(**row) for row in rows]


# The early end -------------------------------------------------------------------------------------------


def rows_at(conn: Connection, places: Iterable[tuple[str, int]]) -> list[int]:
    """The row ids of signals by delivery and line."""
    return [
        row_id
        for delivery_id, line in places
        for row_id in conn.execute(
            select(_SIGNAL.c.id).where(_SIGNAL.c.delivery_id == delivery_id, _SIGNAL.c.line == line)
        ).scalars()
    ]


def raws_at(conn: Connection, delivery_ids: Iterable[str]) -> list[Raw]:
    """Those of these received files that are held."""
    return [found for each in delivery_ids if (found := raw(conn, each)) is not None]


def outgoing_at(conn: Connection, ids: Iterable[str], told_of: Iterable[str]) -> list[Outgoing]:
    """Those of these outgoing files that are held, and every worklist that tells of one of these deliveries."""
    with_them = select(_CONTENT.c.dispatch_id).where(_CONTENT.c.delivery_id.in_(list(told_of)))
    is_worklist = and_(_DISPATCH.c.kind == DispatchKind.WORKLIST, _DISPATCH.c.id.in_(with_them))
    return _outgoing(
        conn, select(*_OUTGOING).where(_IS_HELD, or_(_DISPATCH.c.id.in_(list(ids)), is_worklist))
    )


def tokens_of(conn: Connection, row_ids: Collection[int]) -> list[tuple[str, str, bytes]]:
    """The index tokens that lead only to these rows; reads all tokens."""
    places: set[int] = set()
    for chunk in chunks(row_ids, CHUNK):
        for row in conn.execute(
            select(*(_SIGNAL.c[name] for name in _PLACES)).where(_SIGNAL.c.id.in_(chunk))
        ):
            places.update(place for place in row if place is not None)
    shared: set[int] = set()
    for name in _PLACES:
        for chunk in chunks(places, CHUNK):
            query = select(_SIGNAL.c.id, _SIGNAL.c[name]).where(_SIGNAL.c[name].in_(chunk))
            shared.update(place for row_id, place in conn.execute(query) if row_id not in row_ids)
    return [
        (key_id, level, token)
        for chunk in chunks(places - shared, CHUNK)
        for key_id, level, token in conn.execute(
            select(_TOKEN.c.key_id, _TOKEN.c.level, _TOKEN.c.token).where(_TOKEN.c.place.in_(chunk))
        )
    ]


def drop_tokens(conn: Connection, tokens: Iterable[tuple[str, str, bytes]]) -> None:
    """Let go of index tokens."""
    for key_id, level, token in tokens:
        conn.execute(
            delete_from(_TOKEN).where(
                _TOKEN.c.key_id == key_id, _TOKEN.c.level == level, _TOKEN.c.token == token
            )
        )


def end_rows(conn: Connection, ids: Collection[int], last: date) -> None:
    """These rows and what was answered on their signals are overdue from now on: they take part in nothing."""
    gone = {"due_on": last, "contents_due_on": last, "is_erased": True}
    for chunk in chunks(ids, CHUNK):
        conn.execute(update(_SIGNAL).where(_SIGNAL.c.id.in_(chunk)).values(gone))


def end_answers(conn: Connection, numbers: Iterable[str], last: date) -> None:
    """What was answered on these signals is overdue from now on."""
    for chunk in chunks(numbers, CHUNK):
        conn.execute(
            update(_ANSWER).where(_ANSWER.c.signal_number.in_(chunk)).values(due_on=last, is_erased=True)
        )


def end_raws(conn: Connection, ids: Collection[str], last: date) -> None:
    """These received files and their keys are overdue from now on; rows that came in them stay."""
    for chunk in chunks(ids, CHUNK):
        conn.execute(update(_DELIVERY).where(_DELIVERY.c.id.in_(chunk)).values(raw_due_on=last))
        conn.execute(
            update(_DATA_KEY)
            .where(_DATA_KEY.c.object_id.in_(chunk), _DATA_KEY.c.municipality == "")
            .values(due_on=last)
        )


def end_outgoing(conn: Connection, ids: Collection[str]) -> None:
    """These outgoing files, and what comes and goes with them, are out of sight."""
    for chunk in chunks(ids, CHUNK):
        of_them = or_(_DISPATCH.c.id.in_(chunk), _DISPATCH.c.parent_id.in_(chunk))
        conn.execute(update(_DISPATCH).where(_IS_HELD, of_them).values(state=DispatchState.PURGING))


def lose(conn: Connection, melding_ids: Collection[str], created_at: datetime, now: datetime) -> None:
    """The file of `created_at` goes uncollected: those of its meldingen that no later file holds go out again."""
    for chunk in chunks(melding_ids, CHUNK):
        conn.execute(
            update(_MELDING)
            .where(_MELDING.c.id.in_(chunk), _MELDING.c.published_at <= created_at)
            .values(is_lost=True, touched_at=now)
        )


def hold_still(conn: Connection, melding_ids: Collection[str], partner_id: str, created_at: datetime) -> None:
    """A partner never heard, by the file of `created_at`, that these went to another: it holds them until it does."""
    for chunk in chunks(melding_ids, CHUNK):
        conn.execute(
            update(_MELDING)
            .where(_MELDING.c.id.in_(chunk), _MELDING.c.published_at <= created_at)
            .values(partner_id=partner_id)
        )


def marked_meldingen(conn: Connection, today: date) -> set[str]:
    """The meldingen to look at again that lost a file, or a signal that is overdue and not purged yet."""
    overdue = select(_SIGNAL.c.melding_id).where(_SIGNAL.c.due_on < today)
    query = select(_MELDING.c.id).where(
        _MELDING.c.touched_at.is_not(None), or_(_MELDING.c.is_lost, _MELDING.c.id.in_(overdue))
    )
    return set(conn.execute(query).scalars())


def meldingen_of(conn: Connection, melding_ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Id and municipality of those meldingen that were published before."""
    for chunk in chunks(melding_ids, CHUNK):
        query = select(_MELDING.c.id, _MELDING.c.municipality).where(
            _MELDING.c.id.in_(chunk), _MELDING.c.version > 0
        )
        yield from ((row.id, row.municipality) for row in conn.execute(query))
