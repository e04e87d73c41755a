"""Why a melding is what it is: what is told agrees with what was decided."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import shift_month
from gateway.domain.melding import ActiveSignal, Klasse, MeldingContent, Rule
from gateway.domain.policy import Actions, ConsecutiveBy, DistinctBy, Matching, Policy
from gateway.matching import rank, rules
from gateway.matching.explain import Ground, changed, explain_rank, explain_rules
from gateway.matching.publication import fingerprint

MONTH, BEFORE = "2026-11", "2026-10"
MONTHS = [shift_month(MONTH, -back) for back in range(4)]
CREDITORS = {"woonservice": "Huur", "dezorgkas": "Zorg", "stroomhuis": "Energie"}
Make = Callable[..., ActiveSignal]


def ground(
    rule: Rule, group: list[ActiveSignal], matching: Matching, **earlier: list[ActiveSignal]
) -> Ground:
    """What is told of one rule; earlier signals as `before`."""
    held = {BEFORE: earlier.get("before", [])}
    return {each.rule: each for each in explain_rules(MONTH, group, held, matching)}[rule]


# -- rules -----------------------------------------------------------------------------------------


@st.composite
def signals(draw: st.DrawFn) -> list[ActiveSignal]:
    """Signals of one household in four months, at least one of them in the last."""
    made = []
    for ref in range(draw(st.integers(1, 7))):
        creditor = draw(st.sampled_from(sorted(CREDITORS)))
        month = draw(st.sampled_from(MONTHS)) if ref else MONTH
        made.append(
            ActiveSignal(
                ref=ref,
                creditor=creditor,
                sector=CREDITORS[creditor],
                month=month,
                amount_cents=draw(st.integers(1, 300)) * 100,
                is_crisis=draw(st.integers(0, 5)) == 0,
                warm_handover=False,
                group="here",
                address="here",
                contract=creditor,
                signalled_on=date.fromisoformat(f"{month}-03"),
                received_at=datetime(2026, 11, 3, 9, tzinfo=UTC) + timedelta(minutes=ref),
                since=date(2026, 8, 15),
            )
        )
    return made


MATCHINGS = st.builds(
    Matching,
    distinct_by=st.sampled_from(DistinctBy),
    min_distinct=st.integers(1, 3),
    consecutive_months=st.sampled_from([0, 2, 3]),
    consecutive_by=st.sampled_from(ConsecutiveBy),
    bridging=st.booleans(),
    always_sectors=st.sampled_from([(), ("Huur",)]),
    always_crisis=st.booleans(),
    min_amount_cents=st.sampled_from([{}, {"Zorg": 15_000, "Huur": 10_000}]),
)


@given(signals(), MATCHINGS)
def test_what_is_explained_is_what_was_decided(made: list[ActiveSignal], matching: Matching) -> None:
    """The rules that are told to hold are `matchregels`; what they compare is enough to see why, or why not."""
    by_month = {month: [signal for signal in made if signal.month == month] for month in MONTHS}
    group = by_month.pop(MONTH)
    told = explain_rules(MONTH, group, by_month, matching)
    content = rules.evaluate(MONTH, group, by_month, {}, matching)
    assert [each.rule for each in told] == list(Rule)
    assert tuple(each.rule for each in told if each.holds) == content.rules
    assert all(each.is_asked for each in told if each.holds)
    assert {signal.ref for each in told for signal in each.signals} <= {signal.ref for signal in made}

    of = {each.rule: each for each in told}
    assert of[Rule.MULTIPLE].holds == (len(of[Rule.MULTIPLE].seen[MONTH]) >= matching.min_distinct)
    assert of[Rule.ALWAYS].holds == bool({*matching.always_sectors} & {*of[Rule.ALWAYS].seen[MONTH]})
    then, now = (set(of[Rule.BRIDGING].seen[month]) for month in (BEFORE, MONTH))
    assert content.bridging == bool(then - now and now - then)
    consecutive = of[Rule.CONSECUTIVE_MONTHS]
    assert list(consecutive.seen) == sorted(MONTHS[: matching.consecutive_months])
    if consecutive.is_asked:
        kinds = [set(each) for each in consecutive.seen.values()]
        assert (
            consecutive.holds
            == {
                ConsecutiveBy.ANY: all(kinds),
                ConsecutiveBy.SAME_CREDITOR: bool(set.intersection(*kinds)),
                ConsecutiveBy.DIFFERENT_SECTOR: all(kinds) and len(set.union(*kinds)) >= 2,
            }[matching.consecutive_by]
        )


def test_a_signal_below_the_least_amount_is_no_ground(signal: Make) -> None:
    """It is seen by no rule but CRISIS."""
    low = signal(creditor="dezorgkas", sector="Zorg", amount_cents=9_900, is_crisis=True)
    matching = Matching(min_amount_cents={"Zorg": 10_000})
    multiple = ground(Rule.MULTIPLE, [signal(), low], matching)
    assert (multiple.holds, multiple.seen) == (False, {MONTH: ("woonservice",)})
    assert ground(Rule.CRISIS, [signal(), low], matching).signals == (low,)


def test_a_rule_names_the_months_and_their_signals(signal: Make) -> None:
    """Oldest month first; a rule that is off says so, and what it would have seen where it has no months of its own."""
    old, new = signal(BEFORE), signal()
    matching = Matching(consecutive_months=2)
    found = ground(Rule.CONSECUTIVE_MONTHS, [new, signal(creditor="wmd")], matching, before=[old])
    assert found.signals == (old, new)
    assert found.seen == {BEFORE: ("woonservice",), MONTH: ("wmd", "woonservice")}
    off = ground(Rule.BRIDGING, [new], matching, before=[old])
    assert (off.is_asked, off.holds, list(off.seen)) == (False, False, [BEFORE, MONTH])


# -- rank ------------------------------------------------------------------------------------------


@st.composite
def months(draw: st.DrawFn) -> dict[str, MeldingContent]:
    """The meldingen of a month, few values so that many are equal."""
    return {
        f"M{at}": MeldingContent(
            klasse=draw(st.sampled_from([Klasse.MATCH, Klasse.MATCH, Klasse.SINGLE])),
            rules=draw(st.sampled_from([(Rule.MULTIPLE,), (Rule.CRISIS,)])),
            refs=(at,),
            creditor_count=draw(st.integers(1, 4)),
            total_cents=draw(st.sampled_from([20_000, 60_000, 90_000])),
            consecutive=draw(st.booleans()),
            bridging=False,
            several_addresses=False,
            repeated=frozenset(),
            sectors=("Huur",),
            first_signalled_on=date(2026, 11, draw(st.integers(3, 4))),
            first_received_at=datetime(2026, 11, 5, draw(st.integers(8, 9)), tzinfo=UTC),
            oldest_since=date(2026, 8, 15),
            warm_handover=False,
            supply_ends_on=None,
        )
        for at in range(draw(st.integers(1, 8)))
    }


@given(months(), st.integers(0, 4), st.booleans())
def test_a_rank_is_explained_as_it_was_given(
    meldingen: dict[str, MeldingContent], capacity: int, fill: bool
) -> None:
    """Rank and visit are those of the worklist; the name that decided is the first in which both differ."""
    actions = Actions(visit_capacity=capacity, visit_fill=fill)
    policy = Policy(code="GM1731", actions=actions)
    for melding_id, place in rank.places(meldingen, policy).items():
        told = explain_rank(meldingen, melding_id, policy)
        assert (told is None) == (place.rank is None)
        if told is None:
            continue
        assert (told.own.id, told.own.rank, told.own.decided_by) == (melding_id, place.rank, "")
        assert told.is_visited == (place.action == actions.visit)
        assert (told.place is not None) == (meldingen[melding_id].total_cents > actions.visit_over_cents)
        if not fill:
            assert told.is_visited == (told.place is not None and told.place <= capacity)
        assert (told.above is None) == (place.rank == 1)
        assert (told.below is None) == (place.rank == told.matches)
        for higher, lower, beside in (
            (told.above, told.own, told.above),
            (told.own, told.below, told.below),
        ):
            if higher is None or lower is None or beside is None:
                continue
            different = [name for name in policy.order if higher.values[name] != lower.values[name]]
            assert beside.decided_by == next(iter(different), beside.decided_by)
            if different:
                assert higher.values[different[0]] > lower.values[different[0]]
            else:
                assert beside.decided_by in rank.TIES


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"total_cents": 70_000}, "total"),
        ({"creditor_count": 5}, "many_creditors:2"),
        ({"first_signalled_on": date(2026, 11, 1)}, "signaaldatum"),
        ({"first_received_at": datetime(2026, 11, 1, tzinfo=UTC)}, "ontvangst"),
        ({}, "melding_id"),
    ],
)
def test_what_decided(melding: Callable[..., MeldingContent], other: dict[str, Any], name: str) -> None:
    """The names of the policy in turn, then the earliest signaaldatum, the earliest receipt, the id."""
    month = {"M1": melding(), "M2": melding(**other)}
    told = explain_rank(month, "M1", Policy(code="GM1731"))
    assert told
    (beside,) = filter(None, (told.above, told.below))
    assert (beside.id, beside.decided_by) == ("M2", name)


def test_a_place_that_is_left(melding: Callable[..., MeldingContent]) -> None:
    """With `visit_fill` a match is visited without being over; it has no number among those that are."""
    actions = Actions(visit_capacity=2, visit_fill=True)
    month = {"M1": melding(), "M2": melding(total_cents=100)}
    told = explain_rank(month, "M2", Policy(code="GM1731", actions=actions))
    assert told
    assert (told.place, told.is_visited) == (None, True)


# -- what changed ----------------------------------------------------------------------------------

_CHANGES: dict[str, Any] = {
    "klasse": Klasse.SINGLE,
    "rules": (Rule.CRISIS,),
    "refs": (1, 3),
    "creditor_count": 3,
    "total_cents": 1,
    "consecutive": True,
    "bridging": True,
    "several_addresses": True,
    "repeated": frozenset({1}),
    "sectors": ("Huur",),
    "first_signalled_on": date(2026, 11, 1),
    "first_received_at": datetime(2026, 11, 1, tzinfo=UTC),
    "oldest_since": date(2026, 1, 1),
    "warm_handover": True,
    "supply_ends_on": date(2026, 12, 1),
}


@pytest.mark.parametrize("name", _CHANGES)
def test_what_changed_is_why_it_is_published_again(melding: Callable[..., MeldingContent], name: str) -> None:
    """A field is told to have changed exactly when its change is published."""
    before, now = melding(), melding(**{name: _CHANGES[name]})
    assert changed(before, now) == ((name,) if fingerprint(before) != fingerprint(now) else ())
