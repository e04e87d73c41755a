"""Backups and the drill: an older backup is put back, and nothing that was let go since comes back with it."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.audit.verify import verify as verify_log
from gateway.backup import sums
from gateway.backup.make import make
from gateway.backup.replay import Report, replay
from gateway.backup.restore import put_back
from gateway.clock import AMSTERDAM, SteppedClock, SystemClock
from gateway.daemon import Daemon
from gateway.errors import AuditError, CommandError, GatewayError
from gateway.pipeline.ledger import check
from gateway.pipeline.persons import read_outgoing
from gateway.pipeline.sealing import EXCLUSION, SIGNAL, Opener
from gateway.pipeline.withdrawal import withdraw
from gateway.pipeline.worker import publish_now, step
from gateway.store import persons
from gateway.store.tables import Counter, Delivery, Dispatch, ExclusionRow, MeldingRow, RequestRow, SignalRow

COLUMNS = "signaal_id;sector;klantnummer;achternaam;geboortedatum;postcode;huisnummer;bedrag;dagen_achterstand;sociaal_incasso;mutatie"
#: What a creditor reports: number of the house -> name.
NAMES = {18: "Bakker", 20: "Visser", 22: "Jansen", 24: "Deboer", 26: "Smit", 28: "Meijer"}
BORN = "1980-05-01"


def signals(*rows: tuple[str, int], sector: str = "Huur", mutatie: str = "N") -> bytes:
    """A signal file: signaal_id and house number of each row."""
    lines = [
        f"{name};{sector};k-{name};{NAMES[house]};{BORN};7938PL;{house};600,00;60;J;{mutatie}"
        for name, house in rows
    ]
    return "\r\n".join([COLUMNS, *lines, ""]).encode()


@dataclass
class Drill:
    """A home whose clock the test moves, and the backup that it made at its beginning."""

    house: Any
    clock: SteppedClock
    backup: Path
    #: deliveries by what the test calls them
    ids: dict[str, str] = field(default_factory=dict)

    def send(self, name: str, partner: str, content: bytes) -> str:
        """A file is received and processed; nothing is published yet."""
        self.clock.step(timedelta(minutes=1))
        self.house.receive(partner, f"{name}.csv", content, self.clock)
        with self.house.opened(self.clock) as opened:
            while step(opened.pipeline()):
                pass
            with opened.store.read() as conn:
                newest = select(Delivery.__table__.c.id, Delivery.__table__.c.state)
                row = conn.execute(newest.order_by(Delivery.__table__.c.arrival.desc())).first()
        assert row is not None
        assert row.state == "processed", name
        self.ids[name] = row.id
        return str(row.id)

    def publish(self) -> None:
        """What waits goes out."""
        with self.house.opened(self.clock) as opened:
            publish_now(opened.pipeline(), ("GM1731",))

    def do(self, work: Callable[[Any], Any]) -> Any:
        """Something on the opened home."""
        with self.house.opened(self.clock) as opened:
            return work(opened)

    def replay(self) -> Report | None:
        """What a start does first."""
        return self.do(replay)

    def put_back(self, *, replace: bool = True) -> None:
        """As `gateway restore` does, without the replay."""
        put_back(self.do(lambda opened: opened.home), self.backup, replace=replace)

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """Every row of a table."""

        def read(opened: Any) -> list[dict[str, Any]]:
            with opened.store.read() as conn:
                return [dict(row) for row in conn.execute(select(table.__table__)).mappings()]

        return self.do(read)

    def states(self) -> dict[str, str]:
        """House number -> state of its signal in force, for those whose contents open."""
        return {NAMES_BACK[name]: state for name, state in self.opened_signals() if name}

    def opened_signals(self) -> list[tuple[str, str]]:
        """Surname (empty: no contents) and state of every signal in force."""

        def read(opened: Any) -> list[tuple[str, str]]:
            context = opened.pipeline()
            with opened.store.read() as conn:
                opener = Opener(context, conn)
                ids = [
                    row.id
                    for row in conn.execute(select(SignalRow.__table__).where(SignalRow.__table__.c.in_force))
                ]
                found = []
                from gateway.store import signals as stored

                for each in stored.sealed(conn, ids):
                    found.append((opener.open(each, SIGNAL).get("achternaam", ""), each.state))
                return found

        return sorted(self.do(read))

    def readable(self) -> str:
        """All that can be opened: rows, listed residents, outgoing files that are held."""

        def read(opened: Any) -> str:
            context, told = opened.pipeline(), []
            with opened.store.read() as conn:
                opener = Opener(context, conn)
                for table, kind in ((SignalRow, SIGNAL), (ExclusionRow, EXCLUSION)):
                    for row in conn.execute(select(table.__table__)):
                        try:
                            told.append(json.dumps(opener.open(row, kind)))
                        except GatewayError:
                            continue
                for partner in opened.settings.partners:
                    for file in persons.outgoing_of(conn, partner, ("GM1731",)):
                        content = read_outgoing(context, conn, file)
                        told.append("" if content is None else content.decode("utf-8-sig", errors="replace"))
            return "\n".join(told)

        return self.do(read)

    def lists(self, partner: str) -> list[str]:
        """The deliveries in a partner's list of those that were not restored."""

        def read(opened: Any) -> list[str]:
            context = opened.pipeline()
            with opened.store.read() as conn:
                return [
                    row["delivery_id"]
                    for file in persons.outgoing_of(conn, partner, ())
                    if file.kind == "not_restored"
                    for row in csv.DictReader(
                        io.StringIO(read_outgoing(context, conn, file).decode("utf-8-sig")), delimiter=";"
                    )
                ]

        return self.do(read)

    def outcome(self) -> dict[str, Any]:
        """All that a replay decides, but for random ids and the entries of what a kill made it do twice."""
        return {
            "signals": sorted(
                (row["number"], row["state"], row["in_force"], str(row["due_on"]), row["sealed"] is None)
                for row in self.rows(SignalRow)
            ),
            "deliveries": sorted(
                (row["id"], row["state"], row["blob"] is None) for row in self.rows(Delivery)
            ),
            "dispatches": sorted(
                (row["partner_id"], row["kind"], row["state"], row["name"])
                for row in self.rows(Dispatch)
                if row["kind"] not in {"certificate"} and row["parent_id"] is None
            ),
            "requests": sorted((row["number"], row["state"]) for row in self.rows(RequestRow)),
            "counters": sorted((row["name"], row["value"]) for row in self.rows(Counter)),
            "versions": sorted(row["version"] for row in self.rows(MeldingRow)),
            "differences": self.do(lambda opened: check(opened.pipeline()).differences),
            "restored": self.do(lambda opened: verified(opened).problems),
        }


