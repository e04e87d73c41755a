"""Cron lines as values: checked when settings load, asked for the next time when work is planned."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from apscheduler.triggers.cron import CronTrigger

from gateway.clock import AMSTERDAM

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def next_time(line: str, after: datetime) -> datetime:
    """The first instant strictly after `after` that the cron line names, in UTC.

    The five fields are read as cron(5) does, in Europe/Amsterdam.

    Raises:
        ValueError: the line is not a cron line.
    """
    found = _trigger(line).get_next_fire_time(after, after)
    if found is None:
        raise ValueError(f"{line!r} names no time to come")
    return cast("datetime", found).astimezone(UTC)


def check_line(line: str) -> str:
    """Return the line if it is a cron line.

    Raises:
        ValueError: it is not.
    """
    _trigger(line)
    return line


def _trigger(line: str) -> CronTrigger:
    fields = line.split()
    if len(fields) != 5:
        raise ValueError(f"a cron line has five fields, not {len(fields)}: {line!r}")
    minute, hour, day, month, day_of_week = fields
    return CronTrigger(
        minute=minute,
        hour=hour,
        day=day,
        month=month,
        day_of_week=_day_names(day_of_week),
        timezone=AMSTERDAM,
    )


def _day_names(field: str) -> str:
    """`1-5` as `mon,tue,…`: APScheduler counts from Monday = 0, cron(5) from Sunday = 0."""
    if field == "*":
        return field
    names: list[str] = []
    for part in field.lower().split(","):
        first, _, last = part.partition("-")
        start, end = _day_number(first), _day_number(last or first)
        names += [_DAYS[n % 7] for n in range(start, (end if end >= start else end + 7) + 1)]
    return ",".join(dict.fromkeys(names))


def _day_number(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"a day of the week is 0-7 or sun-sat, not {text!r}")
