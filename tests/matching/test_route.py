"""To which partner a melding goes (spec 3, `[[route]]`)."""

from __future__ import annotations

import pytest

from gateway.domain.melding import Klasse
from gateway.domain.policy import Route
from gateway.matching.route import Facts, asks_who, choose, holds

FACTS = Facts(
    klasse=Klasse.MATCH,
    total_cents=50_000,
    sectors=("Huur", "Zorg"),
    postcodes={"3311AB", "3312XY"},
    is_known=False,
)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, True),
        ({"known": False}, True),
        ({"known": True}, False),
        ({"total_over_cents": 49_999}, True),
        ({"total_over_cents": 50_000}, False),
        ({"klasse": Klasse.MATCH}, True),
        ({"klasse": Klasse.SINGLE}, False),
        ({"sectors": ("Water", "Zorg")}, True),
        ({"sectors": ("Water", "Energie")}, False),
        ({"postcodes": ("3311",)}, True),
        ({"postcodes": ("9999", "3312XY")}, True),
        ({"postcodes": ("3312AB", "3313")}, False),
        ({"sectors": ("Huur",), "total_over_cents": 50_000}, False),
        ({"sectors": ("Huur",), "klasse": Klasse.MATCH, "postcodes": ("3311AB",)}, True),
    ],
)
def test_all_that_is_stated_must_hold(stated, expected):
    """Amounts strictly; of several sectors or postcodes one is enough; nothing stated takes all."""
    route = Route(to="sdd", **stated)
    assert holds(route, FACTS) is expected
    assert route.takes_all is (not stated)


def test_the_first_that_holds():
    """Order decides; where none holds it is the partner that serves the municipality."""
    routes = (
        Route(to="a", known=True),
        Route(to="b", total_over_cents=100),
        Route(to="c", klasse=Klasse.MATCH),
    )
    assert choose(routes, FACTS, "server") == "b"
    assert choose(routes[:1], FACTS, "server") == "server"
    assert choose((), FACTS, "server") == "server"


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route(to="a", known=False), True),
        (Route(to="a", postcodes=("3311",)), True),
        (Route(to="a", sectors=("Huur",), total_over_cents=1, klasse=Klasse.MATCH), False),
    ],
)
def test_what_is_sealed_is_opened_only_when_asked(route, expected):
    """Where somebody lives and whether somebody is known is sealed; the rest is not."""
    assert asks_who((Route(to="b"), route)) is expected
