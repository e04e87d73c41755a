"""What its first bytes refuse is refused with others, at the head of the line (ADR 29)."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from gateway.domain.delivery import DeliveryState
from gateway.pipeline import refusal
from gateway.pipeline.worker import step
from gateway.store import queue
from gateway.store.tables import AuditEntry, DataKeyRow, Delivery, Dispatch

PDF = b"%PDF-1.7\n" + bytes(20_000)


def states(world) -> list[str]:
    """Of all deliveries, in order of arrival."""
    return [row["state"] for row in sorted(world.rows(Delivery), key=lambda row: row["arrival"])]


def test_many_are_refused_by_one_step(world):
    """Of several partners, each with its own receipt, entry and digest of its text."""
    contents = {world.put(who, content=PDF + who.encode()): who for who in ("woonservice", "gemeente")}
    commits = []
    keep = world.context.store.write
    world.context.store.write = lambda **how: (commits.append(how), keep(**how))[1]
    assert step(world.context)
    assert len(commits) == 1
    assert not step(world.context)
    assert states(world) == ["rejected"] * 2
    for delivery_id, who in contents.items():
        receipt = world.receipt(delivery_id)
        assert receipt["weigering"]["code"] == "F11"
        assert receipt["bestand"]["sha256"] == sha256(PDF + who.encode()).hexdigest()
        assert [row["partner_id"] for row in world.dispatches(who, "receipt")] == [who] * 2
    entries = [row["entry"] for row in world.rows(AuditEntry)]
    assert [b'"delivery.rejected"' in entry and b'"F11"' in entry for entry in entries].count(True) == 2
    assert [row["attempts"] for row in world.rows(Delivery)] == [1, 1]


def test_each_waits_for_those_before_it(world, row):
    """A table in the line is taken in its turn, not after what came later."""
    world.put("woonservice", content=PDF)
    world.put("woonservice", row("a"))
    world.put("woonservice", content=PDF + b"2")
    done = []
    while step(world.context):
        done.append(states(world))
    assert done[:3] == [
        ["rejected", "arrived", "arrived"],
        ["rejected", "processed", "arrived"],
        ["rejected", "processed", "rejected"],
    ]


def test_one_that_is_given_up_holds_back_its_partners_others_only(world):
    """As it does those that are claimed one by one."""
    failed = world.put("woonservice", content=PDF)
    with world.context.store.write() as conn:
        queue.advance(conn, failed, DeliveryState.ARRIVED, DeliveryState.PROCESSING)
        queue.advance(conn, failed, DeliveryState.PROCESSING, DeliveryState.FAILED)
    world.put("woonservice", content=PDF)
    world.put("dezorgkas", content=PDF)
    world.work()
    assert states(world) == ["failed", "arrived", "rejected"]


def test_what_is_damaged_or_large_takes_a_turn_of_its_own(world, monkeypatch):
    """The one before it is refused without it, the one behind it afterwards."""
    ids = [world.put("woonservice", content=PDF + bytes(number)) for number in range(4)]
    damaged = next(row for row in world.rows(Delivery) if row["id"] == ids[1])
    world.context.blobs.remove(damaged["blob"])
    world.is_damaged = True
    monkeypatch.setattr(refusal, "_SMALL_BYTES", len(PDF) + 2)
    done = []
    while step(world.context):
        done.append(states(world).count("rejected"))
    assert done == [1, 2, 3, 4]
    assert [world.receipt(each)["weigering"]["code"] for each in ids] == ["F11", "F01", "F11", "F11"]


def test_cut_off_before_the_commit_nothing_happened(world, monkeypatch):
    """And the next try refuses them, with one receipt each; what the first one sealed is swept away."""
    ids = [world.put("woonservice", content=PDF) for _ in range(3)]
    reject = refusal._reject

    def cut(*args):
        reject(*args)
        raise KeyboardInterrupt

    before = world.rows(Delivery), world.rows(AuditEntry), world.rows(DataKeyRow)
    with monkeypatch.context() as patch:
        patch.setattr(refusal, "_reject", cut)
        with pytest.raises(KeyboardInterrupt):
            step(world.context)
    assert (world.rows(Delivery), world.rows(AuditEntry), world.rows(DataKeyRow)) == before
    world.sweep()
    world.work()
    assert [world.receipt(each)["weigering"]["code"] for each in ids] == ["F11"] * 3
    known = [row["blob"] for table in (Delivery, Dispatch) for row in world.rows(table)]
    assert sorted(known) == world.context.blobs.names()


def test_an_error_among_them_stops_no_other(world, monkeypatch, capsys):
    """They are tried one by one then; the one whose error it is counts its crashes, and is given up."""
    bad, good = (world.put(who, content=PDF) for who in ("woonservice", "dezorgkas"))
    make = refusal._refusal

    def failing(context, error, received):
        if received.delivery.id == bad:
            raise RuntimeError("no receipt")
        return make(context, error, received)

    monkeypatch.setattr(refusal, "_refusal", failing)
    for _ in range(12):
        world.clock.step(queue._RESTS[-1])
        world.work()
    assert states(world) == ["failed", "rejected"]
    assert world.receipt(good)["weigering"]["code"] == "F11"
    told = capsys.readouterr().out
    assert "refusals.divided" in told
    assert told.count("delivery.crashed") == 5


def test_with_a_scanner_none_goes_unseen(world):
    """Each takes a turn of its own, in which the scanner looks at it first."""
    world.put("woonservice", content=PDF)
    world.configure(scanner=Path("/nowhere/clamd.sock"))
    assert not refusal.refuse_first(world.context)
    world.configure(scanner=None)
    assert refusal.refuse_first(world.context)
