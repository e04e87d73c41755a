"""The golden scenarios through the pipeline itself: files in, and what municipality and creditors read, out.

The comparison is that of the pure functions' test; the answers are read from the outgoing files.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from gateway.clock import AMSTERDAM, SteppedClock, add_months
from gateway.daemon import Daemon
from gateway.domain.partner import Box, Partner, Role
from gateway.domain.policy import Publish
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.download import Download
from gateway.exchange.upload import Upload
from gateway.gateway import open_gateway
from gateway.matching import rank
from gateway.pipeline import snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.ledger import check
from gateway.pipeline.publish import publish
from gateway.pipeline.sealing import Opener
from gateway.pipeline.worker import step
from gateway.store import dispatches, signals
from gateway.store.engine import Store
from gateway.store.reference import load
from gateway.store.tables import MeldingRow, SignalRow

TESTS = Path(__file__).parent.parent
MUNICIPALITY = "alle-gemeenten"


def _answers() -> Any:
    """The module that reads and compares the scenarios."""
    spec = importlib.util.spec_from_file_location("golden_answers", TESTS / "matching" / "test_golden.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


answers = _answers()


def one_by_one(world: World, deliveries: list[dict[str, Any]]) -> None:
    """Every file is processed and published before the next one comes."""
    in_groups(1, world, deliveries)


def all_at_once(world: World, deliveries: list[dict[str, Any]]) -> None:
    """A backlog: every file is received, then all are processed and published together."""
    in_groups(len(deliveries), world, deliveries)


def in_sevens(world: World, deliveries: list[dict[str, Any]]) -> None:
    """The worker is behind."""
    in_groups(7, world, deliveries)


def in_groups(size: int, world: World, deliveries: list[dict[str, Any]]) -> None:
    """Files pile up, and are then processed and published together."""
    for number, delivery in enumerate(deliveries, 1):
        world.place(number, delivery)
        if number % size == 0 or number == len(deliveries):
            world.work()


def cases() -> Iterator[Any]:
    """Small scenarios in two groupings; of the large ones, which take seconds, one of a kind in a third."""
    for path in answers.SCENARIOS:
        is_small = not path.stem.endswith(("-1", "-2"))
        processes = (one_by_one, all_at_once) if is_small else (in_sevens,)
        if not path.stem.endswith("-2"):
            yield from (pytest.param(path, each, id=f"{path.stem}-{each.__name__}") for each in processes)


@pytest.fixture(scope="session")
def keys_home(template, tmp_path_factory) -> Path:
    """A home with the keys of every day from August on, and the six municipalities' addresses."""
    home = tmp_path_factory.mktemp("golden") / "home"
    shutil.copytree(template.home, home, ignore=shutil.ignore_patterns("until-*", "index-*"))
    for name in ("gateway.db", "gateway.db-wal", "gateway.db-shm"):
        (home / "data" / name).unlink(missing_ok=True)
    Store.create(home / "data" / "gateway.db").close()
    for month in range(8, 13):
        gateway = open_gateway(home, SteppedClock(datetime(2026, month, 1, tzinfo=AMSTERDAM)))
        gateway.make_keys()
        gateway.close()
    load(home / "data" / "reference.db", ((*place, code) for place, code in answers.addresses().items()))
    return home


