"""A gateway of two exchange processes as it is served, seen from outside."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gateway.gateway import Gateway, open_gateway
from gateway.running import running
from gateway.settings import Home
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

    async def connect(
        self, user: str = "woonservice", key: asyncssh.SSHKey = KEY, *, port: int = 0, **options: Any
    ) -> asyncssh.SFTPClient:
        told = running(self.home)
        assert told
        connection = await asyncssh.connect(
            "127.0.0.1", port or told.port, username=user, client_keys=[key], known_hosts=None, config=None,
            agent_path=None, **options,
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
