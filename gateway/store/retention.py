"""What the purge asks and does (spec 4, Retention): each function works in the caller's transaction.

What goes is decided by the due day in the row: everything whose day is before `today` goes, and what
was refused or replaced goes whatever its day. The same conditions count before and find while purging.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import DatabaseError, IntegrityError

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchState
from gateway.errors import StoreError
from gateway.store import going, key_versions
from gateway.store.data_keys import StoredKey
from gateway.store.engine import Store
from gateway.store.tables import (
    AnswerRow,
    DataKeyRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    GroupingRow,
    IndexToken,
    MeldingRow,
    PolicyRow,
    SignalRow,
)

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_ANSWER: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_MELDING: Table = MeldingRow.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_POLICY: Table = PolicyRow.__table__  # type: ignore[attr-defined]
_GROUPING: Table = GroupingRow.__table__  # type: ignore[attr-defined]
_TOKEN: Table = IndexToken.__table__  # type: ignore[attr-defined]

#: What a delivery says of its file: sealed under the file's data key, found by tokens, or told by the client.
_NO_FILE = dict.fromkeys(
    (
        "name_sealed",
        "name_token",
        "name_key",
        "sha256_sealed",
        "client_mode",
        "client_modified",
        "client_accessed",
    )
)


class RecordRefused(StoreError):
    """One record can't be changed as asked; others can."""


@contextmanager
def own_errors() -> Iterator[None]:
    """Errors of the database become this program's own.

    Raises:
        RecordRefused: a constraint or trigger refused one of the records.
        StoreError: the database can't be used at all.
    """
    try:
        yield
    except IntegrityError as exc:
        raise RecordRefused(f"the database refuses the change ({exc.orig})") from exc
    except DatabaseError as exc:
        raise StoreError(f"the database can't be used ({exc.orig})") from exc


