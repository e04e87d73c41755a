"""To which partner a melding goes (spec 3, Policy, `[[route]]`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from gateway.domain.melding import Klasse
from gateway.domain.policy import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What routes ask of a melding. `postcodes` are those of its signals, as normalised: `3311AB`."""

    klasse: Klasse
    total_cents: int
    sectors: Collection[str]
    postcodes: Collection[str] = ()
    is_known: bool = False


def choose(routes: Iterable[Route], facts: Facts, otherwise: str) -> str:
    """The partner of the first route that holds; `otherwise` the one that serves the municipality."""
    return next((route.to for route in routes if holds(route, facts)), otherwise)


def holds(route: Route, facts: Facts) -> bool:
    """Whether everything that a route states is so; of several sectors or postcodes one is enough."""
    return (
        (route.known is None or route.known == facts.is_known)
        and (route.total_over_cents is None or facts.total_cents > route.total_over_cents)
        and (route.klasse is None or facts.klasse is route.klasse)
        and (not route.sectors or not set(route.sectors).isdisjoint(facts.sectors))
        and (not route.postcodes or any(each.startswith(route.postcodes) for each in facts.postcodes))
    )


def asks_who(routes: Sequence[Route]) -> bool:
    """Whether some route asks what is sealed: where somebody lives, or whether somebody is known."""
    return any(route.postcodes or route.known is not None for route in routes)
