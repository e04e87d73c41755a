"""The composition root: builds every part from the settings, runs them, and stops them in order."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from gateway import logs, notify
from gateway.audit.checkpoint import Signer, load_signing_key
from gateway.audit.publish import seal_log
from gateway.audit.sequencer import Sequencer
from gateway.audit.shelf import LogShelf
from gateway.clock import Clock, SystemClock, local_day
from gateway.errors import ConfigError
from gateway.exchange.context import Exchange
from gateway.exchange.keys import host_key_fingerprint
from gateway.exchange.listener import Listener, listen
from gateway.exchange.upload import abort_stale, abort_unfinished
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import post
from gateway.pipeline.publish import policy_hash
from gateway.pipeline.worker import Worker
from gateway.retention.keys import ensure_keys
from gateway.retention.notary import Notary
from gateway.retention.purge import PurgeReport, purge, would_go
from gateway.retention.run import Progress
from gateway.retention.schedule import Job, Schedule
from gateway.retention.shelves import CertificateShelf, RegisterShelf
from gateway.settings import Home, Settings, load_settings
from gateway.settings.gemeenten import gemeente_names, pc4_gemeenten
from gateway.store import blobs as known_blobs
from gateway.store.engine import Store
from gateway.vault.blobs import BlobFolder
from gateway.vault.durable import place_file
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring

_log = logs.get("daemon")

#: Held as long as a daemon runs.
_LOCK_FILE = "serve.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway, opened: what the daemon and the administrator's commands work with."""

    settings: Settings
    store: Store
    keyring: Keyring
    indexer: Indexer
    blobs: BlobFolder
    signer: Signer
    sequencer: Sequencer
    clock: Clock
    node: str

    @property
    def home(self) -> Home:
        """Where everything lies."""
        return self.settings.home

    def pipeline(self) -> Context:
        """The gateway as the pipeline sees it."""
        settings = self.settings
        return Context(
            store=self.store,
            keyring=self.keyring,
            indexer=self.indexer,
            blobs=self.blobs,
            clock=self.clock,
            partners=settings.partners,
            policies=settings.policies,
            served_by=settings.served_by,
            terms=settings.terms,
            limits=settings.limits,
            reference=settings.home.reference,
            pc4=pc4_gemeenten(),
            node=self.node,
        )

    def make_keys(self, *, origin: str = "schedule") -> list[str]:
        """Make the keys of the days and months to come; the ids of those that were missing."""
        return ensure_keys(
            self.store, self.keyring, self.clock.now(), self.settings.terms, node=self.node, origin=origin
        )

    def purge(
        self,
        *,
        origin: str = "schedule",
        actor: str = "gateway",
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> PurgeReport:
        """Let go of what is due, and sign the log that tells of it."""
        terms = self.settings.terms
        if dry_run:
            return would_go(self.store, self.keyring, local_day(self.clock.now()), terms)
        report = purge(
            self.store,
            self.keyring,
            self.blobs,
            self.clock,
            terms=terms,
            notary=self.notary(),
            node=self.node,
            actor=actor,
            origin=origin,
            progress=progress,
        )
        self.sign()
        return report

    def notary(self) -> Notary:
        """What certificates of destruction are made with."""
        settings = self.settings
        return Notary(
            signer=self.signer,
            sequencer=self.sequencer,
            log_dir=self.home.log,
            partners=settings.partners,
            served_by=settings.served_by,
            names=gemeente_names(),
            policy_versions={code: policy_hash(policy) for code, policy in settings.policies.items()},
            mandates=settings.mandates,
            post=partial(post, self.pipeline()),
        )

    def sign(self) -> None:
        """Number the new entries of the audit log, sign a checkpoint, and put it outside the data."""
        # one at a time, in whatever process: two sequencers would number the same entries
        with self.store.exclusive():
            seal_log(self.store, self.sequencer, self.signer, self.home.log, self.clock.now())

    def wake(self) -> None:
        """Tell a running daemon to look: its worker sees the file change."""
        (self.home.run / "wake").touch()

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()


def open_gateway(home: Path, clock: Clock | None = None) -> Gateway:
    """Open the gateway of a home folder.

    Raises:
        ConfigErrors: the configuration can't be used.
        KeyringError: the keys can't be used.
        StoreError: the database can't be used.
    """
    settings = load_settings(home)
    keyring = Keyring.open(settings.home.keys)
    signer = load_signing_key(settings.home.keys)
    return Gateway(
        settings=settings,
        store=Store(settings.home.db),
        keyring=keyring,
        indexer=Indexer(keyring),
        blobs=BlobFolder(settings.home.vault),
        signer=signer,
        sequencer=Sequencer(signer),
        clock=clock or SystemClock(),
        node=re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "node",
    )


class Daemon:
    """A running gateway: listener, worker, schedule and wake-up, started and stopped in order."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.worker = Worker(gateway.pipeline())
        self.schedule = Schedule(gateway.store, gateway.clock, self._jobs())
        self._observer: BaseObserver | None = None
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port that partners connect to."""
        if self._listener is None:
            raise RuntimeError("the daemon does not listen")
        return self._listener.port

    async def start(self, *, host: str, port: int) -> None:
        """Recover from whatever came before, then open the door.

        Raises:
            ConfigError: the port is taken.
        """
        await asyncio.to_thread(self._recover)
        await self.schedule.start()
        self.worker.start()
        # made here, not before: an observer holds one of the host's inotify instances from the start
        self._observer = Observer()
        self._observer.schedule(_Waker(self.worker), str(self.gateway.home.run))
        self._observer.start()
        try:
            self._listener = await listen(
                self._exchange(), host=host, port=port, host_keys=(self.gateway.home.host_key,)
            )
        except OSError as exc:
            await self.stop()
            raise ConfigError(
                f"can't listen on {host}:{port}: {exc.strerror or exc}; name another with --port, "
                "or 0 for a free one",
                file="config/gateway.toml",
                key="listen",
            ) from exc
        status = {
            "port": self.port,
            "pid": os.getpid(),
            "host_key": host_key_fingerprint(self.gateway.home.host_key),
        }
        place_file(self.gateway.home.status_file, (json.dumps(status) + "\n").encode(), mode=0o644)
        _log.info("gateway.ready", port=self.port, pid=os.getpid(), host_key=status["host_key"])

    async def stop(self) -> None:
        """Accept nobody, let what is under way end, and stop every part."""
        if self._listener is not None:
            await self._listener.close()
        await self.schedule.stop()
        if self._observer is not None:
            self._observer.stop()
            await asyncio.to_thread(self._observer.join)
        await asyncio.to_thread(self.worker.stop)
        await asyncio.to_thread(self.gateway.sign)
        self.gateway.home.status_file.unlink(missing_ok=True)
        _log.info("gateway.stopped")

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
            on_arrival=self.worker.wake,
            most_file_bytes=settings.limits.file_bytes,
            listed_for=settings.listed_for,
            staged_for=settings.staged_for,
            raw_days=settings.terms.raw_days,
            guard=settings.guard,
            shelves={
                "log": LogShelf(gateway.store, gateway.signer),
                "registers": RegisterShelf(
                    gateway.store, gateway.notary(), gateway.clock, settings.notice_days
                ),
                "verklaringen": CertificateShelf(gateway.store, gateway.signer),
            },
        )

    def _recover(self) -> None:
        """Before anyone comes in: keys for the days to come, nothing half received, no orphans."""
        gateway = self.gateway
        gateway.make_keys()
        abort_unfinished(self._exchange())
        with gateway.store.exclusive():
            with gateway.store.read() as conn:
                used = known_blobs.in_use(conn)
            gateway.blobs.sweep(used.__contains__, older_than=timedelta(0))
        gateway.sign()

    def _jobs(self) -> list[Job]:
        gateway = self.gateway
        return [
            Job(name="keys", line="15 0 * * *", run=gateway.make_keys),
            Job(name="purge", line=gateway.settings.purge_schedule, run=gateway.purge),
            Job(name="checkpoint", line="0 * * * *", run=gateway.sign),
            Job(name="staged", line="10 * * * *", run=lambda: abort_stale(self._exchange())),
        ]


