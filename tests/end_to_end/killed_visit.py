"""A partner's visit with a real SFTP client, to a gateway that may be killed meanwhile (driver: kill_at_every_step.py)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path

import asyncssh
from durable_steps import arm

from gateway.clock import SteppedClock
from gateway.daemon import Daemon
from gateway.exchange import guard, host_keys
from gateway.exchange.listener import listen
from gateway.gateway import open_gateway

#: No answer within this, in seconds, is no clean error.
PATIENCE_S = 30


async def put(sftp: asyncssh.SFTPClient, name: str, size: int) -> None:
    """OPEN, WRITE, CLOSE."""
    async with sftp.open(f"inbox/{name}", "wb") as file:
        await file.write(bytes(size))


async def give_up(sftp: asyncssh.SFTPClient) -> None:
    """A file that is removed before its CLOSE, which is refused then; large enough to lie on the disk by then."""
    file = await sftp.open("inbox/d.csv", "wb")
    await file.write(bytes(100_005))
    await sftp.remove("inbox/d.csv")
    try:
        await file.close()
    except asyncssh.SFTPFailure:
        return
    raise AssertionError("CLOSE of a removed file was told OK")


async def receipt(sftp: asyncssh.SFTPClient) -> str:
    """The path of a receipt."""
    return next(f"returns/{name}" for name in await sftp.listdir("returns") if name.endswith(".json"))


async def collect(sftp: asyncssh.SFTPClient) -> None:
    """All of a receipt."""
    async with sftp.open(await receipt(sftp), "rb") as file:
        await file.read()


async def remove_receipt(sftp: asyncssh.SFTPClient) -> None:
    """A partner that has it."""
    await sftp.remove(await receipt(sftp))


#: What a partner does in a visit, in order; each is told when its answer was OK. Sizes tell files apart.
VISIT: Mapping[str, Callable[[asyncssh.SFTPClient], Awaitable[object]]] = {
    "put a": lambda sftp: put(sftp, "a.csv", 1001),
    "put b": lambda sftp: put(sftp, "b.csv.part", 1002),
    "rename b": lambda sftp: sftp.rename("inbox/b.csv.part", "inbox/b.csv"),
    "put c": lambda sftp: put(sftp, "c.part", 1003),
    "put c again": lambda sftp: put(sftp, "c.part", 1004),
    "remove c": lambda sftp: sftp.remove("inbox/c.part"),
    "give up d": give_up,
    "touch a": lambda sftp: sftp.utime("inbox/a.csv", (1, 1)),
    "remove a": lambda sftp: sftp.remove("inbox/a.csv"),
    "put e": lambda sftp: put(sftp, "e.part", 1006),
    "put f": lambda sftp: put(sftp, "f.part", 1007),
    "rename f": lambda sftp: sftp.posix_rename("inbox/f.part", "inbox/e.part"),
    "collect": collect,
    "remove receipt": remove_receipt,
}


async def visit(port: int, key: Path, told: Callable[[str], None]) -> str:
    """The whole visit; the error that ended it, if one did. A client that waits in vain fails here."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            async with (
                asyncssh.connect(
                    "127.0.0.1",
                    port,
                    username="woonservice",
                    client_keys=[str(key)],
                    known_hosts=None,
                    agent_path=None,
                    config=[],
                ) as connection,
                connection.start_sftp_client() as sftp,
            ):
                for name, do in VISIT.items():
                    await do(sftp)
                    told(name)
        except (asyncssh.Error, OSError) as exc:
            return type(exc).__name__
    return ""


def serve(home: Path, at: datetime, point: tuple[str, int], log: Path, ready: int, stop: int) -> None:
    """Listen, tell the port to `ready`, and go on until `stop` ends, or until the kill."""

    async def run() -> None:
        # whether a look falls into a visit is chance; the work `door` looks
        guard.LOOK_S = PATIENCE_S
        gateway = open_gateway(home, SteppedClock(at))
        exchange = Daemon(gateway)._exchange()
        keys = host_keys.calendar(gateway.home.keys)
        listener = await listen(
            lambda: exchange,
            host="127.0.0.1",
            port=0,
            host_keys=[gateway.home.keys / key.file for key in keys],
        )
        arm(*point, log)
        os.write(ready, f"{listener.port}\n".encode())
        await asyncio.to_thread(os.read, stop, 1)
        await listener.close()

    asyncio.run(run())


def visit_and_kill(
    home: Path, at: datetime, point: tuple[str, int], log: Path, fork: Callable[[Callable[[], None]], int]
) -> int:
    """A visit to a gateway that is killed at a point; its process id. What was told is noted in `home`."""
    (port_r, port_w), (stop_r, stop_w) = os.pipe(), os.pipe()

    def served() -> None:
        os.close(stop_w)
        serve(home, at, point, log, port_w, stop_r)

    pid = fork(served)
    os.close(port_w)
    os.close(stop_r)
    port = int(os.read(port_r, 16))
    error = asyncio.run(
        visit(port, home.parent / "woonservice.key", lambda name: (home / f"told-{name}").touch())
    )
    for end in (port_r, stop_w):
        os.close(end)
    (home / f"told-error {error}").touch()
    return pid
