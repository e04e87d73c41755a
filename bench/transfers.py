"""Figures of the SFTP side: bytes, small files, sessions and logins, beside servers that do the same."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncssh

from bench import servers
from bench.clients import finish, sftp
from bench.logins import log_in
from bench.measure import Failed, Row, Tell, Used, alternate, in_turn, row, timed, tree_cpu_s, tree_pss_bytes
from bench.servers import Missing, Server
from gateway.clock import local_day
from gateway.domain.dispatch import DispatchKind, Letter
from gateway.domain.partner import Box
from gateway.gateway import open_gateway
from gateway.pipeline.outgoing import post

GCM, CHACHA = "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"
MIB = 1 << 20
#: Goals of spec 5: figure -> peer -> ratio.
_LARGE = {
    "upload-aes-gcm": {"sshd": 2.2, "rclone-crypt": 4.4},
    "upload-chacha20": {"sshd": 1.2, "rclone-crypt": 2.2},
    "download-aes-gcm": {"sshd": 1.4, "rclone-crypt": 2.3},
}
#: A peer for which the spec sets no goal.
NO_WORSE = 1.0
#: How long clients may need until they are ready, in seconds.
_PATIENCE_S = 600
_NUMBERS = count()
_SERVERS = (servers.gateway, servers.sshd, servers.rclone_crypt, servers.sftpgo_cryptfs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done: in full, or quickly."""

    rounds: int
    large_mib: int
    small_files: int
    sessions: int
    logins: int
    idle: int


FIGURES = (
    *("upload-aes-gcm", "upload-chacha20", "download-aes-gcm", "small-files", "small-files-32-sessions"),
    *("sessions-at-once", "logins", "idle-memory"),
)
FULL = Scale(rounds=5, large_mib=512, small_files=1_000, sessions=64, logins=160, idle=1_000)
QUICK = Scale(rounds=1, large_mib=128, small_files=160, sessions=32, logins=32, idle=100)


