"""A municipality that merged: look-back and routing follow (spec 3, Municipality of a signal)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from gateway.domain.partner import Partner, Role
from gateway.domain.policy import Grouping, Publish
from gateway.matching.municipality import Successor
from gateway.store.tables import SignalRow


@pytest.fixture
def merging(world):
    """GM0303 becomes part of GM1731 on 1 December."""
    world.configure(successors={"GM0303": Successor("GM1731", date(2026, 12, 1))})
    world.matching(consecutive_months=2)
    return world


@pytest.fixture
def there(row):
    """Makes rows of signals at an address in GM0303."""

    def make(signal_id, **values):
        return row(signal_id, **{"postcode": "8251AA", "huisnummer": 1, "klantnummer": "k", **values})

    return make


def brief(lines):
    """Municipality, month, version, rules and what looks back, of each line."""
    return [
        (
            line["gemeentecode"],
            line["maand"],
            line["versie"],
            line["matchregels"],
            line["opeenvolgend"],
            line["herhaald"],
        )
        for line in lines
    ]


@pytest.mark.parametrize("key", list(Grouping))
def test_months_across_a_merger(merging, there, key):
    """Before the day it is the old municipality's; after it the new one's, which looks back on the old one's."""
    merging.matching(key=key)
    merging.policy("GM0303", matching=merging.context.policy("GM1731").matching)
    merging.go_to(date(2026, 11, 30))
    merging.send("woonservice", there("a"))
    assert brief(merging.publish()) == [("GM0303", "2026-11", "1", "", "N", "N")]
    merging.go_to(date(2026, 12, 1))
    merging.send("woonservice", there("b"))
    assert brief(merging.publish()) == [("GM1731", "2026-12", "1", "OPEENVOLGENDE_MAANDEN", "J", "J")]
    assert merging.told("woonservice") == [("a", "D10"), ("b", "D11")]


def test_what_goes_from_the_old_is_missed_in_the_new(merging, there):
    """A change of a signal that stayed with the old municipality reaches what looks back on it."""
    merging.send("woonservice", there("a"))
    merging.publish()
    merging.go_to(date(2026, 12, 1))
    merging.send("dezorgkas", there("b", sector="Zorg"))
    assert brief(merging.publish()) == [("GM1731", "2026-12", "1", "", "J", "N")]
    merging.send("woonservice", {"signaal_id": "a", "mutatie": "I"})
    found = sorted((line["gemeentecode"], line["klasse"], line["opeenvolgend"]) for line in merging.publish())
    assert found == [("GM0303", "VERVALLEN", ""), ("GM1731", "ENKELVOUDIG", "N")]


def test_signals_of_the_old_are_in_no_melding_of_the_new(merging, there):
    """Of one month and address: what came before the day stays, and counts for that melding alone."""
    merging.configure(successors={"GM0303": Successor("GM1731", date(2026, 11, 10))})
    merging.send("woonservice", there("a"))
    merging.publish()
    merging.go_to(date(2026, 11, 10))
    merging.send("dezorgkas", there("b", sector="Zorg"))
    lines = merging.publish()
    assert [(line["gemeentecode"], line["aantal_signalen"]) for line in lines] == [("GM1731", "1")]


def test_exclusions_follow(merging, there):
    """Whom the old municipality excluded, the new one excludes, and can let in again."""
    excluded = {"postcode": "8251AA", "huisnummer": "1", "achternaam": "Bakker", "geboortedatum": ""}
    assert merging.send("gemeente", excluded | {"uitsluiten_tot": "2027-04-30"})["afgekeurd"] == []
    merging.go_to(date(2026, 12, 1))
    partner = replace(merging.context.partners["gemeente"], serves=("GM1731",))
    merging.configure(
        partners={**merging.context.partners, "gemeente": partner}, served_by={"GM1731": "gemeente"}
    )
    merging.send("woonservice", there("a"))
    assert merging.told("woonservice") == [("a", "D30")]
    ended = merging.send("gemeente", excluded | {"uitsluiten_tot": "", "mutatie": "I"})
    assert ended["afgekeurd"] == []
    merging.send("woonservice", there("b"))
    assert [line["gemeentecode"] for line in merging.publish()] == ["GM1731"]


def test_a_changed_signal_moves(merging, there):
    """W after the day: it lapses at the old, and is passed on anew."""
    merging.send("woonservice", there("a"))
    merging.publish()
    merging.told("woonservice")
    merging.go_to(date(2026, 12, 1))
    merging.send("woonservice", there("a", mutatie="W", bedrag="700,00"))
    found = sorted((line["gemeentecode"], line["maand"], line["klasse"]) for line in merging.publish())
    assert found == [("GM0303", "2026-11", "VERVALLEN"), ("GM1731", "2026-11", "ENKELVOUDIG")]
    assert merging.told("woonservice") == [("a", "D10")]


def test_who_serves_the_old_afterwards(merging, there):
    """Its partner is gone: what is left of the old municipality goes to who serves the new one; not before the day."""
    sdd = Partner(id="sdd", name="SDD", role=Role.MUNICIPALITY, serves=("GM0303",))
    merging.configure(
        partners={**merging.context.partners, "sdd": sdd}, served_by={"GM1731": "gemeente", "GM0303": "sdd"}
    )
    merging.policy("GM0303", publish=Publish(when="0 7 15 * *"))
    merging.send("woonservice", there("a"))
    merging.configure(served_by={"GM1731": "gemeente"})
    merging.send("woonservice", there("b", klantnummer="other"))
    assert merging.told("woonservice") == [("b", "D41")]
    merging.go_to(date(2026, 12, 15))
    assert [line["gemeentecode"] for line in merging.publish()] == ["GM0303"]
    assert merging._fresh("sdd", "meldingen") == []


def test_a_code_that_a_creditor_writes_may_be_the_old_one(merging, there):
    """No W03: the old code is part of the new."""
    merging.go_to(date(2026, 12, 1))
    receipt = merging.send(
        "woonservice", there("a", gemeentecode="GM0303"), there("b", gemeentecode="GM1731")
    )
    assert receipt["waarschuwingen"] == []
    # two municipalities of four digits that merged are one
    receipt = merging.send("woonservice", there("c", postcode="9999ZZ"))
    assert {each["municipality"] for each in merging.rows(SignalRow)} == {"GM1731"}
