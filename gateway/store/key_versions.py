"""The versions of the keys of the keyring, as the register knows them (spec 4, Keys).

`version` is the one in force: nothing new is stored under an older one. Versions before `compromised_before`
may be known to somebody; those before `destroyed_before` were destroyed. `wanted_version` is that of a rewrap
that is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.errors import KeySuperseded
from gateway.store.prepared import Prepared
from gateway.store.retention_tables import KeyRow
from gateway.store.tables import DataKeyRow

_KEY: Table = KeyRow.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """A key as the register knows it, with its versions."""

    id: str
    version: int = 1
    wanted_version: int | None = None
    compromised_before: int = 1
    compromised_at: datetime | None = None
    destroyed_before: int = 1
    destroyed_at: datetime | None = None

    @property
    def is_compromised(self) -> bool:
        """Whether a version that somebody may know still protects something, or is still there."""
        return self.compromised_before > self.destroyed_before and self.destroyed_at is None


_COLUMNS = [_KEY.c[name] for name in Versions.__slots__]
# built once: it is asked with each outgoing file
_VERSION = Prepared(select(_KEY.c.version).where(_KEY.c.id == bindparam("key")))


def all_keys(conn: Connection) -> dict[str, Versions]:
    """Every key that was ever made, by id."""
    return {row["id"]: Versions(**row) for row in conn.execute(select(*_COLUMNS)).mappings()}


def of_key(conn: Connection, key_id: str) -> Versions:
    """One key; one that the register does not know has its first version."""
    row = conn.execute(select(*_COLUMNS).where(_KEY.c.id == key_id)).mappings().one_or_none()
    return Versions(id=key_id) if row is None else Versions(**row)


def in_force(conn: Connection) -> dict[str, int]:
    """The version in force of every key of which it is not the first."""
    query = select(_KEY.c.id, _KEY.c.version).where(_KEY.c.version > 1)
    return {row[0]: row[1] for row in conn.execute(query)}


def check(conn: Connection, key_id: str, version: int) -> None:
    """Nothing is stored under a version that another has taken the place of.

    Looked at in the transaction that stores: of a version that is retired no reference can come after.

    Raises:
        KeySuperseded: wrap it again.
    """
    for (known,) in _VERSION.rows(conn, {"key": key_id}):
        if version < known:
            raise KeySuperseded(f"version {version} of {key_id} gave way to version {known}")


def want(conn: Connection, versions: Mapping[str, int]) -> None:
    """A rewrap of these keys is under way, to these versions."""
    for key_id, version in versions.items():
        conn.execute(update(_KEY).where(_KEY.c.id == key_id).values(wanted_version=version))


def advance(conn: Connection, key_id: str, version: int, at: datetime) -> bool:
    """A version is in force from now on; False when it is already, or a newer one."""
    if of_key(conn, key_id).version >= version:
        return False
    _set(conn, key_id, at, version=version)
    return True


def finish(conn: Connection, key_id: str) -> None:
    """No rewrap of a key is under way any more."""
    conn.execute(update(_KEY).where(_KEY.c.id == key_id).values(wanted_version=None))


def compromise(conn: Connection, key_id: str, before: int, at: datetime) -> None:
    """Somebody may know the versions of a key `before` one."""
    _set(conn, key_id, at, compromised_before=before, compromised_at=at, wanted_version=None)


def mark_destroyed(conn: Connection, key_id: str, before: int) -> None:
    """The versions of a key `before` one are destroyed, on record from now on."""
    conn.execute(update(_KEY).where(_KEY.c.id == key_id).values(destroyed_before=before))


def older(conn: Connection, key_id: str, before: int) -> int:
    """How many data keys are wrapped under versions of a key `before` one."""
    query = select(func.count()).select_from(_DATA_KEY)
    return int(conn.execute(query.where(*_older(key_id, before))).scalar_one())


def older_ids(conn: Connection, key_id: str, before: int, at_most: int | None = None) -> list[int]:
    """The ids of the data keys that are wrapped under versions of a key `before` one, or of some of them."""
    query = select(_DATA_KEY.c.id).where(*_older(key_id, before)).order_by(_DATA_KEY.c.id).limit(at_most)
    return list(conn.execute(query).scalars())


def rewrap(conn: Connection, data_key_id: int, *, version: int, wrapped: bytes) -> None:
    """A data key is wrapped under another version of the same key."""
    conn.execute(
        update(_DATA_KEY).where(_DATA_KEY.c.id == data_key_id).values(key_version=version, wrapped=wrapped)
    )


def _older(key_id: str, before: int) -> tuple[Any, ...]:
    return _DATA_KEY.c.key_id == key_id, _DATA_KEY.c.key_version < before


def _set(conn: Connection, key_id: str, at: datetime, **values: object) -> None:
    """Of a key that the register does not know yet, too."""
    known = upsert(_KEY).values(id=key_id, made_at=at, **{"version": 1, **values})
    conn.execute(known.on_conflict_do_update(index_elements=[_KEY.c.id], set_=values))
