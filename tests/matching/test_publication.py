"""When a melding is published again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from gateway.domain.melding import Klasse, MeldingContent, Rule
from gateway.matching import publication

Make = Callable[..., MeldingContent]


@pytest.mark.parametrize(
    "changed",
    [
        {"klasse": Klasse.SINGLE},
        {"rules": (Rule.MULTIPLE, Rule.CRISIS)},
        {"refs": (1, 2, 3)},
        {"refs": (1, 3)},
        {"creditor_count": 3},
        {"sectors": ("Huur", "Water", "Zorg")},
        {"total_cents": 80_001},
        {"consecutive": True},
        {"bridging": True},
        {"several_addresses": True},
        {"repeated": frozenset({1})},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_content_is_a_change(melding: Make, changed: dict[str, Any]) -> None:
    """Signals and their versions, class, rules, counts and flags."""
    last = publication.fingerprint(melding())
    assert publication.is_due(melding(**changed), last)


def test_the_same_is_no_change(melding: Make) -> None:
    """What only moves a rank or an action, or the order of signals, publishes nothing."""
    last = publication.fingerprint(melding())
    assert not publication.is_due(melding(), last)
    same = melding(
        refs=(2, 1),
        first_signalled_on=date(2026, 11, 1),
        first_received_at=datetime(2026, 11, 1, tzinfo=UTC),
        oldest_since=date(2026, 1, 1),
    )
    assert not publication.is_due(same, last)


def test_a_life(melding: Make) -> None:
    """New, unchanged, emptied once, then back with the very same content."""
    assert publication.is_due(melding(), None)
    assert publication.is_due(None, publication.fingerprint(melding()))
    assert not publication.is_due(None, publication.LAPSED)
    assert publication.is_due(melding(), publication.LAPSED)


def test_emptied_before_it_was_published() -> None:
    """Nobody is told of the end of what he never saw."""
    assert not publication.is_due(None, None)
