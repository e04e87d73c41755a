"""`gateway serve` as processes: each may be killed, all agree, and they end with the one that started them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gateway.domain.delivery import DeliveryState
from gateway.gateway import Gateway, open_gateway
from gateway.running import running
from gateway.settings import Home
from gateway.store import guard
from gateway.store.tables import Delivery

KEY, OTHER = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
CSV = (
    b"signaal_id;sector;klantnummer;achternaam;postcode;huisnummer;bedrag;dagen_achterstand;sociaal_incasso\n"
    b"s1;Huur;k1;Bakker;7938PL;18;600;60;J\n"
)
#: `gateway`, for whom waiting is shorter; the modules that take these up are imported after it.
IMPATIENT = """
from gateway import link
link.ALIVE_EVERY_S = 1.0
from gateway import supervisor
supervisor._FIRST_PAUSE_S, supervisor._LONGEST_PAUSE_S = 0.1, 0.4
from gateway.cli import main
main()
"""
#: So many connections come to one of two processes alone once in 32,768 runs.
MANY = 16


@dataclass
class Served:
    """A gateway of two exchange processes, seen from outside."""

    home: Home
    #: the same home, opened here
    opened: Gateway
    logs: list[Path] = field(default_factory=list)
    daemon: subprocess.Popen[bytes] | None = None
    connections: list[asyncssh.SSHClientConnection] = field(default_factory=list)
    #: how the interpreter begins
    program: tuple[str, ...] = ("-m", "gateway")

    async def start(self) -> None:
        log = self.home.root / f"serve-{len(self.logs)}.log"
        self.logs.append(log)
        command = [sys.executable, *self.program, "--home", str(self.home.root), "serve"]
        with log.open("wb") as out:
            self.daemon = subprocess.Popen(command, stderr=out)  # noqa: ASYNC220  # it is not waited for
        await self.until(lambda: self.events("gateway.ready") or self.daemon.poll() is not None)
        assert self.daemon.poll() is None, log.read_text()

    def events(self, name: str, **values: object) -> list[dict[str, Any]]:
        """What the last one logged."""
        found = [json.loads(line) for line in self.logs[-1].read_text().splitlines() if line.endswith("}")]
        return [each for each in found if each["event"] == name and values.items() <= each.items()]

    async def until(self, is_done: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(60):
                while not await asyncio.to_thread(is_done):  # noqa: ASYNC110  # other processes decide
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"it never came; the log:\n{self.logs[-1].read_text()}")

    def pids(self, part: str) -> list[int]:
        """The processes of that part that live."""
        started = [each["pid"] for each in self.events("process.started", kind=part)]
        return [pid for pid in started if is_there(pid)]

    def rows(self) -> dict[str, tuple[str, str]]:
        """Delivery -> its state and the process that received it."""
        table = Delivery.__table__
        with self.opened.store.read() as conn:
            found = conn.execute(table.select()).mappings()
            return {row["id"]: (row["state"], row["process"]) for row in found}

    def processes(self, state: str) -> set[str]:
        """The processes that have deliveries in a state."""
        return {process for found, process in self.rows().values() if found == state}

    async def connect(self, user: str = "woonservice", key: asyncssh.SSHKey = KEY) -> asyncssh.SFTPClient:
        told = running(self.home)
        assert told
        connection = await asyncssh.connect(
            "127.0.0.1", told.port, username=user, client_keys=[key], known_hosts=None, config=None,
            agent_path=None,
        )  # fmt: skip
        self.connections.append(connection)
        try:
            return await connection.start_sftp_client()
        except asyncssh.Error:
            await self.hang_up()
            raise

    async def hang_up(self) -> None:
        """End the newest connection."""
        connection = self.connections.pop()
        connection.close()
        await connection.wait_closed()

    def add_partner(self, partner_id: str, key: asyncssh.SSHKey) -> None:
        public = key.export_public_key("openssh").decode().strip()
        path = self.home.config / f"partners/{partner_id}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'role = "creditor"\nsectors = ["Huur"]\n[limits]\nsessions = {MANY + 1}\n'
            f'[[keys]]\npublic_key = "{public}"\n'
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.daemon
        self.daemon.send_signal(number)
        return self.daemon.wait(60)


def is_there(pid: int) -> bool:
    """Whether a process runs: one that has ended and that nobody has buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@asynccontextmanager
