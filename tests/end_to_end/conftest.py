"""A whole gateway on loopback: a home made by the real commands, a real daemon, real SFTP clients."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import shutil
import signal as signals
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
import structlog
from sqlalchemy import insert, select, update

from gateway import logs
from gateway.audit.log import Entry, record_all
from gateway.audit.tiles import WIDTH
from gateway.cli import main
from gateway.clock import AMSTERDAM, Clock, SteppedClock
from gateway.daemon import Daemon
from gateway.exchange.context import Visit
from gateway.exchange.upload import Upload
from gateway.gateway import Gateway, open_gateway
from gateway.pipeline.context import Context
from gateway.pipeline.ledger import check
from gateway.pipeline.worker import due_municipalities, pending
from gateway.store import blobs as known_blobs
from gateway.store import queue
from gateway.store.status import audit_figures
from gateway.store.tables import AnswerRow, Delivery

NOW = datetime(2026, 11, 3, 9, 0, tzinfo=AMSTERDAM)

#: partner -> what `gateway partner add` is told of it.
PARTNERS: Mapping[str, tuple[str, ...]] = {
    "woonservice": ("--role", "creditor", "--sector", "Huur"),
    "dezorgkas": ("--role", "creditor", "--sector", "Zorg"),
    "stroomhuis": ("--role", "creditor", "--sector", "Energie"),
    "vitens": ("--role", "creditor", "--sector", "Water"),
    "middendrenthe": ("--role", "municipality", "--serves", "GM1731"),
    "dronten": ("--role", "municipality", "--serves", "GM0303"),
}


def run_gateway(*args: str | Path) -> None:
    """The command line, in this process; it must succeed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gateway", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code


@dataclass(frozen=True)
class Template:
    """A home to copy, and the private keys of its partners."""

    home: Path
    keys: Mapping[str, Path]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A home with every partner, made by the commands that an administrator types."""
    path = tmp_path_factory.mktemp("template")
    home, keys = path / "home", {}
    run_gateway("init", home)
    for code in ("GM1731", "GM0303"):
        run_gateway("--home", home, "municipality", "add", code, "--preset", "ris")
    for partner, told in PARTNERS.items():
        keys[partner] = new_key(path, partner)
        public = keys[partner].with_suffix(".pub")
        run_gateway("--home", home, "partner", "add", partner, *told, "--key", public)
    gateway = open_gateway(home, SteppedClock(NOW))
    gateway.make_keys()
    gateway.close()
    return Template(home, keys)


def new_key(folder: Path, name: str) -> Path:
    """A partner's key pair; the private key's file."""
    pair = asyncssh.generate_private_key("ssh-ed25519")
    path = folder / f"{name}.key"
    path.write_bytes(pair.export_private_key("openssh"))
    path.chmod(0o600)
    pair.write_public_key(path.with_suffix(".pub"))
    return path


# -- files that creditors send ---------------------------------------------------------------------


def make_signal(signal_id: str, **values: object) -> dict[str, str]:
    """A row of a signal file; every value can be given."""
    row = {
        "signaal_id": signal_id,
        "sector": "Huur",
        "klantnummer": f"k-{signal_id}",
        "achternaam": "Bakker",
        "geboortedatum": "1980-05-01",
        "postcode": "7938PL",
        "huisnummer": "18",
        "bedrag": "600,00",
        "dagen_achterstand": "60",
        "sociaal_incasso": "J",
    }
    return row | {name: str(value) for name, value in values.items()}


def make_file(*rows: Mapping[str, str], encoding: str = "utf-8") -> bytes:
    """A signal file; its header has every column that a row has."""
    header = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, header, delimiter=";", lineterminator="\r\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(encoding)


@pytest.fixture(scope="session")
def signal() -> Callable[..., dict[str, str]]:
    """Makes rows."""
    return make_signal


@pytest.fixture(scope="session")
def csv_file() -> Callable[..., bytes]:
    """Makes files."""
    return make_file


# -- what partners do ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """How a client ended."""

    status: int
    out: str
    err: str


@dataclass
class Collected:
    """All that lies ready for a partner: path in its boxes -> contents."""

    files: dict[str, bytes] = field(default_factory=dict)

    def _named(self, start: str, end: str) -> list[bytes]:
        return [
            data for name, data in sorted(self.files.items()) if name.startswith(start) and name.endswith(end)
        ]

    @property
    def receipts(self) -> list[dict[str, Any]]:
        """Receipts, in order of receipt."""
        found = [json.loads(data) for data in self._named("returns/ontvangst_", ".json")]
        return sorted(found, key=lambda each: each["bestand"]["ontvangen_op"])

    @property
    def receipt(self) -> dict[str, Any]:
        """The only receipt."""
        (only,) = self.receipts
        return only

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """`signaal_id` and code, file by file; each file's sorted."""
        return [
            told
            for data in self._named("returns/signaalstatus_", ".csv")
            for told in sorted((row["signaal_id"], row["code"]) for row in read_rows(data))
        ]

    @property
    def feedback(self) -> list[list[dict[str, str]]]:
        """The rows of each terugkoppeling, in order of their names."""
        return [read_rows(data) for data in self._named("returns/terugkoppeling_", ".csv")]

    @property
    def published(self) -> list[list[dict[str, str]]]:
        """The rows of each outbox file, in order of publication."""
        return [read_rows(data) for data in self._named("outbox/meldingen_", ".csv")]

    @property
    def lines(self) -> list[dict[str, str]]:
        """The rows of all outbox files."""
        return [row for rows in self.published for row in rows]

    @property
    def manifests(self) -> list[dict[str, Any]]:
        """The manifests of the outbox files, but for the worklist's."""
        return [json.loads(data) for data in self._named("outbox/meldingen_", ".manifest.json")]


