"""A running gateway minds its clock: it notes the time, and a purge waits for a clock that can be believed (spec 4)."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import structlog

from gateway import logs
from gateway.cli.init import make_home
from gateway.clock import AMSTERDAM, SteppedClock
from gateway.daemon import Daemon
from gateway.gateway import open_gateway
from gateway.settings import Home
from gateway.store import heartbeat, registers

NOW = datetime(2026, 11, 3, 9, 0, 30, tzinfo=AMSTERDAM)


class House:
    """A daemon whose clock the test moves, guarded as the system's is."""

    def __init__(self, home: Path) -> None:
        make_home(Home(root=home))
        self.clock = SteppedClock(NOW)
        self.log = io.StringIO()
        logs.set_up(json=True, stream=self.log)
        self.gateway = open_gateway(home, self.clock, guards_clock=True)
        self.daemon = Daemon(self.gateway)

    def noted(self) -> datetime | None:
        """The time that is believed."""
        with self.gateway.store.read() as conn:
            last = heartbeat.last(conn)
        return None if last is None else last.at

    def runs(self) -> int:
        """How many purges were begun."""
        with self.gateway.store.read() as conn:
            return len(registers.runs(conn))

    def last_run(self, job: str) -> datetime:
        """When a job of the schedule ran last."""
        with self.gateway.store.read() as conn:
            return registers.last_runs(conn)[job]

    def events(self) -> list[str]:
        """What was logged."""
        return [json.loads(line)["event"] for line in self.log.getvalue().splitlines()]

    async def go_to(self, at: datetime) -> None:
        """The clock says another time, and the schedule looks."""
        self.clock.set(at)
        await self.daemon.schedule.run_due()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """It runs."""
    house = House(tmp_path / "home")
    await house.daemon.start(host="127.0.0.1", port=0)
    yield house
    house.gateway.close()
    structlog.reset_defaults()


async def test_the_time_is_noted_each_minute_and_at_the_end(house: House) -> None:
    """So the next start sees how long the gateway stood still."""
    await house.go_to(NOW + timedelta(minutes=1))
    assert house.noted() == NOW + timedelta(minutes=1)
    await house.go_to(NOW + timedelta(minutes=2))
    assert house.noted() == NOW + timedelta(minutes=2)
    house.clock.set(NOW + timedelta(minutes=2, seconds=20))
    await house.daemon.stop()
    assert house.noted() == NOW + timedelta(minutes=2, seconds=20)


async def test_a_jump_blocks_the_purge_and_nothing_else(house: House) -> None:
    """Keys are made, the log is signed, letters go; the purge is tried again, and runs when the clock is right."""
    await house.go_to(NOW + timedelta(minutes=1))
    jumped = NOW + timedelta(days=10)
    await house.go_to(jumped)
    assert house.runs() == 0
    assert {"clock.jumped", "clock.refused", "schedule.failed"} <= set(house.events())
    assert house.last_run("keys") == house.last_run("checkpoint") == jumped
    assert house.last_run("purge") < jumped
    assert house.noted() == NOW + timedelta(minutes=1)
    # the next minutes do not make it right
    await house.go_to(jumped + timedelta(minutes=20))
    assert house.runs() == 0
    await house.daemon.stop()
    assert house.noted() == NOW + timedelta(minutes=1)

    house.clock.set(NOW + timedelta(hours=20))
    again = Daemon(house.gateway)
    await again.start(host="127.0.0.1", port=0)
    await again.schedule.run_due()
    await again.stop()
    assert house.noted() == NOW + timedelta(hours=20)
    assert house.runs() == 1
