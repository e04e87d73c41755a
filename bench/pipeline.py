"""Figures of what comes after the OK: how soon it is listed, rows a second, the national month, memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import asyncssh
import duckdb
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench import month, servers
from bench.home import make_country, open_country, put, server_of
from bench.measure import Failed, Row, Tell, Used, alternate, held, in_turn, row
from bench.month import Creditor
from bench.work import Done, work
from gateway.clock import SystemClock, local_day
from gateway.pipeline.context import Context
from gateway.pipeline.intake import process
from gateway.pipeline.publish import publish
from gateway.pipeline.worker import due_municipalities, pending, step
from gateway.settings.gemeenten import gemeente_names
from gateway.store import queue

RESULTS = Path(__file__).parent / "results"
FIGURES = ("listed-after-ok", "intake-50000-rows", "national-month", "pipeline-memory")
#: Whose outbox is looked at: the first of the table, one of the largest.
_CODE = "GM0014"
#: Keyed hashes to a signal: signaal_id, contract, two of the address, two of the person, contents.
_TOKENS = 7
#: How often an outbox is looked at, and for how long, in seconds.
_LOOK_EVERY_S, _PATIENCE_S = 0.005, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done: in full, or quickly."""

    rounds: int
    #: signals that are live when a file's way is timed, the rows of that file, and how often
    live: int
    small_rows: int
    small_rounds: int
    #: that take part, one of which that file is for: each has its worklist made before
    municipalities: int
    #: of the file that DuckDB reads too
    rows: int
    #: of the national month: creditors, signals, signals of the largest file, and how often
    creditors: int
    month_rows: int
    largest: int
    month_rounds: int
    #: of the file at which memory is looked at
    long_rows: int


FULL = Scale(
    rounds=3,
    live=100_000,
    small_rows=500,
    small_rounds=9,
    municipalities=342,
    rows=50_000,
    creditors=month.CREDITORS,
    month_rows=month.ROWS,
    largest=month.LARGEST,
    month_rounds=1,
    long_rows=100_000,
)
QUICK = Scale(
    rounds=1,
    live=1_000,
    small_rows=500,
    small_rounds=2,
    municipalities=10,
    rows=5_000,
    creditors=20,
    month_rows=3_000,
    largest=1_000,
    month_rounds=1,
    long_rows=5_000,
)


def measure(folder: Path, scale: Scale, tell: Tell, only: Sequence[str]) -> Iterator[Row | Failed]:
    """Every figure of this module, or those named in `only`."""
    folder.mkdir()
    figures: Mapping[str, Callable[[], Iterator[Row]]] = {
        "listed-after-ok": partial(_listed, folder / "listed", scale, tell),
        "intake-50000-rows": partial(_beside_duckdb, folder / "intake", scale, tell),
        "national-month": partial(_national, folder / "month", scale, tell),
        "pipeline-memory": partial(_memory, folder / "memory", scale, tell),
    }
    yield from in_turn(figures, only, tell)


# -- from OK to the outbox ------------------------------------------------------------------------------


