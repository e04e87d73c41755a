"""`gateway serve`: forks the processes of a gateway, starts another for one that ends, and stops them in order.

It has one thread and, from the first fork on, neither the database nor an event loop: so it can fork at any time, which
costs milliseconds where a new interpreter costs a second, and what all of them only read is in memory once (ADR 23).
"""

from __future__ import annotations

import gc
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TextIO

from gateway import child, logs, notify
from gateway.daemon import Daemon, Part, no_door
from gateway.errors import CommandError
from gateway.exchange import sockets
from gateway.exchange.waiting import Waiting, waiting
from gateway.gateway import Gateway
from gateway.link import ALIVE_EVERY_S, Link, Message, Standing, receive, send
from gateway.running import Running, only_one, tell
from gateway.settings import Settings
from gateway.vault.ids import new_id

_log = logs.get("daemon")

#: A process that says nothing so long stands still: it is killed, and another started.
_SILENT_S = 6 * ALIVE_EVERY_S
#: One that lived so long was no failure to start.
_LIVED_S = 10.0
#: The pause before another is started grows from the first of these to the second.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
#: After so many in a row that never were ready, all is stopped: the service manager, or a person, must see it.
_MOST_FAILURES = 5
#: How partners, deliveries and the log come to rest.
_STOPS: tuple[Part, ...] = (Part.EXCHANGE, Part.PIPELINE, Part.SCHEDULER)


@dataclass(slots=True, eq=False)
class _Seat:
    """A place that a process has to fill, and the process that does."""

    part: Part
    #: bound, for the listener and for the legacy one
    doors: tuple[Sequence[socket.socket], Sequence[socket.socket]] = ((), ())
    #: where it counts connections that have not logged in
    waiting: Waiting | None = None
    pid: int = 0
    process: str = ""
    line: socket.socket | None = None
    standing: Standing | None = None
    began: float = 0.0
    heard: float = 0.0
    #: in a row, those that ended soon, and of them those that never were ready
    short: int = 0
    unready: int = 0
    #: when another is started, on the monotonic clock
    due: float = 0.0
    is_told_to_stop: bool = False


