"""A month under two policies, side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.domain.melding import Klasse, MeldingContent, Rule
from gateway.domain.policy import Actions, Grouping, Matching, Policy
from gateway.matching.compare import compare, differences, month_under, name_groups

Make = Callable[..., MeldingContent]
POLICY = Policy(code="GM1731")


def test_groups_are_named_by_the_meldingen_they_are_in() -> None:
    """The id itself, several joined, parts of the same numbered."""
    of = {1: "M1", 2: "M1", 3: "M2", 4: "M3"}
    assert name_groups([[1], [2], [3, 4]], of) == ["M1", "M1/2", "M2+M3"]


def test_the_same_policy_changes_nothing(melding: Make) -> None:
    """Each melding is itself, with nothing to tell."""
    month = month_under(POLICY, {"M1": melding(), "M2": melding(refs=(3,), klasse=Klasse.SINGLE, rules=())})
    found = compare(month, month)
    assert (found.changed, found.merged, found.split) == ([], 0, 0)
    assert [fate.before for fate in found.fates] == [("M1",), ("M2",)]


def test_counts(melding: Make) -> None:
    """Classes, rules, what is in matches, places that are taken."""
    month = {
        "M1": melding(rules=(Rule.MULTIPLE, Rule.CRISIS)),
        "M2": melding(refs=(3, 4, 5), total_cents=40_000),
        "M3": melding(refs=(6,), klasse=Klasse.SINGLE, rules=(), total_cents=10_000),
    }
    counts = month_under(POLICY, month).counts
    assert (counts.meldingen, counts.signals, counts.signals_in_matches) == (3, 6, 5)
    assert (counts.total_cents, counts.total_in_matches_cents) == (130_000, 120_000)
    assert (counts.klassen[Klasse.MATCH], counts.klassen[Klasse.SINGLE]) == (2, 1)
    assert (counts.rules[Rule.MULTIPLE], counts.rules[Rule.CRISIS], counts.rules[Rule.ALWAYS]) == (2, 1, 0)
    assert (counts.visits, counts.actions) == (1, {"Huisbezoek": 1, "Brief": 2})


def test_merged_and_parted(melding: Make) -> None:
    """By another key one melding is parted and two become one; each is told, also the part that keeps the id."""
    own = month_under(POLICY, {"M1": melding(), "M2": melding(refs=(3,)), "M3": melding(refs=(4,))})
    other = month_under(
        POLICY, {"M1": melding(refs=(1,)), "M1/2": melding(refs=(2,)), "M2+M3": melding(refs=(3, 4))}
    )
    found = compare(own, other)
    assert (found.merged, found.split) == (1, 1)
    assert {fate.name: fate.before for fate in found.changed} == {
        "M1": ("M1",),
        "M1/2": ("M1",),
        "M2+M3": ("M2", "M3"),
    }


def test_another_action_is_a_change(melding: Make) -> None:
    """Same klasse, fewer places: whoever gets no visit any more is told, and nobody else."""
    meldingen = {"M1": melding(), "M2": melding(refs=(3,))}
    scarce = replace(POLICY, actions=Actions(visit_capacity=1))
    found = compare(month_under(POLICY, meldingen), month_under(scarce, meldingen))
    assert [fate.name for fate in found.changed] == ["M2"]


def test_differences_are_named_as_in_the_file() -> None:
    """Table and key, what is in force first; what does not match, rank or propose is left out."""
    other = Policy(
        code="GM1731",
        matching=Matching(key=Grouping.PERSON, min_amount_cents={"Zorg": 100}),
        actions=Actions(visit_over_cents=80_000),
        order=("total",),
        signals_months=3,
    )
    assert differences(POLICY, POLICY) == {}
    assert differences(POLICY, other) == {
        "matching.key": (Grouping.ADDRESS, Grouping.PERSON),
        "matching.min_amount": ({}, {"Zorg": 100}),
        "actions.visit_over": (50_000, 80_000),
        "ranking.order": (POLICY.order, ("total",)),
    }
