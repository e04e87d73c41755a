"""Partners whose files have no ids: `defaults.signaal_id = "auto"` (spec 2, `signaal_id`)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import pytest


@pytest.fixture
def unnamed(world, row):
    """Makes rows without an id, of a partner for whom the gateway makes them."""
    partners = world.context.partners
    woonservice = replace(partners["woonservice"], defaults={"signaal_id": "auto"})
    world.configure(partners={**partners, "woonservice": woonservice})

    def make(**values):
        values = {"klantnummer": "k"} | values
        return {name: value for name, value in row("x", **values).items() if name != "signaal_id"}

    return make


def counts(receipt):
    """New, changed, withdrawn, rejected, duplicate."""
    found = receipt["sommen"]
    return [found[name] for name in ("signalen", "wijzigingen", "intrekkingen", "afgekeurd", "dubbel")]


def test_the_same_debt_is_the_same_signal(world, unnamed):
    """The same row is D50, another amount acts as W, in silence and under the same number."""
    assert counts(world.send("woonservice", unnamed())) == [1, 0, 0, 0, 0]
    (first,) = world.publish()
    ((signal_id, code),) = world.told("woonservice")
    assert code == "D10"
    assert re.fullmatch(r"A[0-9A-HJKMNP-TV-Z]{26}", signal_id)
    # two rows: not the same file again
    assert counts(world.send("woonservice", unnamed(), unnamed(klantnummer="l"))) == [1, 0, 0, 0, 1]
    assert (signal_id, "D50") in world.told("woonservice")
    assert counts(world.send("woonservice", unnamed(bedrag="700,00"))) == [0, 1, 0, 0, 0]
    changed = [line for line in world.publish() if line["klantnummer"] == "k"]
    assert [line["signaalnummer"] for line in changed] == [first["signaalnummer"]]
    assert signal_id not in dict(world.told("woonservice"))


def test_twice_in_one_file(world, unnamed):
    """The second row of one debt in one file is V13."""
    receipt = world.send("woonservice", unnamed(), unnamed(bedrag="1,00"))
    assert [entry["code"] for entry in receipt["afgekeurd"]] == ["V13"]


def test_after_a_withdrawal_it_is_new(world, unnamed):
    """An I names the debt by its fields; the same row later is a new signal under the same id."""
    world.send("woonservice", unnamed())
    (first,) = world.publish()
    ((signal_id, _),) = world.told("woonservice")
    assert counts(world.send("woonservice", unnamed(mutatie="I"))) == [0, 0, 1, 0, 0]
    assert world.told("woonservice") == [(signal_id, "D52")]
    assert counts(world.send("woonservice", unnamed(), unnamed(klantnummer="l"))) == [2, 0, 0, 0, 0]
    (again,) = [line for line in world.publish() if line["klantnummer"] == "k"]
    assert again["signaalnummer"] != first["signaalnummer"]
    assert again["melding_id"] == first["melding_id"]
    assert counts(world.send("woonservice", unnamed(bedrag="2,00"))) == [0, 1, 0, 0, 0]


def test_the_id_outlives_the_month_of_its_key(world, unnamed):
    """A debt of October, sent again in November, keeps the id that October's key made, also twice in one file."""
    world.go_to(date(2026, 10, 30))
    world.send("woonservice", unnamed(signaaldatum="2026-10-30"))
    ((signal_id, _),) = world.publish() and world.told("woonservice")
    world.go_to(date(2026, 11, 3))
    receipt = world.send(
        "woonservice",
        unnamed(signaaldatum="2026-10-30", bedrag="2,00"),
        unnamed(signaaldatum="2026-10-30", mutatie="W", bedrag="3,00"),
        unnamed(signaaldatum="2026-10-30", mutatie="I"),
    )
    assert counts(receipt) == [0, 2, 1, 0, 0]
    assert world.told("woonservice") == [(signal_id, "D52")]


def test_another_month_is_another_signal(world, unnamed):
    """The same debt in the next month is a new signal, reported before."""
    world.send("woonservice", unnamed())
    world.publish()
    ((first, _),) = world.told("woonservice")
    world.go_to(date(2026, 12, 1))
    assert counts(world.send("woonservice", unnamed())) == [1, 0, 0, 0, 0]
    world.publish()
    ((second, code),) = world.told("woonservice")
    assert code == "D11"
    assert second != first
