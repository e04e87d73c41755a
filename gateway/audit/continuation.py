"""An audit log that continues from `log/` after an older database was put back (spec 4, Retention).

The entries that the database lacks are taken in again from the tiles. They and what the database holds must give the
very root that was signed last: so the log is one, and a checkpoint that anybody kept is still continued.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.audit.checkpoint import CHECKPOINT_FILE, Checkpoint, open_checkpoint
from gateway.audit.loss import loss, outside
from gateway.audit.merkle import Frontier, leaf_hash
from gateway.audit.tiles import WIDTH, Tile, tiles_of
from gateway.errors import AuditError
from gateway.store import Connection
from gateway.store import audit as rows

_LENGTH = struct.Struct(">H")
#: Entries that are stored with one statement.
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Older:
    """A database that is older than `log/`: it holds `size` entries, and there are more under `newest`."""

    size: int
    newest: Checkpoint


def older(conn: Connection, log_dir: Path, public_key: Ed25519PublicKey) -> Older | None:
    """Whether `log/` has entries that continue the database's log; None when it does not, or has no more."""
    there = outside(log_dir, public_key)
    if there is None or not loss(conn, log_dir, public_key):
        return None
    last = rows.last_checkpoint(conn)
    size = 0 if last is None else last.size
    if there.size <= size:
        return None
    try:
        for _ in _continued(conn, log_dir, size, there):
            pass
    except AuditError:
        return None
    return Older(size=size, newest=there)


def take_in(conn: Connection, log_dir: Path, public_key: Ed25519PublicKey, found: Older, at: datetime) -> int:
    """Store what the database lacks, in its place, and the checkpoint over it; how many entries.

    What the database held without a place in the tree has its place among them, or comes after them. The caller's
    transaction: all of it or nothing.

    Raises:
        AuditError: the tiles are not those that were signed.
    """
    waiting = rows.unnumbered(conn)
    rows.drop_unnumbered(conn)
    taken = _continued(conn, log_dir, found.size, found.newest)
    place, again = found.size, iter(waiting)
    next_own = next(again, None)
    while batch := list(islice(taken, _AT_ONCE)):
        stored = []
        for entry in batch:
            if next_own is not None and entry == next_own[1]:
                next_own = next(again, None)
            stored.append((_written_at(entry), entry, place, leaf_hash(entry)))
            place += 1
        rows.insert_numbered(conn, stored)
    left = [*(() if next_own is None else (next_own,)), *again]
    rows.insert_entries(conn, [(_written_at(entry), entry) for _, entry in left])
    note = (log_dir / CHECKPOINT_FILE).read_text()
    if open_checkpoint(note, public_key) != found.newest:
        raise AuditError("log/checkpoint was replaced meanwhile: another gateway writes it")
    rows.insert_checkpoint(conn, size=found.newest.size, root=found.newest.root, note=note, at=at)
    return found.newest.size - found.size


def entries_between(conn: Connection, since: int, size: int) -> Iterator[dict[str, Any]]:
    """The fields of the numbered entries from `since` up to, not including, `size`."""
    for entry in rows.entries(conn, since, size):
        yield json.loads(entry)


def _continued(conn: Connection, log_dir: Path, size: int, newest: Checkpoint) -> Iterator[bytes]:
    """The entries from `size` on, from the tiles. AuditError at the end when the root is not the signed one."""
    tree = Frontier()
    for hashed in rows.leaf_hashes(conn, size):
        tree.append(hashed)
    if tree.size != size:
        raise AuditError("the audit log in the database is not the one that was signed last")
    for tile in tiles_of(newest.size, size):
        if tile.level is None:
            for place, entry in enumerate(_bundle(log_dir, tile), start=tile.first):
                if place >= size:
                    tree.append(leaf_hash(entry))
                    yield entry
    if tree.size != newest.size or tree.root() != newest.root:
        raise AuditError("log/ does not continue the audit log in the database: nothing was taken in")


def _bundle(log_dir: Path, tile: Tile) -> list[bytes]:
    path = log_dir.joinpath(*tile.path())
    try:
        content = path.read_bytes()
        found, start = [], 0
        while start < len(content):
            (length,) = _LENGTH.unpack_from(content, start)
            start += _LENGTH.size
            found.append(content[start : start + length])
            start += length
    except (OSError, struct.error) as exc:
        raise AuditError(f"{path} can't be read: bring log/ back") from exc
    if start != len(content) or not len(found) == tile.width <= WIDTH:
        raise AuditError(f"{path} is damaged: bring log/ back")
    return found


def _written_at(entry: bytes) -> datetime:
    """When an entry was written: its own time."""
    return datetime.fromisoformat(json.loads(entry)["time"])
