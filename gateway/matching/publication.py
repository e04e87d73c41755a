"""When a melding is published again: when what it says has changed (spec 3, Publication)."""

from __future__ import annotations

import hashlib

from gateway.domain.melding import MeldingContent

#: The fingerprint of a melding whose last signal is gone; published once, as `VERVALLEN`.
LAPSED = "lapsed"


def fingerprint(melding: MeldingContent | None) -> str:
    """What is stored at a publication to know later whether the melding has changed; None: it was emptied.

    It covers the signals, class, rules, counts and flags, not rank, action or deadline. A ref names a version of
    a signal, so a changed signal is a changed melding also when counts stay the same. It holds no personal data.
    """
    if melding is None:
        return LAPSED
    text = (
        f"{melding.klasse.value};{'+'.join(melding.rules)};{sorted(melding.refs)};{sorted(melding.repeated)};"
        f"{melding.creditor_count};{','.join(melding.sectors)};{melding.total_cents};"
        f"{melding.consecutive:d}{melding.bridging:d}{melding.several_addresses:d}"
    )
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def is_due(melding: MeldingContent | None, last: str | None) -> bool:
    """Whether a melding must be published.

    Args:
        melding: as it stands; None when it has no active signal left.
        last: its fingerprint at its last publication; None when it never was published.
    """
    if last is None:
        return melding is not None
    return fingerprint(melding) != last
