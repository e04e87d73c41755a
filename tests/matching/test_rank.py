"""In what order matches come, and what is proposed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.melding import Klasse, MeldingContent, Rule
from gateway.domain.policy import Actions, Policy
from gateway.matching import rank
from gateway.matching.rank import Place

Make = Callable[..., MeldingContent]


def ranked(*meldingen: MeldingContent, order: tuple[str, ...] = (), **actions: Any) -> list[int]:
    """The positions of the meldingen, given in reverse order of their ids, from first to last rank."""
    ids = {f"M{99 - at}": melding for at, melding in enumerate(meldingen)}
    placed = rank.places(ids, Policy(code="GM1731", order=order, actions=Actions(**actions)))
    names = list(ids)
    return sorted(range(len(names)), key=lambda at: placed[names[at]].rank or 0)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("crisis", {"rules": (Rule.CRISIS,)}, {}),
        ("total_over:500", {"total_cents": 50_001}, {"total_cents": 50_000}),
        ("many_creditors:2", {"creditor_count": 3}, {"creditor_count": 2}),
        ("creditors", {"creditor_count": 4}, {"creditor_count": 3}),
        ("sectors", {"sectors": ("Huur", "Water", "Zorg")}, {"sectors": ("Huur", "Zorg")}),
        ("total", {"total_cents": 2}, {"total_cents": 1}),
        (
            "total_if_many_creditors:2",
            {"creditor_count": 3, "total_cents": 100},
            {"creditor_count": 2, "total_cents": 999},
        ),
        ("multiple", {"rules": (Rule.MULTIPLE,)}, {"rules": (Rule.CONSECUTIVE_MONTHS,)}),
        ("consecutive", {"consecutive": True}, {}),
        ("bridging", {"bridging": True}, {}),
        ("oldest", {"oldest_since": date(2026, 7, 1)}, {"oldest_since": date(2026, 7, 2)}),
        ("warm_handover", {"warm_handover": True}, {}),
        ("sector:Zorg,Huur", {"sectors": ("Water", "Zorg")}, {"sectors": ("Huur",)}),
        ("sector: Zorg, Huur", {"sectors": ("Huur",)}, {"sectors": ("Energie", "Water")}),
    ],
)
def test_each_name(melding: Make, name: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Each name puts one before the other, against the order of their ids, and alone decides."""
    assert ranked(melding(**second), melding(**first), order=(name,)) == [1, 0]
    assert ranked(melding(**first), melding(**second), order=(name,)) == [0, 1]


def test_equal_above_the_limit(melding: Make) -> None:
    """`total_over` and `many_creditors` ask only whether, not how much."""
    poor, rich = melding(total_cents=60_000, creditor_count=3), melding(total_cents=90_000, creditor_count=5)
    assert ranked(poor, rich, order=("total_over:500", "many_creditors:2")) == [1, 0]
    assert ranked(rich, poor, order=("total_over:500", "many_creditors:2")) == [1, 0]


def test_names_in_turn(melding: Make) -> None:
    """A later name decides only where the earlier ones are equal."""
    two = melding(creditor_count=2, total_cents=90_000)
    three = melding(creditor_count=3, total_cents=10_000)
    assert ranked(two, three, order=("creditors", "total")) == [1, 0]
    assert ranked(two, three, order=("total", "creditors")) == [0, 1]


def test_ties(melding: Make) -> None:
    """Then the earliest signaaldatum, the earliest receipt and the melding_id decide."""
    plain = melding()
    early = melding(first_signalled_on=date(2026, 11, 2))
    received = melding(first_received_at=datetime(2026, 11, 3, 8, tzinfo=UTC))
    assert ranked(plain, received, early, order=("total",)) == [2, 1, 0]
    assert ranked(plain, plain, order=("total",)) == [1, 0]


def test_single_has_no_rank(melding: Make) -> None:
    """An ENKELVOUDIG melding has the action for singles, and takes no rank from a match."""
    policy = Policy(code="GM1731", actions=Actions(single="Kaartje"))
    single = melding(klasse=Klasse.SINGLE, rules=(), total_cents=9_000_000)
    placed = rank.places({"M1": single, "M2": melding()}, policy)
    assert placed == {"M1": Place(None, "Kaartje"), "M2": Place(1, "Huisbezoek")}


def actions_of(totals: list[int], make: Make, **actions: Any) -> list[str]:
    """The proposed actions of matches, ranked by creditors in the order given."""
    meldingen = {f"M{at}": make(total_cents=total, creditor_count=99 - at) for at, total in enumerate(totals)}
    policy = Policy(code="GM1731", order=("creditors",), actions=Actions(**actions))
    placed = rank.places(meldingen, policy)
    return [placed[key].action for key in meldingen]


