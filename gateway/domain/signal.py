"""A signal: one creditor, one resident, one arrears (spec 2, Signal file; spec 3, Words)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

#: The sectors of the Wgs that need no further legal basis.
SECTORS = ("Huur", "Energie", "Water", "Zorg")


class Mutation(StrEnum):
    """What a row asks for; the values are the wire's `mutatie`."""

    NEW = "N"
    CHANGE = "W"
    WITHDRAW = "I"


class SignalType(StrEnum):
    """The wire's `signaaltype`."""

    EARLY_SIGNAL = "VROEGSIGNAAL"
    #: end of supply of energy or water; implies a crisis
    END_OF_SUPPLY = "EINDELEVERING"


class SignalState(StrEnum):
    """Every signal is in exactly one of these (spec 1, Conservation); purged ones are counted only."""

    WAITING = "waiting"
    PASSED_ON = "passed_on"
    EXCLUDED = "excluded"
    NOT_ROUTABLE = "not_routable"
    NOT_CONNECTED = "not_connected"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


#: In a melding: accepted, in force, not withdrawn, not superseded, not excluded, routed.
ACTIVE = (SignalState.WAITING, SignalState.PASSED_ON)


# not frozen: one is made for each row, and setting its fields past the lock takes three times as long
@dataclass(slots=True, kw_only=True)
class Signal:
    """One accepted N or W row of a signal file, normalised; also an I row without signaal_id.

    `signal_id` is None when the partner's files have none (`defaults.signaal_id = "auto"`). Amounts are
    euro cents. `signalled_on` is None when the row left it empty: the day of receipt for N, the replaced
    version's for W (spec 3, `mutatie`). `content` is the row as sent, before defaults, in a canonical form:
    equal rows have equal content.
    """

    line: int
    mutation: Mutation
    signal_id: str | None
    sector: str
    product: str
    customer_number: str
    surname: str
    postcode: str
    house_number: int
    house_letter: str
    house_number_suffix: str
    amount_cents: int
    arrears_since: date | None
    days_in_arrears: int | None
    signal_type: SignalType
    is_crisis: bool
    signalled_on: date | None
    initials: str
    infix: str
    born_on: date | None
    street: str
    city: str
    phone: str
    email: str
    warm_handover: bool
    municipality: str
    supply_ends_on: date | None
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One I row: needs only its `signal_id`."""

    line: int
    signal_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """Why a row is rejected; `column` is the wire's name. It never bears the value."""

    line: int
    signal_id: str
    column: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWarning:
    """A remark on a row or (line 0) on the file; `detail` names columns, never values."""

    line: int
    signal_id: str
    column: str
    code: str
    detail: str = ""