def read_rows(data: bytes) -> list[dict[str, str]]:
    """A file of the gateway as rows."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=";"))


@dataclass
class Clients:
    """Partners with their keys and OpenSSH's sftp, before one gateway."""

    path: Path
    home: Path
    keys: Mapping[str, Path]
    port: int = 0
    _turns: int = 0

    def know_host(self, port: int) -> None:
        """The host key was handed over out of band."""
        self.port = port
        public = (self.home / "keys" / "host_ed25519.pub").read_text()
        (self.path / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")

    def options(self, user: str, key: str | None = None) -> list[str]:
        """What ssh, sftp and scp are told."""
        told = {
            "Port": self.port,
            "User": user,
            "IdentityFile": self.keys[key or user],
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.path / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "ConnectTimeout": 10,
        }
        words = [word for name, value in told.items() for word in ("-o", f"{name}={value}")]
        return ["-F", "/dev/null", *words]

    async def sftp(self, user: str, *commands: str, key: str | None = None) -> Finished:
        """OpenSSH's sftp in batch mode."""
        process = await asyncio.create_subprocess_exec(
            *("sftp", *self.options(user, key), "-b", "-", "127.0.0.1"),
            cwd=self.path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(("\n".join(commands) + "\n").encode())
        return Finished(process.returncode or 0, out.decode(), err.decode())

    def _folder(self) -> Path:
        self._turns += 1
        folder = self.path / "partners" / str(self._turns)
        folder.mkdir(parents=True)
        return folder

    def local(self, content: bytes) -> Path:
        """A file on a partner's own disk."""
        path = self._folder() / "file"
        path.write_bytes(content)
        return path

    async def put(self, user: str, name: str, content: bytes) -> None:
        """Upload a file; the partner is told OK."""
        done = await self.sftp(user, f'put "{self.local(content)}" "inbox/{name}"')
        assert done.status == 0, done.err

    async def collect(self, user: str) -> Collected:
        """Download everything that lies ready."""
        folder, found = self._folder(), Collected()
        commands = []
        for box in ("outbox", "returns"):
            (folder / box).mkdir()
            commands.append(f'-get {box}/* "{folder / box}"')
        done = await self.sftp(user, *commands)
        assert done.status == 0, done.err
        for path in folder.rglob("*"):
            if path.is_file():
                found.files[path.relative_to(folder).as_posix()] = path.read_bytes()
        return found

    @contextmanager
    def paramiko(self, user: str) -> Iterator[paramiko.SFTPClient]:
        """A paramiko session; blocks, so it belongs in a thread."""
        with ExitStack() as stack:
            transport = stack.enter_context(_closing(paramiko.Transport(("127.0.0.1", self.port))))
            transport.connect(
                username=user, pkey=paramiko.Ed25519Key.from_private_key_file(str(self.keys[user]))
            )
            client = paramiko.SFTPClient.from_transport(transport)
            assert client
            yield client


@contextmanager
def _closing(transport: paramiko.Transport) -> Iterator[paramiko.Transport]:
    try:
        yield transport
    finally:
        transport.close()


# -- a gateway in this process, whose clock the test moves -----------------------------------------


@dataclass
class Town(Clients):
    """A running gateway, its partners, and the clock that only the test moves."""

    clock: SteppedClock = field(default_factory=lambda: SteppedClock(NOW))
    gateway: Gateway | None = None
    daemon: Daemon | None = None
    log: io.StringIO = field(default_factory=io.StringIO)

    @property
    def context(self) -> Context:
        """The gateway as the pipeline sees it."""
        assert self.gateway
        return self.gateway.pipeline()

    async def start(self) -> None:
        """Open the doors."""
        logs.set_up(json=True, stream=self.log)
        self.gateway = open_gateway(self.home, self.clock)
        self.daemon = Daemon(self.gateway)
        await self.daemon.start(host="127.0.0.1", port=0)
        self.know_host(self.daemon.port)

    async def stop(self) -> None:
        """Close them."""
        if self.daemon and self.gateway:
            await self.daemon.stop()
            self.gateway.close()
        self.daemon = self.gateway = None

    async def restart(self) -> None:
        """As an administrator does after a change of the configuration."""
        await self.stop()
        await self.start()

    async def processed(self) -> None:
        """Wait until every delivery is processed and every crisis published."""
        context = self.context

        def is_done() -> bool:
            with context.store.read() as conn:
                waiting = queue.waiting_count(conn)
            return not waiting and not due_municipalities(context, only_urgent=True)

        await self.until(is_done)

    async def settle(self) -> None:
        """Let the seconds pass in which deliveries gather, and wait until what is due is published."""
        await self.processed()
        self.clock.step(timedelta(seconds=5))
        context = self.context
        await self.until(lambda: not pending(context))

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Wait for what another thread does."""
        assert self.daemon
        try:
            async with asyncio.timeout(30):
                while not await asyncio.to_thread(is_done):
                    self.daemon.worker.wake()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"it never came; the log:\n{self.log.getvalue()}")

    async def put(self, user: str, name: str, content: bytes) -> None:
        """Upload a file, a second after whatever came before."""
        self.clock.step(timedelta(seconds=1))
        await Clients.put(self, user, name, content)

    async def deliver(self, user: str, *rows: Mapping[str, str], name: str = "signalen.csv") -> None:
        """Upload rows as a file and let it be processed."""
        await self.put(user, name, make_file(*rows))
        await self.processed()

    async def send(self, user: str, *rows: Mapping[str, str], name: str = "signalen.csv") -> Collected:
        """Upload rows as a file, let it be processed, and collect what came back."""
        await self.deliver(user, *rows, name=name)
        return await self.collect(user)

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file below `config/`, before a start."""
        edit_file(self.home / "config" / name, old, new)

    def place(self, user: str, name: str, content: bytes) -> None:
        """Receive a file while no worker runs: what an upload does, without its session."""
        gateway = open_gateway(self.home, self.clock)
        visit = Visit(
            partner=gateway.settings.partners[user],
            fingerprint="",
            address="127.0.0.1",
            client="",
            session_id="",
        )
        upload = Upload(Daemon(gateway)._exchange(), visit, name)
        upload.write(0, memoryview(content))
        upload.close()
        gateway.close()

    def leave_behind(self, user: str) -> None:
        """What a kill leaves: a file half received, and two blobs that no row knows, one of them unfinished."""
        gateway = open_gateway(self.home, self.clock)
        visit = Visit(
            partner=gateway.settings.partners[user],
            fingerprint="",
            address="127.0.0.1",
            client="",
            session_id="",
        )
        half = Upload(Daemon(gateway)._exchange(), visit, "half.csv")
        half.write(0, memoryview(bytes(100_000)))
        half.put_on_record()
        orphan = gateway.blobs.create()
        orphan.write(b"x")
        orphan.commit()
        gateway.blobs.create().write(b"x")
        gateway.close()

    def fill_log(self, more: int) -> None:
        """Entries up to 50 before the next full tile, signed, and so many more."""
        gateway = open_gateway(self.home, self.clock)
        with gateway.store.read() as conn:
            there = audit_figures(conn).entries
        for count in (WIDTH + (WIDTH - 50 - there) % WIDTH, more):
            with gateway.store.write() as conn:
                record_all(conn, [self._entry(number) for number in range(count)])
            if count != more:
                gateway.sign()
        gateway.close()

    def _entry(self, number: int) -> Entry:
        return Entry(
            action="test.filled",
            object_id=str(number),
            origin="cli",
            actor="test",
            at=self.clock.now(),
            node="test",
        )

    def crash(self, user: str, *states: str) -> None:
        """What crashes make of a delivery that waits: processing, or failed at last, with a row that was staged."""
        table, today = Delivery.__table__, self.clock.now().date()
        gateway = open_gateway(self.home, self.clock)
        with gateway.store.write() as conn:
            mine = table.c.partner_id == user
            conn.execute(
                insert(AnswerRow).values(
                    delivery_id=conn.execute(select(table.c.id).where(mine)).scalar_one(),
                    arrival=1,
                    line=1,
                    signal_number="",
                    melding_id="",
                    municipality="",
                    partner_id=user,
                    outcome="",
                    on=today,
                    consents=False,
                    due_on=today,
                )
            )
            for state in states:
                conn.execute(update(table).where(mine).values(state=state))
        gateway.close()

    def purge_on(self, at: datetime) -> None:
        """A night's purge while no worker runs."""
        self.clock.set(at)
        gateway = open_gateway(self.home, self.clock)
        gateway.make_keys()
        gateway.purge()
        gateway.close()

    def make_keys_on(self, at: datetime) -> None:
        """A night's keys while no gateway runs."""
        gateway = open_gateway(self.home, SteppedClock(at))
        gateway.make_keys()
        gateway.close()

    def add_partner(self, partner: str, *told: str) -> None:
        """A new partner; known to the gateway when it is started again."""
        key = new_key(self.path, partner)
        self.keys = {**self.keys, partner: key}
        run_gateway("--home", self.home, "partner", "add", partner, *told, "--key", key.with_suffix(".pub"))

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """All rows of a table."""
        assert self.gateway
        with self.gateway.store.read() as conn:
            return [dict(row) for row in conn.execute(table.__table__.select()).mappings()]

    def check_blobs(self) -> None:
        """What lies in the vault is what the database knows: nothing missing, nothing left over."""
        assert self.gateway
        with self.gateway.store.read() as conn:
            known = known_blobs.in_use(conn)
        assert sorted(path.name for path in (self.home / "data" / "vault").iterdir()) == sorted(known)


def edit_file(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in the file once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} in {path}"
    path.write_text(text.replace(old, new))


#: Tests that damage a home on purpose, and what the ledger must tell of it.
DAMAGED: Mapping[str, set[str]] = {}


def check_ledger(test: str, home: Path, clock: Clock | None = None) -> None:
    """After what a start does with what a kill left, everything that came in is accounted for (spec 1)."""
    gateway = open_gateway(home, clock)
    try:
        Daemon(gateway).recover()
        found = check(gateway.pipeline()).differences
    finally:
        gateway.close()
    assert {str(each.check) for each in found} == DAMAGED.get(test, set()), found


@pytest.fixture(scope="session")
def new_town(template: Template) -> Callable[[Path], Town]:
    """Makes a town in a folder, with a gateway that is yet to be started."""

    def make(folder: Path) -> Town:
        shutil.copytree(template.home, folder / "home")
        return Town(folder, folder / "home", dict(template.keys))

    return make


@pytest.fixture
async def closed_town(
    new_town: Callable[[Path], Town], tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Town]:
    """A town whose gateway is yet to be started, so that its configuration can be changed."""
    town = new_town(tmp_path)
    yield town
    await town.stop()
    check_ledger(request.node.originalname, town.home, town.clock)
    structlog.reset_defaults()


@pytest.fixture
async def town(closed_town: Town) -> Town:
    """A town whose gateway is open."""
    await closed_town.start()
    return closed_town


# -- a gateway in a process of its own, which can be killed ----------------------------------------


@dataclass
class Village(Clients):
    """A home whose gateway runs as `gateway serve`, on the clock of the host."""

    process: asyncio.subprocess.Process | None = None
    #: of its process, and the clock of its host as we know it; None: ours
    environment: Mapping[str, str] | None = None
    clock: Clock | None = None

    async def start(self) -> None:
        """`gateway serve --port 0`, until it says that it is ready."""
        status = self.home / "data" / "run" / "gateway.json"
        status.unlink(missing_ok=True)
        with (self.path / "serve.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "--home", self.home, "serve", "--port", "0"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
            )
        async with asyncio.timeout(30):
            while not status.exists():
                assert self.process.returncode is None, (self.path / "serve.log").read_text()
                await asyncio.sleep(0.02)
        self.know_host(json.loads(status.read_text())["port"])

    async def kill(self) -> None:
        """Kill -9: nothing can be tidied up."""
        assert self.process
        self.process.kill()
        assert await self.process.wait() == -signals.SIGKILL

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process
        self.process.terminate()
        return await self.process.wait()

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        with self.opened() as gateway:
            context = gateway.pipeline()
            async with asyncio.timeout(30):
                while await asyncio.to_thread(pending, context):  # noqa: ASYNC110  # another process
                    await asyncio.sleep(0.02)

    @contextmanager
    def opened(self) -> Iterator[Gateway]:
        """The same home, seen from here."""
        gateway = open_gateway(self.home, self.clock)
        try:
            yield gateway
        finally:
            gateway.close()


@pytest.fixture
def new_village(tmp_path: Path) -> Callable[..., Village]:
    """Makes a village without a home, whose partners have their keys."""

    def make(*partners: str, **settings: Any) -> Village:
        keys = {partner: new_key(tmp_path, partner) for partner in partners}
        return Village(tmp_path, tmp_path / "home", keys, **settings)

    return make


@pytest.fixture
async def village(
    template: Template, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Village]:
    """A village whose gateway is yet to be started."""
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    for code in ("GM1731", "GM0303"):
        edit_file(home / "config" / "municipalities" / f"{code}.toml", "settle_s = 5 ", "settle_s = 0 ")
    village = Village(tmp_path, home, template.keys)
    yield village
    if village.process and village.process.returncode is None:
        await village.kill()
    check_ledger(request.node.originalname, home)
