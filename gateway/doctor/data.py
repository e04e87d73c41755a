"""What is held: the database, the sealed files that its rows know, the log that vouches for both, and the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from gateway.audit.checkpoint import load_public_key
from gateway.audit.verify import verify
from gateway.clock import local_day
from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.domain.certificate import Mandate
from gateway.errors import KeyringError
from gateway.retention import approvals
from gateway.retention.clock_guard import refusal
from gateway.settings import Home
from gateway.store import blobs as known_blobs
from gateway.store import heartbeat, holds
from gateway.store.engine import Store
from gateway.vault.blobs import BlobFolder

#: A journal that grows further is kept by a reader that does not end: SQLite folds it in at 4 MB.
MOST_JOURNAL_BYTES = 256 * 1000**2

_RESTORE = "restore data/vault from the backup that belongs to the database; then: gateway ledger check"


def look(home: Home, store: Store, now: datetime, mandates: Mapping[str, Mandate]) -> Iterator[Finding]:
    """Look at all of it; `mandates` says which municipalities approve what goes."""
    damage = store.quick_check()
    if damage:
        yield fail(
            "database",
            f"SQLite finds it damaged: {damage[0]}",
            "stop the gateway, keep a copy of data/, and restore a backup",
        )
        return
    yield ok("database", f"SQLite finds it whole, {home.db.stat().st_size / 1000**2:,.1f} MB")
    yield _journal(home)
    yield _vault(home, store)
    yield _log(home, store)
    yield _clock(store, now)
    yield _approvals(store, now, mandates)
    yield _holds(store, now)


def _journal(home: Home) -> Finding:
    path = home.db.with_name(f"{home.db.name}-wal")
    size = path.stat().st_size if path.exists() else 0
    what = f"{size / 1000**2:,.1f} MB"
    if size > MOST_JOURNAL_BYTES:
        return warn("journal", what, "a reader does not end: see who has it open, and restart the gateway")
    return ok("journal", what)


def _vault(home: Home, store: Store) -> Finding:
    """Whether each row's sealed file is there; what came or went while we looked is no difference."""
    if not home.vault.is_dir():
        return fail("vault", "data/vault is missing", _RESTORE)
    folder = BlobFolder(home.vault)
    before, known = set(folder.names()), _known(store)
    missing = known - set(folder.names())
    missing &= _known(store)
    orphans = before - known
    if missing:
        return fail(
            "vault",
            f"{len(missing):,} of {len(known):,} sealed files are not there",
            _RESTORE,
        )
    if orphans:
        return warn(
            "vault",
            f"{len(known):,} sealed files, and {len(orphans):,} besides that no row knows",
            "nothing: the next start removes them",
        )
    return ok("vault", f"{len(known):,} sealed files, each known by a row")


def _known(store: Store) -> set[str]:
    with store.read() as conn:
        return known_blobs.in_use(conn)


def _log(home: Home, store: Store) -> Finding:
    try:
        public_key = load_public_key(home.keys)
    except KeyringError as exc:
        return fail("audit log", str(exc), "bring audit.pub back")
    with store.read() as conn:
        report = verify(conn, public_key, home.log)
    if report.problems:
        return fail("audit log", report.problems[0], "gateway audit verify, which tells all of it")
    if not report.checkpoints:
        return ok("audit log", "no checkpoint is signed yet")
    waiting = f"; {report.unsequenced:,} wait for the next one" if report.unsequenced else ""
    return ok("audit log", f"{report.entries:,} entries, as log/checkpoint says{waiting}")


def _clock(store: Store, now: datetime) -> Finding:
    """Time decides what is destroyed: as the purge sees it (`gateway.domain.heartbeat`)."""
    with store.read() as conn:
        last = heartbeat.last(conn)
    if last is None:
        return ok("clock", "there is no heartbeat yet to compare it with")
    if reason := refusal(last, now):
        return fail("clock", reason, "docs/operations.md, The clock")
    return ok("clock", "the host's time follows the last heartbeat")


def _approvals(store: Store, now: datetime, mandates: Mapping[str, Mandate]) -> Finding:
    """What is overdue because nobody approved that it goes, and what may be signed."""
    today = local_day(now)
    with store.read() as conn:
        late = approvals.overdue(conn, approvals.waiting(conn, mandates, today), today)
        asked = approvals.to_sign(conn)
    if late:
        return fail(
            "approvals",
            f"overdue without approval, and out of sight: {', '.join(each.municipality for each in late)}",
            "gateway retention approve",
        )
    if asked:
        what = ", ".join(each.number for each in asked)
        return warn("approvals", f"two people are asked to sign: {what}", "gateway retention approve")
    return ok("approvals", "nothing waits for two people")


def _holds(store: Store, now: datetime) -> Finding:
    """A legal hold stays past its review: somebody must say whether it is needed still."""
    with store.read() as conn:
        held = holds.held(conn)
    late = [each for each in held if each.review_on < local_day(now)]
    if late:
        return fail(
            "legal holds",
            f"the review of {', '.join(each.id for each in late)} is over, the first since "
            f"{min(each.review_on for each in late)}",
            "gateway retention hold list; lift it, after a new one is placed where it is needed still",
        )
    return ok("legal holds", f"{len(held):,} in force, no review is over")
