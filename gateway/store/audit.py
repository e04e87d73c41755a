"""The audit log's rows: entries as they were written, their places in the tree, signed checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Connection,
    LargeBinary,
    RowMapping,
    Table,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    update,
)

from gateway.store.prepared import Prepared
from gateway.store.tables import AuditCheckpoint, AuditEntry, AuditPruned

_ENTRY: Table = AuditEntry.__table__  # type: ignore[attr-defined]
_CHECKPOINT: Table = AuditCheckpoint.__table__  # type: ignore[attr-defined]
_PRUNED: Table = AuditPruned.__table__  # type: ignore[attr-defined]

# SQLite keeps whatever type a tamperer wrote: what is hashed or parsed is cast, so that it is compared, and found.
_BYTES = cast(_ENTRY.c.entry, LargeBinary).label("entry")
_HASH = func.coalesce(cast(_ENTRY.c.leaf_hash, LargeBinary), b"").label("leaf_hash")
_NOTED = (
    _CHECKPOINT.c.size,
    cast(_CHECKPOINT.c.root, LargeBinary).label("root"),
    cast(_CHECKPOINT.c.note, LargeBinary).label("note"),
    _CHECKPOINT.c.at,
)

#: made once: each change writes one
_ADD = Prepared(insert(_ENTRY), ("at", "entry"))

#: A whole log is read in pieces of this many rows.
_ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """A numbered entry as the database holds it; `entry` is None when its contents are not held."""

    id: int
    entry: bytes | None
    leaf_index: int
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint as the database holds it."""

    size: int
    root: bytes
    note: str
    at: datetime


def insert_entries(conn: Connection, entries: Sequence[tuple[datetime, bytes]]) -> None:
    """Add entries (instant, canonical JSON) to the caller's transaction, in their order."""
    for at, entry in entries:
        _ADD.count(conn, {"at": at, "entry": entry})


def unnumbered(conn: Connection) -> list[tuple[int, bytes]]:
    """Id and entry of what has no place in the tree yet, in the order it was written."""
    found = conn.execute(
        select(_ENTRY.c.id, _BYTES).where(_ENTRY.c.leaf_index.is_(None)).order_by(_ENTRY.c.id)
    )
    return [(row.id, row.entry) for row in found]


def number_entries(conn: Connection, places: Sequence[tuple[int, int, bytes]]) -> None:
    """Give entries their place: id, leaf index, leaf hash."""
    if places:
        conn.execute(
            update(_ENTRY)
            .where(_ENTRY.c.id == bindparam("of"))
            .values(leaf_index=bindparam("index"), leaf_hash=bindparam("hash")),
            [{"of": of, "index": index, "hash": leaf_hash} for of, index, leaf_hash in places],
        )


def insert_numbered(conn: Connection, rows: Sequence[tuple[datetime, bytes, int, bytes]]) -> None:
    """Add entries that have their place: instant, canonical JSON, leaf index, leaf hash."""
    if rows:
        names = ("at", "entry", "leaf_index", "leaf_hash")
        conn.execute(insert(_ENTRY), [dict(zip(names, row, strict=True)) for row in rows])


def drop_unnumbered(conn: Connection) -> None:
    """Take away what has no place in the tree yet: the caller stores it again, in its place."""
    conn.execute(delete(_ENTRY).where(_ENTRY.c.leaf_index.is_(None)))


def leaf_hashes(conn: Connection, size: int, since: int = 0) -> Iterator[bytes]:
    """The leaf hashes of the numbered entries from `since` up to, not including, `size`, in the order of the tree."""
    found = conn.execute(
        select(_HASH)
        .where(_ENTRY.c.leaf_index >= since, _ENTRY.c.leaf_index < size)
        .order_by(_ENTRY.c.leaf_index),
        execution_options={"yield_per": _ROWS_AT_ONCE},
    )
    for row in found:
        yield row.leaf_hash


