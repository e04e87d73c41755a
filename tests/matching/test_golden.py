"""The golden scenarios, driven through the pure functions alone by a small world in memory.

The world keeps what the store keeps in the product, and decides nothing itself.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import AMSTERDAM, month_of
from gateway.domain.melding import ActiveSignal, MeldingContent
from gateway.domain.policy import Actions, ConsecutiveBy, DistinctBy, Grouping, Matching, Policy
from gateway.domain.signal import Mutation, SignalState
from gateway.matching import changes, exclusion, keys, rank, rules
from gateway.matching.changes import Claim, Outcome
from gateway.matching.municipality import municipality_of, read_pc4

TESTS = Path(__file__).parent.parent
SCENARIOS = sorted((TESTS / "golden" / "matching").glob("*.json"))

#: Municipality, month, place of the key.
Key = tuple[str, str, Hashable]


@cache
def addresses() -> dict[tuple[str, int], str]:
    """Postcode and house number to municipality, as `gateway reference load` would hold them."""
    packed = files("gateway") / "data" / "addresses_six_municipalities.csv.gz"
    with packed.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8") as lines:
        rows = csv.DictReader(lines, delimiter=";")
        return {(row["postcode"], int(row["huisnummer"])): row["gemeentecode"] for row in rows}


@cache
def four_digits() -> dict[str, tuple[str, ...]]:
    """The table that ships with the gateway."""
    return read_pc4((files("gateway") / "data" / "pc4_gemeente.csv").read_text("utf-8").splitlines())


def read_policy(code: str, text: dict[str, Any]) -> Policy:
    """A policy as a scenario writes it, with amounts in euro."""
    matching = dict(text.get("matching", {}))
    euro = matching.pop("min_amount", {})
    for name, kind in (("key", Grouping), ("distinct_by", DistinctBy), ("consecutive_by", ConsecutiveBy)):
        if name in matching:
            matching[name] = kind(matching[name])
    if "always_sectors" in matching:
        matching["always_sectors"] = tuple(matching["always_sectors"])
    actions = dict(text.get("actions", {}))
    if "visit_over" in actions:
        actions["visit_over_cents"] = actions.pop("visit_over") * 100
    policy = Policy(
        code=code,
        matching=Matching(
            **matching, min_amount_cents={sector: amount * 100 for sector, amount in euro.items()}
        ),
        actions=Actions(**actions),
    )
    order = text.get("ranking", {}).get("order")
    return replace(policy, order=tuple(order)) if order else policy


@dataclass
class Life:
    """What the world knows of one `signaal_id`."""

    state: SignalState
    content: dict[str, Any]
    claim: Claim
    municipality: str
    signal: ActiveSignal


class World:
    """Everything received so far, and the meldingen that follow from it."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.policies = {code: read_policy(code, text) for code, text in scenario["policies"].items()}
        self.lives: dict[tuple[str, str], Life] = {}
        self.refused: list[list[str]] = []
        self.meldingen: dict[Key, MeldingContent] = {}
        self._refs = count(1)
        self._exclusions = {
            code: exclusion.gather(
                exclusion.Exclusion(
                    postcode=row["postcode"],
                    house_number=row["huisnummer"],
                    house_letter=row.get("huisletter", ""),
                    house_number_suffix=row.get("huisnummertoevoeging", ""),
                    surname=row.get("achternaam", ""),
                    born_on=day_or_none(row.get("geboortedatum")),
                    until=date.fromisoformat(row["uitsluiten_tot"]),
                )
                for row in scenario["exclusions"]
                if row["gm"] == code
            )
            for code in self.policies
        }

    def deliver(self, delivery: dict[str, Any]) -> list[tuple[str, ActiveSignal]]:
        """Process one file; gives what came, went or changed, before and after."""
        creditor, counted, touched = delivery["creditor"], set(), []
        received_at = datetime.fromisoformat(delivery["received"]).replace(tzinfo=AMSTERDAM)
        for row in delivery["rows"]:
            content = {name: value for name, value in row.items() if name != "mutatie"}
            mutation = Mutation(row.get("mutatie", "N"))
            key = creditor, row["signaal_id"]
            known = self.lives.get(key)
            outcome = changes.decide(
                mutation,
                known.state if known else None,
                same_content=known is not None and known.content == content,
                already_new=key in counted,
            )
            if outcome.code:
                self.refused.append([*key, outcome.code])
            if mutation is Mutation.NEW and not outcome.is_rejected:
                counted.add(key)
            if outcome in (Outcome.CHANGE, Outcome.WITHDRAW):
                assert known is not None
                touched.append((known.municipality, known.signal))
            if outcome is Outcome.WITHDRAW:
                self.lives[key] = replace(known, state=SignalState.WITHDRAWN)
            elif outcome in (Outcome.NEW, Outcome.CHANGE):
                life = self.judge(creditor, row, content, received_at, known)
                if outcome is Outcome.NEW:
                    touched += self.supersede(life)
                self.lives[key] = life
                touched.append((life.municipality, life.signal))
        return touched

    def judge(
        self,
        creditor: str,
        row: dict[str, Any],
        content: dict[str, Any],
        received_at: datetime,
        known: Life | None,
    ) -> Life:
        """Route and exclude an accepted row; a change keeps the first receipt."""
        code = municipality_of(
            addresses().get((row["postcode"], row["huisnummer"])),
            four_digits().get(row["postcode"][:4], ()),
            row.get("gemeentecode", ""),
        ).code
        assert code in self.policies
        levels = keys.levels(
            postcode=row["postcode"],
            number=row["huisnummer"],
            letter=row["huisletter"],
            addition=row["huisnummertoevoeging"],
            surname=row["achternaam"],
            born_on=day_or_none(row["geboortedatum"]),
        )
        signalled_on = changes.signalled_on(
            day_or_none(row["signaaldatum"]),
            replaced=known.signal.signalled_on if known else None,
            received_on=received_at.date(),
        )
        level = keys.grouping_level(self.policies[code].matching.key, levels)
        is_crisis = row.get("crisissignaal") == "J" or row["signaaltype"] == "EINDELEVERING"
        signal = ActiveSignal(
            ref=next(self._refs),
            creditor=creditor,
            sector=row["sector"],
            month=month_of(signalled_on),
            amount_cents=row["bedrag"],
            is_crisis=is_crisis,
            warm_handover=row["warme_overdracht"] == "J",
            group=(level, *getattr(levels, level)),
            address=levels.address_exact,
            contract=keys.contract(creditor, code, row["klantnummer"], row["sector"], row.get("product", "")),
            signalled_on=signalled_on,
            received_at=known.signal.received_at if known else received_at,
            since=date.fromisoformat(row["ontstaansdatum"])
            if row["ontstaansdatum"]
            else signalled_on - timedelta(days=row["dagen_achterstand"]),
            supply_ends_on=day_or_none(row.get("datum_einde_levering")),
        )
        excluded = exclusion.is_excluded(
            self._exclusions[code], levels, signalled_on=signalled_on, is_crisis=is_crisis
        )
        return Life(
            state=SignalState.EXCLUDED if excluded else SignalState.WAITING,
            content=content,
            claim=Claim(row["signaal_id"], signal.contract, row["signaaltype"], signal.address, signal.month),
            municipality=code,
            signal=signal,
        )

    def supersede(self, newer: Life) -> list[tuple[str, ActiveSignal]]:
        """End the signals that a new one replaces."""
        in_force = {
            life.claim: key
            for key, life in self.lives.items()
            if life.state not in changes.ENDED and life.claim.contract == newer.claim.contract
        }
        ended = [in_force[claim] for claim in changes.superseded(newer.claim, in_force)]
        for key in ended:
            self.lives[key] = replace(self.lives[key], state=SignalState.SUPERSEDED)
        return [(self.lives[key].municipality, self.lives[key].signal) for key in ended]

    def active(self) -> dict[str, dict[str, list[ActiveSignal]]]:
        """Municipality and month to the active signals."""
        found: dict[str, dict[str, list[ActiveSignal]]] = defaultdict(lambda: defaultdict(list))
        for life in self.lives.values():
            if life.state is SignalState.WAITING:
                found[life.municipality][life.signal.month].append(life.signal)
        return found

    def settle(self, touched: list[tuple[str, ActiveSignal]] | None) -> None:
        """Look again at the meldingen that `touched` can have changed; None: at all there are."""
        active = self.active()
        every = {
            (code, month, signal.group)
            for code in active
            for month in active[code]
            for signal in active[code][month]
        }
        due = every if touched is None else self.affected(touched, active)
        for key in due:
            code, month, place = key
            policy = self.policies[code].matching
            at_place = {
                each: [signal for signal in signals if signal.group == place]
                for each, signals in active[code].items()
            }
            if not at_place.get(month):
                self.meldingen.pop(key, None)
                continue
            earlier = {each: at_place.get(each, []) for each in rules.earlier_months(month, policy)}
            past = [s for each in rules.lookback(month, policy) for s in active[code].get(each, ())]
            self.meldingen[key] = rules.evaluate(
                month, at_place[month], earlier, rules.highest_amounts(past), policy
            )

    def affected(
        self, touched: list[tuple[str, ActiveSignal]], active: dict[str, dict[str, list[ActiveSignal]]]
    ) -> set[Key]:
        """What `affected_months` promises to be enough."""
        due: set[Key] = set()
        for code, changed in touched:
            due.add((code, changed.month, changed.group))
            for month in rules.affected_months(changed.month, self.policies[code].matching):
                due.add((code, month, changed.group))
                same = [s for s in active[code].get(month, ()) if s.contract == changed.contract]
                due |= {(code, month, signal.group) for signal in same}
        return due

    def outcome(self, *, descending_ids: bool = False) -> list[dict[str, Any]]:
        """The meldingen as the scenarios write them, with `ordered_by`: all that decides their rank but the id."""
        names = {life.signal.ref: list(key) for key, life in self.lives.items()}
        by_month: dict[tuple[str, str], dict[str, Key]] = defaultdict(dict)
        for number, key in enumerate(sorted(self.meldingen, key=str, reverse=descending_ids)):
            by_month[key[:2]][f"M{number:04}"] = key
        found = []
        for (code, month), ids in by_month.items():
            policy = self.policies[code]
            contents = {melding_id: self.meldingen[key] for melding_id, key in ids.items()}
            for melding_id, place in rank.places(contents, policy).items():
                melding = contents[melding_id]
                found.append(
                    {
                        "gemeentecode": code,
                        "maand": month,
                        "klasse": melding.klasse.value,
                        "matchregels": "+".join(melding.rules),
                        "aantal_signalen": melding.signal_count,
                        "aantal_partners": melding.creditor_count,
                        "aantal_sectoren": len(melding.sectors),
                        "totaalbedrag": melding.total_cents,
                        "opeenvolgend": yes_no(melding.consecutive),
                        "gaten_dichten": yes_no(melding.bridging),
                        "meerdere_adressen": yes_no(melding.several_addresses),
                        "signalen": sorted(names[ref] for ref in melding.refs),
                        "herhaald": sorted(names[ref] for ref in melding.repeated),
                        "rang": place.rank,
                        "voorstel_actie": place.action,
                        "ordered_by": (
                            rank.explain(melding, policy.order),
                            melding.first_signalled_on,
                            melding.first_received_at,
                        ),
                    }
                )
        return found

    def states(self) -> list[list[str]]:
        """Every signal with its state, as the scenarios write it."""
        words = {SignalState.WAITING: "active"}
        return sorted([*key, words.get(life.state, life.state.value)] for key, life in self.lives.items())