def test_capacity(melding: Make) -> None:
    """The first matches over the amount get a visit, in rank order, until the places are gone."""
    actions = actions_of([100, 50_001, 50_000, 60_000, 70_000], melding, visit_capacity=2)
    assert actions == ["Brief", "Huisbezoek", "Brief", "Huisbezoek", "Brief"]


def test_fill(melding: Make) -> None:
    """With `visit_fill` the places left go to the next matches, whatever their total."""
    policy = {"visit_capacity": 3, "visit_fill": True}
    assert actions_of([100, 60_000, 100, 100], melding, **policy) == [*["Huisbezoek"] * 3, "Brief"]
    assert actions_of([100, 60_000, 60_000, 60_000], melding, **policy) == ["Brief", *["Huisbezoek"] * 3]
    assert actions_of([60_000], melding, visit_capacity=0, visit_fill=True) == ["Brief"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "Crisis",
            "crisis:1",
            "total:5",
            "total_over",
            "total_over:",
            "total_over:-5",
            "total_over:5.5",
        ),
        *("total_over:x", "many_creditors:\u0662", "sector", "sector:", "sector:Huur,", "amount"),
    ],
)
def test_bad_names(name: str) -> None:
    """A name that means nothing is refused with the name in the text."""
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        rank.check_order(name)


def test_default_order_is_valid() -> None:
    """The names of the default order, and of a sector list, mean something."""
    for name in (*Policy(code="GM1731").order, "sector:Huur,Zorg"):
        assert rank.check_order(name) == name


def test_explain(melding: Make) -> None:
    """Each name of the order with the melding's value."""
    values = rank.explain(melding(oldest_since=date(1, 1, 1)), ("multiple", "total", "crisis", "oldest"))
    assert values == (("multiple", 1), ("total", 80_000), ("crisis", 0), ("oldest", -1))


NAMES = [
    *("crisis", "total_over:500", "many_creditors:2", "creditors", "sectors", "total", "oldest"),
    *(
        "total_if_many_creditors:2",
        "multiple",
        "consecutive",
        "bridging",
        "warm_handover",
        "sector:Zorg,Huur",
    ),
]
BASE: dict[str, Any] = {
    "refs": (1,),
    "bridging": False,
    "several_addresses": False,
    "repeated": frozenset(),
    "first_received_at": datetime(2026, 11, 3, 9, tzinfo=UTC),
    "oldest_since": date(2026, 8, 15),
    "warm_handover": False,
    "supply_ends_on": None,
}
CHANGES = st.fixed_dictionaries(
    {
        "klasse": st.sampled_from([Klasse.MATCH, Klasse.SINGLE]),
        "rules": st.sampled_from([(Rule.MULTIPLE,), (Rule.CRISIS,), (Rule.MULTIPLE, Rule.CRISIS)]),
        "creditor_count": st.integers(1, 4),
        "total_cents": st.sampled_from([49_999, 50_000, 50_001, 90_000]),
        "consecutive": st.booleans(),
        "sectors": st.sampled_from([("Huur",), ("Zorg",), ("Energie", "Huur")]),
        "first_signalled_on": st.sampled_from([date(2026, 11, 1), date(2026, 11, 2)]),
    }
)


@given(
    st.data(),
    st.lists(CHANGES, max_size=8),
    st.lists(st.sampled_from(NAMES), max_size=5, unique=True).map(tuple),
    st.integers(0, 4),
    st.booleans(),
)
def test_ranks_are_a_total_order(
    data: st.DataObject, drawn: list[dict[str, Any]], order: tuple[str, ...], capacity: int, fill: bool
) -> None:
    """Ranks are 1 to n, independent of the order given; visits never exceed the capacity."""
    meldingen = {f"M{at}": MeldingContent(**(BASE | values)) for at, values in enumerate(drawn)}
    shuffled = dict(data.draw(st.permutations(list(meldingen.items()))))
    policy = Policy(
        code="GM1731", order=order, actions=Actions(visit_capacity=capacity, visit_fill=fill, visit="visit")
    )
    placed = rank.places(meldingen, policy)
    assert rank.places(shuffled, policy) == placed
    ranks = sorted(place.rank for place in placed.values() if place.rank)
    assert ranks == list(range(1, sum(each.klasse is Klasse.MATCH for each in meldingen.values()) + 1))
    visits = sum(place.action == "visit" for place in placed.values())
    assert visits <= capacity
    assert not fill or visits == min(capacity, len(ranks))
