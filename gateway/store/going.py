"""What goes (spec 4, Retention): the conditions by which the purge counts, finds and is checked, and its figures.

The due day in the row decides: everything whose day is before `before` goes, and what was refused or
replaced goes whatever its day. Not so what a legal hold covers, nor what waits for its municipality's approval:
that stays, and takes part in nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Subquery,
    Table,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
)

from gateway.domain.certificate import Kind
from gateway.domain.delivery import DeliveryState
from gateway.domain.delivery import Kind as FileKind
from gateway.domain.dispatch import PROOFS, DispatchKind, DispatchState
from gateway.domain.request import RequestState
from gateway.domain.signal import SignalState
from gateway.store.retention_tables import HoldDelivery, HoldRow, WaitingRow
from gateway.store.tables import (
    AnswerRow,
    DataKeyRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    RequestRow,
    SignalRow,
)

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_ANSWER: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_REQUEST: Table = RequestRow.__table__  # type: ignore[attr-defined]
_HOLD: Table = HoldRow.__table__  # type: ignore[attr-defined]
_HOLD_DELIVERY: Table = HoldDelivery.__table__  # type: ignore[attr-defined]
_WAITING: Table = WaitingRow.__table__  # type: ignore[attr-defined]

#: A purge asks for the same conditions of one day many times, and building them takes longer than most answers.
_DAYS = 8

#: Still to be processed: the received file is kept, day by day.
UNPROCESSED = (DeliveryState.STAGED, DeliveryState.ARRIVED, DeliveryState.PROCESSING, DeliveryState.FAILED)
#: Outgoing files that lie ready, or did until their day.
_LIVE = (DispatchState.READY, DispatchState.COLLECTED, DispatchState.BLOCKED)
#: Nothing of these is to stay but the tombstone.
_ENDED = (DeliveryState.REJECTED, DeliveryState.ABORTED, DeliveryState.PURGING)


def is_held(delivery_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Deliveries under a legal hold that is in force: all of them stays, whatever its day."""
    covered = (
        select(_HOLD_DELIVERY.c.delivery_id)
        .join(_HOLD, _HOLD.c.id == _HOLD_DELIVERY.c.hold_id)
        .where(_HOLD.c.placed_at.is_not(None), _HOLD.c.lifted_at.is_(None))
    )
    return delivery_id.in_(covered.correlate(None))


def waits(
    municipality: ColumnElement[Any], due_on: ColumnElement[Any], ahead: bool = False
) -> ColumnElement[bool]:
    """What is due on a day whose destruction its municipality has not approved yet; who looks `ahead` waits for none."""
    if ahead:
        return false()
    return exists().where(_WAITING.c.municipality == municipality, _WAITING.c.through < due_on)


def is_needed() -> ColumnElement[bool]:
    """Received files that are kept day by day: to be processed, or with a request that has not taken effect."""
    waiting = select(_REQUEST.c.delivery_id).where(_REQUEST.c.state == RequestState.WAITING)
    return or_(_DELIVERY.c.state.in_(UNPROCESSED), _DELIVERY.c.id.in_(waiting.correlate(None)))


def ended() -> Select[Any]:
    """The deliveries that came to nothing or are going: nothing of them is held."""
    return select(_DELIVERY.c.id).where(_DELIVERY.c.state.in_(_ENDED)).correlate(None)


def _is_over(table: Table, before: date, ahead: bool) -> ColumnElement[bool]:
    """Rows whose own day is over, and approved where that is needed; what a request ended waits for nobody."""
    return and_(
        table.c.due_on < before, or_(table.c.is_erased, ~waits(table.c.municipality, table.c.due_on, ahead))
    )


def _goes(table: Table, before: date, ahead: bool) -> ColumnElement[bool]:
    """Rows whose own day is over, or whose delivery goes whole."""
    return and_(
        or_(_is_over(table, before, ahead), table.c.delivery_id.in_(ended())), ~is_held(table.c.delivery_id)
    )


@lru_cache(maxsize=_DAYS)
def row_goes(before: date, *, ahead: bool = False) -> ColumnElement[bool]:
    """Rows of signals whose own day is over, or whose delivery goes whole."""
    return _goes(_SIGNAL, before, ahead)


@lru_cache(maxsize=_DAYS)
def answer_goes(before: date, *, ahead: bool = False) -> ColumnElement[bool]:
    """Answers whose signal's day is over, or whose delivery goes whole."""
    return _goes(_ANSWER, before, ahead)


