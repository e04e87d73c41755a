"""A peak day: creditors come within minutes, some slow, some cut off, one hostile, while municipalities read and a
purge runs.

What is compared is a small upload on the busy day beside the same upload when nobody else is there; no honest visit may
fail, memory must stay flat, and at the end everything is accounted for. What happened when is in
`bench/results/peak-day.json`, for the plots.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median, quantiles

import asyncssh

from bench import crowd, servers
from bench.crowd import Crowd, Kind, Outcome, Told, Visit
from bench.measure import Row, cpu_s, held, pss_bytes
from gateway.cli.init import make_home
from gateway.clock import SteppedClock, SystemClock
from gateway.demo.residents import addresses
from gateway.domain.delivery import DeliveryState
from gateway.exchange.context import Exchange
from gateway.exchange.context import Visit as Session
from gateway.exchange.upload import Upload
from gateway.gateway import Gateway, open_gateway
from gateway.pipeline.worker import pending, publish_now, step
from gateway.settings import Home
from gateway.store import status

RESULTS = Path(__file__).parent / "results"
#: A small upload may take so much longer on the busy day, at the median and at p99.
_GOAL = 2.0
#: Memory in the last quarter of the day beside its second quarter.
_FLAT = 1.15
#: What a process may take at its highest, until all of the day is published and listed.
_HIGHEST_MIB = 300
_SECTORS = ("Huur", "Zorg", "Energie", "Water")
_HOSTILE = "vreemd"
#: What a purge finds was received so long ago.
_LONG_AGO = timedelta(days=215)
_HEADER = (
    "signaal_id;sector;klantnummer;achternaam;geboortedatum;postcode;huisnummer;bedrag;"
    "dagen_achterstand;sociaal_incasso"
)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the day is. A creditor comes once on the busy day, unless it is among the others named here."""

    creditors: int
    #: of a normal file, and of a large one
    rows: int
    large_rows: int
    large: int
    slow: int
    dropping: int
    #: of all municipalities together
    readings: int
    hostile: int
    #: signals whose day is over
    due: int
    quiet: int
    quiet_s: float
    busy_s: float