async def serving(home: Home, more: str = "", *, is_impatient: bool = False) -> AsyncIterator[Served]:
    """Two exchange processes, one creditor, and what else stands in the configuration."""
    home.gateway_file.write_text(f'[listen]\nhost = "127.0.0.1"\nport = 0\nprocesses = 2\n{more}')
    found = Served(home, open_gateway(home.root))
    if is_impatient:
        found.program = ("-c", IMPATIENT)
    found.add_partner("woonservice", KEY)
    await found.start()
    try:
        yield found
    finally:
        assert found.daemon
        found.daemon.kill()
        found.daemon.wait()
        await found.until(lambda: not any(map(found.pids, ("exchange", "pipeline", "scheduler"))))
        found.opened.close()


@pytest.fixture
async def served(bare_home: Home) -> AsyncIterator[Served]:
    """Two exchange processes, one creditor."""
    async with serving(bare_home) as found:
        yield found


async def open_files(served: Served) -> list[tuple[asyncssh.SFTPClient, asyncssh.SFTPClientFile]]:
    """A file under way on each of many connections, some of them to each process."""
    clients = [await served.connect() for _ in range(MANY)]
    files = [await client.open(f"inbox/{number}.csv", "wb") for number, client in enumerate(clients)]
    for file in files:
        await file.write(CSV)
    assert len(served.processes("receiving")) == 2
    return list(zip(clients, files, strict=True))


async def test_all_processes_agree(served):
    """Connections come to both; a partner's sessions are counted in both; a change of the configuration holds in both."""
    open_now = [client for client, _ in await open_files(served)]

    async def is_refused() -> bool:
        try:
            await served.connect()
        except asyncssh.Error:
            return True
        await served.hang_up()
        return False

    # one more is within the limit: with it the partner has all of its sessions, whichever process has them
    open_now.append(await served.connect())
    async with asyncio.timeout(60):
        while not await is_refused():
            pass
    assert served.events("session.refused")

    # another partner is let in by both
    served.add_partner("dezorgkas", OTHER)
    await served.until(lambda: (told := running(served.home)) is not None and told.generation == 2)
    others = [await served.connect("dezorgkas", OTHER) for _ in range(MANY)]
    assert await others[0].listdir("inbox") == [".", ".."]

    # a key that is gone ends its sessions in both, and what they were sending
    (served.home.config / "partners/woonservice.toml").unlink()
    await served.until(lambda: served.processes("aborted") and not served.processes("receiving"))
    assert len(served.processes("aborted")) == 2
    assert len(served.events("session.revoked")) == len(open_now)
    assert len(served.events("config.loaded")) == 3, "told once, not by each process"
    while served.connections:
        await served.hang_up()
    assert served.stop() == 0


