"""`gateway audit`: a whole log is told from one that was rewritten."""

from __future__ import annotations

import json
import sqlite3

import pytest


@pytest.fixture
def gateway_on(house, gateway, monkeypatch):
    """Run `gateway ARGS` on a home whose log has entries and a checkpoint."""
    monkeypatch.setenv("GATEWAY_HOME", str(house.home))
    with house.opened() as opened:
        opened.make_keys()
        opened.sign()
    return gateway


def _tamper(house, entry: bytes) -> None:
    with sqlite3.connect(house.home / "data/gateway.db") as db:
        (newest,) = db.execute("SELECT max(id) FROM audit_entry").fetchone()
        db.execute("UPDATE audit_entry SET entry = ? WHERE id = ?", (entry, newest))
    db.close()


def test_a_whole_log(gateway_on):
    """Exit 0, and how much was verified."""
    told = json.loads(gateway_on("audit", "verify", "--json").out)
    assert (told["ok"], told["checkpoints"], told["unsequenced"], told["problems"]) == (True, 1, 0, [])
    seen = gateway_on("audit", "verify")
    assert (seen.code, seen.err) == (0, "")
    assert seen.out == f"✓ The audit log is whole: {told['entries']} entries, 1 signed checkpoint\n"


def test_a_rewritten_entry(house, gateway_on):
    """Exit 13, and each thing that does not fit, for people and for programs."""
    _tamper(house, b'{"action":"nothing.happened"}')
    seen = gateway_on("audit", "verify")
    assert (seen.code, seen.out) == (13, "")
    assert "was altered" in seen.err
    told = gateway_on("audit", "verify", "--json")
    assert told.code == 13
    assert json.loads(told.out)["ok"] is False


def test_the_newest_entries(gateway_on):
    """Oldest first, as they were written."""
    two = json.loads(gateway_on("audit", "show", "--last", "2", "--json").out)
    three = json.loads(gateway_on("audit", "show", "--last", "3", "--json").out)
    assert three[1:] == two
    assert {each["action"] for each in three} == {"key.made"}
    shown = gateway_on("audit", "show", "--last", "3").out
    assert [three[n]["object"] in line for n, line in enumerate(shown.splitlines()[2:])] == [True] * 3


def test_an_altered_entry_is_shown_as_such(house, gateway_on):
    """Whatever a tamperer wrote, the others are still shown."""
    _tamper(house, b"\xff[bold]")
    shown = gateway_on("audit", "show", "--last", "2")
    assert shown.code == 0
    assert "key.made" in shown.out
    assert "unreadable" in shown.out
