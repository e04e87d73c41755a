"""The command line on a home of its own: in this process, or as an administrator's shell runs it beside a daemon."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh
import pytest
import structlog

from gateway.cli import main
from gateway.clock import SteppedClock, SystemClock
from gateway.daemon import Daemon
from gateway.exchange.context import Visit
from gateway.exchange.upload import Upload
from gateway.gateway import Gateway, open_gateway
from gateway.pipeline.ledger import check
from gateway.pipeline.worker import step

#: partner -> what `gateway partner add` is told of it
PARTNERS: Mapping[str, tuple[str, ...]] = {
    "woonservice": ("--role", "creditor", "--sector", "Huur"),
    "dezorgkas": ("--role", "creditor", "--sector", "Zorg"),
    "middendrenthe": ("--role", "municipality", "--serves", "GM1731"),
}
HEADER = (
    "signaal_id;sector;klantnummer;achternaam;postcode;huisnummer;bedrag;dagen_achterstand;sociaal_incasso\n"
)


class Ran(NamedTuple):
    """What a command gave: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the home is, or will be."""
    return tmp_path / "home"


@pytest.fixture
def gateway(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ran]]:
    """Run `gateway ARGS` in this process, by default on the home."""
    monkeypatch.setenv("GATEWAY_HOME", str(home))

    def run(*args: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["gateway", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    yield run
    structlog.reset_defaults()


@pytest.fixture
def key_file(tmp_path: Path) -> Callable[..., Path]:
    """Make a key pair; the path of the public key's file."""

    def make(name: str, comment: str = "") -> Path:
        key = asyncssh.generate_private_key("ssh-ed25519", comment=comment or None)
        path = tmp_path / f"{name}.pub"
        key.write_public_key(path)
        return path

    return make


# -- a home with partners, beside which a daemon may run -------------------------------------------


