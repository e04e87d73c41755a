"""`terugkoppeling_<YYYY-MM-DD>_<seq>.csv`: what a creditor is told of the answers on its signals (spec 2).

It says nothing of other creditors: no count, class, rank or rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from gateway.domain.feedback import Told
from gateway.files.cells import day, render_csv, yes_no
from gateway.files.columns import FEEDBACK_COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRow:
    """What is told of a signal. `on` is the municipality's `datum`, or the day on which there was no answer yet."""

    signal_id: str
    customer_number: str
    municipality: str
    told: Told
    on: date


def render_feedback(rows: Iterable[FeedbackRow]) -> Iterator[bytes]:
    """The terugkoppeling in chunks."""
    return render_csv(
        FEEDBACK_COLUMNS,
        (
            (
                row.signal_id,
                row.customer_number,
                row.told.code.value,
                row.told.text,
                row.municipality,
                row.on.isoformat(),
                *_suspension(row.told),
            )
            for row in rows
        ),
    )


def _suspension(told: Told) -> tuple[str, str]:
    return yes_no(told.suspend_until is not None), day(told.suspend_until)
