"""The log outside the data: what is new is numbered and signed, and written to `log/` as tiles (spec 4, Audit log)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from gateway.audit.checkpoint import CHECKPOINT_FILE, Signer, open_checkpoint, write_checkpoint
from gateway.audit.sequencer import Sequencer
from gateway.audit.tiles import WIDTH, render, tiles_of
from gateway.errors import AuditError
from gateway.store.engine import Store
from gateway.vault.durable import place_file, sync_folder


def seal_log(store: Store, sequencer: Sequencer, signer: Signer, log_dir: Path, now: datetime) -> str:
    """Number the new entries, sign a checkpoint, and put tiles and checkpoint at `log_dir`; gives the note.

    The caller holds the store's exclusive lock: two sequencers would number the same entries.

    Raises:
        AuditError: the stored log is not the one that was signed last.
    """
    with store.write() as conn:
        note = sequencer.sequence(conn, now)
    size = open_checkpoint(note, signer.public_key).size
    _write_tiles(store, log_dir, _size_outside(log_dir, signer), size)
    write_checkpoint(log_dir, note)
    return note


def _size_outside(log_dir: Path, signer: Signer) -> int:
    """How many entries the tiles at `log_dir` cover: its checkpoint is written after them."""
    try:
        note = (log_dir / CHECKPOINT_FILE).read_bytes().decode()
        size = open_checkpoint(note, signer.public_key).size
    except (FileNotFoundError, UnicodeDecodeError, AuditError):
        return 0
    return size if (log_dir / "tile").is_dir() or not size else 0


def _write_tiles(store: Store, log_dir: Path, since: int, size: int) -> None:
    for tile in tiles_of(size, since):
        path = log_dir.joinpath(*tile.path())
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with store.read() as conn:
            place_file(path, render(conn, tile), mode=0o644)
        sync_folder(path.parent)
        if tile.width == WIDTH:
            _drop_partials(path)


def _drop_partials(full: Path) -> None:
    """A full tile replaces the partial ones before it."""
    folder = full.with_name(f"{full.name}.p")
    if folder.is_dir():
        for partial in folder.iterdir():
            partial.unlink()
        folder.rmdir()