@dataclass
class World:
    """A gateway with the partners and policies of a scenario, and nobody at the door."""

    context: Context
    exchange: Exchange
    clock: SteppedClock

    def visit(self, partner: str) -> Visit:
        return Visit(
            partner=self.context.partners[partner],
            fingerprint="",
            address="127.0.0.1",
            client="",
            session_id="",
        )

    def place(self, number: int, delivery: dict[str, Any]) -> None:
        """A file is received at its time; a column of its own keeps its bytes apart from any other file's."""
        self.clock.set(datetime.fromisoformat(delivery["received"]).replace(tzinfo=AMSTERDAM))
        self.upload(
            delivery["creditor"],
            f"{number}.csv",
            [
                row | {"bedrag": f"{row.get('bedrag', 0) / 100:.2f}", "volgnummer": number}
                for row in delivery["rows"]
            ],
        )

    def exclude(self, exclusions: list[dict[str, Any]], first: str) -> None:
        """The municipality's exclusion file, an hour before the first signals; of an address for six months at most."""
        if not exclusions:
            return
        at = datetime.fromisoformat(first).replace(tzinfo=AMSTERDAM) - timedelta(hours=1)
        self.clock.set(at)
        latest = add_months(at.date(), 6).isoformat()
        rows = [
            row if row.get("achternaam") else row | {"uitsluiten_tot": min(row["uitsluiten_tot"], latest)}
            for row in exclusions
        ]
        self.upload(MUNICIPALITY, "uitsluitingen.csv", rows)
        self.work()

    def upload(self, partner: str, name: str, rows: list[dict[str, Any]]) -> None:
        """A file is received."""
        text = io.StringIO()
        writer = csv.DictWriter(
            text, list(dict.fromkeys(name for row in rows for name in row)), delimiter=";"
        )
        writer.writeheader()
        writer.writerows(rows)
        upload = Upload(self.exchange, self.visit(partner), name)
        upload.write(0, memoryview(text.getvalue().encode()))
        upload.close()

    def work(self) -> None:
        """The worker, until nothing is left to do."""
        self.clock.step(timedelta(seconds=1))
        while step(self.context):
            pass

    def read(self, partner: str, box: Box, end: str) -> dict[str, str]:
        """A partner's files."""
        with self.context.store.read() as conn:
            listed = [file for file in dispatches.listed(conn, partner, box) if file.name.endswith(end)]
        found = {}
        for file in listed:
            download = Download(self.exchange, self.visit(partner), box, file)
            found[file.name] = download.read(0, file.size_bytes).decode("utf-8-sig")
            download.abort()
        return found

    def rows(self, table: Any) -> list[dict[str, Any]]:
        with self.context.store.read() as conn:
            return [dict(row) for row in conn.execute(table.__table__.select()).mappings()]

    def named(self) -> dict[str, tuple[list[str], str]]:
        """`signaalnummer` -> creditor and `signaal_id`, and its state, of what is in force."""
        rows = {row["id"]: row for row in self.rows(SignalRow) if row["in_force"]}
        with self.context.store.read() as conn:
            opener = Opener(self.context, conn)
            return {
                rows[sealed.id]["number"]: (
                    [sealed.creditor, opener.open(sealed)["signaal_id"]],
                    {"waiting": "active", "passed_on": "active"}.get(
                        row_state := rows[sealed.id]["state"], row_state
                    ),
                )
                for sealed in signals.sealed(conn, rows)
            }

    def published_anew(self) -> list[dict[str, str]]:
        """Every melding in one last publication of all: ranks are of the moment of publication."""
        self.clock.step(timedelta(minutes=1))
        seen = set(self.read(MUNICIPALITY, Box.OUTBOX, ".csv"))
        with self.context.store.write() as conn:
            conn.execute(
                update(MeldingRow).values(touched_at=self.clock.now(), fingerprint="", is_urgent=False)
            )
        for municipality in self.context.served_by:
            publish(self.context, municipality)
        files = self.read(MUNICIPALITY, Box.OUTBOX, ".csv")
        return [
            row
            for name in sorted(files.keys() - seen)
            for row in csv.DictReader(io.StringIO(files[name], newline=""), delimiter=";")
        ]

    def meldingen(self) -> list[dict[str, Any]]:
        """The meldingen as the scenarios write them, from the lines that the municipality reads."""
        named, by_id = self.named(), defaultdict(list)
        for line in self.published_anew():
            if line["klasse"] != "VERVALLEN":
                by_id[line["melding_id"]].append(line)
        contents = {
            row["id"]: snapshot.load(row["published"]) for row in self.rows(MeldingRow) if row["published"]
        }
        return [self._melding(named, lines, contents[melding_id]) for melding_id, lines in by_id.items()]

    def _melding(self, named: Any, lines: list[dict[str, str]], content: Any) -> dict[str, Any]:
        first = lines[0]
        same = (
            "gemeentecode",
            "maand",
            "klasse",
            "matchregels",
            "opeenvolgend",
            "gaten_dichten",
            "meerdere_adressen",
        )
        counts = ("aantal_signalen", "aantal_partners", "aantal_sectoren")
        return {
            **{name: first[name] for name in same},
            **{name: int(first[name]) for name in counts},
            "totaalbedrag": int(first["totaalbedrag"].replace(",", "")),
            "signalen": sorted(named[line["signaalnummer"]][0] for line in lines),
            "herhaald": sorted(named[line["signaalnummer"]][0] for line in lines if line["herhaald"] == "J"),
            "rang": int(first["rang"]) if first["rang"] else None,
            "voorstel_actie": first["voorstel_actie"],
            "ordered_by": (
                rank.explain(content, self.context.policy(first["gemeentecode"]).order),
                content.first_signalled_on,
                content.first_received_at,
            ),
        }

    def refused(self) -> list[list[str]]:
        """Rows that change nothing, with their codes, from the receipts that creditors read."""
        found = []
        for partner in self.context.partners:
            for text in self.read(partner, Box.RETURNS, ".json").values():
                receipt = json.loads(text)
                found += [
                    [partner, row["signaal_id"], row["code"]]
                    for row in receipt["afgekeurd"] + receipt["dubbel"]
                ]
        return sorted(found)


