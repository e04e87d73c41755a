"""Another policy on the same month, and a melding explained: both agree with what is published."""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

import pytest

from gateway.domain.melding import Klasse, Rule
from gateway.domain.policy import Actions, ConsecutiveBy, Grouping, Matching, Policy, Publish
from gateway.errors import CommandError
from gateway.pipeline.explain import explain
from gateway.pipeline.policies import policy_hash
from gateway.pipeline.preview import preview
from gateway.store.tables import AuditEntry, Dispatch, MeldingRow, Publication

SECTORS = {"woonservice": "Huur", "dezorgkas": "Zorg", "stroomhuis": "Energie", "vitens": "Water"}
OTHER = Policy(
    code="GM1731",
    matching=Matching(
        distinct_by="sector",
        consecutive_months=2,
        consecutive_by=ConsecutiveBy.ANY,
        bridging=True,
        always_sectors=("Water",),
        lookback_months=1,
        min_amount_cents={"Zorg": 20_000},
    ),
    order=("creditors", "oldest", "total"),
    actions=Actions(visit_capacity=3, visit_over_cents=40_000, match="Telefoon"),
    publish=Publish(when="0 7 1 1 *"),
)
NEVER = Publish(when="0 7 1 1 *")


def fill(world, row):
    """October is published, November waits: four creditors, twelve addresses, three names."""
    drawn = random.Random(11)
    for day in (date(2026, 10, 6), date(2026, 11, 3)):
        world.go_to(day)
        if day.month == 11:
            world.policy(publish=NEVER)
        for creditor, sector in SECTORS.items():
            rows = [
                row(
                    f"{creditor}-{day.month}-{at}",
                    sector=sector,
                    klantnummer=f"{creditor}-{drawn.randint(1, 8)}",
                    postcode="7938AA",
                    huisnummer=drawn.randint(1, 12),
                    huisnummertoevoeging=drawn.choice(("", "", "A")),
                    achternaam=drawn.choice(("Bakker", "Bakker", "Visser", "Smit")),
                    geboortedatum=drawn.choice(("1980-05-01", "1951-12-31", "1999-02-28")),
                    dagen_achterstand=drawn.randint(40, 90),
                    bedrag=f"{drawn.randint(60, 900)},00",
                )
                for at in range(8)
            ]
            world.send(creditor, *rows)
        world.publish()


def look(world, other=OTHER, month="2026-11"):
    """What another policy would make of a month of GM1731."""
    return preview(world.context, "GM1731", month, other, actor="wim", origin="cli")


def told(world, melding_id):
    """One melding explained."""
    return explain(world.context, melding_id, actor="wim", origin="cli")


@contextmanager
def no_keys(world):
    """A gateway without keys: it can open nothing that is sealed."""
    keyring = world.context.keyring
    world.configure(keyring=None)
    yield
    world.configure(keyring=keyring)


def as_lines(month):
    """What the outbox would say of each melding of a previewed month."""
    return {
        name: (
            str(melding.klasse),
            "+".join(melding.rules),
            str(month.places[name].rank or ""),
            month.places[name].action,
            str(melding.signal_count),
        )
        for name, melding in month.meldingen.items()
    }


def published_lines(world):
    """What is published now, in the same form, by melding."""
    names = ("klasse", "matchregels", "rang", "voorstel_actie", "aantal_signalen")
    return {line["melding_id"]: tuple(line[name] for name in names) for line in world.publish_now()}


def audited(world, action):
    """The audit entries of an action."""
    entries = [json.loads(each["entry"]) for each in world.rows(AuditEntry)]
    return [each for each in entries if each["action"] == action]


# -- preview ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["own", "other"])
def test_a_preview_is_what_the_publication_is(world, row, side):
    """Klasse, rules, rank and action of every melding, under the policy in force and under the other."""
    fill(world, row)
    found = look(world).comparison
    assert found.own.counts != found.other.counts
    if side == "other":
        world.policy(**{name: getattr(OTHER, name) for name in ("matching", "order", "actions")})
    lines = published_lines(world)
    assert len(lines) > 5
    assert as_lines(getattr(found, side)) == lines


def test_another_key_groups_the_months_before_too(world, row, tmp_path):
    """As in a gateway that grouped by that key from the first month on."""
    fill(world, row)
    other = replace(OTHER, matching=replace(OTHER.matching, key=Grouping.PERSON))
    found = look(world, other)
    assert (found.own_key, found.other_key) == (Grouping.ADDRESS, Grouping.PERSON)
    assert found.comparison.split
    assert found.comparison.merged
    twin = type(world).create(tmp_path / "twin")
    twin.matching(key=Grouping.PERSON)
    fill(twin, row)
    twin.policy(**{name: getattr(other, name) for name in ("matching", "order", "actions")})
    assert Counter(as_lines(found.comparison.other).values()) == Counter(published_lines(twin).values())
    own, other = (
        sorted(ref for melding in month.meldingen.values() for ref in melding.refs)
        for month in (found.comparison.own, found.comparison.other)
    )
    assert own == other


def test_a_month_keeps_the_key_that_it_began_with(world, row):
    """The policy in force is shown by the key of the month, though its file names another by now."""
    world.send("woonservice", row("a"), row("b", klantnummer="x", achternaam="Visser"))
    world.matching(key=Grouping.PERSON)
    found = look(world, world.context.policy("GM1731"))
    assert (found.own_key, found.other_key) == (Grouping.ADDRESS, Grouping.PERSON)
    assert (len(found.comparison.own.meldingen), len(found.comparison.other.meldingen)) == (1, 2)


