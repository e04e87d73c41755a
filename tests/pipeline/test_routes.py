"""Where meldingen go: several partners of one municipality, and a melding that moves (spec 3, Publication)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from gateway.domain.melding import Klasse
from gateway.domain.partner import Partner, Role
from gateway.domain.policy import Actions, Route
from gateway.pipeline import publish as publish_steps
from gateway.pipeline.deadlines import send_deadlines
from gateway.store.tables import AuditEntry, MeldingRow, Publication

OVER_500 = Route(to="sdd", total_over_cents=50_000)


def outbox(world, partner_id):
    """What came into a partner's outbox since the last look."""
    return world._fresh(partner_id, "meldingen")


def brief(lines):
    """House number, version and class of each line."""
    return [(line["huisnummer"], line["versie"], line["klasse"]) for line in lines]


@pytest.fixture
def split(world):
    """GM1731 has two partners: what is over 500 euro goes to sdd."""
    sdd = Partner(id="sdd", name="SDD", role=Role.MUNICIPALITY, serves=("GM1731",))
    world.configure(partners={**world.context.partners, "sdd": sdd})
    world.policy(routes=(OVER_500,))
    return world


def test_each_partner_has_its_own_file(split, row):
    """A publication is divided: own numbers, manifests, publications; each line is in one outbox only."""
    split.send("woonservice", row("a", bedrag="600,00"), row("b", huisnummer="20", bedrag="100,00"))
    assert brief(split.publish()) == [("20", "1", "ENKELVOUDIG")]
    assert brief(outbox(split, "sdd")) == [("18", "1", "ENKELVOUDIG")]
    assert split.told("woonservice") == [("a", "D10"), ("b", "D10")]
    split.send("woonservice", row("c", huisnummer="22", bedrag="700,00"))
    assert split.publish() == []
    assert brief(outbox(split, "sdd")) == [("22", "1", "ENKELVOUDIG")]
    split.send("woonservice", row("c", huisnummer="22", bedrag="800,00", mutatie="W"))
    assert split.publish() == []
    assert brief(outbox(split, "sdd")) == [("22", "2", "ENKELVOUDIG")]
    names = {
        who: [each["name"] for each in split.dispatches(who, "meldingen")] for who in ("gemeente", "sdd")
    }
    assert names == {
        "gemeente": ["meldingen_GM1731_2026-11_1.csv"],
        "sdd": [f"meldingen_GM1731_2026-11_{number}.csv" for number in (1, 2, 3)],
    }
    for partner_id, rows in (("gemeente", 1), ("sdd", 1)):
        manifests = [
            each for each in split.dispatches(partner_id, "manifest") if each["name"].startswith("meldingen")
        ]
        assert json.loads(split.read(manifests[-1]))["rows"] == rows
    publications = [(each["partner_id"], each["melding_count"]) for each in split.rows(Publication)]
    assert sorted(publications) == [("gemeente", 1), ("sdd", 1), ("sdd", 1), ("sdd", 1)]
    entries = [each["entry"] for each in split.rows(AuditEntry) if b"meldingen.published" in each["entry"]]
    assert len(entries) == 4


def test_rank_and_capacity_are_the_municipalitys(split, row):
    """Two partners share one order and one number of places."""
    split.policy(actions=Actions(visit_capacity=2, visit_over_cents=0), routes=(OVER_500,))
    for signal_id, number, amount in (("a", 18, "400,00"), ("b", 20, "100,00"), ("c", 22, "200,00")):
        split.send("woonservice", row(signal_id, huisnummer=number, bedrag=amount))
        split.send("dezorgkas", row(signal_id, sector="Zorg", huisnummer=number, bedrag=amount))
    lines = [*split.publish(), *outbox(split, "sdd")]
    found = {(line["huisnummer"], line["rang"], line["voorstel_actie"]) for line in lines}
    assert found == {("18", "1", "Huisbezoek"), ("22", "2", "Huisbezoek"), ("20", "3", "Brief")}


def test_a_melding_that_moves(split, row):
    """What grows past the limit lapses at one partner, and is new at the other under its id, versions rising."""
    split.send("woonservice", row("a", bedrag="400,00"))
    (first,) = split.publish()
    split.send("dezorgkas", row("b", sector="Zorg", bedrag="400,00"))
    (lapsed,) = split.publish()
    moved = outbox(split, "sdd")
    assert (lapsed["klasse"], lapsed["versie"]) == ("VERVALLEN", "2")
    assert not any(lapsed[name] for name in ("signaalnummer", "partner", "achternaam", "bedrag", "rang"))
    assert {(line["melding_id"], line["versie"], line["klasse"]) for line in moved} == {
        (first["melding_id"], "3", "MATCH")
    }
    assert len(moved) == 2
    # the signal that was passed on already is not told of again
    assert split.told("woonservice") == [("a", "D10")]
    # and it lapses where it is
    split.send("woonservice", row("a", mutatie="I"))
    split.send("dezorgkas", row("b", sector="Zorg", mutatie="I"))
    assert split.publish() == []
    assert [(line["klasse"], line["versie"]) for line in outbox(split, "sdd")] == [("VERVALLEN", "4")]
    # what comes back goes where it now belongs; nobody has to let go of it
    split.send("woonservice", row("c", bedrag="50,00"))
    assert brief(split.publish()) == [("18", "5", "ENKELVOUDIG")]
    assert outbox(split, "sdd") == []


