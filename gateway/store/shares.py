"""Which part of a delivery was for which municipality: counts, at intake (spec 2, aanleveroverzicht)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Table, and_, func, select
from sqlalchemy.dialects import sqlite

from gateway.domain.delivery import DeliveryState, Kind
from gateway.store.tables import Delivery, DeliveryShare

_SHARE: Table = DeliveryShare.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]

#: What was taken in, and what is left of it.
_TAKEN_IN = (DeliveryState.PROCESSED, DeliveryState.PURGING, DeliveryState.PURGED)


_FRESH = sqlite.insert(_SHARE)
_ADD = _FRESH.on_conflict_do_update(
    index_elements=[_SHARE.c.delivery_id, _SHARE.c.municipality],
    set_={"signals": _SHARE.c.signals + _FRESH.excluded.signals},
)


def add(conn: Connection, delivery_id: str, shares: Mapping[str, int]) -> None:
    """So many more signals of a delivery were taken for these municipalities; for an empty one: for none."""
    if shares:
        conn.execute(
            _ADD,
            [
                {"delivery_id": delivery_id, "municipality": municipality, "signals": count}
                for municipality, count in shares.items()
            ],
        )


def creditors(conn: Connection, municipality: str, since: datetime, until: datetime) -> list[str]:
    """Whose deliveries, received from `since` up to `until`, had signals of a municipality; in order."""
    query = (
        select(_DELIVERY.c.partner_id)
        .distinct()
        .join(_SHARE, _SHARE.c.delivery_id == _DELIVERY.c.id)
        .where(
            _SHARE.c.municipality == municipality,
            _DELIVERY.c.received_at >= since,
            _DELIVERY.c.received_at < until,
        )
    )
    return list(conn.execute(query.order_by(_DELIVERY.c.partner_id)).scalars())


class Share(NamedTuple):
    """A signal file that was taken in: signals for one municipality, for all, and rows that were rejected."""

    creditor: str
    received_at: datetime
    own: int
    all: int
    rejected: int


def received(
    conn: Connection, municipality: str, partner_ids: Collection[str], since: datetime, until: datetime
) -> list[Share]:
    """The signal files of these creditors, received from `since` up to `until`, by creditor and time."""
    own = and_(_SHARE.c.delivery_id == _DELIVERY.c.id, _SHARE.c.municipality == municipality)
    part = _SHARE.alias()
    whole = (
        select(func.coalesce(func.sum(part.c.signals), 0))
        .where(part.c.delivery_id == _DELIVERY.c.id)
        .scalar_subquery()
    )
    query = (
        select(
            _DELIVERY.c.partner_id,
            _DELIVERY.c.received_at,
            func.coalesce(_SHARE.c.signals, 0),
            whole,
            _DELIVERY.c.rejected_count,
        )
        .select_from(_DELIVERY.outerjoin(_SHARE, own))
        .where(
            _DELIVERY.c.partner_id.in_(partner_ids),
            _DELIVERY.c.kind == Kind.SIGNALS,
            _DELIVERY.c.state.in_(_TAKEN_IN),
            _DELIVERY.c.received_at >= since,
            _DELIVERY.c.received_at < until,
        )
        .order_by(_DELIVERY.c.partner_id, _DELIVERY.c.arrival)
    )
    return [Share(*row) for row in conn.execute(query)]
