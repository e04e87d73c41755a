"""Which rules hold, and what a melding counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import shift_month
from gateway.domain.melding import ActiveSignal, Klasse, MeldingContent, Rule
from gateway.domain.policy import ConsecutiveBy, DistinctBy, Grouping, Matching
from gateway.matching import rules

Make = Callable[..., ActiveSignal]
MONTH = "2026-11"


def evaluate(
    *group: ActiveSignal,
    earlier: tuple[ActiveSignal, ...] = (),
    repeats: dict[Any, int] | None = None,
    **matching: Any,
) -> MeldingContent:
    """The melding of November, with signals of earlier months."""
    months: dict[str, list[ActiveSignal]] = {}
    for past in earlier:
        months.setdefault(past.month, []).append(past)
    return rules.evaluate(MONTH, group, months, repeats or {}, Matching(**matching))


def test_one_signal_is_single(signal: Make) -> None:
    """One creditor is no match; two signals of one creditor neither."""
    assert evaluate(signal()).klasse is Klasse.SINGLE
    assert evaluate(signal(), signal(contract="other")).rules == ()


def test_two_creditors_are_a_match(signal: Make) -> None:
    """RIS: signals of two creditors at one key in one month."""
    melding = evaluate(signal(), signal(creditor="wmd", sector="Water"))
    assert (melding.klasse, melding.rules) == (Klasse.MATCH, (Rule.MULTIPLE,))


def test_distinct_by_sector(signal: Make) -> None:
    """VPS: two insurers are one kind of supplier."""
    group = signal(sector="Zorg"), signal(sector="Zorg", creditor="dezorgkas")
    assert evaluate(*group, distinct_by=DistinctBy.SECTOR).rules == ()
    assert evaluate(*group, signal(), distinct_by=DistinctBy.SECTOR).rules == (Rule.MULTIPLE,)


def test_min_distinct(signal: Make) -> None:
    """`min_distinct` is the number that is enough."""
    group = signal(), signal(creditor="wmd"), signal(creditor="dezorgkas")
    assert evaluate(*group, min_distinct=3).rules == (Rule.MULTIPLE,)
    assert evaluate(*group, min_distinct=4).rules == ()


def test_the_minimum_counts_for_rules_only(signal: Make) -> None:
    """A cent below the minimum takes no part in a rule but is in every count."""
    low = signal(creditor="wmd", sector="Water", amount_cents=9_999)
    enough = signal(creditor="wmd", sector="Water", amount_cents=10_000)
    least = {"Water": 10_000}
    assert evaluate(signal(), enough, min_amount_cents=least).rules == (Rule.MULTIPLE,)
    melding = evaluate(signal(), low, min_amount_cents=least)
    assert melding.rules == ()
    assert (melding.signal_count, melding.creditor_count, melding.total_cents) == (2, 2, 69_999)
    assert melding.sectors == ("Huur", "Water")


class TestConsecutiveMonths:
    """OPEENVOLGENDE_MAANDEN."""

    def test_same_creditor(self, signal: Make) -> None:
        """One creditor in every month; two creditors that take turns are not."""
        past = signal("2026-10")
        assert evaluate(signal(), earlier=(past,), consecutive_months=2).rules == (Rule.CONSECUTIVE_MONTHS,)
        other = signal("2026-10", creditor="wmd")
        assert evaluate(signal(), earlier=(other,), consecutive_months=2).rules == ()

    def test_switched_off(self, signal: Make) -> None:
        """Nought months switches the rule off."""
        assert evaluate(signal(), earlier=(signal("2026-10"),)).rules == ()

    def test_a_gap_breaks_it(self, signal: Make) -> None:
        """Every month counts, also over the turn of the year."""
        earlier = signal("2025-12"), signal("2026-01")
        months = {each.month: [each] for each in earlier}
        matching = Matching(consecutive_months=3)
        group = [signal("2026-02")]
        assert rules.evaluate("2026-02", group, months, {}, matching).rules == (Rule.CONSECUTIVE_MONTHS,)
        del months["2026-01"]
        assert rules.evaluate("2026-02", group, months, {}, matching).rules == ()

    def test_different_sector(self, signal: Make) -> None:
        """VPS: no month is empty and together they hold two sectors."""
        policy = {"consecutive_months": 2, "consecutive_by": ConsecutiveBy.DIFFERENT_SECTOR}
        assert evaluate(signal(), earlier=(signal("2026-10"),), **policy).rules == ()
        water = signal("2026-10", sector="Water", creditor="wmd")
        assert evaluate(signal(), earlier=(water,), **policy).rules == (Rule.CONSECUTIVE_MONTHS,)
        assert evaluate(signal(), signal(sector="Water"), **policy).rules == ()

    def test_any(self, signal: Make) -> None:
        """No month is empty."""
        policy = {"consecutive_months": 2, "consecutive_by": ConsecutiveBy.ANY}
        other = signal("2026-10", creditor="wmd")
        assert evaluate(signal(), earlier=(other,), **policy).rules == (Rule.CONSECUTIVE_MONTHS,)
        assert evaluate(signal(), earlier=(signal("2026-09"),), **policy).rules == ()

    def test_the_minimum_holds_in_each_month(self, signal: Make) -> None:
        """G(k) too holds only what reaches the minimum."""
        low = signal("2026-10", amount_cents=100)
        policy = {"consecutive_months": 2, "min_amount_cents": {"Huur": 200}}
        assert evaluate(signal(), earlier=(low,), **policy).rules == ()


class TestBridging:
    """GATEN_DICHTEN."""

    def test_one_stops_another_begins(self, signal: Make) -> None:
        """The insurer is gone and the landlord came; the flag says so without the rule."""
        past = signal("2026-10", creditor="dezorgkas", sector="Zorg")
        melding = evaluate(signal(), earlier=(past,), bridging=True)
        assert (melding.rules, melding.bridging) == ((Rule.BRIDGING,), True)
        melding = evaluate(signal(), earlier=(past,))
        assert (melding.rules, melding.bridging) == ((), True)

    def test_the_old_one_is_still_there(self, signal: Make) -> None:
        """Somebody must have stopped and somebody must have begun."""
        past = signal("2026-10", creditor="dezorgkas")
        assert not evaluate(signal(), signal(creditor="dezorgkas"), earlier=(past,)).bridging
        assert not evaluate(signal(), earlier=(past, signal("2026-10"))).bridging

    def test_only_the_month_before(self, signal: Make) -> None:
        """A month in between is no gap that is bridged; nor is an empty month before."""
        assert not evaluate(signal(), earlier=(signal("2026-09", creditor="wmd"),)).bridging
        assert not evaluate(signal()).bridging

    def test_the_minimum_counts(self, signal: Make) -> None:
        """The flag too looks at G."""
        past = signal("2026-10", creditor="wmd", sector="Water", amount_cents=100)
        assert not evaluate(signal(), earlier=(past,), min_amount_cents={"Water": 200}).bridging


def test_always(signal: Make) -> None:
    """A corporation's signal that reaches the minimum is always a match."""
    assert evaluate(signal(), always_sectors=("Huur",)).rules == (Rule.ALWAYS,)
    assert evaluate(signal(sector="Zorg"), always_sectors=("Huur",)).rules == ()
    assert evaluate(signal(), always_sectors=("Huur",), min_amount_cents={"Huur": 70_000}).rules == ()


