"""What a key protects that is destroyed before its day, and its end (spec 4, Retention): all of it is overdue then.

What is overdue takes part in nothing, and the next purge lets go of it as of everything else, with its certificates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, func, or_, select, update

from gateway.domain.dispatch import DispatchState
from gateway.store import going
from gateway.store.tables import (
    AnswerRow,
    DataKeyRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    IndexToken,
    SignalRow,
)

_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_ANSWER: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_TOKEN: Table = IndexToken.__table__  # type: ignore[attr-defined]

_IS_HELD = _DISPATCH.c.state.in_((DispatchState.READY, DispatchState.COLLECTED, DispatchState.REPLACED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """How much opens with one key: nobody can open it when the key is gone.

    `uncollected` are those of the `dispatches` that their partner has not read; `waiting` are received files that are
    not processed yet, or hold a request that is not carried out.
    """

    files: int
    waiting: int
    dispatches: int
    uncollected: int
    signals: int
    listed: int
    tokens: int


def protected(conn: Connection, key_id: str) -> Protected:
    """How much a key of the keyring protects."""

    def count(table: Table, *conditions: ColumnElement[bool]) -> int:
        return int(conn.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())

    file, dispatch = (
        _DELIVERY.c.id.in_(_objects(key_id)),
        and_(_DISPATCH.c.id.in_(_objects(key_id)), _IS_HELD),
    )
    return Protected(
        files=count(_DELIVERY, file, _DELIVERY.c.raw_gone_at.is_(None)),
        waiting=count(_DELIVERY, file, going.is_needed()),
        dispatches=count(_DISPATCH, dispatch),
        uncollected=count(_DISPATCH, dispatch, _DISPATCH.c.state == DispatchState.READY),
        signals=count(_SIGNAL, _SIGNAL.c.data_key_id.in_(_keys(key_id))),
        listed=count(_EXCLUSION, _EXCLUSION.c.data_key_id.in_(_keys(key_id))),
        tokens=count(_TOKEN, _TOKEN.c.key_id == key_id),
    )


def end(conn: Connection, key_id: str, last: date) -> None:
    """All that a key protects is overdue from now on: its last day was `last`. Tokens made with it are gone."""
    of_key = _SIGNAL.c.data_key_id.in_(_keys(key_id))
    numbers = select(_SIGNAL.c.number).where(of_key)
    conn.execute(
        update(_ANSWER)
        .where(_ANSWER.c.signal_number.in_(numbers), _ANSWER.c.due_on > last)
        .values(due_on=last)
    )
    conn.execute(
        update(_SIGNAL).where(of_key, _SIGNAL.c.due_on > last).values(due_on=last, contents_due_on=last)
    )
    listed = _EXCLUSION.c.data_key_id.in_(_keys(key_id))
    conn.execute(update(_EXCLUSION).where(listed, _EXCLUSION.c.due_on > last).values(due_on=last))
    objects = _objects(key_id)
    conn.execute(
        update(_DISPATCH)
        .where(_IS_HELD, or_(_DISPATCH.c.id.in_(objects), _DISPATCH.c.parent_id.in_(objects)))
        .values(state=DispatchState.PURGING)
    )
    conn.execute(
        update(_DELIVERY)
        .where(_DELIVERY.c.id.in_(objects), _DELIVERY.c.raw_due_on > last)
        .values(raw_due_on=last)
    )
    conn.execute(
        update(_DATA_KEY)
        .where(_DATA_KEY.c.key_id == key_id, _DATA_KEY.c.municipality == "", _DATA_KEY.c.due_on > last)
        .values(due_on=last)
    )
    forget_index(conn, key_id)


def forget_index(conn: Connection, key_id: str) -> int:
    """Nothing that was made with an index key leads anywhere from now on; how many tokens there were."""
    conn.execute(update(_SIGNAL).where(_SIGNAL.c.content_key == key_id).values(content_token=b""))
    for column, key in (
        (_DELIVERY.c.name_token, _DELIVERY.c.name_key),
        (_DELIVERY.c.content_digest, _DELIVERY.c.content_key),
    ):
        conn.execute(update(_DELIVERY).where(key == key_id).values({column: None, key: None}))
    return conn.execute(delete(_TOKEN).where(_TOKEN.c.key_id == key_id)).rowcount


def _keys(key_id: str) -> Select[tuple[int]]:
    return select(_DATA_KEY.c.id).where(_DATA_KEY.c.key_id == key_id)


def _objects(key_id: str) -> Select[tuple[str]]:
    """Received files and dispatches whose own data key is under a key of the keyring."""
    return select(_DATA_KEY.c.object_id).where(_DATA_KEY.c.key_id == key_id, _DATA_KEY.c.municipality == "")
