"""One melding explained: which rule holds on which signals, and how its rank came about.

It is the administrator's view: ids, codes, amounts and dates, no name and no address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.clock import local_day
from gateway.domain.melding import ActiveSignal, MeldingContent, Rule
from gateway.domain.policy import Policy
from gateway.gateway import Gateway
from gateway.matching import rank
from gateway.matching.explain import Ranking, explain_rank
from gateway.matching.rules import grounds
from gateway.pipeline import match, snapshot
from gateway.store import meldingen
from gateway.store.meldingen import Melding


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A melding, its signals with the rules that hold on them, and its neighbours in rank."""

    melding: Melding
    policy: Policy
    content: MeldingContent
    #: its signals and those before it that a rule looks at, oldest first
    signals: Sequence[ActiveSignal]
    grounds: Mapping[Rule, frozenset[int]]
    #: with the one above and the one below
    ranking: Ranking
    action: str


def explain(gateway: Gateway, municipality: str, month: str) -> Explanation:
    """Explain the first melding in rank, below the top, on which two rules or more hold.

    Raises:
        LookupError: the month has no such melding.
    """
    policy = gateway.settings.policies[municipality]
    with gateway.store.read() as conn:
        standing = meldingen.published(conn, municipality, month)
        contents = {each.id: snapshot.load(each.published) for each in standing if each.published}
        ranked = rank.ranked(contents, policy.order)
        chosen = next((each for each, content in ranked[1:] if _is_telling(content)), None)
        if chosen is None:
            raise LookupError(f"{municipality} has no melding with two rules in {month}")
        melding = next(each for each in standing if each.id == chosen)
        found = match.look_up(conn, [melding], local_day(gateway.clock.now()))
        (group,) = match.groups(found, policy, [melding])
    ranking = explain_rank(contents, chosen, policy)
    assert ranking is not None
    asked = grounds(month, group.signals, group.earlier, policy.matching)
    held = {rule: signals for rule, signals in asked.items() if signals}
    seen = {signal.ref: signal for signals in (*held.values(), group.signals) for signal in signals}
    return Explanation(
        melding=melding,
        policy=policy,
        content=contents[chosen],
        signals=sorted(seen.values(), key=lambda signal: (signal.month, signal.received_at, signal.creditor)),
        grounds={rule: frozenset(signal.ref for signal in signals) for rule, signals in held.items()},
        ranking=ranking,
        action=rank.places(contents, policy)[chosen].action,
    )


def _is_telling(content: MeldingContent) -> bool:
    """One household, two rules, a bill of each creditor."""
    return (
        {Rule.MULTIPLE, Rule.CONSECUTIVE_MONTHS} <= set(content.rules)
        and not content.several_addresses
        and content.creditor_count == content.signal_count
    )
