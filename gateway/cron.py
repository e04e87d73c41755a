"""Cron lines as values: checked when settings load, asked for the next time when work is planned.

The five fields are read as cron(5) does, in Europe/Amsterdam. When the clock goes forward, a time that
is skipped comes an hour later by the wall; when it goes back, a time that occurs twice counts once, but
for lines that run in every hour (`*` in the hour field), which follow elapsed time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from gateway.clock import AMSTERDAM, local_day

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

#: After so many days without one a line names no day at all: 29 February comes every eight years at the latest.
_MOST_DAYS = 9 * 366


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    #: 0 is Sunday
    weekdays: frozenset[int]
    every_hour: bool
    any_day: bool
    any_weekday: bool

    def names(self, day: date) -> bool:
        """Whether the line runs on a day: with both kinds of day restricted, either suffices (cron(5))."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        either = in_month and in_week if self.any_day or self.any_weekday else in_month or in_week
        return day.month in self.months and either


def next_time(line: str, after: datetime) -> datetime:
    """The first instant strictly after `after` (aware) that the cron line names, in UTC.

    Raises:
        ValueError: the line is not a cron line, or names no time to come.
    """
    parsed, day = _parse(line), local_day(after)
    for _ in range(_MOST_DAYS):
        if parsed.names(day):
            for at in _instants(line, day):
                if at > after:
                    return at
        day += timedelta(days=1)
    raise ValueError(f"{line!r} names no time to come")


def check_line(line: str) -> str:
    """Return the line if it is a cron line that runs some day.

    Raises:
        ValueError: it is not.
    """
    next_time(line, datetime(2000, 1, 1, tzinfo=UTC))
    return line


@lru_cache(maxsize=64)
def _instants(line: str, day: date) -> tuple[datetime, ...]:
    """The instants of a day that the line names, in order."""
    parsed = _parse(line)
    found: set[datetime] = set()
    for hour in parsed.hours:
        for minute in parsed.minutes:
            wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=AMSTERDAM)
            first, second = (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
            exists = first.astimezone(AMSTERDAM).hour == hour
            if exists or not parsed.every_hour:
                found.add(first)
            if exists and parsed.every_hour:
                found.add(second)
    return tuple(sorted(found))


@lru_cache(maxsize=64)
def _parse(line: str) -> _Line:
    fields = line.lower().split()
    if len(fields) != 5:
        raise ValueError(f"a cron line has five fields, not {len(fields)}: {line!r}")
    minute, hour, day, month, weekday = fields
    return _Line(
        minutes=_numbers("minute", minute, 0, 59),
        hours=_numbers("hour", hour, 0, 23),
        days=_numbers("day", day, 1, 31),
        months=_numbers("month", month, 1, 12, _MONTHS),
        weekdays=frozenset(n % 7 for n in _numbers("day of the week", weekday, 0, 7, _DAYS)),
        every_hour=hour.startswith("*"),
        any_day=day.startswith("*"),
        any_weekday=weekday.startswith("*"),
    )


def _numbers(name: str, field: str, low: int, high: int, words: Sequence[str] = ()) -> frozenset[int]:
    """The numbers that a field lists: `*`, `7`, `1-5`, `*/15`, `10-40/10`, and lists of these."""
    found: set[int] = set()
    for part in field.split(","):
        span, has_step, step_text = part.partition("/")
        first, is_range, last = span.partition("-")
        try:
            start = low if span == "*" else _number(first, low, words)
            end = high if span == "*" else _number(last, low, words) if is_range else start
            step = _number(step_text, 1) if has_step else 1
        except ValueError as exc:
            raise ValueError(f"{part!r} is no {name} of a cron line") from exc
        if has_step and not is_range and span != "*":
            raise ValueError(f"{part!r}: a step needs a range or *")
        if words == _DAYS and is_range and end == 0 < start:
            end = 7  # fri-sun
        if not low <= start <= end <= high or step < 1:
            raise ValueError(f"{part!r} is no {name} of a cron line: {low}-{high}")
        # the week has seven days: `*` is 0-6, whatever the step
        found.update(range(start, (6 if words == _DAYS and span == "*" else end) + 1, step))
    return frozenset(found)


def _number(text: str, low: int, words: Sequence[str] = ()) -> int:
    if text in words:
        return words.index(text) + low
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    return int(text)