async def test_an_exchange_process_is_killed(served):
    """What it was receiving is given up at once, what the other one is receiving goes on; another takes its place."""
    files = await open_files(served)
    victim = served.pids("exchange")[0]
    os.kill(victim, signal.SIGKILL)
    await served.until(lambda: len(served.processes("receiving")) == 1)
    (ended,) = served.events("process.ended")
    assert (ended["kind"], ended["pid"], ended["reason"]) == ("exchange", victim, "SIGKILL")
    whole = 0
    for _, file in files:
        # asyncssh says nothing of a CLOSE on a lost connection
        with suppress(asyncssh.Error, OSError):
            await file.stat()
            await file.close()
            whole += 1
    states = [state for state, _ in served.rows().values()]
    assert 0 < whole < MANY
    assert states.count("aborted") == MANY - whole
    await served.until(lambda: sum(state == "processed" for state, _ in served.rows().values()) >= 1)
    assert not served.processes("receiving")
    with served.opened.store.read() as conn:
        now = served.opened.clock.now()
        assert guard.sessions(conn, now).get("woonservice", 0) <= MANY, "those of the dead count no more"
    # its place is taken, and connections that come to it are served
    await served.until(lambda: len(served.pids("exchange")) == 2)
    while served.connections:
        await served.hang_up()
    for _ in range(MANY):
        await served.connect()
        await served.hang_up()
    assert served.stop() == 0


async def test_pipeline_and_scheduler_are_killed(served):
    """Others take their places: what was being processed is processed, and times and changes are minded again."""
    with served.opened.store.exclusive():
        # the pipeline waits for this lock, so that it is killed before it has done anything
        client = await served.connect()
        async with client.open("inbox/a.csv", "wb") as file:
            await file.write(CSV)
        for part in ("pipeline", "scheduler"):
            (victim,) = served.pids(part)
            os.kill(victim, signal.SIGKILL)
            await served.until(lambda part=part: served.events("process.ended", kind=part))
    await served.until(lambda: served.processes("processed"))
    await served.until(lambda: len(served.events("process.started", kind="scheduler")) == 2)
    served.add_partner("dezorgkas", OTHER)
    await served.until(lambda: (told := running(served.home)) is not None and told.generation == 2)
    await served.connect("dezorgkas", OTHER)
    while served.connections:
        await served.hang_up()
    assert served.stop() == 0


async def test_the_supervisor_is_killed(served):
    """No process outlives it; a new gateway starts at once, and gives up what the old ones were receiving."""
    await open_files(served)
    pids = [pid for part in ("exchange", "pipeline", "scheduler") for pid in served.pids(part)]
    assert len(pids) == 4
    served.stop(signal.SIGKILL)
    await served.start()
    assert not any(map(is_there, pids))
    assert [state for state, _ in served.rows().values()] == [DeliveryState.ABORTED] * MANY
    assert served.stop() == 0


async def test_sigterm_lets_both_end(served):
    """Nobody comes in any more; each file that is open comes to its CLOSE, in both processes."""
    files = await open_files(served)
    told = running(served.home)
    assert told
    served.daemon.terminate()

    async def is_closed() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", told.port)
        except ConnectionError:
            return True
        writer.close()
        return False

    async with asyncio.timeout(60):
        while not await is_closed():
            pass
    for _, file in files:
        await file.close()
    assert await asyncio.to_thread(served.daemon.wait, 60) == 0
    states = {state for state, _ in served.rows().values()}
    assert states <= {"arrived", "processed", "processing"}
    assert len(served.rows()) == MANY
    assert served.events("gateway.stopped")
    assert not served.events("process.ended")


def pauses_s(served: Served, part: str) -> list[float]:
    """How long nobody was in a part's place each time, in seconds."""
    ended = [datetime.fromisoformat(each["timestamp"]) for each in served.events("process.ended", kind=part)]
    started = [
        datetime.fromisoformat(each["timestamp"]) for each in served.events("process.started", kind=part)
    ]
    # the newest starts, one behind each end
    return [(at - before).total_seconds() for before, at in zip(ended, started[-len(ended) :], strict=True)]