def measure(folder: Path, scale: Scale, tell: Tell, only: Sequence[str]) -> Iterator[Row | Failed]:
    """Every figure of this module, or those named in `only`."""
    folder.mkdir()
    key = servers.key_pair(folder)
    large = folder / "large.pdf"
    _fill(large, scale.large_mib)
    small = folder / "small"
    small.mkdir()
    for number in range(scale.small_files):
        (small / f"{number:04}.pdf").write_bytes(b"%PDF" + os.urandom(20 * 1024 - 4))
    with ExitStack() as running:
        peers: dict[str, Server] = {}
        starts: list[Callable[[Path], Server]] = []
        for start in _SERVERS:
            try:
                server = start(folder)
            except Missing as exc:
                yield Failed(figure=exc.peer, reason=str(exc), is_left_out=True)
                continue
            running.callback(server.stop)
            peers[server.name] = server
            starts.append(start)
        bench = _Bench(
            key=key, servers=peers, starts=starts, scale=scale, tell=tell, large=large, small=small
        )
        figures: Mapping[str, Callable[[], Iterator[Row]]] = {
            "upload-aes-gcm": partial(bench.upload, "upload-aes-gcm", GCM),
            "upload-chacha20": partial(bench.upload, "upload-chacha20", CHACHA),
            "download-aes-gcm": partial(bench.download, folder),
            "small-files": bench.small_files,
            "small-files-32-sessions": bench.small_files_at_once,
            "sessions-at-once": bench.sessions_at_once,
            "logins": bench.logins,
            "idle-memory": partial(bench.idle_memory, folder / "idle"),
        }
        # once for all figures: nobody's first file is measured
        for server in peers.values():
            finish(sftp(server, key, [f"put {large} {server.folder}/{_name()}"]))
            server.settle()
        yield from in_turn(figures, only, tell)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """The servers that run, and what is sent to them."""

    key: Path
    servers: Mapping[str, Server]
    #: how each of them is started elsewhere
    starts: Sequence[Callable[[Path], Server]]
    scale: Scale
    tell: Tell
    large: Path
    small: Path

    def upload(self, figure: str, cipher: str) -> Iterator[Row]:
        """One large file, and the processor time that the server takes for it.

        What the pipeline does with it afterwards is apart: peers do nothing with a file.
        """
        afterwards: list[float] = []

        def put(server: Server) -> Used:
            pipeline = server.afterwards()
            before = sum(map(tree_cpu_s, pipeline))
            used = self._put(server, cipher)
            during = sum(map(tree_cpu_s, pipeline)) - before
            server.settle()
            if pipeline:
                afterwards.append(sum(map(tree_cpu_s, pipeline)) - before)
            return replace(used, cpu_s=used.cpu_s - during)

        found = self._alternate(figure, put)
        gib = self.scale.large_mib / 1024
        yield from self._speeds(figure, found, self.scale.large_mib, "MiB/s", _LARGE[figure])
        if cipher != GCM:
            return
        goals = {"sshd": 0.40, "rclone-crypt": 0.12}
        ours = [used.cpu_s / gib for used in found["gateway"]]
        all_of_it = [mine + later / gib for mine, later in zip(ours, afterwards[-len(ours) :], strict=False)]
        if not all_of_it:  # no process of its own
            all_of_it = ours
        theirs = {peer: [used.cpu_s / gib for used in found[peer]] for peer in found}
        for name, mine in {
            "cpu-per-gib-uploaded": ours,
            "cpu-per-gib-uploaded-and-looked-at": all_of_it,
        }.items():
            yield from _beside(name, {**theirs, "gateway": mine}, "s/GiB", goals, at_least=False)

    def download(self, folder: Path) -> Iterator[Row]:
        """One large file that the server holds."""
        names = {}
        for server in self.servers.values():
            if server.name == "gateway":
                names[server.name] = _post_large(folder / "gateway", self.large)
            else:
                server.clear()
                finish(sftp(server, self.key, [f"put {self.large} {server.folder}/large.pdf"]))
                names[server.name] = f"{server.outgoing}/large.pdf"
        into = folder / "got"
        found = self._alternate(
            "download-aes-gcm",
            lambda server: timed(
                server.pid,
                lambda: finish(sftp(server, self.key, [f"get {names[server.name]} {into}"], cipher=GCM)),
            ),
        )
        figure = "download-aes-gcm"
        yield from self._speeds(figure, found, self.scale.large_mib, "MiB/s", _LARGE[figure])

    def small_files(self) -> Iterator[Row]:
        """Many small files in one session, each durable at its OK with us."""
        found = self._alternate("small-files", lambda server: self._put_small(server, 1))
        yield from self._speeds(
            "small-files", found, self.scale.small_files, "files/s", {"sshd": 0.65, "rclone-crypt": 1.2}
        )

    def small_files_at_once(self) -> Iterator[Row]:
        """The same from 32 sessions: their syncs and commits are shared."""
        found = self._alternate("small-files-32-sessions", lambda server: self._put_small(server, 32))
        yield from self._speeds(
            "small-files-32-sessions", found, self.scale.small_files, "files/s", {"sshd": 1.5}
        )

    def sessions_at_once(self) -> Iterator[Row]:
        """Fresh sessions, each with a file of 1 MiB."""
        one = self.large.with_name("one.pdf")
        _fill(one, 1)
        found = self._alternate(
            "sessions-at-once",
            lambda server: self._at_once(
                server, [[f"put {one} {server.folder}/{_name()}"] for _ in range(self.scale.sessions)]
            ),
        )
        yield from self._speeds(
            "sessions-at-once", found, self.scale.sessions, "sessions/s", {"sshd": 5.0, "rclone-crypt": 1.3}
        )

    def logins(self) -> Iterator[Row]:
        """Connections that log in and leave, 32 at a time."""
        found = self._alternate("logins", lambda server: _timed_logins(server, self.key, self.scale.logins))
        yield from self._speeds(
            "logins", found, self.scale.logins, "logins/s", {"sshd": 6.0, "rclone-crypt": 1.0}
        )

    def idle_memory(self, folder: Path) -> Iterator[Row]:
        """What a session that does nothing takes: of servers that did nothing before, and the first tenth apart.

        Once: nothing of it depends on how busy the machine is.
        """
        folder.mkdir()
        found: dict[str, list[float]] = {}
        for start in self.starts:
            with ExitStack() as running:
                server = start(folder)
                running.callback(server.stop)
                self.tell(f"idle-memory: {server.name}")
                key, first = servers.key_pair(folder), self.scale.idle // 10
                with _Idle(server, key, first):
                    before = tree_pss_bytes(server.pid)
                    with _Idle(server, key, self.scale.idle - first):
                        after = tree_pss_bytes(server.pid)
                found[server.name] = [(after - before) / (self.scale.idle - first) / 1024]
        goals = {"sshd": 0.02, "rclone-crypt": 0.45}
        yield from _beside("idle-memory", found, "KiB", goals, at_least=False)

    def _alternate(self, figure: str, run: Callable[[Server], Used]) -> dict[str, list[Used]]:
        def then_settled(server: Server) -> Used:
            used = run(server)
            server.settle()
            return used

        return alternate(
            {name: partial(then_settled, server) for name, server in self.servers.items()},
            self.scale.rounds,
            lambda text: self.tell(f"{figure}: {text}"),
            warm=False,
        )

    def _speeds(
        self,
        figure: str,
        found: Mapping[str, Sequence[Used]],
        amount: float,
        unit: str,
        goals: Mapping[str, float],
    ) -> Iterator[Row]:
        speeds = {name: [amount / used.wall_s for used in each] for name, each in found.items()}
        yield from _beside(figure, speeds, unit, goals, at_least=True)

    def _put(self, server: Server, cipher: str) -> Used:
        server.clear()
        line = f"put {self.large} {server.folder}/{_name()}"
        return timed(server.pid, lambda: finish(sftp(server, self.key, [line], cipher=cipher)))

    def _put_small(self, server: Server, sessions: int) -> Used:
        server.clear()
        files = sorted(self.small.iterdir())
        return self._at_once(
            server,
            [
                [f"put {file} {server.folder}/{_name()}" for file in files[first::sessions]]
                for first in range(sessions)
            ],
        )

    def _at_once(self, server: Server, scripts: Sequence[Sequence[str]]) -> Used:
        server.clear()
        return timed(
            server.pid, lambda: finish(*[sftp(server, self.key, script, cipher=GCM) for script in scripts])
        )


