"""Checks the audit log from its entries up: nothing that was computed earlier is believed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.audit.checkpoint import CHECKPOINT_FILE, Checkpoint, open_checkpoint
from gateway.audit.loss import BEGUN, object_of
from gateway.audit.merkle import EMPTY_ROOT, Frontier, leaf_hash
from gateway.audit.prune import SAID
from gateway.errors import AuditError
from gateway.store import Connection
from gateway.store import audit as rows

#: What a checkpoint that lies outside the database is called in a problem.
OUTSIDE, KEPT = "log/checkpoint", "the kept checkpoint"
#: No setting makes the log's term shorter than 7 years, counted here in days without a 29 February.
SHORTEST_TERM = timedelta(days=7 * 365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a verification saw; the log is whole when `problems` is empty.

    `entries` have their place in the tree, `unsequenced` wait for the next checkpoint. The contents of those before
    `held_from` went by the log's term, and their hashes are held. `restored` are the places of the entries with
    which the log began again after a loss.
    """

    entries: int
    held_from: int
    checkpoints: int
    unsequenced: int
    restored: list[int]
    problems: list[str]


def verify(conn: Connection, public_key: Ed25519PublicKey, log_dir: Path, kept: str | None = None) -> Report:
    """Recompute the whole log and compare it with every checkpoint there is.

    Args:
        conn: a reading transaction.
        public_key: the key of the log, from a place the operator of the database does not control.
        log_dir: the folder with the newest note, outside the database: a database that was rolled back
            is found by it.
        kept: a note that the reader kept from an earlier time; the log must continue it. Its root is compared
            with that of the entries themselves, which needs no consistency proof (RFC 6962 section 2.1.2).
    """
    problems: list[str] = []
    claims: list[tuple[str, Checkpoint]] = []
    stored = rows.checkpoints(conn)
    for number, checkpoint in enumerate(stored, start=1):
        name = f"checkpoint {number}"
        claim = _claim(name, checkpoint.note, public_key, problems)
        if claim is None:
            continue
        if (claim.size, claim.root) != (checkpoint.size, checkpoint.root):
            problems.append(f"{name}: its row says something else than its signed note")
        if claims and claim.size < claims[-1][1].size:
            problems.append(
                f"{name}: the log became shorter, from {claims[-1][1].size} to {claim.size} entries"
            )
        claims.append((name, claim))
    outside = _read_note(log_dir / CHECKPOINT_FILE, expected=bool(stored), problems=problems)
    if outside is not None and (claim := _claim(OUTSIDE, outside, public_key, problems)) is not None:
        claims.append((OUTSIDE, claim))
    own = list(claims)
    if kept is not None and (claim := _claim(KEPT, kept, public_key, problems)) is not None:
        is_lost = own and claim.origin != own[-1][1].origin
        claims.append((f"{KEPT} of {claim.origin}, which was lost" if is_lost else KEPT, claim))
    tree = _recompute(conn, {claim.size for _, claim in claims}, problems)
    roots, entries = tree.roots, tree.size
    _check_origins(own, tree, problems)
    for name, claim in claims:
        if claim.size > entries:
            problems.append(
                f"{name}: signed over {claim.size} entries, of which the database holds {entries}: "
                "entries were removed, or the database was rolled back"
            )
        elif roots[claim.size] != claim.root:
            problems.append(f"{name}: the first {claim.size} entries are not those that were signed")
    if entries > max((claim.size for _, claim in claims), default=0):
        problems.append("entries have a place in the log that no checkpoint covers")
    return Report(
        entries=entries,
        held_from=tree.held_from,
        checkpoints=len(stored),
        unsequenced=rows.count_unnumbered(conn),
        restored=sorted(tree.begun.values()),
        problems=problems,
    )


@dataclass(frozen=True, slots=True)
class _Tree:
    """What the entries give: the root at each size that was asked for, where which log began again, what is held."""

    roots: dict[int, bytes]
    size: int
    begun: dict[str, int]
    held_from: int


