"""Networks that break, peers that fall silent, clocks that jump: what was told OK is there once, the rest is not."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_network

import asyncssh
import pytest

from gateway.domain.guard import GuardTerms
from gateway.exchange import listener

CUTS = 24


@dataclass
class Proxy:
    """A TCP proxy that cuts its connection after so many bytes, or swallows what comes after them."""

    to_port: int
    #: in this direction it counts
    upward: bool
    most: float
    swallows: bool = False
    passed: int = 0
    port: int = 0

    async def carry(self, reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", self.to_port)
        pumps = [
            asyncio.ensure_future(self._pump(reader, back, counts=self.upward)),
            asyncio.ensure_future(self._pump(there, writer, counts=not self.upward)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for side in (back, writer):
            side.transport.abort()

    async def _pump(self, reader, writer, *, counts):
        while data := await reader.read(4096):
            if counts:
                data = data[: max(0, int(min(len(data), self.most - self.passed)))]
                self.passed += len(data)
            writer.write(data)
            await writer.drain()
            if counts and self.passed >= self.most:
                if not self.swallows:
                    return
                await asyncio.Event().wait()


@asynccontextmanager
async def proxied(house, **values):
    """A proxy before the house; the house's clients go through it."""
    proxy = Proxy(house.port, **values)
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


async def visit(house, port, number):
    """A file, and one under a temporary name that is renamed; the names that were told OK."""
    told = []
    try:
        async with asyncio.timeout(20):
            async with asyncssh.connect(
                "127.0.0.1",
                port,
                username="woonbron",
                client_keys=[str(house.keys["woonbron"])],
                known_hosts=None,
                agent_path=None,
                config=[],
            ) as connection:
                async with connection.start_sftp_client() as sftp:
                    for name in (f"{number}.csv", f"{number}-later.csv"):
                        first = f"{name}.part" if "later" in name else name
                        async with sftp.open(f"inbox/{first}", "wb") as file:
                            await file.write(bytes(100_000))
                        if first != name:
                            await sftp.rename(f"inbox/{first}", f"inbox/{name}")
                        told.append(name)
    except (asyncssh.Error, OSError):
        pass
    return told


def names(house):
    """The names of what was received, and how often."""
    return Counter(house.name(row) for row in house.rows() if row["state"] == "arrived")


async def test_connections_cut_at_any_byte(house):
    """Cut wherever it is: a client meets an error, and what it was told OK is there, once; nothing half received."""
    async with proxied(house, upward=True, most=float("inf")) as whole:
        assert await visit(house, whole.port, "whole") == ["whole.csv", "whole-later.csv"]
    chance = random.Random(20261126)
    told = {"whole.csv", "whole-later.csv"}
    for number in range(CUTS):
        upward = bool(number % 4)
        most = chance.randrange(whole.passed) if upward else chance.randrange(6_000)
        async with proxied(house, upward=upward, most=most) as proxy:
            told |= set(await visit(house, proxy.port, number))
    await house.until(lambda: "receiving" not in house.states())
    received = names(house)
    assert set(received.values()) == {1}
    assert told <= set(received)
    assert "aborted" in house.states()
    # the bytes of what was given up go after its row
    kept = {row["blob"] for row in house.rows() if row["blob"]}
    await house.until(lambda: set(house.blob_files()) == kept)


async def test_a_peer_that_falls_silent(quiet_house, listening, monkeypatch):
    """Without an answer to three questions it is gone: what it was sending is given up, and others never waited."""
    monkeypatch.setattr(listener, "KEEPALIVE_S", 0.3)
    async with listening(quiet_house) as house:
        async with proxied(house, upward=True, most=60_000, swallows=True) as proxy:
            silent = asyncio.ensure_future(visit(house, proxy.port, "silent"))
            await house.until(lambda: house.states() == ["receiving"])
            assert await visit(house, house.port, "other") == ["other.csv", "other-later.csv"]
            await house.until(lambda: house.states()[0] == "aborted")
            assert await silent == []
        await house.until(lambda: len(house.blob_files()) == 2)
    assert set(names(house)) == {"other.csv", "other-later.csv"}


async def test_fifty_sessions_at_once(quiet_house, listening):
    """All are served, as far as the guard lets so many in; each file is there once."""
    partner = quiet_house.partners["woonbron"]
    quiet_house.partners["woonbron"] = replace(partner, limits=replace(partner.limits, sessions=200))
    terms = GuardTerms(safe_networks=(ip_network("127.0.0.0/8"),))
    quiet_house.exchange = replace(quiet_house.exchange, guard=terms)
    async with listening(quiet_house) as house:
        told = await asyncio.gather(*(visit(house, house.port, number) for number in range(50)))
    assert sorted(len(each) for each in told) == [2] * 50
    assert set(names(house).values()) == {1}
    assert len(names(house)) == 100
    arrivals = [row["arrival"] for row in house.rows() if row["state"] == "arrived"]
    assert sorted(arrivals) == list(range(1, 101))


@pytest.mark.parametrize("step", [timedelta(hours=-3), timedelta(days=-2), timedelta(days=2)])
async def test_the_clock_jumps_while_a_session_is_open(house, step):
    """Back or forward: open files come to their CLOSE, arrive in order, and the key is that of the day by the clock."""
    async with house.raw("woonbron") as raw:
        assert (await raw.put("inbox/before.csv", b"x")).status == 0
        handle = (await raw.open("inbox/during.csv")).string
        await raw.write(handle, 0, b"abc")
        house.clock.step(step)
        await raw.write(handle, 3, b"def")
        assert (await raw.close(handle)).status == 0
        assert (await raw.put("inbox/after.csv", b"x")).status == 0
        listed = await raw.ls("inbox")
        assert set(listed) >= {"during.csv", "after.csv"}
        assert ("before.csv" in listed) == (step < timedelta(hours=24))
        assert (await raw.put("inbox/staged.part", b"x")).status == 0
        assert (await raw.rename("inbox/staged.part", "inbox/last.csv")).status == 0
    rows = sorted(house.rows(), key=lambda row: row["arrival"])
    assert [house.name(row) for row in rows] == ["before.csv", "during.csv", "after.csv", "last.csv"]
    assert house.received(rows[1]) == b"abcdef"
    assert (rows[1]["raw_due_on"] - rows[0]["raw_due_on"]).days in {
        step.days,
        round(step / timedelta(days=1)),
    }
