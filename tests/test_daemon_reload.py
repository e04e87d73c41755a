"""A running gateway takes up what changes under `config/`: as a whole, for everybody, or not at all (spec 1)."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import asyncssh
import pytest
import structlog

from gateway import logs
from gateway.daemon import Daemon
from gateway.gateway import Gateway, open_gateway
from gateway.running import Running
from gateway.settings import Home
from gateway.store import configuration
from gateway.store.status import last_entries


@dataclass
class House:
    """A daemon that runs, with one creditor."""

    home: Home
    gateway: Gateway
    daemon: Daemon
    log: io.StringIO

    def write(self, name: str, text: str) -> None:
        """A file of the configuration, as an editor writes it: aside, then renamed."""
        path = self.home.config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.swp")
        aside.write_text(text)
        aside.replace(path)

    def add_partner(self, partner_id: str, key: asyncssh.SSHKey, more: str = "") -> None:
        public = key.export_public_key("openssh").decode().strip()
        self.write(
            f"partners/{partner_id}.toml",
            f'role = "creditor"\nsectors = ["Huur"]\n{more}\n[[keys]]\npublic_key = "{public}"\n',
        )

    async def until(self, is_done: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(is_done):  # noqa: ASYNC110  # another thread and the disk decide
                await asyncio.sleep(0.01)

    def events(self, name: str) -> list[dict[str, object]]:
        return [
            event for event in map(json.loads, self.log.getvalue().splitlines()) if event["event"] == name
        ]

    def told(self) -> Running:
        return Running(**json.loads(self.home.status_file.read_bytes()))

    async def connect(self, user: str, key: asyncssh.SSHKey) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            "127.0.0.1", self.daemon.port, username=user, client_keys=[key], known_hosts=None, config=None
        )


@pytest.fixture
async def house(bare_home: Home) -> AsyncIterator[House]:
    """A daemon without partners."""
    log = io.StringIO()
    logs.set_up(json=True, stream=log)
    gateway = open_gateway(bare_home.root)
    daemon = Daemon(gateway)
    await daemon.start(host="127.0.0.1", port=0)
    yield House(bare_home, gateway, daemon, log)
    await daemon.stop()
    gateway.close()
    structlog.reset_defaults()


KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER = asyncssh.generate_private_key("ssh-ed25519")


async def test_a_new_partner_comes_in_without_a_restart(house):
    """Unknown before; a moment after its file is there it uploads. Number, log, audit log and status tell of it."""
    with pytest.raises(asyncssh.PermissionDenied):
        await house.connect("woonservice", KEY)
    assert house.told().generation == 1
    house.add_partner("woonservice", KEY)
    await house.until(lambda: house.daemon.generation == 2)
    async with await house.connect("woonservice", KEY) as conn, conn.start_sftp_client() as sftp:
        assert await sftp.listdir("inbox") == [".", ".."]
    told = house.told()
    assert (told.generation, told.config) == (2, house.daemon.gateway.settings.digest)
    assert [(event["generation"], event["count"]) for event in house.events("config.loaded")] == [
        (1, 0),
        (2, 1),
    ]
    with house.gateway.store.read() as conn:
        entries = map(json.loads, last_entries(conn, 5000))
        loaded = [entry for entry in entries if entry["action"] == "config.loaded"]
        in_force = configuration.in_force(conn)
    assert [entry["object"] for entry in loaded] == ["configuration-1", "configuration-2"]
    assert loaded[-1]["detail"]["sha256"] == in_force.digest == told.config


async def test_a_configuration_that_can_not_be_used_changes_nothing(house):
    """One bad file refuses the whole change, told once with file, key and reason; mended, all of it is taken up."""
    house.write("gateway.toml", "[boxes]\nlisted_for = 'a while'\n")
    house.add_partner("woonservice", KEY)
    await house.until(lambda: house.events("config.refused"))
    (refused,) = house.events("config.refused")
    assert (refused["file"], refused["key"]) == ("config/gateway.toml", "boxes.listed_for")
    assert refused["reason"]
    await house.daemon.reload()
    assert len(house.events("config.refused")) == 1
    assert (house.daemon.generation, house.told().generation) == (1, 1)
    with pytest.raises(asyncssh.PermissionDenied):
        await house.connect("woonservice", KEY)

    house.write("gateway.toml", "[boxes]\nlisted_for = '2 hours'\n")
    await house.until(lambda: house.daemon.generation == 2)
    async with await house.connect("woonservice", KEY):
        pass
    assert house.daemon._serving.listed_for.total_seconds() == 7200


async def test_a_session_goes_on_with_what_it_began_with(house):
    """A limit that is lowered holds for those who come after; an upload under way comes to its end."""
    house.add_partner("woonservice", KEY)
    await house.until(lambda: house.daemon.generation == 2)
    async with await house.connect("woonservice", KEY) as conn, conn.start_sftp_client() as sftp:
        async with sftp.open("inbox/a.csv", "wb") as file:
            await file.write(b"x" * 1000)
            house.write("gateway.toml", "[limits]\nfile = '2 KiB'\n")
            await house.until(lambda: house.daemon.generation == 3)
            await file.write(b"x" * 2000)
    async with await house.connect("woonservice", KEY) as conn, conn.start_sftp_client() as sftp:
        with pytest.raises(asyncssh.SFTPFailure, match="at most 2048 bytes"):
            await sftp.put(house.home.db, "inbox/b.csv")


async def test_schedule_and_policies_change_too(house):
    """The purge's time, and what the worker publishes by."""
    house.write("gateway.toml", '[retention]\nschedule = "15 4 * * *"\n')
    house.write("municipalities/GM1731.toml", '[publish]\nwhen = "0 7 1 1 *"\n')
    await house.until(lambda: house.daemon.generation >= 2 and house.daemon._context.policies)
    assert next(job.line for job in house.daemon.schedule.jobs if job.name == "purge") == "15 4 * * *"
    assert house.daemon._context.policy("GM1731").publish.when == "0 7 1 1 *"


async def test_what_waits_for_a_start_is_told(house):
    """The port stays as it is; the log says that it waits."""
    port = house.daemon.port
    house.write("gateway.toml", "[listen]\nport = 2022\n")
    await house.until(lambda: house.events("config.deferred"))
    assert house.told().port == port


async def test_processes_that_read_the_same_agree(house):
    """Who comes second finds the generation that the first made; a new file makes a new one for both."""
    beside = Daemon(open_gateway(house.home.root))
    beside._take_up()
    assert beside.generation == house.daemon.generation == 1
    house.add_partner("woonservice", KEY)
    await house.until(lambda: house.daemon.generation == 2)
    settings = beside._changed_settings()
    assert settings is not None
    beside.gateway = replace(beside.gateway, settings=settings)
    beside._take_up()
    assert beside.generation == 2
    beside.gateway.close()


def test_the_command_says_that_it_is_in_force(bare_home: Home, tmp_path: Path):
    """Who adds a partner beside a daemon is told that it goes on with it."""
    (tmp_path / "k.pub").write_bytes(OTHER.export_public_key("openssh"))
    command = [sys.executable, "-m", "gateway", "--home", str(bare_home.root)]
    with subprocess.Popen([*command, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True) as serving:
        assert any('"gateway.ready"' in line for line in serving.stderr)
        added = subprocess.run(
            [
                *command,
                "partner",
                "add",
                "aaa",
                "--role",
                "creditor",
                "--sector",
                "Huur",
                "--key",
                tmp_path / "k.pub",
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert "The running gateway goes on with it (configuration 2)" in added.stdout
        serving.terminate()
