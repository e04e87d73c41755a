"""`niet_hersteld_<date>.csv`: deliveries that were received, and that a restored backup does not know (spec 4).

Who sends them again loses nothing. What was withdrawn or refused since is not listed. No personal data, no file names:
`delivery_id` stands on the receipt (`ontvangst_<delivery_id>`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from gateway.clock import AMSTERDAM
from gateway.files.cells import number, render_csv

COLUMNS = ("delivery_id", "ontvangen_op", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A delivery of a partner that is not there any more; `size_bytes` None: not known."""

    delivery_id: str
    partner_id: str
    received_at: datetime
    size_bytes: int | None


def render_not_restored(lost: Iterable[Lost]) -> Iterator[bytes]:
    """The list, in order of receipt; times are those of the Netherlands."""
    return render_csv(
        COLUMNS,
        (
            (
                each.delivery_id,
                each.received_at.astimezone(AMSTERDAM).isoformat(timespec="seconds"),
                number(each.size_bytes),
            )
            for each in sorted(lost, key=lambda each: (each.received_at, each.delivery_id))
        ),
    )
