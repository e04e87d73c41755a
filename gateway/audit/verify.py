"""Checks the audit log from its entries up: nothing that was computed earlier is believed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.audit.checkpoint import CHECKPOINT_FILE, Checkpoint, open_checkpoint
from gateway.audit.loss import BEGUN
from gateway.audit.merkle import EMPTY_ROOT, Frontier, leaf_hash
from gateway.errors import AuditError
from gateway.store import Connection
from gateway.store import audit as rows

#: What a checkpoint that lies outside the database is called in a problem.
OUTSIDE, KEPT = "log/checkpoint", "the kept checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a verification saw; the log is whole when `problems` is empty.

    `entries` have their place in the tree, `unsequenced` wait for the next checkpoint. `restored` are the
    places of the entries with which the log began again after a loss.
    """

    entries: int
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
    _check_origins(own, tree.begun, problems)
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
        checkpoints=len(stored),
        unsequenced=rows.count_unnumbered(conn),
        restored=sorted(tree.begun.values()),
        problems=problems,
    )


@dataclass(frozen=True, slots=True)
class _Tree:
    """What the entries give: the root at each size that was asked for, and where which log began again."""

    roots: dict[int, bytes]
    size: int
    begun: dict[str, int]


def _recompute(conn: Connection, sizes: Iterable[int], problems: list[str]) -> _Tree:
    wanted = set(sizes)
    roots, begun = {0: EMPTY_ROOT}, dict[str, int]()
    tree = Frontier()
    last_id = 0
    for row in rows.numbered(conn):
        if row.leaf_index != tree.size:
            problems.append(f"entry {tree.size} is missing: the next one has place {row.leaf_index}")
            break
        hashed = leaf_hash(row.entry)
        if hashed != row.leaf_hash:
            problems.append(f"entry {row.leaf_index} was altered: it is not what was hashed")
        if row.id <= last_id:
            problems.append(f"entry {row.leaf_index} is not in the order of writing")
        last_id = row.id
        if row.entry.startswith(BEGUN):
            begun[_object_of(row.entry)] = tree.size
        tree.append(hashed)
        if tree.size in wanted:
            roots[tree.size] = tree.root()
    return _Tree(roots, tree.size, begun)


def _object_of(entry: bytes) -> str:
    try:
        return str(json.loads(entry)["object"])
    except (ValueError, TypeError, KeyError):
        return ""


def _check_origins(claims: list[tuple[str, Checkpoint]], begun: dict[str, int], problems: list[str]) -> None:
    """A log changes its name only with the entry that says so, between the checkpoints of the two."""
    for (_, before), (name, claim) in pairwise(claims):
        if claim.origin == before.origin:
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
