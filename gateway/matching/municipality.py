"""Which municipality an address lies in (spec 3, Municipality of a signal).

The readers take lines of text, so that whoever opens the file decides where it lies and how it is encoded.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import NamedTuple

_YEAR_COLUMN = re.compile(r"Gemeente(\d{4})")
_POSTCODE = re.compile(rb"([1-9][0-9]{3}) ?([A-Z]{2})")
#: Of a house number (spec 2, Signal file).
_HIGHEST_NUMBER = 99_999


class Found(NamedTuple):
    """`code` is None when the signal can't be routed (D40)."""

    code: str | None
    #: W03: the row's `gemeentecode` does not belong to its postcode, which decides
    is_contradicted: bool


class Successor(NamedTuple):
    """The municipality that took over, from a day on."""

    code: str
    starts_on: date


def municipality_of(hit: str | None, by_pc4: tuple[str, ...], stated: str) -> Found:
    """The municipality of a signal.

    Args:
        hit: what the reference table says of postcode and house number; None when they are not in it.
        by_pc4: the municipalities of the four digits.
        stated: `gemeentecode` of the row, `GM` + four digits; empty when it has none.
    """
    candidates = (hit,) if hit else by_pc4
    is_contradicted = bool(stated and candidates and stated not in candidates)
    if len(candidates) == 1:
        return Found(candidates[0], is_contradicted)
    return Found(stated if stated in candidates else None, is_contradicted)


def follow(code: str, on: date, successors: Mapping[str, Successor]) -> str:
    """The municipality that `code` is part of on a day; itself unless it merged."""
    seen = {code}
    while (after := successors.get(code)) and after.starts_on <= on and after.code not in seen:
        code = after.code
        seen.add(code)
    return code


def predecessors(code: str, on: date, successors: Mapping[str, Successor]) -> tuple[str, ...]:
    """The municipalities that became part of `code`, itself or through others, by a day; in a fixed order."""
    begun = {each: after for each, after in successors.items() if after.starts_on <= on}
    return tuple(each for each in sorted(begun) if code in successors_of(each, begun) and each != code)


def successors_of(code: str, successors: Mapping[str, Successor]) -> tuple[str, ...]:
    """The municipalities that `code` becomes part of, whenever that is, the nearest first."""
    found: list[str] = []
    while (after := successors.get(code)) and after.code not in found:
        code = after.code
        found.append(code)
    return tuple(found)


def read_pc4(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The shipped table `PC4;Gemeente`: four digits to the municipalities that have them."""
    found: dict[str, tuple[str, ...]] = {}
    for row in csv.DictReader(lines, delimiter=";"):
        digits, code = row["PC4"], row["Gemeente"]
        found[digits] = (*found.get(digits, ()), code)
    return found


def read_names(lines: Iterable[str]) -> dict[str, str]:
    """The shipped table `gemeentecode;naam;provincie`: code to name."""
    return {row["gemeentecode"]: row["naam"] for row in csv.DictReader(lines, delimiter=";")}


class Reference(NamedTuple):
    """The table of Statistics Netherlands (CBS): of which year, and postcode, house number, `GM` + four digits."""

    year: int
    rows: Iterator[tuple[str, int, str]]


def read_reference(lines: Iterable[bytes]) -> Reference:
    """The table `PC6;Huisnummer;…;Gemeente<year>`, header at once and the rest row by row.

    Only postcodes, numbers and codes are read: the same bytes in UTF-8 and in the ISO-8859-1 of older years, which
    write codes as plain integers.

    Raises:
        ValueError: here or at a row: a column is missing or a line can't be read; the text names the line.
    """
    rest = iter(lines)
    header = [name.strip() for name in _cells(next(rest, b"").decode("utf-8-sig", "replace"))]
    try:
        postcode, number = header.index("PC6"), header.index("Huisnummer")
        code, year = next((at, found) for at, name in enumerate(header) if (found := _year(name)))
    except (ValueError, StopIteration):
        raise ValueError("line 1: columns PC6, Huisnummer and Gemeente<year> are needed") from None
    return Reference(year, _reference_rows(rest, postcode, number, code))


def _reference_rows(
    lines: Iterator[bytes], postcode_at: int, number_at: int, code_at: int
) -> Iterator[tuple[str, int, str]]:
    # eight million lines within a minute: most differ from the line before in their number only
    codes: dict[bytes, str] = {}
    last, postcode, code = b"", "", ""
    for at, line in enumerate(lines, start=2):
        cells = line.split(b";") if b'"' not in line else _unquoted(line)
        try:
            cell, number = cells[postcode_at], int(cells[number_at])
            if cell != last:
                last, postcode = cell, _postcode(cell)
            code = codes.get(cells[code_at], "")
            if not code:
                code = codes[cells[code_at]] = _code(cells[code_at])
        except (ValueError, IndexError):
            if not line.strip():
                continue
            number = 0
        if not 0 < number <= _HIGHEST_NUMBER:
            raise ValueError(f"line {at}: no postcode, house number and municipality")
        yield postcode, number, code


def _cells(line: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r\n")], delimiter=";"), [])


def _unquoted(line: bytes) -> list[bytes]:
    return [cell.encode("latin-1") for cell in _cells(line.decode("latin-1"))]


def _year(name: str) -> int | None:
    found = _YEAR_COLUMN.fullmatch(name)
    return int(found[1]) if found else None


def _postcode(cell: bytes) -> str:
    found = _POSTCODE.fullmatch(cell.strip())
    if found is None:
        raise ValueError
    return (found[1] + found[2]).decode("ascii")


def _code(cell: bytes) -> str:
    digits = cell.strip().removeprefix(b"GM")
    if not (digits.isdigit() and int(digits) < 10_000):
        raise ValueError
    return f"GM{int(digits):04d}"
