"""Over months: look-back, keys that change or die, and what an address is known by (spec 3 Keys, Policy; spec 4 Rows and index)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from gateway.domain.policy import Grouping, Matching
from gateway.store.tables import IndexToken, SignalRow
from gateway.vault.key_ids import index_id


def by_month(lines):
    """The last line of each month."""
    return {line["maand"]: line for line in lines}


def test_a_late_older_signal_is_seen_by_later_months(world, row):
    """A signal of October that comes in November gives November's melding at its address a next version: opeenvolgend."""
    world.send("woonservice", row("nov"))
    assert by_month(world.publish())["2026-11"]["opeenvolgend"] == "N"
    world.send("dezorgkas", row("oct", sector="Zorg", signaaldatum="2026-10-20"))
    after = by_month(world.publish())
    assert after["2026-10"]["versie"] == "1"
    assert (after["2026-11"]["versie"], after["2026-11"]["opeenvolgend"]) == ("2", "J")
    assert world.told("woonservice") == [("nov", "D10")]


def test_a_late_older_signal_is_a_repeat_wherever_the_resident_lived(world, row):
    """`herhaald` follows the contract to another address; when the older signal goes, so does it."""
    world.send("woonservice", row("nov", klantnummer="k"))
    assert world.publish()[0]["herhaald"] == "N"
    world.send("woonservice", row("oct", klantnummer="k", huisnummer="20", signaaldatum="2026-10-20"))
    after = by_month(world.publish())["2026-11"]
    assert (after["versie"], after["herhaald"], after["opeenvolgend"]) == ("2", "J", "N")
    world.send("woonservice", row("oct", mutatie="I"))
    after = by_month(world.publish())["2026-11"]
    assert (after["versie"], after["herhaald"]) == ("3", "N")


def test_a_repeat_changes_with_the_contract(world, row):
    """W to another klantnummer takes `herhaald` from the later signals of the old contract and gives it to the new."""
    world.send("woonservice", row("x", klantnummer="k"), row("y", klantnummer="l", huisnummer="20"))
    world.send("woonservice", row("oct", klantnummer="k", huisnummer="22", signaaldatum="2026-10-20"))
    assert {
        line["klantnummer"]: line["herhaald"] for line in world.publish_now() if line["maand"] == "2026-11"
    } == {
        "k": "J",
        "l": "N",
    }
    world.send("woonservice", row("oct", klantnummer="l", huisnummer="22", mutatie="W"))
    assert {
        line["klantnummer"]: line["herhaald"] for line in world.publish() if line["maand"] == "2026-11"
    } == {
        "k": "N",
        "l": "J",
    }


def test_an_address_keeps_its_place_from_month_to_month(world, row):
    """A token of October leads to the place, and November's own token leads there too."""
    world.go_to(date(2026, 10, 30))
    world.send("woonservice", row("a"))
    october = world.rows(IndexToken)
    world.go_to(date(2026, 11, 3))
    world.send("dezorgkas", row("b", sector="Zorg"))
    places = {(each["place_a1"], each["place_a2"], each["place_p1"]) for each in world.rows(SignalRow)}
    assert len(places) == 1
    november = [token for token in world.rows(IndexToken) if token["key_id"] == index_id("2026-11")]
    shared = {"address", "address_exact", "person", "address_surname"}
    assert {token["place"] for token in november if token["level"] in shared} == {
        token["place"] for token in october if token["level"] in shared
    }


def test_a_file_that_waited_into_the_next_month_finds_what_came_after_it(world, row):
    """Received in October, processed in November after another's: the address still has one place, and they match."""
    world.go_to(date(2026, 10, 31), hour=23)
    waiting = world.put("woonservice", row("a"))
    partners = world.context.partners
    world.configure(partners={name: each for name, each in partners.items() if name != "woonservice"})
    world.work()
    world.go_to(date(2026, 11, 1))
    world.send("dezorgkas", row("b", sector="Zorg", signaaldatum="2026-10-31"))
    world.configure(partners=partners)
    world.clock.step(timedelta(minutes=1))  # it rests after its crashes
    world.work()
    assert world.receipt(waiting)["sommen"]["signalen"] == 1
    assert {line["aantal_partners"] for line in world.publish()} == {"2"}
    assert len({each["place_a1"] for each in world.rows(SignalRow)}) == 1


