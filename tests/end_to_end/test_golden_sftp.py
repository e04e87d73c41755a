"""The golden scenarios over SFTP: uploaded by real clients to a daemon that is killed half-way, read by real clients.

The clock is the test's; the comparison is that of the pure functions' test.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from gateway.clock import AMSTERDAM, SteppedClock
from gateway.domain.partner import Box
from gateway.gateway import Gateway, open_gateway
from gateway.pipeline.ledger import check
from gateway.pipeline.worker import pending
from gateway.store.reference import load

HERE = Path(__file__).parent
DRIVER = HERE / "stepped_daemon.py"

#: Without exclusions; among them every rule, ranks, W that moves, I, D51, and one of 86 rows from ten creditors.
NAMES = (
    "rank-midden-drenthe",
    "changed-withdrawn-superseded",
    "three-months-three-kinds",
    "bridging",
    "w-moves",
    "midden-drenthe-2",
)


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"sftp_{name}", HERE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


golden_pipeline = _module("test_golden_pipeline")
world_of_files, answers = golden_pipeline.World, golden_pipeline.answers
MUNICIPALITY: str = golden_pipeline.MUNICIPALITY


@dataclass
class Port(world_of_files):
    """The world of a scenario behind a door: files go in and come out over SFTP."""

    home: Path = Path()
    keys: Path = Path()
    gateway: Gateway | None = None
    process: subprocess.Popen[str] | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _clients: dict[str, paramiko.SFTPClient] = field(default_factory=dict)
    _port: int = 0

    # -- the daemon ------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process, at the clock's instant."""
        self.process = subprocess.Popen(
            [sys.executable, DRIVER, self.home, self.clock.now().isoformat()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self._port = int(self.process.stdout.readline())

    def kill(self) -> None:
        """Kill -9: nothing can be tidied up."""
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None
        self._clients.clear()
        self._open.close()

    def end(self) -> None:
        """Nothing of it is left."""
        self.kill()
        if self.gateway:
            self.gateway.close()

    def move_to(self, at: datetime) -> None:
        """Both clocks."""
        self.clock.set(at)
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{self.clock.now().isoformat()}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"

    def idle(self) -> None:
        """Wait until nothing is under way."""
        assert self.gateway
        end = time.monotonic() + 60
        while pending(self.context):
            assert time.monotonic() < end
            self.gateway.wake()
            time.sleep(0.02)

    # -- the clients -----------------------------------------------------------------------------

    def client(self, partner: str) -> paramiko.SFTPClient:
        """A partner's session; one a partner, until the daemon is killed."""
        if partner not in self._clients:
            transport = self._open.enter_context(paramiko.Transport(("127.0.0.1", self._port)))
            key = paramiko.Ed25519Key.from_private_key_file(str(self.keys / f"{partner}.key"))
            transport.connect(username=partner, pkey=key)
            client = paramiko.SFTPClient.from_transport(transport)
            assert client
            self._clients[partner] = client
        return self._clients[partner]

    def place(self, number: int, delivery: dict[str, Any]) -> None:
        """A creditor uploads a file at its time."""
        self.move_to(datetime.fromisoformat(delivery["received"]).replace(tzinfo=AMSTERDAM))
        rows = [
            row | {"bedrag": f"{row.get('bedrag', 0) / 100:.2f}", "volgnummer": number}
            for row in delivery["rows"]
        ]
        text = io.StringIO()
        header = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, header, delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
        self.client(delivery["creditor"]).putfo(io.BytesIO(text.getvalue().encode()), f"inbox/{number}.csv")

    def read(self, partner: str, box: Box, end: str) -> dict[str, str]:
        """What a partner downloads."""
        client = self.client(partner)
        found = {}
        if box in client.listdir("."):
            for name in client.listdir(box):
                if name.endswith(end):
                    with client.open(f"{box}/{name}") as file:
                        found[name] = file.read().decode("utf-8-sig")
        return found


def one_by_one(town: Port, deliveries: list[dict[str, Any]]) -> None:
    """Each file is processed and published before the next; killed with the middle one just received."""
    for number, delivery in enumerate(deliveries, 1):
        town.place(number, delivery)
        if number == (len(deliveries) + 1) // 2:
            town.kill()
            town.start()
        town.idle()


def piled_up(town: Port, deliveries: list[dict[str, Any]]) -> None:
    """Files pile up in two heaps while nothing is processed; killed before the first heap is."""
    middle = (len(deliveries) + 1) // 2
    for heap in (range(middle), range(middle, len(deliveries))):
        with town.context.store.exclusive():
            for number in heap:
                town.place(number + 1, deliveries[number])
            if heap.start == 0:
                town.kill()
        if town.process is None:
            town.start()
        town.idle()


@pytest.fixture
def port(template, tmp_path) -> Iterator[Callable[[dict[str, Any]], Port]]:
    """Makes the gateway of a scenario, with its configuration in files, and opens its door."""
    made: list[Port] = []

    def make(scenario: dict[str, Any]) -> Port:
        home = tmp_path / "home"
        shutil.copytree(template.home, home)
        for name in ("partners", "municipalities"):
            shutil.rmtree(home / "config" / name)
            (home / "config" / name).mkdir()
        creditors = sorted({delivery["creditor"] for delivery in scenario["deliveries"]})
        for partner in (*creditors, MUNICIPALITY):
            key = _new_key(tmp_path / f"{partner}.key")
            what = (
                {"role": "municipality", "serves": sorted(scenario["policies"])}
                if partner == MUNICIPALITY
                else {"role": "creditor", "sectors": ["Huur", "Energie", "Water", "Zorg"]}
            )
            told = {"id": partner, "name": partner, **what, "keys": [{"public_key": key}]}
            (home / "config" / "partners" / f"{partner}.toml").write_text(_toml(told))
        for code, policy in scenario["policies"].items():
            text = _toml({**policy, "publish": {"settle_s": 0}})
            (home / "config" / "municipalities" / f"{code}.toml").write_text(text)
        (home / "data" / "reference.db").unlink(missing_ok=True)
        load(home / "data" / "reference.db", ((*at, code) for at, code in answers.addresses().items()))
        first = datetime.fromisoformat(scenario["deliveries"][0]["received"]).replace(tzinfo=AMSTERDAM)
        clock = SteppedClock(first - timedelta(days=1))
        gateway = open_gateway(home, clock)
        town = Port(gateway.pipeline(), None, clock, home=home, keys=tmp_path, gateway=gateway)
        made.append(town)
        town.start()
        return town

    yield make
    for town in made:
        town.end()


def _new_key(path: Path) -> str:
    """A partner's key pair: the private key goes to a file, the public key is told."""
    pair = asyncssh.generate_private_key("ssh-ed25519")
    path.write_bytes(pair.export_private_key("openssh"))
    return pair.export_public_key("openssh").decode().strip()


def _toml(told: dict[str, Any]) -> str:
    """A configuration file; JSON's strings, numbers and lists are TOML's."""
    plain = {name: value for name, value in told.items() if not isinstance(value, dict) and name != "keys"}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in plain.items())
    for key in told.get("keys", ()):
        text += f"[[keys]]\n{_toml(key)}"
    for name, value in told.items():
        if isinstance(value, dict):
            text += _table(name, value)
    return text


def _table(name: str, value: dict[str, Any]) -> str:
    inner = {key: each for key, each in value.items() if isinstance(each, dict)}
    own = {key: each for key, each in value.items() if key not in inner}
    text = f"[{name}]\n" + "".join(f"{key} = {json.dumps(each)}\n" for key, each in own.items())
    return text + "".join(_table(f"{name}.{key}", each) for key, each in inner.items())


@pytest.mark.parametrize("process", [one_by_one, piled_up], ids=lambda process: process.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_scenario_over_sftp(name: str, process: Any, port: Any) -> None:
    """However files pile up and whenever the daemon is killed, partners read the same meldingen, classes, rules, ranks."""
    golden = golden_pipeline.read_scenario(answers.TESTS / "golden" / "matching" / f"{name}.json")
    assert not golden["scenario"]["exclusions"] or name == "midden-drenthe-2"
    town = port(golden["scenario"])
    process(town, golden["scenario"]["deliveries"])
    assert town.refused() == sorted(golden["expected"]["refused"])
    assert sorted([*who, state] for who, state in town.named().values()) == sorted(
        golden["expected"]["signals"]
    )
    answers.check_meldingen(town.meldingen(), golden["expected"]["meldingen"])
    assert check(town.context).differences == ()
