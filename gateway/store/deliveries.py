"""What the exchange asks and tells about deliveries. Each function works in the caller's transaction.

A name is found by its tokens: one for each index key under which it may have been stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.domain.delivery import DeliveryState, check_transition
from gateway.store.prepared import Prepared
from gateway.store.tables import Counter, DataKeyRow, Delivery

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_COUNTER: Table = Counter.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]

#: States in which a name is not, or no longer, a file of its partner.
_UNSEEN = (DeliveryState.RECEIVING, DeliveryState.ABORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A file that its partner sees in the inbox: STAGED, or received within `listed_for`."""

    id: str
    state: DeliveryState
    closed_at: datetime
    received_at: datetime | None
    size_bytes: int
    name_sealed: bytes | None
    client_mode: int | None
    client_modified: int | None
    client_accessed: int | None
    blob: str | None
    #: when its bytes were destroyed
    raw_gone_at: datetime | None

    @property
    def is_staged(self) -> bool:
        """Whether it bears a temporary name: not received yet."""
        return self.state is DeliveryState.STAGED

    @property
    def seen_at(self) -> datetime:
        """Receipt, or CLOSE while it is staged."""
        return self.received_at or self.closed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreceived:
    """A delivery that will never be received: whose it is and where its sealed bytes are."""

    id: str
    partner_id: str
    state: DeliveryState
    blob: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name as it is stored: sealed, and a token under the index key `key_id`. No key left: not sealed."""

    sealed: bytes | None
    token: bytes
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A delivery as OPEN began it: by which key, when, in which blob, and by which process."""

    id: str
    partner_id: str
    opened_at: datetime
    key_fingerprint: str
    blob: str
    process: str


def begin(conn: Connection, begun: Begun) -> None:
    """A delivery is on record, RECEIVING; nothing is changed if it was already, whatever has become of it."""
    _BEGIN.count(conn, _values(begun) | {"state": DeliveryState.RECEIVING})


def receive(
    conn: Connection,
    begun: Begun,
    *,
    state: DeliveryState,
    closed_at: datetime,
    name: Name,
    size_bytes: int,
    sealed_bytes: int,
    raw_due_on: date,
    is_trial: bool,
    client_values: Mapping[str, int],
) -> bool:
    """CLOSE: the delivery is ARRIVED, in order of arrival, or STAGED; False: it was no longer RECEIVING.

    It need not have been on record. `client_values` is what SETSTAT said, as for `record_client_attributes`.
    """
    arrived = state is DeliveryState.ARRIVED
    check_transition(DeliveryState.RECEIVING, state)
    values: dict[str, Any] = {
        **dict.fromkeys(_CLIENT_VALUES),
        **client_values,
        **_values(begun),
        "before": DeliveryState.RECEIVING,
        "state": state,
        "closed_at": closed_at,
        "received_at": closed_at if arrived else None,
        "arrival": _next_arrival(conn) if arrived else None,
        "name_sealed": name.sealed,
        "name_token": name.token,
        "name_key": name.key_id,
        "size_bytes": size_bytes,
        "sealed_bytes": sealed_bytes,
        "raw_due_on": raw_due_on,
        "is_trial": is_trial,
    }
    return _RECEIVE.count(conn, values) == 1


def arrive(conn: Connection, delivery_id: str, *, received_at: datetime, name: Name) -> bool:
    """RENAME of a staged file to a final name: it is ARRIVED now; False: it was no longer STAGED."""
    return _advance(
        conn,
        delivery_id,
        DeliveryState.STAGED,
        DeliveryState.ARRIVED,
        received_at=received_at,
        arrival=_next_arrival(conn),
        name_sealed=name.sealed,
        name_token=name.token,
        name_key=name.key_id,
    )


def relabel(conn: Connection, delivery_id: str, name: Name) -> None:
    """RENAME that receives nothing: the file is listed under another name."""
    conn.execute(
        update(_DELIVERY)
        .where(_DELIVERY.c.id == delivery_id)
        .values(name_sealed=name.sealed, name_token=name.token, name_key=name.key_id)
    )


def abort(conn: Connection, delivery_id: str, before: DeliveryState, *, at: datetime, reason: str) -> bool:
    """The delivery will never be received: its key and name go; False: it was no longer in `before`."""
    done = _advance(
        conn,
        delivery_id,
        before,
        DeliveryState.ABORTED,
        blob=None,
        name_sealed=None,
        name_token=None,
        name_key=None,
        raw_due_on=None,
        raw_gone_at=at,
        reason=reason,
    )
    if done:
        conn.execute(delete(_DATA_KEY).where(_DATA_KEY.c.object_id == delivery_id))
    return done


def listed(conn: Connection, partner_id: str, since: datetime) -> list[Received]:
    """What a partner sees in its inbox, oldest first."""
    return [_received(row) for row in conn.execute(_SEEN, {"of": partner_id, "since": since})]


def named(conn: Connection, partner_id: str, tokens: Collection[bytes], since: datetime) -> list[Received]:
    """The files of that name that a partner sees, newest last."""
    given = {"of": partner_id, "since": since}
    if len(tokens) == 1:
        (token,) = tokens
        return [_received(row) for row in _NAMED_BY_ONE.rows(conn, given | {"token": token})]
    return [_received(row) for row in conn.execute(_NAMED, given | {"tokens": list(tokens)})]


