"""Scheduled work: the purge at night, the audit checkpoint, keys made ahead (spec 4, Retention).

APScheduler ticks; what is due is decided by the cron line, the time of the last run, which is in the
database, and the daemon's `Clock`. So a run that was missed while the gateway was down is made up for once
at start, and a run that was cut off begins again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from gateway import cron, logs
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.store import registers
from gateway.store.engine import Store

#: How often is looked whether something is due, in seconds.
TICK_S = 1
#: What failed is tried again after this: a purge must not wait for the next night.
RETRY_AFTER = timedelta(minutes=15)

_log = logs.get("schedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work for certain times. `line` is a cron line; `run` is called in a thread.

    Where several times passed at once, as when the machine slept, it waits for the job `after`, named before it, if that
    runs or is due too: whatever becomes of that one.
    """

    name: str
    line: str
    run: Callable[[], object]
    after: str = ""


class Schedule:
    """Runs jobs at their times, each one at a time and once however many of its times have passed."""

    def __init__(self, store: Store, clock: Clock, jobs: Sequence[Job]) -> None:
        self._store, self._clock = store, clock
        #: may be replaced by jobs of the same names, with other times
        self.jobs = jobs
        self._last: dict[str, datetime] = {}
        #: when a job that failed is tried again
        self._again: dict[str, datetime] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._scheduler = AsyncIOScheduler(timezone=UTC)

    async def start(self) -> None:
        """Begin; a job that is seen for the first time waits for its next time."""
        self._last = await asyncio.to_thread(self._register)
        self._scheduler.add_job(
            self._tick,
            "interval",
            seconds=TICK_S,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        self._scheduler.start()

    async def run_due(self) -> None:
        """Run what is due now and wait until nothing runs: for tests and the demo, which step the clock."""
        self._start_due()
        await asyncio.gather(*self._running.values())

    async def stop(self) -> None:
        """Start nothing more and wait for what runs."""
        self._scheduler.shutdown(wait=False)
        await asyncio.gather(*self._running.values())

    async def _tick(self) -> None:
        self._start_due()

    def _start_due(self) -> None:
        now = self._clock.now()
        for job in self.jobs:
            if job.name not in self._running and self._next(job) <= now:
                before = self._running.get(job.after)
                self._running[job.name] = asyncio.create_task(self._run(job, now, before), name=job.name)

    def _next(self, job: Job) -> datetime:
        return self._again.get(job.name) or cron.next_time(job.line, self._last[job.name])

    async def _run(self, job: Job, started_at: datetime, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            await asyncio.to_thread(job.run)
            await asyncio.to_thread(self._record, job.name, started_at)
            self._last[job.name] = started_at
            self._again.pop(job.name, None)
        except Exception as exc:  # noqa: BLE001  # one job's error stops neither the others nor its next try
            self._again[job.name] = started_at + RETRY_AFTER
            # our own errors bear no personal data; others may quote what they choked on
            error = str(exc) if isinstance(exc, GatewayError) else ""
            _log.error("schedule.failed", operation=job.name, error_type=type(exc).__name__, error=error)
        finally:
            del self._running[job.name]

    def _register(self) -> dict[str, datetime]:
        now = self._clock.now()
        with self._store.write() as conn:
            known = registers.last_runs(conn)
            for job in self.jobs:
                if job.name not in known:
                    registers.set_last_run(conn, job.name, now)
        return {job.name: known.get(job.name, now) for job in self.jobs}

    def _record(self, name: str, at: datetime) -> None:
        with self._store.write() as conn:
            registers.set_last_run(conn, name, at)
