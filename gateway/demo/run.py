"""The demo itself: months of days with uploads, and six more until everything is gone.

The daemon runs in this process with a clock that is stepped forward; partners come in over the network.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from gateway.clock import AMSTERDAM, SteppedClock, add_months
from gateway.daemon import Daemon
from gateway.demo.cast import COLLECTORS, CREDITORS, MONTHS
from gateway.demo.client import Client
from gateway.demo.uploads import Upload
from gateway.errors import StoreError
from gateway.gateway import Gateway, open_gateway
from gateway.pipeline.worker import pending
from gateway.retention.due import due
from gateway.store import queue

#: When the nightly work is over, when creditors send, when partners collect.
_NIGHT, _MORNING, _AFTERNOON = time(3), time(9), time(16)
#: How often is looked whether the worker is done, in seconds.
_LOOK_EVERY_S = 0.04
#: How long a day's work may take, in seconds.
_PATIENCE_S = 60

LAST_MONTH_ENDS = add_months(MONTHS[-1], 1) - timedelta(days=1)
#: Six calendar months after the last day on which signals come in, everything is gone the night after.
GONE_ON = add_months(LAST_MONTH_ENDS, 6) + timedelta(days=2)

_RENAMES = frozenset(creditor.id for creditor in CREDITORS if creditor.renames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """How far the demo is: the day on the gateway's clock, and what went over the line so far."""

    day: date
    uploads: int
    rows: int
    collected: int


Tell = Callable[[Tick], None]


class Stage:
    """A gateway that runs, its clock, which begins on the day `first`, and its partners' computers."""

    def __init__(self, home: Path, clients: Sequence[Client], tell: Tell, *, first: date) -> None:
        self._first = first
        self._clock = SteppedClock(_at(first, time(0)))
        self.gateway: Gateway = open_gateway(home, self._clock)
        self._daemon = Daemon(self.gateway)
        self._pipeline = self.gateway.pipeline()
        self._clients: Mapping[str, Client] = {client.partner_id: client for client in clients}
        self._tell = tell
        self._tick = Tick(day=first, uploads=0, rows=0, collected=0)

    @property
    def port(self) -> int:
        """The port that partners connect to."""
        return self._daemon.port

    @property
    def tick(self) -> Tick:
        """How far it is."""
        return self._tick

    async def start(self) -> None:
        """Open the door, on a free port of loopback, and tell the partners where it is."""
        await self._daemon.start(host="127.0.0.1", port=0)
        host_key = self.gateway.home.host_key.with_suffix(".pub").read_text("utf-8")
        self._clients = {
            name: client.knows(self._daemon.port, host_key) for name, client in self._clients.items()
        }

    async def stop(self) -> None:
        """Close the door."""
        await self._daemon.stop()
        self.gateway.close()

    async def exchange(self, uploads: Sequence[Upload], until: date) -> None:
        """Up to and including a day: on some days creditors send, the gateway publishes and partners collect."""
        by_day: dict[date, list[Upload]] = defaultdict(list)
        for upload in uploads:
            by_day[upload.day].append(upload)
        nights = self._nights(until)
        for day in _days(self._first, until):
            if any(each <= day for each in nights):
                await self._night(day)
                nights = self._nights(until)
            if day in by_day:
                await self._deliver(day, by_day[day])
                nights = self._nights(until)
            if (day + timedelta(days=1)).day == 1:
                await self._collect(day, [collector.id for collector in COLLECTORS], "outbox")
            if day == until:
                await self._collect(day, [creditor.id for creditor in CREDITORS], "returns")
            self._told(day=day)

    async def up_to(self, at: datetime) -> None:
        """Do what is scheduled up to a moment: a gateway that goes on from there makes up for nothing."""
        self._clock.set(at)
        await self._daemon.schedule.run_due()

    async def six_months_more(self) -> None:
        """Nobody sends anything: what is due goes in the night after its day, until nothing is left."""
        nights = self._nights(GONE_ON) | {GONE_ON}
        for day in _days(LAST_MONTH_ENDS + timedelta(days=1), GONE_ON):
            if day in nights:
                await self._night(day)
            self._told(day=day)

    def _nights(self, until: date) -> set[date]:
        """The nights in which received files or signals go.

        The other nights are left out to save time: the first one after makes up for them.
        """
        gateway = self.gateway
        going = due(gateway.store, gateway.clock.now(), until - timedelta(days=1), gateway.settings.terms)
        return {each.day + timedelta(days=1) for each in going if each.raws + each.signals}

    async def _night(self, day: date) -> None:
        self._clock.set(_at(day, _NIGHT))
        await self._daemon.schedule.run_due()

    async def _deliver(self, day: date, uploads: Sequence[Upload]) -> None:
        """One after the other, so that their order is the same at each run; then publication."""
        self._clock.set(_at(day, _MORNING))
        await asyncio.to_thread(self.gateway.make_keys)
        for upload in uploads:
            client = self._clients[upload.creditor_id]
            await client.put(upload.name, upload.data, rename=upload.creditor_id in _RENAMES)
            self._told(uploads=self._tick.uploads + 1, rows=self._tick.rows + upload.rows)
        await self._until(lambda: not self._has_waiting())
        # what arrived together is published together: once `settle_s` has passed
        self._clock.step(timedelta(minutes=1))
        self._daemon.worker.wake()
        await self._until(lambda: not pending(self._pipeline))

    async def _collect(self, day: date, partners: Sequence[str], *boxes: str) -> None:
        self._clock.set(_at(day, _AFTERNOON))
        collected = await asyncio.gather(*(self._clients[name].collect(*boxes) for name in partners))
        self._told(collected=self._tick.collected + sum(collected))

    async def _until(self, is_done: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not await asyncio.to_thread(is_done):  # noqa: ASYNC110  # the worker is a thread
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            raise StoreError("the demo's gateway did not finish its work: its log says why") from None

    def _has_waiting(self) -> bool:
        with self.gateway.store.read() as conn:
            return queue.waiting_count(conn) > 0

    def _told(
        self,
        *,
        day: date | None = None,
        uploads: int | None = None,
        rows: int | None = None,
        collected: int | None = None,
    ) -> None:
        last = self._tick
        self._tick = Tick(
            day=day or last.day,
            uploads=last.uploads if uploads is None else uploads,
            rows=last.rows if rows is None else rows,
            collected=last.collected if collected is None else collected,
        )
        self._tell(self._tick)


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _at(day: date, hour: time) -> datetime:
    return datetime.combine(day, hour, AMSTERDAM)
