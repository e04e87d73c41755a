"""Backups and the drill: an older backup is put back, and nothing that was let go since comes back with it."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.audit.verify import verify as verify_log
from gateway.backup import restore, sums
from gateway.backup.make import make
from gateway.backup.replay import Report, replay
from gateway.backup.restore import put_back
from gateway.clock import AMSTERDAM, SteppedClock, SystemClock
from gateway.daemon import Daemon
from gateway.errors import AuditError, GatewayError
from gateway.gateway import Gateway
from gateway.pipeline.ledger import check
from gateway.pipeline.persons import open_received, read_outgoing
from gateway.pipeline.sealing import Opener
from gateway.pipeline.withdrawal import withdraw
from gateway.pipeline.worker import publish_now, step
from gateway.retention import holds
from gateway.retention.purge import PurgeReport
from gateway.settings import Home
from gateway.store import persons
from gateway.store import signals as stored
from gateway.store.engine import Store
from gateway.store.retention_tables import HoldRow, RestoreRow
from gateway.store.tables import Counter, Delivery, Dispatch, ExclusionRow, MeldingRow, RequestRow, SignalRow
from gateway.vault.objects import EXCLUSION, SIGNAL

COLUMNS = "signaal_id;sector;klantnummer;achternaam;geboortedatum;postcode;huisnummer;bedrag;dagen_achterstand;sociaal_incasso;mutatie"
#: What a creditor reports: number of the house -> name.
NAMES = {18: "Bakker", 20: "Visser", 22: "Jansen", 24: "Deboer", 26: "Smit", 28: "Meijer"}
BORN = "1980-05-01"
NOTHING_PURGED = PurgeReport(due_before=date(2026, 1, 1), run_id=None, counts={}, keys=(), errors=())


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
        put_back(Home(root=self.house.home), self.backup, replace=replace)

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """Every row of a table."""

        def read(opened: Any) -> list[dict[str, Any]]:
            with opened.store.read() as conn:
                return [dict(row) for row in conn.execute(select(table.__table__)).mappings()]

        return self.do(read)

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
                return [
                    (opener.open(each, SIGNAL).get("achternaam", ""), each.state)
                    for each in stored.sealed(conn, ids)
                ]

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
            "log": self.do(lambda opened: verified(opened).problems),
        }


def verified(opened: Any, kept: str | None = None) -> Any:
    """The audit log, from its entries up."""
    with opened.store.read() as conn:
        return verify_log(conn, opened.signer.public_key, opened.home.log, kept)


@dataclass
class Kept:
    """A drill as it stood once, for the tests that begin there."""

    folder: Path
    ids: dict[str, str]
    at: datetime

    @classmethod
    def of(cls, drill: Drill, folder: Path) -> Kept:
        """Copy it."""
        shutil.copytree(drill.house.home, folder / "home")
        shutil.copytree(drill.backup, folder / "backup")
        return cls(folder, dict(drill.ids), drill.clock.now())

    def again(self, house: Any, backup: Path) -> Drill:
        """The same, in the place of a house."""
        shutil.rmtree(house.home)
        shutil.copytree(self.folder / "home", house.home)
        shutil.copytree(self.folder / "backup", backup)
        return Drill(house, SteppedClock(self.at), backup, dict(self.ids))


@pytest.fixture(scope="module")
def shelf() -> dict[str, Kept]:
    """What was made once."""
    return {}


@pytest.fixture
def drill(house, tmp_path, tmp_path_factory, shelf) -> Drill:
    """Three deliveries, two of them published, and the backup of that moment."""
    if "drill" in shelf:
        return shelf["drill"].again(house, tmp_path / "backup")
    house.edit_policy('when = "arrival"', 'when = "0 7 1 1 *"')
    noon = SystemClock().now().astimezone(AMSTERDAM).replace(hour=12, minute=0, second=0, microsecond=0)
    drill = Drill(house, SteppedClock(noon), tmp_path / "backup")
    drill.send("first", "woonservice", signals(("w1", 18), ("w2", 20), ("w6", 28)))
    drill.send("wrong", "dezorgkas", signals(("z1", 26), sector="Zorg"))
    drill.publish()
    drill.send("waiting", "woonservice", signals(("w3", 22), ("w4", 24)))
    drill.do(lambda opened: make(opened, drill.backup, with_keys=False, actor="beheer"))
    shelf["drill"] = Kept.of(drill, tmp_path_factory.mktemp("drill"))
    return drill


@pytest.fixture
def lived(drill, tmp_path, tmp_path_factory, shelf) -> Drill:
    """The same, two weeks after the backup."""
    if "lived" in shelf:
        shutil.rmtree(drill.backup)
        return shelf["lived"].again(drill.house, drill.backup)
    live_on(drill)
    shelf["lived"] = Kept.of(drill, tmp_path_factory.mktemp("lived"))
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


def test_the_drill(lived) -> None:
    """Backup, early removals, purge, new deliveries, restore of the older backup: what was let go stays gone."""
    drill = lived
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
    # what others in the erased person's file would miss is out again before the file is gone
    assert [number for number in meldingen_numbers(drill) if number > 1000]
    # sealed bytes of what went are not there either
    there = {path.name for path in (drill.house.home / "data/vault").iterdir()}
    known = {row["blob"] for row in (*drill.rows(Delivery), *drill.rows(Dispatch)) if row["blob"]}
    assert there <= known
    assert vault - there
    # one log: what an auditor kept is continued
    assert drill.do(lambda opened: verified(opened, kept).problems) == []
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
    assert max(meldingen_numbers(drill)) > numbers["meldingen/middendrenthe"] + 1000
    assert drill.do(lambda opened: check(opened.pipeline()).differences) == ()
    assert drill.do(lambda opened: verified(opened, kept).problems) == []


def lay_back(drill: Drill) -> None:
    """As an administrator does by hand, who knows no command for it: `data/` of the backup, and nothing else."""
    data = drill.house.home / "data"
    shutil.rmtree(data)
    shutil.copytree(drill.backup / "data", data)


def test_put_back_by_hand(lived) -> None:
    """`log/` tells that the database is older: the start does the same, before the listener opens."""
    drill = lived
    kept = (drill.house.home / "log/checkpoint").read_text()
    lay_back(drill)
    assert "Bakker" in drill.readable()
    drill.do(lambda opened: Daemon(opened).recover())
    check_all_is_gone(drill)
    assert drill.lists("woonservice") == [drill.ids["taken back"], drill.ids["new"]]
    assert drill.do(lambda opened: verified(opened, kept).problems) == []


def test_without_the_log_it_starts_only_when_the_loss_is_accepted(lived) -> None:
    """Then what no key opens is gone all the same, and a new log begins that names the old one."""
    drill = lived
    numbers = {row["name"]: row["value"] for row in drill.rows(Counter)}
    shutil.rmtree(drill.house.home / "log")
    (drill.house.home / "log").mkdir()
    drill.put_back()
    with pytest.raises(AuditError, match="--accept-loss"):
        drill.replay()
    drill.do(lambda opened: opened.begin_log_again("beheer"))
    report = drill.replay()
    assert report is not None
    assert (report.removals, report.taken_in, report.lists) == (0, 0, 0)
    assert report.unopenable >= 3
    assert "Bakker" in drill.readable(), "without the list nobody knows: docs/operations.md says so"
    after = {row["name"]: row["value"] for row in drill.rows(Counter)}
    assert all(
        after[name] > number for name, number in numbers.items() if "/" in name and "passed" not in name
    )
    assert drill.do(lambda opened: verified(opened).problems) == []
    assert drill.do(lambda opened: check(opened.pipeline()).differences) == ()


def received(drill: Drill, name: str) -> bytes | None:
    """A received file, decrypted; None when nothing of it opens."""

    def read(opened: Any) -> bytes | None:
        with opened.store.read() as conn, open_received(opened.pipeline(), conn, drill.ids[name]) as reader:
            return None if reader is None else b"".join(reader.chunks())

    return drill.do(read)


def test_what_is_held_since_the_backup_opens_and_stays(drill) -> None:
    """Its data keys in the backup are under days that are gone: `log/` has them as they are. Lifted since, it goes."""

    def approved(change: Callable[..., None]) -> None:
        drill.do(
            lambda opened: change(
                opened.store, opened.keyring, asked.hold_id, ("anna", "bert"), clock=drill.clock, node="test"
            )
        )

    def next_night() -> None:
        drill.clock.step(timedelta(days=15))
        drill.do(lambda opened: opened.make_keys())
        assert drill.do(lambda opened: opened.purge()).errors == ()

    asked = drill.do(
        lambda opened: holds.ask(
            opened.store,
            [drill.ids["first"]],
            grounds="bezwaar",
            authority="Gemeente Midden-Drenthe",
            reference="2026-17",
            review_on=drill.clock.now().date() + timedelta(days=60),
            now=drill.clock.now(),
            node="test",
            actor="beheer",
        )
    )
    approved(holds.place)
    next_night()
    drill.put_back()
    assert received(drill, "first") is None
    assert drill.replay() is not None
    assert b"Bakker" in received(drill, "first")
    assert received(drill, "waiting") is None, "what nobody holds went on its day"
    next_night()
    assert b"Bakker" in received(drill, "first")
    approved(holds.lift)
    next_night()
    assert received(drill, "first") is None
    drill.put_back()
    assert drill.replay() is not None
    assert received(drill, "first") is None
    assert [row["lifted_at"] is not None for row in drill.rows(HoldRow)] == [True]
    assert drill.do(lambda opened: check(opened.pipeline()).differences) == ()


def meldingen_numbers(drill: Drill) -> list[int]:
    """The numbers of the municipality's files of meldingen that are held."""
    names = [
        row["name"] for row in drill.rows(Dispatch) if (row["kind"], row["state"]) == ("meldingen", "ready")
    ]
    return [int(name.rpartition("_")[2].removesuffix(".csv")) for name in names]


