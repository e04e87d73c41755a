"""A municipality's request file: from bytes to requests about persons (spec 2, Request file).

All that is wrong with a row is told at once, one code for each column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from gateway.domain.request import Ask, Request, RequestWithdrawal, Subject
from gateway.domain.signal import Mutation, RowError, RowWarning
from gateway.files import formats
from gateway.files.columns import REQUEST_COLUMNS
from gateway.files.layout import Layout, recognise_requests
from gateway.files.residentrow import (
    RESIDENT_COLUMNS,
    Cells,
    Column,
    check_filled,
    check_resident,
    read_cells,
    row_errors,
    unfit,
)
from gateway.files.table import Limits, Row, Table, data_rows

#: Rows of one file: for each the files that are held are read.
MOST_REQUESTS = 100

#: What a row becomes; errors are one for each column.
ParsedRequest = Request | RequestWithdrawal | tuple[RowError, ...]

_NUMBER = re.compile(r"[0-9-]{1,20}")
_ADDRESS = ("postcode", "huisnummer", "huisletter", "huisnummertoevoeging")
_ASKS = {each.value: each for each in Ask}
_MUTATIONS = {each.value: each for each in (Mutation.NEW, Mutation.WITHDRAW)}


_COLUMNS: Mapping[str, Column] = {
    **RESIDENT_COLUMNS,
    "avg_verzoek": Column("ask", lambda text: _ASKS.get(text.upper()), "V15"),
    # numbers stay for years, on certificates too: none may be somebody's BSN
    "verzoek_id": Column(
        "number",
        lambda text: text if _NUMBER.fullmatch(text) and not formats.looks_like_bsn(text) else None,
        "V15",
    ),
    "mutatie": Column("mutation", lambda text: _MUTATIONS.get(text.upper()), "V15"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFile:
    """A request file; `warnings` are of the file (W04, line 0)."""

    warnings: tuple[RowWarning, ...]
    rows: tuple[ParsedRequest, ...]


def read_requests(table: Table, received_on: date, limits: Limits) -> RequestFile:
    """Read a municipality's requests; `received_on` is the day of receipt in the Netherlands.

    Raises:
        DeliveryError: the file is refused: F01, F02, F04, F05 or F09.
    """
    layout = recognise_requests(table.header)
    rows = data_rows(table.rows, dict(layout.places), min(limits.rows, MOST_REQUESTS))
    return RequestFile(
        warnings=layout.warnings,
        rows=tuple(parse_request(row, layout, received_on, limits.field_chars) for row in rows),
    )


def parse_request(row: Row, layout: Layout, received_on: date, most_chars: int) -> ParsedRequest:
    """Read one row: V01, V02, V03, V05, V10, V11 and V15."""
    cells = read_cells(row, layout, _COLUMNS, most_chars)
    if cells is None:
        return unfit(row.line)
    values, faults = cells
    number = values.get("number", "")
    if values.pop("mutation", Mutation.NEW) is Mutation.WITHDRAW:
        if number:
            return RequestWithdrawal(line=row.line, number=number)
        return row_errors(row.line, "", ("verzoek_id",), {"verzoek_id": faults.get("verzoek_id", "V01")})
    check_filled(cells, _COLUMNS, ("avg_verzoek", "verzoek_id", "achternaam"))
    # a surname needs a date of birth or an address; an address is whole or not there
    if not _says(cells, "geboortedatum") or any(_says(cells, column) for column in _ADDRESS):
        check_filled(cells, _COLUMNS, ("postcode", "huisnummer"))
    check_resident(cells, received_on)
    if faults:
        return row_errors(row.line, number, REQUEST_COLUMNS, faults)
    ask = values.pop("ask")
    del values["number"]
    return Request(line=row.line, number=number, ask=ask, subject=Subject(**values))


def _says(cells: Cells, column: str) -> bool:
    """Whether a column is filled, rightly or not."""
    return column in cells.faults or bool(cells.values.get(_COLUMNS[column].field))
