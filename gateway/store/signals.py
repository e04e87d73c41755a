"""Signals: staged by intake, made visible in one step, read by the rules (spec 3, Words)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, func, or_, select, update

from gateway.domain.melding import ActiveSignal
from gateway.domain.policy import Grouping
from gateway.domain.signal import ACTIVE, SignalState
from gateway.store.bulk import as_list, fetch, insert_values, listed
from gateway.store.places import CHUNK, chunks
from gateway.store.tables import MeldingRow, SignalRow

_MELDING: Table = MeldingRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]

#: The column of the place that a grouping key leads to.
PLACE_COLUMNS: Mapping[Grouping, str] = {
    Grouping.ADDRESS: "place_a1",
    Grouping.ADDRESS_EXACT: "place_a2",
    Grouping.PERSON: "place_person",
}


@dataclass(slots=True, kw_only=True)
class Version:
    """The version in force of a signal, as far as changes need it; mutable while a file is processed."""

    id: int
    number: str
    municipality: str
    month: str
    state: str
    signal_type: str
    signalled_on: date
    first_received_at: datetime
    first_arrival: int
    first_line: int
    place_s1: int
    place_k1: int
    place_a1: int
    place_a2: int
    place_person: int
    content_token: bytes
    content_key: str
    melding_id: str | None
    passed_on_at: datetime | None
    reported_before: bool
    due_on: date


_VERSION = [_SIGNAL.c[name] for name in Version.__slots__]

#: The columns of a row that `stage` and `move` take, in their order: those of its version come first.
STAGED = (
    *Version.__slots__,
    "delivery_id",
    "line",
    "creditor",
    "sector",
    "is_crisis",
    "warm_handover",
    "amount_cents",
    "since",
    "supply_ends_on",
    "received_at",
    "place_p1",
    "place_as",
    "contents_due_on",
    "sealed",
    "data_key_id",
)


_BY = {
    column: select(*_VERSION)
    .where(
        listed(_SIGNAL.c[column]),
        _SIGNAL.c.in_force,
        _SIGNAL.c.due_on >= bindparam("today", type_=_SIGNAL.c.due_on.type),
        _SIGNAL.c.month >= bindparam("since"),
    )
    .order_by(_SIGNAL.c.id)
    for column in ("place_s1", "place_k1")
}


def in_force(
    conn: Connection, column: str, places: Iterable[int], today: date, *, since: str = ""
) -> Iterator[Version]:
    """Versions in force whose `column` (`place_s1`, `place_k1`) is one of the places, oldest first.

    An automatic id that was withdrawn and came again has two: the newest counts. What is overdue `today` takes
    part in nothing, whether it was purged or not (spec 4, Retention). None of a month before `since` (`YYYY-MM`).
    """
    # all at once: what is made of them may read too
    rows = conn.execute(_BY[column], {"listed": as_list(places), "today": today, "since": since}).all()
    for row in rows:
        yield Version(**dict(zip(Version.__slots__, row, strict=True)))


_BY_ID = select(*_VERSION).where(listed(_SIGNAL.c.id)).order_by(_SIGNAL.c.id)


def by_id(conn: Connection, ids: Iterable[int]) -> Iterator[Version]:
    """Versions by row id."""
    for row in conn.execute(_BY_ID, {"listed": as_list(ids)}):
        yield Version(**dict(zip(Version.__slots__, row, strict=True)))


def first_versions(conn: Connection, ids: Iterable[int]) -> set[int]:
    """Which of these rows are what their signal began with: N, and no W since."""
    is_first = (_SIGNAL.c.received_at == _SIGNAL.c.first_received_at) & (
        _SIGNAL.c.line == _SIGNAL.c.first_line
    )
    found: set[int] = set()
    for chunk in chunks(ids, CHUNK):
        found.update(conn.execute(select(_SIGNAL.c.id).where(_SIGNAL.c.id.in_(chunk), is_first)).scalars())
    return found


def next_id(conn: Connection) -> int:
    """The id of the next row; for the holder of `Store.exclusive()` only."""
    return int(conn.execute(select(func.coalesce(func.max(_SIGNAL.c.id), 0))).scalar_one()) + 1


def stage(conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, of the columns of `STAGED`, that nobody sees yet."""
    insert_values(conn, _SIGNAL, STAGED, rows)


