"""The term of what is on record: tombstones, used numbers of requests, and the audit log (spec 4, Retention: `audit`)."""

from __future__ import annotations

from datetime import timedelta

from gateway.audit import prune
from gateway.clock import end_of_day
from gateway.domain.retention import record_over
from gateway.errors import AuditError
from gateway.retention.run import Run
from gateway.store import tombstones


def forget_records(run: Run) -> None:
    """Tombstones and what else tells of what went, when it has been there for its term."""
    before = end_of_day(record_over(run.today, run.terms) - timedelta(days=1))
    with run.store.read() as conn:
        deliveries = tombstones.deliveries_over(conn, before)
        dispatches = tombstones.dispatches_over(conn, before)

    def forget_deliveries(batch: list[str]) -> None:
        with run.transaction() as conn:
            tombstones.forget_deliveries(conn, batch)
            run.note(conn, "tombstones.purged", run.object_id, {"deliveries": len(batch)})

    def forget_dispatches(batch: list[str]) -> None:
        with run.transaction() as conn:
            tombstones.forget_dispatches(conn, batch)
            run.note(conn, "tombstones.purged", run.object_id, {"dispatches": len(batch)})

    run.each("records", dispatches, forget_dispatches)
    run.each("records", deliveries, forget_deliveries)
    with run.transaction() as conn:
        counts = {name: count for name, count in tombstones.forget_records(conn, before).items() if count}
        if counts:
            run.note(conn, "records.purged", run.object_id, counts)


def prune_log(run: Run) -> None:
    """What the audit log says of days before its term; a log that was altered or lost stays as it is, as evidence."""
    try:
        prune.prune_log(
            run.store,
            run.notary.log_dir,
            record_over(run.today, run.terms),
            seal=lambda: run.notary.seal_log(run.store, run.now),
            now=lambda: run.now,
            origin=run.origin,
            actor=run.actor,
            node=run.node,
        )
    except AuditError as exc:
        run.fail("log", run.object_id, str(exc))