@dataclass(slots=True)
class _Contents:
    """Which entries have none any more, and what the log says of that; `runs` are their first and last places."""

    problems: list[str]
    runs: list[list[int]] = field(default_factory=list)
    said_from: int = 0

    def missing(self, place: int) -> None:
        """An entry of which only the hash is there."""
        if self.runs and self.runs[-1][1] == place - 1:
            self.runs[-1][1] = place
        else:
            self.runs.append([place, place])

    def said(self, place: int, entry: bytes) -> None:
        """An entry that says from where on contents are held: they go after seven years, and no earlier."""
        try:
            fields = json.loads(entry)
            before, at = (
                date.fromisoformat(fields["detail"]["before"]),
                datetime.fromisoformat(fields["time"]),
            )
            held_from = int(fields["detail"]["held_from"])
        except (ValueError, TypeError, KeyError):
            self.problems.append(f"entry {place} can't be read, and says that contents were let go")
            return
        if held_from > place or at.date() - before < SHORTEST_TERM:
            self.problems.append(f"entry {place} says that contents were let go before their term")
            return
        self.said_from = max(self.said_from, held_from)

    def held_from(self) -> int:
        """The first entry of which contents are held; what is missing and was not let go by term is a problem."""
        for first, last in self.runs:
            if last >= self.said_from:
                lost = max(first, self.said_from)
                places = f"entry {lost}" if lost == last else f"entries {lost} to {last}"
                self.problems.append(
                    f"the contents of {places} are missing, and no entry says that they went by their term"
                )
        return self.runs[-1][1] + 1 if self.runs else 0


def _recompute(conn: Connection, sizes: Iterable[int], problems: list[str]) -> _Tree:
    wanted = set(sizes)
    roots, begun = {0: EMPTY_ROOT}, dict[str, int]()
    contents = _Contents(problems)
    tree = Frontier()
    last_id = 0
    for row in rows.numbered(conn):
        if row.leaf_index != tree.size:
            problems.append(f"entry {tree.size} is missing: the next one has place {row.leaf_index}")
            break
        # the hash of contents that went is believed here, and proved by the roots that were signed
        hashed = row.leaf_hash if row.entry is None else leaf_hash(row.entry)
        if hashed != row.leaf_hash:
            problems.append(f"entry {row.leaf_index} was altered: it is not what was hashed")
        if row.id <= last_id:
            problems.append(f"entry {row.leaf_index} is not in the order of writing")
        last_id = row.id
        if row.entry is None:
            contents.missing(row.leaf_index)
        elif row.entry.startswith(BEGUN):
            begun[object_of(row.entry)] = tree.size
        elif row.entry.startswith(SAID):
            contents.said(row.leaf_index, row.entry)
        tree.append(hashed)
        if tree.size in wanted:
            roots[tree.size] = tree.root()
    return _Tree(roots, tree.size, begun, contents.held_from())


def _check_origins(claims: list[tuple[str, Checkpoint]], tree: _Tree, problems: list[str]) -> None:
    """A log changes its name only with the entry that says so, between the checkpoints of the two."""
    begun = tree.begun
    for (_, before), (name, claim) in pairwise(claims):
        # that entry may have gone by its term
        if claim.origin == before.origin or (before.size < tree.held_from and name != OUTSIDE):
            continue
        if name == OUTSIDE or not before.size <= begun.get(claim.origin, -1) < claim.size:
            problems.append(
                f"{name}: is of another log, {claim.origin}, and no entry says that it began there"
            )


def _claim(name: str, note: str, public_key: Ed25519PublicKey, problems: list[str]) -> Checkpoint | None:
    try:
        return open_checkpoint(note, public_key)
    except AuditError as exc:
        problems.append(f"{name}: {exc}")
        return None


def _read_note(path: Path, *, expected: bool, problems: list[str]) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        if expected:
            problems.append(
                "log/checkpoint is missing: a database that was rolled back can't be told from a whole one"
            )
    except (OSError, UnicodeDecodeError):
        problems.append("log/checkpoint can't be read")
    return None
