"""A legal hold as an administrator asks for it and two people place and lift it, with the real ssh-keygen."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from datetime import timedelta

import pytest

from gateway.clock import SystemClock, local_day
from gateway.pipeline.worker import step

ROWS = ("s1;Huur;k1;Bakker;7938PL;18;600;60;J", "s2;Huur;k2;Visser;9999ZZ;1;600;60;J")
PEOPLE = ("archivaris", "controller")


@pytest.fixture
def delivery(house, tmp_path):
    """A processed delivery, on a home with two approvers."""
    lines = []
    for name in PEOPLE:
        key = tmp_path / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
        lines.append(f"{name} {key.with_suffix('.pub').read_text()}")
    (house.home / "config/approvers").write_text("".join(lines))
    house.receive("woonservice", "s.csv", house.write("s.csv", *ROWS).read_bytes())
    with house.opened() as opened:
        while step(opened.pipeline()):
            pass
    (one,) = house.json("deliveries", "list")
    return one["id"]


def sign(house, tmp_path, number, *names):
    """These people sign a request as its text says, and their signatures are handed in."""
    text = tmp_path / f"goedkeuring_{number}.txt"
    text.write_text(house.run("retention", "approve", number).out)
    for name in names:
        made = text.with_suffix(".txt.sig")
        made.unlink(missing_ok=True)
        command = ["ssh-keygen", "-Y", "sign", "-q", "-n", "retention@gateway", "-f", tmp_path / name, text]
        subprocess.run(command, check=True, capture_output=True)
        ran = house.run("retention", "approve", number, "--signature", made)
        assert ran.code == 0, ran


def wrapped_under(house):
    """The kinds of keys under which data keys of deliveries are wrapped."""
    with closing(sqlite3.connect(house.home / "data/gateway.db")) as db:
        query = "SELECT DISTINCT substr(key_id, 1, 5) FROM data_key WHERE object_id LIKE 'L%'"
        return {kind for (kind,) in db.execute(query)}


def test_two_people_place_and_lift_it(house, tmp_path, delivery):
    """One is not enough; then it is in force at once, and so is its lift."""
    review = local_day(SystemClock().now()) + timedelta(days=30)
    asked = house.json(
        *("retention", "hold", "add", delivery, "--grounds", "toezicht", "--authority", "Toezichthouder AP"),
        *("--reference", "z2026-00815", "--review", review),
    )
    (told,) = house.json("retention", "hold", "list")
    assert (told["id"], told["state"], told["days_left"], told["objects"]) == (asked["hold"], "asked", 30, 0)
    sign(house, tmp_path, asked["request"], "archivaris")
    assert house.json("retention", "hold", "list")[0]["state"] == "asked"
    assert wrapped_under(house) == {"until"}

    sign(house, tmp_path, asked["request"], "controller")
    (told,) = house.json("retention", "hold", "list")
    assert (told["state"], told["placed_by"]) == ("in force", list(PEOPLE))
    assert told["deliveries"] == [delivery]
    assert told["objects"] >= 2
    assert wrapped_under(house) == {"hold-"}
    assert [each["id"] for each in house.json("status")["holds"]] == [asked["hold"]]
    assert asked["hold"] in house.run("retention", "hold", "list").out
    assert "1 in force" in house.run("doctor").out

    lifting = house.json("retention", "hold", "lift", asked["hold"])
    assert house.json("retention", "hold", "list")[0]["state"] == "lift asked"
    sign(house, tmp_path, lifting["request"], *PEOPLE)
    assert house.json("retention", "hold", "list") == []
    (told,) = house.json("retention", "hold", "list", "--all")
    assert (told["state"], told["lifted_by"]) == ("lifted", list(PEOPLE))
    assert wrapped_under(house) == {"until"}


def test_what_can_not_be_asked_is_refused_with_its_reason(house, delivery):
    """Exit code 1 or 2, one sentence, and nothing is stored."""
    today = local_day(SystemClock().now())
    fit = {"--grounds": "beroep", "--authority": "Rechtbank", "--reference": "A-1", "--review": str(today)}
    for wrong, words in (
        ({"--review": str(today + timedelta(days=91))}, "at most 90 days ahead"),
        ({"--reference": "zaak van mevrouw Jansen"}, "case number"),
        ({"--grounds": "omdat"}, "omdat"),
    ):
        options = [word for pair in {**fit, **wrong}.items() for word in pair]
        ran = house.run("retention", "hold", "add", delivery, *options)
        assert ran.code != 0
        assert words in " ".join(ran.err.split())
    ran = house.run("retention", "hold", "lift", "H0")
    assert (ran.code, "there is no hold H0" in ran.err) == (1, True)
    assert house.json("retention", "hold", "list", "--all") == []
