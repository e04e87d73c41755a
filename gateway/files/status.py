"""`signaalstatus_<YYYY-MM-DD>_<seq>.csv`: what became of a creditor's signals (spec 2, For a creditor)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import NamedTuple

from gateway.domain.codes import STATUS_TEXTS, StatusCode
from gateway.files.cells import day, render_csv
from gateway.files.columns import STATUS_COLUMNS


class StatusRow(NamedTuple):
    """A signal whose status changed. `municipality` is empty when the signal could not be routed."""

    signal_id: str
    customer_number: str
    code: StatusCode
    municipality: str
    on: date


def render_status(rows: Iterable[StatusRow]) -> Iterator[bytes]:
    """The file in chunks. It says nothing of other creditors: no count, class, rank or rule."""
    return render_csv(
        STATUS_COLUMNS,
        (
            (
                row.signal_id,
                row.customer_number,
                row.code,
                STATUS_TEXTS[row.code],
                row.municipality,
                day(row.on),
            )
            for row in rows
        ),
    )
