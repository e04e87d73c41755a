"""Due days: calendar months from what the gateway itself saw (spec 4, Retention)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.clock import AMSTERDAM, end_of_day, local_day, month_of
from gateway.domain.retention import (
    Terms,
    contents_due,
    dispatch_due,
    index_due,
    key_days,
    key_months,
    raw_due,
    signal_due,
)
from gateway.domain.signal import SignalState

INSTANTS = st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001  # bounds are naive
    datetime(2060, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
MONTHS = st.integers(1, 6)


@pytest.mark.parametrize(
    ("received", "due_on"),
    [
        ("2026-11-22T12:00", date(2027, 5, 22)),
        ("2026-08-31T12:00", date(2027, 2, 28)),
        ("2027-08-31T12:00", date(2028, 2, 29)),
        ("2026-11-22T23:59:59", date(2027, 5, 22)),
        ("2026-11-23T00:00", date(2027, 5, 23)),
    ],
)
def test_six_months_are_calendar_months_from_the_day_of_receipt(received: str, due_on: date) -> None:
    """The day is clamped to the month's last, and begins at midnight in Amsterdam."""
    assert signal_due(datetime.fromisoformat(received).replace(tzinfo=AMSTERDAM), 6) == due_on


@given(INSTANTS)
def test_nothing_goes_before_six_calendar_months(received: datetime) -> None:
    """At the end of the due day the same day of the sixth month after is reached, or the month's end."""
    end = end_of_day(signal_due(received, 6)).astimezone(AMSTERDAM)
    day = local_day(received)
    last = end.date() - timedelta(days=1)
    assert (last.year * 12 + last.month) - (day.year * 12 + day.month) == 6
    assert last.day == day.day or (last.day < day.day and end.day == 1)


@given(INSTANTS, INSTANTS, MONTHS)
def test_what_is_received_later_is_never_due_earlier(one: datetime, other: datetime, months: int) -> None:
    """Due days keep the order of receipt, for rows, files and dispatches."""
    earlier, later = sorted((one, other))
    terms = Terms(signals_months=months)
    assert signal_due(earlier, months) <= signal_due(later, months)
    assert raw_due(earlier, terms) <= raw_due(later, terms)
    assert dispatch_due(earlier, terms) <= dispatch_due(later, terms)


@given(INSTANTS, MONTHS)
def test_an_index_key_outlives_every_row_of_its_month(received: datetime, months: int) -> None:
    """And not by more than a month."""
    terms, due_on = Terms(signals_months=months), signal_due(received, months)
    last = index_due(month_of(local_day(received)), terms)
    assert due_on <= last <= due_on + timedelta(days=31)


@given(INSTANTS, INSTANTS)
def test_a_dispatch_never_outlives_the_earliest_signal_in_it(created: datetime, received: datetime) -> None:
    """A melding of five months ago that is published again is held one month more."""
    terms = Terms()
    assert dispatch_due(created, terms, signal_due(received, 6)) <= signal_due(received, 6)
    assert dispatch_due(created, terms) == signal_due(created, 6)


def test_contents_of_what_is_not_passed_on_have_a_day_of_their_own() -> None:
    """D30 one day, D40 fourteen, never longer than the row; all others as long as the row."""
    received = datetime(2026, 11, 22, 12, tzinfo=AMSTERDAM)
    due_on, terms = signal_due(received, 6), Terms()
    days = {
        state: contents_due(state, received, due_on, terms) - date(2026, 11, 22)
        for state in (SignalState.EXCLUDED, SignalState.NOT_ROUTABLE, SignalState.WAITING)
    }
    assert [found.days for found in days.values()] == [1, 14, 181]
    soon = date(2026, 11, 25)
    assert contents_due(SignalState.NOT_ROUTABLE, received, soon, terms) == soon


@example(datetime(2025, 3, 1, tzinfo=UTC), 1, 0, 12)  # from February a month reaches less far than from March
@given(INSTANTS, MONTHS, st.integers(0, 60), st.integers(0, 14))
def test_every_due_day_has_its_key_and_days_of_grace(
    now: datetime, months: int, raw_days: int, late: int
) -> None:
    """Also when the keys were made ahead up to fourteen days ago."""
    terms = Terms(signals_months=months, dispatches_months=months, raw_days=raw_days)
    made = set(key_days(local_day(now - timedelta(days=late)), terms))
    assert {signal_due(now, months), raw_due(now, terms), dispatch_due(now, terms)} <= made
    assert len(key_days(local_day(now), terms)) < 31 * months + raw_days + 20


def test_index_keys_are_made_for_this_month_and_the_next() -> None:
    """So that midnight of the first finds its key."""
    assert key_months(date(2026, 12, 31)) == ["2026-12", "2027-01"]
