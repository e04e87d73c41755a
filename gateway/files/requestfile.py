"""A municipality's request file: from bytes to requests about persons (spec 2, Request file).

All that is wrong with a row is told at once, one code for each column.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

from gateway.domain.request import Ask, Request, RequestWithdrawal, Subject
from gateway.domain.signal import Mutation, RowError, RowWarning
from gateway.files import formats
from gateway.files.columns import REQUEST_COLUMNS, Layout, recognise_requests
from gateway.files.table import Limits, Row, Table, data_rows

#: Rows of one file: for each the files that are held are read.
MOST_REQUESTS = 100

#: What a row becomes; errors are one for each column.
ParsedRequest = Request | RequestWithdrawal | tuple[RowError, ...]

_NUMBER = re.compile(r"[0-9-]{1,20}")
_LETTER = re.compile(r"[A-Za-z]")
_LONGEST_NAME = 200
_LONGEST_SUFFIX = 4
_ADDRESS = ("postcode", "huisnummer", "huisletter", "huisnummertoevoeging")
_ASKS = {each.value: each for each in Ask}
_MUTATIONS = {each.value: each for each in (Mutation.NEW, Mutation.WITHDRAW)}


class _Column(NamedTuple):
    """How a column is read, and the code when that reads nothing."""

    read: Callable[[str], object]
    code: str


def _name(text: str) -> str | None:
    """A surname: composed, with plain spaces, printable."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text if len(text) <= _LONGEST_NAME and text.isprintable() and "\ufffd" not in text else None


_COLUMNS: Mapping[str, _Column] = {
    "avg_verzoek": _Column(lambda text: _ASKS.get(text.upper()), "V15"),
    # numbers stay for years, on certificates too: none may be somebody's BSN
    "verzoek_id": _Column(
        lambda text: text if _NUMBER.fullmatch(text) and not formats.looks_like_bsn(text) else None, "V15"
    ),
    "achternaam": _Column(_name, "V10"),
    "geboortedatum": _Column(formats.read_date, "V05"),
    "postcode": _Column(formats.read_postcode, "V02"),
    "huisnummer": _Column(formats.read_house_number, "V03"),
    "huisletter": _Column(lambda text: text.upper() if _LETTER.fullmatch(text) else None, "V03"),
    "huisnummertoevoeging": _Column(
        lambda text: text if len(text) <= _LONGEST_SUFFIX and text.isprintable() else None, "V10"
    ),
    "mutatie": _Column(lambda text: _MUTATIONS.get(text.upper()), "V15"),
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
        warnings=tuple(RowWarning(line=0, signal_id="", column=name, code="W04") for name in layout.ignored),
        rows=tuple(parse_request(row, layout, received_on) for row in rows),
    )


def parse_request(row: Row, layout: Layout, received_on: date) -> ParsedRequest:
    """Read one row: V01, V02, V03, V05, V10, V11 and V15."""
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
    number = values.get("verzoek_id") or ""
    if values.get("mutatie") is Mutation.WITHDRAW:
        if number:
            return RequestWithdrawal(line=line, number=number)
        faults = {"verzoek_id": faults.get("verzoek_id", "V01")}
    else:
        _check_filled(values, faults)
    born_on = values.get("geboortedatum")
    if born_on is not None and born_on > received_on:
        faults["geboortedatum"] = "V11"
    subject = _subject(values, faults)
    if faults:
        return tuple(
            RowError(line=line, signal_id=number, column=column, code=faults[column])
            for column in REQUEST_COLUMNS
            if column in faults
        )
    return Request(line=line, number=number, ask=values["avg_verzoek"], subject=subject)


def _check_filled(values: Mapping[str, Any], faults: dict[str, str]) -> None:
    """V01: a surname, and with it a date of birth or an address; an address is whole or not there."""
    for column in ("avg_verzoek", "verzoek_id", "achternaam"):
        if column not in values:
            faults.setdefault(column, "V01")
    if "geboortedatum" in values and not values.keys() & set(_ADDRESS):
        return
    for column in ("postcode", "huisnummer"):
        if column not in values:
            faults.setdefault(column, "V01")


def _subject(values: Mapping[str, Any], faults: dict[str, str]) -> Subject:
    """Whom the row is about. What stands behind the house number counts where its own column is empty."""
    letter, suffix = values.get("huisletter") or "", values.get("huisnummertoevoeging") or ""
    house: formats.HouseNumber | None = values.get("huisnummer")
    subject = Subject(
        surname=values.get("achternaam") or "",
        born_on=values.get("geboortedatum"),
        postcode=values.get("postcode") or "",
        house_letter=letter,
        house_number_suffix=suffix,
    )
    if house is None:
        return subject
    if (house.letter and letter) or (house.suffix and suffix):
        faults["huisnummer"] = "V03"
    return replace(
        subject,
        house_number=house.number,
        house_letter=letter or house.letter,
        house_number_suffix=suffix or house.suffix,
    )
