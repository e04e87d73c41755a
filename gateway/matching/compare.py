"""A month under two policies, side by side: what another policy would have made of the same signals (spec 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gateway.domain.melding import Klasse, MeldingContent, Rule
from gateway.domain.policy import Policy
from gateway.matching.rank import Place, places, ranked, visited


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a policy makes of a month, in numbers; `visits` are the places of the capacity that are taken."""

    meldingen: int
    signals: int
    klassen: Counter[Klasse]
    #: how many meldingen each rule holds for
    rules: Counter[Rule]
    signals_in_matches: int
    total_cents: int
    total_in_matches_cents: int
    visits: int
    actions: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One municipality's month under one policy: meldingen, and their ranks among all of them, by name."""

    policy: Policy
    meldingen: Mapping[str, MeldingContent]
    places: Mapping[str, Place]
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of a melding: `before` are the meldingen, by id, whose signals it has, itself as a rule."""

    name: str
    before: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A month as it is, and as it would be.

    `fates` are of every melding of `other`: matches by rank, then the others.
    """

    own: Month
    other: Month
    fates: Sequence[Fate]

    @property
    def merged(self) -> int:
        """How many meldingen of the other policy are made of several."""
        return sum(len(fate.before) > 1 for fate in self.fates)

    @property
    def split(self) -> int:
        """How many meldingen would be parted."""
        return sum(count > 1 for count in Counter(one for fate in self.fates for one in fate.before).values())

    @property
    def changed(self) -> list[Fate]:
        """The meldingen whose make-up, klasse or action would be another."""
        return [fate for fate in self.fates if not self._stays(fate)]

    def _stays(self, fate: Fate) -> bool:
        if fate.before != (fate.name,):
            return False
        own, other = self.own.meldingen[fate.name], self.other.meldingen[fate.name]
        if own.refs != other.refs:
            return False
        action = self.own.places[fate.name].action == self.other.places[fate.name].action
        return own.klasse is other.klasse and action


def month_under(policy: Policy, meldingen: Mapping[str, MeldingContent]) -> Month:
    """A month whose meldingen, by name, were made under a policy."""
    placed = places(meldingen, policy)
    matches = ranked(meldingen, policy.order)
    counts = Counts(
        meldingen=len(meldingen),
        signals=sum(each.signal_count for each in meldingen.values()),
        klassen=Counter(each.klasse for each in meldingen.values()),
        rules=Counter(rule for each in meldingen.values() for rule in each.rules),
        signals_in_matches=sum(each.signal_count for _, each in matches),
        total_cents=sum(each.total_cents for each in meldingen.values()),
        total_in_matches_cents=sum(each.total_cents for _, each in matches),
        visits=len(visited(matches, policy)),
        actions=Counter(place.action for place in placed.values()),
    )
    return Month(policy=policy, meldingen=meldingen, places=placed, counts=counts)


def name_groups(groups: Sequence[Iterable[int]], of: Mapping[int, str]) -> list[str]:
    """Names for groups of signals (row ids) by the meldingen that they are in.

    A group that has the signals of one melding bears its id, one of several `id+id`; parts of the same are
    told apart by a number: `id/2`.
    """
    taken: Counter[str] = Counter()
    names = []
    for group in groups:
        name = "+".join(sorted({of[ref] for ref in group}))
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}/{taken[name]}")
    return names


def compare(own: Month, other: Month) -> Comparison:
    """Two months of the same signals; the names of `own` are melding ids."""
    of = {ref: name for name, melding in own.meldingen.items() for ref in melding.refs}
    order = sorted(
        other.meldingen,
        key=lambda name: (other.places[name].rank or len(other.places) + 1, name),
    )
    return Comparison(
        own=own,
        other=other,
        fates=[
            Fate(name=name, before=tuple(sorted({of[ref] for ref in other.meldingen[name].refs})))
            for name in order
        ],
    )


def differences(own: Policy, other: Policy) -> dict[str, tuple[Any, Any]]:
    """The settings by which two policies match, rank and propose otherwise, by their name in the file."""
    found = {
        f"{table}.{name}": (getattr(mine, name), getattr(theirs, name))
        for table, mine, theirs in (
            ("matching", own.matching, other.matching),
            ("actions", own.actions, other.actions),
        )
        for name in (field.name for field in fields(mine))
    }
    found["ranking.order"] = own.order, other.order
    return {name.removesuffix("_cents"): values for name, values in found.items() if values[0] != values[1]}
