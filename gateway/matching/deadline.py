"""By when a municipality must have offered help, and must have answered (spec 3, Publication; Wgs art. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from holidays import country_holidays

from gateway.clock import local_day
from gateway.domain.feedback import END_RESULTS, Outcome
from gateway.domain.melding import Deadline, MeldingContent, Rule
from gateway.domain.policy import DeadlineFrom

#: Wgs art. 4(1): four weeks.
OFFER_DAYS = 28
#: Wgs art. 4(2): three working days in a threatening situation.
CRISIS_WORKING_DAYS = 3
#: First contact, and end result, of each signal (spec 2, `terugkoppelen_voor`, `afronden_voor`).
RESPOND_DAYS = 14
FINISH_DAYS = 28


class OfferDeadline(NamedTuple):
    """The wire's `uiterlijk_aanbod`, a day in the Netherlands, and how it came about."""

    by: date
    #: what it follows from: `receipt`, `publication`, `crisis` or `datum_einde_levering`
    reason: str
    #: the day from which is counted; None: the supplier named the day itself
    since: date | None


class FeedbackDeadlines(NamedTuple):
    """The wire's `terugkoppelen_voor` and `afronden_voor`."""

    respond_by: date
    finish_by: date


def offer_deadline(
    melding: MeldingContent,
    deadline_from: DeadlineFrom,
    *,
    today: date,
    first_published_on: date | None,
    crisis_published_on: date | None,
) -> date:
    """The wire's `uiterlijk_aanbod`, a day in the Netherlands.

    Args:
        melding: its rules, its earliest receipt and its earliest `datum_einde_levering` count.
        deadline_from: from when the four weeks run; a crisis always counts from its publication.
        today: the day of the publication that is being made.
        first_published_on: the day of the melding's first publication; None: it is this one.
        crisis_published_on: the day on which rule CRISIS was first published; None: it is this one.
    """
    return explain_offer(
        melding,
        deadline_from,
        today=today,
        first_published_on=first_published_on,
        crisis_published_on=crisis_published_on,
    ).by


def explain_offer(
    melding: MeldingContent,
    deadline_from: DeadlineFrom,
    *,
    today: date,
    first_published_on: date | None,
    crisis_published_on: date | None,
) -> OfferDeadline:
    """`uiterlijk_aanbod` with its reason; the arguments are those of `offer_deadline`."""
    if Rule.CRISIS in melding.rules:
        since = crisis_published_on or today
        by = add_working_days(since, CRISIS_WORKING_DAYS)
        if melding.supply_ends_on and melding.supply_ends_on < by:
            return OfferDeadline(melding.supply_ends_on, "datum_einde_levering", None)
        return OfferDeadline(by, "crisis", since)
    if deadline_from is DeadlineFrom.PUBLICATION:
        since, reason = first_published_on or today, "publication"
    else:
        since, reason = local_day(melding.first_received_at), "receipt"
    return OfferDeadline(since + timedelta(days=OFFER_DAYS), reason, since)


@lru_cache(maxsize=1024)
def feedback_deadlines(first_received_at: datetime) -> FeedbackDeadlines:
    """By when an answer and an end result are due, from the melding's earliest receipt (aware)."""
    day = local_day(first_received_at)
    return FeedbackDeadlines(day + timedelta(days=RESPOND_DAYS), day + timedelta(days=FINISH_DAYS))


def first_unmet(by: Mapping[Deadline, date], outcome: Outcome | None) -> Deadline | None:
    """The first deadline that a signal's last answer does not meet; None when it has an end result.

    That nothing was done yet is no answer. Who accepted help was offered it; whether anybody else was, is not told.
    """
    if outcome in END_RESULTS:
        return None
    unmet = [Deadline.FINISH]
    if outcome is not Outcome.HELP_ACCEPTED:
        unmet.insert(0, Deadline.OFFER)
    if outcome in {None, Outcome.NOT_YET}:
        unmet.insert(0, Deadline.RESPOND)
    return min(unmet, key=by.__getitem__)


def add_working_days(day: date, count: int) -> date:
    """The `count`-th working day after `day`; weekends and Dutch public holidays do not count."""
    while count:
        day += timedelta(days=1)
        count -= is_working_day(day)
    return day


def is_working_day(day: date) -> bool:
    """Whether a day is neither in a weekend nor a Dutch public holiday."""
    return day.weekday() < 5 and day not in _holidays(day.year)


@lru_cache(maxsize=16)
def _holidays(year: int) -> frozenset[date]:
    return frozenset(country_holidays("NL", years=year))
