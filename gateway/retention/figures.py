"""Before and after what goes: its figures are written down, and the database is compacted (spec 4, Retention)."""

from __future__ import annotations

from datetime import date

from gateway.clock import add_months
from gateway.domain.certificate import CERTIFICATE_MONTHS
from gateway.retention.run import Run
from gateway.store import destruction
from gateway.store.compaction import compact
from gateway.store.going import Going, going


def write_down(run: Run) -> None:
    """The figures of all that goes, before it goes. A run that goes on after an interruption adds what is new."""
    with run.store.read() as conn:
        found = going(conn, run.today)
        before = {
            (one.kind, one.object_id, one.party, one.due_on) for one in destruction.uncertified(conn, run.id)
        }
    noted = [(run.notary.party_of(one), one.due_on or run.today, one) for one in found]
    # what was noted with its data key, and has none any more, is halfway
    noted = [
        (party, day, one)
        for party, day, one in noted
        if one.key or (one.kind, one.object_id, party, day) not in before
    ]

    def note(batch: list[tuple[str, date, Going]]) -> None:
        with run.transaction() as conn:
            destruction.write_down(conn, run.id, batch, add_months(run.today, CERTIFICATE_MONTHS))

    run.each("figures", noted, note, lambda one: one[2].object_id)


def compact_database(run: Run) -> None:
    """What was deleted leaves the database file and its journal, in one window in which CLOSE waits."""
    with run.store.read() as conn:
        if not destruction.has_uncertified(conn, run.id):
            return
    done = compact(run.store)
    with run.transaction() as conn:
        destruction.record_compaction(conn, run.id, done, run.now)
        detail = {
            "before": done.bytes_before,
            "after": done.bytes_after,
            "wal": done.wal_bytes,
            "ms": round(done.seconds * 1000),
            "busy": int(done.busy),
        }
        result = "ok" if done.is_complete else done.reason or "wal"
        run.note(conn, "database.compacted", run.object_id, detail, result=result)