def test_a_destroyed_month_leads_nowhere(world, row):
    """When its month's key is gone an address gets a new place: nothing links it to what was held."""
    world.send("woonservice", row("a"))
    (before,) = world.rows(SignalRow)
    world.publish()
    for day in (date(2027, 5, 4), date(2027, 6, 1)):
        world.go_to(day, hour=3)
        world.purge()
    assert not world.rows(IndexToken)
    world.send("woonservice", row("a"))
    (after,) = world.rows(SignalRow)
    assert not {before["place_a1"], before["place_s1"]} & {after["place_a1"], after["place_s1"]}


def test_another_key_takes_effect_next_month(world, row):
    """A policy that changes its key leaves this month's meldingen as they are, and `meerdere_adressen` with them."""
    world.send("woonservice", row("a", huisletter="A"))
    world.matching(key=Grouping.ADDRESS_EXACT)
    world.send("dezorgkas", row("b", huisletter="B", sector="Zorg"))
    lines = world.publish()
    assert {(line["aantal_signalen"], line["meerdere_adressen"]) for line in lines} == {("2", "J")}
    world.go_to(date(2026, 12, 1))
    world.send("woonservice", row("c", huisletter="A"))
    world.send("dezorgkas", row("d", huisletter="B", sector="Zorg"))
    lines = world.publish()
    assert {(line["aantal_signalen"], line["opeenvolgend"]) for line in lines} == {("1", "J")}


def test_a_change_reaches_months_of_every_key(world, row):
    """A signal that goes is missed in later months, whatever key each is grouped by."""
    world.send("woonservice", row("a", huisletter="A"))
    for month, key in ((12, Grouping.ADDRESS_EXACT), (1, Grouping.PERSON)):
        world.matching(key=key)
        world.go_to(date(2026 + (month == 1), month, 2))
        world.send("dezorgkas", row(f"m{month}", sector="Zorg", huisletter="A"))
    assert {line["opeenvolgend"] for line in world.publish_now() if line["maand"] != "2026-11"} == {"J"}
    world.send("woonservice", row("a", mutatie="I"))
    after = by_month(world.publish())
    assert after["2026-11"]["klasse"] == "VERVALLEN"
    assert after["2026-12"]["opeenvolgend"] == "N"


def test_one_place_under_two_keys_counts_once(world, row):
    """Someone without a name is grouped by address also under `person`: months of both keys count each signal once."""
    world.matching(key=Grouping.ADDRESS_EXACT)
    world.send("woonservice", row("a", achternaam="123"))
    world.matching(key=Grouping.PERSON)
    world.go_to(date(2026, 12, 1))
    world.send("woonservice", row("b", achternaam="123"))
    world.send("woonservice", row("a", achternaam="123", mutatie="W", bedrag="100,00"))
    after = by_month(world.publish())
    assert (after["2026-11"]["aantal_signalen"], after["2026-11"]["totaalbedrag"]) == ("1", "100,00")
    assert (after["2026-12"]["aantal_signalen"], after["2026-12"]["opeenvolgend"]) == ("1", "J")


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ({}, {"huisnummer": "20", "achternaam": "van BAKKER-Smit"}, True),
        ({}, {"geboortedatum": "1981-05-01"}, False),
        ({"geboortedatum": ""}, {"geboortedatum": ""}, True),
        ({"geboortedatum": ""}, {"geboortedatum": "", "huisletter": "A"}, False),
        ({"geboortedatum": ""}, {}, False),
        ({"achternaam": "123"}, {"achternaam": "456", "geboortedatum": ""}, True),
        ({"achternaam": "123"}, {"achternaam": "123", "huisletter": "A"}, False),
    ],
)
def test_who_is_the_same_person(world, row, first, second, together):
    """`person` is P1, without a date of birth AS, without a name A2."""
    world.matching(key=Grouping.PERSON)
    world.send("woonservice", row("a", **first))
    world.send("dezorgkas", row("b", sector="Zorg", **second))
    assert {line["klasse"] for line in world.publish()} == {"MATCH" if together else "ENKELVOUDIG"}


def test_only_so_far_back(world, row):
    """`lookback_months` limits what `opeenvolgend` and D11 look at."""
    world.policy(matching=Matching(lookback_months=1))
    world.send("woonservice", row("a", klantnummer="k"))
    world.publish()
    world.go_to(date(2027, 1, 4))
    world.send("woonservice", row("b", klantnummer="k"))
    assert world.publish()[-1]["opeenvolgend"] == "N"
    assert world.told("woonservice") == [("a", "D10"), ("b", "D10")]
