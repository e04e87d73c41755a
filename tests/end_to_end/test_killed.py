"""Kill -9: after any step, whatever was told to a partner holds, and the outcome is that of an undisturbed run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from paramiko import SSHException

from gateway.clock import AMSTERDAM
from gateway.exchange.keys import create_key
from gateway.store import reference
from gateway.store.tables import Delivery, SignalRow

sys.path.append(str(Path(__file__).parent))
from durable_steps import in_source  # beside this file, as for the driver
from killed_door import LATER

DRIVER = Path(__file__).with_name("kill_at_every_step.py")


#: Each point of each work, not one of each name: many minutes instead of one.
EVERY = ["every"] if os.environ.get("KILL_AT") == "every" else []

#: Steps at which nothing is killed, and why.
NOT_VISITED = {
    "cli/init.": "gateway init: it refuses a folder that holds something",
    "cli/demo.": "no part of a gateway",
    "demo/": "no part of a gateway",
    "audit/checkpoint.create_signing_key": "gateway init",
    "audit/loss.put_aside": "gateway serve --accept-loss: tests/audit/test_loss.py cuts it off before each step",
    "audit/publish.begin_again": "the same",
    "audit/prune.": "seven years later: tests/audit/test_prune.py cuts it off before each step",
    "audit/mark.": "gateway restore, or a loss that is accepted: tests/cli/test_cli_backup.py",
    "audit/removals.drop": "a record's day is over: tests/audit/test_removals.py",
    "backup/": "gateway backup, restore and replay: tests/cli/test_cli_backup.py cuts them off",
    "pipeline/erasure.erase_again": "the replay",
    "pipeline/removing.remove_again": "the replay",
    "retention/hold_records.": "what a hold keeps, again at each checkpoint: tests/cli/test_cli_backup.py",
    "exchange/guard.forget_process": "one of several processes ended: until it is counted, its sessions lapse by themselves",
    "cli/export_keyset.": "gateway export-keyset: a file outside the home, after its entry",
    "pipeline/keyset.": "the same",
    "vault/keyring.Keyring.create": "gateway init",
    "store/reference.": "gateway reference load: the old table stays until the new one is whole",
    "cli/reference.": "gateway reference load",
    "pipeline/preview.": "its only transaction records who looked",
    "pipeline/explain.": "its only transaction records who looked",
    "cli/ring.": "an entry alone, of what was done: tests/vault/test_root.py and test_copies.py kill and cut what it tells of",
    "cli/scrub.": "an entry alone, of what was found: tests/cli/test_cli_scrub.py",
    "cli/approve.": "an entry of what was taken: tests/cli/test_cli_approve.py kills what follows it",
    "retention/approvals._carry_out": "killed before and after in tests/cli/test_cli_approve.py",
    "retention/approvals._hand_out": "where a municipality approves; letters are seen to be there once in test_cli_approve.py",
    "retention/clock_guard.": "a note by itself, of the system's clock alone",
    "retention/holds.ask": "a request for approval, in one transaction",
    "retention/holds.": "place, lift and the keys: killed before each commit in tests/retention/test_holds.py",
    "retention/ring.": "as cli/ring.; an end before its day: tests/pipeline/test_ring_keys.py kills at each step",
    "retention/versions.": "keys rewrap, retire: killed at each step in tests/pipeline/test_ring_keys.py",
    "retention/compromise.": "keys compromise: the same",
    "pipeline/retoken.": "the same",
    "retention/keys._follow": "an older database was put back: one transaction, in tests/pipeline/test_ring_keys.py",
    "vault/copies.": "keys add-copy: tests/vault/test_copies.py",
    "vault/root.": "keys rotate-root, gateway init: killed in tests/vault/test_root.py",
    "vault/keyring.Keyring._finish_root": "keys rotate-root; with a token also a purge: tests/vault/test_pkcs11.py kills it",
    "vault/keyring.Keyring._replace_master": "with a token alone: tests/vault/test_pkcs11.py kills before each step",
    "vault/keyring.Keyring._note_destruction": "the same",
    "vault/keyring._caught_up": "a copy that was away is back: tests/vault/test_copies.py",
    "vault/keyring.Keyring._wrap_again": "keys rotate-root",
    "supervisor.serve": "removes what the start writes anew",
    "supervisor.Supervisor.run": "the same",
}

#: The points at which this run killed: before or after a step.
KILLED_AT: set[str] = set()


@dataclass(frozen=True)
class Sweep:
    """Where it was killed, with the outcome of each; and that of an undisturbed run."""

    killed: list[tuple[str, dict]]
    undisturbed: dict
    #: what a start found at once, beside each outcome; the last one is that of the undisturbed run
    found: list[dict]


async def killed_at_every_step(home: Path, work: str, at: datetime) -> Sweep:
    """Do a piece of work over and over, each time killed at another durable step."""
    (home.parent / "visited").write_text("" if EVERY else "\n".join(KILLED_AT))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, DRIVER, home, work, at.isoformat(), *EVERY), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    points = (home.parent / f"{work}-0.points").read_text().splitlines()
    numbers = sorted(int(path.stem.rpartition("-")[2]) for path in home.parent.glob(f"{work}-*.json"))
    first, *told = [json.loads((home.parent / f"{work}-{number}.json").read_text()) for number in numbers]
    # where threads race, a later point of a name may not come again
    told = [each for each in told if each["killed"]]
    killed = [(each["killed"], each["outcome"]) for each in told]
    KILLED_AT.update(name for name, _ in killed)
    assert {*points} <= KILLED_AT
    print(f"{work}: {len(points)} points of {len({*points})} names, killed at {len(killed)}")  # noqa: T201
    return Sweep(killed, first["outcome"], [each["found"] for each in (*told, first)])


def check(sweep: Sweep) -> dict:
    """Killed at many steps, the same outcome each time."""
    for where, outcome in sweep.killed:
        audit = Counter(outcome["audit"]), Counter(sweep.undisturbed["audit"])
        assert outcome == sweep.undisturbed, f"killed {where}: {audit[0] - audit[1]} {audit[1] - audit[0]}"
    check_whole(sweep.undisturbed)
    return sweep.undisturbed


def check_whole(outcome: dict) -> None:
    """No blob without a row, no row without its blob, and everything is accounted for."""
    assert (outcome["orphans"], outcome["missing"], outcome["differences"]) == ([], [], [])


def received(outcome: dict, size: int) -> list[str]:
    """The states of the files of that size that were not given up."""
    return [state for held, state in outcome["sizes"] if held == str(size) and state != "aborted"]


async def test_killed_during_intake(closed_town, signal, csv_file):
    """Killed before and after every durable step of intake: the same signals, one receipt, the same statuses."""
    town = closed_town
    town.edit("municipalities/GM1731.toml", 'when = "arrival" ', 'when = "0 7 * * *" ')
    await town.start()
    await town.deliver("woonservice", signal("w1", klantnummer="k"), signal("w2", huisnummer=26))
    town.clock.set(datetime(2026, 11, 4, 7, 0, tzinfo=AMSTERDAM))
    await town.settle()
    changes = [
        signal("w1", klantnummer="k", mutatie="W", bedrag="700,00"),
        signal("w2", mutatie="I", huisnummer=26),
        signal("w3", klantnummer="k"),
        signal("w4", sector="?"),
    ]
    await town.stop()
    # two that are refused together, before what is taken
    for name in ("brief.pdf", "bijlage.pdf"):
        town.place("woonservice", name, b"%PDF")
    town.place("woonservice", "wijziging.csv", csv_file(*changes))
    end = check(await killed_at_every_step(town.home, "pipeline", town.clock.now()))
    receipts = [name for name in end["files"] if name.startswith("woonservice/returns/ontvangst")]
    assert len(receipts) == 4 + 2 * 2
    assert sorted(row[3] for row in end["signals"] if row[4] == "True") == [
        "superseded",
        "waiting",
        "withdrawn",
    ]


async def test_killed_during_publication(town, signal, csv_file):
    """Killed before and after every durable step of publication: one file, one version, one status each."""
    await town.deliver("woonservice", signal("w1"), signal("w2", huisnummer=26))
    await town.settle()
    await town.deliver("woonservice", signal("w2", mutatie="W", bedrag="1,00", huisnummer=26), name="w.csv")
    await town.deliver("dezorgkas", signal("z1", sector="Zorg"))
    await town.stop()
    at = town.clock.now() + timedelta(seconds=6)
    end = check(await killed_at_every_step(town.home, "pipeline", at))
    files = [name.rpartition("_")[2] for name in end["files"] if name.startswith("middendrenthe/outbox")]
    worklist = ["2026-11.xlsx", "2026-11.xlsx.manifest.json"]
    assert files == ["1.csv", "1.csv.manifest.json", "2.csv", "2.csv.manifest.json", *worklist]


async def test_killed_while_eight_files_are_closed(town):
    """They share syncs and commits: whichever was told OK is received, once; of the others nothing is left."""
    await town.stop()
    sweep = await killed_at_every_step(town.home, "closes", town.clock.now())
    assert len(sweep.undisturbed["told"]) == 8
    assert any(outcome["told"] == [] for _, outcome in sweep.killed)
    for _, outcome in (*sweep.killed, ("nowhere", sweep.undisturbed)):
        check_whole(outcome)
        for number in range(8):
            states = received(outcome, number + 1)
            assert len(states) <= 1
            if f"told-{number}.ok" in outcome["told"]:
                assert states == ["staged" if number % 2 else "arrived"]
        assert len(outcome["data_keys"]) == sum(row[1] != "aborted" for row in outcome["deliveries"])


async def test_killed_during_a_visit(town, signal):
    """A real client meets an error that it can read, no silence; whatever was answered with OK holds."""
    await town.deliver("woonservice", signal("w1"))
    await town.stop()
    shutil.copy(town.keys["woonservice"], town.home.parent / "woonservice.key")
    sweep = await killed_at_every_step(town.home, "visit", town.clock.now())
    assert "told-error " in sweep.undisturbed["told"]
    assert len(sweep.undisturbed["told"]) == 15
    for where, outcome in (*sweep.killed, ("nowhere", sweep.undisturbed)):
        told = {name.removeprefix("told-") for name in outcome["told"]}
        check_whole(outcome)
        if "error " in told:
            assert len(told) == 15, f"killed {where}, and a client saw nothing of it"
        held = {size: received(outcome, size) for size in (1001, 1002, 1003, 1004, 100_005, 1006, 1007)}
        assert all(len(states) <= 1 for states in held.values()), (where, held)
        claims = (
            ("put a", held[1001] == ["arrived"]),
            ("put b", held[1002] in (["staged"], ["arrived"])),
            ("rename b", held[1002] == ["arrived"]),
            ("put c", "put c again" in told or "staged" in held[1003] + held[1004]),
            ("put c again", held[1003] == []),
            ("remove c", held[1004] == []),
            ("put e", "rename f" in told or held[1006] == ["staged"] or held[1007] == ["staged"]),
            ("rename f", (held[1006], held[1007]) == ([], ["staged"])),
            ("collect", any(row[2] == "collected" for row in outcome["dispatches"])),
            ("remove receipt", any(row[4] != "None" for row in outcome["dispatches"])),
        )
        assert [name for name, holds in claims if name in told and not holds] == [], where
        assert held[100_005] == []


async def test_killed_during_a_start_and_a_stop(town, signal):
    """With something half received, an orphan, a file to process and keys to make: a start does the same again."""
    await town.deliver("woonservice", signal("w1"))
    await town.stop()
    town.leave_behind("woonservice")
    at = town.clock.now() + timedelta(days=2)
    end = check(await killed_at_every_step(town.home, "start", at))
    assert [row[1] for row in end["deliveries"]] == ["aborted", "processed"]


async def test_killed_during_a_night(town, signal):
    """The jobs of a night: keys, purge, checkpoint and tiles, what nobody renamed."""
    await town.deliver("woonservice", signal("w1"))
    await town.stop()
    town.place("woonservice", "a.part", b"x")
    town.fill_log(100)
    end = check(await killed_at_every_step(town.home, "night", town.clock.now() + timedelta(days=1)))
    assert sorted(row[1] for row in end["deliveries"]) == ["processed", "purged"]


async def test_killed_at_set_times(town, signal):
    """A stand, termijnen and an aanleveroverzicht: each is made once, whole, with its manifest."""
    await town.deliver("woonservice", signal("w1"))
    await town.settle()
    await town.stop()
    at = datetime(2026, 12, 1, 7, 0, tzinfo=AMSTERDAM)
    town.make_keys_on(at)  # so many steps, which others visit
    end = check(await killed_at_every_step(town.home, "regular", at))
    made = sorted(
        name
        for name in end["files"]
        if name.rpartition("/")[2].startswith(("stand", "termijnen", "aanleveroverzicht"))
    )
    assert made == [
        "middendrenthe/outbox/aanleveroverzicht_GM1731_2026-11.csv",
        "middendrenthe/outbox/aanleveroverzicht_GM1731_2026-11.csv.manifest.json",
        "middendrenthe/outbox/termijnen_GM1731_2026-12-01.csv",
        "middendrenthe/outbox/termijnen_GM1731_2026-12-01.csv.manifest.json",
        "woonservice/returns/stand_2026-12.csv",
    ]
    assert all(
        end["audit"].count(f"{kind}.listed") == 1 for kind in ("statement", "deadlines", "delivery_report")
    )


async def test_killed_while_an_administrator_decides(town, signal):
    """A file taken back before it was published, one rejected, one tried again, one cut off: each once."""
    await town.deliver("woonservice", signal("w1"), signal("w2", huisnummer=26))
    await town.stop()
    for partner in ("dezorgkas", "stroomhuis", "vitens"):
        town.clock.step(timedelta(seconds=1))
        town.place(partner, "a.csv", b"x")
        town.crash(partner, "processing", *(["failed"] if partner != "vitens" else []))
    at = town.clock.now() + timedelta(hours=1)
    end = check(await killed_at_every_step(town.home, "withdraw", at))
    assert sorted(row[1] for row in end["deliveries"]) == ["processed", *["rejected"] * 3]
    assert end["audit"].count("delivery.withdrawn") == end["audit"].count("delivery.retried") == 1


async def test_killed_while_signals_are_rerouted(town, signal):
    """Two deliveries, each in one transaction: every signal is where it belongs, and each is told of it once."""
    nowhere = {"postcode": "9423AB"}
    await town.deliver(
        "woonservice", signal("w1", huisnummer=1, **nowhere), signal("w2", huisnummer=2, **nowhere)
    )
    await town.deliver("dezorgkas", signal("z1", sector="Zorg", huisnummer=1, **nowhere))
    await town.settle()
    await town.stop()
    reference.load(town.home / "data/reference.db", [("9423AB", 1, "GM1731"), ("9423AB", 2, "GM1701")])
    end = check(await killed_at_every_step(town.home, "reroute", town.clock.now()))
    assert Counter(row[3] for row in end["signals"]) == {"waiting": 2, "not_connected": 1}
    assert end["audit"].count("signals.rerouted") == 2


async def test_killed_during_a_purge(town, signal):
    """Everything of a delivery goes: blobs, rows, tokens, keys; the certificate and the lists are made once."""
    await town.deliver("woonservice", signal("w1"))
    await town.settle()
    await town.collect("middendrenthe")
    await town.stop()
    for _ in range(2):  # most keys of the days between are gone already
        town.purge_on(town.clock.now() + timedelta(days=90))
    town.clock.step(timedelta(days=3))
    end = check(await killed_at_every_step(town.home, "purge", town.clock.now()))
    assert end["signals"] == []


async def test_killed_at_the_door(town, signal):
    """Penalties and sessions come together, and a penalty goes with its entry: a start knows them, or it does not."""
    await town.deliver("woonservice", signal("w1"))
    await town.stop()
    sweep = await killed_at_every_step(town.home, "door", town.clock.now())
    assert sweep.undisturbed["told"] == ["told-damaged", "told-lift", "told-look", "told-use"]
    entries = ("penalty.lifted", "blob.damaged")
    for (where, outcome), found in zip(
        (*sweep.killed, ("nowhere", sweep.undisturbed)), sweep.found, strict=True
    ):
        told = {name.removeprefix("told-") for name in outcome["told"]}
        check_whole(outcome)
        lifted, damaged = (outcome["audit"].count(action) for action in entries)
        looked = found["inside"] == {"woonservice": 1}
        # of twelve refusals by one address
        assert found["held"] == ({"198.51.100.7": 12} if looked and not lifted else {}), where
        assert (found["refused"] == "penalised") == bool(found["held"]), where
        assert found["used"] in ([], ["woonservice"])
        assert {lifted, damaged} <= {0, 1}
        claims = (("look", looked), ("use", found["used"]), ("lift", lifted), ("damaged", damaged))
        assert [name for name, holds in claims if name in told and not holds] == [], where


async def test_killed_while_a_municipality_answers_lists_and_asks(town, signal, csv_file):
    """Feedback, an exclusion of one who waits, a WISSEN that is carried out: each once, and gone whole."""
    smit = {"achternaam": "Smit", "geboortedatum": "1970-01-02", "huisnummer": 20}
    await town.deliver("woonservice", signal("w1"), signal("w2", **smit))
    await town.settle()
    lines = {line["klantnummer"]: line for line in (await town.collect("middendrenthe")).lines}
    await town.deliver("dezorgkas", signal("z1", sector="Zorg", achternaam="Visser"))
    await town.stop()
    number = lines["k-w1"]["signaalnummer"]
    person = {"postcode": "7938PL", "uitsluiten_tot": "2027-03-31"}
    ask = {"avg_verzoek": "WISSEN", "verzoek_id": "1", **smit, "mutatie": "N"}
    for name, rows in (
        ("antwoord.csv", [{"signaalnummer": number, "status": "Opgepakt", "datum": "2026-11-03"}]),
        (
            "lijst.csv",
            [person | smit, person | {"achternaam": "Visser", "huisnummer": 18, "geboortedatum": ""}],
        ),
        ("verzoek.csv", [{key: value for key, value in ask.items() if key != "huisnummer"}]),
    ):
        town.clock.step(timedelta(seconds=1))
        town.place("middendrenthe", name, csv_file(*rows))
    at = town.clock.now() + timedelta(days=1)
    town.make_keys_on(at)  # so many steps, which others visit
    end = check(await killed_at_every_step(town.home, "municipality", at))
    assert sorted(row[3] for row in end["signals"]) == ["excluded", "passed_on"]
    for action in ("request.carried_out", "request.finished", "signals.excluded"):
        assert end["audit"].count(action) == 1
    told = {name.rpartition("/")[2].partition("_")[0] for name in end["files"]}
    assert {"terugkoppeling", "signaalstatus", "verklaring", "vernietigd"} <= told


async def test_killed_during_commands(closed_town):
    """Keys of a partner and of the host: the old files or the new ones, whole; a start takes them up, and goes on.

    No host key comes or goes that the audit log does not tell of.
    """
    town = closed_town
    town.edit("gateway.toml", "#port = 2223", "port = 0")
    create_key(town.path / "next", comment="")
    town.place("woonservice", "a.csv", b"x")
    at = datetime.now(AMSTERDAM)
    for day in (at, at + LATER):
        town.make_keys_on(day)  # so many steps, which others visit
    sweep = await killed_at_every_step(town.home, "commands", at)
    for (where, outcome), found in zip(
        (*sweep.killed, ("nowhere", sweep.undisturbed)), sweep.found, strict=True
    ):
        check_whole(outcome)
        assert len(outcome["deliveries"]) == 1
        assert found["end"]["untold"] == found["untold"] == [], where
        assert (found["end"]["partner"], found["end"]["known"]) == ([2, True, True], 3), where
        assert found["end"]["in force"], where
        claims = {
            "partner rotate woonservice": found["partner"] != [1, False, False],
            "partner disable woonservice": found["partner"] == [2, True, True],
            "keys host rotate": found["known"] > 1,
            "later": found["known"] == 3,
            "reload": found["in force"],
        }
        states = ([1, False, False], [2, True, False], [2, True, True])
        assert found["partner"] in states, where
        assert [name for name in claims if name in found["told"] and not claims[name]] == [], where


async def test_killed_between_close_and_processing(village, signal, csv_file):
    """Kill -9 of `gateway serve` after OK and before processing: after a start the file is processed, once."""
    await village.start()
    with village.opened() as gateway:
        with gateway.store.exclusive():  # processing waits, as it does for a command that publishes
            await village.put("woonservice", "huur.csv", csv_file(signal("w1")))
            await village.put("dezorgkas", "zorg.csv", csv_file(signal("z1", sector="Zorg")))
            await village.kill()
        with gateway.store.read() as conn:
            states = [row.state for row in conn.execute(Delivery.__table__.select())]
        assert states == ["arrived", "arrived"]
    await village.start()
    await village.idle()
    boxes = await village.collect("woonservice")
    assert (boxes.receipt["sommen"]["signalen"], boxes.statuses) == (1, [("w1", "D10")])
    lines = (await village.collect("middendrenthe")).lines
    assert sorted((line["partner"], line["matchregels"]) for line in lines) == [
        ("dezorgkas", "MEERVOUDIG"),
        ("woonservice", "MEERVOUDIG"),
    ]
    assert await village.stop() == 0


async def test_killed_half_way_an_upload(village, signal, csv_file):
    """Kill -9 of `gateway serve` within an upload: the partner is not told OK, and after a start nothing is left of it."""
    await village.start()
    content = csv_file(*(signal(f"w{number}", huisnummer=number) for number in range(1, 500)))
    loop = asyncio.get_running_loop()

    def cut():
        with village.paramiko("woonservice") as client:
            file = client.open("inbox/signalen.csv", "w")
            file.write(content[:20_000])
            asyncio.run_coroutine_threadsafe(village.kill(), loop).result()
            with pytest.raises((OSError, EOFError, SSHException)):
                file.write(content[20_000:])

    await asyncio.to_thread(cut)
    await village.start()
    assert list((village.home / "data" / "vault").iterdir()) == []
    assert (await village.collect("woonservice")).files == {}
    await village.put("woonservice", "signalen.csv", content)
    await village.idle()
    assert (await village.collect("woonservice")).receipt["sommen"]["signalen"] == 499
    with village.opened() as gateway, gateway.store.read() as conn:
        assert len(conn.execute(SignalRow.__table__.select()).all()) == 499


def test_every_durable_step_was_visited():
    """Each fsync, rename, unlink and commit that the code has was killed before and after, or stands in the list above."""
    if not KILLED_AT:
        pytest.skip("tells of the other tests of this file, in the same process")
    steps = in_source()
    excused = {step for step in steps if step.partition(" ")[2].startswith(tuple(NOT_VISITED))}
    for step in sorted(steps - excused, key=lambda step: step.partition(" ")[2]):
        print(step)  # noqa: T201
    wanted = {f"{side} {step}" for step in steps - excused for side in ("before", "after")}
    assert wanted <= KILLED_AT, f"not visited: {sorted(wanted - KILLED_AT)}"
    assert wanted >= KILLED_AT, f"not found in the source: {sorted(KILLED_AT - wanted)}"
