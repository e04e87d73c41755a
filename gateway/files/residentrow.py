"""A municipality's row about a resident: who it is, read as in a signal file (spec 2, Exclusion file, Request file).

All that is wrong with a row is told at once, one code for each column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from gateway.domain.signal import RowError
from gateway.files.layout import Layout
from gateway.files.signalrow import COLUMNS, MOST_YEARS_OLD, clean_text, has_surplus, place_house
from gateway.files.table import Row


class Column(NamedTuple):
    """The field that a column fills, how it is read, and the code when that reads nothing."""

    field: str
    read: Callable[[str], object]
    code: str


RESIDENT_COLUMNS: Mapping[str, Column] = {
    name: Column(*COLUMNS[name][:3])
    for name in (
        "postcode",
        "huisnummer",
        "huisletter",
        "huisnummertoevoeging",
        "achternaam",
        "geboortedatum",
    )
}


class Cells(NamedTuple):
    """What a row says, by field, and what is wrong with it: column -> code."""

    values: dict[str, Any]
    faults: dict[str, str]


def read_cells(row: Row, layout: Layout, columns: Mapping[str, Column], most_chars: int) -> Cells | None:
    """The filled cells of a row; None when it does not fit its header. V10 comes before a column's own code."""
    if row.fields is None or has_surplus(row.fields, layout.width):
        return None
    cells = Cells({"house_letter": "", "house_number_suffix": ""}, {})
    for column, place in layout.places:
        text = clean_text(row.fields[place].strip(), most_chars) if place < len(row.fields) else ""
        if text is None:
            cells.faults[column] = "V10"
        elif text:
            value = columns[column].read(text)
            if value is None:
                cells.faults[column] = columns[column].code
            else:
                cells.values[columns[column].field] = value
    return cells


def check_filled(cells: Cells, columns: Mapping[str, Column], needed: Iterable[str]) -> None:
    """V01."""
    for column in needed:
        if columns[column].field not in cells.values:
            cells.faults.setdefault(column, "V01")


def check_resident(cells: Cells, received_on: date) -> None:
    """V03 and V11: what needs more than one cell, or the day of receipt."""
    if (house := cells.values.get("house_number")) is not None:
        place_house(house, cells.values, cells.faults)
    born_on = cells.values.get("born_on")
    if born_on is not None and not (
        received_on.year - MOST_YEARS_OLD <= born_on.year and born_on <= received_on
    ):
        cells.faults["geboortedatum"] = "V11"


def unfit(line: int) -> tuple[RowError, ...]:
    """A row that does not fit its header."""
    return (RowError(line=line, signal_id="", column="", code="V10"),)


def row_errors(
    line: int, about: str, order: Iterable[str], faults: Mapping[str, str]
) -> tuple[RowError, ...]:
    """What is wrong, in the order of the columns; `about` is the row's own number, if it has one."""
    return tuple(
        RowError(line=line, signal_id=about, column=column, code=faults[column])
        for column in order
        if column in faults
    )
