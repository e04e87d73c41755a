"""A melding's published content as it is stored: counts, flags, dates and row ids; no personal data."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date, datetime
from typing import Any

from gateway.domain.melding import Klasse, MeldingContent, Rule


def dump(content: MeldingContent) -> str:
    """The content as JSON."""
    return _encode({name: getattr(content, name) for name in _NAMES})


def load(text: str) -> MeldingContent:
    """The content again."""
    values: dict[str, Any] = json.loads(text)
    ends = values["supply_ends_on"]
    return MeldingContent(
        **values
        | {
            "klasse": Klasse(values["klasse"]),
            "rules": tuple(Rule(rule) for rule in values["rules"]),
            "refs": tuple(values["refs"]),
            "repeated": frozenset(values["repeated"]),
            "sectors": tuple(values["sectors"]),
            "first_signalled_on": date.fromisoformat(values["first_signalled_on"]),
            "first_received_at": datetime.fromisoformat(values["first_received_at"]),
            "oldest_since": date.fromisoformat(values["oldest_since"]),
            "supply_ends_on": date.fromisoformat(ends) if ends else None,
        }
    )


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value).__name__)


_NAMES = tuple(field.name for field in fields(MeldingContent))
_encode = json.JSONEncoder(default=_plain, separators=(",", ":")).encode