def damage_a_blob(backup: Path) -> None:
    """One byte of a sealed file."""
    blob = next((backup / "data/vault").iterdir())
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)


def cut_the_database(backup: Path) -> None:
    """The last page of the database."""
    database = backup / "data/gateway.db"
    database.write_bytes(database.read_bytes()[:-4096])


def lose_a_blob(backup: Path) -> None:
    """A sealed file is missing."""
    next((backup / "data/vault").iterdir()).unlink()


def add_a_file(backup: Path) -> None:
    """A file that nobody listed."""
    (backup / "data/gateway.db-wal").write_bytes(b"anything")


def cut_the_list(backup: Path) -> None:
    """The list of files was cut off at the end of a line, with all that it would have named."""
    lines = (backup / "SHA256SUMS").read_text().splitlines(keepends=True)
    (backup / "SHA256SUMS").write_text("".join(lines[:-1]))


def never_finish(backup: Path) -> None:
    """Cut off while it was made."""
    (backup / "SHA256SUMS").unlink()


def climb(backup: Path) -> None:
    """The list names a file outside."""
    text = (backup / "SHA256SUMS").read_text()
    (backup / "SHA256SUMS").write_text(text.replace("  config/gateway.toml", "  ../../gateway.toml"))


DAMAGES = (damage_a_blob, cut_the_database, lose_a_blob, add_a_file, cut_the_list, never_finish, climb)