def move(conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Give rows, of the columns of `STAGED`, another municipality, with all that follows from it."""
    if rows:
        new = {name: bindparam(f"new_{name}", type_=_SIGNAL.c[name].type) for name in STAGED}
        conn.execute(
            update(_SIGNAL).where(_SIGNAL.c.id == bindparam("row")).values(new),
            [
                {"row": row[0], **{f"new_{name}": value for name, value in zip(STAGED, row, strict=True)}}
                for row in rows
            ],
        )


def supersede(conn: Connection, ids: Collection[int]) -> None:
    """Newer signals of the same debt were accepted (D51)."""
    for chunk in chunks(ids, CHUNK):
        conn.execute(update(_SIGNAL).where(_SIGNAL.c.id.in_(chunk)).values(state=SignalState.SUPERSEDED))


def drop_staged(conn: Connection, delivery_id: str, at_most: int) -> int:
    """Take away some of what this delivery staged and never showed; how many, 0 when nothing is left."""
    some = select(_SIGNAL.c.id).where(_SIGNAL.c.delivery_id == delivery_id, ~_SIGNAL.c.in_force)
    return conn.execute(delete(_SIGNAL).where(_SIGNAL.c.id.in_(some.limit(at_most)))).rowcount


#: Rows that one statement makes visible.
_SHOWN_AT_ONCE = 2_000
_IDS_OF = select(func.min(_SIGNAL.c.id), func.max(_SIGNAL.c.id)).where(
    _SIGNAL.c.delivery_id == bindparam("of")
)
_SHOW = (
    update(_SIGNAL)
    .where(
        _SIGNAL.c.id.between(bindparam("first"), bindparam("last")),
        # found by id: the index of deliveries would walk all of it each time
        func.likely(_SIGNAL.c.delivery_id == bindparam("of")),
    )
    .values(in_force=True)
)


def show(
    conn: Connection,
    delivery_id: str,
    *,
    replaced: Collection[int],
    superseded: Collection[int],
    withdrawn: Collection[int],
    today: date,
) -> None:
    """Make a delivery's rows visible, and what they do to earlier ones, in the caller's transaction.

    A replaced version goes in the night of `today`.
    """
    first, last = conn.execute(_IDS_OF, {"of": delivery_id}).one()
    # a statement remembers each page that it changes, until it ends
    for begin in range(first or 0, (last or -1) + 1, _SHOWN_AT_ONCE):
        conn.execute(_SHOW, {"of": delivery_id, "first": begin, "last": begin + _SHOWN_AT_ONCE - 1})
    ends: tuple[tuple[Collection[int], dict[str, Any]], ...] = (
        (replaced, {"in_force": False, "due_on": today, "contents_due_on": today}),
        (superseded, {"state": SignalState.SUPERSEDED}),
        (withdrawn, {"state": SignalState.WITHDRAWN}),
    )
    for ids, values in ends:
        for chunk in chunks(ids, CHUNK):
            conn.execute(update(_SIGNAL).where(_SIGNAL.c.id.in_(chunk)).values(**values))


#: Every column of an ActiveSignal but `group`, the place by which it is looked up, and `supply_ends_on`.
_ACTIVE = [
    _SIGNAL.c[name]
    for name in (
        "id",
        "creditor",
        "sector",
        "month",
        "amount_cents",
        "is_crisis",
        "warm_handover",
        "place_a2",
        "place_k1",
        "signalled_on",
        "first_received_at",
        "since",
    )
]
_IS_ACTIVE = (
    _SIGNAL.c.in_force
    & or_(*(_SIGNAL.c.state == state for state in ACTIVE))
    & (_SIGNAL.c.due_on >= bindparam("today", type_=_SIGNAL.c.due_on.type))
)
_ACTIVE_AT = {
    level: select(_SIGNAL.c.municipality, *_ACTIVE, _SIGNAL.c[column], _SIGNAL.c.supply_ends_on).where(
        listed(_SIGNAL.c[column]), _IS_ACTIVE
    )
    for level, column in PLACE_COLUMNS.items()
}


def active(
    conn: Connection, level: Grouping, places: Iterable[int], today: date
) -> Iterator[tuple[str, ActiveSignal]]:
    """Active signals at places of a grouping key, none that is overdue, each with its municipality."""
    values = {"listed": as_list(places), "today": today}
    for municipality, *fields in fetch(conn, _ACTIVE_AT[level], values):
        yield municipality, ActiveSignal._make(fields)


_AMOUNTS = select(_SIGNAL.c.municipality, _SIGNAL.c.place_k1, _SIGNAL.c.month, _SIGNAL.c.amount_cents).where(
    listed(_SIGNAL.c.place_k1), _SIGNAL.c.month < bindparam("before"), _IS_ACTIVE
)


class Amount(NamedTuple):
    """What an active signal of a contract came to."""

    municipality: str
    contract: int
    month: str
    amount_cents: int


def amounts(conn: Connection, contracts: Iterable[int], before: str, today: date) -> Iterator[Amount]:
    """The active signals of contracts (their `place_k1`) in months before one (`YYYY-MM`), none that is overdue."""
    values = {"listed": as_list(contracts), "before": before, "today": today}
    return map(Amount._make, fetch(conn, _AMOUNTS, values))


class Placed(NamedTuple):
    """Where an active signal stands: its row id, its melding, and its places by grouping key."""

    id: int
    melding_id: str
    place_a1: int
    place_a2: int
    place_person: int

    def place(self, level: Grouping) -> int:
        """The place that a grouping key leads to."""
        return int(getattr(self, PLACE_COLUMNS[level]))


def of_month(conn: Connection, municipality: str, month: str, today: date) -> list[Placed]:
    """The active signals of a municipality's month, published or not, none that is overdue; oldest row first."""
    query = (
        select(*(_SIGNAL.c[name] for name in Placed._fields))
        .join(_MELDING, _MELDING.c.id == _SIGNAL.c.melding_id)
        .where(
            _MELDING.c.municipality == municipality,
            _MELDING.c.month == month,
            _is_active(),
            _SIGNAL.c.due_on >= today,
        )
    )
    return [Placed(*row) for row in conn.execute(query.order_by(_SIGNAL.c.id))]


class Known(NamedTuple):
    """A signal that is or was in a melding: its row id, its signaalnummer and what became of it."""

    id: int
    number: str
    state: str


def of_melding(conn: Connection, melding_id: str) -> list[Known]:
    """The signals whose version in force is or was in a melding, also those that ended; oldest row first."""
    query = select(_SIGNAL.c.id, _SIGNAL.c.number, _SIGNAL.c.state).where(
        _SIGNAL.c.melding_id == melding_id, _SIGNAL.c.in_force
    )
    return [Known(*row) for row in conn.execute(query.order_by(_SIGNAL.c.id))]


def numbers(conn: Connection, ids: Iterable[int]) -> dict[int, str]:
    """The signaalnummers of signals by row id."""
    found: dict[int, str] = {}
    for chunk in chunks(ids, CHUNK):
        query = select(_SIGNAL.c.id, _SIGNAL.c.number).where(_SIGNAL.c.id.in_(chunk))
        found.update((row_id, number) for row_id, number in conn.execute(query))
    return found


class Sealed(NamedTuple):
    """What is printed of a signal: clear columns, and the sealed ones with their key (None: not kept)."""

    id: int
    number: str
    municipality: str
    delivery_id: str
    data_key_id: int | None
    line: int
    creditor: str
    state: str
    sector: str
    signal_type: str
    is_crisis: bool
    warm_handover: bool
    amount_cents: int
    signalled_on: date
    since: date
    supply_ends_on: date | None
    received_at: datetime
    first_received_at: datetime
    passed_on_at: datetime | None
    reported_before: bool
    place_k1: int
    due_on: date
    sealed: bytes | None


_SEALED = [_SIGNAL.c[name] for name in Sealed._fields]


_SEALED_BY_ID = select(*_SEALED).where(listed(_SIGNAL.c.id))


def sealed(conn: Connection, ids: Iterable[int]) -> Iterator[Sealed]:
    """Signals with their sealed contents, by row id."""
    return map(Sealed._make, fetch(conn, _SEALED_BY_ID, {"listed": as_list(ids)}))


def live(conn: Connection, delivery_id: str, today: date) -> Iterator[Sealed]:
    """A delivery's signals in force that did not end and whose contents are held, as they are read, by data key."""
    query = select(*_SEALED).where(
        _SIGNAL.c.delivery_id == delivery_id,
        _SIGNAL.c.in_force,
        _SIGNAL.c.state.not_in((SignalState.SUPERSEDED, SignalState.WITHDRAWN)),
        _SIGNAL.c.due_on >= today,
        _SIGNAL.c.contents_due_on >= today,
        _SIGNAL.c.sealed.is_not(None),
    )
    # the order of the index: nothing is sorted
    for row in conn.execute(query.order_by(_SIGNAL.c.data_key_id, _SIGNAL.c.id)):
        yield Sealed._make(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOn:
    """A signal that a municipality works on, without what it says of anybody."""

    number: str
    melding_id: str
    sector: str
    delivery_id: str
    due_on: date


_PASSED_ON = [_SIGNAL.c[name] for name in PassedOn.__slots__]


def passed_on(conn: Connection, melding_ids: Iterable[str], today: date) -> Iterator[PassedOn]:
    """The active signals of these meldingen that went out with them, by row; none that is overdue."""
    for chunk in chunks(melding_ids, CHUNK):
        query = select(*_PASSED_ON).where(
            _SIGNAL.c.melding_id.in_(chunk),
            _SIGNAL.c.passed_on_at.is_not(None),
            _is_active(),
            _SIGNAL.c.due_on >= today,
        )
        for row in conn.execute(query.order_by(_SIGNAL.c.id)):
            yield PassedOn(**dict(zip(PassedOn.__slots__, row, strict=True)))


def unpublished(conn: Connection, municipality: str, today: date) -> Iterator[Version]:
    """Signals of a municipality that wait and were in no publication, oldest first, none that is overdue."""
    query = select(*_VERSION).where(
        _SIGNAL.c.municipality == municipality,
        _SIGNAL.c.state == SignalState.WAITING,
        _SIGNAL.c.passed_on_at.is_(None),
        _SIGNAL.c.in_force,
        _SIGNAL.c.due_on >= today,
    )
    for row in conn.execute(query.order_by(_SIGNAL.c.id)):
        yield Version(**dict(zip(Version.__slots__, row, strict=True)))


def exclude(conn: Connection, row_id: int, *, data_key_id: int, sealed: bytes, contents_due_on: date) -> None:
    """A signal that waited is in no melding any more; its contents are sealed anew, for the day they go."""
    conn.execute(
        update(_SIGNAL)
        .where(_SIGNAL.c.id == row_id)
        .values(
            state=SignalState.EXCLUDED,
            melding_id=None,
            data_key_id=data_key_id,
            sealed=sealed,
            contents_due_on=contents_due_on,
        )
    )


def exclude_again(conn: Connection, numbers: Iterable[str], last: date) -> int:
    """Signals that wait and were in no publication are excluded, with contents that are overdue; how many."""
    count = 0
    for chunk in chunks(numbers, CHUNK):
        done = conn.execute(
            update(_SIGNAL)
            .where(
                _SIGNAL.c.number.in_(chunk),
                _SIGNAL.c.in_force,
                _SIGNAL.c.state == SignalState.WAITING,
                _SIGNAL.c.passed_on_at.is_(None),
            )
            .values(state=SignalState.EXCLUDED, melding_id=None, contents_due_on=last)
        )
        count += done.rowcount
    return count


def withdraw_again(conn: Connection, numbers: Iterable[str]) -> int:
    """Signals in force that did not end are withdrawn; how many."""
    count = 0
    for chunk in chunks(numbers, CHUNK):
        done = conn.execute(
            update(_SIGNAL)
            .where(
                _SIGNAL.c.number.in_(chunk),
                _SIGNAL.c.in_force,
                _SIGNAL.c.state.not_in((SignalState.WITHDRAWN, SignalState.SUPERSEDED)),
            )
            .values(state=SignalState.WITHDRAWN)
        )
        count += done.rowcount
    return count


_NOW = bindparam("now", type_=_SIGNAL.c.passed_on_at.type)
_REPORTED_BEFORE = (
    update(_SIGNAL).where(listed(_SIGNAL.c.id), _SIGNAL.c.passed_on_at.is_(None)).values(reported_before=True)
)
_PASS_ON = (
    update(_SIGNAL)
    .where(listed(_SIGNAL.c.id))
    .values(state=SignalState.PASSED_ON, passed_on_at=func.coalesce(_SIGNAL.c.passed_on_at, _NOW))
)


def mark_passed_on(
    conn: Connection, ids: Collection[int], now: datetime, *, reported_before: Collection[int]
) -> None:
    """The signals are in a publication; `passed_on_at` keeps the first time, and so whether it was D10 or D11."""
    if reported_before:
        conn.execute(_REPORTED_BEFORE, {"listed": as_list(reported_before)})
    if ids:
        conn.execute(_PASS_ON, {"listed": as_list(ids), "now": now})


def counts_by_state(conn: Connection) -> dict[str, int]:
    """How many signals in force are in each state."""
    query = select(_SIGNAL.c.state, func.count()).where(_SIGNAL.c.in_force).group_by(_SIGNAL.c.state)
    return {row[0]: row[1] for row in conn.execute(query)}


class NotRoutable(NamedTuple):
    """Signals in force whose municipality is not known (D40): of those `held` the contents are, of `gone` they are not."""

    held: int
    gone: int


def not_routable_count(conn: Connection, today: date) -> NotRoutable:
    """How many signals wait for a municipality."""
    counted = func.count().filter(_has_contents(today))
    held, every = conn.execute(select(counted, func.count()).where(_is_not_routable(today))).one()
    return NotRoutable(held, every - held)


def not_routable(conn: Connection, today: date) -> dict[str, list[int]]:
    """The signals that wait for a municipality and whose contents are held: delivery -> row ids, in order of receipt."""
    query = select(_SIGNAL.c.delivery_id, _SIGNAL.c.id).where(_is_not_routable(today), _has_contents(today))
    found: dict[str, list[int]] = {}
    for delivery_id, row_id in conn.execute(query.order_by(_SIGNAL.c.id)):
        found.setdefault(delivery_id, []).append(row_id)
    return found


def _is_not_routable(today: date) -> ColumnElement[bool]:
    return _SIGNAL.c.in_force & (_SIGNAL.c.state == SignalState.NOT_ROUTABLE) & (_SIGNAL.c.due_on >= today)


def _has_contents(today: date) -> ColumnElement[bool]:
    """What is overdue takes part in nothing, whether it was purged or not."""
    return _SIGNAL.c.sealed.is_not(None) & (_SIGNAL.c.contents_due_on >= today)


def _is_active() -> ColumnElement[bool]:
    return _SIGNAL.c.in_force & _SIGNAL.c.state.in_(ACTIVE)
