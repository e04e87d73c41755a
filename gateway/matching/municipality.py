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


def read_reference(lines: Iterable[str]) -> Iterator[tuple[str, int, str]]:
    """The table of Statistics Netherlands (CBS), `PC6;Huisnummer;…;Gemeente<year>`, row by row.

    Gives postcode, house number and `GM` + four digits; older years write the code as a plain integer.

    Raises:
        ValueError: a column is missing or a line can't be read; the text names the line.
    """
    rows = csv.reader(lines, delimiter=";")
    header = [name.strip('\ufeff" ') for name in next(rows, [])]
    try:
        postcode, number = header.index("PC6"), header.index("Huisnummer")
        code = next(at for at, name in enumerate(header) if _YEAR_COLUMN.fullmatch(name))
    except (ValueError, StopIteration):
        raise ValueError("line 1: columns PC6, Huisnummer and Gemeente<year> are needed") from None
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            yield row[postcode].strip(), int(row[number]), f"GM{int(row[code].removeprefix('GM')):04d}"
        except (ValueError, IndexError):
            raise ValueError(f"line {line}: no postcode, house number and municipality") from None
