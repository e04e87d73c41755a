"""Why a melding is what it is: on which signals each rule holds, and what decided its rank (spec 3, last lines).

What holds is asked of `rules` and `rank`; here is only added what they looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.clock import shift_month
from gateway.domain.melding import ActiveSignal, MeldingContent, Rule
from gateway.domain.policy import ConsecutiveBy, DistinctBy, Matching, Policy
from gateway.matching import rank, rules
from gateway.matching.rules import Earlier, Signals

#: What changes a melding, so that it is published again (`publication.fingerprint`).
_TELLING = frozenset(
    {
        "klasse",
        "rules",
        "refs",
        "creditor_count",
        "total_cents",
        "consecutive",
        "bridging",
        "several_addresses",
        "repeated",
        "sectors",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One rule: whether the policy asks for it, and what it found.

    `signals`, of this month and earlier ones, oldest first, are those on which it holds; none: it does not.
    `seen` is what it compares: month -> the creditors or sectors of the signals that count in it.
    """

    rule: Rule
    is_asked: bool
    signals: tuple[ActiveSignal, ...]
    seen: Mapping[str, tuple[str, ...]]

    @property
    def holds(self) -> bool:
        """Whether the rule stands in `matchregels`."""
        return bool(self.signals)


def explain_rules(month: str, group: Signals, earlier: Earlier, matching: Matching) -> tuple[Ground, ...]:
    """Every rule, in the order of `matchregels`; the arguments are those of `rules.evaluate`."""
    asked = rules.grounds(month, group, earlier, matching)
    return tuple(
        Ground(
            rule=rule,
            is_asked=rule in asked,
            signals=tuple(
                sorted(asked.get(rule, ()), key=lambda signal: (signal.month, signal.received_at, signal.ref))
            ),
            seen=_seen(rule, month, group, earlier, matching),
        )
        for rule in Rule
    )


def _seen(
    rule: Rule, month: str, group: Signals, earlier: Earlier, matching: Matching
) -> dict[str, tuple[str, ...]]:
    by = DistinctBy.CREDITOR
    months: tuple[str, ...] = (month,)
    match rule:
        case Rule.MULTIPLE:
            by = matching.distinct_by
        case Rule.CONSECUTIVE_MONTHS:
            months = rules.consecutive_months(month, matching)
            if matching.consecutive_by is ConsecutiveBy.DIFFERENT_SECTOR:
                by = DistinctBy.SECTOR
        case Rule.BRIDGING:
            months = (month, shift_month(month, -1))
        case Rule.ALWAYS:
            by = DistinctBy.SECTOR
        case Rule.CRISIS:
            return {}
    held = {each: group if each == month else earlier.get(each, ()) for each in reversed(months)}
    return {
        each: tuple(sorted(rules.kinds(rules.counting(found, matching), by))) for each, found in held.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A match in the order of its month, beside the one that is explained.

    `values` are those of the names of `order`. `decided_by` is the first name, of `order` or of `rank.TIES`, in
    which it differs from the explained one; empty for that one itself.
    """

    id: str
    rank: int
    values: Mapping[str, int]
    decided_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How a rank and a `voorstel_actie` came about.

    `place` is the melding's place among the matches whose total is over `visit_over`; None: it is not over.
    """

    own: Compared
    above: Compared | None
    below: Compared | None
    matches: int
    place: int | None
    is_visited: bool


def explain_rank(meldingen: Mapping[str, MeldingContent], melding_id: str, policy: Policy) -> Ranking | None:
    """The rank of a melding among those that `rank.places` would be given; None when it is no match."""
    matches = rank.ranked(meldingen, policy.order)
    at = next((at for at, (other, _) in enumerate(matches) if other == melding_id), None)
    if at is None:
        return None

    def compared(other: int) -> Compared | None:
        if not 0 <= other < len(matches):
            return None
        name, content = matches[other]
        return Compared(
            id=name,
            rank=other + 1,
            values=dict(rank.explain(content, policy.order)),
            decided_by=rank.decided_by(matches[at], matches[other], policy.order),
        )

    own = compared(at)
    assert own is not None
    limit = policy.actions.visit_over_cents
    over = [other for other, content in matches if content.total_cents > limit]
    return Ranking(
        own=own,
        above=compared(at - 1),
        below=compared(at + 1),
        matches=len(matches),
        place=over.index(melding_id) + 1 if melding_id in over else None,
        is_visited=melding_id in rank.visited(matches, policy),
    )


def changed(before: MeldingContent, now: MeldingContent) -> tuple[str, ...]:
    """The fields for which a melding that was published as `before` is published again as `now`."""
    return tuple(
        name
        for name in MeldingContent._fields
        if name in _TELLING and getattr(before, name) != getattr(now, name)
    )