async def test_a_process_that_stands_still_is_replaced(bare_home):
    """It is told of, killed, and another takes its place; the others go on meanwhile."""
    async with serving(bare_home, is_impatient=True) as served:
        still = {part: served.pids(part)[0] for part in ("exchange", "pipeline", "scheduler")}
        for pid in still.values():
            os.kill(pid, signal.SIGSTOP)
        for part, pid in still.items():
            await served.until(
                lambda part=part, pid=pid: served.events(
                    "process.ended", kind=part, pid=pid, reason="SIGKILL"
                )
            )
            assert served.events("process.stalled", kind=part, pid=pid)
        # all of them do what they are there for
        await served.until(lambda: len(served.pids("exchange")) == 2)
        for number in range(MANY):
            client = await served.connect()
            async with client.open(f"inbox/{number}.csv", "wb") as file:
                await file.write(CSV)
            await served.hang_up()
        assert len({process for _, process in served.rows().values()}) == 2
        await served.until(lambda: served.processes("processed"))
        served.add_partner("dezorgkas", OTHER)
        await served.until(lambda: (told := running(served.home)) is not None and told.generation == 2)
        assert served.stop() == 0


async def test_a_process_that_ends_again_and_again_is_started_ever_later(bare_home):
    """The pauses grow up to the longest, and as long as it gets as far as being ready it is never given up."""
    async with serving(bare_home, is_impatient=True) as served:
        for number in range(6):
            client = await served.connect()
            async with client.open(f"inbox/{number}.csv", "wb") as file:
                await file.write(CSV)
            await served.hang_up()
            # it was ready: it has done something
            await served.until(
                lambda number=number: (
                    len(served.rows()) == number + 1
                    and {state for state, _ in served.rows().values()} == {"processed"}
                )
            )
            (victim,) = served.pids("pipeline")
            os.kill(victim, signal.SIGKILL)
            await served.until(
                lambda number=number: len(served.events("process.started", kind="pipeline")) == number + 2
            )
        assert len(pauses_s(served, "pipeline")) == 6
        for pause, least in zip(pauses_s(served, "pipeline"), (0.1, 0.2, 0.4, 0.4, 0.4, 0.4), strict=True):
            assert pause >= least - 0.02
        assert served.stop() == 0


async def test_a_process_that_can_t_be_started_ends_all(bare_home):
    """Five times in a row, ever later; then the others end in order, and the exit says that something is wrong."""
    async with serving(bare_home, is_impatient=True) as served:
        served.home.host_key.rename(served.home.host_key.with_name("elsewhere"))
        os.kill(served.pids("exchange")[0], signal.SIGKILL)
        assert await asyncio.to_thread(served.daemon.wait, 60) == 1
        failed = served.events("process.failed", kind="exchange")
        assert len(failed) == 5
        assert all("host_ed25519" in each["error"] for each in failed)
        assert len(served.events("process.ended", kind="exchange")) == 6, "the one that was killed, and five"
        assert not served.events("process.ended", kind="pipeline")
        assert served.events("gateway.stopped")
        assert "the exchange process can't be started: the log says why" in served.logs[-1].read_text()
        # and when it is mended
        served.home.host_key.with_name("elsewhere").rename(served.home.host_key)
        await served.start()
        await served.connect()
        assert served.stop() == 0


async def test_all_processes_count_who_has_not_logged_in(bare_home):
    """The cap of an address holds over both, and those of a process that is killed are counted no more."""
    guard_terms = f"[guard]\nconnections_per_address = {MANY}\nsafe_networks = []\n"
    async with serving(bare_home, guard_terms) as served:
        told = running(served.home)
        assert told

        opened: list[asyncio.StreamWriter] = []

        async def is_let_in() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", told.port)
            opened.append(writer)
            with suppress(ConnectionError):
                return await reader.read(4) == b"SSH-"
            return False

        assert all([await is_let_in() for _ in range(MANY)])
        # whichever process they come to
        assert not any([await is_let_in() for _ in range(MANY)])

        os.kill(served.pids("exchange")[0], signal.SIGKILL)
        await served.until(lambda: len(served.events("process.started", kind="exchange")) == 3)
        again = [await is_let_in() for _ in range(MANY)]
        assert 0 < again.count(True) < MANY, "as many as were at the process that is gone"
        for writer in opened:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        assert served.stop() == 0
