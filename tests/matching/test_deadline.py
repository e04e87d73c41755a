"""By when help must have been offered, and an answer given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from gateway.domain.feedback import END_RESULTS, Outcome
from gateway.domain.melding import Deadline, MeldingContent, Rule
from gateway.domain.policy import DeadlineFrom
from gateway.matching import deadline

Make = Callable[..., MeldingContent]
TODAY = date(2026, 11, 20)


def offer(
    melding: MeldingContent, deadline_from: DeadlineFrom = DeadlineFrom.RECEIPT, **published: Any
) -> date:
    """The deadline in a publication of today."""
    known = {"first_published_on": None, "crisis_published_on": None} | published
    return deadline.offer_deadline(melding, deadline_from, today=TODAY, **known)


def test_four_weeks_from_receipt(melding: Make) -> None:
    """Counted from the day in the Netherlands: half past eleven at night in UTC is the next one."""
    assert offer(melding(first_received_at=datetime(2026, 11, 3, 9, tzinfo=UTC))) == date(2026, 12, 1)
    assert offer(melding(first_received_at=datetime(2026, 11, 3, 23, 30, tzinfo=UTC))) == date(2026, 12, 2)


def test_four_weeks_from_publication(melding: Make) -> None:
    """Midden-Drenthe counts from the first publication, which may be this one."""
    first = date(2026, 11, 5)
    assert offer(melding(), DeadlineFrom.PUBLICATION, first_published_on=first) == date(2026, 12, 3)
    assert offer(melding(), DeadlineFrom.PUBLICATION) == date(2026, 12, 18)


@pytest.mark.parametrize("deadline_from", DeadlineFrom)
def test_three_working_days_in_a_crisis(melding: Make, deadline_from: DeadlineFrom) -> None:
    """From the publication of the crisis, which may be this one, whatever `deadline_from` says."""
    crisis = melding(rules=(Rule.CRISIS,))
    first = date(2026, 11, 2)
    assert offer(crisis, deadline_from, first_published_on=first) == date(2026, 11, 25)
    assert offer(
        crisis, deadline_from, first_published_on=first, crisis_published_on=date(2026, 11, 17)
    ) == date(2026, 11, 20)


def test_the_end_of_supply_if_earlier(melding: Make) -> None:
    """With CRISIS the end of supply counts when it comes first; without it not at all."""
    soon, later = date(2026, 11, 23), date(2026, 12, 15)
    assert offer(melding(rules=(Rule.CRISIS,), supply_ends_on=soon)) == soon
    assert offer(melding(rules=(Rule.CRISIS,), supply_ends_on=later)) == date(2026, 11, 25)
    assert offer(melding(supply_ends_on=soon)) == date(2026, 12, 1)


@pytest.mark.parametrize(
    ("outcome", "unmet"),
    [
        (None, Deadline.RESPOND),
        (Outcome.NOT_YET, Deadline.RESPOND),
        (Outcome.TAKEN_UP, Deadline.OFFER),
        (Outcome.HELP_ACCEPTED, Deadline.FINISH),
        *((each, None) for each in Outcome if each in END_RESULTS),
    ],
)
def test_the_first_deadline_that_is_not_met(outcome: Outcome | None, unmet: Deadline | None) -> None:
    """An answer meets the first, accepted help the offer, an end result all."""
    by = {Deadline.RESPOND: TODAY, Deadline.OFFER: date(2026, 12, 4), Deadline.FINISH: date(2026, 12, 4)}
    assert deadline.first_unmet(by, outcome) is unmet


def test_a_crisis_is_offered_help_before_an_answer_is_due() -> None:
    """The earliest counts, whichever it is."""
    by = {Deadline.RESPOND: date(2026, 12, 4), Deadline.OFFER: TODAY, Deadline.FINISH: date(2026, 12, 18)}
    assert deadline.first_unmet(by, None) is Deadline.OFFER


@pytest.mark.parametrize(
    ("changed", "deadline_from", "reason", "since"),
    [
        ({}, DeadlineFrom.RECEIPT, "receipt", date(2026, 11, 3)),
        ({}, DeadlineFrom.PUBLICATION, "publication", TODAY),
        ({"rules": (Rule.CRISIS,)}, DeadlineFrom.RECEIPT, "crisis", TODAY),
        (
            {"rules": (Rule.CRISIS,), "supply_ends_on": date(2026, 11, 23)},
            DeadlineFrom.RECEIPT,
            "datum_einde_levering",
            None,
        ),
    ],
)
def test_a_deadline_has_its_reason(
    melding: Make, changed: dict[str, Any], deadline_from: DeadlineFrom, reason: str, since: date | None
) -> None:
    """It tells what it follows from, and the day from which is counted."""
    found = deadline.explain_offer(
        melding(**changed), deadline_from, today=TODAY, first_published_on=None, crisis_published_on=None
    )
    assert (found.reason, found.since) == (reason, since)


@pytest.mark.parametrize(
    ("day", "third"),
    [
        (date(2026, 11, 16), date(2026, 11, 19)),
        (date(2026, 11, 21), date(2026, 11, 25)),
        (date(2026, 4, 1), date(2026, 4, 8)),
        (date(2026, 4, 24), date(2026, 4, 30)),
        (date(2026, 5, 13), date(2026, 5, 19)),
        (date(2026, 12, 23), date(2026, 12, 29)),
        (date(2026, 12, 30), date(2027, 1, 5)),
    ],
    ids=["week", "saturday", "easter", "king's day", "ascension", "christmas", "new year"],
)
def test_working_days(day: date, third: date) -> None:
    """Weekends and Dutch public holidays do not count."""
    assert deadline.add_working_days(day, 3) == third


def test_liberation_day_counts_every_five_years() -> None:
    """The fifth of May is a public holiday in 2025 and 2030."""
    assert not deadline.is_working_day(date(2025, 5, 5))
    assert deadline.is_working_day(date(2026, 5, 5))


def test_feedback_deadlines() -> None:
    """Fourteen and twenty-eight days after the day of receipt in the Netherlands."""
    due = deadline.feedback_deadlines(datetime(2026, 10, 31, 23, 30, tzinfo=UTC))
    assert due == (date(2026, 11, 15), date(2026, 11, 29))
