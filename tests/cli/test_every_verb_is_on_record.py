"""Every command that changes something is in the audit log, with who ran it; every other changes nothing (spec 4)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta

import typer

from gateway import supervisor
from gateway.audit.mark import set_mark
from gateway.cli.app import command_line
from gateway.cli.opened import actor
from gateway.clock import SystemClock, local_day
from gateway.domain.guard import Standing
from gateway.exchange import host_keys
from gateway.pipeline.worker import step
from gateway.retention import holds
from gateway.store import guard

ROWS = ("s1;Huur;k1;Bakker;7938PL;18;600;60;J", "s2;Huur;k2;Visser;9999ZZ;1;600;60;J")
TABLE = "PC6;Huisnummer;Buurt2025;Wijk2025;Gemeente2025\n9999ZZ;1;17310100;173101;1731\n"

#: What changes something -> the action of its entry. In the order in which they are run below.
CHANGES: Mapping[str, str] = {
    "init": "log.started",
    "municipality add": "municipality.added",
    "partner add": "partner.added",
    "partner rotate": "partner.key_rotated",
    "partner disable": "partner.disabled",
    "keys host rotate": "host_key.rotated",
    "keys host retire": "host_key.retired",
    "keys add-copy": "key_copy.added",
    "keys rewrap": "key.rewrapped",
    "keys retire": "key.retired",
    "keys compromise": "key.compromised",
    "keys destroy": "key.destroyed",
    "keys rotate-root": "root_key.rotated",
    "guard lift": "penalty.lifted",
    "publish": "meldingen.published",
    "match preview": "policy.previewed",
    "match explain": "melding.explained",
    "reference load": "reference.loaded",
    "reroute": "signals.rerouted",
    "export-keyset": "key.exported",
    "deliveries withdraw": "delivery.withdrawn",
    "deliveries retry": "delivery.retried",
    "deliveries reject": "delivery.rejected",
    "retention approve": "approval.dropped",
    "retention hold add": "hold.asked",
    "retention hold lift": "hold.lift_asked",
    "retention run": "purge.started",
    "backup": "backup.made",
    "restore": "data.restored",
    "retention replay": "data.restored",
    "partner leave": "partner.left",
    "serve": "log.restored",
}
#: What reads only, with what it is told here.
READS: Mapping[str, tuple[str, ...]] = {
    "check": (),
    "status": (),
    "doctor": (),
    "scrub": (),
    "health": (),
    "wait": ("--idle",),
    "deliveries show": ("DELIVERY",),
    "deliveries trace": ("DELIVERY",),
    "deliveries list": (),
    "ledger check": (),
    "retention due": (),
    "retention log": (),
    "retention hold list": ("--all",),
    "retention certificate": (),
    "audit verify": (),
    "audit show": (),
    "audit export": ("FOLDER",),
    "requests list": (),
    "guard list": (),
    "partner list": (),
    "partner show": ("woonservice",),
    "partner keys": ("woonservice",),
    "partner try": ("woonservice", "FILE"),
    "keys status": (),
    "keys verify": (),
    "keys host status": (),
    "municipality list": (),
    "reference status": (),
}
#: Makes a home of its own, in a time of its own, and throws it away.
ELSEWHERE = {"demo"}


def commands() -> set[str]:
    """Every command there is, by its words."""
    found = set()

    def walk(command, words):
        below = getattr(command, "commands", None)
        if below is None:
            found.add(" ".join(words))
            return
        for name, each in below.items():
            walk(each, (*words, name))

    walk(typer.main.get_command(command_line(())), ())
    return found


def test_every_verb_is_in_a_table():
    """A new one does not come in without saying what it leaves behind."""
    assert commands() == {*CHANGES, *READS, *ELSEWHERE}
    assert len(commands()) == len(CHANGES) + len(READS) + len(ELSEWHERE)


def entries(home) -> list[dict[str, str]]:
    """The whole log, in its order."""
    with closing(sqlite3.connect(home / "data/gateway.db")) as db:
        return [json.loads(entry) for (entry,) in db.execute("SELECT entry FROM audit_entry ORDER BY id")]


def files(home) -> dict[str, str]:
    """What lies in the home but the database and what a daemon tells of itself."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*")
        if path.is_file() and path.name[:10] != "gateway.db" and path.parent.name != "run"
    }


def received(house, name: str = "signalen.csv") -> str:
    """A delivery that was received and processed; its id."""
    before = {each["id"] for each in house.json("deliveries", "list")}
    house.receive("woonservice", name, house.write(name, *ROWS).read_bytes())
    with house.opened() as opened:
        while step(opened.pipeline()):
            pass
        opened.sign()
    (delivery,) = {each["id"] for each in house.json("deliveries", "list")} - before
    return delivery


def test_what_reads_only_commits_nothing(house):
    """Not a row is written and not a file of the home changes, whatever the command finds."""
    delivery = received(house)
    home, folder = house.home, house.path / "export"
    told = {"DELIVERY": delivery, "FOLDER": str(folder), "FILE": str(house.path / "signalen.csv")}
    with closing(sqlite3.connect(home / "data/gateway.db")) as db:

        def version() -> int:
            return int(db.execute("PRAGMA data_version").fetchone()[0])

        commits, contents = version(), files(home)
        for command, words in READS.items():
            ran = house.run(*command.split(), *(told.get(word, word) for word in words))
            assert ran.code in {0, 1}, (command, ran)
            assert version() == commits, f"{command} wrote to the database"
            assert files(home) == contents, f"{command} changed a file"
        assert house.run("retention", "approve").code == 0
        for command in ("retention run", "reroute"):
            assert house.run(*command.split(), "--dry-run").code == 0
            assert (version(), files(home)) == (commits, contents), f"{command} --dry-run changed something"