class _Waker(FileSystemEventHandler):
    """Wakes the worker when a command touches the wake file."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Look, if it is the wake file."""
        if str(event.src_path).endswith("/wake"):
            self._worker.wake()


async def serve(
    gateway: Gateway,
    *,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, then drain; `on_ready` is called once partners can come in.

    Raises:
        ConfigError: another gateway runs on this home, or the port is taken.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    with _only_one(gateway.home):
        # left by a crash: who waits for this file waits for us
        gateway.home.status_file.unlink(missing_ok=True)
        daemon = Daemon(gateway)
        settings = gateway.settings
        await daemon.start(
            host=settings.host if host is None else host, port=settings.port if port is None else port
        )
        watchdog = asyncio.create_task(notify.stay_alive())
        notify.send(notify.READY)
        if on_ready is not None:
            on_ready()
        await stopping.wait()
        notify.send(notify.STOPPING)
        await daemon.stop()
        watchdog.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A daemon that is ready, as `data/run/gateway.json` tells it."""

    port: int
    pid: int
    host_key: str


def running(home: Home) -> Running | None:
    """The daemon that runs on a home and is ready; None when there is none, whatever a crash left."""
    try:
        status = Running(**json.loads(home.status_file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    # a pid may have been given to another process, a lock is not; looked at only beside the file, so that
    # nobody is in the way of a daemon that starts
    try:
        with (home.run / _LOCK_FILE).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return status
    except OSError:
        return None
    return None


@contextmanager
def _only_one(home: Home) -> Iterator[None]:
    """One daemon a home: a second would give the same number twice."""
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home.run / _LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigError(
                f"a gateway runs on {home.root.resolve()} already; see: gateway status"
            ) from exc
        yield
