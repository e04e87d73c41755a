"""Who stands in a file that is held: rows of any file of a partner, read by the columns of a signal file.

Also rows that were rejected, so nothing of a cell is taken for granted: what can't be read says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from gateway.domain.partner import Partner
from gateway.domain.request import Subject
from gateway.files import formats
from gateway.files.layout import MUNICIPAL_NAMES, known_names, person_places
from gateway.files.table import Limits, OpenStream, ReadTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A row of a file, whoever it is about: its line, and the filled cells of our columns as they were sent.

    `signal_number` is the signal that it refers to, empty when it does not.
    """

    line: int
    signal_number: str
    cells: Mapping[str, str]

    @property
    def postcode(self) -> str:
        """The postcode, empty when it can't be read."""
        return formats.read_postcode(self.cells.get("postcode", "")) or ""

    @property
    def house_number(self) -> int | None:
        """The house number, None when it can't be read."""
        house = formats.read_house_number(self.cells.get("huisnummer", ""))
        return None if house is None else house.number

    @property
    def subject(self) -> Subject:
        """Whom it is about."""
        cells = self.cells
        house = formats.read_house_number(cells.get("huisnummer", ""))
        return Subject(
            surname=cells.get("achternaam", ""),
            born_on=formats.read_date(cells.get("geboortedatum", "")),
            postcode=self.postcode,
            house_number=self.house_number,
            house_letter=cells.get("huisletter", "") or (house.letter if house else ""),
            house_number_suffix=cells.get("huisnummertoevoeging", "") or (house.suffix if house else ""),
        )

    @property
    def municipality(self) -> str:
        """The municipality that it states, empty when it states none."""
        return formats.read_municipality(self.cells.get("gemeentecode", "")) or ""


def mentions(
    open_stream: OpenStream, partner: Partner, limits: Limits, read_table: ReadTable
) -> Iterator[Mention]:
    """Every row of a file.

    Raises:
        DeliveryError: it can't be read as a table, or not to its end.
    """
    table = read_table(open_stream, limits, known_names(partner) | MUNICIPAL_NAMES)
    # a worklist that was filled in has two sheets
    for each in chain((table,), table.more):
        places = person_places(each.header, partner)
        for line, fields in each.rows:
            if fields is not None:
                filled = {
                    name: fields[place].strip() for name, place in places.items() if place < len(fields)
                }
                number = filled.pop("signaalnummer", "").upper()
                cells = {name: text for name, text in filled.items() if text}
                yield Mention(line=line, signal_number=number, cells=cells)
