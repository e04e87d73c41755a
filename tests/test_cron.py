"""Cron lines: cron(5) in Europe/Amsterdam, also on the two nights on which the clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.clock import AMSTERDAM
from gateway.cron import check_line, next_time


def run_times(line: str, after: str, count: int) -> list[str]:
    """The next `count` times after a wall time, as wall times with their offset."""
    at = datetime.fromisoformat(after).replace(tzinfo=AMSTERDAM)
    found = []
    for _ in range(count):
        at = next_time(line, at)
        found.append(at.astimezone(AMSTERDAM).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("line", "after", "times"),
    [
        ("30 2 * * *", "2026-11-22T02:29", ["2026-11-22T02:30+01:00", "2026-11-23T02:30+01:00"]),
        ("30 2 * * *", "2026-11-22T02:30", ["2026-11-23T02:30+01:00", "2026-11-24T02:30+01:00"]),
        ("0 9 1 * *", "2026-12-31T12:00", ["2027-01-01T09:00+01:00", "2027-02-01T09:00+01:00"]),
        ("0 9 31 * *", "2026-11-22T12:00", ["2026-12-31T09:00+01:00", "2027-01-31T09:00+01:00"]),
        ("0 9 29 2 *", "2026-11-22T12:00", ["2028-02-29T09:00+01:00", "2032-02-29T09:00+01:00"]),
        ("*/20 8-9 * * *", "2026-11-22T08:30", ["2026-11-22T08:40+01:00", "2026-11-22T09:00+01:00"]),
        ("5,50 8 * jan,JUL *", "2026-11-22T08:30", ["2027-01-01T08:05+01:00", "2027-01-01T08:50+01:00"]),
        ("0 8 10-20/5 1 *", "2026-11-22T08:30", ["2027-01-10T08:00+01:00", "2027-01-15T08:00+01:00"]),
    ],
)
def test_a_line_names_the_times_of_its_fields(line: str, after: str, times: list[str]) -> None:
    """Minutes, hours, days and months are lists, ranges and steps; the next time is strictly later."""
    assert run_times(line, after, len(times)) == times


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("0", {6}),
        ("7", {6}),
        ("sun", {6}),
        ("1-5", {0, 1, 2, 3, 4}),
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("5-7", {4, 5, 6}),
        ("fri-sun", {4, 5, 6}),
        ("0-6", set(range(7))),
        ("*/2", {6, 1, 3, 5}),
        ("2,4", {1, 3}),
    ],
)
def test_sunday_is_0_and_7(field: str, days: set[int]) -> None:
    """Days of the week are counted from Sunday, as in cron(5)."""
    at, found = datetime(2026, 11, 1, tzinfo=UTC), set()
    for _ in range(14):
        at = next_time(f"0 12 * * {field}", at)
        found.add(at.weekday())
    assert found == days


def test_with_both_kinds_of_day_restricted_either_suffices() -> None:
    """`0 9 13 * 5` runs on each 13th and on each Friday (cron(5))."""
    assert run_times("0 9 12 * 5", "2026-11-05T00:00", 3) == [
        "2026-11-06T09:00+01:00",
        "2026-11-12T09:00+01:00",
        "2026-11-13T09:00+01:00",
    ]


def test_a_time_that_the_clock_skips_still_comes() -> None:
    """On 29 March 2026 there is no 02:30: the nightly run is an hour later by the wall, not left out."""
    assert run_times("30 2 * * *", "2026-03-28T12:00", 2) == [
        "2026-03-29T03:30+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_a_time_that_occurs_twice_counts_once() -> None:
    """On 25 October 2026 02:30 comes twice: the nightly run does not."""
    assert run_times("30 2 * * *", "2026-10-24T12:00", 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_an_hourly_line_follows_elapsed_time() -> None:
    """What runs every hour does so in the nights on which the clock changes too."""
    for day in ("2026-03-29", "2026-10-25"):
        at, times = datetime.fromisoformat(f"{day}T00:30").replace(tzinfo=AMSTERDAM), []
        for _ in range(8):
            at = next_time("0 * * * *", at)
            times.append(at)
        assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(hours=1)}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * foo *",
        "* * last * *",
        "-1 * * * *",
        "1, * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "5/10 * * * *",
        "*/ * * * *",
        "1-2-3 * * * *",
        "\u0661 * * * *",  # a digit, but not one of ours
        "0 9 31 2 *",
        "@daily",
    ],
)
def test_what_is_no_cron_line_is_refused(line: str) -> None:
    """A line that can't be read, or names no day at all, is a ValueError when settings load."""
    with pytest.raises(ValueError, match=r"cron|names no time|step"):
        check_line(line)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # bounds are naive
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "15 1-3 * * *", "0 0 * * 1-5", "0 3 1 * *", "0 2 1 * 7"]),
)
@example(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "30 2 * * *")
@example(datetime(2026, 10, 25, 0, 45, tzinfo=UTC), "15 1-3 * * *")
def test_the_next_time_is_later_and_nothing_lies_between(after: datetime, line: str) -> None:
    """The next time is strictly after, and asking again from just before it gives it once more."""
    found = next_time(line, after)
    assert found > after
    assert found.tzinfo is UTC
    assert next_time(line, found - timedelta(microseconds=1)) == found
    assert next_time(line, after + (found - after) / 2) == found