def run_here(*args: str | Path) -> Ran:
    """`gateway ARGS` in this process, which spares its start."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr(sys, "argv", ["gateway", *map(str, args)])
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            structlog.reset_defaults()
    return Ran(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def set_up(*args: str | Path) -> None:
    """`gateway ARGS` in this process; it must succeed."""
    ran = run_here(*args)
    assert ran.code == 0, ran.err


@dataclass
class House:
    """A home with a municipality and two creditors; its daemon is a process of its own."""

    path: Path
    daemon: subprocess.Popen[bytes] | None = None
    logs: list[Path] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def status_file(self) -> Path:
        return self.home / "data/run/gateway.json"

    def edit_policy(self, old: str, new: str) -> None:
        """Change the municipality's policy, as an administrator does."""
        file = self.home / "config/municipalities/GM1731.toml"
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))

    def run(self, *args: str | Path) -> Ran:
        """A command on this home."""
        return run_here("--home", self.home, *args)

    def json(self, *args: str | Path) -> Any:
        """What a command tells programs."""
        ran = self.run(*args, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    def serve(self, **options: Any) -> dict[str, Any]:
        """`gateway serve --port 0`, until it is ready; what it tells of itself."""
        log = self.path / f"serve-{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("wb") as out:
            command = [sys.executable, "-m", "gateway", "--home", self.home, "serve", "--port", "0"]
            self.daemon = subprocess.Popen(command, stdout=out, stderr=out, **options)
        end = time.monotonic() + 30
        while not self._is_ready():
            assert self.daemon.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        return json.loads(self.status_file.read_text())

    def _is_ready(self) -> bool:
        assert self.daemon
        return (
            self.status_file.exists() and json.loads(self.status_file.read_text())["pid"] == self.daemon.pid
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the daemon; its exit status."""
        assert self.daemon
        self.daemon.send_signal(number)
        return self.daemon.wait(timeout=30)

    def events(self) -> list[dict[str, Any]]:
        """What the last daemon logged."""
        return [json.loads(line) for line in self.logs[-1].read_text().splitlines()]

    def sftp(self, user: str, *commands: str) -> str:
        """OpenSSH's sftp in batch mode; what it printed."""
        port = json.loads(self.status_file.read_text())["port"]
        known = self.path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {(self.home / 'keys/host_ed25519.pub').read_text()}")
        told = {
            "Port": port,
            "User": user,
            "IdentityFile": self.path / f"{user}.key",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null",
        }
        options = [word for name, value in told.items() for word in ("-o", f"{name}={value}")]
        done = subprocess.run(
            ["sftp", "-F", "/dev/null", *options, "-b", "-", "127.0.0.1"],
            input="\n".join(commands) + "\n",
            capture_output=True,
            text=True,
            cwd=self.path,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, name: str, *rows: str) -> Path:
        """A signal file on a creditor's disk."""
        path = self.path / name
        path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
        return path

    def collect(self, user: str, box: str) -> dict[str, bytes]:
        """Everything that lies in a box: name -> contents."""
        folder = self.path / f"from-{user}-{box}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.sftp(user, f"-get {box}/* {folder}")
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    @contextmanager
    def opened(self, clock: SteppedClock | None = None) -> Iterator[Gateway]:
        """The same home, seen from here."""
        opened = open_gateway(self.home, clock)
        try:
            yield opened
        finally:
            opened.close()

    def receive(self, user: str, name: str, content: bytes, clock: SteppedClock | None = None) -> None:
        """Receive a file while no worker runs: what an upload does, without its session."""
        with self.opened(clock) as opened:
            visit = Visit(
                partner=opened.settings.partners[user],
                fingerprint="",
                address="127.0.0.1",
                client="",
                session_id="",
            )
            opened.make_keys()
            upload = Upload(Daemon(opened)._exchange(), visit, name)
            upload.write(0, memoryview(content))
            upload.close()

    def fail(self, user: str, *rows: str) -> str:
        """Receive a file and let the real worker crash on it five times: its partner's file is away; its id."""
        clock = SteppedClock(SystemClock().now() - timedelta(hours=1))
        self.receive(user, "signalen.csv", self.write("failing.csv", *rows).read_bytes(), clock)
        file = self.home / "config/partners" / f"{user}.toml"
        away = file.rename(file.with_suffix(".away"))
        with self.opened(clock) as opened:
            for _ in range(5):
                step(opened.pipeline())
                clock.step(timedelta(minutes=2))
        away.rename(file)
        structlog.reset_defaults()
        (failed,) = self.json("deliveries", "list", "--state", "failed")
        return str(failed["id"])


@pytest.fixture(scope="session")
def made_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house to copy, made by the commands that an administrator types."""
    house = House(tmp_path_factory.mktemp("house"))
    set_up("init", house.home)
    set_up("--home", house.home, "municipality", "add", "GM1731")
    house.edit_policy("settle_s = 5 ", "settle_s = 0 ")  # nobody here waits for what might arrive too
    for partner, told in PARTNERS.items():
        key = asyncssh.generate_private_key("ssh-ed25519")
        file = house.path / f"{partner}.key"
        file.write_bytes(key.export_private_key("openssh"))
        file.chmod(0o600)
        key.write_public_key(file.with_suffix(".pub"))
        set_up("--home", house.home, "partner", "add", partner, *told, "--key", file.with_suffix(".pub"))
    return house.path


#: Tests that damage a home on purpose, and what the ledger must tell of it.
DAMAGED: Mapping[str, set[str]] = {}
#: Tests after which the home can't be opened: its configuration is wrong.
UNOPENED = frozenset({"test_a_wrong_configuration_starts_nothing"})


def check_ledger(test: str, house: House) -> None:
    """After what a start does with what a kill left, everything that came in is accounted for (spec 1)."""
    with house.opened() as opened:
        Daemon(opened).recover()
        found = check(opened.pipeline()).differences
    assert {str(each.check) for each in found} == DAMAGED.get(test, set()), found


@pytest.fixture
def house(made_house: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    """A house whose daemon is yet to be started."""
    path = tmp_path / "house"
    shutil.copytree(made_house, path)
    house = House(path)
    yield house
    if house.daemon and house.daemon.poll() is None:
        os.kill(house.daemon.pid, signal.SIGKILL)
        house.daemon.wait()
    if request.node.originalname not in UNOPENED:
        check_ledger(request.node.originalname, house)
