"""A running daemon and its host keys: a strict OpenSSH client comes through a whole rotation."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
import structlog

from gateway.cli import main
from gateway.clock import SteppedClock, SystemClock
from gateway.daemon import Daemon
from gateway.domain.delivery import DeliveryState
from gateway.exchange import host_keys
from gateway.gateway import Gateway, open_gateway
from gateway.settings import Home
from gateway.store import status

sys.path.append(str(Path(__file__).parent))
from strict_client import known, sftp  # beside this file


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    """Run a command on a home with one creditor, whose key is `key`."""

    def run(*args: str | Path) -> None:
        monkeypatch.setattr(sys, "argv", ["gateway", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code

    key = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "key").write_bytes(key.export_private_key("openssh"))
    (tmp_path / "key").chmod(0o600)
    key.write_public_key(tmp_path / "key.pub")
    home = tmp_path / "home"
    run("init", home)
    monkeypatch.setenv("GATEWAY_HOME", str(home))
    run("partner", "add", "woonbron", "--role", "creditor", "--sector", "Huur", "--key", tmp_path / "key.pub")
    yield run
    structlog.reset_defaults()


async def test_a_strict_client_survives_a_rotation(gateway, tmp_path):
    """Before, during the announcement, after the turn, after the retirement: it gets in, and trusts what it should."""
    clock = SteppedClock(SystemClock().now())
    opened = open_gateway(tmp_path / "home", clock)
    home: Home = opened.home
    daemon = Daemon(opened)
    await daemon.start(host="127.0.0.1", port=0)
    try:
        (old,) = host_keys.calendar(home.keys)
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{daemon.port} {old.public_key}\n")
        assert "inbox" in await sftp(tmp_path, "woonbron", daemon.port)
        assert known(tmp_path) == {old.public_key}

        # the command wakes the daemon
        await asyncio.to_thread(gateway, "keys", "host", "rotate")
        new = host_keys.calendar(home.keys)[1]
        async with asyncio.timeout(20):
            while new.public_key not in known(tmp_path):
                assert "inbox" in await sftp(tmp_path, "woonbron", daemon.port)
        assert known(tmp_path) == {old.public_key, new.public_key}
        assert json.loads(home.status_file.read_text())["host_key"] == old.fingerprint

        assert new.active_from
        clock.set(new.active_from)
        await daemon.look_at_keys()
        assert json.loads(home.status_file.read_text())["host_key"] == new.fingerprint
        assert (
            await asyncssh.get_server_host_key("127.0.0.1", daemon.port)
        ).get_fingerprint() == new.fingerprint
        assert "inbox" in await sftp(tmp_path, "woonbron", daemon.port)
        assert known(tmp_path) == {old.public_key, new.public_key}
        # whoever was away all those weeks is stopped by its own program, until its owner reads the mail
        learned = (tmp_path / "known_hosts").read_text()
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{daemon.port} {old.public_key}\n")
        assert "Host key verification failed" in await sftp(tmp_path, "woonbron", daemon.port)
        (tmp_path / "known_hosts").write_text(learned)

        clock.step(timedelta(days=31))
        await daemon.look_at_keys()
        assert not (home.keys / "host_ed25519").exists()
        assert "inbox" in await sftp(tmp_path, "woonbron", daemon.port)
        assert known(tmp_path) == {new.public_key}
        with opened.store.read() as conn:
            actions = [json.loads(entry)["action"] for entry in status.last_entries(conn, 10_000)]
        assert [action for action in actions if action.startswith("host_key")] == [
            "host_key.rotated",
            "host_key.removed",
        ]
    finally:
        await daemon.stop()
        opened.close()


async def test_an_expired_key_ends_its_session_while_the_daemon_runs(gateway, tmp_path):
    """Nobody has to do anything: the look of every minute ends the session."""
    path = tmp_path / "home/config/partners/woonbron.toml"
    path.write_text(path.read_text().replace("# valid_until = 2027-12-31", "valid_until = 2099-12-31"))
    clock = SteppedClock(SystemClock().now())
    opened = open_gateway(tmp_path / "home", clock)
    daemon = Daemon(opened)
    await daemon.start(host="127.0.0.1", port=0)
    try:
        async with asyncssh.connect(
            "127.0.0.1", daemon.port, username="woonbron", client_keys=[str(tmp_path / "key")],
            known_hosts=None, agent_path=None, config=[],
        ) as connection, connection.start_sftp_client() as client:  # fmt: skip
            await daemon.look_at_keys()
            assert "inbox" in await client.listdir("/")
            end = opened.settings.partners["woonbron"].keys[0].valid_until
            assert end
            clock.set(end)
            await daemon.look_at_keys()
            await asyncio.wait_for(connection.wait_closed(), 20)
    finally:
        await daemon.stop()
        opened.close()


async def test_a_key_that_was_removed_ends_its_session_while_the_daemon_runs(gateway, tmp_path):
    """`gateway partner disable` beside a running daemon: the session ends, what it was sending is ABORTED."""
    opened = open_gateway(tmp_path / "home")
    daemon = Daemon(opened)
    await daemon.start(host="127.0.0.1", port=0)
    try:
        async with asyncssh.connect(
            "127.0.0.1", daemon.port, username="woonbron", client_keys=[str(tmp_path / "key")],
            known_hosts=None, agent_path=None, config=[],
        ) as connection, connection.start_sftp_client() as client:  # fmt: skip
            file = await client.open("inbox/a.csv", "wb")
            await file.write(b"signaal_id;postcode\n")
            await asyncio.to_thread(gateway, "partner", "disable", "woonbron")
            await asyncio.wait_for(connection.wait_closed(), 20)
        async with asyncio.timeout(20):
            while _states(opened) != {DeliveryState.ABORTED: 1}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await daemon.stop()
        opened.close()


def _states(opened: Gateway) -> dict[DeliveryState, int]:
    with opened.store.read() as conn:
        return status.count_by_state(conn)