def test_only_the_holder_answers(split, row):
    """After a move the former partner gets V16; what it answered before stands."""
    split.send("woonservice", row("a", bedrag="400,00"))
    (line,) = split.publish()
    answer = {"signaalnummer": line["signaalnummer"], "status": "Opgepakt", "datum": "2026-11-03"}
    assert split.send("gemeente", answer)["afgekeurd"] == []
    split.send("dezorgkas", row("b", sector="Zorg", bedrag="400,00"))
    split.publish()
    ended = {**answer, "status": "", "eindresultaat": "Niet opgepakt: onterecht signaal"}
    assert [each["code"] for each in split.send("gemeente", ended)["afgekeurd"]] == ["V16"]
    assert split.send("sdd", ended)["afgekeurd"] == []
    told = [each["code"] for each in split._fresh("woonservice", "feedback")]
    assert told == ["OPGEPAKT", "NIET_OPGEPAKT"]


@pytest.mark.parametrize(
    ("route", "number"),
    [
        (Route(to="sdd", postcodes=("8251",)), None),
        (Route(to="sdd", postcodes=("7938PL",)), "18"),
        (Route(to="sdd", sectors=("Huur",)), "18"),
        (Route(to="sdd", klasse=Klasse.MATCH), None),
    ],
)
def test_what_routes_ask(split, row, route, number):
    """Postcode, sector and class, through the pipeline."""
    split.policy(routes=(route,))
    split.send("woonservice", row("a"))
    here = [line["huisnummer"] for line in split.publish()]
    there = [line["huisnummer"] for line in outbox(split, "sdd")]
    assert (there, here) == (([number], []) if number else ([], ["18"]))


def test_who_is_known(split, row):
    """A melding is known when one of its signals' residents is, also in a crisis, while the list is in force."""
    split.policy(routes=(Route(to="sdd", known=True),), known_residents_basis="Wgs art. 7c")
    known = {"postcode": "7938PL", "huisnummer": "18", "achternaam": "Bakker", "geboortedatum": "1980-05-01"}
    receipt = split.send("gemeente", known | {"bekend_tot": "2026-12-31"})
    assert receipt["afgekeurd"] == []
    split.send("woonservice", row("a", huisnummer="18", achternaam="Visser"))
    split.send("dezorgkas", row("b", sector="Zorg", huisnummer="22", achternaam="Visser"))
    # of two without a rank only chance decides which is first
    assert sorted(brief(split.publish())) == [("18", "1", "ENKELVOUDIG"), ("22", "1", "ENKELVOUDIG")]
    split.send("dezorgkas", row("c", sector="Zorg", huisnummer="20", crisissignaal="J"))
    assert split.new_lines() == []
    assert brief(outbox(split, "sdd")) == [("20", "1", "MATCH")]
    # together with somebody who is known it moves
    split.send("vitens", row("d", sector="Water", huisnummer="22"))
    assert brief(split.publish()) == [("", "2", "VERVALLEN")]
    assert len(outbox(split, "sdd")) == 2
    split.go_to(date(2027, 1, 2))
    split.send("woonservice", row("e"))
    assert brief(split.publish()) == [("18", "1", "ENKELVOUDIG")]
    # without a ground nobody is known
    split.policy(known_residents_basis="")
    split.send("woonservice", row("f", huisnummer="20"))
    assert len(split.publish()) == 1


def test_another_policy_moves_this_month_only(split, row):
    """A changed policy takes effect at the next publication, for the month it is; nothing publishes by itself."""
    split.go_to(date(2026, 11, 30))
    split.send("woonservice", row("a", bedrag="400,00"))
    split.publish()
    split.go_to(date(2026, 12, 1))
    split.send("woonservice", row("b", huisnummer="20", bedrag="400,00"))
    split.publish()
    split.policy(routes=(Route(to="sdd"),))
    assert split.publish() == []
    assert split.publish_now()[0]["klasse"] == "VERVALLEN"
    assert brief(outbox(split, "sdd")) == [("20", "3", "ENKELVOUDIG")]
    assert split.publish_now() == []
    # once: what did not change is not looked at again
    split.policy(routes=(OVER_500,))
    split.publish_now()
    assert brief(outbox(split, "gemeente")) == []
    assert {each["partner_id"] for each in split.rows(MeldingRow)} == {"gemeente"}


def test_another_rule_changes_what_was_published(split, row):
    """With another rule the meldingen of this month get another class at the next publication, whatever causes it."""
    split.send("woonservice", row("a", bedrag="400,00"))
    split.publish()
    split.matching(always_sectors=("Huur",))
    split.send("dezorgkas", row("b", sector="Zorg", huisnummer="20", bedrag="100,00"))
    assert brief(split.publish()) == [("18", "2", "MATCH"), ("20", "1", "ENKELVOUDIG")]


