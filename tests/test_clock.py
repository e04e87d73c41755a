"""Days and months as the Netherlands counts them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import (
    AMSTERDAM,
    SteppedClock,
    SystemClock,
    add_months,
    end_of_day,
    local_day,
    month_of,
    shift_month,
)

DAYS = st.dates(date(2020, 1, 1), date(2100, 1, 1))


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2026, 8, 31), 6, date(2027, 2, 28)),
        (date(2027, 8, 31), 6, date(2028, 2, 29)),
        (date(2026, 11, 22), 6, date(2027, 5, 22)),
        (date(2026, 12, 31), 2, date(2027, 2, 28)),
        (date(2026, 1, 31), -2, date(2025, 11, 30)),
        (date(2026, 12, 1), 0, date(2026, 12, 1)),
        (date(2026, 12, 15), 12, date(2027, 12, 15)),
    ],
)
def test_months_are_calendar_months_with_the_day_clamped(day: date, months: int, expected: date) -> None:
    """31 August plus six months is the last of February."""
    assert add_months(day, months) == expected


@given(DAYS, DAYS, st.integers(0, 24))
def test_a_later_day_is_never_due_earlier(one: date, other: date, months: int) -> None:
    """Adding months keeps the order of days."""
    earlier, later = sorted((one, other))
    assert add_months(earlier, months) <= add_months(later, months)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-11-22T22:59:59+00:00", date(2026, 11, 22)),
        ("2026-11-22T23:00:00+00:00", date(2026, 11, 23)),
        ("2026-07-22T21:59:59+00:00", date(2026, 7, 22)),
        ("2026-07-22T22:00:00+00:00", date(2026, 7, 23)),
    ],
)
def test_a_day_ends_at_midnight_in_amsterdam(at: str, day: date) -> None:
    """In winter the day turns at 23:00 UTC, in summer at 22:00."""
    assert local_day(datetime.fromisoformat(at)) == day


@given(DAYS)
def test_the_end_of_a_day_is_the_first_instant_of_the_next(day: date) -> None:
    """Just before it, it is still that day; also on days of 23 and 25 hours."""
    end = end_of_day(day)
    assert end.tzinfo is UTC
    assert local_day(end) == day + timedelta(days=1)
    assert local_day(end - timedelta(microseconds=1)) == day


@given(st.dates(date(2021, 1, 1), date(2099, 1, 1)), st.integers(-12, 12))
def test_shifting_a_month_and_back_gives_the_month(day: date, by: int) -> None:
    """A month is `YYYY-MM` and counts on over the turn of the year."""
    assert shift_month(shift_month(month_of(day), by), -by) == month_of(day)


def test_a_stepped_clock_stands_still_until_it_is_moved() -> None:
    """Tests and the demo move time by hand, in any zone; it is told in UTC."""
    clock = SteppedClock(datetime(2026, 11, 22, 12, tzinfo=AMSTERDAM))
    assert clock.now() == clock.now() == datetime(2026, 11, 22, 11, tzinfo=UTC)
    clock.step(timedelta(days=1))
    assert clock.now() == datetime(2026, 11, 23, 11, tzinfo=UTC)
    clock.set(datetime(2027, 5, 23, 2, 30, tzinfo=AMSTERDAM))
    assert clock.now() == datetime(2027, 5, 23, 0, 30, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_the_clock_of_the_host_tells_aware_utc() -> None:
    """Every instant in the gateway is aware and UTC."""
    assert SystemClock().now().tzinfo is UTC
