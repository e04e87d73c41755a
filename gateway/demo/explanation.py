"""One melding explained: which rule holds on which signals, and how its rank came about.

It is the administrator's view: ids, codes, amounts and dates, no name and no address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.clock import local_day
from gateway.domain.melding import ActiveSignal, Klasse, MeldingContent, Rule
from gateway.domain.policy import Policy
from gateway.gateway import Gateway
from gateway.matching import rank
from gateway.matching.rules import grounds
from gateway.pipeline import match, snapshot
from gateway.store import meldingen
from gateway.store.meldingen import Melding


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A melding in the order of its month; `values` are by the names of the policy's order."""

    id: str
    place: int
    action: str
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A melding, its signals with the rules that hold on them, and its neighbours in rank."""

    melding: Melding
    policy: Policy
    content: MeldingContent
    #: its signals and those before it that a rule looks at, oldest first
    signals: Sequence[ActiveSignal]
    grounds: Mapping[Rule, frozenset[int]]
    #: the one above (if any), itself, the one below
    neighbours: Sequence[Ranked]
    matches: int


def explain(gateway: Gateway, municipality: str, month: str) -> Explanation:
    """Explain the first melding in rank, below the top, on which two rules or more hold.

    Raises:
        LookupError: the month has no such melding.
    """
    policy = gateway.settings.policies[municipality]
    with gateway.store.read() as conn:
        standing = meldingen.published(conn, municipality, month)
        contents = {each.id: snapshot.load(each.published) for each in standing if each.published}
        ranked = _ranked(contents, policy)
        chosen = next((each for each in ranked[1:] if _is_telling(contents[each.id])), None)
        if chosen is None:
            raise LookupError(f"{municipality} has no melding with two rules in {month}")
        melding = next(each for each in standing if each.id == chosen.id)
        group = next(match.groups(conn, policy, [melding], local_day(gateway.clock.now())))
    asked = grounds(month, group.signals, group.earlier, policy.matching)
    held = {rule: signals for rule, signals in asked.items() if signals}
    seen = {signal.ref: signal for signals in (*held.values(), group.signals) for signal in signals}
    return Explanation(
        melding=melding,
        policy=policy,
        content=contents[chosen.id],
        signals=sorted(seen.values(), key=lambda signal: (signal.month, signal.received_at, signal.creditor)),
        grounds={rule: frozenset(signal.ref for signal in signals) for rule, signals in held.items()},
        neighbours=[each for each in ranked if abs(each.place - chosen.place) <= 1],
        matches=len(ranked),
    )


def _is_telling(content: MeldingContent) -> bool:
    """One household, two rules, a bill of each creditor."""
    return (
        {Rule.MULTIPLE, Rule.CONSECUTIVE_MONTHS} <= set(content.rules)
        and not content.several_addresses
        and content.creditor_count == content.signal_count
    )


def _ranked(contents: Mapping[str, MeldingContent], policy: Policy) -> list[Ranked]:
    """The matches of a month, by rank."""
    placed = rank.places(contents, policy)
    return sorted(
        (
            Ranked(
                id=melding_id,
                place=place.rank,
                action=place.action,
                values=dict(rank.explain(contents[melding_id], policy.order)),
            )
            for melding_id, place in placed.items()
            if place.rank is not None and contents[melding_id].klasse is Klasse.MATCH
        ),
        key=lambda each: each.place,
    )
