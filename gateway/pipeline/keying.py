"""Every place of a file's signals: by signaal_id, contract, address and person (spec 3, Keys)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date
from functools import partial
from typing import NamedTuple

from gateway.clock import month_of
from gateway.domain.policy import Grouping
from gateway.domain.signal import Signal, SignalState
from gateway.files.signalrow import ParsedRow
from gateway.matching import keys
from gateway.matching.keys import Level, Parts
from gateway.pipeline.locate import Located
from gateway.pipeline.places import Former, Places, Scoped
from gateway.store import Connection
from gateway.vault.ids import random_places
from gateway.vault.index import Indexer

#: The levels whose keys are compared within a municipality: the contract, and those of `Levels`, in their order.
_WITHIN = (Level.CONTRACT, Level.ADDRESS, Level.ADDRESS_EXACT, Level.PERSON, Level.ADDRESS_SURNAME)


class Keyed(NamedTuple):
    """The places of one signal; `person` is P1, else AS, else A2."""

    s1: int
    k1: int
    a1: int
    a2: int
    p1: int | None
    by_surname: int | None

    @property
    def person(self) -> int:
        """The place that groups by person."""
        return self.p1 or self.by_surname or self.a2

    def at(self, grouping: Grouping) -> int:
        """The place of a grouping key."""
        if grouping is Grouping.PERSON:
            return self.person
        return self.a1 if grouping is Grouping.ADDRESS else self.a2


class Keying:
    """Finds the places of one creditor's rows, a batch at a time; `keep` stores the tokens.

    Args:
        indexer: makes the tokens.
        creditor: whose rows they are.
        received_on: the day of receipt.
        today: the present day.
        predecessors: the municipalities that are part of one by now: what was known there keeps its place.
    """

    def __init__(
        self,
        indexer: Indexer,
        creditor: str,
        received_on: date,
        today: date,
        predecessors: Callable[[str], Iterable[str]],
    ) -> None:
        self._indexer, self._creditor, self._received_on = indexer, creditor, received_on
        self._month = month_of(received_on)
        self._places = Places(indexer, self._month, month_of(today))
        self._predecessors = predecessors

    def signal_places(self, conn: Connection, batch: Sequence[ParsedRow]) -> dict[int, int]:
        """The place of each row's signaal_id, by line; rejected rows have none."""
        named: dict[int, Scoped] = {}
        made: dict[int, Scoped] = {}
        for row in batch:
            if isinstance(row, tuple):
                continue
            if row.signal_id is not None:
                named[row.line] = self._creditor, keys.signal(self._creditor, row.signal_id)
            elif isinstance(row, Signal):
                made[row.line] = self._creditor, made_of(row, self._received_on)
        return self._by_line(conn, Level.SIGNAL, named) | self._by_line(conn, Level.AUTO_SIGNAL, made)

    def auto_token(self, row: Signal) -> bytes:
        """What the signaal_id of a row without one is made of, at its first use."""
        return self._indexer.token(
            self._month, Level.AUTO_SIGNAL, self._creditor, made_of(row, self._received_on)
        )

    def places(
        self, conn: Connection, rows: Sequence[Signal], located: Mapping[int, Located], s1: Mapping[int, int]
    ) -> dict[int, Keyed]:
        """Every place of each signal, by line.

        A signal that goes nowhere gets places that nothing leads to: only its signaal_id is remembered.
        """
        keyed: dict[int, Keyed] = {}
        lines: list[int] = []
        wanted: dict[Level, list[tuple[str, Parts | None]]] = {level: [] for level in _WITHIN}
        for row in rows:
            line, (municipality, state, _) = row.line, located[row.line]
            if state is not SignalState.WAITING:
                k1, a1, a2 = random_places(3)
                keyed[line] = Keyed(s1[line], k1, a1, a2, None, None)
                continue
            levels = keys.levels(
                postcode=row.postcode,
                number=row.house_number,
                letter=row.house_letter,
                addition=row.house_number_suffix,
                surname=row.surname,
                born_on=row.born_on,
            )
            contract = keys.contract(
                self._creditor, municipality, row.customer_number, row.sector, row.product
            )
            lines.append(line)
            for many, key in zip(wanted.values(), (contract, *levels), strict=True):
                many.append((municipality, key))
        found = self._found(conn, wanted)
        for line, *places in zip(lines, *found, strict=True):
            keyed[line] = Keyed(s1[line], *places)
        return keyed

    @property
    def made(self) -> Set[int]:
        """Places that were given out since the last `keep`: nothing that is stored is at one of them."""
        return self._places.made

    def keep(self, conn: Connection) -> None:
        """Store the tokens found or made since the last call."""
        self._places.keep(conn)

    def _found(
        self, conn: Connection, wanted: Mapping[Level, Sequence[tuple[str, Parts | None]]]
    ) -> list[list[int | None]]:
        """The places of keys (municipality, parts) level by level, in their order; None for None."""
        merged = {
            municipality: [
                Former(code, partial(keys.in_municipality, code)) for code in self._predecessors(municipality)
            ]
            for municipality in {municipality for municipality, _ in wanted[Level.CONTRACT]}
        }
        same = {
            municipality: [each._replace(as_it_was=lambda key: key) for each in many]
            for municipality, many in merged.items()
        }
        found: list[list[int | None]] = []
        for level, many in wanted.items():
            scoped = [(municipality, parts) for municipality, parts in many if parts is not None]
            former = merged if level is Level.CONTRACT else same
            places = iter(self._places.find(conn, level, scoped, former))
            found.append([None if parts is None else next(places) for _, parts in many])
        return found

    def _by_line(self, conn: Connection, level: Level, wanted: Mapping[int, Scoped]) -> dict[int, int]:
        return dict(zip(wanted, self._places.find(conn, level, list(wanted.values())), strict=True))


def made_of(row: Signal, received_on: date) -> Parts:
    """What the signaal_id of a row without one is made of."""
    return keys.auto_signal(
        customer_number=row.customer_number,
        sector=row.sector,
        signal_type=row.signal_type,
        product=row.product,
        exact=keys.address_exact(row.postcode, row.house_number, row.house_letter, row.house_number_suffix),
        month=month_of(row.signalled_on or received_on),
    )