FULL = Scale(
    creditors=400,
    rows=200,
    large_rows=5_000,
    large=4,
    slow=20,
    dropping=40,
    readings=90,
    hostile=30,
    due=10_000,
    quiet=120,
    quiet_s=30,
    busy_s=90,
)
QUICK = Scale(
    creditors=40,
    rows=100,
    large_rows=2_000,
    large=1,
    slow=3,
    dropping=6,
    readings=8,
    hostile=3,
    due=400,
    quiet=20,
    quiet_s=3,
    busy_s=6,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One process of the gateway at one moment."""

    #: seconds after the beginning of the day
    at_s: float
    process: str
    pss_mib: float
    cpu_s: float


@dataclass(slots=True, kw_only=True)
class Day:
    """What was seen of a day."""

    told: list[Told] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    #: from the end of the busy part until nothing was under way
    drained_s: float = 0.0
    purge_s: tuple[float, float] = (0.0, 0.0)
    problems: list[str] = field(default_factory=list)

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all visits."""
        return [outcome for told in self.told for outcome in told.outcomes]


def measure(folder: Path, scale: Scale, tell: Tell, only: Sequence[str]) -> Iterator[Row]:
    """The peak day, and its figures.

    Raises:
        RuntimeError: an honest visitor failed, the hostile one got something, or something is not accounted for.
    """
    if only and not any(name.startswith("peak-day") for name in only):
        return
    day = live(folder / "peak-day", scale, tell)
    write_series(day, scale, RESULTS / "peak-day.json")
    yield from rows(day, scale)
    if day.problems:
        raise RuntimeError("; ".join(day.problems))


def live(folder: Path, scale: Scale, tell: Tell) -> Day:
    """A whole day, in a folder of its own."""
    folder.mkdir(parents=True)
    tell("peak day: partners, keys, files")
    town = _Town.build(folder, scale)
    tell("peak day: what a purge will find")
    _receive_long_ago(town, scale)
    day = Day()
    with _served(town) as server:
        clients = [
            _start_client(
                folder / f"client-{number}.json", Crowd(port=server.port, keys=town.keys, visits=visits)
            )
            for number, visits in enumerate((_measured(town, scale), _others(town, scale)))
        ]
        begins, busy_from = _begin(clients), scale.quiet_s + 1.0
        ends = begins + busy_from + scale.busy_s
        with _sampled(server, begins, day.samples):
            tell("peak day: quiet")
            _sleep_until(begins + busy_from + scale.busy_s / 4)
            tell("peak day: busy, and a purge")
            purged = time.monotonic() - begins
            day.purge_s = (round(purged, 2), round(purged + _command(town.home, "retention", "run"), 2))
            day.told += [client.finish() for client in clients]
            tell("peak day: until nothing is under way")
            _command(town.home, "wait", "--idle", "--timeout", "900")
            day.drained_s = round(time.monotonic() - ends, 2)
        day.problems += _problems(town, day)
    return day


def rows(day: Day, scale: Scale) -> Iterator[Row]:
    """The figures of a day."""
    for figure, times in {
        "peak-day-connect-to-ok": _times(day.outcomes, "connect_to_ok_s"),
        "peak-day-close-to-ok": _times(day.outcomes, "close_to_ok_s"),
    }.items():
        for name, at in {"p50": 50, "p99": 99}.items():
            quiet, busy = _percentile(times["quiet"], at), _percentile(times["busy"], at)
            yield _figure(f"{figure}-{name}", "quiet", busy, quiet, _GOAL, "ms", len(times["busy"]))
    for process, (early, late) in _memory(day, scale).items():
        yield _figure(f"peak-day-memory-{process}", "its second quarter", late, early, _FLAT, "MiB", 1)
    highest = max(sample.pss_mib for sample in day.samples)
    yield held("peak-day-memory-highest", [highest], limit=_HIGHEST_MIB, unit="MiB")


def _figure(
    figure: str, peer: str, value: float, peer_value: float, goal: float, unit: str, rounds: int
) -> Row:
    ratio = round(value / peer_value, 3)
    return Row(
        figure=figure,
        peer=peer,
        ratio=ratio,
        min=ratio,
        max=ratio,
        goal=goal,
        at_least=False,
        value=round(value, 2),
        peer_value=round(peer_value, 2),
        unit=unit,
        rounds=rounds,
    )


def _times(outcomes: Sequence[Outcome], name: str) -> Mapping[str, list[float]]:
    """Part of the day -> milliseconds."""
    found: dict[str, list[float]] = {"quiet": [], "busy": []}
    for outcome in outcomes:
        taken = getattr(outcome, name)
        if outcome.part in found and taken is not None:
            found[outcome.part].append(taken * 1000)
    return found


def _percentile(times: Sequence[float], at: int) -> float:
    return quantiles(times, n=100, method="inclusive")[at - 1]


def _memory(day: Day, scale: Scale) -> Mapping[str, tuple[float, float]]:
    """Process -> its memory in the second and in the last quarter of the busy part, in MiB."""
    begins, found = scale.quiet_s + 1.0, {}
    for process in {sample.process for sample in day.samples}:
        early, late = (
            [
                each.pss_mib
                for each in day.samples
                if each.process == process
                and quarter <= (each.at_s - begins) / scale.busy_s * 4 < quarter + 1
            ]
            for quarter in (1, 3)
        )
        if early and late:
            found[process] = (median(early), median(late))
    return dict(sorted(found.items()))


def write_series(day: Day, scale: Scale, path: Path) -> None:
    """What happened when, for plots."""
    path.parent.mkdir(exist_ok=True)
    found = {
        "scale": asdict(scale),
        "busy_from_s": scale.quiet_s + 1.0,
        "purge_s": day.purge_s,
        "drained_s": day.drained_s,
        "clients": [{"cpu_s": told.cpu_s, "lag_s": told.lag_s} for told in day.told],
        "uploads": [
            [each.part, each.at_s, each.connect_to_ok_s, each.close_to_ok_s]
            for each in day.outcomes
            if each.part
        ],
        "memory": [[each.at_s, each.process, each.pss_mib, each.cpu_s] for each in day.samples],
        "problems": day.problems,
    }
    path.write_text(json.dumps(found) + "\n")


# -- who comes, and when --------------------------------------------------------------------------------


def _measured(town: _Town, scale: Scale) -> list[Visit]:
    """Small uploads at a steady pace: when nobody else is there, files that are refused by their first bytes; then
    those of the busy day.
    """
    quiet = [
        Visit(
            kind=Kind.UPLOAD,
            partner=town.creditors[number % len(town.creditors)],
            at_s=number * scale.quiet_s / scale.quiet,
            file=str(town.refused),
            part="quiet",
        )
        for number in range(scale.quiet)
    ]
    busy = [
        Visit(
            kind=Kind.UPLOAD,
            partner=partner,
            at_s=scale.quiet_s + 1 + number * scale.busy_s * 0.9 / len(town.normal),
            file=str(town.files[partner]),
            part="busy",
        )
        for number, partner in enumerate(town.normal)
    ]
    return quiet + busy


def _others(town: _Town, scale: Scale) -> list[Visit]:
    """Everybody else on the busy day, spread over it."""
    random, begins = Random(7), scale.quiet_s + 1
    found = []
    for kind, partners in town.others.items():
        for number, partner in enumerate(partners):
            share = (number + random.random()) / len(partners) * (0.5 if kind is Kind.SLOW else 0.8)
            file = town.files.get(partner, "")
            found.append(
                Visit(kind=kind, partner=partner, at_s=begins + share * scale.busy_s, file=str(file))
            )
    return found


# -- the gateway, its partners and their files ---------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Town:
    """A home with its partners, and what they will send."""

    home: Path
    keys: Mapping[str, str]
    creditors: Sequence[str]
    #: creditors that send a normal file in a normal way
    normal: Sequence[str]
    #: what others do -> who, once for each time
    others: Mapping[Kind, Sequence[str]]
    files: Mapping[str, Path]
    #: as large as a normal file; refused by its first bytes
    refused: Path
    #: when it was made: what was received before, was long ago
    opened: datetime

    @classmethod
    def build(cls, folder: Path, scale: Scale) -> _Town:
        """Make it."""
        home, codes = folder / "home", list(addresses())
        make_home(Home(root=home))
        for code in codes:
            (home / "config" / "municipalities" / f"{code}.toml").write_text('[publish]\nwhen = "arrival"\n')
        keys = folder / "keys"
        keys.mkdir()
        creditors = [f"creditor{number:03}" for number in range(scale.creditors)]
        told = {each: f'sectors = ["{_SECTORS[at % 4]}"]' for at, each in enumerate(creditors)}
        readers = {f"gemeente{code}".lower(): f'serves = ["{code}"]' for code in codes}
        made = {
            **{each: _add(home, keys, each, "creditor", more) for each, more in told.items()},
            **{each: _add(home, keys, each, "municipality", more) for each, more in readers.items()},
            _HOSTILE: _add(home, keys, _HOSTILE, "creditor", 'sectors = ["Huur"]'),
        }
        settings = home / "config" / "gateway.toml"
        settings.write_text(
            settings.read_text().replace("[guard]", f'[guard]\nsafe_networks = ["{crowd.HONEST}/32"]')
        )
        ends = [scale.slow, scale.slow + scale.dropping, scale.slow + scale.dropping + scale.large]
        slow, dropping, large = (
            creditors[: ends[0]],
            creditors[ends[0] : ends[1]],
            creditors[ends[1] : ends[2]],
        )
        files = {}
        for number, creditor in enumerate(creditors):
            path = folder / f"{creditor}.csv"
            rows = scale.large_rows if creditor in large else scale.rows // (10 if creditor in slow else 1)
            _write_file(path, creditor, rows, _SECTORS[number % 4])
            files[creditor] = path
        refused = folder / "refused.pdf"
        refused.write_bytes(b"%PDF" + bytes(files[creditors[-1]].stat().st_size - 4))
        names = list(readers)
        return cls(
            home=home,
            keys=made,
            creditors=creditors,
            normal=creditors[ends[2] :],
            others={
                Kind.SLOW: slow,
                Kind.DROPPING: dropping,
                Kind.UPLOAD: large,
                Kind.READER: [names[at % len(names)] for at in range(scale.readings)],
                Kind.SLOW_READER: names[:2],
                Kind.HOSTILE: [_HOSTILE] * scale.hostile,
            },
            files=files,
            refused=refused,
            opened=SystemClock().now(),
        )


def _add(home: Path, keys: Path, partner: str, role: str, more: str) -> str:
    """A partner's file as an administrator may write it, and the file of its private key."""
    pair, path = asyncssh.generate_private_key("ssh-ed25519"), keys / partner
    path.write_bytes(pair.export_private_key("openssh"))
    path.chmod(0o600)
    public = pair.export_public_key("openssh").decode().strip()
    (home / "config" / "partners" / f"{partner}.toml").write_text(
        f'id = "{partner}"\nname = "{partner}"\nrole = "{role}"\n{more}\n\n'
        f'[[keys]]\npublic_key = "{public}"\n'
    )
    return str(path)


def _write_file(path: Path, creditor: str, count: int, sector: str) -> None:
    """A signal file: residents at real addresses of the six municipalities, the same for every run."""
    random, known = Random(creditor), [each for found in addresses().values() for each in found]
    with path.open("w", newline="") as file:
        file.write(_HEADER + "\r\n")
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        for number in range(count):
            at = random.choice(known)
            writer.writerow(
                (
                    f"{creditor}-{number}",
                    sector,
                    f"k{number}",
                    random.choice(("Hoekstra", "Dijkstra", "Kowalczyk", "Wiersma", "Öztürk")),
                    f"19{random.randrange(40, 99)}-0{random.randrange(1, 10)}-1{random.randrange(10)}",
                    at.postcode,
                    at.number,
                    f"{random.randrange(40, 2_000)},00",
                    random.randrange(31, 200),
                    "J",
                )
            )


def _receive_long_ago(town: _Town, scale: Scale) -> None:
    """Signals that came and were passed on so long ago that a purge lets them go today."""
    clock = SteppedClock(SystemClock().now() - _LONG_AGO)
    house = open_gateway(town.home, clock)
    try:
        house.make_keys()
        context, creditor = house.pipeline(), town.creditors[-1]
        path = town.home.parent / "long-ago.csv"
        _write_file(path, f"{creditor}-due", scale.due, _SECTORS[(scale.creditors - 1) % 4])
        receive(house, creditor, path)
        while step(context):
            pass
        publish_now(context, list(addresses()))
    finally:
        house.close()


def receive(house: Gateway, creditor: str, path: Path) -> None:
    """Receive a file while nobody serves: what an upload does, without its session."""
    exchange = Exchange(
        store=house.store,
        keyring=house.keyring,
        blobs=house.blobs,
        indexer=house.indexer,
        clock=house.clock,
        partners=house.settings.partners,
        node=house.node,
        on_arrival=lambda: None,
    )
    session = Session(
        partner=house.settings.partners[creditor],
        fingerprint="",
        address=crowd.HONEST,
        client="",
        session_id="",
    )
    upload, content = Upload(exchange, session, path.name), memoryview(path.read_bytes())
    for start in range(0, len(content), 1 << 18):
        upload.write(start, content[start : start + (1 << 18)])
    upload.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    port: int
    pid: int
    log: Path


@contextmanager
def _served(town: _Town) -> Iterator[_Server]:
    """`gateway serve` in processes of its own."""
    port = servers.free_port()
    words = ("--home", str(town.home), "serve", "--host", "127.0.0.1", "--port", str(port))
    log = town.home.parent / "gateway.log"
    with log.open("w") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *words], stdout=subprocess.DEVNULL, stderr=told
        )
    try:
        servers._wait(port, process)
        yield _Server(port=port, pid=process.pid, log=log)
    finally:
        servers._stop(process)


