"""A gateway that runs, or one of its processes: parts started in order, changes taken up, stopped in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path
from socket import socket

from gateway import logs
from gateway.audit.log import record
from gateway.audit.shelf import LogShelf
from gateway.backup.replay import replay
from gateway.domain.approval import approvers_digest
from gateway.domain.host_key import HostKey, HostKeyKind, in_use
from gateway.errors import ConfigError, ConfigErrors, GatewayError, KeyringError
from gateway.exchange import host_keys
from gateway.exchange.algorithms import LEGACY, MODERN
from gateway.exchange.context import Exchange
from gateway.exchange.guard import forget_process
from gateway.exchange.listener import Door, Listener, listen
from gateway.exchange.room import RoomWatch, look_at
from gateway.exchange.upload import abort_stale, abort_unfinished, remove_left
from gateway.exchange.waiting import waiting
from gateway.gateway import Gateway
from gateway.link import Link, Standing
from gateway.pipeline.deadlines import send_deadlines
from gateway.pipeline.delivery_report import send_delivery_reports
from gateway.pipeline.feedback import tell_silence
from gateway.pipeline.statement import send_statements
from gateway.pipeline.worker import Worker
from gateway.retention.approval_shelf import ApprovalShelf
from gateway.retention.ring import standings
from gateway.retention.schedule import Job, Schedule
from gateway.retention.shelves import CertificateShelf, RegisterShelf
from gateway.running import Running, tell
from gateway.settings import Settings, build, digest_of, read_files
from gateway.store import blobs as known_blobs
from gateway.store import configuration
from gateway.vault.ids import new_id
from gateway.watching import Watch

_log = logs.get("daemon")

#: How often is looked whether a key has had its time, in seconds.
_LOOK_AT_KEYS_S = 60
#: How often is looked whether the disk has room, in seconds.
ROOM_EVERY_S = 5
#: Requests that wait for the disk or the database at a time.
MOST_THREADS = 32


class Part(StrEnum):
    """What a process of a gateway does."""

    #: partners connect to it
    EXCHANGE = "exchange"
    #: takes deliveries from the queue, publishes
    PIPELINE = "pipeline"
    #: what is done at set times, and what changes under a running gateway: the files, the disk, the keys
    SCHEDULER = "scheduler"


class Daemon:
    """A running gateway, or those parts of it that one process is for, started and stopped in order.

    Args:
        gateway: with the configuration in force.
        parts: what this process does; everything, unless there are others.
        link: how it reaches the others.
        sockets: bound already, for the listener and for the legacy one; none: they are bound at the start.
    """

    def __init__(
        self,
        gateway: Gateway,
        parts: Collection[Part] = tuple(Part),
        *,
        link: Link | None = None,
        sockets: tuple[Sequence[socket], Sequence[socket]] = ((), ()),
    ) -> None:
        #: with the configuration in force
        self.gateway = gateway
        self._parts, self._link, self._sockets = frozenset(parts), link, sockets
        #: this process, in what it writes down for the others
        self.process = link.process if link else new_id("P", 12)
        self._waiting = (link and link.waiting) or waiting(1)[0]
        #: processes that are no more: what they were receiving nobody is sending
        self._ended: set[str] = set()
        self._context = gateway.pipeline()
        self.worker = Worker(lambda: self._context)
        self.room = RoomWatch(gateway.reserve, gateway.settings.limits.file_bytes)
        self._under_way: set[str] = set()
        self._serving = self._exchange()
        self.schedule = Schedule(gateway.store, gateway.clock, self._jobs())
        self._watch: Watch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._listener: Listener | None = None
        #: the number of the configuration in force
        self.generation = link.generation if link else 0
        #: digest of the configuration that was refused last: it is told once
        self._refused = ""
        self._reloading = asyncio.Lock()
        self._reload: asyncio.Task[None] | None = None
        self._minding: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        #: the files of the host keys that are shown, by listener, and the fingerprint that partners compare
        self._shown: tuple[list[Path], list[Path]] = ([], [])
        self._host_key = ""
        #: where the legacy listener is, until the daemon stops
        self._legacy = gateway.settings.legacy

    @property
    def port(self) -> int:
        """The port that partners connect to."""
        if self._listener is None:
            raise RuntimeError("the daemon does not listen")
        return self._listener.port

    async def start(self, *, host: str, port: int) -> None:
        """Open the door, after `recover` if this process is the only one.

        Raises:
            ConfigError: the port is taken.
        """
        self._loop = asyncio.get_running_loop()
        # one for each CLOSE that waits for the disk: they share its syncs and commits
        self._loop.set_default_executor(ThreadPoolExecutor(MOST_THREADS))
        if self._link is None:
            await asyncio.to_thread(self.recover)
        if Part.SCHEDULER in self._parts:
            self._watching = asyncio.create_task(self._watch_room())
            await self.schedule.start()
            self._watch = Watch(self.gateway.home, self._wake_up, self._start_reload)
            # what has changed since it was read, and before it was watched
            self._start_reload()
        if Part.PIPELINE in self._parts:
            self.worker.start()
        if Part.EXCHANGE in self._parts:
            try:
                await self._open_door(host, port)
            except OSError as exc:
                await self.stop()
                raise no_door(exc, (host, port), self._legacy) from exc
        if Part.PIPELINE not in self._parts or self._link is None:
            self._minding = asyncio.create_task(self._mind_keys())
        self._tell()

    async def _open_door(self, host: str, port: int) -> None:
        now = self.gateway.clock.now()
        keys = await asyncio.to_thread(self._host_keys)
        self._shown, self._host_key = self._choose(keys, now), _proved(keys, now)
        own, second = self._sockets
        self._listener = await listen(
            lambda: self._serving,
            host=host,
            port=port,
            host_keys=self._shown[0],
            sockets=own,
            legacy=self._legacy
            and Door(host=self._legacy[0], port=self._legacy[1], host_keys=self._shown[1], sockets=second),
        )

    async def stop(self) -> None:
        """Accept nobody, let what is under way end, and stop every part."""
        if self._minding is not None:
            self._minding.cancel()
            with suppress(asyncio.CancelledError):
                await self._minding
        if self._listener is not None:
            await self._listener.close()
        if Part.SCHEDULER in self._parts:
            await self.schedule.stop()
        if self._watch is not None:
            await self._watch.stop()
        if self._reload is not None:
            await self._reload
        if Part.PIPELINE in self._parts:
            await asyncio.to_thread(self.worker.stop)
        if self._watching is not None:
            self._watching.cancel()
        if Part.SCHEDULER in self._parts:
            await asyncio.to_thread(self.gateway.beat)
            await asyncio.to_thread(self.gateway.sign)
            self.room.end()
        if self._link is None:
            self.gateway.home.status_file.unlink(missing_ok=True)

    async def reload(self) -> None:
        """Take up what changed under `config/`, all of it; what can't be used is refused, and the old stays."""
        async with self._reloading:
            settings = await asyncio.to_thread(self._changed_settings)
            if settings is None:
                return
            before = self.gateway.settings
            self.gateway = replace(self.gateway, settings=settings)
            await asyncio.to_thread(self._take_up)
            self.go_on_with(settings, self.generation)
            if self._link:
                self._link.hand_on(settings, self.generation)
            now = (settings.host, settings.port, settings.processes, settings.legacy)
            if (before.host, before.port, before.processes, self._legacy) != now:
                _log.warning("config.deferred", reason="listen")

    def go_on_with(self, settings: Settings, generation: int) -> None:
        """Put a configuration in force that is on record."""
        self.gateway, self.generation = replace(self.gateway, settings=settings), generation
        self._context = self.gateway.pipeline()
        self.room.file_bytes = settings.limits.file_bytes
        self._serving = self._exchange()
        self.schedule.jobs = self._jobs()
        self._tell()
        self.worker.wake()
        # sessions of keys that are gone from it end
        self._woken.set()

    def look(self) -> None:
        """A command has changed something."""
        self._woken.set()

    async def give_up_for(self, process: str) -> None:
        """A process of this gateway is no more: nobody is sending what it was receiving, and its visitors are gone."""
        self._ended.add(process)
        await asyncio.to_thread(self._give_up_ended)

    def _start_reload(self) -> None:
        # one that runs has perhaps read what has changed since; the next waits for it
        self._reload = asyncio.create_task(self.reload())

    def _changed_settings(self) -> Settings | None:
        """The configuration on disk, if it is another than the one in force and can be used."""
        home, digest = self.gateway.home, ""
        try:
            files = read_files(home.root)
            digest = digest_of(files)
            if digest != self.gateway.settings.digest:
                return build(home, files)
            self._refused = ""
        except ConfigErrors as exc:
            if digest != self._refused or not digest:
                for problem in exc.problems:
                    _log.error("config.refused", file=problem.file, key=problem.key, reason=problem.reason)
            self._refused = digest
        return None

    def _take_up(self) -> None:
        """Put the configuration in force on record: one generation for every process that reads the same."""
        gateway, now = self.gateway, self.gateway.clock.now()
        with gateway.store.write() as conn:
            generation, is_new = configuration.take_up(conn, gateway.settings.digest, now)
            if is_new:
                record(
                    conn,
                    action="config.loaded",
                    object_id=f"configuration-{generation.number}",
                    origin="config",
                    actor="gateway",
                    at=now,
                    node=gateway.node,
                    detail={
                        "sha256": gateway.settings.digest,
                        "partners": len(gateway.settings.partners),
                        "approvers": approvers_digest(gateway.settings.approvers),
                    },
                )
        self.generation, self._refused = generation.number, ""
        _log.info("config.loaded", generation=generation.number, count=len(gateway.settings.partners))

    def _tell(self) -> None:
        if self._link is not None:
            config = self.gateway.settings.digest
            self._link.stand(Standing(self.generation, config, self._host_key))
            return
        if self._listener is None:
            # a change was taken up before the door is open: `start` tells of it
            return
        status = Running(
            port=self._listener.port,
            pid=os.getpid(),
            host_key=self._host_key,
            generation=self.generation,
            config=self.gateway.settings.digest,
            legacy_port=self._listener.legacy_port,
        )
        tell(self.gateway.home, status)

    async def look_at_keys(self) -> None:
        """Do what the time asks of keys: show the host keys of now, remove old ones, end sessions of ended keys."""
        now = self.gateway.clock.now()
        keys = await asyncio.to_thread(self._host_keys)
        if self._listener is not None and (chosen := self._choose(keys, now)) != self._shown:
            self._listener.show_host_keys(*chosen)
            self._shown, self._host_key = chosen, _proved(keys, now)
            self._tell()
            _log.info("hostkey.changed", host_key=self._host_key, count=len(set(chain(*chosen))))
        if Part.SCHEDULER in self._parts:
            await asyncio.to_thread(self._remove_retired)
        if self._listener is not None:
            self._listener.cut_ended(self.gateway.settings.partners, now)
            await asyncio.to_thread(abort_unfinished, self._serving, of={self.process})

    async def _mind_keys(self) -> None:
        while True:
            # not `wait_for`: in Python 3.11 it swallows a cancel that comes with the wake-up, and we never end
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AT_KEYS_S):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self.look_at_keys()
            except Exception as exc:  # noqa: BLE001  # those who are connected stay, and the next look comes
                _log.error(
                    "keys.failed",
                    error_type=type(exc).__name__,
                    error=str(exc) if isinstance(exc, GatewayError) else "",
                )

    def _choose(self, keys: Sequence[HostKey], now: datetime) -> tuple[list[Path], list[Path]]:
        """The files of the host keys for the listener, and for the legacy one."""
        folder = self.gateway.home.keys
        return (
            host_keys.shown(folder, keys, MODERN.host_keys, now),
            host_keys.shown(folder, keys, LEGACY.host_keys, now) if self._legacy else [],
        )

    def _host_keys(self) -> tuple[HostKey, ...]:
        """All host keys; the legacy listener's own is made when it is missing."""
        gateway, now = self.gateway, self.gateway.clock.now()
        if self._legacy and Part.SCHEDULER in self._parts:
            told = partial(self._record_host_key, "host_key.made")
            host_keys.ensure(gateway.home.keys, HostKeyKind.ECDSA, now, told)
        return host_keys.calendar(gateway.home.keys)

    def _remove_retired(self) -> None:
        told = partial(self._record_host_key, "host_key.removed")
        host_keys.remove_retired(self.gateway.home.keys, self.gateway.clock.now(), told)

    def _record_host_key(self, action: str, key: HostKey) -> None:
        gateway = self.gateway
        with gateway.store.write() as conn:
            record(
                conn,
                action=action,
                object_id=key.fingerprint,
                origin="schedule",
                actor="gateway",
                at=gateway.clock.now(),
                node=gateway.node,
            )

    def _wake_up(self) -> None:
        """Called in the observer's thread when a command has changed something."""
        self._wake_worker()
        self._loop.call_soon_threadsafe(self._woken.set)
        if self._link:
            self._loop.call_soon_threadsafe(self._link.have_looked)

    def _wake_worker(self) -> None:
        """There may be something to process, here or in the process that does."""
        if self._link is None:
            self.worker.wake()
        else:
            self._link.wake()

    def _exchange(self) -> Exchange:
        gateway, settings = self.gateway, self.gateway.settings
        return Exchange(
            store=gateway.store,
            keyring=gateway.keyring,
            blobs=gateway.blobs,
            indexer=gateway.indexer,
            clock=gateway.clock,
            partners=settings.partners,
            node=gateway.node,
            process=self.process,
            on_arrival=self._wake_worker,
            # the reserve has one keeper: the scheduler
            has_room=lambda: look_at(gateway.reserve, settings.limits.file_bytes).takes_files,
            under_way=self._under_way,
            waiting=self._waiting,
            most_file_bytes=settings.limits.file_bytes,
            listed_for=settings.listed_for,
            staged_for=settings.staged_for,
            raw_days=settings.terms.raw_days,
            guard=settings.guard,
            shelves={
                "log": LogShelf(gateway.store, gateway.signer),
                "registers": RegisterShelf(
                    gateway.store,
                    gateway.notary(),
                    gateway.clock,
                    settings.notice_days,
                    grounds={
                        code: policy.known_residents_basis
                        for code, policy in settings.policies.items()
                        if policy.known_residents_basis
                    },
                    keys=lambda: standings(
                        gateway.store, gateway.keyring, gateway.clock.now(), settings.terms
                    ),
                ),
                "goedkeuringen": ApprovalShelf(gateway.store),
                "verklaringen": CertificateShelf(gateway.store, gateway.signer),
            },
        )

    def recover(self) -> None:
        """Before anyone comes in: what a restore brought back goes, keys for the days to come, nothing half received."""
        gateway = self.gateway
        # before keys are made under the names of lost ones, and before anything else is on record
        replay(gateway)
        self._take_up()
        gateway.make_keys()
        abort_unfinished(self._exchange())
        with gateway.store.exclusive():
            with gateway.store.read() as conn:
                used = known_blobs.in_use(conn)
            gateway.blobs.sweep(used.__contains__, older_than=timedelta(0))
        gateway.sign()
        self._host_keys()
        self.room.look()

    def _jobs(self) -> list[Job]:
        gateway = self.gateway
        return [
            Job(name="heartbeat", line="* * * * *", run=gateway.beat),
            Job(name="keys", line="15 0 * * *", run=gateway.make_keys),
            Job(name="approvals", line="*/5 * * * *", run=gateway.tend_approvals),
            # what seals something needs the keys of its day
            Job(name="few_keys", line="20 0 * * *", run=gateway.warn_of_few_keys, after="keys"),
            Job(name="purge", line=gateway.settings.purge_schedule, run=gateway.purge, after="keys"),
            Job(name="requests", line="*/5 * * * *", run=gateway.carry_out_requests, after="keys"),
            Job(name="checkpoint", line="0 * * * *", run=gateway.sign),
            Job(
                name="silence", line="30 6 * * *", run=lambda: tell_silence(gateway.pipeline()), after="keys"
            ),
            # these tell of the silence of the day
            Job(
                name="statement",
                line="45 6 1 * *",
                run=lambda: send_statements(gateway.pipeline()),
                after="silence",
            ),
            Job(
                name="deadlines",
                line="50 6 * * 1",
                run=lambda: send_deadlines(gateway.pipeline()),
                after="silence",
            ),
            Job(
                name="delivery_report",
                line="55 6 1 * *",
                run=lambda: send_delivery_reports(gateway.pipeline()),
                after="silence",
            ),
            Job(name="staged", line="10 * * * *", run=self._give_up),
        ]

    def _give_up(self) -> None:
        """What will never be received: never renamed, or left when the disk did not take its end."""
        abort_stale(self._serving)
        if self._listener is not None:
            abort_unfinished(self._serving, of={self.process})
        self._give_up_ended()

    def _give_up_ended(self) -> None:
        for process in list(self._ended):
            abort_unfinished(self._serving, of={process})
            remove_left(self._serving, process)
            forget_process(self.gateway.store, process, self.gateway.clock.now())
            self._ended.discard(process)

    async def _watch_room(self) -> None:
        while True:
            await asyncio.sleep(ROOM_EVERY_S)
            await asyncio.to_thread(self.room.look)


def _proved(keys: Sequence[HostKey], now: datetime) -> str:
    """The fingerprint by which partners know the gateway."""
    key = in_use(keys, HostKeyKind.ED25519, now)
    if key is None:
        raise KeyringError("no host key is in use: bring back keys/ from its copy")
    return key.fingerprint


def no_door(exc: OSError, door: tuple[str, int], legacy: tuple[str, int] | None) -> ConfigError:
    """What the administrator is told of an address or a port that can't be had."""
    second = f" and {legacy[0]}:{legacy[1]}" if legacy else ""
    return ConfigError(
        f"can't listen on {door[0]}:{door[1]}{second}: {exc.strerror or exc}; name another with --port, "
        "or 0 for a free one",
        file="config/gateway.toml",
        key="listen",
    )