@lru_cache(maxsize=_DAYS)
def exclusion_goes(before: date, *, ahead: bool = False) -> ColumnElement[bool]:
    """Listed residents whose own day is over, or whose delivery goes whole."""
    return _goes(_EXCLUSION, before, ahead)


@lru_cache(maxsize=_DAYS)
def contents_go(before: date, *, ahead: bool = False) -> ColumnElement[bool]:
    """Sealed contents of rows that stay a while themselves (D30, D40)."""
    return and_(
        _SIGNAL.c.contents_due_on < _SIGNAL.c.due_on,
        _SIGNAL.c.contents_due_on < before,
        _SIGNAL.c.sealed.is_not(None),
        ~waits(_SIGNAL.c.municipality, _SIGNAL.c.contents_due_on, ahead),
        ~is_held(_SIGNAL.c.delivery_id),
        ~_is_over(_SIGNAL, before, ahead),
    )


@lru_cache(maxsize=_DAYS)
def raw_goes(before: date) -> ColumnElement[bool]:
    """Received files that go; also one that was to go at once (F03) when a crash left its blob."""
    is_left = or_(_DELIVERY.c.raw_gone_at.is_(None), _DELIVERY.c.blob.is_not(None))
    return and_(
        is_left,
        or_(
            _DELIVERY.c.state.in_(_ENDED),
            and_(_DELIVERY.c.state == DeliveryState.PROCESSED, _DELIVERY.c.raw_due_on < before, ~is_needed()),
        ),
        ~is_held(_DELIVERY.c.id),
    )


@lru_cache(maxsize=_DAYS)
def ends(before: date) -> ColumnElement[bool]:
    """Deliveries of which nothing stays: the file is gone or goes, and so is every row."""
    row_stays, answer_stays, exclusion_stays = (
        exists().where(table.c.delivery_id == _DELIVERY.c.id, ~_is_over(table, before, False))
        for table in (_SIGNAL, _ANSWER, _EXCLUSION)
    )
    return and_(
        or_(
            _DELIVERY.c.state.in_(_ENDED),
            and_(
                _DELIVERY.c.state == DeliveryState.PROCESSED,
                or_(_DELIVERY.c.raw_gone_at.is_not(None), _DELIVERY.c.raw_due_on < before),
                ~is_needed(),
                ~row_stays,
                ~answer_stays,
                ~exclusion_stays,
            ),
        ),
        ~is_held(_DELIVERY.c.id),
    )


@lru_cache(maxsize=_DAYS)
def dispatch_waits(before: date, *, ahead: bool = False) -> ColumnElement[bool]:
    """Outgoing files whose day is over and whose municipality's approval is waited for; not what was replaced."""
    return and_(
        _DISPATCH.c.due_on < before,
        _DISPATCH.c.state.in_(_LIVE),
        waits(_DISPATCH.c.municipality, _DISPATCH.c.due_on, ahead),
    )


@lru_cache(maxsize=_DAYS)
def dispatch_goes(before: date, *, ahead: bool = False) -> ColumnElement[bool]:
    """A dispatch that is due or replaced; a manifest comes and goes with its file."""
    file = _DISPATCH.alias()
    gone_files = select(file.c.id).where(
        or_(
            and_(file.c.due_on < before, ~waits(file.c.municipality, file.c.due_on, ahead)),
            file.c.state.in_((DispatchState.REPLACED, DispatchState.PURGING, DispatchState.PURGED)),
        )
    )
    return and_(
        _DISPATCH.c.state != DispatchState.PURGED,
        or_(
            and_(_DISPATCH.c.due_on < before, ~waits(_DISPATCH.c.municipality, _DISPATCH.c.due_on, ahead)),
            _DISPATCH.c.state.in_((DispatchState.REPLACED, DispatchState.PURGING)),
            _DISPATCH.c.parent_id.in_(gone_files),
        ),
    )


