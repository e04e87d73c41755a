"""`/audit/log`: the log's tiles with its public key and a verifier that needs nothing of ours; rendered on read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.audit import tiles
from gateway.audit.checkpoint import CHECKPOINT_FILE, PUBLIC_KEY_FILE, Signer
from gateway.domain.shelf import Document, Shown
from gateway.store import Connection
from gateway.store import audit as rows
from gateway.store.engine import Store

#: The verifier, as it lies beside this module.
VERIFIER_FILE = "verify_log.py"


class LogShelf:
    """The log up to its last checkpoint; common to all who may read it."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self._store = store
        self._fixed = {
            PUBLIC_KEY_FILE: signer.public_pem(),
            VERIFIER_FILE: Path(__file__).with_name(VERIFIER_FILE).read_bytes(),
        }

    def listing(self, path: Sequence[str], scope: Sequence[str] | None) -> list[Shown] | None:
        """What is in a folder; the checkpoint comes first, so that who takes all has tiles that cover it."""
        with self._store.read() as conn:
            last = rows.last_checkpoint(conn)
            if path:
                return None if last is None else _folder(conn, tuple(path), last.size)
            shown = [Shown(name=name, size=len(data)) for name, data in self._fixed.items()]
            if last is None:
                return shown
            note = Shown(name=CHECKPOINT_FILE, size=len(last.note.encode()), at=last.at)
            return [note, *shown, *([Shown(name="tile", size=None)] if last.size else [])]

    def document(self, path: Sequence[str], scope: Sequence[str] | None) -> Document | None:
        """A file."""
        if len(path) == 1 and path[0] in self._fixed:
            return Document(data=self._fixed[path[0]])
        with self._store.read() as conn:
            last = rows.last_checkpoint(conn)
            if last is None:
                return None
            if tuple(path) == (CHECKPOINT_FILE,):
                return Document(data=last.note.encode(), at=last.at)
            tile = tiles.find(path, last.size, held_from=rows.held_from(conn))
            if tile is None:
                return None
            newest = tile.end - 1
            return Document(data=tiles.render(conn, tile), at=rows.written_at(conn, [newest]).get(newest))


def _folder(conn: Connection, path: tuple[str, ...], size: int) -> list[Shown] | None:
    held = tiles.tiles_of(size, held_from=rows.held_from(conn))
    below = [tile for tile in held if tile.path()[: len(path)] == path]
    files = {tile.path()[len(path)]: tile for tile in below if len(tile.path()) == len(path) + 1}
    folders = {tile.path()[len(path)] for tile in below} - files.keys()
    if not files and not folders:
        return None
    at = rows.written_at(conn, [tile.end - 1 for tile in files.values()])
    shown = [
        Shown(name=name, size=_size(conn, tile), at=at.get(tile.end - 1)) for name, tile in files.items()
    ]
    return sorted([*shown, *(Shown(name=name, size=None) for name in folders)], key=lambda one: one.name)


def _size(conn: Connection, tile: tiles.Tile) -> int:
    hash_bytes = 32
    return len(tiles.render(conn, tile)) if tile.level is None else tile.width * hash_bytes
