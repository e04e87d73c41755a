"""A melding's published content as it is stored: counts, flags, dates and row ids; no personal data."""

from __future__ import annotations

import json
from datetime import date, datetime
from functools import lru_cache

from gateway.domain.melding import Klasse, MeldingContent, Rule


def dump(content: MeldingContent) -> str:
    """The content as a JSON array, its fields in their order.

    Written out: an encoder costs more than all else that is done to remember a melding.
    """
    klasse, rules, refs, creditors, total, consecutive, bridging, addresses, repeated, sectors, *days = (
        content
    )
    signalled_on, received_at, since, warm_handover, ends = days
    return (
        f'["{klasse}",{_words(rules)},{[*refs]},{creditors},{total},{consecutive:d},{bridging:d},'
        f'{addresses:d},{sorted(repeated)},{_words(sectors)},"{_day(signalled_on)}","{_instant(received_at)}",'
        f'"{_day(since)}",{warm_handover:d},"{ends or ""}"]'
    )


def load(text: str) -> MeldingContent:
    """The content again."""
    klasse, rules, refs, creditors, total, consecutive, bridging, addresses, repeated, sectors, *days = (
        json.loads(text)
    )
    signalled_on, received_at, since, warm_handover, ends = days
    return MeldingContent(
        klasse=Klasse(klasse),
        rules=tuple(map(Rule, rules)),
        refs=tuple(refs),
        creditor_count=creditors,
        total_cents=total,
        consecutive=bool(consecutive),
        bridging=bool(bridging),
        several_addresses=bool(addresses),
        repeated=frozenset(repeated),
        sectors=tuple(sectors),
        first_signalled_on=date.fromisoformat(signalled_on),
        first_received_at=datetime.fromisoformat(received_at),
        oldest_since=date.fromisoformat(since),
        warm_handover=bool(warm_handover),
        supply_ends_on=date.fromisoformat(ends) if ends else None,
    )


#: A file has few days.
_day = lru_cache(maxsize=1024)(date.isoformat)


@lru_cache(maxsize=1024)
def _words(words: tuple[str, ...]) -> str:
    """A list of words as JSON: there are few lists."""
    return json.dumps(words)


@lru_cache(maxsize=1024)
def _instant(at: datetime) -> str:
    """All signals of a file have one."""
    return at.isoformat()
