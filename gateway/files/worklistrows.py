"""Lines of a worklist's tables, written into the package that xlsxwriter made of everything else.

xlsxwriter keeps every cell as an object until the end: 0.5 kB and some 20 µs each. Its rows are replaced by ours, which
pass once and are kept compressed only. A text stands in its own cell (ECMA-376, 18.18.11: `inlineStr`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from xlsxwriter.utility import xl_col_to_name

#: What a cell may hold: an amount is a Decimal. Text stays text, whatever it begins with.
Cell = str | int | Decimal | date | None
#: A line's cells by column, and its height in points where it is not that of one line of text.
TableLine = tuple[Mapping[str, Cell], float | None]

#: The styles of the first cells of the second row: of wrapped text, short text, whole numbers, amounts and days.
_SAMPLE = re.compile(r'<c r="[A-Z]+2" s="(\d+)"/>')
#: What is not written as it is: markup, characters that XML does not take, what reads as an escape of one
#: (ECMA-376, 22.4.2.4), and space that would be lost.
_ODD = re.compile("[&<>\x00-\x08\x0b-\x1f\ufffe\uffff]|_x[0-9A-Fa-f]{4}_|^\\s|\\s$")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")
_ESCAPE = re.compile("_(x[0-9A-Fa-f]{4}_)")
#: Serial number 0, in a calendar in which 1900 has a 29 February (ECMA-376, 18.17.4.1).
_DAY_ZERO = date(1899, 12, 30).toordinal()
_MARCH_1900 = 61
#: Lines that are compressed at a time.
_LINES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLines:
    """The lines of one table: its columns in their order, and those whose text may need several lines."""

    columns: Sequence[str]
    wrapped: frozenset[str]
    lines: Iterable[TableLine]


def fill(template: BytesIO, tables: Mapping[str, TableLines]) -> bytes:
    """The package with the lines in place of the sample row, by the part (`xl/worksheets/…`) that a table is in."""
    filled = BytesIO()
    with ZipFile(template) as made, ZipFile(filled, "w", ZIP_DEFLATED) as package:
        for part in made.infolist():
            if part.filename not in tables:
                package.writestr(part, made.read(part))
                continue
            before, sample, after = _cut(made.read(part).decode())
            # of its own time of day: the file's is that of the gateway's clock
            entry = ZipInfo(part.filename, part.date_time)
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, part.external_attr
            with package.open(entry, "w") as out:
                out.write(before.encode())
                for chunk in _rows(tables[part.filename], sample):
                    out.write(chunk)
                out.write(after.encode())
    return filled.getvalue()


def _cut(sheet: str) -> tuple[str, str, str]:
    """A sheet up to its second row, the rows from there on, and what follows."""
    first = sheet.index('<row r="2"')
    last = sheet.index("</sheetData>")
    return sheet[:first], sheet[first:last], sheet[last:]


def _rows(table: TableLines, sample: str) -> Iterator[bytes]:
    wrapped, short, whole, euro, day = _SAMPLE.findall(sample)[:5]
    places = [
        (column, xl_col_to_name(place), wrapped if column in table.wrapped else short)
        for place, column in enumerate(table.columns)
    ]
    rows: list[str] = []
    for row, (line, height) in enumerate(table.lines, start=2):
        rows.append(f'<row r="{row}" ht="{height:g}" customHeight="1">' if height else f'<row r="{row}">')
        for column, letters, style in places:
            value = line.get(column)
            if value is None or value == "":
                continue
            if isinstance(value, str):
                text = f"<t>{value}</t>" if _ODD.search(value) is None else _escaped(value)
                rows.append(f'<c r="{letters}{row}" s="{style}" t="inlineStr"><is>{text}</is></c>')
            elif isinstance(value, int):
                rows.append(f'<c r="{letters}{row}" s="{whole}"><v>{value}</v></c>')
            elif isinstance(value, Decimal):
                rows.append(f'<c r="{letters}{row}" s="{euro}"><v>{value:f}</v></c>')
            else:
                rows.append(f'<c r="{letters}{row}" s="{day}"><v>{_serial(value)}</v></c>')
        rows.append("</row>")
        if row % _LINES == 0:
            yield "".join(rows).encode()
            rows.clear()
    yield "".join(rows).encode()


def _escaped(text: str) -> str:
    text = _ESCAPE.sub(r"_x005F_\1", text)
    text = _CONTROL.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<t xml:space="preserve">{text}</t>'


def _serial(day: date) -> int:
    number = day.toordinal() - _DAY_ZERO
    return number if number >= _MARCH_1900 else number - 1
