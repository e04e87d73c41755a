"""The door of a gateway of several processes: host keys, the legacy listener and the caps before login are one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest

from gateway.exchange import host_keys
from gateway.running import running

sys.path.append(str(Path(__file__).parent))
from served import CSV, KEY, MANY, serving  # beside this file
from strict_client import known, sftp


async def shown(port: int) -> set[str]:
    """The fingerprints of the host keys that many connections are shown."""
    found = [await asyncssh.get_server_host_key("127.0.0.1", port, config=[]) for _ in range(MANY)]
    return {key.get_fingerprint() for key in found if key}


async def test_a_strict_client_survives_a_rotation_of_both(bare_home):
    """Announced, in use, the old one retired: each time by both processes, and the client gets in at either."""
    async with serving(bare_home) as served:
        home, opened = served.home, served.opened
        told = running(home)
        assert told
        key = home.root / "key"
        key.write_bytes(KEY.export_private_key("openssh"))
        key.chmod(0o600)
        (old,) = host_keys.calendar(home.keys)
        (home.root / "known_hosts").write_text(f"[127.0.0.1]:{told.port} {old.public_key}\n")

        async def changed(times: int) -> None:
            """Both have taken up a change of the calendar, so many times by now."""
            opened.wake()
            await served.until(lambda: len(served.events("hostkey.changed")) == 2 * times)

        now = opened.clock.now()
        (new,) = host_keys.rotate(home.keys, now, now + timedelta(days=30), told=lambda _: None)
        await changed(1)
        assert await shown(told.port) == {old.fingerprint}
        assert "inbox" in await sftp(served.home.root, "woonservice", told.port)
        assert known(served.home.root) == {old.public_key, new.public_key}

        # the thirty days pass
        calendar = home.keys / host_keys.CALENDAR
        told_of = json.loads(calendar.read_text())
        told_of["keys"][1]["active_from"] = now.isoformat(timespec="seconds")
        calendar.write_text(json.dumps(told_of))
        await changed(2)
        assert await shown(told.port) == {new.fingerprint}
        await served.until(
            lambda: (is_now := running(home)) is not None and is_now.host_key == new.fingerprint
        )
        for _ in range(4):
            assert "inbox" in await sftp(served.home.root, "woonservice", told.port)

        host_keys.retire(home.keys, old.fingerprint, opened.clock.now(), told=lambda _: None)
        await changed(3)
        assert "inbox" in await sftp(served.home.root, "woonservice", told.port)
        assert known(served.home.root) == {new.public_key}
        await served.until(lambda: not home.host_key.exists())
        # one that is started now knows of it too
        os.kill(served.pids("exchange")[0], signal.SIGKILL)
        await served.until(lambda: len(served.events("process.started", kind="exchange")) == 3)
        assert await shown(told.port) == {new.fingerprint}
        assert served.stop() == 0


# cryptography announces the end of finite-field Diffie-Hellman
@pytest.mark.filterwarnings("ignore:.*Diffie-Hellman.*")
async def test_products_of_yesterday_come_to_both(bare_home):
    """The legacy listener has a port of its own, at each process; both show it the same key."""
    async with serving(bare_home, '[legacy]\nhost = "127.0.0.1"\nport = 0\n') as served:
        told = running(served.home)
        assert told
        assert told.legacy_port not in {None, told.port}
        old = {"kex_algs": ["diffie-hellman-group14-sha256"], "server_host_key_algs": ["ecdsa-sha2-nistp256"]}
        with pytest.raises(asyncssh.KeyExchangeFailed):
            await served.connect(**old)
        for number in range(MANY):
            client = await served.connect(port=told.legacy_port, **old)
            async with client.open(f"inbox/{number}.csv", "wb") as file:
                await file.write(CSV)
        assert len({process for _, process in served.rows().values()}) == 2
        shown_keys = {each.get_server_host_key().get_fingerprint() for each in served.connections}
        assert len(shown_keys) == 1
        # a process that takes the place of another has both doors
        os.kill(served.pids("exchange")[0], signal.SIGKILL)
        await served.until(lambda: len(served.events("process.started", kind="exchange")) == 3)
        while served.connections:
            await served.hang_up()
        for _ in range(MANY):
            await served.connect(port=told.legacy_port, **old)
            await served.hang_up()
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
