"""All golden scenarios over SFTP: uploaded by real clients to a daemon that is killed half-way, read by real clients.

They share one gateway, as its partners would: the creditors are the same in all of them, but each scenario lies in
municipalities of its own, with postcodes of its own, and its `signaal_id`s begin with its name. The clock is the
test's; the comparison is that of the pure functions' test.

Of the large scenarios, which take their time, half is run in one grouping and half in the other. With `GOLDEN=every` in
the environment all are run in both.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, groupby
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
from sqlalchemy import update

from gateway.clock import AMSTERDAM, SteppedClock, add_months
from gateway.domain.melding import MeldingContent
from gateway.domain.partner import Box
from gateway.gateway import Gateway, open_gateway
from gateway.matching import rank
from gateway.matching.municipality import municipality_of
from gateway.pipeline import snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.ledger import check
from gateway.pipeline.sealing import Opener
from gateway.pipeline.worker import pending
from gateway.settings.gemeenten import gemeente_names
from gateway.store import signals
from gateway.store.reference import load
from gateway.store.tables import MeldingRow, SignalRow

HERE = Path(__file__).parent
DRIVER = HERE / "stepped_daemon.py"
#: Serves every municipality.
MUNICIPALITY = "alle-gemeenten"


def _answers() -> Any:
    """The module that reads and compares the scenarios."""
    path = HERE.parent / "matching" / "test_golden.py"
    spec = importlib.util.spec_from_file_location("golden_answers", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


answers = _answers()
#: All of a grouping is run in its first test.
pytestmark = pytest.mark.timeout(500)


# -- the scenarios, each in municipalities of its own ----------------------------------------------


@dataclass(frozen=True)
class File:
    """A creditor's upload, and when it is received."""

    creditor: str
    at: datetime
    rows: list[dict[str, Any]]


@dataclass
class Land:
    """All scenarios side by side."""

    #: its code here -> scenario, code there
    municipalities: dict[str, tuple[str, str]] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    addresses: dict[tuple[str, int], str] = field(default_factory=dict)
    exclusions: list[dict[str, Any]] = field(default_factory=list)
    files: list[File] = field(default_factory=list)

    @property
    def creditors(self) -> list[str]:
        return sorted({file.creditor for file in self.files})


def read_land(names: Collection[str]) -> Land:
    """These scenarios; postcodes get four other digits, so that no address is in two of them."""
    land, free_codes, free_digits = Land(), iter(sorted(gemeente_names())), count(1000)
    for path in (path for path in answers.SCENARIOS if path.stem in names):
        scenario = json.loads(path.read_text("utf-8"))["scenario"]
        codes: dict[str, str] = {}
        digits: dict[str, str] = defaultdict(lambda: str(next(free_digits)))
        for code, policy in scenario["policies"].items():
            codes[code] = next(free_codes)
            land.municipalities[codes[code]] = path.stem, code
            land.policies[codes[code]] = policy
        rows = [row for delivery in scenario["deliveries"] for row in delivery["rows"]]
        for row in (*rows, *scenario["exclusions"]):
            if postcode := row.get("postcode"):
                there = municipality_of(
                    answers.addresses().get((postcode, row["huisnummer"])),
                    answers.four_digits().get(postcode[:4], ()),
                    "",
                ).code
                row["postcode"] = digits[postcode[:4]] + postcode[4:]
                land.addresses[row["postcode"], row["huisnummer"]] = codes[there]
        for row in rows:
            row["signaal_id"] = f"{path.stem}.{row['signaal_id']}"
            row["bedrag"] = f"{row.get('bedrag', 0) / 100:.2f}"
        for row in scenario["exclusions"]:
            assert land.addresses[row["postcode"], row["huisnummer"]] == codes[row.pop("gm")]
        land.exclusions += scenario["exclusions"]
        for delivery in scenario["deliveries"]:
            at = datetime.fromisoformat(delivery["received"]).replace(tzinfo=AMSTERDAM)
            land.files.append(File(delivery["creditor"], at, delivery["rows"]))
    land.files.sort(key=lambda file: file.at)
    return land


