"""Scheduled work: at its time, once, made up for when it was missed, and again when it was cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from gateway.clock import AMSTERDAM, SteppedClock
from gateway.retention.schedule import Job, Schedule
from gateway.store import registers
from gateway.store.engine import Store

NIGHTLY = "30 2 * * *"
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database."""
    made = Store.create(tmp_path / "gateway.db")
    yield made
    made.close()


@pytest.fixture
def clock() -> SteppedClock:
    """Noon of 22 November 2026."""
    return SteppedClock(datetime(2026, 11, 22, 12, tzinfo=AMSTERDAM))


async def started(store: Store, clock: SteppedClock, *jobs: Job) -> Schedule:
    """A schedule at work."""
    schedule = Schedule(store, clock, jobs)
    await schedule.start()
    return schedule


def nightly(run: Callable[[], object]) -> Job:
    """A job for half past two."""
    return Job(name="purge", line=NIGHTLY, run=run)


async def test_a_job_runs_at_its_time_and_once(store: Store, clock: SteppedClock) -> None:
    """Not before, and not again before its next time; the first time seen is no missed run."""
    runs: list[datetime] = []
    schedule = await started(store, clock, nightly(lambda: runs.append(clock.now())))
    await schedule.run_due()
    clock.set(datetime(2026, 11, 23, 2, 29, 59, tzinfo=AMSTERDAM))
    await schedule.run_due()
    assert runs == []
    clock.set(datetime(2026, 11, 23, 2, 30, tzinfo=AMSTERDAM))
    await schedule.run_due()
    await schedule.run_due()
    clock.step(timedelta(hours=1))
    await schedule.run_due()
    assert runs == [datetime(2026, 11, 23, 1, 30, tzinfo=UTC)]
    clock.step(DAY)
    await schedule.run_due()
    assert len(runs) == 2
    await schedule.stop()


async def test_what_needs_another_job_waits_for_it_when_both_are_due(
    store: Store, clock: SteppedClock
) -> None:
    """Not at the same time in two threads; and it runs whatever became of the other."""
    told: list[str] = []
    entered, other_ran, release = Event(), Event(), Event()

    def other() -> None:
        told.append("other")
        other_ran.set()

    def make() -> None:
        told.append("keys begin")
        entered.set()
        release.wait(10)
        told.append("keys end")
        raise RuntimeError("no disk")

    schedule = await started(
        store,
        clock,
        Job(name="keys", line="15 0 * * *", run=make),
        Job(name="report", line="55 6 * * *", run=lambda: told.append("report"), after="keys"),
        Job(name="other", line="0 1 * * *", run=other),
    )
    clock.step(100 * DAY)
    running = asyncio.create_task(schedule.run_due())
    await asyncio.to_thread(entered.wait, 10)
    await asyncio.to_thread(other_ran.wait, 10)
    release.set()
    await running
    assert sorted(told[:2]) == ["keys begin", "other"]
    assert told[2:] == ["keys end", "report"]
    await schedule.stop()


async def test_a_missed_run_is_made_up_for_once_after_a_restart(store: Store, clock: SteppedClock) -> None:
    """However many of its times passed while the gateway was down."""
    runs: list[datetime] = []
    first = await started(store, clock, nightly(lambda: runs.append(clock.now())))
    await first.stop()
    clock.step(5 * DAY)
    again = await started(store, clock, nightly(lambda: runs.append(clock.now())))
    await again.run_due()
    await again.run_due()
    await again.stop()
    assert len(runs) == 1
    third = await started(store, clock, nightly(lambda: runs.append(clock.now())))
    await third.run_due()
    await third.stop()
    assert len(runs) == 1, "it is on record"


async def test_a_run_that_was_cut_off_begins_again(store: Store, clock: SteppedClock) -> None:
    """Its time counts as used only when it is done: killed before that, it is due at the next start."""
    entered, release = Event(), Event()

    def hang() -> None:
        entered.set()
        release.wait(30)

    first = await started(store, clock, nightly(hang))
    clock.step(DAY)
    running = asyncio.create_task(first.run_due())
    await asyncio.to_thread(entered.wait, 30)

    runs: list[str] = []
    second = await started(store, clock, nightly(lambda: runs.append("again")))
    await second.run_due()
    assert runs == ["again"]
    release.set()
    await running
    await first.stop()
    await second.stop()


async def test_a_failing_job_stops_neither_the_others_nor_its_next_time(
    store: Store, clock: SteppedClock
) -> None:
    """Its error is logged, without what it was at work on."""
    tries: list[datetime] = []
    others: list[datetime] = []

    def fail() -> None:
        tries.append(clock.now())
        raise ValueError("no luck")

    other = Job(name="checkpoint", line="0 * * * *", run=lambda: others.append(clock.now()))
    schedule = await started(store, clock, nightly(fail), other)
    with capture_logs() as logged:
        for _ in range(2):
            clock.step(DAY)
            await schedule.run_due()
    await schedule.stop()
    assert (len(tries), len(others)) == (2, 2)
    assert [(entry["event"], entry["operation"]) for entry in logged] == [("schedule.failed", "purge")] * 2


async def test_a_failed_job_is_tried_again_the_same_night(store: Store, clock: SteppedClock) -> None:
    """After a quarter of an hour, not at each tick; once it is done it waits for its next time."""
    tries: list[datetime] = []

    def fail_once() -> None:
        tries.append(clock.now())
        if len(tries) == 1:
            raise ValueError("no luck")

    schedule = await started(store, clock, nightly(fail_once))
    clock.step(DAY)
    for minutes in (0, 10, 5, 20):
        clock.step(timedelta(minutes=minutes))
        await schedule.run_due()
    await schedule.stop()
    assert [after - tries[0] for after in tries] == [timedelta(0), timedelta(minutes=15)]


async def test_the_scheduler_ticks_by_itself(store: Store, clock: SteppedClock) -> None:
    """Nobody has to ask: a job whose time has come runs within a tick, and the record is there after it."""
    done = Event()
    schedule = await started(store, clock, nightly(done.set))
    clock.step(DAY)
    assert await asyncio.to_thread(done.wait, 30)
    await schedule.stop()
    with store.read() as conn:
        assert registers.last_runs(conn) == {"purge": clock.now()}


async def test_a_long_job_delays_no_other(store: Store, clock: SteppedClock) -> None:
    """The hourly checkpoint is signed while a purge of hours is at work, which is not begun twice."""
    entered: list[str] = []
    release, checkpointed = Event(), Event()

    def hang() -> None:
        entered.append("purge")
        release.wait(30)

    schedule = await started(
        store, clock, nightly(hang), Job(name="checkpoint", line="0 * * * *", run=checkpointed.set)
    )
    clock.step(DAY)
    first = asyncio.create_task(schedule.run_due())
    assert await asyncio.to_thread(checkpointed.wait, 30)
    checkpointed.clear()
    clock.step(DAY)
    second = asyncio.create_task(schedule.run_due())
    assert await asyncio.to_thread(checkpointed.wait, 30)
    assert entered == ["purge"]
    release.set()
    await asyncio.gather(first, second)
    await schedule.stop()
