"""`gateway guard`: who is closed out, and letting them in; what `gateway status` tells of the door."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.clock import SystemClock
from gateway.domain.guard import Standing
from gateway.store import guard as store


@pytest.fixture
def closed_out(house):
    """A house that closed a guesser and an IPv6 network out, and holds two refusals against a third."""
    now = SystemClock().now()
    with house.opened() as opened, opened.store.write() as conn:
        store.set_standing(conn, "203.0.113.7", Standing(12, now + timedelta(minutes=4)))
        store.set_standing(conn, "2001:db8:1:2::/64", Standing(20, now + timedelta(hours=17)))
        store.set_standing(conn, "203.0.113.8", Standing(2, now))
        store.set_sessions(conn, "P1", {"woonbron": 2}, now=now, until=now + timedelta(minutes=1))
    return house


def test_guard_list(closed_out, house):
    """The longest first; whoever is not closed out has no time."""
    first, second, third = house.json("guard", "list")
    assert (first["address"], first["refusals"]) == ("2001:db8:1:2::/64", 20)
    assert (second["address"], second["refusals"]) == ("203.0.113.7", 12)
    assert first["closed_out_until"] > second["closed_out_until"]
    assert third == {"address": "203.0.113.8", "refusals": 2, "closed_out_until": None}
    shown = house.run("guard", "list")
    assert (shown.code, shown.err) == (0, "")
    for text in ("203.0.113.7", "2001:db8:1:2::/64", "gateway guard lift ADDRESS"):
        assert text in shown.out


def test_guard_lift(closed_out, house):
    """An address of the network lifts the network's; who did it stands in the audit log."""
    done = house.run("guard", "lift", "2001:db8:1:2:3:4:5:6")
    assert (done.code, done.err) == (0, "")
    assert "2001:db8:1:2::/64 may connect again" in done.out
    assert [each["address"] for each in house.json("guard", "list")] == ["203.0.113.7", "203.0.113.8"]
    entry = house.json("audit", "show")[-1]
    assert (entry["action"], entry["object"], entry["origin"]) == (
        "penalty.lifted",
        "2001:db8:1:2::/64",
        "cli",
    )
    assert entry["actor"]
    again = house.run("guard", "lift", "2001:db8:1:2::/64")
    assert again.code == 1
    assert "nothing is held against 2001:db8:1:2::/64; see: gateway guard list" in again.err
    assert [each["action"] for each in house.json("audit", "show")].count("penalty.lifted") == 1


def test_nobody_is_closed_out(house):
    """An empty list is a sentence for people and a list for programs."""
    assert "No address was refused lately." in house.run("guard", "list").out
    assert house.json("guard", "list") == []


def test_status_tells_of_the_door(closed_out, house):
    """Sessions now, and how many addresses are closed out."""
    assert house.json("status")["door"] == {"sessions": 2, "penalised": 2}
    assert "2 sessions open, 2 addresses closed out: gateway guard list" in house.run("status").out