def test_what_changes_something_is_on_record_with_who_ran_it(house, key_file, monkeypatch):
    """Each command is run on a home where it has something to change: its own entry, by this login."""
    house.edit_policy('when = "arrival"', 'when = "0 7 1 1 *"')
    delivery = received(house)
    table = house.path / "cbs.csv"
    table.write_text(TABLE)
    policy = house.path / "other.toml"
    policy.write_text('[matching]\nkey = "person"\n')
    made = house.path / "made"
    now = SystemClock().now()
    with house.opened() as opened:
        with opened.store.write() as conn:
            guard.set_standing(conn, "203.0.113.7", Standing(12, now + timedelta(minutes=4)))
        old_key = host_keys.calendar(opened.home.keys)[0].fingerprint

    def serve(gateway, *, host, port):
        """The daemon, which this is not about."""

    monkeypatch.setattr(supervisor, "serve", serve)

    def fail() -> str:
        return house.fail("dezorgkas", ROWS[0].replace("Huur", "Zorg"))

    def melding() -> str:
        with closing(sqlite3.connect(house.home / "data/gateway.db")) as db:
            return str(db.execute("SELECT id FROM melding LIMIT 1").fetchone()[0])

    def day(days: int) -> str:
        return f"until-{local_day(now) + timedelta(days=days)}"

    def old_day() -> str:
        with house.opened() as opened:
            opened.keyring.ensure(["until-2026-01-02"])
        return "until-2026-01-02"

    def put_back_by_hand() -> tuple[object, ...]:
        set_mark(house.home / "data")
        return ()

    def asked() -> str:
        house.run("keys", "destroy", f"until-{local_day(now)}")
        (request,) = house.json("retention", "approve")
        return str(request["number"])

    def in_force() -> tuple[object, ...]:
        (hold,) = house.json("retention", "hold", "list")
        with house.opened() as opened:
            holds.place(
                opened.store, opened.keyring, hold["id"], ("a", "b"), clock=opened.clock, node=opened.node
            )
        return (hold["id"],)

    def lose_the_log() -> str:
        with house.opened() as opened:
            opened.sign()
        (house.home / "log/checkpoint").unlink()
        return "--accept-loss"

    told: Mapping[str, Callable[[], tuple[object, ...]]] = {
        "init": lambda: (made,),
        "municipality add": lambda: ("GM0114",),
        "partner add": lambda: (
            "rekenkamer",
            "--role",
            "auditor",
            "--scope",
            "all",
            "--key",
            key_file("rekenkamer"),
        ),
        "partner rotate": lambda: ("woonservice", "--key", key_file("nieuw")),
        "partner disable": lambda: ("rekenkamer",),
        "keys host rotate": lambda: ("--from", str(local_day(now))),
        "keys host retire": lambda: (old_key,),
        "keys add-copy": lambda: (house.path / "copy",),
        "keys rewrap": lambda: (day(30),),
        "keys retire": lambda: (day(30),),
        "keys compromise": lambda: (day(14),),
        "keys destroy": lambda: (old_day(),),
        "keys rotate-root": lambda: (),
        "guard lift": lambda: ("203.0.113.7",),
        "publish": lambda: ("--all",),
        "match preview": lambda: ("--municipality", "GM1731", "--policy", policy),
        "match explain": lambda: (melding(),),
        "reference load": lambda: (table,),
        "reroute": lambda: (),
        "export-keyset": lambda: ("--delivery", delivery, "--out", house.path / "keyset.json"),
        "deliveries withdraw": lambda: (delivery, "--reason", "Verkeerd bestand."),
        "deliveries retry": lambda: (fail(),),
        "deliveries reject": lambda: (fail(), "--reason", "Onleesbaar."),
        "retention approve": lambda: (asked(), "--drop"),
        "retention hold add": lambda: (
            delivery,
            *("--grounds", "rechtszaak", "--authority", "Rechtbank Noord-Nederland"),
            *("--reference", "C/19/112233", "--review", str(local_day(now) + timedelta(days=30))),
        ),
        "retention hold lift": in_force,
        "retention run": lambda: (),
        "backup": lambda: (house.path / "backup",),
        "restore": lambda: (house.path / "backup", "--replace"),
        "retention replay": put_back_by_hand,
        "partner leave": lambda: ("dezorgkas",),
        "serve": lambda: (lose_the_log(),),
    }
    assert told.keys() == CHANGES.keys()
    for command, action in CHANGES.items():
        words = told[command]()
        home = made if command == "init" else house.home
        before = 0 if command == "init" else len(entries(home))
        ran = house.run(*command.split(), *words)
        assert ran.code == 0, (command, ran)
        mine = [
            (each["actor"], each["origin"]) for each in entries(home)[before:] if each["action"] == action
        ]
        assert mine, f"{command} left no {action}"
        assert set(mine) == {(actor(), "cli")}, command
