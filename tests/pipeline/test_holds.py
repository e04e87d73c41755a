"""What is held past its day takes part in nothing; INZAGE finds it, WISSEN waits for the lift (spec 4, Retention)."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from gateway.domain.partner import Box
from gateway.domain.retention import Terms
from gateway.pipeline.erasure import carry_out
from gateway.retention import holds
from gateway.store import dispatches, exclusions
from gateway.store import holds as stored_holds
from gateway.store.tables import DataKeyRow, Delivery, Dispatch, IndexToken, RequestRow, SignalRow

#: What is received on 3 November 2026 is due on 3 May; its index key goes after 30 May.
MONTH = Terms(signals_months=1, dispatches_months=1)
OVER, JUNE = date(2027, 5, 4), date(2027, 6, 2)


def place(world, *deliveries):
    """Ask for a hold, and place it as two approvers' signatures do."""
    store = world.context.store
    asked = holds.ask(
        store,
        deliveries,
        grounds="klacht",
        authority="Nationale ombudsman",
        reference="2026.04711",
        review_on=world.today + timedelta(days=60),
        now=world.clock.now(),
        node="test",
        actor="admin",
    )
    holds.place(store, world.context.keyring, asked.hold_id, ("a", "b"), clock=world.clock, node="test")
    return asked.hold_id


def lift(world, hold_id):
    """Lift a hold, as two approvers' signatures do."""
    store, keyring = world.context.store, world.context.keyring
    holds.lift(store, keyring, hold_id, ("a", "b"), clock=world.clock, node="test")


def wait(world, **through):
    """What is due after these days waits for approval."""
    with world.context.store.write() as conn:
        stored_holds.set_waiting(conn, through)


def ask(number, what="INZAGE", **values):
    """A row of a request file about Bakker."""
    row = {"avg_verzoek": what, "verzoek_id": number, "achternaam": "Bakker", "geboortedatum": "1980-05-01"}
    return row | {"postcode": "", "huisnummer": "", "mutatie": "N"} | values


def page(world, number):
    """The answer to an INZAGE."""
    (found,) = [each for each in world.dispatches("gemeente", "access") if number in each["name"]]
    return world.read(found).decode()


def codes(receipt):
    """The codes of the rows that a receipt rejects."""
    return [each["code"] for each in receipt["afgekeurd"]]


@pytest.mark.parametrize("kept_by", ["hold", "approval"])
def test_past_its_day_it_takes_part_in_nothing(world, row, kept_by):
    """W and I are V14, its id is free again, nobody's melding looks back on it: as if it had gone."""
    world.configure(terms=MONTH)
    world.matching(consecutive_months=2)
    world.send("woonservice", row("w1"), row("w2", huisnummer=20, achternaam="Visser"))
    world.send("dezorgkas", row("z1", sector="Zorg"))
    first = {line["klantnummer"]: line for line in world.publish()}
    if kept_by == "hold":
        place(world, "L0001", "L0002")
    else:
        wait(world, GM1731=world.today)
    world.go_to(date(2026, 12, 4))
    world.purge()
    assert len(world.rows(SignalRow)) == 3

    told = world.send(
        "woonservice", row("w1", mutatie="W", bedrag="1,00"), {"signaal_id": "w1", "mutatie": "I"}
    )
    assert codes(told) == ["V14", "V14"]
    assert world.send("woonservice", row("w1"))["sommen"]["signalen"] == 1
    world.seen |= {each["id"] for each in world.rows(Dispatch)}
    (line,) = world.publish()
    assert (line["klasse"], line["versie"], line["klantnummer"]) == ("ENKELVOUDIG", "1", "k-w1")
    assert line["melding_id"] not in {each["melding_id"] for each in first.values()}
    assert line["matchregels"] == ""
    assert ("w1", "D10") in world.told("woonservice")
    # nor is it answered on, or told again
    answer = {"signaalnummer": first["k-z1"]["signaalnummer"], "status": "Opgepakt", "datum": "2026-12-04"}
    assert codes(world.send("gemeente", answer)) == ["V16"]


def test_on_that_day_it_is_still_looked_back_on(world, row):
    """What the test above does not find, the night before."""
    world.configure(terms=MONTH)
    world.matching(consecutive_months=2)
    world.send("woonservice", row("w1"))
    world.publish()
    place(world, "L0001")
    world.go_to(date(2026, 12, 3))
    world.purge()
    world.send("woonservice", row("w9"))
    (line,) = world.publish()
    assert (line["klasse"], line["matchregels"]) == ("MATCH", "OPEENVOLGENDE_MAANDEN")


def test_a_hold_changes_nothing_before_that_day(world, row):
    """Matched, changed and withdrawn as ever; the version that was replaced is kept."""
    world.send("woonservice", row("w1"), row("w2", huisnummer=20, achternaam="Visser"))
    world.publish()
    place(world, "L0001")
    assert world.send("woonservice", row("w1", mutatie="W", bedrag="700,00"))["sommen"]["wijzigingen"] == 1
    world.send("dezorgkas", row("z1", sector="Zorg"))
    world.send("woonservice", {"signaal_id": "w2", "mutatie": "I"})
    lines = {line["klantnummer"]: line for line in world.publish()}
    assert lines["k-w1"]["versie"] == "2"
    assert "VERVALLEN" in {line["klasse"] for line in lines.values()}
    world.go_to(world.today + timedelta(days=1))
    world.purge()
    replaced = [each for each in world.rows(SignalRow) if not each["in_force"]]
    assert [(each["delivery_id"], bool(each["sealed"])) for each in replaced] == [("L0001", True)]


