"""Residents whom a municipality lists: no signals about them, or known to it already (spec 2, Exclusion file)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from gateway.domain.signal import Mutation

#: Days that an exclusion is held after its last one: a signal may be dated so long before its receipt (spec 4, Rows).
HELD_DAYS = 62


class Reason(StrEnum):
    """The wire's `reden`."""

    NO_HELP_WANTED = "GEEN_HULP_GEWENST"
    IN_PROGRAMME = "IN_TRAJECT"
    UNJUSTIFIED = "ONTERECHT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One accepted row of an exclusion or known-residents file, normalised.

    `mutation` is NEW or WITHDRAW. `until` is the last day, inclusive; None of a withdrawal.
    """

    line: int
    mutation: Mutation
    postcode: str
    house_number: int
    house_letter: str = ""
    house_number_suffix: str = ""
    surname: str = ""
    born_on: date | None = None
    until: date | None = None
    reason: Reason | None = None