@lru_cache(maxsize=_DAYS)
def data_key_goes(before: date, *, ahead: bool = False) -> ColumnElement[bool]:
    """Wrapped keys that are due, whose object ends or whose last row goes; never that of a file that is needed."""
    of_needed = exists().where(
        _DELIVERY.c.id == _DATA_KEY.c.object_id, _DATA_KEY.c.municipality == "", is_needed()
    )
    of_rows = exists().where(
        _DELIVERY.c.id == _DATA_KEY.c.object_id,
        _DATA_KEY.c.municipality != "",
        _DELIVERY.c.state == DeliveryState.PROCESSED,
    )
    is_used = exists().where(
        _SIGNAL.c.delivery_id == _DATA_KEY.c.object_id,
        _SIGNAL.c.data_key_id == _DATA_KEY.c.id,
        ~row_goes(before, ahead=ahead),
        ~contents_go(before, ahead=ahead),
    )
    is_of_listed = exists().where(
        _EXCLUSION.c.data_key_id == _DATA_KEY.c.id, ~exclusion_goes(before, ahead=ahead)
    )
    of_waiting = exists().where(_DISPATCH.c.id == _DATA_KEY.c.object_id, dispatch_waits(before, ahead=ahead))
    ends = or_(
        _DATA_KEY.c.due_on < before,
        _DATA_KEY.c.object_id.in_(ended()),
        of_rows,
        _DATA_KEY.c.object_id.in_(select(_DISPATCH.c.id).where(dispatch_goes(before, ahead=ahead))),
    )
    return and_(ends, ~of_needed, ~is_used, ~is_of_listed, ~of_waiting, ~is_held(_DATA_KEY.c.object_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """What goes of one delivery or dispatch under one data key.

    `municipality` is whose rows or file it is, empty when it is only its partner's (also rows of a
    municipality that takes no part). `rows` are signals, answers or listed residents, `sealed_bytes` and `sha256` are of the ciphertext of
    the file (of rows: of the file that they came in). `key` is the commitment of the data key, empty when
    there is none; `key_goes` says that it goes too. Nobody read an outgoing file that was `never_collected`.
    """

    kind: Kind
    object_id: str
    partner_id: str
    municipality: str
    received_at: datetime | None
    due_on: date | None
    rows: int
    sealed_bytes: int
    sha256: bytes
    key: bytes
    key_goes: bool
    never_collected: bool


def going(conn: Connection, before: date, *, ahead: bool = False) -> list[Going]:
    """All that goes when every day before `before` is over, in a fixed order: what has no data key comes first.

    Who looks `ahead` sees also what goes only when its municipality approves it.
    """
    keys = set(conn.execute(select(_DATA_KEY.c.id).where(data_key_goes(before, ahead=ahead))).scalars())
    found = [
        _going(row, keys)
        for query in (
            _files(before),
            _signals(Kind.ROWS, row_goes(before, ahead=ahead), _SIGNAL.c.due_on),
            _answers(answer_goes(before, ahead=ahead)),
            _exclusions(Kind.EXCLUSIONS, FileKind.EXCLUSIONS, exclusion_goes(before, ahead=ahead)),
            _exclusions(Kind.KNOWN_RESIDENTS, FileKind.KNOWN_RESIDENTS, exclusion_goes(before, ahead=ahead)),
            _signals(Kind.CONTENTS, contents_go(before, ahead=ahead), _SIGNAL.c.contents_due_on),
            _dispatches(before, ahead),
        )
        for row in conn.execute(query).mappings()
    ]
    found.sort(key=lambda one: (one.object_id, one.kind, one.municipality, one.due_on or date.max, one.key))
    return found


def _going(row: RowMapping, keys: Collection[int]) -> Going:
    fields = dict(row)
    key_id = fields.pop("key_id")
    fields |= {"kind": Kind(row["kind"]), "sha256": row["sha256"] or b"", "key": row["key"] or b""}
    return Going(**fields, key_goes=key_id in keys)


def _files(before: date) -> Select[Any]:
    own_key = and_(_DATA_KEY.c.object_id == _DELIVERY.c.id, _DATA_KEY.c.municipality == "")
    return (
        select(
            literal(Kind.FILE.value).label("kind"),
            _DELIVERY.c.id.label("object_id"),
            _DELIVERY.c.partner_id,
            literal("").label("municipality"),
            func.coalesce(
                _DELIVERY.c.received_at, _DELIVERY.c.closed_at, type_=_DELIVERY.c.received_at.type
            ).label("received_at"),
            _DELIVERY.c.raw_due_on.label("due_on"),
            literal(0).label("rows"),
            _DELIVERY.c.sealed_bytes,
            _DELIVERY.c.sealed_sha256.label("sha256"),
            _DATA_KEY.c.commitment.label("key"),
            _DATA_KEY.c.id.label("key_id"),
            literal(False).label("never_collected"),
        )
        .select_from(_DELIVERY.outerjoin(_DATA_KEY, own_key))
        .where(raw_goes(before), or_(_DELIVERY.c.blob.is_not(None), _DATA_KEY.c.id.is_not(None)))
    )


def _rows_of_deliveries(kind: Kind, counted: Subquery) -> Select[Any]:
    """Rows that were counted by delivery, municipality, due day and data key."""
    return select(
        literal(kind.value).label("kind"),
        counted.c.delivery_id.label("object_id"),
        _DELIVERY.c.partner_id,
        counted.c.municipality,
        _DELIVERY.c.received_at,
        counted.c.due_on,
        counted.c.rows,
        _DELIVERY.c.sealed_bytes,
        _DELIVERY.c.sealed_sha256.label("sha256"),
        _DATA_KEY.c.commitment.label("key"),
        _DATA_KEY.c.id.label("key_id"),
        literal(False).label("never_collected"),
    ).select_from(
        counted.join(_DELIVERY, _DELIVERY.c.id == counted.c.delivery_id).outerjoin(
            _DATA_KEY, _DATA_KEY.c.id == counted.c.data_key_id
        )
    )


def _signals(kind: Kind, goes: ColumnElement[bool], due_on: Any) -> Select[Any]:
    # rows of a municipality that takes no part never were that municipality's
    municipality = case(
        (or_(_SIGNAL.c.state == SignalState.NOT_CONNECTED, ~_SIGNAL.c.municipality.like("GM%")), ""),
        else_=_SIGNAL.c.municipality,
    )
    counted = (
        select(
            _SIGNAL.c.delivery_id,
            municipality.label("municipality"),
            due_on.label("due_on"),
            _SIGNAL.c.data_key_id,
            func.count().label("rows"),
        )
        .where(goes)
        .group_by(_SIGNAL.c.delivery_id, municipality, due_on, _SIGNAL.c.data_key_id)
        .subquery()
    )
    return _rows_of_deliveries(kind, counted)


def _answers(goes: ColumnElement[bool]) -> Select[Any]:
    counted = (
        select(
            _ANSWER.c.delivery_id,
            _ANSWER.c.municipality,
            _ANSWER.c.due_on,
            # ids, codes and days, in the clear
            null().label("data_key_id"),
            func.count().label("rows"),
        )
        .where(goes)
        .group_by(_ANSWER.c.delivery_id, _ANSWER.c.municipality, _ANSWER.c.due_on)
        .subquery()
    )
    return _rows_of_deliveries(Kind.ANSWERS, counted)


def _exclusions(kind: Kind, of: FileKind, goes: ColumnElement[bool]) -> Select[Any]:
    group = (
        _EXCLUSION.c.delivery_id,
        _EXCLUSION.c.municipality,
        _EXCLUSION.c.due_on,
        _EXCLUSION.c.data_key_id,
    )
    counted = (
        select(*group, func.count().label("rows"))
        .where(goes, _EXCLUSION.c.kind == of)
        .group_by(*group)
        .subquery()
    )
    return _rows_of_deliveries(kind, counted)


def _dispatches(before: date, ahead: bool) -> Select[Any]:
    file = _DISPATCH.alias()
    proofs = select(file.c.id).where(file.c.kind.in_(PROOFS))
    return (
        select(
            literal(Kind.DISPATCH.value).label("kind"),
            _DISPATCH.c.id.label("object_id"),
            _DISPATCH.c.partner_id,
            _DISPATCH.c.municipality,
            _DISPATCH.c.created_at.label("received_at"),
            _DISPATCH.c.due_on,
            literal(0).label("rows"),
            _DISPATCH.c.sealed_bytes,
            _DISPATCH.c.sealed_sha256.label("sha256"),
            _DATA_KEY.c.commitment.label("key"),
            _DATA_KEY.c.id.label("key_id"),
            and_(
                _DISPATCH.c.parent_id.is_(None),
                _DISPATCH.c.collected_at.is_(None),
                _DISPATCH.c.removed_at.is_(None),
                # a worklist that goes before its day was replaced: what it told stands in the newer one
                or_(_DISPATCH.c.kind != DispatchKind.WORKLIST, _DISPATCH.c.due_on < before),
            ).label("never_collected"),
        )
        .select_from(_DISPATCH.outerjoin(_DATA_KEY, _DATA_KEY.c.object_id == _DISPATCH.c.id))
        .where(
            dispatch_goes(before, ahead=ahead),
            or_(_DISPATCH.c.blob != "", _DATA_KEY.c.id.is_not(None)),
            _DISPATCH.c.kind.not_in(PROOFS),
            or_(_DISPATCH.c.parent_id.is_(None), _DISPATCH.c.parent_id.not_in(proofs)),
        )
    )
