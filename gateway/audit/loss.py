"""A lost log: noticed before anything is signed on top of it (spec 4, Retention: after a restore).

The newest checkpoint lies in `log/`, outside the data. When it is gone, or tells of more than the database
holds, entries may be missing that somebody was shown: going on under the same name would sign two histories.
"""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.audit.checkpoint import CHECKPOINT_FILE, Checkpoint, open_checkpoint
from gateway.errors import AuditError
from gateway.store import Connection
from gateway.store import audit as rows
from gateway.vault.durable import place_file, sync_folder

#: The action of the entry with which a log begins again.
RESTORED = "log.restored"
#: How that entry starts: `action` is the first of the sorted fields.
BEGUN = f'{{"action":"{RESTORED}",'.encode()
TILES_FOLDER = "tile"
#: Where what is left of a lost log is kept, in `log/`, behind the random part of the new log's name.
LOST = "lost"


def outside(log_dir: Path, public_key: Ed25519PublicKey) -> Checkpoint | None:
    """The checkpoint in `log/`; None when there is none, or none of this key."""
    try:
        return open_checkpoint((log_dir / CHECKPOINT_FILE).read_bytes().decode(), public_key)
    except (FileNotFoundError, UnicodeDecodeError, AuditError):
        return None


def loss(conn: Connection, log_dir: Path, public_key: Ed25519PublicKey, *, is_restored: bool = False) -> str:
    """What of the log was lost, as a sentence; empty when the database continues what lies in `log/`.

    `is_restored`: the database was put back, so a note that is not there is no first one that a kill left out.
    """
    newest = [open_checkpoint(stored.note, public_key) for stored in rows.last_checkpoints(conn, 2)]
    last = newest[0] if newest else None
    there = outside(log_dir, public_key)
    if there is None:
        # the note follows the commit: a kill may leave the first one of a log without it
        is_first = len({checkpoint.origin for checkpoint in newest}) == len(newest)
        is_first = is_first and not (is_restored and newest)
        return "" if is_first else "log/checkpoint is missing, or not of this log"
    if last is None or (there.origin == last.origin and there.size > last.size):
        size = last.size if last else 0
        return f"log/checkpoint tells of {there.size} entries, and the database holds {size}"
    if there.origin != last.origin:
        begun = any(
            entry.startswith(BEGUN) and there.root.hex().encode() in entry
            for entry in rows.entries(conn, newest[-1].size, last.size)
        )
        # a kill between the commit of a new log and its note leaves the old note that it names
        return "" if begun else "log/checkpoint is of another log than the database"
    if there.size == last.size and there.root != last.root:
        return "log/checkpoint is of another log than the database"
    return ""


def check_not_lost(
    conn: Connection, log_dir: Path, public_key: Ed25519PublicKey, *, is_restored: bool = False
) -> None:
    """Raises AuditError when the log was lost."""
    if lost := loss(conn, log_dir, public_key, is_restored=is_restored):
        raise AuditError(
            f"{lost}: nothing is signed; bring back log/ or the newest data/, or begin a new log "
            "that names the old one: gateway serve --accept-loss"
        )


def object_of(entry: bytes) -> str:
    """What an entry is about; empty when it can't be read."""
    try:
        return str(json.loads(entry)["object"])
    except (ValueError, TypeError, KeyError):
        return ""


def put_aside(log_dir: Path, name: str) -> None:
    """Keep what lies in `log/` of the old log in a folder of its own, as evidence.

    Its checkpoint stays until that of the new log replaces it: a kill before that leaves the log lost.
    """
    tiles, checkpoint = log_dir / TILES_FOLDER, log_dir / CHECKPOINT_FILE
    if not tiles.exists() and not checkpoint.exists():
        return
    folder = log_dir / f"{LOST}-{name}"
    folder.mkdir(mode=0o755)
    if checkpoint.exists():
        place_file(folder / CHECKPOINT_FILE, checkpoint.read_bytes(), mode=0o644)
    if tiles.exists():
        tiles.rename(folder / TILES_FOLDER)
    sync_folder(folder)
    sync_folder(log_dir)