def test_a_backup_that_is_not_whole_is_refused(drill) -> None:
    """And nothing of the home changes."""
    before = (drill.house.home / "data/gateway.db").read_bytes()
    for damage in DAMAGES:
        copy = drill.backup.with_name(damage.__name__)
        shutil.copytree(drill.backup, copy)
        damage(copy)
        assert drill.house.run("restore", copy, "--replace").code == 1, damage
        assert drill.house.run("backup", copy, "--verify").code == 1, damage
        assert (drill.house.home / "data/gateway.db").read_bytes() == before
        assert not (drill.house.home / "data/restored").exists()


def test_what_a_backup_holds(drill) -> None:
    """Database, sealed files, configuration and log, for its owner only; no key, no name; a list that others read."""
    names = {path.relative_to(drill.backup).as_posix() for path in drill.backup.rglob("*") if path.is_file()}
    assert {"data/gateway.db", "config/gateway.toml", "log/checkpoint", "SHA256SUMS", "backup.json"} <= names
    assert not any(name.startswith("keys/") for name in names)
    assert {oct(path.stat().st_mode & 0o077) for path in (drill.backup, *drill.backup.rglob("*"))} == {"0o0"}
    for path in drill.backup.rglob("*"):
        if path.is_file():
            assert not any(name.encode() in path.read_bytes() for name in NAMES.values()), path
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=drill.backup, check=False
    )
    assert done.returncode == 0
    assert drill.house.run("backup", drill.backup, "--verify").code == 0
    assert drill.house.run("doctor", "--backup", drill.backup).out.count("holds the database and none") == 1
    # nothing of what was deleted: every page is in use
    with closing(sqlite3.connect(drill.backup / "data/gateway.db")) as db:
        assert db.execute("PRAGMA freelist_count").fetchone() == (0,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_backup_beside_a_purge_and_an_upload(drill, tmp_path) -> None:
    """What goes while it is made is left out, what comes is not in it, and it is whole."""
    drill.clock.step(timedelta(days=15))
    drill.do(lambda opened: opened.make_keys())
    seen: list[int] = []

    def meanwhile(done: int, total: int) -> None:
        if not seen:
            drill.do(lambda opened: opened.purge())
            drill.send("meanwhile", "woonservice", signals(("w9", 24)))
        seen.append(total)

    made = drill.do(
        lambda opened: make(opened, tmp_path / "second", with_keys=False, actor="x", progress=meanwhile)
    )
    assert made.missing == ()
    assert made.purged > 0
    assert made.about.blobs == seen[0] - made.purged
    assert sums.verify(tmp_path / "second") == []
    put_back(Home(root=drill.house.home), tmp_path / "second", replace=True)
    drill.replay()
    assert drill.do(lambda opened: check(opened.pipeline()).differences) == ()
    assert drill.ids["meanwhile"] in drill.lists("woonservice")


def test_a_sealed_file_that_is_missing_is_told(drill, tmp_path) -> None:
    """It was not purged: somebody took it away."""
    blob = next(iter((drill.house.home / "data/vault").iterdir()))
    content = blob.read_bytes()
    blob.unlink()
    ran = drill.house.run("backup", tmp_path / "second")
    assert ran.code == 1
    assert blob.name in ran.err
    blob.write_bytes(content)


def test_where_a_backup_is_not_made(drill) -> None:
    """Over another one, or in the home itself; `--dated` makes a folder of its own each time."""
    assert "is not empty" in drill.house.run("backup", drill.backup).err
    assert "lies in the home" in drill.house.run("backup", drill.house.home / "backup").err
    shelf = drill.backup.parent / "shelf"
    assert drill.house.json("backup", shelf, "--dated")["missing"] == []
    (dated,) = shelf.iterdir()
    assert sums.verify(dated) == []
    ran = drill.house.run("backup", drill.backup.parent / "all", "--with-keys")
    assert "can still be read" in ran.err
    assert (drill.backup.parent / "all/keys/audit.key").exists()


def test_newer_data_is_not_lost_by_mistake(drill) -> None:
    """The home went on since the backup: it takes `--replace`. Over the same data it does not."""
    drill.send("new", "woonservice", signals(("w9", 24)))
    ran = drill.house.run("restore", drill.backup)
    assert (ran.code, "--replace" in ran.err) == (1, True)
    assert drill.ids["new"] in {row["id"] for row in drill.rows(Delivery)}
    (drill.house.home / "data/gateway.db").unlink()
    assert drill.house.run("restore", drill.backup).code == 0


def cut_off(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, turn: int) -> list[int]:
    """Die before the `turn`-th call of something; how many calls there were."""
    do, calls = getattr(where, name), [0]

    def counted(*args: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == turn:
            raise KeyboardInterrupt
        return do(*args, **named)

    monkeypatch.setattr(where, name, counted)
    return calls


def test_a_restore_that_was_cut_off_is_run_again(lived, monkeypatch) -> None:
    """At each step: nothing starts on half of it, and the same command brings it to its end."""
    drill = lived
    home = drill.house.home
    steps = [(Path, "unlink", 1), (Path, "rename", 1), (Path, "rename", 2), (restore, "set_mark", 1)]
    steps += [(restore, "sync_folder", turn) for turn in (1, 5)] + [(restore.shutil, "rmtree", 2)]
    for where, name, turn in steps:
        with monkeypatch.context() as patch:
            calls = cut_off(patch, where, name, turn)
            with pytest.raises(KeyboardInterrupt):
                drill.put_back()
        assert calls == [turn]
        if (home / "data/gateway.db").exists() and (home / "data/restored").exists():
            # it is in its place, and what a start would do first is not forgotten
            assert (home / "data/vault").is_dir()
    drill.put_back()
    assert drill.replay() is not None
    check_all_is_gone(drill)
    assert not (home / "data/restoring").exists()


def test_a_replay_that_was_killed_goes_on(lived, monkeypatch) -> None:
    """Before each of its commits, and after the last, but those of the purge in it: the same end as undisturbed."""
    drill = lived
    drill.put_back()
    home, aside = drill.house.home, drill.backup.with_name("aside")
    shutil.copytree(home, aside)
    # killed elsewhere: tests/end_to_end/test_killed.py
    monkeypatch.setattr(Gateway, "purge", lambda *_, **__: NOTHING_PURGED)

    def run(turn: int) -> list[str]:
        """A replay that dies before its `turn`-th commit; who committed, in order."""
        shutil.rmtree(home)
        shutil.copytree(aside, home)
        asked: list[str] = []
        write = Store.write

        def counted(store: Store) -> Any:
            frame = sys._getframe(1)
            asked.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
            if len(asked) == turn:
                raise KeyboardInterrupt
            return write(store)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", counted)
            with suppress(KeyboardInterrupt):
                drill.replay()
        return asked

    commits = run(0)
    undisturbed = drill.outcome()
    # a publication is killed elsewhere too
    of_replay = [each for each in commits if re.search(r"/(backup/|erasure|removing)", each)]
    firsts = sorted({commits.index(each) + 1 for each in of_replay})
    assert len(firsts) >= 6, commits
    for turn in firsts:
        assert run(turn) == commits[:turn]
        drill.replay()
        assert drill.outcome() == undisturbed, f"killed before {commits[turn - 1]}"
        assert [row["finished_at"] is not None for row in drill.rows(RestoreRow)] == [True]
    monkeypatch.undo()
    drill.do(lambda opened: opened.purge())
    check_all_is_gone(drill)


def test_beside_a_running_gateway(house) -> None:
    """A real one, over SFTP: backed up while it runs, put back, and its partners find what to send again."""
    house.write("one.csv", "s1;Huur;k1;Bakker;7938PL;18;600;60;J")
    house.write("two.csv", "s2;Huur;k2;Visser;7938PL;20;600;60;J")
    backup = house.path / "backup"
    house.serve()
    house.sftp("woonservice", "put one.csv inbox/one.csv")
    assert house.run("wait", "--idle").code == 0
    assert house.run("backup", backup).code == 0
    house.sftp("woonservice", "put two.csv inbox/two.csv")
    assert house.run("wait", "--idle").code == 0
    after = {each["id"] for each in house.json("deliveries", "list")}
    refused = house.run("restore", backup, "--replace")
    assert (refused.code, "runs on" in refused.err) == (2, True)
    assert house.stop() == 0
    # by hand, as who does not know the command; the next start sees it
    shutil.rmtree(house.home / "data")
    shutil.copytree(backup / "data", house.home / "data")
    house.serve()
    events = [each["event"] for each in house.events()]
    assert events.index("data.restored") < events.index("gateway.ready")
    held = {each["id"] for each in house.json("deliveries", "list")}
    (lost,) = after - held
    lists = [
        text for name, text in house.collect("woonservice", "returns").items() if "niet_hersteld" in name
    ]
    (text,) = lists
    assert re.search(
        rf"^{lost};\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00;\d+\r?$", text.decode(), re.MULTILINE
    )
    house.sftp("woonservice", "put two.csv inbox/two.csv")
    assert house.run("wait", "--idle").code == 0
    assert house.run("audit", "verify").code == 0
    assert house.run("ledger", "check").code == 0
    assert house.stop() == 0
