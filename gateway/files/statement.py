"""`stand_<YYYY-MM>.csv`: every live signal of a creditor with its last codes, to reconcile with (spec 2, Returns).

The columns of a signaalstatus, then what was told last of an answer: `terugkoppeling`, `terugkoppeling_omschrijving`,
`terugkoppeling_datum`, `opschorten`, `opschorten_tot`, all empty where there was no terugkoppeling. A signal that waits
for its publication has neither code nor date. As in every return file nothing is said of other creditors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from gateway.domain.codes import STATUS_TEXTS, StatusCode
from gateway.domain.feedback import News
from gateway.files.cells import day, render_csv, yes_no
from gateway.files.columns import STATEMENT_COLUMNS

_WAITING = "aangenomen; nog niet doorgezet"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRow:
    """How a signal stands. `code` and `on` are None while it waits, `feedback` while nothing was told of an answer."""

    signal_id: str
    customer_number: str
    code: StatusCode | None
    municipality: str
    on: date | None
    feedback: News | None


def render_statement(rows: Iterable[StatementRow]) -> Iterator[bytes]:
    """The file in chunks."""
    return render_csv(
        STATEMENT_COLUMNS,
        (
            (
                row.signal_id,
                row.customer_number,
                row.code or "",
                STATUS_TEXTS[row.code] if row.code else _WAITING,
                row.municipality,
                day(row.on),
                *_feedback(row.feedback),
            )
            for row in rows
        ),
    )


def _feedback(feedback: News | None) -> tuple[str, str, str, str, str]:
    if feedback is None:
        return "", "", "", "", ""
    told, on = feedback
    return (
        told.code.value,
        told.text,
        day(on),
        yes_no(told.suspend_until is not None),
        day(told.suspend_until),
    )
