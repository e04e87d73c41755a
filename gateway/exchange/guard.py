"""The guard at the door of one listener: what it has open, and what the other processes told it.

Nobody waits for the database here: every second a look writes what happened and reads what the others wrote.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from gateway import logs
from gateway.audit.log import record
from gateway.domain.guard import (
    GuardTerms,
    Refusal,
    Standing,
    forgotten_before,
    is_closed_out,
    is_within,
    penalised,
    refusal,
    source_of,
)
from gateway.domain.partner import Partner
from gateway.errors import CommandError
from gateway.exchange.context import Exchange
from gateway.store import guard
from gateway.store.engine import Store
from gateway.vault.ids import new_id

_log = logs.get("exchange")

#: How often the guard looks.
LOOK_S = 1.0
#: How long what a process said of its sessions holds; said again when half of it has passed.
LEASE = timedelta(minutes=1)
#: Sources that are remembered between two looks: a flood from everywhere must not fill the memory.
_MOST_SOURCES = 10_000
#: Lines of the log that a look writes of refused connections; the others are told in one.
_MOST_LINES = 20


class Guard:
    """Counts the connections of one process; caps, penalties and sessions are those of all processes."""

    def __init__(self, exchange: Callable[[], Exchange]) -> None:
        self._exchange = exchange
        self._process = exchange().process or new_id("P", 12)
        self._waiting = exchange().waiting
        #: sessions of each partner, here and elsewhere
        self._open: Counter[str] = Counter()
        self._elsewhere: dict[str, int] = {}
        #: who is closed out, as the last look found it
        self._standings: dict[str, Standing] = {}
        #: since the last look: refusals by source, and connections that were closed at once
        self._points: Counter[str] = Counter()
        self._turned_away: Counter[tuple[str, Refusal]] = Counter()
        #: what this process said last of its sessions, and until when it holds
        self._said: dict[str, int] = {}
        self._lease: datetime | None = None

    # connections

    def knock(self, address: str, terms: GuardTerms) -> Refusal | None:
        """A connection was made: why it is closed at once, if it is. Otherwise `leave_door` must follow."""
        source = source_of(address)
        found = refusal(
            terms,
            is_safe=is_within(address, terms.safe_networks),
            standing=self._standings.get(source),
            now=self._exchange().clock.now(),
            waiting=self._waiting.total(),
            waiting_here=self._waiting.of(source),
        )
        if found is None:
            self._waiting.add(source)
        elif (source, found) in self._turned_away or len(self._turned_away) < _MOST_SOURCES:
            self._turned_away[source, found] += 1
        return found

    def leave_door(self, address: str) -> None:
        """A connection has logged in, or is gone."""
        self._waiting.remove(source_of(address))

    def refuse(self, address: str, terms: GuardTerms) -> None:
        """A login was refused, or the protocol was broken: a point for its source, unless it is safe."""
        source = source_of(address)
        is_known = source in self._points or len(self._points) < _MOST_SOURCES
        if is_known and not is_within(address, terms.safe_networks):
            self._points[source] += 1

    # sessions

    def enter(self, partner: Partner) -> bool:
        """Whether the partner may open one more session; `leave` must follow."""
        found = self._open[partner.id] + self._elsewhere.get(partner.id, 0) < partner.limits.sessions
        if found:
            self._open[partner.id] += 1
        return found

    def leave(self, partner: Partner) -> None:
        """A session has ended."""
        self._open[partner.id] -= 1

    # the other processes

    async def watch(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Write what happened since the last look, and read what the others wrote."""
        self._tell_turned_away()
        points, self._points = self._points, Counter()
        open_now = {partner_id: count for partner_id, count in self._open.items() if count}
        try:
            await asyncio.to_thread(self._exchange_news, points, open_now)
        except Exception as exc:  # noqa: BLE001  # nobody is kept in or out by a database that fails for a while
            self._points.update(points)
            _log.error("guard.failed", error_type=type(exc).__name__)

    def _exchange_news(self, points: Counter[str], open_now: dict[str, int]) -> None:
        """Blocking. A transaction is made only when there is something to say; `points` is empty after it."""
        exchange = self._exchange()
        store, terms, now = exchange.store, exchange.guard, exchange.clock.now()
        is_due = bool(open_now) and (self._lease is None or self._lease - now < LEASE / 2)
        if points or open_now != self._said or is_due:
            with store.write() as conn:
                worse = {}
                for source, count in points.items():
                    worse[source] = penalised(guard.standing(conn, source), count, now, terms)
                    guard.set_standing(conn, source, worse[source])
                guard.forget(conn, forgotten_before(now, terms))
                guard.set_sessions(conn, self._process, open_now, now=now, until=now + LEASE)
            points.clear()
            self._said, self._lease = open_now, now + LEASE
            for source, found in worse.items():
                if is_closed_out(found, now, terms):
                    lasts_ms = round((found.until - now) / timedelta(milliseconds=1))
                    _log.warning(
                        "address.penalised", address=source, count=round(found.score), duration_ms=lasts_ms
                    )
        with store.read() as conn:
            self._elsewhere = guard.sessions(conn, now, but_of=self._process)
            self._standings = guard.standings(conn, after=now)

    def _tell_turned_away(self) -> None:
        """A line for each source and reason, not for each connection."""
        found, self._turned_away = self._turned_away.most_common(), Counter()
        for (source, reason), count in found[:_MOST_LINES]:
            _log.warning("connection.refused", address=source, reason=str(reason), count=count)
        if others := sum(count for _, count in found[_MOST_LINES:]):
            _log.warning("connection.refused", address="", reason="of other addresses", count=others)


def forget_process(store: Store, process: str, now: datetime) -> None:
    """Count the sessions of a process no more: it has ended, and they with it."""
    with store.write() as conn:
        guard.set_sessions(conn, process, {}, now=now, until=now)


def lift(store: Store, address: str, *, actor: str, at: datetime, node: str) -> str:
    """Hold nothing against an address any more; the source that was let in again: itself, or its /64.

    Args:
        store: the database; every process reads it within `LOOK_S`.
        address: an address, or a source as `store.guard.standings` names it.
        actor: who lifts it.
        at: aware instant.
        node: the id of this node.

    Raises:
        CommandError: nothing is held against it.
    """
    source = source_of(address)
    with store.write() as conn:
        if not guard.lift(conn, source):
            raise CommandError(f"nothing is held against {address}; see: gateway guard list")
        record(conn, action="penalty.lifted", object_id=source, origin="cli", actor=actor, at=at, node=node)
    return source