def test_crisis(signal: Make) -> None:
    """A crisis signal of any amount is a match, unless the policy says no."""
    crisis = signal(is_crisis=True, amount_cents=1)
    assert evaluate(crisis, min_amount_cents={"Huur": 100}).rules == (Rule.CRISIS,)
    assert evaluate(crisis, always_crisis=False).klasse is Klasse.SINGLE


def test_rules_in_their_order(signal: Make) -> None:
    """`matchregels` names all that hold, in the order of the table."""
    past = signal("2026-10"), signal("2026-10", creditor="dezorgkas")
    group = signal(is_crisis=True), signal(creditor="wmd", sector="Water")
    melding = evaluate(*group, earlier=past, consecutive_months=2, bridging=True, always_sectors=("Huur",))
    assert melding.rules == tuple(Rule)


def test_consecutive_flag(signal: Make) -> None:
    """`opeenvolgend` sees any amount of any creditor in the look-back months, and no month outside them."""
    oldest = signal("2026-05", creditor="wmd", amount_cents=1)
    assert evaluate(signal(), earlier=(oldest,), min_amount_cents={"Huur": 100}).consecutive
    assert not evaluate(signal(), earlier=(signal("2026-04"),)).consecutive
    assert not evaluate(signal(), earlier=(signal("2026-09"),), lookback_months=1).consecutive
    assert not evaluate(signal(), earlier=(signal("2026-12"),)).consecutive
    assert not evaluate(signal()).consecutive


def test_several_addresses(signal: Make) -> None:
    """`meerdere_adressen` is for A1 only."""
    group = signal(), signal(address="next door")
    assert evaluate(*group).several_addresses
    assert not evaluate(*group, key=Grouping.PERSON).several_addresses
    assert not evaluate(signal(), signal()).several_addresses


def test_repeated(signal: Make) -> None:
    """`herhaald` when the same contract had an amount not lower in the look-back months."""
    known = rules.highest_amounts([signal("2026-09", amount_cents=500), signal("2026-10", amount_cents=600)])
    same, higher, other = (
        signal(amount_cents=600),
        signal(amount_cents=601),
        signal(amount_cents=1, contract="other"),
    )
    assert evaluate(same, higher, other, repeats=known).repeated == {same.ref}