@contextmanager
def writing(store: Store) -> Iterator[Connection]:
    """A writing transaction that raises as `own_errors` does."""
    with own_errors(), store.write() as conn:
        yield conn


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A delivery or dispatch that goes, as far as its purge and its audit entry need it."""

    id: str
    blob: str | None
    due_on: date | None
    sealed_bytes: int
    sealed_sha256: bytes | None


# What goes -----------------------------------------------------------------------------------------------


def deliveries_ending(conn: Connection, today: date) -> list[str]:
    """Deliveries of which only the tombstone is to stay."""
    return list(
        conn.execute(select(_DELIVERY.c.id).where(going.ends(today)).order_by(_DELIVERY.c.id)).scalars()
    )


def raws_going(conn: Connection, today: date) -> list[Held]:
    """Received files that go."""
    columns = (_DELIVERY.c.raw_due_on, _DELIVERY.c.sealed_bytes, _DELIVERY.c.sealed_sha256)
    query = select(_DELIVERY.c.id, _DELIVERY.c.blob, *columns).where(going.raw_goes(today))
    return [_held(row) for row in conn.execute(query.order_by(_DELIVERY.c.id))]


def dispatches_going(conn: Connection, today: date) -> list[Held]:
    """Outgoing files that go; `blob` is None once it is removed."""
    columns = (_DISPATCH.c.due_on, _DISPATCH.c.sealed_bytes, _DISPATCH.c.sealed_sha256)
    query = select(_DISPATCH.c.id, _DISPATCH.c.blob, *columns).where(going.dispatch_goes(today))
    return [_held(row) for row in conn.execute(query.order_by(_DISPATCH.c.id))]


def dispatches_waiting(conn: Connection, today: date) -> list[str]:
    """Outgoing files that wait for approval and can still be seen."""
    query = select(_DISPATCH.c.id).where(
        going.dispatch_waits(today), _DISPATCH.c.state != DispatchState.BLOCKED
    )
    return list(conn.execute(query.order_by(_DISPATCH.c.id)).scalars())


def rows_going(conn: Connection, today: date) -> list[int]:
    """Rows of signals that go, by delivery: a batch then touches few of them."""
    # sorted here: an ORDER BY makes SQLite walk the whole table in that order
    found = conn.execute(select(_SIGNAL.c.delivery_id, _SIGNAL.c.id).where(going.row_goes(today)))
    return [row_id for _, row_id in sorted(tuple(row) for row in found)]


def answers_going(conn: Connection, today: date) -> list[int]:
    """Answers that go, by delivery."""
    query = select(_ANSWER.c.id).where(going.answer_goes(today)).order_by(_ANSWER.c.delivery_id, _ANSWER.c.id)
    return list(conn.execute(query).scalars())


def exclusions_going(conn: Connection, today: date) -> list[int]:
    """Listed residents that go, by delivery."""
    query = select(_EXCLUSION.c.id).where(going.exclusion_goes(today))
    return list(conn.execute(query.order_by(_EXCLUSION.c.delivery_id, _EXCLUSION.c.id)).scalars())


def contents_going(conn: Connection, today: date) -> list[int]:
    """Rows whose sealed contents go before the row."""
    query = select(_SIGNAL.c.id).where(going.contents_go(today)).order_by(_SIGNAL.c.delivery_id, _SIGNAL.c.id)
    return list(conn.execute(query).scalars())


def meldingen_going(conn: Connection, today: date) -> list[str]:
    """Meldingen whose last signal goes; a signal that a hold keeps does not keep its melding."""
    has_row = exists().where(_SIGNAL.c.melding_id == _MELDING.c.id, _stays_in_use(today))
    query = select(_MELDING.c.id).where(
        _MELDING.c.due_on < today, ~has_row, ~going.waits(_MELDING.c.municipality, _MELDING.c.due_on)
    )
    return list(conn.execute(query.order_by(_MELDING.c.id)).scalars())


def data_keys_going(conn: Connection, today: date) -> list[int]:
    """Wrapped data keys that go."""
    query = select(_DATA_KEY.c.id).where(going.data_key_goes(today)).order_by(_DATA_KEY.c.id)
    return list(conn.execute(query).scalars())


def unprocessed_due(conn: Connection, today: date) -> list[StoredKey]:
    """The data keys of received files that are past their day and still needed."""
    query = (
        select(*(_DATA_KEY.c[name] for name in StoredKey.__slots__))
        .join(_DELIVERY, _DELIVERY.c.id == _DATA_KEY.c.object_id)
        .where(
            going.is_needed(),
            ~going.is_held(_DELIVERY.c.id),
            _DATA_KEY.c.municipality == "",
            _DATA_KEY.c.due_on < today,
        )
        .order_by(_DATA_KEY.c.id)
    )
    return [StoredKey(**row) for row in conn.execute(query).mappings()]


def is_month_held(conn: Connection, key_id: str, today: date) -> bool:
    """Whether a row that was received under an index key stays in use after today's purge.

    What is overdue is found by opening it: it keeps no index key.
    """
    return bool(
        conn.execute(
            select(exists().where(_SIGNAL.c.content_key == key_id, _stays_in_use(today)))
        ).scalar_one()
    )


def _stays_in_use(today: date) -> ColumnElement[bool]:
    """Rows whose day is not over, of deliveries that do not go whole."""
    return and_(_SIGNAL.c.due_on >= today, _SIGNAL.c.delivery_id.not_in(going.ended()))


def is_key_used(conn: Connection, key_id: str) -> bool:
    """Whether a data key is wrapped under a key of the keyring."""
    return bool(conn.execute(select(exists().where(_DATA_KEY.c.key_id == key_id))).scalar_one())


def token_count(conn: Connection, key_ids: Collection[str]) -> int:
    """How many index tokens were made with these keys."""
    query = select(func.count()).select_from(_TOKEN).where(_TOKEN.c.key_id.in_(key_ids))
    return int(conn.execute(query).scalar_one())


def overdue(conn: Connection, today: date) -> dict[str, int]:
    """What is still here although its day is over, by kind; empty when nothing is.

    Not what is held or waits for approval; of that, a data key that a day's key wraps still.
    """
    counted = {
        "signal": and_(_SIGNAL.c.due_on < today, going.row_goes(today)),
        "answer": and_(_ANSWER.c.due_on < today, going.answer_goes(today)),
        "exclusion": and_(_EXCLUSION.c.due_on < today, going.exclusion_goes(today)),
        "contents": going.contents_go(today),
        "dispatch": and_(_DISPATCH.c.due_on < today, going.dispatch_goes(today)),
        "raw": and_(going.raw_goes(today), _DELIVERY.c.raw_due_on < today),
        "data_key": and_(
            _DATA_KEY.c.due_on < today,
            or_(_DATA_KEY.c.key_id.not_like("hold-%"), going.data_key_goes(today)),
        ),
    }
    counts = {
        kind: conn.execute(select(func.count()).where(condition)).scalar_one()
        for kind, condition in counted.items()
    }
    return {kind: count for kind, count in counts.items() if count}


# What is done --------------------------------------------------------------------------------------------


def block_deliveries(conn: Connection, ids: Sequence[str]) -> None:
    """Take deliveries out of sight: PURGING."""
    state = DeliveryState.PURGING
    conn.execute(
        update(_DELIVERY).where(_DELIVERY.c.id.in_(ids), _DELIVERY.c.state != state).values(state=state)
    )


def block_dispatches(conn: Connection, ids: Sequence[str]) -> None:
    """Take dispatches out of sight: PURGING."""
    conn.execute(update(_DISPATCH).where(_DISPATCH.c.id.in_(ids)).values(state=DispatchState.PURGING))


def withhold_dispatches(conn: Connection, ids: Sequence[str]) -> None:
    """Take dispatches out of sight that wait for approval: BLOCKED."""
    conn.execute(update(_DISPATCH).where(_DISPATCH.c.id.in_(ids)).values(state=DispatchState.BLOCKED))


def forget_raws(conn: Connection, ids: Sequence[str], at: datetime) -> None:
    """The sealed bytes of these deliveries are gone: so are their name and digest."""
    conn.execute(
        update(_DELIVERY)
        .where(_DELIVERY.c.id.in_(ids))
        .values(blob=None, raw_gone_at=func.coalesce(_DELIVERY.c.raw_gone_at, at), **_NO_FILE)
    )


def forget_blobs(conn: Connection, ids: Sequence[str]) -> None:
    """The sealed bytes of these dispatches are gone."""
    conn.execute(update(_DISPATCH).where(_DISPATCH.c.id.in_(ids)).values(blob=""))


def purge_contents(conn: Connection, ids: Sequence[int]) -> dict[str, int]:
    """Let go of the sealed contents of rows; how many by delivery."""
    counts = _by_delivery(conn, ids)
    conn.execute(update(_SIGNAL).where(_SIGNAL.c.id.in_(ids)).values(sealed=None, data_key_id=None))
    return counts


def purge_rows(conn: Connection, ids: Sequence[int]) -> dict[str, int]:
    """Let go of rows, and count them in their deliveries' tombstones; how many by delivery."""
    counts = _by_delivery(conn, ids)
    # a version that was replaced goes while its signal stays
    last = _by_delivery(conn, ids, _SIGNAL.c.in_force)
    conn.execute(delete(_SIGNAL).where(_SIGNAL.c.id.in_(ids)))
    for delivery_id, count in counts.items():
        conn.execute(
            update(_DELIVERY)
            .where(_DELIVERY.c.id == delivery_id)
            .values(
                purged_rows=_DELIVERY.c.purged_rows + count,
                purged_signals=_DELIVERY.c.purged_signals + last.get(delivery_id, 0),
            )
        )
    return counts


