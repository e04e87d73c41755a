"""`aanleveroverzicht_<gemeentecode>_<YYYY-MM>.csv`: what creditors delivered in a month (spec 2, For a municipality).

For each creditor one line for each file with signals that was taken in, or one without `ontvangen_op` when there was
none. `aangenomen` are new and changed signals for this municipality. `afgekeurd` is empty where nobody knows for which
municipality the rejected rows were meant. `verwacht_voor` is the creditor's `expected_by` in that month.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from gateway.files.cells import day, number, render_csv
from gateway.files.columns import DELIVERY_REPORT_COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLine:
    """A file of a creditor, or (`received_on` None) that there was none in the month."""

    municipality: str
    #: `YYYY-MM`
    month: str
    partner_id: str
    partner_name: str
    received_on: date | None
    accepted: int
    rejected: int | None
    expected_by: date | None


def render_delivery_report(lines: Iterable[DeliveryLine]) -> Iterator[bytes]:
    """The file in chunks."""
    return render_csv(
        DELIVERY_REPORT_COLUMNS,
        (
            (
                line.municipality,
                line.month,
                line.partner_id,
                line.partner_name,
                day(line.received_on),
                str(line.accepted),
                number(line.rejected),
                day(line.expected_by),
            )
            for line in lines
        ),
    )
