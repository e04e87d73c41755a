"""Every place of a file's signals: by signaal_id, contract, address and person (spec 3, Keys)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from gateway.clock import month_of
from gateway.domain.policy import Grouping
from gateway.domain.signal import Signal
from gateway.files.signalrow import ParsedRow
from gateway.matching import keys
from gateway.matching.keys import Level, Levels, Parts
from gateway.pipeline.locate import Located
from gateway.pipeline.places import Former, Found, Places
from gateway.store import Connection
from gateway.vault.ids import random_place
from gateway.vault.index import Indexer

#: The levels whose keys are compared within a municipality: those of `Levels`, in their order, and the contract.
_WITHIN = (Level.ADDRESS, Level.ADDRESS_EXACT, Level.PERSON, Level.ADDRESS_SURNAME, Level.CONTRACT)


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
        named: dict[int, Parts] = {}
        made: dict[int, Parts] = {}
        for row in batch:
            if isinstance(row, tuple):
                continue
            if row.signal_id is not None:
                named[row.line] = keys.signal(self._creditor, row.signal_id)
            elif isinstance(row, Signal):
                made[row.line] = made_of(row, self._received_on)
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
        routed: list[tuple[int, str, Levels, Parts]] = []
        for row in rows:
            municipality = located[row.line].municipality
            if not located[row.line].is_routed:
                keyed[row.line] = Keyed(
                    s1[row.line], random_place(), random_place(), random_place(), None, None
                )
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
            routed.append((row.line, municipality, levels, contract))
        found = self._found(conn, routed)
        for line, municipality, levels, contract in routed:
            keyed[line] = Keyed(
                s1[line],
                found[Level.CONTRACT][municipality][contract],
                found[Level.ADDRESS][municipality][levels.address],
                found[Level.ADDRESS_EXACT][municipality][levels.address_exact],
                found[Level.PERSON][municipality][levels.person] if levels.person else None,
                found[Level.ADDRESS_SURNAME][municipality][levels.address_surname]
                if levels.address_surname
                else None,
            )
        return keyed

    def keep(self, conn: Connection) -> None:
        """Store the tokens found or made since the last call."""
        self._places.keep(conn)

    def _found(self, conn: Connection, rows: Iterable[tuple[int, str, Levels, Parts]]) -> dict[Level, Found]:
        """The places of every key of rows (line, municipality, levels, contract), level by level for all of them."""
        wanted: dict[Level, dict[str, list[Parts]]] = {level: defaultdict(list) for level in _WITHIN}
        for _, municipality, levels, contract in rows:
            for level, parts in zip(_WITHIN, (*levels, contract), strict=True):
                if parts is not None:
                    wanted[level][municipality].append(parts)
        merged = {
            municipality: [
                Former(code, partial(keys.in_municipality, code)) for code in self._predecessors(municipality)
            ]
            for municipality in wanted[Level.CONTRACT]
        }
        same = {
            municipality: [each._replace(as_it_was=lambda key: key) for each in many]
            for municipality, many in merged.items()
        }
        return {
            level: self._places.find(conn, level, many, merged if level is Level.CONTRACT else same)
            for level, many in wanted.items()
        }

    def _by_line(self, conn: Connection, level: Level, parts: Mapping[int, Parts]) -> dict[int, int]:
        found = self._places.find(conn, level, {self._creditor: parts.values()})[self._creditor]
        return {line: found[key] for line, key in parts.items()}


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
