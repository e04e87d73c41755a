"""A delivery withdrawn: all that came in it ends, nothing earlier returns, and everyone concerned is told."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest

from gateway.domain.policy import Publish
from gateway.errors import CommandError
from gateway.pipeline.ledger import check
from gateway.pipeline.withdrawal import withdraw
from gateway.store import history
from gateway.store.tables import AuditEntry, Dispatch, DispatchContent, SignalRow

REASON = "Verkeerde maand; mevrouw Koolstra belde."


def states(world):
    """State of each signal in force, by amount."""
    return {row["amount_cents"]: row["state"] for row in world.rows(SignalRow) if row["in_force"]}


def test_all_that_came_in_it_ends(world, row):
    """New, changed and unroutable signals are withdrawn; what came in other files stays."""
    world.send("woonservice", row("w1", bedrag="1,00"), row("w2", huisnummer=20, bedrag="2,00"))
    delivery = world.put(
        "woonservice",
        row("w2", huisnummer=20, bedrag="22,00", mutatie="W"),
        row("w3", huisnummer=22, bedrag="3,00"),
        row("w4", postcode="9999ZZ", huisnummer=1, bedrag="4,00"),
    )
    world.work()
    world.publish()
    world.told("woonservice")
    done = withdraw(world.context, delivery, REASON, actor="beheer")
    assert (done.signals, done.municipalities) == (3, ("GM1731",))
    assert states(world) == {100: "passed_on", 2200: "withdrawn", 300: "withdrawn", 400: "withdrawn"}
    assert world.told("woonservice") == [("w2", "D52"), ("w3", "D52"), ("w4", "D52")]
    lines = world.publish()
    assert sorted((line["klasse"], line["versie"], line["signaalnummer"]) for line in lines) == [
        ("VERVALLEN", "2", ""),
        ("VERVALLEN", "2", ""),
    ]


def test_no_earlier_version_returns(world, row):
    """What the withdrawn file had replaced stays replaced, and its id can't be used again."""
    world.send("woonservice", row("w1", klantnummer="k", bedrag="1,00"))
    delivery = world.put("woonservice", row("w9", klantnummer="k", bedrag="9,00"))
    world.work()
    withdraw(world.context, delivery, REASON, actor="beheer")
    assert states(world) == {100: "superseded", 900: "withdrawn"}
    receipt = world.send("woonservice", row("w9", klantnummer="k", bedrag="9,00", volgnummer=2))
    assert [each["code"] for each in receipt["afgekeurd"]] == ["V09"]


def test_who_looked_back_on_it_is_told(world, row):
    """A later month's `herhaald` and `opeenvolgend` are made again."""
    delivery = world.put("woonservice", row("w1", klantnummer="k"))
    world.work()
    world.publish()
    world.go_to(world.today.replace(month=12))
    world.send("woonservice", row("w2", klantnummer="k"))
    (line,) = world.publish()
    assert (line["herhaald"], line["opeenvolgend"]) == ("J", "J")
    withdraw(world.context, delivery, REASON, actor="beheer")
    told = {line["maand"]: line for line in world.publish()}
    assert told["2026-11"]["klasse"] == "VERVALLEN"
    assert (told["2026-12"]["herhaald"], told["2026-12"]["versie"]) == ("N", "2")


def test_the_note_and_the_record(world, row):
    """The sender reads what was withdrawn and why; the reason lies nowhere in the clear, the actor is on record."""
    delivery = world.put("woonservice", row("w1"))
    world.work()
    withdraw(world.context, delivery, f"  {REASON}\n", actor="beheer")
    (note,) = world.dispatches("woonservice", "withdrawal")
    assert note["name"] == f"intrekking_{delivery}.txt"
    text = world.read(note).decode()
    (status,) = world.dispatches("woonservice", "signal_status")
    for told in (delivery, "signalen.csv", REASON, "Aantal signalen:  1", status["name"]):
        assert told in text
    entries = [json.loads(each["entry"]) for each in world.rows(AuditEntry)]
    (entry,) = [each for each in entries if each["action"] == "delivery.withdrawn"]
    assert (entry["object"], entry["actor"], entry["origin"], entry["detail"]) == (
        delivery,
        "beheer",
        "cli",
        {"signals": 1},
    )
    assert "Koolstra" not in json.dumps(entries)