def day_or_none(text: str | None) -> date | None:
    """A date, or None for an empty or absent cell."""
    return date.fromisoformat(text) if text else None


def yes_no(value: bool) -> str:
    """The wire's yes and no."""
    return "J" if value else "N"


def after_each_delivery(world: World, deliveries: list[dict[str, Any]]) -> None:
    """A quiet month: every file is processed and its consequences drawn before the next comes."""
    for delivery in deliveries:
        world.settle(world.deliver(delivery))


def all_at_once(world: World, deliveries: list[dict[str, Any]]) -> None:
    """A backlog: every file is processed, then everything is evaluated."""
    for delivery in deliveries:
        world.deliver(delivery)
    world.settle(None)


def creditor_by_creditor(world: World, deliveries: list[dict[str, Any]]) -> None:
    """Workers that run ahead of each other: only one partner's own order is kept."""
    for delivery in sorted(deliveries, key=lambda each: each["creditor"]):
        world.settle(world.deliver(delivery))


def in_three_rounds(world: World, deliveries: list[dict[str, Any]]) -> None:
    """Interrupted twice: the consequences of several files are drawn together."""
    size = len(deliveries) // 3 + 1
    for start in range(0, len(deliveries), size):
        touched = [each for delivery in deliveries[start : start + size] for each in world.deliver(delivery)]
        world.settle(touched)