def _listed(folder: Path, scale: Scale, tell: Tell) -> Iterator[Row]:
    """A file's way from OK on CLOSE until its municipality sees a new file, beside the same steps without a queue."""
    tell(f"listed-after-ok: {scale.live:,} live signals")
    creditors = month.national(
        count=max(20, scale.live // 500), rows=scale.live, largest=scale.live // 4, residents=month.ROWS * 3
    )
    sender = month.landlord(scale.small_rows, _CODE, residents=month.ROWS * 3)
    codes = list(gemeente_names())[: scale.municipalities]
    home = make_country(folder, [*creditors, sender], municipalities=codes, settle_s=0)
    _receive(home, creditors)
    work(home, worklists=True)
    beside = folder / "beside"
    shutil.copytree(home, beside)
    parts = iter(range(scale.small_rounds + 1))
    with ExitStack() as running:
        server = servers.serve(home)
        running.callback(server.stop)
        waiting, bare = open_country(home), open_country(beside)
        running.callback(waiting.close)
        running.callback(bare.close)
        content = b""

        def served() -> Used:
            nonlocal content
            content = _file(sender, part=next(parts))
            seconds = asyncio.run(_seen(server, folder / "keys", sender, content))
            _until_idle(waiting.pipeline())
            return Used(wall_s=seconds)

        def without_queue() -> Used:
            return Used(wall_s=_bare(bare.pipeline(), sender, content))

        found = alternate(
            {"gateway": served, "bare pipeline": without_queue},
            scale.small_rounds,
            lambda text: tell(f"listed-after-ok: {text}"),
        )
    taken = {name: [used.wall_s for used in each] for name, each in found.items()}
    (RESULTS / "listed-after-ok.json").write_text(json.dumps(taken) + "\n")
    ours, theirs = taken["gateway"], taken["bare pipeline"]
    name = "listed-after-ok"
    yield row(name, "bare pipeline", ours, theirs, goal=1.5, unit="s", at_least=False)
    yield held(name, ours, limit=0.5, unit="s")


async def _seen(server: servers.Server, keys: Path, sender: Creditor, content: bytes) -> float:
    """Upload, and look into the outbox until something new is there; seconds from OK on CLOSE."""
    reader = server_of(_CODE)
    async with (
        _client(server, keys, sender.id) as sends,
        _client(server, keys, reader) as reads,
        sends.start_sftp_client() as to,
        reads.start_sftp_client() as at,
    ):
        before = set(await at.listdir("outbox"))
        file = await to.open("inbox/signalen.csv", "wb")
        await file.write(content)
        await file.close()
        received = time.perf_counter()
        while time.perf_counter() - received < _PATIENCE_S:
            fresh = set(await at.listdir("outbox")) - before
            if any(name.startswith("meldingen_") for name in fresh):
                return time.perf_counter() - received
            await asyncio.sleep(_LOOK_EVERY_S)
    raise RuntimeError(f"nothing came into the outbox of {reader}")


def _client(
    server: servers.Server, keys: Path, partner_id: str
) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    return asyncssh.connect(
        "127.0.0.1",
        server.port,
        username=partner_id,
        client_keys=[str(keys / partner_id)],
        known_hosts=None,
        agent_path=None,
        config=[],
    )


def _bare(context: Context, sender: Creditor, content: bytes) -> float:
    """The same steps, one after the other, in this process; in seconds. What the worker would do next is not timed."""
    put(context, sender.id, content)
    with context.store.exclusive():
        with context.store.write() as conn:
            claimed = queue.claim_next(conn, context.clock.now())
        if claimed is None:
            raise RuntimeError("what was received can't be claimed")
        began = time.perf_counter()
        process(context, claimed)
        municipalities = due_municipalities(context)
        for code in municipalities:
            publish(context, code)
        seconds = time.perf_counter() - began
    if municipalities != [_CODE]:
        raise RuntimeError(f"the file went to {municipalities}")
    while step(context):
        pass
    return seconds


def _until_idle(context: Context) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while pending(context):
        if time.monotonic() > deadline:
            raise RuntimeError("the gateway does not come to rest")
        time.sleep(0.05)


# -- rows a second --------------------------------------------------------------------------------------


def _beside_duckdb(folder: Path, scale: Scale, tell: Tell) -> Iterator[Row]:
    """One file, from its receipt to all its CSV files published, beside a script that only moves the data."""
    sender = month.alone(scale.rows)
    home = make_country(folder, [sender], settle_s=0)
    file, table = folder / "signalen.csv", folder / "address.duckdb"
    file.write_bytes(_file(sender))
    _make_table(table)
    numbers = iter(range(scale.rounds + 1))

    def ours() -> Used:
        done = _alone(home, folder / f"round-{next(numbers)}", [sender])
        return Used(wall_s=done.seconds, cpu_s=done.cpu_s)

    def theirs() -> Used:
        into = folder / "written"
        shutil.rmtree(into, ignore_errors=True)
        words = (sys.executable, "-m", "bench.duckdb_script", str(file), str(table), str(into))
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        written = sum(1 for _ in into.glob("gemeente=*"))
        if not written:
            raise RuntimeError("DuckDB wrote nothing")
        return Used(wall_s=float(done.stdout))

    found = alternate(
        {"gateway": ours, "duckdb": theirs},
        scale.rounds,
        lambda text: tell(f"intake-50000-rows: {text}"),
        warm=False,
    )
    seconds = {name: [used.wall_s for used in each] for name, each in found.items()}
    yield row(
        *("intake-50000-rows", "duckdb", seconds["gateway"], seconds["duckdb"]),
        goal=3.0,
        unit="s",
        at_least=False,
    )


def _make_table(path: Path) -> None:
    """The table of addresses, as that script has it: at hand, like the gateway's."""
    rows = path.with_suffix(".csv")
    with rows.open("w") as file:
        file.write("postcode;huisnummer;gemeente\n")
        file.writelines(f"{postcode};{number};{code}\n" for postcode, number, code in month.reference())
    with duckdb.connect(str(path)) as conn:
        conn.execute(f"CREATE TABLE address AS FROM read_csv('{rows}', delim = ';', header = true)")
    rows.unlink()


def _national(folder: Path, scale: Scale, tell: Tell) -> Iterator[Row]:
    """All files of a month, from the first claim to the last publication, beside sealing and indexing its rows alone."""
    creditors = month.national(count=scale.creditors, rows=scale.month_rows, largest=scale.largest)
    home = make_country(folder, creditors, settle_s=0)
    numbers = iter(range(scale.month_rounds + 1))
    lines = [line.encode() for each in creditors for line in month.lines(each)]
    found = alternate(
        {
            "gateway": lambda: Used(
                wall_s=_alone(home, folder / f"round-{next(numbers)}", creditors).seconds
            ),
            "sealing": lambda: _seal_and_index(lines),
        },
        scale.month_rounds,
        lambda text: tell(f"national-month: {text}"),
        warm=False,
    )
    ours, theirs = ([used.wall_s for used in found[name]] for name in ("gateway", "sealing"))
    yield row(
        *("national-month", "sealing and indexing alone", ours, theirs), goal=3.0, unit="s", at_least=False
    )


def _seal_and_index(lines: Sequence[bytes]) -> Used:
    """What can't be done without: a keyed hash for every place of a signal, and AES-GCM of its contents."""
    key, began = AESGCM(os.urandom(32)), time.perf_counter()
    keyed = hashlib.blake2b(key=os.urandom(32), digest_size=16)
    for line in lines:
        for _ in range(_TOKENS):
            hasher = keyed.copy()
            hasher.update(line[:40])
            hasher.digest()
        key.encrypt(os.urandom(12), line, b"")
    return Used(wall_s=time.perf_counter() - began)


def _memory(folder: Path, scale: Scale, tell: Tell) -> Iterator[Row]:
    """One process that takes one long file in and publishes it: its memory at its highest."""
    tell(f"pipeline-memory: {scale.long_rows:,} rows")
    sender = month.alone(scale.long_rows)
    home = make_country(folder, [sender], settle_s=0)
    done = _alone(home, folder / "round", [sender])
    yield held("pipeline-memory", [done.peak_mib], limit=300, unit="MiB")


# -- files ----------------------------------------------------------------------------------------------


def _alone(home: Path, to: Path, creditors: Sequence[Creditor]) -> Done:
    """Everybody's file is received in a copy of a home, and taken in and published in a process of its own."""
    shutil.copytree(home, to)
    _receive(to, creditors)
    os.sync()
    done = work(to)
    shutil.rmtree(to)
    return done


def _receive(home: Path, creditors: Sequence[Creditor]) -> None:
    house = open_country(home)
    try:
        context = house.pipeline()
        for creditor in creditors:
            put(context, creditor.id, _file(creditor))
    finally:
        house.close()


def _file(creditor: Creditor, *, part: int = 0) -> bytes:
    """A file of today's."""
    today = _today()
    return month.signal_file(creditor, today.replace(day=1), day=today.day, part=part)


def _today() -> date:
    return local_day(SystemClock().now())
