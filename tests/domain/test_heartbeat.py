"""Whether the clock may be believed: by properties, for every way in which time can go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.heartbeat import MOST_AHEAD, MOST_BACK, Heartbeat, Pace, beat, believe, pace

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
steps = st.timedeltas(min_value=-timedelta(days=400), max_value=timedelta(days=4000))
steady = st.timedeltas(min_value=-timedelta(minutes=5), max_value=timedelta(hours=26))


def test_the_bounds_of_the_spec() -> None:
    """More than 5 minutes back, more than 26 hours ahead; not a second less."""
    last = Heartbeat(at=START)
    for step, found in (
        (-timedelta(minutes=5), Pace.STEADY),
        (-timedelta(minutes=5, seconds=1), Pace.BACK),
        (timedelta(hours=26), Pace.STEADY),
        (timedelta(hours=26, seconds=1), Pace.AHEAD),
    ):
        assert pace(last, START + step) is found
    assert pace(None, START) is Pace.STEADY


@given(st.lists(steps, max_size=30))
def test_what_is_believed_never_goes_back_nor_jumps(moved: list[timedelta]) -> None:
    """However the clock is moved: the time that is believed rises, by no more than a jump allows."""
    last, now = beat(None, START), START
    for step in moved:
        now = START + step
        noted = beat(last, now)
        assert timedelta(0) <= noted.at - last.at <= MOST_AHEAD
        # the judgement is the same before and after it is noted: who comes second is told no other
        assert pace(noted, now) is pace(last, now)
        assert (noted.jumped_to is None) == (noted.seen_at is None)
        if pace(last, now) is Pace.STEADY:
            assert noted == Heartbeat(at=max(last.at, now))
        else:
            assert noted.at == last.at
        last = noted


@given(st.lists(steady, max_size=30))
def test_a_clock_that_goes_on_steadily_is_always_believed(moved: list[timedelta]) -> None:
    """Small corrections and nights without the gateway stop nothing."""
    last = now = START
    noted = beat(None, START)
    for step in moved:
        now = max(last + step, noted.at - MOST_BACK)
        assert pace(noted, now) is Pace.STEADY
        noted, last = beat(noted, now), now


@given(st.timedeltas(min_value=MOST_AHEAD + timedelta(seconds=1), max_value=timedelta(days=4000)), steady)
def test_a_jump_stays_one_until_it_is_approved(jump: timedelta, on: timedelta) -> None:
    """Time that goes on after it makes it no less a jump; approved, what it said last is believed."""
    noted = beat(Heartbeat(at=START), START + jump)
    assert noted == Heartbeat(at=START, jumped_to=START + jump, seen_at=START + jump)
    later = max(START + jump + on, START + MOST_AHEAD + timedelta(seconds=1))
    noted = beat(noted, later)
    assert noted.jumped_to == START + jump
    assert pace(noted, later) is Pace.AHEAD
    assert pace(believe(noted), later) is Pace.STEADY
    assert pace(believe(noted), START) is Pace.BACK


@given(
    st.timedeltas(min_value=MOST_AHEAD * 2, max_value=timedelta(days=400)),
    st.timedeltas(min_value=MOST_AHEAD + timedelta(seconds=1), max_value=timedelta(days=400)),
)
def test_a_second_jump_is_another(first: timedelta, second: timedelta) -> None:
    """What was asked about the first says nothing of it, ahead or back; set right, nothing is asked any more."""
    noted = beat(Heartbeat(at=START), START + first)
    again = beat(noted, START + first + second)
    assert again.jumped_to == START + first + second
    lower = beat(again, START + first)
    assert lower.jumped_to == START + first
    assert beat(again, START + MOST_AHEAD) == Heartbeat(at=START + MOST_AHEAD)
