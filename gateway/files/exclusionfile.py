"""A municipality's exclusion or known-residents file: from bytes to batches of rows (spec 2).

Both have the same columns but for the end date. All that is wrong with a row is told at once, one code for each
column. In which municipality an address lies is decided where that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, NamedTuple

from gateway.clock import add_months
from gateway.domain.delivery import Kind
from gateway.domain.exclusion import Listing, Reason
from gateway.domain.signal import Mutation, RowError, RowWarning
from gateway.files import formats
from gateway.files.columns import (
    EXCLUDED_UNTIL,
    KNOWN_UNTIL,
    LISTING_COLUMNS,
    LISTING_NEEDED,
    Layout,
    recognise_listing,
)
from gateway.files.signalrow import COLUMNS, MOST_YEARS_OLD, clean_text, has_surplus, place_house
from gateway.files.table import Limits, Row, Table, data_rows

#: Rows that are handed over at a time.
BATCH_ROWS = 2_000

#: What a row becomes; errors are one for each column.
ParsedListing = Listing | tuple[RowError, ...]

_REASONS: Mapping[str, Reason] = {reason.value: reason for reason in Reason}


class _Rules(NamedTuple):
    """What tells one kind of file from the other; months ahead that the end date may lie."""

    until: str
    most_months: int
    most_months_unnamed: int
    mutations: Mapping[str, Mutation]


#: A known-residents file replaces the last: there is nothing for it to end.
_KINDS: Mapping[Kind, _Rules] = {
    Kind.EXCLUSIONS: _Rules(EXCLUDED_UNTIL, 12, 6, {"N": Mutation.NEW, "I": Mutation.WITHDRAW}),
    Kind.KNOWN_RESIDENTS: _Rules(KNOWN_UNTIL, 6, 6, {"N": Mutation.NEW}),
}


class _Column(NamedTuple):
    """The field of Listing that a column fills, how it is read, and the code when that reads nothing."""

    field: str
    read: Callable[[str], object]
    code: str


def _columns(rules: _Rules) -> Mapping[str, _Column]:
    alike = ("postcode", "huisnummer", "huisletter", "huisnummertoevoeging", "achternaam", "geboortedatum")
    return {
        **{name: _Column(*COLUMNS[name][:3]) for name in alike},
        "reden": _Column("reason", lambda text: _REASONS.get(text.upper().replace(" ", "_")), "V15"),
        "mutatie": _Column("mutation", lambda text: rules.mutations.get(text.upper()), "V15"),
        rules.until: _Column("until", formats.read_date, "V05"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExclusionFile:
    """A file whose header is accepted; of which kind, its reader knows.

    `warnings` are of the file (W04, line 0). `batches` can be iterated once; while it is, the whole file may still be
    refused with a DeliveryError: F04, F05 or F09. What came before must then not count.
    """

    layout: Layout
    warnings: tuple[RowWarning, ...]
    batches: Iterator[list[ParsedListing]]


def read_listings(table: Table, kind: Kind, received_on: date, limits: Limits) -> ExclusionFile:
    """Read whom a municipality lists in constant memory.

    Args:
        table: whose header is read.
        kind: EXCLUSIONS or KNOWN_RESIDENTS.
        received_on: the day of receipt in the Netherlands.
        limits: how much is read.

    Raises:
        DeliveryError: the file is refused: F01 or F02.
    """
    rules = _KINDS[kind]
    layout = recognise_listing(table.header, rules.until)
    rows = data_rows(table.rows, dict(layout.places), limits.rows)
    return ExclusionFile(
        layout=layout,
        warnings=tuple(RowWarning(line=0, signal_id="", column=name, code="W04") for name in layout.ignored),
        batches=_batches(rows, _Reading(layout, _columns(rules), rules, received_on, limits.field_chars)),
    )


class _Reading(NamedTuple):
    """What all rows of one file are read by."""

    layout: Layout
    columns: Mapping[str, _Column]
    rules: _Rules
    received_on: date
    field_chars: int


def _batches(rows: Iterator[Row], reading: _Reading) -> Iterator[list[ParsedListing]]:
    while some := list(islice(rows, BATCH_ROWS)):
        yield [_parse(row, reading) for row in some]


def _parse(row: Row, reading: _Reading) -> ParsedListing:
    """Read one row: V01, V02, V03, V05, V10, V11, V15, V17."""
    layout, columns, rules, received_on, field_chars = reading
    line, fields = row
    if fields is None or has_surplus(fields, layout.width):
        return (RowError(line=line, signal_id="", column="", code="V10"),)
    values: dict[str, Any] = {"house_letter": "", "house_number_suffix": "", "mutation": Mutation.NEW}
    faults: dict[str, str] = {}
    for column, place in layout.places:
        text = clean_text(fields[place].strip(), field_chars) if place < len(fields) else ""
        if text is None:
            faults[column] = "V10"
        elif text:
            value = columns[column].read(text)
            if value is None:
                faults[column] = columns[column].code
            else:
                values[columns[column].field] = value
    if values["mutation"] is Mutation.WITHDRAW and "mutatie" not in faults:
        # whom it ends says all: an end date or a reason has nothing to say
        for name in (rules.until, "reden"):
            values.pop(columns[name].field, None)
            faults.pop(name, None)
    else:
        _check_until(values, faults, rules, received_on)
    _check_resident(values, faults, received_on)
    if faults:
        return tuple(
            RowError(line=line, signal_id="", column=column, code=faults[column])
            for column in (*LISTING_COLUMNS, rules.until)
            if column in faults
        )
    return Listing(line=line, **values)


def _check_resident(values: dict[str, Any], faults: dict[str, str], received_on: date) -> None:
    """V01, V03, V11. A date of birth without a name is nobody's."""
    for column in LISTING_NEEDED:
        if COLUMNS[column].field not in values:
            faults.setdefault(column, "V01")
    if (house := values.get("house_number")) is not None:
        place_house(house, values, faults)
    born_on = values.get("born_on")
    if born_on is not None:
        if "surname" not in values:
            faults.setdefault("achternaam", "V01")
        if not (received_on.year - MOST_YEARS_OLD <= born_on.year and born_on <= received_on):
            faults["geboortedatum"] = "V11"


def _check_until(values: Mapping[str, Any], faults: dict[str, str], rules: _Rules, received_on: date) -> None:
    """V17 missing or too far, V11 over already."""
    until = values.get("until")
    months = rules.most_months if "surname" in values else rules.most_months_unnamed
    if until is None:
        faults.setdefault(rules.until, "V17")
    elif until > add_months(received_on, months):
        faults[rules.until] = "V17"
    elif until < received_on:
        faults[rules.until] = "V11"
