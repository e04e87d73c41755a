"""What the rules make of the meldingen that were touched (spec 3, Rules).

Signals are joined by place in a few queries for all of them together; the rules are pure functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from gateway.domain.melding import ActiveSignal, MeldingContent
from gateway.domain.policy import Grouping, Matching, Policy
from gateway.matching.rules import Earlier, evaluate, highest_amounts, lookback
from gateway.store import Connection, signals
from gateway.store.signals import Amount


class Keyed(Protocol):
    """A melding, or what would be one: a month and a place, and the key that leads there."""

    @property
    def month(self) -> str:
        """`YYYY-MM`."""

    @property
    def level(self) -> str:
        """The grouping key."""

    @property
    def place(self) -> int:
        """Where the key leads to."""


K = TypeVar("K", bound=Keyed)


class Group(NamedTuple, Generic[K]):
    """What `evaluate` needs of one melding: its signals, the earlier ones with its key, its repeats."""

    melding: K
    signals: Sequence[ActiveSignal]
    earlier: Earlier
    #: contracts of the group that were reported in the look-back months -> highest amount in euro cents
    repeats: Mapping[Hashable, int]

    def content(self, policy: Policy) -> MeldingContent | None:
        """What the rules make of it; None when no active signal is left in it."""
        if not self.signals:
            return None
        return evaluate(self.melding.month, self.signals, self.earlier, self.repeats, self.matching(policy))

    def matching(self, policy: Policy) -> Matching:
        """The rules for it: a month keeps the key that it began with."""
        level = self.melding.level
        if level == policy.matching.key:
            return policy.matching
        return replace(policy.matching, key=Grouping(level))


class Neighbours(NamedTuple):
    """The active signals that meldingen are made of and held against."""

    #: by municipality, grouping key and place
    at: Mapping[tuple[str, str, Hashable], Sequence[ActiveSignal]]
    #: of earlier months, by municipality and contract
    amounts: Mapping[tuple[str, Hashable], Sequence[Amount]]


def look_up(conn: Connection, meldingen: Iterable[Keyed], today: date) -> Neighbours:
    """What `groups` needs of meldingen, of however many municipalities.

    Args:
        conn: reads it.
        meldingen: that are looked at.
        today: what is overdue takes no part.
    """
    places: dict[str, set[int]] = defaultdict(set)
    months: set[str] = set()
    for melding in meldingen:
        places[melding.level].add(melding.place)
        months.add(melding.month)
    at: dict[tuple[str, str, Hashable], list[ActiveSignal]] = defaultdict(list)
    contracts: set[Any] = set()
    for level, some in places.items():
        for municipality, signal in signals.active(conn, Grouping(level), some, today):
            # one place may serve two levels: a person without a name is known by A2
            at[municipality, level, signal.group].append(signal)
            if signal.month in months:
                contracts.add(signal.contract)
    amounts: dict[tuple[str, Hashable], list[Amount]] = defaultdict(list)
    for amount in signals.amounts(conn, contracts, max(months, default=""), today):
        amounts[amount.municipality, amount.contract].append(amount)
    return Neighbours(at, amounts)


def groups(
    found: Neighbours, policy: Policy, meldingen: Iterable[K], predecessors: Sequence[str] = ()
) -> Iterator[Group[K]]:
    """The groups of one municipality's meldingen, in their order.

    Args:
        found: was looked up for them.
        policy: of the municipality.
        meldingen: of it.
        predecessors: municipalities that merged into it: it looks back on their signals, which stay theirs.
    """
    codes = (policy.code, *predecessors)
    for melding in meldingen:
        month = melding.month
        own = found.at.get((policy.code, melding.level, melding.place), ())
        group = [signal for signal in own if signal.month == month]
        theirs = [
            signal
            for code in predecessors
            for signal in found.at.get((code, melding.level, melding.place), ())
        ]
        earlier: dict[str, list[ActiveSignal]] = {}
        if theirs or len(own) > len(group):
            for signal in (*own, *theirs):
                earlier.setdefault(signal.month, []).append(signal)
        past = lookback(month, policy.matching)
        reported = [
            amount
            for contract in {signal.contract for signal in group}
            for code in codes
            for amount in found.amounts.get((code, contract), ())
            if amount.month in past
        ]
        yield Group(melding, group, earlier, highest_amounts(reported) if reported else {})