def entries(conn: Connection, since: int, size: int) -> Iterator[bytes]:
    """The numbered entries from `since` up to, not including, `size`, in the order of the tree, as far as held."""
    found = conn.execute(
        select(_BYTES)
        .where(_ENTRY.c.leaf_index >= since, _ENTRY.c.leaf_index < size, _ENTRY.c.entry.is_not(None))
        .order_by(_ENTRY.c.leaf_index)
    )
    for row in found:
        yield row.entry


def place_of(conn: Connection, entry: bytes) -> int:
    """The place in the tree of an entry that was numbered; the last of those that say the same."""
    place: int = conn.execute(
        select(func.max(_ENTRY.c.leaf_index)).where(_ENTRY.c.entry == entry)
    ).scalar_one()
    return place


def written_at(conn: Connection, leaf_indexes: Collection[int]) -> dict[int, datetime]:
    """When entries were written, by their place in the tree."""
    query = select(_ENTRY.c.leaf_index, _ENTRY.c.at).where(_ENTRY.c.leaf_index.in_(leaf_indexes))
    return {row.leaf_index: row.at for row in conn.execute(query)}


def numbered(conn: Connection, since: int | None = None) -> Iterator[StoredEntry]:
    """Every numbered entry, or those from `since` on, in the order of the tree."""
    wanted = _ENTRY.c.leaf_index.is_not(None) if since is None else _ENTRY.c.leaf_index >= since
    found = conn.execute(
        select(_ENTRY.c.id, _BYTES, _ENTRY.c.leaf_index, _HASH).where(wanted).order_by(_ENTRY.c.leaf_index),
        execution_options={"yield_per": _ROWS_AT_ONCE},
    )
    for row in found:
        yield StoredEntry(id=row.id, entry=row.entry, leaf_index=row.leaf_index, leaf_hash=row.leaf_hash)


def count_unnumbered(conn: Connection) -> int:
    """How many entries have no place in the tree yet."""
    count: int = (
        conn.scalar(select(func.count()).select_from(_ENTRY).where(_ENTRY.c.leaf_index.is_(None))) or 0
    )
    return count


def held_from(conn: Connection) -> int:
    """The first entry whose contents are held: those before it went after the log's term; 0 when none did."""
    return int(conn.execute(select(func.coalesce(func.max(_PRUNED.c.held_from), 0))).scalar_one())


def prune(conn: Connection, until: int, at: datetime) -> None:
    """Let go of the contents of the entries before `until`; their places and hashes stay."""
    since = held_from(conn)
    conn.execute(
        update(_ENTRY).where(_ENTRY.c.leaf_index >= since, _ENTRY.c.leaf_index < until).values(entry=None)
    )
    conn.execute(delete(_PRUNED))
    conn.execute(insert(_PRUNED).values(held_from=until, at=at))


def insert_checkpoint(conn: Connection, *, size: int, root: bytes, note: str, at: datetime) -> None:
    """Add a signed checkpoint."""
    conn.execute(insert(_CHECKPOINT).values(size=size, root=root, note=note, at=at))


def checkpoints(conn: Connection) -> list[StoredCheckpoint]:
    """Every checkpoint, oldest first."""
    found = conn.execute(select(*_NOTED).order_by(_CHECKPOINT.c.id))
    return [_checkpoint(row) for row in found.mappings()]


def last_checkpoint(conn: Connection) -> StoredCheckpoint | None:
    """The newest checkpoint; None in a log that has none yet."""
    found = last_checkpoints(conn, 1)
    return found[0] if found else None


def last_checkpoints(conn: Connection, count: int) -> list[StoredCheckpoint]:
    """The newest checkpoints, newest first; fewer when there are no more."""
    found = conn.execute(select(*_NOTED).order_by(_CHECKPOINT.c.id.desc()).limit(count))
    return [_checkpoint(row) for row in found.mappings()]


def _checkpoint(row: RowMapping) -> StoredCheckpoint:
    return StoredCheckpoint(
        size=row["size"], root=row["root"], note=row["note"].decode(errors="replace"), at=row["at"]
    )
