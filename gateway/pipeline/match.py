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
from gateway.store.signals import PLACE_COLUMNS


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
        key = Grouping(self.melding.level)
        return policy.matching if key is policy.matching.key else replace(policy.matching, key=key)


def groups(
    conn: Connection,
    policy: Policy,
    meldingen: Sequence[K],
    today: date,
    predecessors: Sequence[str] = (),
) -> Iterator[Group[K]]:
    """The groups of one municipality's meldingen, in their order.

    Args:
        conn: reads them.
        policy: of the municipality.
        meldingen: of it.
        today: what is overdue takes no part.
        predecessors: municipalities that merged into it: it looks back on their signals, which stay theirs.
    """
    codes = (policy.code, *predecessors)
    by_place: dict[Hashable, dict[str, list[ActiveSignal]]] = defaultdict(lambda: defaultdict(list))
    own = defaultdict(lambda: defaultdict(list)) if predecessors else by_place
    for level in Grouping:
        places = {melding.place for melding in meldingen if melding.level == level}
        for code in codes if places else ():
            for signal in _active(conn, code, PLACE_COLUMNS[level], places, today):
                # one place may serve two levels: a person without a name is known by A2
                by_place[level, signal.group][signal.month].append(signal)
                if own is not by_place and code == policy.code:
                    own[level, signal.group][signal.month].append(signal)
    contracts = {
        signal.contract
        for melding in meldingen
        for signal in own[melding.level, melding.place][melding.month]
    }
    by_contract: dict[Hashable, list[ActiveSignal]] = defaultdict(list)
    for code in codes:
        for signal in _active(conn, code, "place_k1", contracts, today):
            by_contract[signal.contract].append(signal)
    for melding in meldingen:
        months = by_place[melding.level, melding.place]
        group = own[melding.level, melding.place][melding.month]
        past = frozenset(lookback(melding.month, policy.matching))
        repeats = highest_amounts(
            other
            for contract in {signal.contract for signal in group}
            for other in by_contract[contract]
            if other.month in past
        )
        yield Group(melding, group, months, repeats)


def _active(
    conn: Connection, municipality: str, column: str, places: Iterable[Any], today: date
) -> Iterator[ActiveSignal]:
    for row in signals.active(conn, municipality, column, places, today):
        yield ActiveSignal(**dict(zip(_FIELDS, row, strict=True)))


#: The fields of an ActiveSignal in the order of `signals.active`.
_FIELDS = (
    "ref",
    "creditor",
    "sector",
    "month",
    "amount_cents",
    "is_crisis",
    "warm_handover",
    "address",
    "contract",
    "signalled_on",
    "received_at",
    "since",
    "supply_ends_on",
    "group",
)
