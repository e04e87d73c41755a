"""A municipality's exclusion or known-residents file: from bytes to batches of rows (spec 2).

Both have the same columns but for the end date. All that is wrong with a row is told at once, one code for each
column. In which municipality an address lies is decided where that is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, NamedTuple

from gateway.clock import add_months
from gateway.domain.delivery import Kind
from gateway.domain.exclusion import Listing, Reason
from gateway.domain.signal import Mutation, RowError, RowWarning
from gateway.files import formats
from gateway.files.columns import EXCLUDED_UNTIL, KNOWN_UNTIL, LISTING_COLUMNS, LISTING_NEEDED
from gateway.files.layout import Layout, recognise_listing
from gateway.files.residentrow import (
    RESIDENT_COLUMNS,
    Column,
    check_filled,
    check_resident,
    read_cells,
    row_errors,
    unfit,
)
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


def _columns(rules: _Rules) -> Mapping[str, Column]:
    return {
        **RESIDENT_COLUMNS,
        "reden": Column("reason", lambda text: _REASONS.get(text.upper().replace(" ", "_")), "V15"),
        "mutatie": Column("mutation", lambda text: rules.mutations.get(text.upper()), "V15"),
        rules.until: Column("until", formats.read_date, "V05"),
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
        warnings=layout.warnings,
        batches=_batches(rows, _Reading(layout, _columns(rules), rules, received_on, limits.field_chars)),
    )


class _Reading(NamedTuple):
    """What all rows of one file are read by."""

    layout: Layout
    columns: Mapping[str, Column]
    rules: _Rules
    received_on: date
    field_chars: int


def _batches(rows: Iterator[Row], reading: _Reading) -> Iterator[list[ParsedListing]]:
    while some := list(islice(rows, BATCH_ROWS)):
        yield [_parse(row, reading) for row in some]


def _parse(row: Row, reading: _Reading) -> ParsedListing:
    """Read one row: V01, V02, V03, V05, V10, V11, V15, V17."""
    layout, columns, rules, received_on, field_chars = reading
    cells = read_cells(row, layout, columns, field_chars)
    if cells is None:
        return unfit(row.line)
    values, faults = cells
    values.setdefault("mutation", Mutation.NEW)
    if values["mutation"] is Mutation.WITHDRAW and "mutatie" not in faults:
        # whom it ends says all: an end date or a reason has nothing to say
        for name in (rules.until, "reden"):
            values.pop(columns[name].field, None)
            faults.pop(name, None)
    else:
        _check_until(values, faults, rules, received_on)
    check_filled(cells, columns, LISTING_NEEDED)
    # a date of birth without a name is nobody's
    if "born_on" in values:
        check_filled(cells, columns, ("achternaam",))
    check_resident(cells, received_on)
    if faults:
        return row_errors(row.line, "", (*LISTING_COLUMNS, rules.until), faults)
    return Listing(line=row.line, **values)


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
