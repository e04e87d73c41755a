"""`termijnen_<gemeentecode>_<date>.csv`: what a municipality must do by when (spec 2, For a municipality).

One line for each signal that was passed on and has no end result, the most urgent melding first. `status` and `datum` are
the municipality's own last answer. `eerstvolgende_termijn` names the first of the three deadlines that is not met:
`terugkoppelen_voor` is met by any answer but `Nog niet opgepakt`, `uiterlijk_aanbod` by `Hulp geaccepteerd`,
`afronden_voor` by an end result. `dagen_over` counts the days to it, `dagen_te_laat` those since: a number below zero would
come out as text, as every cell that begins with `-` does. There is no personal data in the file; with `status` and `datum`
filled in it is a feedback file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from gateway.domain.feedback import Answer
from gateway.domain.melding import Deadline, Klasse
from gateway.files.cells import day, render_csv
from gateway.files.columns import DEADLINE_COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRow:
    """An open signal. `by` has all its deadlines, `first` is the first that is not met; below zero `days_left`: it is over."""

    municipality: str
    melding_id: str
    number: str
    klasse: Klasse
    sector: str
    answer: Answer | None
    by: Mapping[Deadline, date]
    first: Deadline
    days_left: int


def render_deadlines(rows: Iterable[DeadlineRow]) -> Iterator[bytes]:
    """The file in chunks."""
    return render_csv(
        DEADLINE_COLUMNS,
        (
            (
                row.municipality,
                row.melding_id,
                row.number,
                row.klasse.value,
                row.sector,
                row.answer.outcome.value if row.answer else "",
                day(row.answer.on if row.answer else None),
                *(day(row.by[each]) for each in Deadline),
                row.first.value,
                day(row.by[row.first]),
                str(row.days_left) if row.days_left >= 0 else "",
                str(-row.days_left) if row.days_left < 0 else "",
            )
            for row in rows
        ),
    )