def _beside(
    figure: str,
    found: Mapping[str, Sequence[float]],
    unit: str,
    goals: Mapping[str, float],
    *,
    at_least: bool,
) -> Iterator[Row]:
    """A row for each peer."""
    for peer, theirs in found.items():
        if peer != "gateway":
            goal = goals.get(peer, NO_WORSE)
            yield row(figure, peer, found["gateway"], theirs, goal=goal, unit=unit, at_least=at_least)


def _name() -> str:
    """A name that was not used before."""
    return f"{next(_NUMBERS)}.pdf"


def _fill(path: Path, mib: int) -> None:
    """A file that is refused by its first bytes: what is measured is the transfer."""
    with path.open("wb") as file:
        file.write(b"%PDF" + os.urandom(MIB - 4))
        for _ in range(mib - 1):
            file.write(os.urandom(MIB))


def _post_large(home: Path, content: Path) -> str:
    """Put a file into the partner's returns, as the pipeline does; where it is."""
    house = open_gateway(home)
    try:
        now = house.clock.now()
        letter = Letter(
            partner_id=servers.USER,
            box=Box.RETURNS,
            name="large.csv",
            kind=DispatchKind.SIGNAL_STATUS,
            content=content.read_bytes(),
            due_on=local_day(now) + timedelta(days=30),
        )
        store_letters = post(house.pipeline(), [letter])
        with house.store.write() as conn:
            store_letters(conn, now)
    finally:
        house.close()
    return "returns/large.csv"


# -- sessions by the thousand ---------------------------------------------------------------------------


def _connect(server: Server, key: Path) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    return asyncssh.connect(
        "127.0.0.1",
        server.port,
        username=server.user,
        client_keys=[str(key)],
        known_hosts=None,
        agent_path=None,
        config=[],
    )


def _timed_logins(server: Server, key: Path, number: int) -> Used:
    """Half of the logins in each of two processes, which are ready before the time runs."""
    context = multiprocessing.get_context("fork")
    ready, begin = context.Semaphore(0), context.Event()
    args = (_address(server), key, number // 2, ready, begin)
    workers = [context.Process(target=_log_in, args=args) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in workers:
        if not ready.acquire(timeout=_PATIENCE_S):
            raise RuntimeError("a client did not start")

    def run() -> None:
        begin.set()
        for _ in workers:
            if not ready.acquire(timeout=120):
                raise RuntimeError("a client did not come to its end")

    used = timed(server.pid, run)
    # what an interpreter needs to end is no login
    for worker in workers:
        worker.join()
    return used


def _address(server: Server) -> Server:
    """The same, for another process."""
    return Server(
        name=server.name,
        port=server.port,
        user=server.user,
        pid=server.pid,
        folder=server.folder,
        outgoing=server.outgoing,
        stop=_nothing,
        clear=_nothing,
    )


def _nothing() -> None:
    """What another process must not do."""


def _log_in(server: Server, key: Path, number: int, ready: Any, begin: Any) -> None:
    ready.release()
    begin.wait()
    log_in(server, key, number, at_once=16)
    ready.release()


class _Idle:
    """Sessions that are open and do nothing, in two processes."""

    def __init__(self, server: Server, key: Path, number: int) -> None:
        context = multiprocessing.get_context("fork")
        self._ready, self._end = context.Semaphore(0), context.Event()
        args = (_address(server), key, number // 2, self._ready, self._end)
        self._workers = [context.Process(target=_stay, args=args) for _ in range(2)]

    def __enter__(self) -> None:
        for worker in self._workers:
            worker.start()
        for _ in self._workers:
            if not self._ready.acquire(timeout=_PATIENCE_S):
                raise RuntimeError("the idle sessions did not come to be")
        time.sleep(1)  # what the last logins needed is given back

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for worker in self._workers:
            worker.join()


def _stay(server: Server, key: Path, number: int, ready: Any, end: Any) -> None:
    async def stay() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(number):
                connection = await stack.enter_async_context(_connect(server, key))
                await stack.enter_async_context(connection.start_sftp_client())
            ready.release()
            await asyncio.to_thread(end.wait)

    asyncio.run(stay())
