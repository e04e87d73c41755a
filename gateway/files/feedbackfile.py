"""A municipality's feedback file: from bytes to batches of rows (spec 2, Feedback file).

All that is wrong with a row is told at once, one code for each column. Whether what it refers to is there, and is the
sender's, is decided where signals are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, NamedTuple

from gateway.domain.feedback import END_RESULTS, OF_ONE_PERSON, STATUSES, Contact, Feedback, Outcome
from gateway.domain.signal import RowError, RowWarning
from gateway.files import formats
from gateway.files.columns import ANSWER_COLUMNS
from gateway.files.layout import Layout, recognise_feedback
from gateway.files.table import Limits, Row, Table, data_rows

#: Rows that are handed over at a time.
BATCH_ROWS = 2_000

#: What a row becomes; errors are one for each column.
ParsedFeedback = Feedback | tuple[RowError, ...]

_NUMBER = re.compile(r"S[0-9A-HJKMNP-TV-Z]{12}")
_MELDING = re.compile(r"M[0-9]{10}-[0-9A-HJKMNP-TV-Z]{8}")


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


_STATUSES = {_folded(each): each for each in STATUSES}
_END_RESULTS = {_folded(each): each for each in END_RESULTS}
_CONTACTS = {_folded(each): each for each in Contact}


class _Column(NamedTuple):
    """How a column is read, and the code when that reads nothing."""

    read: Callable[[str], object]
    code: str


def _matching(pattern: re.Pattern[str]) -> Callable[[str], object]:
    return lambda text: text.upper() if pattern.fullmatch(text.upper()) else None


_COLUMNS: Mapping[str, _Column] = {
    # what is no number of ours was never given out
    "signaalnummer": _Column(_matching(_NUMBER), "V16"),
    "melding_id": _Column(_matching(_MELDING), "V16"),
    "status": _Column(lambda text: _STATUSES.get(_folded(text)), "V15"),
    "eindresultaat": _Column(lambda text: _END_RESULTS.get(_folded(text)), "V15"),
    "datum": _Column(formats.read_date, "V05"),
    "contactsoort": _Column(lambda text: _CONTACTS.get(_folded(text)), "V15"),
    "bereikt": _Column(formats.read_yes_no, "V15"),
    "toestemming_terugkoppeling": _Column(formats.read_yes_no, "V15"),
    "opschorten_tot": _Column(formats.read_date, "V05"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackFile:
    """A feedback file whose header is accepted.

    `warnings` are of the file (W04, line 0). `batches` can be iterated once; while it is, the whole file may still be
    refused with a DeliveryError: F04, F05 or F09. What came before must then not count. `sheet` is named when it is one
    of a worklist: a line that nobody filled in is None.
    """

    sheet: str
    warnings: tuple[RowWarning, ...]
    batches: Iterator[list[ParsedFeedback | None]]


def read_feedback(table: Table, received_on: date, limits: Limits) -> FeedbackFile:
    """Read a municipality's answers in constant memory; `received_on` is the day of receipt in the Netherlands.

    Raises:
        DeliveryError: the file is refused: F01, F02, F03 or F11.
    """
    is_sheet = bool(table.sheet)
    layout = recognise_feedback(table.header, of_worklist=is_sheet)
    # one sheet of a worklist may do
    rows = data_rows(table.rows, dict(layout.places), limits.rows, may_be_none=is_sheet)
    return FeedbackFile(
        sheet=table.sheet,
        warnings=tuple(
            RowWarning(line=0, signal_id="", column=on_sheet(table.sheet, name), code="W04")
            for name in layout.ignored
        ),
        batches=_batches(rows, layout, received_on, is_sheet=is_sheet),
    )


def _batches(
    rows: Iterator[Row], layout: Layout, received_on: date, *, is_sheet: bool
) -> Iterator[list[ParsedFeedback | None]]:
    while some := list(islice(rows, BATCH_ROWS)):
        yield [
            None
            if is_sheet and not _says_something(row, layout)
            else parse_feedback(row, layout, received_on)
            for row in some
        ]


def _says_something(row: Row, layout: Layout) -> bool:
    """Whether a line of a worklist has a status or a result, or can't be read."""
    if row.fields is None:
        return True
    places = [place for name, place in layout.places if name in {"status", "eindresultaat"}]
    return any(row.fields[place].strip() for place in places if place < len(row.fields))


def on_sheet(sheet: str, column: str) -> str:
    """A column as the receipt names it. A worklist has two sheets: `Signalen!datum`, as a spreadsheet does."""
    return f"{sheet}!{column}" if sheet else column


def parse_feedback(row: Row, layout: Layout, received_on: date) -> ParsedFeedback:
    """Read one row: V01, V05, V10, V11, V15, V18, and V16 for what is no id of ours."""
    line, fields = row
    if fields is None or any(field.strip() for field in fields[layout.width :]):
        return (RowError(line=line, signal_id="", column="", code="V10"),)
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for column, place in layout.places:
        text = fields[place].strip() if place < len(fields) else ""
        if text:
            values[column] = _COLUMNS[column].read(text)
            if values[column] is None:
                faults[column] = _COLUMNS[column].code
    _check_filled(values, faults, layout)
    # an end result says more than a status
    outcome: Outcome | None = values.get("eindresultaat") or values.get("status")
    if "signaalnummer" not in values and outcome in OF_ONE_PERSON:
        faults.setdefault("signaalnummer" if layout.has("signaalnummer") else "melding_id", "V18")
    on, until = values.get("datum"), values.get("opschorten_tot")
    if on is not None and on > received_on:
        faults["datum"] = "V11"
    if on is not None and until is not None and until < on:
        faults["opschorten_tot"] = "V11"
    number = values.get("signaalnummer") or ""
    if faults or outcome is None:
        about = number or values.get("melding_id") or ""
        return tuple(
            RowError(line=line, signal_id=about, column=column, code=faults[column])
            for column in ANSWER_COLUMNS
            if column in faults
        )
    return Feedback(
        line=line,
        signal_number=number,
        # where a row names both, as a published line does, the signal is meant
        melding_id="" if number else values["melding_id"],
        outcome=outcome,
        on=values["datum"],
        contact=values.get("contactsoort"),
        reached=values.get("bereikt"),
        consents=values.get("toestemming_terugkoppeling") is True,
        suspend_until=until,
    )


def _check_filled(values: Mapping[str, Any], faults: dict[str, str], layout: Layout) -> None:
    """V01."""
    for needed in (("signaalnummer", "melding_id"), ("eindresultaat", "status"), ("datum",)):
        if not values.keys() & set(needed):
            faults[next(name for name in needed if layout.has(name))] = "V01"