def test_only_what_was_processed_and_is_in_force(world, row):
    """Anything else is refused with what can be done, and nothing changes; a second time there is nothing left."""
    refused = world.put("woonservice", content=b"")
    withdrawn = world.put("woonservice", row("w1"))
    rejected = world.put("woonservice", row("w2", sector="?"))
    world.work()
    waiting = world.put("woonservice", row("w3"))
    withdraw(world.context, withdrawn, REASON, actor="beheer")
    before = world.rows(Dispatch)
    for delivery, says in (
        (refused, "is REJECTED"),
        (withdrawn, "no signal in force"),
        (rejected, "no signal in force"),
        (waiting, "is ARRIVED"),
        ("L9999", "there is no delivery"),
    ):
        with pytest.raises(CommandError, match=says):
            withdraw(world.context, delivery, REASON, actor="beheer")
    with pytest.raises(CommandError, match="1 to 500 characters"):
        withdraw(world.context, waiting, " ", actor="beheer")
    assert world.rows(Dispatch) == before


@pytest.mark.parametrize("point", ["history.withdraw", "store_files", "record"])
def test_interrupted(world, row, monkeypatch, point):
    """Stopped anywhere, nothing of it is true; done again, all of it is, once."""
    world.policy(publish=Publish(settle_s=0))
    delivery = world.put("woonservice", row("w1"), row("w2", huisnummer=20))
    world.work()
    world.told("woonservice")
    world.new_lines()
    with monkeypatch.context() as patch:
        patch.setattr(f"gateway.pipeline.withdrawal.{point}", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            withdraw(world.context, delivery, REASON, actor="beheer")
    assert set(states(world).values()) == {"passed_on"}
    assert (world.publish(), world.told("woonservice")) == ([], [])
    withdraw(world.context, delivery, REASON, actor="beheer")
    assert world.told("woonservice") == [("w1", "D52"), ("w2", "D52")]
    world.clock.step(timedelta(seconds=1))
    assert [line["klasse"] for line in world.publish()] == ["VERVALLEN"] * 2


def test_a_trace_names_every_file(world, row):
    """Whose signals a file holds is on record: exactly those that its partner reads in it."""
    first = world.put("woonservice", row("w1", bedrag="1,00"), row("w2", huisnummer=20))
    world.work()
    world.publish()
    second = world.put("dezorgkas", row("z1", sector="Zorg"), row("z2", sector="Zorg", huisnummer=22))
    world.work()
    world.publish()
    third = world.put("woonservice", row("w1", bedrag="9,00", mutatie="W"), row("w2", mutatie="I"))
    world.work()
    world.publish()
    by_file = {
        (row["dispatch_id"], row["delivery_id"]): row["signal_count"] for row in world.rows(DispatchContent)
    }
    outbox = world.dispatches("gemeente", "meldingen")
    assert [
        {each: by_file[file["id"], each] for each in (first, second, third) if (file["id"], each) in by_file}
        for file in outbox
    ] == [{first: 2}, {first: 1, second: 2}, {second: 1, third: 1}]
    for file in outbox:
        lines = list(csv.DictReader(io.StringIO(world.read(file).decode("utf-8-sig")), delimiter=";"))
        told = [line for line in lines if line["signaalnummer"]]
        assert len(told) == sum(count for (file_id, _), count in by_file.items() if file_id == file["id"])
    with world.context.store.read() as conn:
        trace = history.told_of(conn, first)
    assert [(each.kind, each.partner_id, each.signals) for each in trace] == [
        ("receipt", "woonservice", None),
        ("receipt", "woonservice", None),
        ("meldingen", "gemeente", 2),
        ("signal_status", "woonservice", 2),
        ("worklist", "gemeente", 2),
        ("meldingen", "gemeente", 1),
        ("worklist", "gemeente", 2),
        ("signal_status", "woonservice", 1),
    ]


def test_a_trace_outlives_the_files(world, row):
    """A year later it can still be told who had what, of ids and times alone."""
    delivery = world.put("woonservice", row("w1"))
    world.work()
    world.publish()
    collected = world.clock.now()
    with world.context.store.write() as conn:
        conn.execute(Dispatch.__table__.update().values(collected_at=collected))
    world.go_to(world.today.replace(year=2027))
    world.purge()
    with world.context.store.read() as conn:
        known, told = history.delivery(conn, delivery), history.told_of(conn, delivery)
    assert known
    assert known.purged_at == world.clock.now()
    assert {(each.kind, each.collected_at, each.purged_at) for each in told} == {
        (kind, collected, world.clock.now()) for kind in ("receipt", "meldingen", "signal_status", "worklist")
    }
    assert check(world.context).differences == ()