def test_a_request_to_see_finds_it_by_opening(world, row):
    """Its tokens and their key are gone; it is told with the file that is held."""
    world.send("woonservice", row("w1"))
    world.publish()
    hold_id = place(world, "L0001")
    for day in (OVER, JUNE):
        world.go_to(day)
        world.purge()
    assert world.rows(IndexToken) == []
    assert not world.context.keyring.has("index-2026-11")
    world.send("gemeente", ask("12"))
    told = page(world, "12")
    for words in ("€ 600,00", "k-w1", "L0001"):
        assert words in told
    # it can be collected for a fortnight, and goes with the lift at the latest
    (answer,) = world.dispatches("gemeente", "access")
    assert answer["due_on"] == world.today + timedelta(days=14)
    lift(world, hold_id)
    world.purge()
    assert [each["state"] for each in world.dispatches("gemeente", "access")] == ["purged"]


def erase(world):
    """Let the 24 hours pass, and do what the schedule does then."""
    world.clock.step(timedelta(hours=24))
    world.make_keys()
    assert carry_out(world.context) == 1
    world.purge()


def test_a_request_to_destroy_waits_for_the_lift_and_says_so(world, row):
    """All else goes at once; what is held takes part in nothing, and goes when nothing holds it."""
    world.send("woonservice", row("w1"), row("w2", huisnummer=20, achternaam="Visser"))
    world.send("dezorgkas", row("z1", sector="Zorg"))
    world.publish()
    hold_id = place(world, "L0001")
    world.send("gemeente", ask("88-1", "WISSEN"))
    erase(world)

    (request,) = world.rows(RequestRow)
    assert request["state"] == "held"
    held = [each for each in world.rows(SignalRow) if each["is_erased"]]
    assert [each["delivery_id"] for each in held] == ["L0001"]
    assert not [each for each in world.rows(SignalRow) if each["delivery_id"] == "L0002"]
    assert next(each for each in world.rows(Delivery) if each["id"] == "L0001")["blob"]
    (note,) = world.dispatches("gemeente", "erasure")
    assert note["name"] == "wissen_88-1.txt"
    text = world.read(note).decode()
    for words in ("VERZOEK 88-1", hold_id, "klacht", "Zodra de bewaring is opgeheven"):
        assert words in text
    assert "Bakker" not in text
    before = certificates(world)
    for made in before:
        (named,) = made["verzoeken"]
        assert (named["verzoek_id"], named["wacht_op_opheffing_van"]) == ("88-1", [hold_id])
    # out of use: the id is free, W is refused
    assert codes(world.send("woonservice", row("w1", mutatie="W", bedrag="1,00"))) == ["V14"]
    # nothing changes from night to night, and no second note comes
    world.go_to(world.today + timedelta(days=1))
    world.purge()
    assert [each["state"] for each in world.rows(RequestRow)] == ["held"]
    assert len(world.dispatches("gemeente", "erasure")) == 1

    lift(world, hold_id)
    world.purge()
    assert [each["state"] for each in world.rows(RequestRow)] == ["done"]
    assert [each["line"] for each in world.rows(SignalRow) if each["creditor"] == "woonservice"] == [3]
    named = [each for made in certificates(world)[len(before) :] for each in made["verzoeken"]]
    assert ("88-1", []) in [(each["verzoek_id"], each["wacht_op_opheffing_van"]) for each in named]
    assert not any(key["key_id"].startswith("hold-") for key in world.rows(DataKeyRow))


def certificates(world):
    """The certificates of the municipality's partner, as programs read them."""
    return [
        json.loads(world.read(each))
        for each in world.dispatches("gemeente", "certificate")
        if each["name"].endswith(".json")
    ]


def test_a_request_to_destroy_waits_for_no_approval(world, row):
    """The municipality asked it: what is due waits for two approvers, what it asks for does not."""
    world.send("woonservice", row("w1"), row("w2", huisnummer=20, achternaam="Visser"))
    world.publish()
    wait(world, GM1731=world.today - timedelta(days=30), GM0303=world.today)
    world.send("gemeente", ask("3", "WISSEN"))
    erase(world)
    assert [each["line"] for each in world.rows(SignalRow)] == [3]
    assert [each["state"] for each in world.rows(RequestRow)] == ["done"]


def test_what_waits_for_approval_is_in_no_box(world, row):
    """Access is blocked: meldingen and worklists whose day is over are not listed, nor made anew."""
    world.send("woonservice", row("w1"))
    world.publish()
    wait(world, GM1731=world.today)
    world.go_to(OVER)
    world.purge()
    with world.context.store.read() as conn:
        shown = {each.kind for each in dispatches.listed(conn, "gemeente", Box.OUTBOX)}
    assert not shown & {"meldingen", "worklist"}
    kept = [each for each in world.dispatches("gemeente", "meldingen") if each["state"] == "blocked"]
    assert len(kept) == 1
    assert world.read(kept[0])  # it is there, under the key of what waits
    assert world.publish_now() == []


def test_whom_a_held_list_names_is_excluded_no_more_after_its_day(world, row):
    """A list that is held past its term decides nothing."""
    listed = {
        "achternaam": "Bakker",
        "geboortedatum": "1980-05-01",
        "postcode": "7938PL",
        "huisnummer": "18",
        "uitsluiten_tot": "2026-12-01",
        "mutatie": "N",
    }
    world.send("gemeente", listed)
    place(world, "L0001")
    world.go_to(date(2027, 3, 1))
    world.purge()
    with world.context.store.read() as conn:
        assert len(exclusions.held(conn, ["GM1731", "GM0303"])) == 1
        assert not list(exclusions.in_force(conn, "exclusions", ["GM1731", "GM0303"], world.today))
    world.send("woonservice", row("w1"))
    (line,) = world.publish()
    assert line["klantnummer"] == "k-w1"
