"""What a database that was put back needs before anyone comes in (spec 4, Retention), in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, select, tuple_, update

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import NUMBERED
from gateway.domain.request import RequestState
from gateway.store import certificates, holds, outgoing, persons, queue
from gateway.store.data_keys import StoredKey
from gateway.store.ledger import PASSED_OVER
from gateway.store.places import CHUNK, chunks
from gateway.store.retention_tables import HoldDelivery, HoldRow, RestoreRow
from gateway.store.tables import (
    Counter,
    DataKeyRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    IndexToken,
    MeldingRow,
    RequestRow,
    SignalRow,
    WorklistRow,
)

_RESTORE: Table = RestoreRow.__table__  # type: ignore[attr-defined]
_COUNTER: Table = Counter.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_REQUEST: Table = RequestRow.__table__  # type: ignore[attr-defined]
_HOLD: Table = HoldRow.__table__  # type: ignore[attr-defined]
_COVERED: Table = HoldDelivery.__table__  # type: ignore[attr-defined]
_TOKEN: Table = IndexToken.__table__  # type: ignore[attr-defined]
_MELDING: Table = MeldingRow.__table__  # type: ignore[attr-defined]
_WORKLIST: Table = WorklistRow.__table__  # type: ignore[attr-defined]

#: How much higher numbers that partners saw go on.
PASSED = 1_000
#: A received file that can't be opened any more is refused: it can't be processed.
_UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replay under way. `log_size` is how many entries of the log the database held by itself."""

    id: int
    mark: str
    began_at: datetime
    log_size: int
    taken_in: int
    unopenable: int
    removals: int
    lists: int | None


_REPLAY = [_RESTORE.c[name] for name in Replay.__slots__]


def under_way(conn: Connection) -> Replay | None:
    """The replay that did not end yet."""
    query = select(*_REPLAY).where(_RESTORE.c.finished_at.is_(None)).order_by(_RESTORE.c.id.desc()).limit(1)
    row = conn.execute(query).mappings().one_or_none()
    return None if row is None else Replay(**row)


def begin(conn: Connection, *, mark: str, log_size: int, taken_in: int, at: datetime) -> None:
    """A replay begins; one that did not end is given up: it was that of an earlier restore."""
    conn.execute(update(_RESTORE).where(_RESTORE.c.finished_at.is_(None)).values(finished_at=at))
    conn.execute(insert(_RESTORE).values(mark=mark, began_at=at, log_size=log_size, taken_in=taken_in))


def count(conn: Connection, replay: Replay, **counts: int) -> None:
    """Add to what a replay did."""
    columns = {name: _RESTORE.c[name] + number for name, number in counts.items()}
    conn.execute(update(_RESTORE).where(_RESTORE.c.id == replay.id).values(columns))


def tell(conn: Connection, replay: Replay, lists: int) -> None:
    """Partners have their lists, with the caller's transaction."""
    conn.execute(update(_RESTORE).where(_RESTORE.c.id == replay.id).values(lists=lists))


def finish(conn: Connection, replay: Replay, at: datetime) -> None:
    """A replay is done."""
    conn.execute(update(_RESTORE).where(_RESTORE.c.id == replay.id).values(finished_at=at))


# Numbers that others saw ---------------------------------------------------------------------------------


def pass_over(conn: Connection, series: Iterable[str], year: int) -> None:
    """Numbers go on higher: of files by their series, of certificates of a year, versions of meldingen and worklists.

    What was given out after the backup is not known: no number is given out twice. Each number that was passed over is
    on record, so that the ledger adds up.
    """
    known = set(conn.execute(select(_COUNTER.c.name)).scalars())
    for name in sorted({*series, *(each for each in known if each.partition("/")[0] in NUMBERED.values())}):
        outgoing.use_number(conn, name, outgoing.last_number(conn, name) + PASSED)
        passed = f"{PASSED_OVER}/{name}"
        outgoing.use_number(conn, passed, outgoing.last_number(conn, passed) + PASSED)
    series = f"{PASSED_OVER}/certificate/{year}"
    outgoing.use_number(conn, series, certificates.last_number(conn, year) + PASSED)
    conn.execute(update(_MELDING).where(_MELDING.c.version > 0).values(version=_MELDING.c.version + PASSED))
    conn.execute(
        update(_WORKLIST).where(_WORKLIST.c.version > 0).values(version=_WORKLIST.c.version + PASSED)
    )


