"""The log's term: the contents of old entries go, their hashes stay (spec 4, Retention: `audit`).

    said      an entry `log.pruned` says from where on contents are held, and a checkpoint covers it
    contents  go from the database; places in the tree and hashes stay, so every root can still be recomputed
    bundles   of entries go from `log/`, and what was put aside of a lost log that is older still

As tlog-tiles has it, contents go by whole bundles of 256: an entry goes with the youngest of its bundle. A run that
was cut off is simply run again: it may say twice what it does, and never does what it did not say.
https://c2sp.org/tlog-tiles (Pruning)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date, datetime
from itertools import islice
from pathlib import Path

from gateway.audit.log import record
from gateway.audit.loss import BEGUN, LOST, TILES_FOLDER, object_of
from gateway.audit.merkle import leaf_hash
from gateway.audit.tiles import ENTRIES, WIDTH, Tile
from gateway.clock import local_day
from gateway.errors import AuditError
from gateway.store import audit as rows
from gateway.store.audit import StoredEntry
from gateway.store.engine import Store
from gateway.vault.durable import sync_folder

#: The action of the entry that says from where on contents are held.
PRUNED = "log.pruned"
#: How that entry starts: `action` is the first of the sorted fields.
SAID = f'{{"action":"{PRUNED}",'.encode()

#: Bundles of entries in one transaction: it lasts some tens of milliseconds.
_AT_ONCE = 16


def prune_log(
    store: Store,
    log_dir: Path,
    before: date,
    *,
    seal: Callable[[], object],
    now: Callable[[], datetime],
    origin: str,
    actor: str,
    node: str,
) -> int:
    """Let go of the contents of the entries of days before `before`; how many entries went.

    Args:
        store: the database; the caller holds its exclusive lock.
        log_dir: where tiles lie outside the data.
        before: days are Europe/Amsterdam.
        seal: numbers what is new, and signs and writes a checkpoint.
        now: the present instant.
        origin: for the entry that says so.
        actor: the same.
        node: the same.

    Raises:
        AuditError: an entry is not what was hashed: it stays, and so does all after it, as evidence.
    """
    since, until, lost = _due(store, before)
    if until > since:
        with store.write() as conn:
            record(
                conn,
                action=PRUNED,
                object_id="log",
                origin=origin,
                actor=actor,
                at=now(),
                node=node,
                detail={"before": before.isoformat(), "held_from": until},
            )
        seal()
        for name in lost:
            _remove_lost(log_dir, name)
        for place in range(since, until, _AT_ONCE * WIDTH):
            with store.write() as conn:
                rows.prune(conn, min(until, place + _AT_ONCE * WIDTH), now())
    _remove_bundles(log_dir, until)
    return until - since


def _due(store: Store, before: date) -> tuple[int, int, list[str]]:
    """From where contents are held, from where they are to be held, and the names of lost logs that go."""
    with store.read() as conn:
        since = until = rows.held_from(conn)
        last = rows.last_checkpoint(conn)
        entries = rows.numbered(conn, since)
        lost: list[str] = []
        while last is not None and until + WIDTH <= last.size:
            bundle = list(islice(entries, WIDTH))
            if not all(_day(entry) < before for entry in bundle):
                break
            begun = [entry.entry for entry in bundle if entry.entry and entry.entry.startswith(BEGUN)]
            lost += [object_of(entry).rpartition("/")[2] for entry in begun]
            until += WIDTH
    return since, until, lost


def _day(stored: StoredEntry) -> date:
    """The day of an entry, by what was hashed and signed: the columns beside it may have been changed."""
    try:
        if stored.entry is None or leaf_hash(stored.entry) != stored.leaf_hash:
            raise ValueError  # noqa: TRY301  # one sentence for all that an altered entry may be
        return local_day(datetime.fromisoformat(json.loads(stored.entry)["time"]))
    except (ValueError, TypeError, KeyError) as exc:
        raise AuditError(
            f"entry {stored.leaf_index} of the audit log was altered, and nothing from it on is let go: "
            "run `gateway audit verify`"
        ) from exc


def _remove_lost(log_dir: Path, name: str) -> None:
    """All that was put aside of a lost log is older than the entry with which the next began."""
    folder = log_dir / f"{LOST}-{name}"
    if name and folder.is_dir():
        shutil.rmtree(folder)
        sync_folder(log_dir)


def _remove_bundles(log_dir: Path, held_from: int) -> None:
    for number in range(held_from // WIDTH):
        path = log_dir.joinpath(*Tile(level=None, number=number, width=WIDTH).path())
        if path.exists():
            path.unlink()
            sync_folder(path.parent)
    folder = log_dir / TILES_FOLDER / ENTRIES
    for group in sorted(folder.glob("x*/**/"), reverse=True):
        if not any(group.iterdir()):
            group.rmdir()
            sync_folder(group.parent)
