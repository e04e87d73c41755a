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
from gateway.matching.keys import Level, Parts
from gateway.pipeline.locate import Located
from gateway.pipeline.places import Former, Places
from gateway.store import Connection
from gateway.vault.ids import random_place
from gateway.vault.index import Indexer


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
        by_municipality: dict[str, list[Signal]] = defaultdict(list)
        keyed: dict[int, Keyed] = {}
        for row in rows:
            if located[row.line].is_routed:
                by_municipality[located[row.line].municipality].append(row)
            else:
                keyed[row.line] = Keyed(
                    s1[row.line], random_place(), random_place(), random_place(), None, None
                )
        for municipality, group in by_municipality.items():
            keyed.update(self._places_in(conn, municipality, group, s1))
        return keyed

    def keep(self, conn: Connection) -> None:
        """Store the tokens found or made since the last call."""
        self._places.keep(conn)

    def _places_in(
        self, conn: Connection, municipality: str, rows: Sequence[Signal], s1: Mapping[int, int]
    ) -> dict[int, Keyed]:
        levels = [
            keys.levels(
                postcode=row.postcode,
                number=row.house_number,
                letter=row.house_letter,
                addition=row.house_number_suffix,
                surname=row.surname,
                born_on=row.born_on,
            )
            for row in rows
        ]
        contracts = [
            keys.contract(self._creditor, municipality, row.customer_number, row.sector, row.product)
            for row in rows
        ]

        merged = [
            Former(code, partial(keys.in_municipality, code)) for code in self._predecessors(municipality)
        ]
        same = [each._replace(as_it_was=lambda key: key) for each in merged]

        def find(level: Level, parts: Iterable[Parts | None]) -> dict[Parts, int]:
            return self._places.find(
                conn,
                (level, municipality),
                (each for each in parts if each is not None),
                merged if level is Level.CONTRACT else same,
            )

        a1 = find(Level.ADDRESS, (each.address for each in levels))
        a2 = find(Level.ADDRESS_EXACT, (each.address_exact for each in levels))
        p1 = find(Level.PERSON, (each.person for each in levels))
        by_surname = find(Level.ADDRESS_SURNAME, (each.address_surname for each in levels))
        k1 = find(Level.CONTRACT, contracts)
        return {
            row.line: Keyed(
                s1[row.line],
                k1[contract],
                a1[level.address],
                a2[level.address_exact],
                p1[level.person] if level.person else None,
                by_surname[level.address_surname] if level.address_surname else None,
            )
            for row, level, contract in zip(rows, levels, contracts, strict=True)
        }

    def _by_line(self, conn: Connection, level: Level, parts: Mapping[int, Parts]) -> dict[int, int]:
        found = self._places.find(conn, (level, self._creditor), parts.values())
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
