"""A creditor's signal file: from bytes to batches of rows (spec 2, Reading and Signal file).

What kind of file it is, is decided by content and by who sent it. What is not a table is F01, or F11 where it is surely
something else (PDF, JSON …). A creditor's table is always a signal file: without the needed columns it is
F02, whatever it looks like. A municipality sends no signal files: F11.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice

from gateway.domain.partner import Partner, Role
from gateway.domain.signal import RowWarning, Signal
from gateway.errors import DeliveryError
from gateway.files import csvfile
from gateway.files.layout import Layout, known_names, recognise
from gateway.files.signalrow import ParsedRow, RowRules, parse_row, rules_for, warning_of
from gateway.files.table import Limits, OpenStream, ReadTable, Row, Table, data_rows

#: Rows that are handed over at a time.
BATCH_ROWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of the file, in line order: one entry for each data row. `warnings` are W01.

    `every_row_dated`: whether every row, rejected ones too, bears its own signaaldatum (spec 1, Uploads 6).
    """

    rows: list[ParsedRow] = field(default_factory=list)
    warnings: list[RowWarning] = field(default_factory=list)
    every_row_dated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFile:
    """A signal file whose header is accepted.

    `warnings` are of the file (W04, line 0, one for each column that is not read). `batches` can be iterated once; while
    it is, the whole file may still be refused with a DeliveryError: F01, F02, F04, F05, F06 or F09. What came before must then
    not count. The number of data rows is the sum of the batches' rows.
    """

    table: Table
    layout: Layout
    warnings: tuple[RowWarning, ...]
    batches: Iterator[Batch]


def read_signals(
    open_stream: OpenStream,
    partner: Partner,
    received_on: date,
    limits: Limits | None = None,
    read_table: ReadTable = csvfile.read_table,
) -> SignalFile:
    """Read a signal file in constant memory.

    Args:
        open_stream: opens the file from its first byte; called several times.
        partner: who sent it: its role, sectors, columns and defaults.
        received_on: the day of receipt in the Netherlands.
        limits: how much is read; those of the specification when None.
        read_table: reads the kinds of file that are expected.

    Raises:
        DeliveryError: the file is refused: F01, F02, F03, F04, F06, F07, F09 or F11.
    """
    limits = limits or Limits()
    table = read_table(open_stream, limits, known_names(partner))
    if partner.role is not Role.CREDITOR:
        raise DeliveryError("F11")
    layout = recognise(table.header, partner, table.above)
    return SignalFile(
        table=table,
        layout=layout,
        warnings=layout.warnings,
        batches=_batches(
            data_rows(table.rows, dict(layout.places), limits.rows),
            rules_for(layout, partner, received_on, limits.field_chars),
        ),
    )


def _batches(rows: Iterator[Row], rules: RowRules) -> Iterator[Batch]:
    dated = dict(rules.layout.places).get("signaaldatum")
    while some := list(islice(rows, BATCH_ROWS)):
        batch = Batch(every_row_dated=dated is not None and all(_is_filled(row, dated) for row in some))
        for line, fields in some:
            parsed = parse_row(line, fields, rules)
            batch.rows.append(parsed)
            if isinstance(parsed, Signal) and (warning := warning_of(parsed)):
                batch.warnings.append(warning)
        yield batch


def _is_filled(row: Row, place: int) -> bool:
    """Whether a row could be read and has something in a column."""
    return row.fields is not None and place < len(row.fields) and bool(row.fields[place].strip())