def serve(
    gateway: Gateway,
    *,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, then drain; `on_ready` is called once partners can come in.

    For a process with one thread: it forks.

    Raises:
        ConfigError: another gateway runs on this home, or the port is taken.
        CommandError: a process could not be started, again and again.
    """
    settings = gateway.settings
    door = (settings.host if host is None else host, settings.port if port is None else port)
    with only_one(gateway.home) as lock:
        # left by a crash: who waits for this file waits for us
        gateway.home.status_file.unlink(missing_ok=True)
        try:
            own = sockets.bind(*door, settings.processes)
            second = sockets.bind(*settings.legacy, settings.processes) if settings.legacy else None
        except OSError as exc:
            raise no_door(exc, door, settings.legacy) from exc
        first = Daemon(gateway)
        first.recover()
        # what is open is nobody's after a fork
        gateway.close()
        seats, counts = [_Seat(Part.SCHEDULER), _Seat(Part.PIPELINE)], waiting(settings.processes)
        for number, bound in enumerate(own):
            seats.append(_Seat(Part.EXCHANGE, (bound, second[number] if second else []), counts[number]))
        Supervisor(gateway, seats, first.generation, door=door, lock=lock, on_ready=on_ready).run()


class Supervisor:
    """Minds the seats of one gateway."""

    def __init__(
        self,
        gateway: Gateway,
        seats: list[_Seat],
        generation: int,
        *,
        door: tuple[str, int],
        lock: TextIO,
        on_ready: Callable[[], None] | None,
    ) -> None:
        #: with the configuration in force
        self._gateway, self._generation = gateway, generation
        self._seats, self._door, self._lock, self._on_ready = seats, door, lock, on_ready
        own, legacy = seats[-1].doors
        self._port: int = own[0].getsockname()[1]
        self._legacy_port: int | None = legacy[0].getsockname()[1] if legacy else None
        self._wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._told: Running | None = None
        self._is_stopping = self._is_winding_down = False
        #: why, where it is no signal
        self._failure = ""
        #: exchange processes that are no more
        self._ended: list[str] = []

    def run(self) -> None:
        """Until a signal says to stop."""
        gc.freeze()  # what is there now stays; looking at it would copy it into each process
        with _signals(self._stop) as signals:
            self._selector.register(signals, selectors.EVENT_READ)
            alive_s, said = notify.alive_every_s(), -math.inf
            while not self._is_stopping or any(seat.pid for seat in self._seats):
                now = time.monotonic()
                self._mend(now)
                if alive_s is not None and now - said >= alive_s:
                    notify.send(notify.ALIVE)
                    said = now
                self._attend(self._pause(now, alive_s))
                self._reap()
                if self._is_stopping:
                    self._wind_down()
        for fd in self._wakes:
            os.close(fd)
        self._gateway.home.status_file.unlink(missing_ok=True)
        _log.info("gateway.stopped")
        if self._failure:
            raise CommandError(self._failure)

    # processes

    def _mend(self, now: float) -> None:
        """Fill the seats that are empty and due; kill what stands still."""
        for seat in self._seats:
            if not seat.pid and seat.due <= now and not self._is_stopping:
                self._fork(seat, now)
            elif seat.pid and now - seat.heard > _SILENT_S:
                _log.error("process.stalled", kind=seat.part, pid=seat.pid)
                os.kill(seat.pid, signal.SIGKILL)
                seat.heard = now

    def _fork(self, seat: _Seat, now: float) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        seat.process, parent = new_id("P", 12), os.getpid()
        seat.pid = os.fork()
        if not seat.pid:
            status = 1
            try:
                ours.close()
                status = child.live(
                    self._gateway,
                    seat.part,
                    self._link(seat, theirs),
                    sockets=seat.doors,
                    door=self._door,
                    parent=parent,
                )
            finally:
                # nothing of what the supervisor would do at its end is for this process
                os._exit(status)
        theirs.close()
        seat.line, seat.standing, seat.is_told_to_stop = ours, None, False
        seat.began = seat.heard = now
        _log.info("process.started", kind=seat.part, pid=seat.pid)
        self._selector.register(ours, selectors.EVENT_READ, seat)
        if seat.part is Part.SCHEDULER:
            for process in self._ended:
                self._send(seat, "ended", process=process)

    def _link(self, seat: _Seat, line: socket.socket) -> Link:
        """In the new process: its own end, and nothing of the others'."""
        self._selector.close()
        self._lock.close()
        for other in self._seats:
            if other.line is not None:
                other.line.close()
            if other is not seat:
                sockets.close([*other.doors[0], *other.doors[1]])
        reads, writes = self._wakes
        wakes = reads if seat.part is Part.PIPELINE else writes
        return Link(line, wakes, process=seat.process, generation=self._generation, waiting=seat.waiting)

    def _reap(self) -> None:
        """Take note of processes that have ended, also of those that were theirs."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for seat in self._seats:
                if seat.pid == pid:
                    self._vacate(seat, os.waitstatus_to_exitcode(status))

    def _vacate(self, seat: _Seat, status: int) -> None:
        self._hang_up(seat)
        pid, lived_s = seat.pid, time.monotonic() - seat.began
        seat.pid = 0
        if seat.waiting is not None:
            seat.waiting.clear()
        if seat.is_told_to_stop and status == 0:
            return
        reason = signal.Signals(-status).name if status < 0 else f"exit {status}"
        _log.error("process.ended", kind=seat.part, pid=pid, reason=reason, duration_ms=round(lived_s * 1000))
        seat.unready = seat.unready + 1 if seat.standing is None else 0
        seat.short = seat.short + 1 if lived_s < _LIVED_S else 0
        pause = min(_FIRST_PAUSE_S * 2 ** (seat.short - 1), _LONGEST_PAUSE_S) if seat.short else 0.0
        seat.due = time.monotonic() + pause
        if seat.part is Part.EXCHANGE:
            self._ended.append(seat.process)
            for other in self._filled(Part.SCHEDULER):
                self._send(other, "ended", process=seat.process)
        if not self._is_stopping and (self._told is None or seat.unready >= _MOST_FAILURES):
            self._failure = f"the {seat.part} process can't be started: the log says why"
            self._stop()

    def _stop(self) -> None:
        self._is_stopping = True

    # messages

    def _attend(self, pause_s: float) -> None:
        """Wait for signals and messages, and do what they say."""
        began = time.monotonic()
        found = self._selector.select(pause_s)
        if time.monotonic() - began > pause_s + ALIVE_EVERY_S:
            # all of us were stopped for a while: nobody could say anything
            for seat in self._seats:
                seat.heard = time.monotonic()
        for key, _ in found:
            seat = key.data
            if seat is None:
                key.fileobj.recv(4096)  # type: ignore[union-attr]  # their handlers have run
                continue
            message = receive(seat.line)
            if message is None:
                # it has ended, or is about to: `_reap` sees it
                self._hang_up(seat)
                continue
            seat.heard = time.monotonic()
            self._obey(seat, message)

    def _obey(self, seat: _Seat, message: Message) -> None:
        if message.kind == "standing":
            seat.standing = Standing(**message.values)
            self._tell()
        elif message.kind == "look":
            for other in self._filled(Part.EXCHANGE):
                self._send(other, "look")
        elif message.kind == "config" and message.settings is not None:
            self._generation = message.values["generation"]
            self._gateway = replace(self._gateway, settings=message.settings)
            for other in self._filled(Part.EXCHANGE, Part.PIPELINE):
                self._send(other, "config", message.settings, generation=self._generation)

    def _send(self, seat: _Seat, kind: str, settings: Settings | None = None, **values: object) -> None:
        if seat.line is None:
            return
        try:
            send(seat.line, kind, settings, **values)
        except BlockingIOError:
            # it has read nothing for long; the next one begins with what this one was to be told
            os.kill(seat.pid, signal.SIGKILL)
        except OSError:  # it has ended
            self._hang_up(seat)

    def _hang_up(self, seat: _Seat) -> None:
        if seat.line is not None:
            self._selector.unregister(seat.line)
            seat.line.close()
            seat.line = None

    def _filled(self, *parts: Part) -> list[_Seat]:
        return [seat for seat in self._seats if seat.pid and seat.part in parts]

    def _tell(self) -> None:
        """Tell others how the gateway stands, once all its processes stand the same."""
        standings = [seat.standing for seat in self._seats]
        shown = {each.host_key for each in standings if each is not None and each.host_key}
        if {each and each.generation for each in standings} != {self._generation} or len(shown) != 1:
            return
        found = Running(
            port=self._port,
            pid=os.getpid(),
            host_key=shown.pop(),
            generation=self._generation,
            config=self._gateway.settings.digest,
            legacy_port=self._legacy_port,
        )
        if found == self._told:
            return
        before, self._told = self._told, found
        tell(self._gateway.home, found)
        if before is None:
            self._announce(found)

    def _announce(self, found: Running) -> None:
        _log.info(
            "gateway.ready",
            port=found.port,
            pid=found.pid,
            host_key=found.host_key,
            legacy_port=found.legacy_port,
            generation=found.generation,
            count=len(self._filled(Part.EXCHANGE)),
        )
        notify.send(notify.READY)
        if self._on_ready is not None:
            self._on_ready()

    # the end

    def _wind_down(self) -> None:
        """Accept nobody, and let one part after the other end what is under way."""
        if not self._is_winding_down:
            self._is_winding_down = True
            notify.send(notify.STOPPING)
            # whoever knocks now is refused, and does not wait for nobody
            for seat in self._seats:
                sockets.close([*seat.doors[0], *seat.doors[1]])
        for part in _STOPS:
            if filled := self._filled(part):
                for seat in filled:
                    if not seat.is_told_to_stop:
                        seat.is_told_to_stop = True
                        self._send(seat, "stop")
                return

    def _pause(self, now: float, alive_s: float | None) -> float:
        """How long there is nothing to do but to listen."""
        waits = [ALIVE_EVERY_S, *(max(seat.due - now, 0.0) for seat in self._seats if not seat.pid)]
        if self._is_stopping:
            waits = [ALIVE_EVERY_S]
        return min(waits if alive_s is None else [*waits, alive_s])


@contextmanager
def _signals(on_stop: Callable[[], None]) -> Iterator[socket.socket]:
    """A socket that can be read when a signal came: `on_stop` was called, or a process has ended."""
    reads, writes = socket.socketpair()
    reads.setblocking(False)
    writes.setblocking(False)
    handlers = {
        signal.SIGTERM: lambda *_: on_stop(),
        signal.SIGINT: lambda *_: on_stop(),
        signal.SIGCHLD: lambda *_: None,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
    try:
        yield reads
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        reads.close()
        writes.close()