# Holds ---------------------------------------------------------------------------------------------------


def put_hold(conn: Connection, hold: Mapping[str, Any], deliveries: Iterable[str]) -> None:
    """A legal hold is on record as it was last."""
    conn.execute(delete(_HOLD).where(_HOLD.c.id == hold["id"]))
    conn.execute(delete(_COVERED).where(_COVERED.c.hold_id == hold["id"]))
    conn.execute(insert(_HOLD).values(dict(hold)))
    rows = [{"hold_id": hold["id"], "delivery_id": each} for each in deliveries]
    if rows:
        conn.execute(insert(_COVERED), rows)


def put_key(conn: Connection, key: StoredKey) -> None:
    """A data key is wrapped as it was last, if what it seals is here."""
    conn.execute(
        update(_DATA_KEY)
        .where(
            _DATA_KEY.c.object_id == key.object_id,
            _DATA_KEY.c.municipality == key.municipality,
            _DATA_KEY.c.commitment == key.commitment,
        )
        .values(key_id=key.key_id, key_version=key.key_version, wrapped=key.wrapped)
    )


def lift_without_key(conn: Connection, ring: Collection[str], at: datetime) -> int:
    """Holds in force whose key is gone were lifted since; how many."""
    gone = [each.id for each in holds.held(conn) if f"{holds.KEYS}{each.id}" not in ring]
    for hold_id in gone:
        holds.lift(conn, hold_id, (), at)
    return len(gone)


# What can't be opened any more ---------------------------------------------------------------------------


def wrapping(conn: Connection) -> list[StoredKey]:
    """One wrapped data key for each key, in each version, that wraps any."""
    firsts = select(func.min(_DATA_KEY.c.id)).group_by(_DATA_KEY.c.key_id, _DATA_KEY.c.key_version)
    query = select(*(_DATA_KEY.c[name] for name in StoredKey.__slots__)).where(_DATA_KEY.c.id.in_(firsts))
    return [StoredKey(**row) for row in conn.execute(query).mappings()]


def end_unopenable(conn: Connection, under: Collection[tuple[str, int]], last: date, now: datetime) -> int:
    """What is wrapped under these keys is overdue, whatever its day: the purge takes it. How many data keys."""
    dead = tuple_(_DATA_KEY.c.key_id, _DATA_KEY.c.key_version).in_(list(under))
    keys = list(
        conn.execute(select(_DATA_KEY.c.id, _DATA_KEY.c.object_id, _DATA_KEY.c.municipality).where(dead))
    )
    rows = [row.id for row in keys if row.municipality]
    objects = [row.object_id for row in keys if not row.municipality]
    for chunk in chunks(rows, CHUNK):
        # it waits for nobody's approval: it is gone
        _overdue(conn, _SIGNAL, _SIGNAL.c.data_key_id.in_(chunk), due_on=last, contents_due_on=last)
        _overdue(conn, _EXCLUSION, _EXCLUSION.c.data_key_id.in_(chunk), due_on=last)
        for table in (_SIGNAL, _EXCLUSION):
            conn.execute(update(table).where(table.c.data_key_id.in_(chunk)).values(is_erased=True))
    persons.end_outgoing(conn, objects)
    for chunk in chunks(objects, CHUNK):
        _overdue(
            conn, _DELIVERY, _DELIVERY.c.id.in_(chunk) & _DELIVERY.c.raw_due_on.is_not(None), raw_due_on=last
        )
        conn.execute(
            update(_REQUEST)
            .where(_REQUEST.c.delivery_id.in_(chunk), _REQUEST.c.state == RequestState.WAITING)
            .values(state=RequestState.WITHDRAWN, done_at=now)
        )
        own = _DATA_KEY.c.object_id.in_(chunk) & (_DATA_KEY.c.municipality == "")
        _overdue(conn, _DATA_KEY, own, due_on=last)
    return len(keys)


