"""Partners of a peak day: honest ones, slow ones, ones whose line drops, and a hostile one.

Each visit is a coroutine against a real gateway. An honest visit that fails is told of; a hostile one that gets what it
must not have is told of too.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import asyncssh
import uvloop

#: Honest partners come from here; the guard of a peak day counts them as safe.
HONEST = "127.0.0.1"
#: How a client that was turned away, or whose connection was cut, learns of it.
_TURNED_AWAY = (asyncssh.Error, OSError, EOFError)
#: A piece of a slow writer, and the pause behind it.
_DRIP_BYTES, _DRIP_S = 2_048, 0.1
#: How long a hostile client holds on to a connection, in seconds.
_SIEGE_S = 1.5
_OPEN_FOR_WRITING = 0x1A  # WRITE, CREAT, TRUNC


class Kind(StrEnum):
    """What a visitor does."""

    #: uploads a file, looks whether it is listed, leaves
    UPLOAD = "upload"
    #: the same, a little at a time
    SLOW = "slow"
    #: is cut off at a random byte, comes again and uploads all of it
    DROPPING = "dropping"
    #: lists its boxes and reads what lies ready
    READER = "reader"
    #: the same, and takes its time between two pieces
    SLOW_READER = "slow-reader"
    #: does what it must not
    HOSTILE = "hostile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who comes when, to do what."""

    kind: Kind
    partner: str
    #: seconds after the beginning of the day
    at_s: float
    #: what is uploaded
    file: str = ""
    #: the part of the day, for its figures
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a visit went. Times in seconds; None: that did not happen."""

    kind: Kind
    part: str
    at_s: float
    #: from the first byte of the connection to the OK on CLOSE
    connect_to_ok_s: float | None = None
    close_to_ok_s: float | None = None
    #: files that were received, and read
    received: int = 0
    read: int = 0
    #: connections that ended as they must not; or what a hostile visitor got
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Visits of one client process, and where they go."""

    port: int
    #: partner -> file of its private key
    keys: Mapping[str, str]
    visits: Sequence[Visit]
    #: what is random
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a client process found, and how busy it was itself: it must not be what is measured."""

    outcomes: Sequence[Outcome]
    cpu_s: float
    #: how late its event loop was at worst, in seconds
    lag_s: float


def attend(crowd: Crowd, result: Path, day: Connection) -> None:
    """A client process: says that it is ready, is told when the day begins, and writes what it found."""
    day.send(True)
    told = uvloop.run(visit_all(crowd, day.recv()))
    result.write_text(json.dumps(asdict(told)))


def read(result: Path) -> Told:
    """What a client process wrote."""
    found = json.loads(result.read_text())
    outcomes = [Outcome(**each | {"kind": Kind(each["kind"])}) for each in found["outcomes"]]
    return Told(outcomes=outcomes, cpu_s=found["cpu_s"], lag_s=found["lag_s"])


async def visit_all(crowd: Crowd, begins: float) -> Told:
    """All visits, each at its time however the others fare; `begins` is of `time.monotonic`, which all processes share."""
    cpu = time.process_time()
    lags: list[float] = [0.0]
    watch = asyncio.create_task(_watch_lag(lags))

    async def one(number: int, visit: Visit) -> Outcome:
        await asyncio.sleep(max(0.0, begins + visit.at_s - time.monotonic()))
        return await _visit(crowd, visit, Random(f"{crowd.seed}-{number}"))

    outcomes = await asyncio.gather(*(one(number, visit) for number, visit in enumerate(crowd.visits)))
    watch.cancel()
    return Told(outcomes=outcomes, cpu_s=round(time.process_time() - cpu, 2), lag_s=round(max(lags), 4))


async def _watch_lag(lags: list[float]) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.02)
        lags[0] = max(lags[0], time.monotonic() - before - 0.02)


async def _visit(crowd: Crowd, visit: Visit, random: Random) -> Outcome:
    do = _DOES[visit.kind]
    try:
        found = await do(crowd, visit, random)
    except Exception as exc:  # noqa: BLE001  # whatever it is: an honest visitor that fails is what we look for
        found = {"failure": f"{type(exc).__name__}: {exc}"}
    return Outcome(kind=visit.kind, part=visit.part, at_s=visit.at_s, **found)


def _connect(
    crowd: Crowd, partner: str, *, key: str | asyncssh.SSHKey = "", address: str = HONEST
) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    return asyncssh.connect(
        "127.0.0.1",
        crowd.port,
        local_addr=(address, 0),
        username=partner,
        client_keys=[key or crowd.keys[partner]],
        known_hosts=None,
        agent_path=None,
        config=[],
    )


# -- honest ones ---------------------------------------------------------------------------------------


async def _upload(crowd: Crowd, visit: Visit, random: Random) -> dict[str, Any]:
    path = Path(visit.file)
    content, name = path.read_bytes(), _name(path, random)
    began = time.perf_counter()
    async with _connect(crowd, visit.partner) as connection, connection.start_sftp_client() as client:
        file = await client.open(f"inbox/{name}", "wb")
        await file.write(content)
        closing = time.perf_counter()
        await file.close()
        done = time.perf_counter()
        await _see_listed(client, name)
    return {"connect_to_ok_s": done - began, "close_to_ok_s": done - closing, "received": 1}


async def _drip(crowd: Crowd, visit: Visit, random: Random) -> dict[str, Any]:
    path = Path(visit.file)
    content, name = path.read_bytes(), _name(path, random)
    async with _connect(crowd, visit.partner) as connection, connection.start_sftp_client() as client:
        async with client.open(f"inbox/{name}", "wb") as file:
            for start in range(0, len(content), _DRIP_BYTES):
                await file.write(content[start : start + _DRIP_BYTES])
                await asyncio.sleep(_DRIP_S)
        await _see_listed(client, name)
    return {"received": 1}


async def _drop(crowd: Crowd, visit: Visit, random: Random) -> dict[str, Any]:
    path = Path(visit.file)
    content = path.read_bytes()
    half = random.randrange(len(content))
    with suppress(*_TURNED_AWAY):
        async with _connect(crowd, visit.partner) as connection, connection.start_sftp_client() as client:
            file = await client.open(f"inbox/{_name(path, random)}", "wb")
            await file.write(content[:half])
            rest = asyncio.create_task(file.write(content[half:]))
            await asyncio.sleep(random.random() / 200)
            connection.abort()  # what is not sent yet never is: the line is cut where it is
            await rest
    return await _upload(crowd, visit, random)


async def _see_listed(client: asyncssh.SFTPClient, name: str) -> None:
    if name not in await client.listdir("inbox"):
        raise AssertionError("what was received is not listed")


def _name(path: Path, random: Random) -> str:
    return f"{random.randrange(1 << 40):010x}{path.suffix}"


async def _read_all(
    crowd: Crowd, visit: Visit, random: Random, *, pause_s: float = 0.0, piece: int = -1
) -> dict[str, Any]:
    count = 0
    async with _connect(crowd, visit.partner) as connection, connection.start_sftp_client() as client:
        for box in ("outbox", "returns"):
            for name in await client.listdir(box):
                if name in {".", ".."}:
                    continue
                count += await _read(client, f"{box}/{name}", pause_s, piece)
    return {"read": count}


async def _read(client: asyncssh.SFTPClient, path: str, pause_s: float, piece: int) -> int:
    """Whether a file was read whole; one that a newer worklist replaced between listing and OPEN is not there."""
    try:
        file = await client.open(path, "rb")
    except asyncssh.SFTPNoSuchFile:
        return 0
    async with file:
        size, got = (await file.stat()).size or 0, 0
        while data := await file.read(piece):
            got += len(data)
            await asyncio.sleep(pause_s)
    if got != size:
        raise AssertionError(f"{got} bytes of {size} were read")
    return 1


async def _read_slowly(crowd: Crowd, visit: Visit, random: Random) -> dict[str, Any]:
    return await _read_all(crowd, visit, random, pause_s=_DRIP_S, piece=4_096)


# -- the hostile one ------------------------------------------------------------------------------------


async def _attack(crowd: Crowd, visit: Visit, random: Random) -> dict[str, Any]:
    """One attack of each kind, from an address of its own: the last one may be closed out by now."""
    address = f"127.{random.randrange(1, 250)}.{random.randrange(250)}.{random.randrange(1, 250)}"
    got = [
        told
        for attack in _ATTACKS
        if (told := await attack(crowd, visit.partner, address, random)) is not None
    ]
    return {"failure": "; ".join(got)}


async def _try_keys(crowd: Crowd, partner: str, address: str, random: Random) -> str | None:
    """The keys of others, and one of nobody."""
    others = random.sample([each for each in crowd.keys if each != partner], 3)
    keys: list[str | asyncssh.SSHKey] = [crowd.keys[each] for each in others]
    keys.append(asyncssh.generate_private_key("ssh-ed25519"))
    for key in keys:
        with suppress(*_TURNED_AWAY):
            async with _connect(crowd, partner, key=key, address=address):
                return "came in with a key that is not its own"
    return None


async def _try_paths(crowd: Crowd, partner: str, address: str, random: Random) -> str | None:
    """Names that lead out of the boxes, to read and to write."""
    with suppress(*_TURNED_AWAY):
        async with (
            _connect(crowd, partner, address=address) as connection,
            connection.start_sftp_client() as client,
        ):
            for path in _PATHS:
                for mode in ("rb", "wb"):
                    with suppress(asyncssh.SFTPError):
                        file = await client.open(path, mode)
                        await file.close()
                        return f"opened {path!r} ({mode})"
    return None


async def _flood(crowd: Crowd, partner: str, address: str, random: Random) -> str | None:
    """Thousands of OPENs and REALPATHs, and no reply is ever read."""
    packets = [_opening(number) for number in range(2_000)]
    packets += [_packet(16, number, _string("x" * 4_000)) for number in range(2_000)]
    await _hold(crowd, partner, address, packets, reads=False)
    return None


async def _lie(crowd: Crowd, partner: str, address: str, random: Random) -> str | None:
    """A packet that says it is of 4 GiB, behind half a file."""
    write = _packet(6, 2, _string(b"\0\0\0\0") + bytes(8) + _string(random.randbytes(30_000)))
    await _hold(
        crowd, partner, address, [_opening(1), write, b"\xff\xff\xff\xf0" + random.randbytes(200_000)]
    )
    return None


async def _babble(crowd: Crowd, partner: str, address: str, random: Random) -> str | None:
    """Bytes that are no SSH, and a connection that says nothing."""
    for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n" + random.randbytes(40_000)):
        with suppress(*_TURNED_AWAY):
            _, writer = await asyncio.open_connection("127.0.0.1", crowd.port, local_addr=(address, 0))
            try:
                writer.write(words)
                await asyncio.sleep(_SIEGE_S / 3)
            finally:
                writer.transport.abort()
    return None


class _Raw(asyncssh.SSHClientSession[bytes]):
    """A session in which we speak SFTP by hand."""


async def _hold(
    crowd: Crowd, partner: str, address: str, packets: Sequence[bytes], *, reads: bool = True
) -> None:
    """Send these, and hold on for a while."""
    with suppress(*_TURNED_AWAY):
        async with _connect(crowd, partner, address=address) as connection:
            channel, _ = await connection.create_session(_Raw, subsystem="sftp", encoding=None)
            if not reads:
                channel.pause_reading()
            channel.write(struct.pack(">IBI", 5, 1, 3))
            for packet in packets:
                channel.write(packet)
            await asyncio.sleep(_SIEGE_S)
            connection.abort()


def _opening(number: int) -> bytes:
    return _packet(3, number, _string(f"inbox/{number}.csv") + struct.pack(">II", _OPEN_FOR_WRITING, 0))


def _packet(kind: int, number: int, rest: bytes) -> bytes:
    return struct.pack(">IBI", len(rest) + 5, kind, number) + rest


def _string(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(raw)) + raw


_PATHS = (
    "../../etc/passwd",
    "/etc/shadow",
    "inbox/../../data/gateway.db",
    "inbox/..",
    "outbox/x.csv",
    "returns/../inbox/\u202ex.csv",
    "/proc/self/mem",
    "inbox/a/b",
    "inbox/%2e%2e%2fx/y",
    "inbox/" + "x" * 5_000,
    "inbox/\0x",
    "audit/log",
)
_ATTACKS: Sequence[Callable[[Crowd, str, str, Random], Awaitable[str | None]]] = (
    _try_paths,
    _flood,
    _lie,
    _babble,
    _try_keys,
)
_DOES: Mapping[Kind, Callable[[Crowd, Visit, Random], Awaitable[dict[str, Any]]]] = {
    Kind.UPLOAD: _upload,
    Kind.SLOW: _drip,
    Kind.DROPPING: _drop,
    Kind.READER: _read_all,
    Kind.SLOW_READER: _read_slowly,
    Kind.HOSTILE: _attack,
}


def failures(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    """What went wrong, and how often."""
    return Counter(f"{each.kind}: {each.failure}" for each in outcomes if each.failure)
