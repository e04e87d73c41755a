"""A table as it is read, of whatever kind of file: limits, rows, where the header stands, what is no data row (spec 2).

Files from real exports have a title above the header and a total below the last row. The header is the row, of the
first ones, that has most of the names that are known; without one of at least two it is the first row. A total is the
last row, when it can't be anybody's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.errors import DeliveryError

#: Opens the file anew, from its first byte, as chunks of any size (64 KiB suits).
OpenStream = Callable[[], Iterable[bytes]]

#: The header is one of so many lines, from the first that is filled.
HEADER_WITHIN = 30
#: A row with so many known names is a header.
_LEAST_NAMES = 2

_TOTAL = re.compile(r"(?:eind|sub)?totaa?l(?:en)?\b|aantal\b|som\b", re.IGNORECASE)
#: A row in which one of these holds something else than the word total is somebody's.
_SOMEBODYS = ("sector", "achternaam", "postcode", "mutatie", "signaalnummer", "melding_id")
#: What a total without a word fills, and nothing else.
_SUMMED = frozenset({"bedrag", "dagen_achterstand"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a file is read (spec 2, Limits)."""

    file_bytes: int = 64 * 1024**2
    #: data rows: not the header, not empty lines
    rows: int = 100_000
    columns: int = 200
    #: characters of a field that is read; columns that are ignored are not measured
    field_chars: int = 1_000
    #: of a physical line, and of a row that spans several; of all cells of an XLSX row
    line_bytes: int = 64 * 1024
    #: of all parts of an XLSX together
    unpacked_bytes: int = 200 * 1024**2
    #: times that a part of an XLSX may grow when it is unpacked
    ratio: int = 100


class Row(NamedTuple):
    """One row. `line` is its first physical line, or its row in the sheet; `fields` is None when it can't be read (V10)."""

    line: int
    fields: list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose header is read. `rows` can be iterated once and raises DeliveryError when it must.

    `above` are the filled cells that stand above the header. `encoding` and `delimiter` are those of a CSV file. `sheet`
    is named when it is one of a worklist; `more` are the tables that follow it, each there when the rows of the one
    before it are read.
    """

    kind: str
    header: tuple[str, ...]
    header_line: int
    above: tuple[str, ...] = ()
    rows: Iterator[Row]
    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""
    more: Iterator[Table] = field(default_factory=lambda: iter(()))


#: Reads a file as a table whose header is found by names, folded.
ReadTable = Callable[[OpenStream, Limits, Collection[str]], Table]


def fold(name: str) -> str:
    """A column name as it is compared: case, white space, `_` and `-` don't count."""
    return "".join(name.split()).replace("_", "").replace("-", "").casefold()


def count_names(fields: Iterable[str], known: Collection[str]) -> int:
    """How many of the known names a row has."""
    return len({fold(field) for field in fields}.intersection(known))


def find_header(candidates: Sequence[Sequence[str]], known: Collection[str]) -> int:
    """Which of the rows is the header: the first of those with most known names, else the first of all."""
    counts = [count_names(fields, known) for fields in candidates]
    most = max(counts, default=0)
    return counts.index(most) if most >= _LEAST_NAMES else 0


def read_header(fields: Iterable[str], limits: Limits) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        DeliveryError: F06, too many columns.
    """
    names = tuple(field.strip() for field in fields)
    if len(names) > limits.columns:
        raise DeliveryError("F06", f"meer dan {limits.columns} kolommen")
    return names


def data_rows(
    rows: Iterator[Row], places: Mapping[str, int], most_rows: int, *, may_be_none: bool = False
) -> Iterator[Row]:
    """The rows but a total at the end.

    Raises:
        DeliveryError: F05, too many rows; F04, none, unless there may be none.
    """
    count = 0
    for row in _without_total(rows, places):
        count += 1
        if count > most_rows:
            raise DeliveryError("F05", f"meer dan {most_rows} regels")
        yield row
    if not count and not may_be_none:
        raise DeliveryError("F04", "geen gegevensregels")


def _without_total(rows: Iterator[Row], places: Mapping[str, int]) -> Iterator[Row]:
    held: Row | None = None
    for row in rows:
        if held is not None:
            yield held
        held = row
    if held is not None and (held.fields is None or not _is_total(held.fields, places)):
        yield held


def _is_total(fields: Sequence[str], places: Mapping[str, int]) -> bool:
    """Whether a row tells of others: it has the word, or sums only, and nothing that makes it somebody's."""
    texts = [field.strip() for field in fields]
    ours = {name: texts[place] for name, place in places.items() if place < len(texts) and texts[place]}
    if not any(_TOTAL.match(text) for text in texts):
        return bool(ours) and ours.keys() <= _SUMMED and sum(map(bool, texts)) == len(ours)
    return all(name not in ours or _TOTAL.match(ours[name]) for name in _SOMEBODYS)
