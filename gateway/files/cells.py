"""Cells of the CSV files that we write, safe to open in a spreadsheet (spec 2; OWASP, CSV injection)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache

#: A cell that begins with one of these is run as a formula; the last four are full-width forms.
FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001  # the look-alikes are the point

_GUARDED = re.compile(f";[{re.escape(''.join(sorted(FORMULA_STARTS)))}]")

#: How much is written at a time, in characters.
_CHUNK_CHARS = 64 * 1024


def guard(text: str) -> str:
    """The text, with a leading `'` when a spreadsheet would run it."""
    return "'" + text if text and text[0] in FORMULA_STARTS else text


def yes_no(value: bool) -> str:
    """The wire's `J` or `N`."""
    return "J" if value else "N"


def euros(cents: int) -> str:
    """An amount with a decimal comma and two decimals."""
    return f"{cents // 100},{cents % 100:02d}"


@lru_cache(maxsize=1024)
def day(value: date | None) -> str:
    """An ISO date, or nothing."""
    return "" if value is None else value.isoformat()


def number(value: int | None) -> str:
    """A whole number, or nothing."""
    return "" if value is None else str(value)


def _is_plain(line: str, cells: int) -> bool:
    """Whether a line of so many cells stands for itself: nothing in it is guarded or quoted, as in nearly all."""
    return (
        line.count(";") == cells - 1
        and not _GUARDED.search(";" + line)
        and not ('"' in line or "\r" in line or "\n" in line)
        and line != ""
    )


def render_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """A CSV file in chunks: UTF-8 with BOM, `;`, CRLF. Every cell is guarded."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=";", lineterminator="\r\n")
    buffer.write("\ufeff")
    writer.writerow(columns)
    for row in rows:
        line = ";".join(row)
        if _is_plain(line, len(row)):
            buffer.write(line + "\r\n")
        else:
            writer.writerow([guard(cell) for cell in row])
        if buffer.tell() >= _CHUNK_CHARS:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()
