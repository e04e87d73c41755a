"""`gateway scrub`, beside a gateway whose keys are away."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing

from gateway.cli.opened import actor


def entries(home) -> list[dict[str, str]]:
    """What the log says of damage."""
    with closing(sqlite3.connect(home / "data/gateway.db")) as db:
        found = [json.loads(entry) for (entry,) in db.execute("SELECT entry FROM audit_entry ORDER BY id")]
    return [entry for entry in found if entry["action"] == "blob.damaged"]


def test_whole_damaged_and_left_over(house):
    """Exit 0 and figures; exit 1, a table with what to do, and an entry for each: the id, and who looked."""
    house.receive("woonservice", "een.csv", b"een")
    house.receive("woonservice", "twee.csv", b"twee")
    (house.home / "keys").rename(house.path / "away")
    ran = house.run("scrub")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("✓ Every sealed file is as it was written: 2 sealed files, ")
    assert "2 not processed yet and without a digest: their size was compared" in " ".join(ran.out.split())
    told = house.json("scrub")
    assert (told["ok"], told["blobs"], told["damaged"], told["findings"]) == (True, 2, {}, [])
    assert told["undigested"] == 2
    assert set(told) == {"ok", "blobs", "undigested", "bytes", "seconds", "damaged", "findings"}

    with closing(sqlite3.connect(house.home / "data/gateway.db")) as db:
        (one, first), (other, second) = db.execute("SELECT id, blob FROM delivery ORDER BY arrival")
    vault = house.home / "data/vault"
    whole = {name: (vault / name).read_bytes() for name in (first, second)}
    os.truncate(vault / first, 10)
    (vault / second).write_bytes(whole[second] + b"\0")
    orphan = vault / ("0" * 32)
    orphan.write_bytes(b"left over")
    os.utime(orphan, (time.time() - 120,) * 2)
    ran = house.run("scrub")
    assert ran.code == 1
    for said in (
        "3 are not as they should be",
        one,
        other,
        "truncated",
        "altered",
        "orphaned",
        "backup of data/vault",
    ):
        assert said in ran.out
    logged = {(each["object"], each["result"], each["actor"], each["origin"]) for each in entries(house.home)}
    assert logged == {
        (one, "truncated", actor(), "cli"),
        (other, "altered", actor(), "cli"),
        (orphan.name, "orphaned", actor(), "cli"),
    }
    ran = house.run("scrub", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["ok"]) == (1, False)
    assert told["damaged"] == {"truncated": 1, "altered": 1, "orphaned": 1}
    assert {(each["id"], each["damage"], each["partner"]) for each in told["findings"]} == {
        (one, "truncated", "woonservice"),
        (other, "altered", "woonservice"),
        ("", "orphaned", ""),
    }

    orphan.unlink()
    for name, contents in whole.items():
        (vault / name).write_bytes(contents)
    assert house.run("scrub").code == 0
    (house.path / "away").rename(house.home / "keys")
