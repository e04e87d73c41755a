"""The log outside the data: what is new is numbered and signed, and written to `log/` as tiles (spec 4, Audit log)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from gateway.audit.checkpoint import Signer, new_origin, open_checkpoint, write_checkpoint
from gateway.audit.log import record
from gateway.audit.loss import RESTORED, TILES_FOLDER, check_not_lost, loss, outside, put_aside
from gateway.audit.removals import write_out
from gateway.audit.sequencer import Sequencer
from gateway.audit.tiles import WIDTH, render, tiles_of
from gateway.errors import CommandError
from gateway.store import audit as rows
from gateway.store.engine import Store
from gateway.vault.durable import place_file, sync_folder


def seal_log(store: Store, sequencer: Sequencer, signer: Signer, log_dir: Path, now: datetime) -> str:
    """Number the new entries, sign a checkpoint, and put tiles and checkpoint at `log_dir`; gives the note.

    The caller holds the store's exclusive lock: two sequencers would number the same entries.

    Raises:
        AuditError: the stored log is not the one that was signed last, or was lost; nothing was signed.
    """
    with store.read() as conn:
        check_not_lost(conn, log_dir, signer.public_key)
    # whoever sees a checkpoint over a removal finds its record too
    write_out(store, log_dir)
    with store.write() as conn:
        check_not_lost(conn, log_dir, signer.public_key)
        note = sequencer.sequence(conn, now)
    _write(store, signer, log_dir, note)
    return note


def begin_again(
    store: Store,
    sequencer: Sequencer,
    signer: Signer,
    log_dir: Path,
    *,
    actor: str,
    at: datetime,
    node: str,
    is_restored: bool = False,
) -> str:
    """Begin a new log after one was lost; gives its note. The caller holds the store's exclusive lock.

    What the database still holds stays in its place; the first entry after it, `log.restored`, names the old log
    with the newest checkpoint that is known of it. The new log has a name of its own, so that no two histories
    have one name. What lies in `log/` of the old one is put aside first: after a kill before the commit the
    log is still lost, and this is to be done again.

    Raises:
        CommandError: no log was lost.
        AuditError: what the database holds is not what was signed.
    """
    with store.read() as conn:
        lost = loss(conn, log_dir, signer.public_key, is_restored=is_restored)
        last = rows.last_checkpoint(conn)
    if not lost:
        raise CommandError("no log was lost, and nothing was changed: start without --accept-loss")
    old = outside(log_dir, signer.public_key)
    if old is None:
        if last is None:
            raise AssertionError("a lost log has a checkpoint")
        old = open_checkpoint(last.note, signer.public_key)
    origin = new_origin(signer.public_key)
    put_aside(log_dir, origin.rpartition("/")[2])
    with store.write() as conn:
        record(
            conn,
            action=RESTORED,
            object_id=origin,
            origin="cli",
            actor=actor,
            at=at,
            node=node,
            detail={"old": old.origin, "size": old.size, "root": old.root.hex()},
        )
        note = sequencer.sequence(conn, at, origin=origin)
    _write(store, signer, log_dir, note)
    return note


def _write(store: Store, signer: Signer, log_dir: Path, note: str) -> None:
    signed, there = open_checkpoint(note, signer.public_key), outside(log_dir, signer.public_key)
    # the checkpoint is written after the tiles that it covers
    is_continued = there and there.origin == signed.origin and (log_dir / TILES_FOLDER).is_dir()
    _write_tiles(store, log_dir, there.size if there and is_continued else 0, signed.size)
    write_checkpoint(log_dir, note)


def _write_tiles(store: Store, log_dir: Path, since: int, size: int) -> None:
    with store.read() as conn:
        held_from = rows.held_from(conn)
    for tile in tiles_of(size, since, held_from=held_from):
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