def test_an_earlier_month_keeps_its_policy(split, row):
    """Rules, routes and ranks of a month that is over are those it was published under, whatever touches it."""
    split.policy(actions=Actions(single="Kaart"))
    split.go_to(date(2026, 11, 30))
    split.send("woonservice", row("a", bedrag="400,00"))
    assert [line["voorstel_actie"] for line in split.publish()] == ["Kaart"]
    split.go_to(date(2026, 12, 1))
    split.policy(routes=(Route(to="sdd"),), actions=Actions(single="Brief"))
    split.matching(always_sectors=("Huur",))
    split.send("woonservice", row("a", mutatie="W", bedrag="300,00"), row("b", huisnummer="20"))
    lines = split.publish()
    assert brief(lines) == [("18", "2", "ENKELVOUDIG")]
    assert (lines[0]["maand"], lines[0]["voorstel_actie"]) == ("2026-11", "Kaart")
    assert brief(outbox(split, "sdd")) == [("20", "1", "MATCH")]
    # a month of which nothing was published has the policy under which it first was
    split.send("woonservice", row("c", huisnummer="22", signaaldatum="2026-10-31"))
    split.publish()
    split.policy(routes=())
    split.matching(always_sectors=())
    split.send(
        "woonservice", row("c", mutatie="W", huisnummer="22", signaaldatum="2026-10-31", bedrag="1,00")
    )
    split.publish()
    versions = [(line["huisnummer"], line["versie"], line["klasse"]) for line in outbox(split, "sdd")]
    assert ("22", "2", "MATCH") in versions


def test_a_partner_that_is_gone_gets_nothing(split, row):
    """A month's route may name a partner that is none any more: then it is the one that serves."""
    split.policy(routes=(Route(to="sdd"),))
    split.send("woonservice", row("a"))
    split.publish()
    split.go_to(date(2026, 12, 1))
    split.configure(partners={name: each for name, each in split.context.partners.items() if name != "sdd"})
    split.policy(routes=())
    split.send("woonservice", row("a", mutatie="W", bedrag="1,00"))
    assert brief(split.publish()) == [("18", "3", "ENKELVOUDIG")]


def test_who_holds_a_melding_by_a_route_is_told_its_deadlines(split, row):
    """`termijnen` go to the partner of a route too, as long as one names it."""
    partner = replace(split.context.partners["sdd"], serves=("GM0303",))
    split.configure(partners={**split.context.partners, "sdd": partner})
    split.send("woonservice", row("a"))
    split.publish()
    assert split.context.recipients("GM1731") == {"gemeente", "sdd"}
    assert send_deadlines(split.context) == 1
    assert len(split.dispatches("sdd", "deadlines")) == 1
    split.policy(routes=())
    split.go_to(date(2026, 11, 9))
    assert send_deadlines(split.context) == 0


def test_another_order_publishes_nothing(split, row):
    """Rank and action are no content."""
    split.send("woonservice", row("a", bedrag="400,00"))
    split.publish()
    split.policy(order=("total",), actions=Actions(single="Kaart"))
    assert split.publish_now() == []


def test_a_crisis_alone_does_not_bring_the_new_policy_to_others(split, row):
    """A melding with a crisis goes out at once; the rest waits for its publication."""
    split.send("woonservice", row("a", bedrag="400,00"))
    split.publish()
    split.policy(routes=(Route(to="sdd"),))
    split.send("dezorgkas", row("b", sector="Zorg", huisnummer="20", bedrag="100,00", crisissignaal="J"))
    assert brief(outbox(split, "sdd")) == [("20", "1", "MATCH")]
    assert split.publish() == []
    assert brief(split.publish_now()) == [("", "2", "VERVALLEN")]


def test_another_partner_serves(split, row):
    """The municipality is served by somebody else: as another route."""
    split.policy(routes=())
    split.send("woonservice", row("a"))
    split.publish()
    split.configure(served_by={**split.context.served_by, "GM1731": "sdd"})
    assert brief(split.publish_now()) == [("", "2", "VERVALLEN")]
    assert brief(outbox(split, "sdd")) == [("18", "3", "ENKELVOUDIG")]


def test_a_move_is_one_transaction(split, row, monkeypatch):
    """A crash before the commit: nobody got anything; after a restart both get theirs once."""
    split.send("woonservice", row("a", bedrag="400,00"))
    split.publish()
    split.send("dezorgkas", row("b", sector="Zorg", bedrag="400,00"))

    def fail(*args, **values):
        raise OSError("no")

    with monkeypatch.context() as broken:
        broken.setattr(publish_steps, "record_all", fail)
        assert split.publish() == []
    assert outbox(split, "sdd") == []
    assert brief(split.publish()) == [("", "2", "VERVALLEN")]
    assert len(outbox(split, "sdd")) == 2
