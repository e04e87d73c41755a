"""A resident's request that a municipality hands on: to see what is held, or to have it destroyed (AVG art. 15, 17)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

#: A request to destroy takes effect after this, unless it is withdrawn (spec 4, WISSEN).
ERASED_AFTER = timedelta(hours=24)


class Ask(StrEnum):
    """What is asked; the values are the wire's `avg_verzoek`."""

    ACCESS = "INZAGE"
    ERASURE = "WISSEN"


class RequestState(StrEnum):
    """Where a request is."""

    #: of a WISSEN: it has not taken effect, and may be withdrawn
    WAITING = "waiting"
    #: what it covers is marked, and goes with the run of the purge that follows
    ERASING = "erasing"
    #: of a WISSEN: what a legal hold keeps of it waits for the lift; all else is gone
    HELD = "held"
    DONE = "done"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a request is about: a surname with a date of birth, a full address, or both."""

    surname: str
    born_on: date | None = None
    postcode: str = ""
    house_number: int | None = None
    house_letter: str = ""
    house_number_suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One N row of a request file; `number` is the municipality's own, `verzoek_id`."""

    line: int
    number: str
    ask: Ask
    subject: Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestWithdrawal:
    """One I row: the request of that number is taken back."""

    line: int
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What a certificate says of a request that led to it.

    `backups_until` is the last day on which a backup of `data/` can still be opened with keys that are held.
    `waits_for` are the legal holds that keep something of it until they are lifted.
    """

    number: str
    received_at: datetime
    backups_until: date
    waits_for: tuple[str, ...] = ()