def _overdue(conn: Connection, table: Table, where: ColumnElement[bool], **days: date) -> None:
    earlier = [func.min(table.c[name], day) for name, day in days.items()]
    conn.execute(update(table).where(where).values(dict(zip(days, earlier, strict=True))))


def unprocessable(conn: Connection, under: Collection[tuple[str, int]]) -> list[tuple[str, DeliveryState]]:
    """Received files that were still to be processed, and are wrapped under one of these keys."""
    dead = tuple_(_DATA_KEY.c.key_id, _DATA_KEY.c.key_version).in_(list(under))
    of_file = (_DATA_KEY.c.object_id == _DELIVERY.c.id) & (_DATA_KEY.c.municipality == "")
    query = select(_DELIVERY.c.id, _DELIVERY.c.state).join(_DATA_KEY, of_file)
    rows = conn.execute(query.where(dead, _DELIVERY.c.state.in_(_TO_REFUSED)))
    return [(row.id, DeliveryState(row.state)) for row in rows]


def refuse(conn: Connection, delivery_id: str, state: DeliveryState, now: datetime) -> None:
    """Nobody can process it any more; its sender finds it in its list."""
    for before, after in _TO_REFUSED[state]:
        ended = {"reason": _UNREADABLE, "processed_at": now} if after is DeliveryState.REJECTED else {}
        queue.advance(conn, delivery_id, before, after, **ended)


#: How an unprocessed file comes to its end, by the transitions that there are.
_TO_REFUSED = {
    DeliveryState.STAGED: ((DeliveryState.STAGED, DeliveryState.ABORTED),),
    DeliveryState.ARRIVED: (
        (DeliveryState.ARRIVED, DeliveryState.PROCESSING),
        (DeliveryState.PROCESSING, DeliveryState.REJECTED),
    ),
    DeliveryState.PROCESSING: ((DeliveryState.PROCESSING, DeliveryState.REJECTED),),
    DeliveryState.FAILED: ((DeliveryState.FAILED, DeliveryState.REJECTED),),
}


def token_keys(conn: Connection) -> list[str]:
    """The index keys under which tokens were made."""
    return list(conn.execute(select(_TOKEN.c.key_id).distinct()).scalars())


def drop_tokens(conn: Connection, key_id: str) -> None:
    """Let go of the tokens of an index key that is gone."""
    conn.execute(delete(_TOKEN).where(_TOKEN.c.key_id == key_id))


# What the database does not know -------------------------------------------------------------------------


def known_deliveries(conn: Connection, delivery_ids: Iterable[str]) -> set[str]:
    """Those of these deliveries that are here."""
    known: set[str] = set()
    for chunk in chunks(delivery_ids, CHUNK):
        known.update(conn.execute(select(_DELIVERY.c.id).where(_DELIVERY.c.id.in_(chunk))).scalars())
    return known


def refused(conn: Connection) -> list[Mapping[str, Any]]:
    """What was refused because it can't be opened any more, and was received: fields of `files.not_restored.Lost`."""
    query = select(
        _DELIVERY.c.id.label("delivery_id"),
        _DELIVERY.c.partner_id,
        _DELIVERY.c.received_at,
        _DELIVERY.c.size_bytes,
    ).where(_DELIVERY.c.state == DeliveryState.REJECTED, _DELIVERY.c.reason == _UNREADABLE)
    return [dict(row) for row in conn.execute(query).mappings()]


def lists_made(conn: Connection, partner_id: str, first: str) -> int:
    """How many lists a partner got under names that begin as this one; purged ones too."""
    same = _DISPATCH.c.name.startswith(first.removesuffix(".csv"), autoescape=True)
    query = select(func.count()).where(
        _DISPATCH.c.partner_id == partner_id, same, _DISPATCH.c.parent_id.is_(None)
    )
    return int(conn.execute(query).scalar_one())
