"""Which blobs the rows know: any other is an orphan of a crash."""

from __future__ import annotations

from sqlalchemy import Table, select, union_all

from gateway.store import Connection
from gateway.store.tables import Delivery, Dispatch

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]


def in_use(conn: Connection) -> set[str]:
    """The names of all blobs that a delivery or a dispatch still has."""
    rows = conn.execute(
        union_all(
            select(_DELIVERY.c.blob).where(_DELIVERY.c.blob.is_not(None), _DELIVERY.c.raw_gone_at.is_(None)),
            select(_DISPATCH.c.blob).where(_DISPATCH.c.purged_at.is_(None)),
        )
    )
    return {row[0] for row in rows}
