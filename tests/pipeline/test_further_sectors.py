"""Sectors beyond those of the Wgs: only for the municipalities that their legal basis names (spec 2, `sector`)."""

from __future__ import annotations

from dataclasses import replace

from gateway.store.tables import SignalRow


def test_only_for_the_municipalities_that_are_named(world, row):
    """Elsewhere it is not connected (D41): nothing is passed on and nothing of it is kept; the Wgs's go on."""
    partner = replace(world.context.partners["woonservice"], sectors=("Huur", "Hypotheek"))
    world.configure(
        partners={**world.context.partners, "woonservice": partner},
        further_sectors={"Hypotheek": frozenset({"GM1731"})},
    )
    world.send(
        "woonservice",
        row("a", sector="hypotheek"),
        row("b", sector="Hypotheek", postcode="8251AA", huisnummer=1),
        row("c", postcode="8251AA", huisnummer=1),
    )
    found = {(line["gemeentecode"], line["sector"]) for line in world.publish()}
    assert found == {("GM1731", "Hypotheek"), ("GM0303", "Huur")}
    assert world.told("woonservice") == [("a", "D10"), ("b", "D41"), ("c", "D10")]
    (kept,) = [each for each in world.rows(SignalRow) if each["state"] == "not_connected"]
    assert (kept["sealed"], kept["amount_cents"]) == (None, 0)


def test_another_creditor_does_not_have_it(world, row):
    """V06: to who has not the sector it is none; V07 is for the Wgs's."""
    world.configure(further_sectors={"Hypotheek": frozenset({"GM1731"})})
    receipt = world.send("woonservice", row("a", sector="Hypotheek"), row("b", sector="Zorg"))
    assert [each["code"] for each in receipt["afgekeurd"]] == ["V06", "V07"]
