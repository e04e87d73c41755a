"""In what order a municipality takes its matches, and what it is proposed to do (spec 3, Rank)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from gateway.domain.melding import Klasse, MeldingContent, Rule
from gateway.domain.policy import Policy

Value = Callable[[MeldingContent], int]

#: Names without an argument; the greater value comes first.
_PLAIN: Mapping[str, Value] = {
    "crisis": lambda melding: Rule.CRISIS in melding.rules,
    "creditors": lambda melding: melding.creditor_count,
    "sectors": lambda melding: len(melding.sectors),
    "total": lambda melding: melding.total_cents,
    "multiple": lambda melding: Rule.MULTIPLE in melding.rules,
    "consecutive": lambda melding: melding.consecutive,
    "bridging": lambda melding: melding.bridging,
    "oldest": lambda melding: -melding.oldest_since.toordinal(),
    "warm_handover": lambda melding: melding.warm_handover,
}


def _total_over(argument: str) -> Value:
    limit = int(argument) * 100
    return lambda melding: melding.total_cents > limit


def _many_creditors(argument: str) -> Value:
    limit = int(argument)
    return lambda melding: melding.creditor_count > limit


def _total_if_many_creditors(argument: str) -> Value:
    limit = int(argument)
    return lambda melding: melding.total_cents if melding.creditor_count > limit else 0


def _sector(argument: str) -> Value:
    names = [name.strip() for name in argument.split(",")]
    if not all(names):
        raise ValueError("a sector is empty")
    place = {name: -index for index, name in reversed(tuple(enumerate(names)))}
    return lambda melding: max(place.get(sector, -len(names)) for sector in melding.sectors)


_WITH_ARGUMENT: Mapping[str, Callable[[str], Value]] = {
    "total_over": _total_over,
    "many_creditors": _many_creditors,
    "total_if_many_creditors": _total_if_many_creditors,
    "sector": _sector,
}

#: What decides where every name of `order` is equal, in turn; the least comes first.
TIES: Mapping[str, Callable[[str, MeldingContent], Any]] = {
    "signaaldatum": lambda _, melding: melding.first_signalled_on,
    "ontvangst": lambda _, melding: melding.first_received_at,
    "melding_id": lambda melding_id, _: melding_id,
}


class Place(NamedTuple):
    """A melding's `rang` (None unless it is a match) and `voorstel_actie`."""

    rank: int | None
    action: str


def check_order(name: str) -> str:
    """Return a name of `[ranking] order` if it means something.

    Raises:
        ValueError: it does not; the text names what would.
    """
    _value(name)
    return name


def places(meldingen: Mapping[str, MeldingContent], policy: Policy) -> dict[str, Place]:
    """Rank and proposed action of the published meldingen of one municipality and month.

    Args:
        meldingen: by `melding_id`; emptied ones have no content and stay out.
        policy: its `order` and `actions` decide.
    """
    matches = ranked(meldingen, policy.order)
    visits = visited(matches, policy)
    actions = policy.actions
    placed = dict.fromkeys(meldingen, Place(None, actions.single))
    for rank, (melding_id, _) in enumerate(matches, start=1):
        placed[melding_id] = Place(rank, actions.visit if melding_id in visits else actions.match)
    return placed


def ranked(meldingen: Mapping[str, MeldingContent], order: Iterable[str]) -> list[tuple[str, MeldingContent]]:
    """The matches among `meldingen`, by rank."""
    values = tuple(_value(name) for name in order)
    return sorted(
        (item for item in meldingen.items() if item[1].klasse is Klasse.MATCH),
        key=lambda item: (
            [-value(item[1]) for value in values],
            *(tie(*item) for tie in TIES.values()),
        ),
    )


def explain(melding: MeldingContent, order: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Each name of `order` with the melding's value, greater first; amounts in euro cents, yes is 1."""
    return tuple((name, int(_value(name)(melding))) for name in order)


def decided_by(
    one: tuple[str, MeldingContent], other: tuple[str, MeldingContent], order: Iterable[str]
) -> str:
    """The first name, of `order` or of `TIES`, in which two matches differ; empty for one and the same."""
    for name in order:
        if _value(name)(one[1]) != _value(name)(other[1]):
            return name
    return next((name for name, tie in TIES.items() if tie(*one) != tie(*other)), "")


def visited(matches: Sequence[tuple[str, MeldingContent]], policy: Policy) -> set[str]:
    """The matches that get a visit; `visit_fill` gives the places left to the next ones."""
    actions = policy.actions
    over = [key for key, melding in matches if melding.total_cents > actions.visit_over_cents]
    chosen = over[: actions.visit_capacity]
    if actions.visit_fill:
        taken = set(chosen)
        rest = [key for key, _ in matches if key not in taken]
        chosen += rest[: actions.visit_capacity - len(chosen)]
    return set(chosen)


@lru_cache(maxsize=256)
def _value(name: str) -> Value:
    """What a name of `order` compares."""
    plain = _PLAIN.get(name)
    if plain is not None:
        return plain
    word, colon, argument = name.partition(":")
    build = _WITH_ARGUMENT.get(word)
    if build is None or not colon:
        known = [*_PLAIN, *(f"{word}:…" for word in _WITH_ARGUMENT)]
        raise ValueError(f"{name!r} is none of {', '.join(known)}")
    if word != "sector" and not (argument.isascii() and argument.isdecimal()):
        raise ValueError(f"{name!r} needs a whole number after the colon")
    try:
        return build(argument)
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from error
