"""Wrapped data keys (spec 4, Keys): one object, one due day and, for rows, one municipality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, exists, func, insert, select

from gateway.store import key_versions
from gateway.store.bulk import as_list, insert_rows, listed
from gateway.store.places import CHUNK, chunks
from gateway.store.prepared import Prepared
from gateway.store.tables import DataKeyRow, SignalRow

_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]

#: What stands for the municipality of rows that can't be routed: their key is not the received file's.
NO_MUNICIPALITY = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A wrapped data key with what its associated data is made of."""

    id: int
    object_id: str
    partner_id: str
    municipality: str
    due_on: date
    key_id: str
    key_version: int
    wrapped: bytes
    commitment: bytes


_COLUMNS = [_DATA_KEY.c[name] for name in StoredKey.__slots__]
# built once: each outgoing file, each key that is opened
_ADD = Prepared(
    insert(_DATA_KEY).returning(_DATA_KEY.c.id), [name for name in StoredKey.__slots__ if name != "id"]
)
_OF_OBJECT = Prepared(
    select(*_COLUMNS).where(_DATA_KEY.c.object_id == bindparam("object"), _DATA_KEY.c.municipality == "")
)
_BY_ID = select(*_COLUMNS).where(listed(_DATA_KEY.c.id))


def add(
    conn: Connection,
    *,
    object_id: str,
    partner_id: str,
    due_on: date,
    key_id: str,
    key_version: int,
    wrapped: bytes,
    commitment: bytes,
    municipality: str = "",
) -> int:
    """Store a wrapped data key; its id.

    Raises:
        KeySuperseded: the key that wraps it has a newer version in force: wrap it again.
    """
    key_versions.check(conn, key_id, key_version)
    ((stored_id,),) = _ADD.rows(
        conn,
        {
            "object_id": object_id,
            "partner_id": partner_id,
            "municipality": municipality,
            "due_on": due_on,
            "key_id": key_id,
            "key_version": key_version,
            "wrapped": wrapped,
            "commitment": commitment,
        },
    )
    return int(stored_id)


def add_all(conn: Connection, keys: Sequence[Mapping[str, Any]]) -> list[int]:
    """Store wrapped data keys, each with the columns of a `StoredKey` but `id`; their ids, in order.

    Raises:
        KeySuperseded: as for `add`.
    """
    for key_id, version in {(key["key_id"], key["key_version"]) for key in keys}:
        key_versions.check(conn, key_id, version)
    first = conn.execute(select(func.coalesce(func.max(_DATA_KEY.c.id), 0))).scalar_one() + 1
    ids = list(range(first, first + len(keys)))
    insert_rows(conn, _DATA_KEY, [{"id": each, **key} for each, key in zip(ids, keys, strict=True)])
    return ids


def of_object(conn: Connection, object_id: str) -> StoredKey | None:
    """The key of a received file or a dispatch; None when it is gone."""
    for row in _OF_OBJECT.rows(conn, {"object": object_id}):
        return StoredKey(**dict(zip(StoredKey.__slots__, row, strict=True)))
    return None


def of_objects(conn: Connection, object_ids: Iterable[str]) -> dict[str, StoredKey]:
    """The keys of received files or dispatches, by object; those that are gone are left out."""
    found: dict[str, StoredKey] = {}
    for chunk in chunks(object_ids, CHUNK):
        chosen = _DATA_KEY.c.object_id.in_(chunk) & (_DATA_KEY.c.municipality == "")
        for row in conn.execute(select(*_COLUMNS).where(chosen)):
            key = StoredKey(**dict(zip(StoredKey.__slots__, row, strict=True)))
            found[key.object_id] = key
    return found


def by_id(conn: Connection, ids: Iterable[int]) -> dict[int, StoredKey]:
    """Keys by id; those that are gone are left out."""
    rows = conn.execute(_BY_ID, {"listed": as_list(ids)})
    keys = (StoredKey(**dict(zip(StoredKey.__slots__, row, strict=True))) for row in rows)
    return {key.id: key for key in keys}


def after(conn: Connection, last_id: int, at_most: int) -> list[StoredKey]:
    """The keys that follow `last_id`, by id."""
    query = select(*_COLUMNS).where(_DATA_KEY.c.id > last_id).order_by(_DATA_KEY.c.id).limit(at_most)
    return [StoredKey(**dict(zip(StoredKey.__slots__, row, strict=True))) for row in conn.execute(query)]


def count(conn: Connection) -> int:
    """How many there are."""
    return conn.execute(select(func.count()).select_from(_DATA_KEY)).scalar_one()


def under(conn: Connection, key_id: str) -> list[StoredKey]:
    """The keys that are wrapped under a key of the keyring, by id."""
    query = select(*_COLUMNS).where(_DATA_KEY.c.key_id == key_id).order_by(_DATA_KEY.c.id)
    return [StoredKey(**dict(zip(StoredKey.__slots__, row, strict=True))) for row in conn.execute(query)]


def count_by_key(conn: Connection) -> dict[str, int]:
    """Key of the keyring -> how many data keys it wraps."""
    query = select(_DATA_KEY.c.key_id, func.count()).group_by(_DATA_KEY.c.key_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def of_rows(conn: Connection, object_id: str) -> list[StoredKey]:
    """The keys of a delivery's rows, those under the newest version of their key first."""
    chosen = (_DATA_KEY.c.object_id == object_id) & (_DATA_KEY.c.municipality != "")
    query = select(*_COLUMNS).where(chosen).order_by(_DATA_KEY.c.key_version.desc(), _DATA_KEY.c.id)
    return [StoredKey(**dict(zip(StoredKey.__slots__, row, strict=True))) for row in conn.execute(query)]


def drop_unused(conn: Connection, object_id: str) -> None:
    """Take away the keys of a delivery's rows without a municipality when no such row is left."""
    is_used = exists().where(_SIGNAL.c.delivery_id == object_id, _SIGNAL.c.data_key_id == _DATA_KEY.c.id)
    conn.execute(
        delete(_DATA_KEY).where(
            _DATA_KEY.c.object_id == object_id, _DATA_KEY.c.municipality == NO_MUNICIPALITY, ~is_used
        )
    )


def drop_of_rows(conn: Connection, object_id: str) -> None:
    """Take away the keys of rows that an interrupted processing staged; the file's own key stays."""
    conn.execute(delete(_DATA_KEY).where(_DATA_KEY.c.object_id == object_id, _DATA_KEY.c.municipality != ""))


def drop(conn: Connection, object_id: str) -> None:
    """Take away the key of a received file or a dispatch."""
    conn.execute(delete(_DATA_KEY).where(_DATA_KEY.c.object_id == object_id, _DATA_KEY.c.municipality == ""))
