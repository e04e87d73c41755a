"""Values that the tests of matching are made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

import pytest

from gateway.domain.melding import ActiveSignal, Klasse, MeldingContent, Rule

_refs = count(1)


def make_signal(month: str = "2026-11", **changed: Any) -> ActiveSignal:
    """One rent signal of 600 euro on the third of the month, unless told otherwise."""
    day = date.fromisoformat(f"{month}-03")
    values: dict[str, Any] = {
        "ref": next(_refs),
        "creditor": "woonservice",
        "sector": "Huur",
        "month": month,
        "amount_cents": 60_000,
        "is_crisis": False,
        "warm_handover": False,
        "group": "here",
        "address": "here",
        "contract": "contract",
        "signalled_on": day,
        "received_at": datetime(day.year, day.month, day.day, 9, tzinfo=UTC),
        "since": date(2026, 8, 15),
    }
    return ActiveSignal(**(values | changed))


def make_melding(**changed: Any) -> MeldingContent:
    """A match of two creditors with 800 euro together, unless told otherwise."""
    values: dict[str, Any] = {
        "klasse": Klasse.MATCH,
        "rules": (Rule.MULTIPLE,),
        "refs": (1, 2),
        "creditor_count": 2,
        "total_cents": 80_000,
        "consecutive": False,
        "bridging": False,
        "several_addresses": False,
        "repeated": frozenset(),
        "sectors": ("Huur", "Zorg"),
        "first_signalled_on": date(2026, 11, 3),
        "first_received_at": datetime(2026, 11, 3, 9, tzinfo=UTC),
        "oldest_since": date(2026, 8, 15),
        "warm_handover": False,
        "supply_ends_on": None,
    }
    return MeldingContent(**(values | changed))


@pytest.fixture(name="signal")
def signal_fixture() -> Callable[..., ActiveSignal]:
    """Makes signals."""
    return make_signal


@pytest.fixture(name="melding")
def melding_fixture() -> Callable[..., MeldingContent]:
    """Makes meldingen."""
    return make_melding
