"""A purge beside people at work: the day of a national month goes from a gateway that serves, while small files come in
and municipalities list and read.

What is compared is a small upload, OPEN to OK in a session that is open already, during the purge and in the quiet
before it. The window in which the database is compacted, and every CLOSE waits, is a figure of its own. So is a purge
that must leave half of what is due, as a legal hold covers it.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count, cycle
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles

import asyncssh

from bench import month, servers
from bench.home import copy_country, make_country, open_country, put, server_of
from bench.measure import Failed, Row, Tell, Used, alternate, held, in_turn, row
from bench.month import Creditor
from gateway import logs
from gateway.clock import SteppedClock, SystemClock, local_day
from gateway.domain.hold import Grounds
from gateway.domain.retention import Terms, signal_due
from gateway.gateway import open_gateway
from gateway.pipeline.worker import step
from gateway.retention import holds
from gateway.store import status

FIGURES = ("purge-small-upload-p99", "purge-half-held")
_A_MONTH = timedelta(days=30)
#: Large ones, and so few that their worklists are soon made.
_CODES = ("GM0014", "GM0034", "GM0344", "GM0363", "GM0518", "GM0599")
_RESIDENTS = 2_000_000
_PARTNER = "verhuurder-00"
_READERS = 2
#: A refused file: what the pipeline does with it afterwards is small, in the quiet and after the purge.
_SMALL = b"%PDF" + bytes(20 * 1024 - 4)
#: Between two uploads, and between two readings, in seconds.
_PAUSE_S = 0.02
#: How long the first upload may take, in seconds.
_PATIENCE_S = 60
#: The window is to be no longer than a client waits without noticing, in seconds.
_WINDOW_S = 1.0
#: With half of it held a purge has no more to do.
_GOAL, _HELD_GOAL = 2.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many signals are due on one day and how many live beside them, and how long it is quiet before."""

    rounds: int
    due: int
    live: int
    creditors: int
    quiet_s: float


FULL = Scale(rounds=3, due=10_000, live=50_000, creditors=20, quiet_s=12)
QUICK = Scale(rounds=1, due=1_000, live=1_000, creditors=4, quiet_s=3)


def measure(folder: Path, scale: Scale, tell: Tell, figures: Sequence[str]) -> Iterator[Row | Failed]:
    """The figures of a purge. A reader or an uploader that fails is an error."""
    if figures and not any(name in figures for name in FIGURES):
        return
    home = _prepare(folder, scale, tell)
    yield from in_turn(
        {
            "purge-small-upload-p99": partial(_beside_uploads, home, scale, tell),
            "purge-half-held": partial(_half_held, home, scale, tell),
        },
        figures,
        tell,
    )