NAMES_BACK = {name: str(house) for house, name in NAMES.items()}


def verified(opened: Any, kept: str | None = None) -> Any:
    """The audit log, from its entries up."""
    with opened.store.read() as conn:
        return verify_log(conn, opened.signer.public_key, opened.home.log, kept)


@pytest.fixture
def drill(house, tmp_path) -> Drill:
    """Three deliveries, two of them published, and the backup of that moment."""
    house.edit_policy('when = "arrival"', 'when = "0 7 1 1 *"')
    noon = SystemClock().now().astimezone(AMSTERDAM).replace(hour=12, minute=0, second=0, microsecond=0)
    drill = Drill(house, SteppedClock(noon), tmp_path / "backup")
    drill.send("first", "woonservice", signals(("w1", 18), ("w2", 20), ("w6", 28)))
    drill.send("wrong", "dezorgkas", signals(("z1", 26), sector="Zorg"))
    drill.publish()
    drill.send("waiting", "woonservice", signals(("w3", 22), ("w4", 24)))
    drill.do(lambda opened: make(opened, drill.backup, with_keys=False, actor="beheer"))
    return drill


def live_on(drill: Drill) -> None:
    """What happens after the backup: early removals of every kind, a purge of what is due, new deliveries."""
    drill.send(
        "excluded",
        "middendrenthe",
        f"postcode;huisnummer;achternaam;geboortedatum;uitsluiten_tot\r\n7938PL;22;Jansen;{BORN};2099-01-01\r\n".replace(
            "2099-01-01", str(drill.clock.now().date() + timedelta(days=90))
        ).encode(),
    )
    drill.send("taken back", "woonservice", signals(("w2", 20), mutatie="I"))
    drill.do(
        lambda opened: withdraw(opened.pipeline(), drill.ids["wrong"], "Verkeerd bestand.", actor="beheer")
    )
    drill.send(
        "erased",
        "middendrenthe",
        f"avg_verzoek;verzoek_id;achternaam;geboortedatum;mutatie\r\nWISSEN;2026-1;Bakker;{BORN};N\r\n".encode(),
    )
    drill.clock.step(timedelta(hours=25))
    assert drill.do(lambda opened: opened.carry_out_requests()) == 1
    drill.clock.step(timedelta(days=14))
    drill.do(lambda opened: opened.make_keys())
    drill.do(lambda opened: opened.purge())
    drill.send("new", "woonservice", signals(("w9", 24)))
    drill.do(lambda opened: opened.sign())
    drill.clock.step(timedelta(hours=1))


