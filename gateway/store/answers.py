"""What municipalities answered on signals, and whom they may answer (spec 2, Feedback file)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, exists, insert, select

from gateway.domain.delivery import DeliveryState
from gateway.domain.feedback import Answer, Outcome
from gateway.domain.melding import Klasse
from gateway.domain.signal import ACTIVE
from gateway.store.places import CHUNK, chunks
from gateway.store.tables import AnswerRow, Delivery, MeldingRow, SignalRow

_ANSWER: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_MELDING: Table = MeldingRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A passed-on signal that can be answered; `holder` is the partner that now holds its melding."""

    id: int
    number: str
    municipality: str
    melding_id: str
    holder: str
    place_p1: int | None
    place_as: int | None
    due_on: date


def by_number(conn: Connection, numbers: Iterable[str], today: date) -> Iterator[Subject]:
    """The signals of these numbers that can be answered."""
    for chunk in chunks(numbers, CHUNK):
        yield from _subjects(conn, _SIGNAL.c.number.in_(chunk), today)


def by_melding(conn: Connection, melding_ids: Iterable[str], today: date) -> Iterator[Subject]:
    """The signals of these meldingen that can be answered, in a fixed order."""
    for chunk in chunks(melding_ids, CHUNK):
        yield from _subjects(conn, _SIGNAL.c.melding_id.in_(chunk), today)


def stage(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store answers that count once their delivery is PROCESSED."""
    if rows:
        conn.execute(insert(_ANSWER), list(rows))


def drop_staged(conn: Connection, delivery_id: str, at_most: int) -> int:
    """Take away some of what an undecided delivery staged; how many, 0 when nothing is left."""
    some = select(_ANSWER.c.id).where(_ANSWER.c.delivery_id == delivery_id).limit(at_most)
    return conn.execute(delete(_ANSWER).where(_ANSWER.c.id.in_(some))).rowcount


def of_signals(conn: Connection, numbers: Iterable[str]) -> dict[str, list[Answer]]:
    """All answers that count, by signal number; signals without one are left out."""
    return _answers(conn, numbers, _ANSWER.c.delivery_id.in_(_processed()))


def staged(conn: Connection, delivery_id: str, numbers: Iterable[str]) -> dict[str, list[Answer]]:
    """The answers that an undecided delivery staged, by signal number."""
    return _answers(conn, numbers, _ANSWER.c.delivery_id == delivery_id)


def silent(conn: Connection, since: datetime, until: datetime, today: date) -> list[int]:
    """Row ids of passed-on signals without an answer, passed on from `since` up to `until`, by row.

    That nothing was done yet is no answer.
    """
    answered = exists().where(
        _ANSWER.c.signal_number == _SIGNAL.c.number,
        _ANSWER.c.outcome != Outcome.NOT_YET,
        _ANSWER.c.delivery_id.in_(_processed()),
    )
    query = select(_SIGNAL.c.id).where(
        _SIGNAL.c.passed_on_at >= since, _SIGNAL.c.passed_on_at < until, _is_live(today), ~answered
    )
    return list(conn.execute(query.order_by(_SIGNAL.c.id)).scalars())


def _subjects(conn: Connection, condition: ColumnElement[bool], today: date) -> Iterator[Subject]:
    query = (
        select(
            _SIGNAL.c.id,
            _SIGNAL.c.number,
            _SIGNAL.c.municipality,
            _SIGNAL.c.melding_id,
            _MELDING.c.partner_id.label("holder"),
            _SIGNAL.c.place_p1,
            _SIGNAL.c.place_as,
            _SIGNAL.c.due_on,
        )
        .join(_MELDING, _MELDING.c.id == _SIGNAL.c.melding_id)
        .where(
            condition,
            _SIGNAL.c.passed_on_at.is_not(None),
            _is_live(today),
            _MELDING.c.partner_id.is_not(None),
            _MELDING.c.klasse != Klasse.LAPSED,
        )
        .order_by(_SIGNAL.c.id)
    )
    for row in conn.execute(query).mappings():
        yield Subject(**row)


def _answers(
    conn: Connection, numbers: Iterable[str], condition: ColumnElement[bool]
) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for chunk in chunks(numbers, CHUNK):
        for row in conn.execute(
            select(_ANSWER).where(_ANSWER.c.signal_number.in_(chunk), condition)
        ).mappings():
            answer = Answer(
                outcome=Outcome(row["outcome"]),
                on=row["on"],
                municipality=row["municipality"],
                order=(row["arrival"], row["line"]),
                consents=row["consents"],
                suspend_until=row["suspend_until"],
            )
            found.setdefault(row["signal_number"], []).append(answer)
    return found


def _processed() -> Select[Any]:
    return select(_DELIVERY.c.id).where(_DELIVERY.c.state == DeliveryState.PROCESSED).correlate(None)


def _is_live(today: date) -> ColumnElement[bool]:
    return _SIGNAL.c.in_force & _SIGNAL.c.state.in_(ACTIVE) & (_SIGNAL.c.due_on >= today)