def _prepare(folder: Path, scale: Scale, tell: Tell) -> Path:
    """A home in which the signals of one day are due, and others are not."""
    names = [f"verhuurder-{number:02}" for number in range(scale.creditors)]
    places = dict(zip(names, cycle(_CODES), strict=False))
    home = make_country(
        folder, [_landlord(name, code, 1) for name, code in places.items()], municipalities=_CODES, settle_s=0
    )
    now = SystemClock().now()
    for what, rows, at in (("due", scale.due, _day_that_is_over(now)), ("live", scale.live, now)):
        tell(f"purge: {rows:,} signals that are {what}")
        gateway = open_country(home, SteppedClock(at))
        context, today = gateway.pipeline(), local_day(at)
        for name, code in places.items():
            creditor = _landlord(name, code, rows // scale.creditors)
            put(context, name, month.signal_file(creditor, today.replace(day=1), day=today.day))
        while step(context):
            pass
        gateway.close()
        if what == "due":
            _purge_until(home, now - timedelta(days=1))
    return home


def _day_that_is_over(now: datetime) -> datetime:
    """The last day of which the signals are due: those that came on it go with the purge of today."""
    at = now
    while signal_due(at, Terms().signals_months) >= local_day(now):
        at -= timedelta(days=1)
    return at


def _purge_until(home: Path, at: datetime) -> None:
    """What earlier nights let go: keys of days without signals, received and published files."""
    gateway = open_country(home, SteppedClock(at))
    report = gateway.purge()
    gateway.close()
    if report.errors or report.counts["signals"]:
        raise RuntimeError(f"too early: {report.counts} {report.errors}")


def _landlord(name: str, code: str, rows: int) -> Creditor:
    return month.landlord(rows, code, residents=_RESIDENTS, name=name)


# -- beside uploads -------------------------------------------------------------------------------------


def _beside_uploads(home: Path, scale: Scale, tell: Tell) -> Iterator[Row]:
    quiet_ms, busy_ms, windows = [], [], []
    for number in range(scale.rounds):
        tell(f"purge: beside uploads {number + 1}/{scale.rounds}")
        here = copy_country(home, home.with_name(f"served-{number}"))
        server = servers.serve(here)
        try:
            quiet_from, quiet_until, uploads, ends = _lived(
                here, server.port, home.parent / "keys", scale.quiet_s
            )
        finally:
            server.stop()
        window, over = ends["log"], ends["compact"]
        windows.append(over - window)
        quiet_ms.append(
            [taken * 1000 for at, taken in uploads if quiet_from <= at and at + taken <= quiet_until]
        )
        busy_ms.append(
            [
                taken * 1000
                for at, taken in uploads
                if ends[""] <= at < ends["requests"] and (at + taken < window or at > over)
            ]
        )
    yield row(
        "purge-small-upload-p99",
        "quiet",
        [_p99(each) for each in busy_ms],
        [_p99(each) for each in quiet_ms],
        goal=_GOAL,
        unit="ms",
        at_least=False,
    )
    yield held("purge-compaction-window", windows, limit=_WINDOW_S, unit="s")


def _p99(times: Sequence[float]) -> float:
    return quantiles(times, n=100, method="inclusive")[98]


def _lived(
    home: Path, port: int, keys: Path, quiet_s: float
) -> tuple[float, float, list[tuple[float, float]], dict[str, float]]:
    """From when to when it was quiet; uploads as (when, how long); steps of the purge and when each was done."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    uploads, steps = home.with_suffix(".uploads.json"), home.with_suffix(".steps.json")
    clients = context.Process(target=_visit, args=(port, keys, uploads, theirs))
    purger = context.Process(target=_purge, args=(home, steps))
    clients.start()
    theirs.close()
    try:
        if not ours.poll(_PATIENCE_S):
            raise RuntimeError("no upload succeeded")
        # a purge keeps the pipeline from its work: so that it does not disturb the quiet more, it is kept from it there too
        gateway = open_gateway(home)
        with gateway.store.exclusive():
            quiet_from = time.monotonic()
            time.sleep(quiet_s)
            quiet_until = time.monotonic()
        gateway.close()
        purger.start()
        purger.join()
        if purger.exitcode:
            raise RuntimeError(f"the purge ended with {purger.exitcode}")
    finally:
        ours.close()
        clients.join()
    if clients.exitcode:
        raise RuntimeError(f"the clients ended with {clients.exitcode}")
    return quiet_from, quiet_until, json.loads(uploads.read_text()), dict(json.loads(steps.read_text()))


def _purge(home: Path, result: Path) -> None:
    """A purge as an administrator's command does it, in a process of its own: when it began and when each step ended."""
    logs.set_up(level="ERROR")
    told: list[tuple[str, float]] = []

    def note(step: str, done: int, total: int) -> None:
        if not done and not total:
            told.append((step, time.monotonic()))

    gateway = open_gateway(home)
    with gateway.store.exclusive():
        pass  # what it waits for is not the purge
    told.append(("", time.monotonic()))
    report = gateway.purge(progress=note)
    gateway.close()
    if report.errors or not report.counts["signals"]:
        raise RuntimeError(f"{report.counts} {report.errors}")
    result.write_text(json.dumps(told))


def _visit(port: int, keys: Path, result: Path, day: Connection) -> None:
    """Upload and read until the other end is closed: when each upload began and how long it took."""
    result.write_text(json.dumps(asyncio.run(_visits(port, keys, day))))


async def _visits(port: int, keys: Path, day: Connection) -> list[tuple[float, float]]:
    over, uploads = asyncio.Event(), []
    async with asyncio.TaskGroup() as tasks:
        visitors = [
            tasks.create_task(_reads(port, keys, server_of(code), over)) for code in _CODES[:_READERS]
        ]
        uploader = tasks.create_task(_uploads(port, keys, over, day))
        # the other end is closed, or died
        await asyncio.to_thread(_until_closed, day)
        over.set()
    uploads = uploader.result()
    if not all(visitor.result() for visitor in visitors):
        raise RuntimeError("nothing was there to read")
    return uploads


def _until_closed(day: Connection) -> None:
    try:
        day.recv()
    except (EOFError, ConnectionResetError):
        return


async def _uploads(port: int, keys: Path, over: asyncio.Event, day: Connection) -> list[tuple[float, float]]:
    found = []
    async with (
        _client(port, keys, _PARTNER) as connection,
        connection.start_sftp_client() as sftp,
    ):
        for number in count():
            if over.is_set():
                break
            began = time.monotonic()
            async with sftp.open(f"inbox/{number}.pdf", "wb") as file:
                await file.write(_SMALL)
            found.append((began, time.monotonic() - began))
            if number == 0:
                found.clear()  # it warmed up
                day.send(None)
            await asyncio.sleep(_PAUSE_S)
    return found


async def _reads(port: int, keys: Path, partner: str, over: asyncio.Event) -> int:
    """List and read all that lies ready, again and again; how many bytes came."""
    received = 0
    async with _client(port, keys, partner) as connection, connection.start_sftp_client() as sftp:
        while not over.is_set():
            for name in await sftp.listdir("outbox"):
                if name.startswith("."):
                    continue
                with suppress(asyncssh.SFTPNoSuchFile):  # it went since it was listed
                    async with sftp.open(f"outbox/{name}", "rb") as file:
                        received += len(await file.read())
                await asyncio.sleep(_PAUSE_S)
            await asyncio.sleep(_PAUSE_S)
    return received


def _client(port: int, keys: Path, partner: str) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    return asyncssh.connect(
        "127.0.0.1",
        port,
        username=partner,
        client_keys=[str(keys / partner)],
        known_hosts=None,
        agent_path=None,
        config=[],
    )


# -- held -----------------------------------------------------------------------------------------------


def _half_held(home: Path, scale: Scale, tell: Tell) -> Iterator[Row]:
    """The same purge of a home that nobody uses, with a hold over half of what is due."""
    number = count()

    def run(before: Callable[[Path], object]) -> Used:
        here = copy_country(home, home.with_name(f"held-{next(number)}"))
        before(here)
        gateway = open_gateway(here)
        began, cpu = time.perf_counter(), time.process_time()
        report = gateway.purge()
        used = Used(wall_s=time.perf_counter() - began, cpu_s=time.process_time() - cpu)
        gateway.close()
        if report.errors:
            raise RuntimeError(str(report.errors))
        return used

    found = alternate(
        {"half held": lambda: run(_hold_half), "nothing held": lambda: run(lambda _: None)},
        scale.rounds,
        lambda text: tell(f"purge-half-held: {text}"),
        warm=False,
    )
    ours, theirs = ([used.wall_s for used in each] for each in found.values())
    yield row("purge-half-held", "nothing held", ours, theirs, goal=_HELD_GOAL, unit="s", at_least=False)


def _hold_half(home: Path) -> None:
    """Two people let a hold cover every other delivery that is due."""
    gateway = open_gateway(home)
    store, now = gateway.store, gateway.clock.now()
    with store.read() as conn:
        due = [
            each.id
            for each in status.deliveries(conn)
            if each.received_at and each.received_at < now - _A_MONTH
        ]
    asked = holds.ask(
        store,
        due[::2],
        grounds=Grounds.LAWSUIT,
        authority="Rechtbank",
        reference="2026/1",
        review_on=local_day(now) + _A_MONTH,
        now=now,
        node=gateway.node,
        actor="bench",
    )
    holds.place(
        store, gateway.keyring, asked.hold_id, ("een", "twee"), clock=gateway.clock, node=gateway.node
    )
    gateway.close()