def _command(home: Path, *words: str) -> float:
    """A command of an administrator beside the gateway; it must succeed. How long it took, in seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--home", str(home), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"gateway {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}"
        )
    return time.monotonic() - began


# -- watching -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Client:
    """A client process."""

    process: multiprocessing.process.BaseProcess
    day: Connection
    result: Path

    def finish(self) -> Told:
        """Wait for its last visit; what it found."""
        self.process.join()
        if self.process.exitcode:
            raise RuntimeError(f"a client ended with {self.process.exitcode}")
        return crowd.read(self.result)


def _start_client(result: Path, visits: Crowd) -> _Client:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=crowd.attend, args=(visits, result, theirs))
    process.start()
    return _Client(process, ours, result)


def _begin(clients: Sequence[_Client]) -> float:
    """Begin the day once all are ready; when it begins."""
    for client in clients:
        client.day.recv()
    begins = time.monotonic() + 0.2
    for client in clients:
        client.day.send(begins)
    return begins


@contextmanager
def _sampled(server: _Server, begins: float, samples: list[Sample]) -> Iterator[None]:
    """Look at each process of the gateway every half second."""
    names, over = _names(server), threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            at_s = round(time.monotonic() - begins, 2)
            for pid, name in names.items():
                if pss := pss_bytes(pid):
                    samples.append(Sample(at_s, name, round(pss / 2**20, 2), round(cpu_s(pid), 2)))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _names(server: _Server) -> Mapping[int, str]:
    """What each of its processes is; those of one part are numbered."""
    parts = servers.processes(server.log)
    several = Counter(parts.values())
    numbers = {part: count(1) for part in several}
    named = {
        pid: f"{part}-{next(numbers[part])}" if several[part] > 1 else part for pid, part in parts.items()
    }
    return {server.pid: "supervisor", **named}


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


# -- the end of the day ---------------------------------------------------------------------------------


def _problems(town: _Town, day: Day) -> list[str]:
    """What went wrong, in words; empty when nobody failed and everything is accounted for."""
    found = [f"{count} x {what}" for what, count in crowd.failures(day.outcomes).items()]
    for words in (("ledger", "check"), ("audit", "verify")):
        try:
            _command(town.home, *words)
        except RuntimeError as exc:
            found.append(str(exc))
    house = open_gateway(town.home)
    try:
        with house.store.read() as conn:
            counts = status.count_by_state(conn)
            known = [*status.deliveries(conn), *status.deliveries(conn, state=DeliveryState.PURGED)]
        if pending(house.pipeline()):
            found.append("something is still under way")
    finally:
        house.close()
    # what a hostile visitor sends by the rules is received too
    there = sum(
        each.received_at is not None and each.received_at > town.opened and each.partner_id != _HOSTILE
        for each in known
    )
    received = sum(outcome.received for outcome in day.outcomes)
    if there != received:
        found.append(f"{received} files were acknowledged and {there} are on record")
    if left := {str(state): counts[state] for state in _UNDER_WAY if counts.get(state)}:
        found.append(f"left: {left}")
    return found


_UNDER_WAY = (
    DeliveryState.RECEIVING,
    DeliveryState.STAGED,
    DeliveryState.ARRIVED,
    DeliveryState.PROCESSING,
    DeliveryState.FAILED,
    DeliveryState.PURGING,
)
