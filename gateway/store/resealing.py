"""What is sealed under a data key, and its change to another one (spec 4, Keys: compromise)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, bindparam, delete, exists, select, update

from gateway.store.retention_tables import PurgeRun
from gateway.store.tables import DataKeyRow, Delivery, Dispatch, ExclusionRow, SignalRow

_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_RUN: Table = PurgeRun.__table__  # type: ignore[attr-defined]
#: Tables of sealed rows, by what their rows are bound to.
_ROWS: Mapping[str, Table] = {
    "signal": SignalRow.__table__,  # type: ignore[attr-defined]
    "exclusion": ExclusionRow.__table__,  # type: ignore[attr-defined]
}


class Row(NamedTuple):
    """A sealed row; `delivery_id` and `line` are its place."""

    id: int
    delivery_id: str
    line: int
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A received file or a dispatch; `blob` is None when its bytes are gone. A dispatch has a `kind`."""

    id: str
    partner_id: str
    delivery_id: str | None
    kind: str | None
    blob: str | None
    name_sealed: bytes | None = None
    sha256_sealed: bytes | None = None


def is_purge_cut(conn: Connection) -> bool:
    """Whether a purge was interrupted, and has written down what goes under the data keys as they are."""
    return bool(conn.execute(select(exists().where(_RUN.c.finished_at.is_(None)))).scalar_one())


def rows(conn: Connection, table: str, data_key_id: int, at_most: int) -> list[Row]:
    """Some of the rows of a table that are sealed under a data key."""
    of = _ROWS[table]
    query = select(of.c.id, of.c.delivery_id, of.c.line, of.c.sealed).where(
        of.c.data_key_id == data_key_id, of.c.sealed.is_not(None)
    )
    return [Row(*row) for row in conn.execute(query.order_by(of.c.id).limit(at_most))]


def move_rows(conn: Connection, table: str, data_key_id: int, sealed: Mapping[int, bytes]) -> None:
    """These rows are sealed under another data key."""
    of = _ROWS[table]
    conn.execute(
        update(of)
        .where(of.c.id == bindparam("row"))
        .values(data_key_id=data_key_id, sealed=bindparam("again")),
        [{"row": row_id, "again": again} for row_id, again in sealed.items()],
    )


def file(conn: Connection, object_id: str) -> File | None:
    """The received file or dispatch of a data key; None when there is none."""
    names = ("id", "partner_id", "blob", "raw_gone_at", "name_sealed", "sha256_sealed")
    row = conn.execute(
        select(*(_DELIVERY.c[name] for name in names)).where(_DELIVERY.c.id == object_id)
    ).one_or_none()
    if row is not None:
        return File(
            id=row.id,
            partner_id=row.partner_id,
            delivery_id=None,
            kind=None,
            blob=row.blob if row.raw_gone_at is None else None,
            name_sealed=row.name_sealed,
            sha256_sealed=row.sha256_sealed,
        )
    sent = ("id", "partner_id", "delivery_id", "kind", "blob")
    row = conn.execute(
        select(*(_DISPATCH.c[name] for name in sent)).where(_DISPATCH.c.id == object_id)
    ).one_or_none()
    if row is None:
        return None
    return File(
        id=row.id,
        partner_id=row.partner_id,
        delivery_id=row.delivery_id,
        kind=row.kind,
        blob=row.blob or None,
    )


def change_file(conn: Connection, changed: File, values: Mapping[str, Any]) -> None:
    """A received file or dispatch is sealed again: its bytes are others, and what is sealed with it."""
    of = _DELIVERY if changed.kind is None else _DISPATCH
    if values:
        conn.execute(update(of).where(of.c.id == changed.id).values(**values))


def change_key(
    conn: Connection, data_key_id: int, *, version: int, wrapped: bytes, commitment: bytes
) -> None:
    """An object has another data key."""
    conn.execute(
        update(_DATA_KEY)
        .where(_DATA_KEY.c.id == data_key_id)
        .values(key_version=version, wrapped=wrapped, commitment=commitment)
    )


def drop_key(conn: Connection, data_key_id: int) -> None:
    """Nothing is sealed under this data key any more."""
    conn.execute(delete(_DATA_KEY).where(_DATA_KEY.c.id == data_key_id))