def of_scenario(signal_id: str) -> tuple[str, str]:
    """The scenario of a `signaal_id`, and how it is called there."""
    name, _, own = signal_id.partition(".")
    return name, own


@dataclass
class Outcome:
    """What the partners read in the end of one scenario."""

    meldingen: list[dict[str, Any]] = field(default_factory=list)
    signals: list[list[str]] = field(default_factory=list)
    refused: list[list[str]] = field(default_factory=list)


# -- the gateway that all share --------------------------------------------------------------------


@dataclass
class Port:
    """The gateway of a land: files go in and come out over SFTP."""

    land: Land
    home: Path
    keys: Path
    gateway: Gateway
    clock: SteppedClock
    process: subprocess.Popen[str] | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _clients: dict[str, paramiko.SFTPClient] = field(default_factory=dict)
    _port: int = 0

    # -- the daemon

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

    def stop(self) -> None:
        """The daemon ends what it does."""
        assert self.process
        self._open.close()
        self.process.communicate()
        assert self.process.returncode == 0

    def end(self) -> None:
        """Nothing of it is left."""
        self.kill()
        self.gateway.close()

    def move_to(self, at: datetime) -> None:
        """Both clocks."""
        self.clock.set(at)
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{at.isoformat()}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"

    @property
    def context(self) -> Context:
        """The gateway as the pipeline sees it."""
        return self.gateway.pipeline()

    def idle(self) -> None:
        """Wait until nothing is under way."""
        context, end = self.context, time.monotonic() + 300
        self.gateway.wake()
        while pending(context):
            assert time.monotonic() < end
            time.sleep(0.05)

    # -- the clients

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

    def exclude(self) -> None:
        """The exclusions of all scenarios; of an address alone for six months at most (spec 2)."""
        latest = add_months(self.clock.now().date(), 6).isoformat()
        rows = [
            row if row.get("achternaam") else row | {"uitsluiten_tot": min(row["uitsluiten_tot"], latest)}
            for row in self.land.exclusions
        ]
        self._upload(MUNICIPALITY, "uitsluitingen.csv", rows)
        self.idle()

    def place(self, number: int) -> None:
        """A creditor uploads a file at its time; a column of its own keeps its bytes apart from any other file's."""
        file = self.land.files[number]
        self.move_to(file.at)
        self._upload(file.creditor, f"{number}.csv", [row | {"volgnummer": number} for row in file.rows])

    def _upload(self, partner: str, name: str, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        header = list(dict.fromkeys(column for row in rows for column in row))
        writer = csv.DictWriter(text, header, delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
        self.client(partner).putfo(io.BytesIO(text.getvalue().encode()), f"inbox/{name}", confirm=False)

    def names(self, partner: str, box: Box, start: str, end: str) -> set[str]:
        """What lies ready for a partner."""
        listed = self.client(partner).listdir(box)
        return {name for name in listed if name.startswith(start) and name.endswith(end)}

    def read(self, partner: str, box: Box, name: str) -> str:
        """A file that a partner downloads."""
        with self.client(partner).open(f"{box}/{name}") as file:
            return file.read().decode("utf-8-sig")

    # -- what came of it

    def outcomes(self) -> Mapping[str, Outcome]:
        """By scenario."""
        found: dict[str, Outcome] = defaultdict(Outcome)
        named = self._named()
        for (creditor, signal_id), state in named.values():
            name, own = of_scenario(signal_id)
            found[name].signals.append([creditor, own, state])
        for name, melding in self._meldingen({number: who for number, (who, _) in named.items()}):
            found[name].meldingen.append(melding)
        for partner in self.land.creditors:
            for file in self.names(partner, Box.RETURNS, "ontvangst_", ".json"):
                receipt = json.loads(self.read(partner, Box.RETURNS, file))
                for row in receipt["afgekeurd"] + receipt["dubbel"]:
                    name, own = of_scenario(row["signaal_id"])
                    found[name].refused.append([partner, own, row["code"]])
        return found

    def _named(self) -> dict[str, tuple[tuple[str, str], str]]:
        """`signaalnummer` -> creditor and `signaal_id`, and its state, of what is in force."""
        rows = {row["id"]: row for row in self._rows(SignalRow) if row["in_force"]}
        words = {"waiting": "active", "passed_on": "active"}
        with self.gateway.store.read() as conn:
            opener = Opener(self.context, conn)
            return {
                rows[sealed.id]["number"]: (
                    (sealed.creditor, opener.open(sealed)["signaal_id"]),
                    words.get(state := rows[sealed.id]["state"], state),
                )
                for sealed in signals.sealed(conn, rows)
            }

    def _rows(self, table: Any) -> list[dict[str, Any]]:
        with self.gateway.store.read() as conn:
            return [dict(row) for row in conn.execute(table.__table__.select()).mappings()]

    def _meldingen(self, named: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The meldingen as the scenarios write them, from the lines that the municipality reads."""
        by_id = defaultdict(list)
        for line in self._published_anew():
            if line["klasse"] != "VERVALLEN":
                by_id[line["melding_id"]].append(line)
        contents = {
            row["id"]: snapshot.load(row["published"]) for row in self._rows(MeldingRow) if row["published"]
        }
        for melding_id, lines in by_id.items():
            name, code = self.land.municipalities[lines[0]["gemeentecode"]]
            yield name, self._melding(code, named, lines, contents[melding_id])

    def _published_anew(self) -> list[dict[str, str]]:
        """Every melding in one last publication of all: ranks are of the moment of publication."""
        seen = self.names(MUNICIPALITY, Box.OUTBOX, "meldingen_", ".csv")
        self.move_to(self.clock.now() + timedelta(minutes=1))
        with self.gateway.store.exclusive(), self.gateway.store.write() as conn:
            conn.execute(
                update(MeldingRow).values(touched_at=self.clock.now(), fingerprint="", is_urgent=False)
            )
        self.idle()
        fresh = self.names(MUNICIPALITY, Box.OUTBOX, "meldingen_", ".csv") - seen
        return [
            row
            for name in sorted(fresh)
            for row in csv.DictReader(
                io.StringIO(self.read(MUNICIPALITY, Box.OUTBOX, name), newline=""), delimiter=";"
            )
        ]

    def _melding(
        self,
        code: str,
        named: Mapping[str, tuple[str, str]],
        lines: list[dict[str, str]],
        content: MeldingContent,
    ) -> dict[str, Any]:
        first = lines[0]
        flags = ("opeenvolgend", "gaten_dichten", "meerdere_adressen")
        same = ("maand", "klasse", "matchregels", *flags)
        counts = ("aantal_signalen", "aantal_partners", "aantal_sectoren")

        def called(line: dict[str, str]) -> list[str]:
            creditor, signal_id = named[line["signaalnummer"]]
            return [creditor, of_scenario(signal_id)[1]]

        return {
            "gemeentecode": code,
            **{name: first[name] for name in same},
            **{name: int(first[name]) for name in counts},
            "totaalbedrag": int(first["totaalbedrag"].replace(",", "")),
            "signalen": sorted(called(line) for line in lines),
            "herhaald": sorted(called(line) for line in lines if line["herhaald"] == "J"),
            "rang": int(first["rang"]) if first["rang"] else None,
            "voorstel_actie": first["voorstel_actie"],
            "ordered_by": (
                rank.explain(content, self.context.policy(first["gemeentecode"]).order),
                content.first_signalled_on,
                content.first_received_at,
            ),
        }


def day_by_day(port: Port) -> None:
    """The worker keeps up: a day's files are processed and published before the next day; killed on a day half-way."""
    numbers = range(len(port.land.files))
    for _, day in groupby(numbers, key=lambda number: port.land.files[number].at.date()):
        for number in day:
            port.place(number)
            if number == len(numbers) // 2:
                port.kill()
                port.start()
        port.idle()


def in_two_heaps(port: Port) -> None:
    """Files pile up in two heaps while nothing is processed; killed before the first heap is."""
    middle = len(port.land.files) // 2
    for heap in (range(middle), range(middle, len(port.land.files))):
        with port.gateway.store.exclusive():
            for number in heap:
                port.place(number)
            if heap.start == 0:
                port.kill()
        if port.process is None:
            port.start()
        port.idle()


#: How deliveries are grouped, and which of the two large scenarios of a kind is always run so.
GROUPINGS: Mapping[Callable[[Port], None], str] = {day_by_day: "-1", in_two_heaps: "-2"}


def names_of(process: Callable[[Port], None]) -> list[str]:
    """The scenarios that are run in a grouping."""
    other = "-2" if GROUPINGS[process] == "-1" else "-1"
    names = [path.stem for path in answers.SCENARIOS]
    if os.environ.get("GOLDEN") == "every":
        return names
    return [name for name in names if not name.endswith(other)]


def cases() -> Iterator[Any]:
    """Each scenario in its groupings."""
    for process in GROUPINGS:
        for name in names_of(process):
            yield pytest.param(name, process, id=f"{process.__name__}-{name}")


@pytest.fixture(scope="module")
def outcomes(
    template: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Callable[[Port], None]], Mapping[str, Outcome]]:
    """What came of all scenarios in a grouping of their deliveries; each is run once."""
    found: dict[Callable[[Port], None], Mapping[str, Outcome]] = {}

    def run(process: Callable[[Port], None]) -> Mapping[str, Outcome]:
        if process not in found:
            found[process] = {}  # a run that fails is not tried again for each scenario
            port = _port(
                read_land(names_of(process)), template.home, tmp_path_factory.mktemp(process.__name__)
            )
            try:
                port.start()
                port.exclude()
                process(port)
                outcome = port.outcomes()
                port.stop()
                assert check(port.context).differences == ()
                found[process] = outcome
            finally:
                port.end()
        return found[process]

    return run


def _port(land: Land, template: Path, folder: Path) -> Port:
    """A gateway with its configuration in files, and its addresses in the reference table."""
    home = folder / "home"
    shutil.copytree(template, home)
    for name in ("partners", "municipalities"):
        shutil.rmtree(home / "config" / name)
        (home / "config" / name).mkdir()
    sectors = ["Huur", "Energie", "Water", "Zorg"]
    roles: dict[str, dict[str, Any]] = {
        name: {"role": "creditor", "sectors": sectors} for name in land.creditors
    }
    roles[MUNICIPALITY] = {"role": "municipality", "serves": sorted(land.policies)}
    for partner, role in roles.items():
        key = _new_key(folder / f"{partner}.key")
        told = {"id": partner, "name": partner, **role, "keys": [{"public_key": key}]}
        (home / "config" / "partners" / f"{partner}.toml").write_text(_toml(told))
    for code, policy in land.policies.items():
        text = _toml({**policy, "publish": {"settle_s": 0}})
        (home / "config" / "municipalities" / f"{code}.toml").write_text(text)
    (home / "data" / "reference.db").unlink(missing_ok=True)
    load(home / "data" / "reference.db", ((*at, code) for at, code in land.addresses.items()))
    clock = SteppedClock(land.files[0].at - timedelta(hours=1))
    return Port(land, home, folder, open_gateway(home, clock), clock)


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


@pytest.mark.parametrize(("name", "process"), list(cases()))
def test_scenario_over_sftp(name: str, process: Any, outcomes: Any) -> None:
    """However files pile up and whenever the daemon is killed, partners read the same meldingen, classes, rules, ranks."""
    golden = json.loads((answers.TESTS / "golden" / "matching" / f"{name}.json").read_text("utf-8"))
    outcome, expected = outcomes(process)[name], golden["expected"]
    assert sorted(outcome.refused) == sorted(expected["refused"])
    assert sorted(outcome.signals) == sorted(expected["signals"])
    answers.check_meldingen(outcome.meldingen, expected["meldingen"])


def test_all_scenarios_are_run() -> None:
    """None was left out."""
    names = {name for process in GROUPINGS for name in names_of(process)}
    assert names == {path.stem for path in answers.SCENARIOS}
    assert len(names) >= 38