@pytest.fixture
def world(keys_home, tmp_path, request):
    """A world for a scenario."""
    opened = []

    def make(scenario: dict[str, Any]) -> World:
        home, clock = tmp_path / "home", SteppedClock(datetime(2026, 8, 1, tzinfo=AMSTERDAM))
        home.mkdir()
        for part in ("config", "keys", "log"):
            (home / part).symlink_to(keys_home / part)
        shutil.copytree(keys_home / "data", home / "data")
        gateway = open_gateway(home, clock)
        opened.append(gateway)
        creditors = {delivery["creditor"] for delivery in scenario["deliveries"]}
        sectors = ("Huur", "Energie", "Water", "Zorg")
        partners = {
            name: Partner(id=name, name=name, role=Role.CREDITOR, sectors=sectors) for name in creditors
        }
        codes = tuple(scenario["policies"])
        partners[MUNICIPALITY] = Partner(id=MUNICIPALITY, name="", role=Role.MUNICIPALITY, serves=codes)
        policies = {code: answers.read_policy(code, text) for code, text in scenario["policies"].items()}
        context = replace(
            gateway.pipeline(),
            partners=partners,
            policies={
                code: replace(policy, publish=Publish(settle_s=0)) for code, policy in policies.items()
            },
            served_by=dict.fromkeys(codes, MUNICIPALITY),
        )
        return World(context, replace(Daemon(gateway)._exchange(), partners=partners), clock)

    yield make
    for gateway in opened:
        gateway.close()


@pytest.mark.parametrize(("path", "process"), list(cases()))
def test_scenario(path: Path, process: Any, world: Any) -> None:
    """However files pile up, the partners read the scenario's meldingen, ranks, states and refused rows."""
    golden = json.loads(path.read_text("utf-8"))
    town = world(golden["scenario"])
    town.exclude(golden["scenario"]["exclusions"], golden["scenario"]["deliveries"][0]["received"])
    process(town, golden["scenario"]["deliveries"])
    assert town.refused() == sorted(golden["expected"]["refused"])
    assert sorted([*name, state] for name, state in town.named().values()) == sorted(
        golden["expected"]["signals"]
    )
    answers.check_meldingen(town.meldingen(), golden["expected"]["meldingen"])
    assert check(town.context).differences == ()


def test_there_are_scenarios() -> None:
    """The folder is not empty, and most of it is run."""
    assert len(list(cases())) >= 50