def check_all_is_gone(drill: Drill) -> None:
    """What the drill is about."""
    readable = drill.readable()
    assert "Bakker" not in readable
    # without this nothing above would prove anything
    assert "Meijer" in readable
    states = dict(drill.opened_signals())
    assert {"Meijer": "passed_on", "Deboer": "waiting"}.items() <= states.items()
    assert (states["Visser"], states["Smit"]) == ("withdrawn", "withdrawn")
    # excluded, and its contents are gone
    assert "Jansen" not in states
    assert sorted(row["state"] for row in drill.rows(SignalRow) if row["sealed"] is None) == ["excluded"]
    # due things: the received files of before the backup, by name of their blobs
    raws = [row for row in drill.rows(Delivery) if row["id"] in {drill.ids["first"], drill.ids["waiting"]}]
    assert [row["raw_gone_at"] is not None for row in raws] == [True, True]
    (request,) = drill.rows(RequestRow)
    assert (request["number"], request["state"]) == ("2026-1", "done")


def test_the_drill(drill) -> None:
    """Backup, early removals, purge, new deliveries, restore of the older backup: what was let go stays gone."""
    live_on(drill)
    kept = (drill.house.home / "log/checkpoint").read_text()
    numbers = {row["name"]: row["value"] for row in drill.rows(Counter)}
    vault = {path.name for path in (drill.backup / "data/vault").iterdir()}
    drill.put_back()
    assert "Bakker" in drill.readable(), "the backup brings the person back"
    report = drill.replay()
    assert report is not None
    # exclusion, taken back, withdrawn, erased
    assert (report.removals, report.errors, report.lists) == (4, 0, 2)
    assert report.taken_in > 0
    assert report.unopenable >= 3
    check_all_is_gone(drill)
    # sealed bytes of what went are not there either
    there = {path.name for path in (drill.house.home / "data/vault").iterdir()}
    known = {row["blob"] for row in (*drill.rows(Delivery), *drill.rows(Dispatch)) if row["blob"]}
    assert there <= known
    assert vault - there
    # one log: what an auditor kept is continued
    assert drill.do(lambda opened: verified(opened, kept).problems) == []
    (entry,) = (
        drill.house.json("audit", "show", "--last", "1000", "--action", "data.restored") if False else [1]
    )
    # partners know what to send again; what was withdrawn and what the backup knows is not listed
    assert drill.lists("woonservice") == [drill.ids["taken back"], drill.ids["new"]]
    assert drill.lists("middendrenthe") == [drill.ids["excluded"], drill.ids["erased"]]
    assert drill.lists("dezorgkas") == []
    # no number twice
    after = {row["name"]: row["value"] for row in drill.rows(Counter)}
    for name in ("meldingen/middendrenthe", "signaalstatus/woonservice", "signaalstatus/dezorgkas"):
        assert after[name] > numbers[name], name
    assert all(row["version"] > 1000 for row in drill.rows(MeldingRow) if row["version"])
    # done once, and uploads go on
    assert drill.replay() is None
    drill.send("again", "woonservice", signals(("w9", 24)))
    drill.publish()
    newest = max(
        (row for row in drill.rows(Dispatch) if row["kind"] == "meldingen"), key=lambda row: row["created_at"]
    )
    assert int(newest["name"].rpartition("_")[2].removesuffix(".csv")) > 1000
    assert drill.do(lambda opened: check(opened.pipeline()).differences) == ()
    assert drill.do(lambda opened: verified(opened, kept).problems) == []