def test_what_rank_and_deadline_need(signal: Make) -> None:
    """The earliest dates of all signals, whether one was handed over warmly, the earliest end of supply."""
    early, late = date(2026, 11, 1), date(2026, 11, 9)
    at = datetime(2026, 11, 2, tzinfo=UTC)
    melding = evaluate(
        signal(signalled_on=late, since=date(2026, 6, 1), supply_ends_on=late),
        signal(signalled_on=early, received_at=at, supply_ends_on=date(2026, 12, 9)),
        signal(warm_handover=True),
    )
    assert melding.first_signalled_on == early
    assert melding.first_received_at == at
    assert melding.oldest_since == date(2026, 6, 1)
    assert melding.supply_ends_on == late
    assert melding.warm_handover
    assert not evaluate(signal()).warm_handover
    assert evaluate(signal()).supply_ends_on is None


def test_an_emptied_melding_has_no_content() -> None:
    """Without signals there is nothing to say."""
    with pytest.raises(ValueError, match="without signals"):
        evaluate()


def test_grounds_name_the_signals(signal: Make) -> None:
    """A rule is explained by the signals on which it holds, of this month and earlier ones."""
    gone, stays = signal("2026-10", creditor="dezorgkas"), signal("2026-10")
    group = signal(), signal(creditor="wmd")
    matching = Matching(consecutive_months=2, bridging=True)
    found = rules.grounds(MONTH, group, {"2026-10": [gone, stays]}, matching)
    assert found[Rule.MULTIPLE] == group
    assert found[Rule.CONSECUTIVE_MONTHS] == [group[0], stays]
    assert found[Rule.BRIDGING] == [gone, group[1]]
    assert not found[Rule.CRISIS]
    assert Rule.ALWAYS not in found


def test_months() -> None:
    """The months a melding depends on and the months it affects mirror each other."""
    matching = Matching(lookback_months=2, consecutive_months=4)
    assert rules.lookback("2026-01", matching) == ("2025-12", "2025-11")
    assert rules.earlier_months("2026-01", matching) == ("2025-12", "2025-11", "2025-10")
    assert rules.affected_months("2026-11", matching) == ("2026-12", "2027-01", "2027-02")
    assert rules.affected_months("2026-11", Matching(lookback_months=0)) == ("2026-12",)


MONTHS = [shift_month(MONTH, -back) for back in range(8)]
A_SIGNAL = st.fixed_dictionaries(
    {
        "month": st.sampled_from(MONTHS),
        "creditor": st.sampled_from(["woonservice", "wmd", "dezorgkas"]),
        "sector": st.sampled_from(["Huur", "Water", "Zorg"]),
        "amount_cents": st.integers(1, 400),
        "is_crisis": st.booleans(),
        "address": st.sampled_from(["door", "other door"]),
        "contract": st.sampled_from(["one", "two"]),
    }
)
A_POLICY = st.builds(
    Matching,
    key=st.sampled_from(Grouping),
    distinct_by=st.sampled_from(DistinctBy),
    min_distinct=st.integers(1, 3),
    consecutive_months=st.sampled_from([0, 2, 3, 6]),
    consecutive_by=st.sampled_from(ConsecutiveBy),
    bridging=st.booleans(),
    always_sectors=st.sampled_from([(), ("Huur",), ("Zorg", "Water")]),
    always_crisis=st.booleans(),
    lookback_months=st.integers(0, 7),
    min_amount_cents=st.dictionaries(st.sampled_from(["Huur", "Water"]), st.integers(0, 400)),
)


def build(drawn: list[dict[str, Any]]) -> list[ActiveSignal]:
    """Signals with days of their own."""
    return [
        ActiveSignal(
            **values,
            ref=ref,
            warm_handover=False,
            group="here",
            signalled_on=date(2026, 11, 1 + ref),
            received_at=datetime(2026, 11, 1 + ref, tzinfo=UTC),
            since=date(2026, 8, 1 + ref),
        )
        for ref, values in enumerate(drawn)
    ]


def of_november(signals: list[ActiveSignal], matching: Matching) -> MeldingContent | None:
    """The melding that these signals of one key make."""
    months: dict[str, list[ActiveSignal]] = {}
    for each in signals:
        months.setdefault(each.month, []).append(each)
    past = [each for month in rules.lookback(MONTH, matching) for each in months.get(month, ())]
    if MONTH not in months:
        return None
    return rules.evaluate(MONTH, months[MONTH], months, rules.highest_amounts(past), matching)


@given(st.data(), st.lists(A_SIGNAL, max_size=8), A_POLICY)
def test_order_makes_no_difference(
    data: st.DataObject, drawn: list[dict[str, Any]], matching: Matching
) -> None:
    """However signals arrive, the melding is the same."""
    signals = build(drawn)
    shuffled = data.draw(st.permutations(signals))
    assert of_november(signals, matching) == of_november(shuffled, matching)


@given(st.lists(A_SIGNAL, min_size=1, max_size=6), A_POLICY, st.sampled_from(MONTHS[1:]))
def test_only_affected_months_change(drawn: list[dict[str, Any]], matching: Matching, month: str) -> None:
    """A signal of a month that does not affect November can come and go without changing November's melding."""
    signals = build(drawn)
    if MONTH not in rules.affected_months(month, matching):
        without = [each for each in signals if each.month != month]
        assert of_november(signals, matching) == of_november(without, matching)
