"""A legal hold: what is said of it, and when it must be looked at again (spec 4, Retention).

Nothing free is said of it: grounds are words of a list, a reference and an authority have few characters. So no
resident's name gets into the log, onto a certificate or to an auditor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

#: A review lies at most so many days ahead (spec 4, Retention).
MOST_DAYS = 90

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]{1,39}", re.ASCII)
#: An organisation's name: words of letters, as on its letterhead.
_AUTHORITY = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ][A-Za-zÀ-ÖØ-öø-ÿ&'.,() -]{1,59}")
_DIGITS = re.compile(r"\d")


class Grounds(StrEnum):
    """Why something is kept longer; the values are the wire's words."""

    OBJECTION = "bezwaar"
    APPEAL = "beroep"
    COMPLAINT = "klacht"
    LAWSUIT = "rechtszaak"
    LIABILITY = "aansprakelijkstelling"
    OPEN_GOVERNMENT = "woo-verzoek"
    ACCESS = "inzageverzoek"
    SUPERVISION = "toezicht"
    CRIMINAL_INVESTIGATION = "opsporing"
    AUDIT = "rekenkameronderzoek"
    INCIDENT = "datalek"


#: What stands in the place of grounds where nothing but approval is waited for.
AWAITING = "wacht op goedkeuring"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What a certificate is told of a hold: how many objects of its party are kept past their day.

    `hold_id` is that of a legal hold, or of what waits for approval: that has no review.
    """

    hold_id: str
    grounds: str
    review_on: date | None
    objects: int


def problems(
    *, grounds: str, authority: str, reference: str, review_on: date, today: date, looks_like_bsn: bool
) -> Iterator[str]:
    """What is wrong with a hold that is asked for, in sentences; nothing: it may be asked.

    Args:
        grounds: a word of `Grounds`.
        authority: who asks for it to be kept: an organisation.
        reference: its case number.
        review_on: the day by which it must be looked at again.
        today: Europe/Amsterdam.
        looks_like_bsn: whether digits of the reference could be somebody's BSN.
    """
    if grounds not in set(Grounds):
        yield f"grounds are one of: {', '.join(Grounds)}"
    if not _AUTHORITY.fullmatch(authority):
        yield "authority is an organisation's name: 2 to 60 letters, spaces and & ' . , ( ) -"
    if not _REFERENCE.fullmatch(reference) or not _DIGITS.search(reference):
        yield "reference is a case number: 2 to 40 letters, digits and . / _ -, with a digit in it"
    elif looks_like_bsn:
        yield "reference looks like a BSN, and no hold may name a person: give the case number"
    if not today < review_on <= today + timedelta(days=MOST_DAYS):
        yield (
            f"review is after today and at most {MOST_DAYS} days ahead: "
            f"{today + timedelta(days=1)} to {today + timedelta(days=MOST_DAYS)}"
        )


def waiting_id(municipality: str, due_on: date) -> str:
    """The hold of what waits for approval: one for each municipality and month of due days."""
    return f"{municipality}-{due_on:%Y-%m}"
