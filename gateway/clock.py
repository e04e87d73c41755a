"""Time as a value: a `Clock` is passed down from the daemon, days are Europe/Amsterdam.

Only tests and the demo pass another clock than the system's: no flag, variable or setting moves
time (spec 4, Retention). The system's is guarded: when it went back or jumped, nothing is destroyed by it
(`gateway.domain.heartbeat`). One that is passed is believed, unless `open_gateway` is told to guard it too.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        ...


class SystemClock:
    """The clock of the host."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        return datetime.now(UTC)


class SteppedClock:
    """A clock that stands still until it is set: for tests and the demo."""

    def __init__(self, at: datetime) -> None:
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        """The instant that was set last, aware, UTC."""
        return self._at

    def set(self, at: datetime) -> None:
        """Move to `at` (aware)."""
        self._at = at.astimezone(UTC)

    def step(self, by: timedelta) -> None:
        """Move by `by`."""
        self._at += by


def local_day(at: datetime) -> date:
    """The calendar day of an instant in the Netherlands."""
    return at.astimezone(AMSTERDAM).date()


def month_of(day: date) -> str:
    """The calendar month of a day, as `YYYY-MM`."""
    return day.isoformat()[:7]


def add_months(day: date, months: int) -> date:
    """`day` plus calendar months, the day clamped to the month's last (31 August + 6: 28/29 Feb)."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def shift_month(month: str, by: int) -> str:
    """The month `by` months after `month` (`YYYY-MM`)."""
    return month_of(add_months(date.fromisoformat(f"{month}-01"), by))


def end_of_day(day: date) -> datetime:
    """The first instant after `day` in the Netherlands, as UTC: what is due on `day` goes then."""
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=AMSTERDAM).astimezone(UTC)
