"""Which blobs the rows know, and what they say of them: any other is an orphan of a crash."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import CompoundSelect, Select, Table, func, select, union_all

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import LISTED, DispatchState
from gateway.store import Connection
from gateway.store.tables import Delivery, Dispatch

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]


class Kept(NamedTuple):
    """A blob that should be there, whole: of a delivery or an outgoing file; size and digest of the ciphertext.

    What was received and not read yet has no digest.
    """

    owner: str
    partner_id: str
    name: str
    size: int
    sha256: bytes | None


def in_use(conn: Connection) -> set[str]:
    """The names of all blobs that a delivery or a dispatch still has."""
    return {row[0] for row in conn.execute(union_all(*_in_use()))}


def unknown(conn: Connection, names: Collection[str]) -> set[str]:
    """Those of the blobs that no delivery and no dispatch has."""
    known = [query.where(query.selected_columns[0].in_(names)) for query in _in_use()]
    return {*names} - {row[0] for row in conn.execute(union_all(*known))}


def kept(conn: Connection, after: str, at_most: int) -> list[Kept]:
    """Some of the blobs that should be there, by the id of what they are of, from behind `after` on."""
    query = _kept().subquery()
    page = select(query).where(query.c.owner > after).order_by(query.c.owner).limit(at_most)
    return [Kept(*row) for row in conn.execute(page)]


def sum_kept(conn: Connection) -> tuple[int, int]:
    """How many blobs should be there, and their bytes."""
    query = _kept().subquery()
    count, size = conn.execute(select(func.count(), func.coalesce(func.sum(query.c.size), 0))).one()
    return int(count), int(size)


def is_kept(conn: Connection, blob: Kept) -> bool:
    """Whether it should still be there: not gone meanwhile, nor sealed again under another name."""
    query = _kept().subquery()
    return conn.scalar(select(query.c.name).where(query.c.owner == blob.owner)) == blob.name


def _in_use() -> tuple[Select[Any], Select[Any]]:
    return (
        select(_DELIVERY.c.blob).where(_DELIVERY.c.blob.is_not(None), _DELIVERY.c.raw_gone_at.is_(None)),
        select(_DISPATCH.c.blob).where(_DISPATCH.c.purged_at.is_(None)),
    )


def _kept() -> CompoundSelect[Any]:
    received, sent = (
        select(
            table.c.id.label("owner"),
            table.c.partner_id,
            table.c.blob.label("name"),
            table.c.sealed_bytes.label("size"),
            table.c.sealed_sha256.label("sha256"),
        )
        for table in (_DELIVERY, _DISPATCH)
    )
    return union_all(
        received.where(
            _DELIVERY.c.blob.is_not(None),
            _DELIVERY.c.raw_gone_at.is_(None),
            _DELIVERY.c.state.not_in((DeliveryState.RECEIVING, DeliveryState.ABORTED, DeliveryState.PURGING)),
        ),
        sent.where(_DISPATCH.c.state.in_((*LISTED, DispatchState.REPLACED))),
    )