def purge_answers(conn: Connection, ids: Sequence[int]) -> dict[str, int]:
    """Let go of answers, and count them in their deliveries' tombstones; how many by delivery."""
    return _purge(conn, _ANSWER, ids)


def purge_exclusions(conn: Connection, ids: Sequence[int]) -> dict[str, int]:
    """Let go of listed residents, and count them in their deliveries' tombstones; how many by delivery."""
    return _purge(conn, _EXCLUSION, ids)


def _purge(conn: Connection, table: Table, ids: Sequence[int]) -> dict[str, int]:
    query = select(table.c.delivery_id, func.count()).where(table.c.id.in_(ids))
    counts = {row[0]: row[1] for row in conn.execute(query.group_by(table.c.delivery_id))}
    conn.execute(delete(table).where(table.c.id.in_(ids)))
    for delivery_id, count in counts.items():
        conn.execute(
            update(_DELIVERY)
            .where(_DELIVERY.c.id == delivery_id)
            .values(purged_rows=_DELIVERY.c.purged_rows + count)
        )
    return counts


def purge_meldingen(conn: Connection, ids: Sequence[str]) -> None:
    """Let go of meldingen; with the last of a municipality's month goes what that was published and grouped under."""
    those = _MELDING.c.id.in_(ids)
    months = conn.execute(select(_MELDING.c.municipality, _MELDING.c.month).where(those).distinct()).all()
    conn.execute(delete(_MELDING).where(those))
    for table in (_POLICY, _GROUPING):
        month = (table.c.municipality, table.c.month)
        has_more = exists().where(_MELDING.c.municipality == month[0], _MELDING.c.month == month[1])
        conn.execute(delete(table).where(tuple_(*month).in_(months), ~has_more))


def purge_tokens(conn: Connection, key_id: str, at_most: int) -> int:
    """Let go of index tokens of a key; how many, 0 when none is left."""
    key = tuple_(_TOKEN.c.key_id, _TOKEN.c.level, _TOKEN.c.token)
    some = select(_TOKEN.c.key_id, _TOKEN.c.level, _TOKEN.c.token).where(_TOKEN.c.key_id == key_id)
    return conn.execute(delete(_TOKEN).where(key.in_(some.limit(at_most)))).rowcount


