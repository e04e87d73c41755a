"""`meldingen_<gemeentecode>_<YYYY-MM>_<seq>.csv`: what a municipality collects (spec 2, For a municipality).

One line for each signal, the melding's columns repeated on every one, in the order given: by rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import NamedTuple

from gateway.domain.melding import Klasse, Rule
from gateway.domain.signal import SignalType
from gateway.files.cells import day, euros, number, render_csv, yes_no
from gateway.files.columns import MELDING_COLUMNS, MELDING_SIGNAL_COLUMNS


class OutboxMelding(NamedTuple):
    """What a line says of the melding. Of one that lapsed only the first five are told; `rank` None: it has none."""

    melding_id: str
    version: int
    municipality: str
    #: `YYYY-MM`
    month: str
    klasse: Klasse
    rules: tuple[Rule, ...] = ()
    rank: int | None = None
    action: str = ""
    signal_count: int = 0
    creditor_count: int = 0
    sector_count: int = 0
    total_cents: int = 0
    consecutive: bool = False
    bridging: bool = False
    several_addresses: bool = False
    offer_by: date | None = None


class OutboxSignal(NamedTuple):
    """What a line says of one signal. `number` is the wire's `signaalnummer`; days are Europe/Amsterdam."""

    number: str
    partner_id: str
    partner_name: str
    sector: str
    product: str
    signal_type: SignalType
    is_crisis: bool
    signalled_on: date
    received_on: date
    amount_cents: int
    arrears_since: date | None
    days_in_arrears: int | None
    repeated: bool
    warm_handover: bool
    customer_number: str
    initials: str
    infix: str
    surname: str
    born_on: date | None
    street: str
    house_number: int
    house_letter: str
    house_number_suffix: str
    postcode: str
    city: str
    phone: str
    email: str
    supply_ends_on: date | None
    feedback_by: date
    finish_by: date
    held_until: date


class OutboxRow(NamedTuple):
    """One line. `signal` is None on the one line of a melding that lapsed."""

    melding: OutboxMelding
    signal: OutboxSignal | None


def render_meldingen(rows: Iterable[OutboxRow]) -> Iterator[bytes]:
    """The file in chunks, header first."""
    return render_csv((*MELDING_COLUMNS, *MELDING_SIGNAL_COLUMNS), _lines(rows))


def _lines(rows: Iterable[OutboxRow]) -> Iterator[list[str]]:
    empty = [""] * len(MELDING_SIGNAL_COLUMNS)
    melding: OutboxMelding | None = None
    first_part: list[str] = []
    for row in rows:
        if row.melding is not melding:
            melding = row.melding
            first_part = _melding_cells(melding)
        yield first_part + (empty if row.signal is None else _signal_cells(row.signal))


def _melding_cells(melding: OutboxMelding) -> list[str]:
    cells = [
        melding.melding_id,
        str(melding.version),
        melding.municipality,
        melding.month,
        melding.klasse,
    ]
    if melding.klasse is Klasse.LAPSED:
        return cells + [""] * (len(MELDING_COLUMNS) - len(cells))
    return [
        *cells,
        "+".join(melding.rules),
        number(melding.rank),
        melding.action,
        str(melding.signal_count),
        str(melding.creditor_count),
        str(melding.sector_count),
        euros(melding.total_cents),
        yes_no(melding.consecutive),
        yes_no(melding.bridging),
        yes_no(melding.several_addresses),
        day(melding.offer_by),
    ]


def _signal_cells(signal: OutboxSignal) -> list[str]:
    return [
        signal.number,
        signal.partner_id,
        signal.partner_name,
        signal.sector,
        signal.product,
        signal.signal_type,
        yes_no(signal.is_crisis),
        day(signal.signalled_on),
        day(signal.received_on),
        euros(signal.amount_cents),
        day(signal.arrears_since),
        number(signal.days_in_arrears),
        yes_no(signal.repeated),
        yes_no(signal.warm_handover),
        signal.customer_number,
        signal.initials,
        signal.infix,
        signal.surname,
        day(signal.born_on),
        signal.street,
        str(signal.house_number),
        signal.house_letter,
        signal.house_number_suffix,
        signal.postcode,
        signal.city,
        signal.phone,
        signal.email,
        day(signal.supply_ends_on),
        day(signal.feedback_by),
        day(signal.finish_by),
        day(signal.held_until),
    ]
