"""Whether the clock may be believed: time decides what is destroyed, so it may neither go back nor jump (spec 4).

A gateway that runs notes the time each minute. What is noted follows the clock as long as it goes on steadily; a
jump is noted beside it, and takes its place once two people say that the clock is right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

#: Further back than this is no correction of the clock (spec 4, Retention).
MOST_BACK = timedelta(minutes=5)
#: Further ahead than this is more than a night without the gateway (spec 4, Retention).
MOST_AHEAD = timedelta(hours=26)


class Pace(StrEnum):
    """How the clock stands to the last heartbeat."""

    STEADY = "steady"
    #: before it: nothing may be destroyed until the time is right again
    BACK = "back"
    #: long after it: two people must say that the clock is right
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The last time that is believed, and a jump of the clock that is not believed yet.

    `jumped_to` is what the clock said first after it, `seen_at` what it said last.
    """

    at: datetime
    jumped_to: datetime | None = None
    seen_at: datetime | None = None


def pace(last: Heartbeat | None, now: datetime) -> Pace:
    """How the clock stands; a gateway without a heartbeat begins with what it is told."""
    return Pace.STEADY if last is None else _between(last.at, now)


def beat(last: Heartbeat | None, now: datetime) -> Heartbeat:
    """What is noted when the clock says `now`."""
    if last is None:
        return Heartbeat(at=now)
    match _between(last.at, now):
        case Pace.STEADY:
            return Heartbeat(at=max(last.at, now))
        case Pace.BACK:
            return last
        case Pace.AHEAD:
            if last.seen_at is not None and _between(last.seen_at, now) is Pace.STEADY:
                return replace(last, seen_at=max(last.seen_at, now))
            # a jump on top of a jump: what was asked about the first says nothing of it
            return replace(last, jumped_to=now, seen_at=now)


def believe(last: Heartbeat) -> Heartbeat:
    """What is noted when two people said that the clock, which jumped, is right."""
    return last if last.seen_at is None else Heartbeat(at=last.seen_at)


def _between(before: datetime, now: datetime) -> Pace:
    if now < before - MOST_BACK:
        return Pace.BACK
    return Pace.AHEAD if now - before > MOST_AHEAD else Pace.STEADY