def test_a_preview_changes_and_opens_nothing(world, row):
    """No file, no version, nothing looked at, no key used; an audit entry tells who looked at what."""
    fill(world, row)
    before = [world.rows(table) for table in (Dispatch, MeldingRow, Publication)]
    with no_keys(world):
        look(world)
    assert [world.rows(table) for table in (Dispatch, MeldingRow, Publication)] == before
    (entry,) = audited(world, "policy.previewed")
    assert (entry["actor"], entry["object"], entry["origin"]) == ("wim", "GM1731", "cli")
    assert entry["detail"] == {
        "month": "2026-11",
        "policy": policy_hash(world.context.policy("GM1731")),
        "other": policy_hash(OTHER),
    }


def test_only_what_is_active_counts(world, row):
    """A withdrawn signal is in neither month, nor one of another municipality; an empty month is empty."""
    world.send("woonservice", row("a"), row("b", klantnummer="x", huisnummer=20))
    world.send("dezorgkas", row("c", sector="Zorg", postcode="8251AA", huisnummer=1))
    world.send("woonservice", row("a", mutatie="I"))
    counts = look(world).comparison.own.counts
    assert (counts.meldingen, counts.signals) == (1, 1)
    assert look(world, month="2026-09").comparison.fates == []


# -- explain ---------------------------------------------------------------------------------------


def test_every_melding_is_explained_as_it_was_published(world, row):
    """Rules, flags, rank, action and deadline of the outbox, of each of a month's meldingen."""
    fill(world, row)
    world.policy(**{name: getattr(OTHER, name) for name in ("matching", "order", "actions")})
    lines = world.publish_now()
    numbers = {}
    for line in lines:
        numbers.setdefault(line["melding_id"], {})[line["signaalnummer"]] = line
    with no_keys(world):
        explained = {melding_id: told(world, melding_id) for melding_id in numbers}
    for melding_id, of in numbers.items():
        found, line = explained[melding_id], next(iter(of.values()))
        assert {found.numbers[signal.ref] for signal in found.signals} == set(of)
        assert "+".join(each.rule for each in found.grounds if each.holds) == line["matchregels"]
        assert bool(found.months_before) == (line["opeenvolgend"] == "J")
        assert (found.addresses > 1) == (line["meerdere_adressen"] == "J")
        assert found.deadline.by.isoformat() == line["uiterlijk_aanbod"]
        assert (found.ranking.own.rank if found.ranking else "") == (int(line["rang"] or 0) or "")
        assert found.action == line["voorstel_actie"]
        assert (found.changed, found.is_waiting) == ((), False)
        assert found.published_under == policy_hash(world.context.policy("GM1731"))
        for signal in found.signals:
            before = found.amounts_before.get(signal.ref, -1) >= signal.amount_cents
            assert before == (of[found.numbers[signal.ref]]["herhaald"] == "J")
    assert {each["object"] for each in audited(world, "melding.explained")} == set(numbers)


def test_what_changed_since_is_told(world, row):
    """Between a second creditor's file and its publication: what it will say, and what it said."""
    world.send("woonservice", row("a"))
    (line,) = world.publish()
    assert told(world, line["melding_id"]).ranking is None
    world.send("dezorgkas", row("b", sector="Zorg"))
    found = told(world, line["melding_id"])
    assert (found.published.klasse, found.content.klasse, found.is_waiting) == (
        Klasse.SINGLE,
        Klasse.MATCH,
        True,
    )
    assert {"klasse", "rules", "refs", "total_cents"} <= set(found.changed)
    assert found.ranking.own.rank == 1


def test_one_that_lapsed_is_explained(world, row):
    """It has no signals, no rules and no rank; the signal that left it says why."""
    world.send("woonservice", row("a"))
    (line,) = world.publish()
    world.send("woonservice", row("a", mutatie="I"))
    world.publish()
    found = told(world, line["melding_id"])
    assert (found.content, found.published, found.ranking, found.deadline) == (None, None, None, None)
    assert (found.melding.version, found.melding.klasse) == (2, "VERVALLEN")
    assert [(each.number, each.state) for each in found.ended] == [(line["signaalnummer"], "withdrawn")]


def test_what_is_too_low_is_named(world, row):
    """It counts for no rule, and stays in the melding."""
    world.matching(min_amount_cents={"Zorg": 70_000})
    world.send("woonservice", row("a"))
    world.send("dezorgkas", row("b", sector="Zorg"))
    (first, _) = world.publish()
    found = told(world, first["melding_id"])
    (low,) = (signal for signal in found.signals if signal.creditor == "dezorgkas")
    assert found.left_out == {low.ref}
    (multiple,) = (each for each in found.grounds if each.rule is Rule.MULTIPLE)
    assert (multiple.holds, multiple.seen) == (False, {"2026-11": ("woonservice",)})


def test_an_unknown_melding_is_told_where_ids_stand(world):
    """And nothing is written down."""
    with pytest.raises(CommandError, match="column melding_id"):
        told(world, "M1731202611-AAAAAAAA")
    assert audited(world, "melding.explained") == []
