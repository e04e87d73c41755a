"""`gateway ledger check` and `gateway deliveries show, trace, withdraw`, beside a running gateway."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from gateway.cli.opened import actor

ROWS = (
    "s1;Huur;k1;Bakker;7938PL;18;600;60;J",
    "s2;Huur;k2;Koolstra;7938PL;26;300;60;J",
    "s3;Gas;k3;Visser;7938PL;2;1;60;J",
)
REASON = "De verkeerde maand: mevrouw Koolstra belde."


@pytest.fixture
def delivery(house) -> str:
    """A file of two signals and a rejected row, processed and published by a daemon, that its creditor sent."""
    house.serve()
    house.sftp("woonservice", f"put {house.write('signalen.csv', *ROWS)} inbox/signalen.csv")
    assert house.run("wait", "--idle", "--timeout", "60").code == 0
    (listed,) = house.json("deliveries", "list")
    return str(listed["id"])


def test_it_adds_up(house, delivery):
    """Exit 0, and the sums; the same for programs."""
    ran = house.run("ledger", "check")
    assert (ran.code, ran.err) == (0, "")
    assert "✓ Everything adds up: 2 new = 2 held + 0 purged" in ran.out
    assert house.json("ledger", "check") == {
        "ok": True,
        "deliveries": {"processed": 1},
        "rows": 3,
        "new": 2,
        "signals": {"passed_on": 2},
        "purged": 0,
        "blobs": 8,
        "differences": [],
    }


def test_a_difference_is_told(house, delivery):
    """Exit 1; what does not add up, where, and what to do."""
    with house.opened() as opened, opened.store.write() as conn:
        conn.execute(text("UPDATE delivery SET new_count = 3"))
    try:
        ran = house.run("ledger", "check")
        assert ran.code == 1
        assert "3 things do not add up" in ran.out
        assert f"{delivery}: 3 rows, 4 accounted for" in ran.out
        assert "woonservice: 3 signals, 2 held and 0 purged" in ran.out
        assert "gateway deliveries show ID" in ran.out
        told = json.loads(house.run("ledger", "check", "--json").out)
        assert (told["ok"], [each["check"] for each in told["differences"]]) == (
            False,
            ["rows", "versions", "signals"],
        )
        assert set(told["differences"][0]) == {"check", "count", "claim", "remedy", "ids"}
    finally:
        with house.opened() as opened, opened.store.write() as conn:
            conn.execute(text("UPDATE delivery SET new_count = 2"))


def test_all_that_is_known_of_a_delivery(house, delivery):
    """Times, sums, signals, keys, due days, answers; nobody's name, and not the file's."""
    known = house.json("deliveries", "show", delivery)
    assert (known["id"], known["partner"], known["state"]) == (delivery, "woonservice", "processed")
    assert known["rows"] == {
        "total": 3,
        "new": 2,
        "changed": 0,
        "withdrawn": 0,
        "feedback": 0,
        "listed": 0,
        "ended": 0,
        "rejected": 1,
        "duplicate": 0,
        "purged": 0,
    }
    assert all(known["times"][name] for name in ("opened_at", "closed_at", "received_at", "processed_at"))
    assert [(each["municipality"], each["state"], each["count"]) for each in known["signals"]] == [
        ("GM1731", "passed_on", 2)
    ]
    assert [(key["municipality"], key["is_held"]) for key in known["keys"]] == [("", True), ("GM1731", True)]
    assert [file["name"] for file in known["files"]] == [
        f"ontvangst_{delivery}.csv",
        f"ontvangst_{delivery}.json",
    ]
    screen = house.run("deliveries", "show", delivery)
    assert screen.code == 0
    assert "3 = 2 new + 1 rejected" in screen.out
    for secret in ("Koolstra", "signalen.csv", "7938PL"):
        assert secret not in screen.out + json.dumps(known)
    assert house.run("deliveries", "show", "LXXXXXXXXXXXXXXXX").code == 1


def test_who_could_collect_and_who_did(house, delivery):
    """For the 72-hour report: every file that told of it, its partner, ready, collected and removed."""
    ready = house.json("deliveries", "trace", delivery)["files"]
    meldingen = next(file for file in ready if file["kind"] == "meldingen")
    assert (meldingen["partner"], meldingen["signals"], meldingen["collected_at"]) == (
        "middendrenthe",
        2,
        None,
    )
    house.collect("middendrenthe", "outbox")
    house.sftp("middendrenthe", f"rm outbox/{meldingen['name']}")
    told = house.json("deliveries", "trace", delivery)
    after = next(file for file in told["files"] if file["kind"] == "meldingen")
    assert after["collected_at"]
    assert after["removed_at"]
    assert told["signals"] == {"passed_on": 2}
    assert {file["kind"]: file["signals"] for file in told["files"]} == {
        "receipt": None,
        "meldingen": 2,
        "signal_status": 2,
        "worklist": 2,
    }
    screen = house.run("deliveries", "trace", delivery)
    assert "middendrenthe collected 2 of 2 files" in screen.out
    assert "woonservice collected none of 3 files" in screen.out


def test_a_delivery_is_withdrawn(house, delivery):
    """Its sender has a note and D52s, the municipality VERVALLEN, the actor is on record, the reason nowhere in the clear."""
    ran = house.run("deliveries", "withdraw", delivery, "--reason", REASON)
    assert ran.code == 0
    assert f"✓ 2 signals of {delivery} withdrawn; its sender has a note" in ran.out
    assert "gateway publish --municipality GM1731" in ran.out
    assert house.run("publish", "--municipality", "GM1731").code == 0
    returns = house.collect("woonservice", "returns")
    assert REASON in returns[f"intrekking_{delivery}.txt"].decode()
    statuses = [
        data.decode("utf-8-sig") for name, data in returns.items() if name.startswith("signaalstatus")
    ]
    assert sorted(line.split(";")[2] for text in statuses for line in text.splitlines()[1:]) == [
        "D10",
        "D10",
        "D52",
        "D52",
    ]
    outbox = house.collect("middendrenthe", "outbox")
    last = outbox[max(name for name in outbox if name.endswith(".csv"))].decode("utf-8-sig")
    assert {line.split(";")[4] for line in last.splitlines()[1:]} == {"VERVALLEN"}
    entries = [
        entry
        for entry in house.json("audit", "show", "--last", "500")
        if entry["action"] == "delivery.withdrawn"
    ]
    assert [(entry["object"], entry["actor"], entry["detail"]) for entry in entries] == [
        (delivery, actor(), {"signals": 2})
    ]
    held = [path for path in house.home.rglob("*") if path.is_file() and b"Koolstra" in path.read_bytes()]
    assert held == []
    again = house.run("deliveries", "withdraw", delivery, "--reason", REASON)
    assert again.code == 1
    assert "has no signal in force" in again.err
    assert house.json("ledger", "check")["ok"]