def forget_month(conn: Connection, key_id: str) -> None:
    """Nothing that was made with an index key stays in a delivery."""
    for column, key in (
        (_DELIVERY.c.name_token, _DELIVERY.c.name_key),
        (_DELIVERY.c.content_digest, _DELIVERY.c.content_key),
    ):
        conn.execute(update(_DELIVERY).where(key == key_id).values({column: None, key: None}))


def purge_data_keys(conn: Connection, ids: Sequence[int]) -> None:
    """Let go of wrapped data keys."""
    conn.execute(delete(_DATA_KEY).where(_DATA_KEY.c.id.in_(ids)))


def rewrap(
    conn: Connection, stored: StoredKey, *, key_id: str, key_version: int, wrapped: bytes, due_on: date
) -> None:
    """A received file's data key is wrapped under another day's key, and the file is due on that day.

    Raises:
        KeySuperseded: that key has a newer version in force: wrap it again.
    """
    key_versions.check(conn, key_id, key_version)
    conn.execute(
        update(_DATA_KEY)
        .where(_DATA_KEY.c.id == stored.id)
        .values(key_id=key_id, key_version=key_version, wrapped=wrapped, due_on=due_on)
    )
    conn.execute(update(_DELIVERY).where(_DELIVERY.c.id == stored.object_id).values(raw_due_on=due_on))


def dispatches_gone(conn: Connection) -> list[Held]:
    """PURGING dispatches of which nothing is left."""
    key_left = exists().where(_DATA_KEY.c.object_id == _DISPATCH.c.id)
    query = select(
        _DISPATCH.c.id,
        _DISPATCH.c.blob,
        _DISPATCH.c.due_on,
        _DISPATCH.c.sealed_bytes,
        _DISPATCH.c.sealed_sha256,
    ).where(_DISPATCH.c.state == DispatchState.PURGING, _DISPATCH.c.blob == "", ~key_left)
    return [_held(row) for row in conn.execute(query.order_by(_DISPATCH.c.id))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A delivery of which nothing is left but what its tombstone says."""

    id: str
    received_at: datetime | None
    purged_rows: int
    sealed_bytes: int
    sealed_sha256: bytes | None


def deliveries_gone(conn: Connection) -> list[Ended]:
    """PURGING deliveries of which nothing is left."""
    row_left = exists().where(_SIGNAL.c.delivery_id == _DELIVERY.c.id)
    answer_left = exists().where(_ANSWER.c.delivery_id == _DELIVERY.c.id)
    exclusion_left = exists().where(_EXCLUSION.c.delivery_id == _DELIVERY.c.id)
    key_left = exists().where(_DATA_KEY.c.object_id == _DELIVERY.c.id)
    query = select(*(_DELIVERY.c[name] for name in Ended.__slots__)).where(
        _DELIVERY.c.state == DeliveryState.PURGING,
        _DELIVERY.c.blob.is_(None),
        ~row_left,
        ~answer_left,
        ~exclusion_left,
        ~key_left,
    )
    return [Ended(**row) for row in conn.execute(query.order_by(_DELIVERY.c.id)).mappings()]


def bury_dispatches(conn: Connection, ids: Sequence[str], at: datetime) -> None:
    """PURGED: the tombstone stays."""
    conn.execute(
        update(_DISPATCH).where(_DISPATCH.c.id.in_(ids)).values(state=DispatchState.PURGED, purged_at=at)
    )


def bury_deliveries(conn: Connection, ids: Sequence[str], at: datetime) -> None:
    """PURGED: the tombstone stays: id, partner, counts, dates, digest of the ciphertext (spec 1, States)."""
    conn.execute(
        update(_DELIVERY)
        .where(_DELIVERY.c.id.in_(ids))
        .values(
            state=DeliveryState.PURGED,
            purged_at=at,
            content_digest=None,
            content_key=None,
            key_fingerprint="",
            reason=None,
            **_NO_FILE,
        )
    )


def _by_delivery(conn: Connection, ids: Sequence[int], *conditions: ColumnElement[bool]) -> dict[str, int]:
    query = select(_SIGNAL.c.delivery_id, func.count()).where(_SIGNAL.c.id.in_(ids), *conditions)
    return {row[0]: row[1] for row in conn.execute(query.group_by(_SIGNAL.c.delivery_id))}


def _held(row: Any) -> Held:
    """A row of id, blob, due day, sealed bytes and digest."""
    return Held(id=row[0], blob=row[1] or None, due_on=row[2], sealed_bytes=row[3], sealed_sha256=row[4])
