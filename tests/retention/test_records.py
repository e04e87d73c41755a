"""What is on record has a term too: tombstones, used numbers, and the contents of the audit log."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from gateway.audit.log import record
from gateway.audit.verify import verify
from gateway.clock import add_months
from gateway.store import requests
from gateway.store.retention_tables import CompactionRow, Destruction, KeyRow, PurgeRun
from gateway.store.tables import AuditEntry, Delivery, Dispatch, DispatchContent, RequestRow

#: The class of `conftest.py`.
World = Any

DUE = date(2027, 5, 22)
#: The night in which all of it went, and the one in which that was seven years ago and a day.
GONE = DUE + timedelta(days=1)
OVER = add_months(GONE, 84) + timedelta(days=1)


@pytest.fixture
def gone(world: World) -> World:
    """A delivery and an outgoing file with its signals, of which tombstones are left, and a request that was done."""
    delivery, dispatch = world.deliver(), world.dispatch()
    with world.store.write() as conn:
        conn.execute(
            insert(DispatchContent.__table__).values(
                dispatch_id=dispatch, delivery_id=delivery, signal_count=2
            )
        )
    world.go_to(GONE)
    request(world, "R1", "done")
    request(world, "R2", "waiting")
    world.purge()
    return world


def request(world: World, number: str, state: str) -> None:
    """A municipality's request."""
    values = {"number": number, "ask": "INZAGE", "state": state, "delivery_id": "L9999", "line": 2}
    values |= {"received_at": world.now, "due_at": world.now + timedelta(days=9_000), "done_at": world.now}
    with world.store.write() as conn:
        requests.add(conn, [{"id": f"V{number}", "partner_id": "gemeente-md", **values}])


def letters(world: World) -> list[str]:
    """Outgoing files that are no proof of a destruction."""
    return [row["id"] for row in world.rows(Dispatch) if row["kind"] == "meldingen"]


def test_tombstones_go_seven_years_after_what_they_tell_of(gone: World) -> None:
    """Not a night earlier; the number of a request that was carried out may then be used again."""
    gone.go_to(OVER - timedelta(days=1))
    gone.purge()
    assert [len(gone.rows(table)) for table in (PurgeRun, CompactionRow)] == [2, 1]
    assert (len(gone.rows(Delivery)), len(letters(gone)), len(gone.rows(DispatchContent))) == (1, 1, 1)
    gone.go_to(OVER)
    gone.purge()
    assert (gone.rows(Delivery), letters(gone), gone.rows(DispatchContent)) == ([], [], [])
    assert [row["number"] for row in gone.rows(RequestRow)] == ["R2"]
    assert [len(gone.rows(table)) for table in (PurgeRun, CompactionRow)] == [2, 0]
    assert all(
        row["destroyed_at"] is None or row["destroyed_at"] > gone.now - timedelta(days=9)
        for row in gone.rows(KeyRow)
    )
    told = [json.loads(entry)["detail"] for entry in gone.audit("tombstones.purged")]
    assert told == [{"dispatches": 1}, {"deliveries": 1}]
    (records,) = [json.loads(entry)["detail"] for entry in gone.audit("records.purged")]
    assert (records["requests"], records["runs"]) == (1, 1)


def test_a_longer_term_is_followed(gone: World) -> None:
    """A gateway may keep its records longer."""
    gone.terms = type(gone.terms)(audit_months=96)
    gone.go_to(OVER)
    gone.purge()
    assert len(gone.rows(Delivery)) == 1


def test_the_log_is_pruned_by_the_purge_and_is_whole(gone: World) -> None:
    """What it said seven years ago is gone; its certificates went the night before."""
    fill_log(gone, 300)
    whole = len(gone.rows(AuditEntry)) // 256 * 256
    gone.go_to(OVER)
    gone.purge()
    report = check_log(gone)
    assert (report.problems, report.held_from, whole >= 256) == ([], whole, True)
    (said,) = [json.loads(entry) for entry in held(gone) if '"log.pruned"' in entry]
    assert said["detail"] == {"before": "2027-05-24", "held_from": whole}
    assert said["actor"] == "gateway"
    assert not any("filled-with-7." in entry for entry in held(gone))
    assert (gone.certificates(), gone.rows(Destruction)) == ([], [])


def test_an_altered_log_stays_and_stops_nothing_else(gone: World) -> None:
    """The purge reports it, and lets go of all that is due."""
    fill_log(gone, 300)
    first = min(row["id"] for row in gone.rows(AuditEntry))
    gone.change(AuditEntry, first, entry=b'{"action":"nothing.happened"}')
    gone.go_to(OVER)
    report = gone.purge()
    (failure,) = report.errors
    assert (failure.step, "entry 0 of the audit log was altered" in failure.reason) == ("log", True)
    assert gone.rows(Delivery) == []
    assert check_log(gone).held_from == 0


def fill_log(world: World, count: int) -> None:
    """Entries of now, numbered and signed."""
    with world.store.write() as conn:
        for number in range(count):
            record(
                conn,
                action="delivery.arrived",
                object_id=f"filled-with-{number}.",
                origin="cli",
                actor="test",
                at=world.now,
                node="test",
            )
    with world.store.exclusive():
        world.notary().seal_log(world.store, world.now)


def held(world: World) -> list[str]:
    """The entries whose contents are held."""
    return [row["entry"].decode() for row in world.rows(AuditEntry) if row["entry"] is not None]


def check_log(world: World) -> Any:
    """As `gateway audit verify` does."""
    signer = world.notary().signer
    with world.store.exclusive():
        world.notary().seal_log(world.store, world.now)
    with world.store.read() as conn:
        return verify(conn, signer.public_key, world.home / "log")