def hide(conn: Connection, delivery_ids: Sequence[str]) -> None:
    """REMOVE of received files: no longer listed; nothing is withdrawn."""
    conn.execute(update(_DELIVERY).where(_DELIVERY.c.id.in_(delivery_ids)).values(is_hidden=True))


def record_client_attributes(conn: Connection, delivery_id: str, **values: int) -> None:
    """SETSTAT: what a client says of its file (`client_mode`, `client_modified`, `client_accessed`)."""
    conn.execute(update(_DELIVERY).where(_DELIVERY.c.id == delivery_id).values(**values))


def unfinished(conn: Connection, processes: Collection[str] | None = None) -> list[Unreceived]:
    """What is RECEIVING by some processes, or by whichever: after a start, nobody is sending it any more."""
    found = _DELIVERY.c.state == DeliveryState.RECEIVING
    return _unreceived(conn, found if processes is None else found & _DELIVERY.c.process.in_(processes))


def stale(conn: Connection, closed_before: datetime) -> list[Unreceived]:
    """STAGED files that nobody renamed."""
    return _unreceived(
        conn, (_DELIVERY.c.state == DeliveryState.STAGED) & (_DELIVERY.c.closed_at <= closed_before)
    )


def staged(conn: Connection, delivery_ids: Sequence[str]) -> list[Unreceived]:
    """Those of the deliveries that are STAGED."""
    return _unreceived(conn, (_DELIVERY.c.state == DeliveryState.STAGED) & _DELIVERY.c.id.in_(delivery_ids))


_SEEN_COLUMNS = [_DELIVERY.c[name] for name in Received.__slots__]


_SINCE = _DELIVERY.c.received_at > bindparam("since")
# Made once: what each file needs, a file of a few kilobytes must not pay for.
_SEEN = (
    select(*_SEEN_COLUMNS)
    .where(
        _DELIVERY.c.partner_id == bindparam("of"),
        _DELIVERY.c.is_hidden.is_(False),
        and_(*(_DELIVERY.c.state != state for state in (*_UNSEEN, DeliveryState.STAGED)), _SINCE)
        | (_DELIVERY.c.state == DeliveryState.STAGED),
    )
    .order_by(_DELIVERY.c.closed_at, _DELIVERY.c.arrival)
)
_NAMED = _SEEN.where(_DELIVERY.c.name_token.in_(bindparam("tokens", expanding=True)))
# but at a turn of the month
_NAMED_BY_ONE = Prepared(_SEEN.where(_DELIVERY.c.name_token == bindparam("token")))
_BEGIN = Prepared(
    upsert(_DELIVERY).on_conflict_do_nothing(index_elements=[_DELIVERY.c.id]), (*Begun.__slots__, "state")
)
_ADVANCE = update(_DELIVERY).where(
    _DELIVERY.c.id == bindparam("of"), _DELIVERY.c.state == bindparam("before")
)
_CLIENT_VALUES = ("client_mode", "client_modified", "client_accessed")
_AT_CLOSE = (
    *("state", "closed_at", "received_at", "arrival", "name_sealed", "name_token", "name_key"),
    *("size_bytes", "sealed_bytes", "raw_due_on", "is_trial", *_CLIENT_VALUES),
)
_CLOSED = upsert(_DELIVERY)
_RECEIVE = Prepared(
    _CLOSED.on_conflict_do_update(
        index_elements=[_DELIVERY.c.id],
        set_={name: _CLOSED.excluded[name] for name in _AT_CLOSE},
        where=_DELIVERY.c.state == bindparam("before"),
    ),
    (*Begun.__slots__, *_AT_CLOSE),
)
_NEXT_ARRIVAL = Prepared(
    upsert(_COUNTER)
    .values(name="arrival", value=1)
    .on_conflict_do_update(index_elements=[_COUNTER.c.name], set_={"value": _COUNTER.c.value + 1})
    .returning(_COUNTER.c.value)
)


def _values(begun: Begun) -> dict[str, Any]:
    return {name: getattr(begun, name) for name in Begun.__slots__}


def _received(row: Sequence[Any]) -> Received:
    values = dict(zip(Received.__slots__, row, strict=True))
    return Received(**values | {"state": DeliveryState(values["state"])})


def _unreceived(conn: Connection, condition: Any) -> list[Unreceived]:
    columns = (_DELIVERY.c.id, _DELIVERY.c.partner_id, _DELIVERY.c.state, _DELIVERY.c.blob)
    return [
        Unreceived(id=row.id, partner_id=row.partner_id, state=DeliveryState(row.state), blob=row.blob)
        for row in conn.execute(select(*columns).where(condition))
    ]


def _advance(
    conn: Connection, delivery_id: str, before: DeliveryState, after: DeliveryState, **values: Any
) -> bool:
    check_transition(before, after)
    found = {"of": delivery_id, "before": before}
    return conn.execute(_ADVANCE, {"state": after} | values | found).rowcount == 1


def _next_arrival(conn: Connection) -> int:
    ((number,),) = _NEXT_ARRIVAL.rows(conn, {})
    return int(number)
