"""A melding: all active signals of one municipality, one month, one key (spec 3, Words)."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple


class Klasse(StrEnum):
    """The wire's `klasse`."""

    MATCH = "MATCH"
    SINGLE = "ENKELVOUDIG"
    #: published once more to say that it is gone
    LAPSED = "VERVALLEN"


class Rule(StrEnum):
    """The wire's `matchregels`, in their order."""

    MULTIPLE = "MEERVOUDIG"
    CONSECUTIVE_MONTHS = "OPEENVOLGENDE_MAANDEN"
    BRIDGING = "GATEN_DICHTEN"
    ALWAYS = "ALTIJD_MATCH"
    CRISIS = "CRISIS"


class Deadline(StrEnum):
    """By when a municipality must have done what; the values are the wire's columns."""

    RESPOND = "terugkoppelen_voor"
    OFFER = "uiterlijk_aanbod"
    FINISH = "afronden_voor"


class ActiveSignal(NamedTuple):
    """An active signal as the rules see it: no name, no address, only whether two are the same.

    `ref` is the row of the version in force: a changed signal (W) has another ref, and so makes a changed melding.
    `group` is the place of the grouping key in force for its month, `address` the place of A2,
    `contract` the place of K1 (creditor, municipality, klantnummer, sector, product). `received_at` is the
    first receipt of its signaal_id. `since` is ontstaansdatum, or signaaldatum less dagen_achterstand.
    """

    ref: int
    creditor: str
    sector: str
    month: str
    amount_cents: int
    is_crisis: bool
    warm_handover: bool
    address: Hashable
    contract: Hashable
    signalled_on: date
    received_at: datetime
    since: date
    group: Hashable
    supply_ends_on: date | None = None


class MeldingContent(NamedTuple):
    """What the rules make of a melding; all its ranks and flags follow from this and the policy.

    `consecutive` is the wire's `opeenvolgend`, `bridging` its `gaten_dichten`, `several_addresses` its
    `meerdere_adressen`. `repeated` holds the refs of signals with `herhaald` J. `refs` are all its signals.
    """

    klasse: Klasse
    rules: tuple[Rule, ...]
    refs: tuple[int, ...]
    creditor_count: int
    total_cents: int
    consecutive: bool
    bridging: bool
    several_addresses: bool
    repeated: frozenset[int]
    sectors: tuple[str, ...]
    first_signalled_on: date
    first_received_at: datetime
    oldest_since: date
    warm_handover: bool
    supply_ends_on: date | None

    @property
    def signal_count(self) -> int:
        """The wire's `aantal_signalen`."""
        return len(self.refs)
