"""Early removals as they are kept for a restored backup, in the caller's transaction (spec 4, Retention)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, String, Table, cast, delete, exists, insert, select, update

from gateway.store import data_keys
from gateway.store.retention_tables import RemovalRow
from gateway.store.tables import DataKeyRow

_REMOVAL: Table = RemovalRow.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]

_HAS_KEY = exists().where(_DATA_KEY.c.object_id == _REMOVAL.c.id)
#: Key and version under which a record's data key is wrapped now.
_UNDER = _DATA_KEY.c.key_id + ":" + cast(_DATA_KEY.c.key_version, String)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A record with its wrapped key."""

    id: str
    sealed: bytes
    key_id: str
    key_version: int
    wrapped: bytes
    commitment: bytes


_KEPT = [
    _REMOVAL.c.id,
    _REMOVAL.c.sealed,
    *(_DATA_KEY.c[name] for name in ("key_id", "key_version", "wrapped", "commitment")),
]


def add(
    conn: Connection,
    kept: Kept,
    *,
    owner: str,
    due_on: date,
    at: datetime,
    about: str = "",
    is_written: bool = False,
) -> None:
    """Keep a record; its wrapped key goes with the day, as that of any object. `is_written`: its file lies in `log/`."""
    data_keys.add(
        conn,
        object_id=kept.id,
        partner_id=owner,
        due_on=due_on,
        key_id=kept.key_id,
        key_version=kept.key_version,
        wrapped=kept.wrapped,
        commitment=kept.commitment,
    )
    written = f"{kept.key_id}:{kept.key_version}" if is_written else ""
    conn.execute(insert(_REMOVAL).values(id=kept.id, at=at, sealed=kept.sealed, about=about, written=written))


def sealed(conn: Connection, record_id: str) -> bytes | None:
    """The sealed fields of a record; None when there is none of that id."""
    return conn.execute(select(_REMOVAL.c.sealed).where(_REMOVAL.c.id == record_id)).scalar_one_or_none()


def change(conn: Connection, record_id: str, sealed: bytes) -> None:
    """A record is sealed again, and so must its file be."""
    conn.execute(update(_REMOVAL).where(_REMOVAL.c.id == record_id).values(sealed=sealed, written=""))


def unwritten(conn: Connection) -> list[Kept]:
    """Those whose file is not in `log/`, or is wrapped under another key there than here."""
    query = (
        select(*_KEPT)
        .join(_DATA_KEY, _DATA_KEY.c.object_id == _REMOVAL.c.id)
        .where(_REMOVAL.c.written != _UNDER)
        .order_by(_REMOVAL.c.at, _REMOVAL.c.id)
    )
    return [Kept(**row) for row in conn.execute(query).mappings()]


def mark_written(conn: Connection, written: Collection[Kept]) -> None:
    """The files of these lie in `log/`, durably."""
    for each in written:
        under = f"{each.key_id}:{each.key_version}"
        conn.execute(update(_REMOVAL).where(_REMOVAL.c.id == each.id).values(written=under))


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A record that tells of a hold, and the last day on which it can be read."""

    id: str
    about: str
    due_on: date


def about_holds(conn: Connection) -> list[About]:
    """The records that tell of holds."""
    query = (
        select(_REMOVAL.c.id, _REMOVAL.c.about, _DATA_KEY.c.due_on)
        .join(_DATA_KEY, _DATA_KEY.c.object_id == _REMOVAL.c.id)
        .where(_REMOVAL.c.about != "")
    )
    return [About(**row) for row in conn.execute(query).mappings()]


def known(conn: Connection) -> set[str]:
    """The ids of all that are kept."""
    return set(conn.execute(select(_REMOVAL.c.id)).scalars())


def over(conn: Connection) -> list[str]:
    """Those whose data key is gone: nobody can read them, and no backup needs them."""
    return list(conn.execute(select(_REMOVAL.c.id).where(~_HAS_KEY)).scalars())


def drop(conn: Connection, ids: Collection[str]) -> None:
    """Let go of records whose files are gone."""
    conn.execute(delete(_REMOVAL).where(_REMOVAL.c.id.in_(ids)))