def identity(melding: dict[str, Any]) -> tuple[Any, ...]:
    """What tells meldingen of a scenario apart; they have no id there."""
    return melding["gemeentecode"], melding["maand"], tuple(map(tuple, melding["signalen"]))


def check_meldingen(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """All fields are equal; a rank and its action may be swapped within a tie."""
    found, expected = sorted(found, key=identity), sorted(expected, key=identity)
    free = ("rang", "voorstel_actie", "tie", "ordered_by")
    assert [strip(melding, free) for melding in found] == [strip(melding, free) for melding in expected]
    order = {(m["gemeentecode"], m["maand"], m["rang"]): m for m in expected}
    values = {identity(melding): melding["ordered_by"] for melding in found}
    for mine, wanted in zip(found, expected, strict=True):
        if mine["rang"] == wanted["rang"]:
            assert mine["voorstel_actie"] == wanted["voorstel_actie"]
            continue
        instead = order[mine["gemeentecode"], mine["maand"], mine["rang"]]
        assert wanted["tie"], wanted
        assert instead["tie"], instead
        assert values[identity(instead)] == mine["ordered_by"]
        assert instead["voorstel_actie"] == mine["voorstel_actie"]


def strip(melding: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The melding without some fields."""
    return {name: value for name, value in melding.items() if name not in names}


def test_there_are_scenarios() -> None:
    """The folder is not empty: no scenario would pass without being run."""
    assert len(SCENARIOS) >= 38


@pytest.mark.parametrize(
    "process",
    [after_each_delivery, all_at_once, creditor_by_creditor, in_three_rounds],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, process: Any) -> None:
    """However deliveries are grouped, a scenario ends in its meldingen, states and refused rows."""
    golden = json.loads(path.read_text("utf-8"))
    world = World(golden["scenario"])
    process(world, golden["scenario"]["deliveries"])
    check_meldingen(world.outcome(), golden["expected"]["meldingen"])
    check_meldingen(world.outcome(descending_ids=True), golden["expected"]["meldingen"])
    assert world.states() == sorted(golden["expected"]["signals"])
    assert sorted(world.refused) == sorted(golden["expected"]["refused"])
