"""`gateway match preview` and `gateway match explain`, as an administrator types them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from gateway.cli.opened import actor
from gateway.clock import SteppedClock, SystemClock, local_day, month_of
from gateway.pipeline.worker import step

ROWS = (
    "a;{sector};{who}-1;Janszoon;9431AA;12;850,00;60;J",
    "b;{sector};{who}-2;Pietersma;9431AA;14;90,00;60;J",
    "c;{sector};{who}-3;Wiersma;9431AA;{number};400,00;60;J",
)
OTHER = """
[matching]
key = "person"
min_distinct = 1
[ranking]
order = ["total"]
[actions]
visit_capacity = 1
match = "Bellen"
"""


@pytest.fixture
def month(house):
    """A house in which two creditors' files of a moment ago were published; its month."""
    clock = SteppedClock(SystemClock().now() - timedelta(minutes=5))
    for number, (who, sector) in enumerate((("woonservice", "Huur"), ("dezorgkas", "Zorg"))):
        rows = [row.format(who=who, sector=sector, number=16 + number) for row in ROWS]
        house.receive(who, "signalen.csv", house.write(f"{who}.csv", *rows).read_bytes(), clock)
    with house.opened(clock) as opened:
        while step(opened.pipeline()):
            pass
    return month_of(local_day(clock.now()))


@pytest.fixture
def policy(house):
    """Another policy, beside the home."""
    path = house.path / "other.toml"
    path.write_text(OTHER)
    return path


def look(house, policy, month):
    """What `match preview` tells programs."""
    return house.json("match", "preview", "--municipality", "GM1731", "--month", month, "--policy", policy)


def test_both_are_told_side_by_side(house, month, policy):
    """Counts, settings, ranks and changes, for people and for programs; no name anywhere; who looked is on record."""
    found = look(house, policy, month)
    assert (found["own"]["key"], found["other"]["key"], found["month"]) == ("address", "person", month)
    assert (found["own"]["meldingen"], found["own"]["signals"]) == (4, 6)
    assert found["own"]["klassen"] == {"MATCH": 2, "ENKELVOUDIG": 2}
    assert found["other"]["klassen"] == {"MATCH": 4, "ENKELVOUDIG": 0}
    assert found["own"]["rules"]["MEERVOUDIG"] == 2
    assert found["own"]["total"] == found["other"]["total"] == 2 * (85_000 + 9_000 + 40_000)
    assert (found["other"]["visits"], found["other"]["actions"]) == (1, {"Huisbezoek": 1, "Bellen": 3})
    assert found["differences"]["matching.min_distinct"] == {"own": 2, "other": 1}
    assert [each["other"]["rang"] for each in found["meldingen"]] == [1, 2, 3, 4]
    assert found["meldingen"][0]["own"]["matchregels"] == "MEERVOUDIG"

    seen = house.run("match", "preview", "--municipality", "GM1731", "--month", month, "--policy", policy)
    assert (seen.code, seen.err) == (0, "")
    for words in (
        "min_distinct",
        "other.toml",
        found["meldingen"][0]["melding_id"],
        "ENKELVOUDIG Brief",
        "+2",
    ):
        assert words in seen.out
    assert not any(name in seen.out for name in ("Janszoon", "Pietersma", "9431AA", "woonservice-1"))
    looks = [each for each in house.json("audit", "show") if each["action"] == "policy.previewed"]
    assert [(each["actor"], each["object"]) for each in looks] == [(actor(), "GM1731")] * 2


WRONG = (
    ("[matching]\nmin_distinct = 0", "matching.min_distinct", "must be 1 or more"),
    ("[ranking]\norder = ['fame']", "ranking.order", "'fame' is none of"),
    ("[retention]\nsignals = '12 months'", "retention.signals", "may only shorten"),
    ("[matching", "", "not valid TOML"),
)


def test_a_wrong_file_is_refused_as_in_the_configuration(house):
    """Exit 2, with the file that was given, the key and the reason; nobody looked at anything."""
    path = house.path / "wrong.toml"
    for text, key, reason in WRONG:
        path.write_text(text)
        seen = house.run("match", "preview", "--municipality", "GM1731", "--policy", path)
        assert (seen.code, seen.out) == (2, "")
        told = "".join(seen.err.split())
        for words in ("wrong.toml", key, reason):
            assert "".join(words.split()) in told
        assert "municipalities/GM1731.toml" not in told
    assert not [each for each in house.json("audit", "show") if each["action"] == "policy.previewed"]


def test_what_is_not_there(house, policy):
    """A municipality, a file, a month, a melding: why, and which exit code. A month without signals is an answer."""
    for args, code, reason in (
        (("GM0001", "--policy", policy), 2, "GM0001 is no municipality of this gateway"),
        (("GM1731", "--policy", "x.toml"), 2, "x.toml: can't be read"),
        (("GM1731", "--policy", policy, "--month", "november"), 1, "write it as 2026-11"),
    ):
        seen = house.run("match", "preview", "--municipality", *args)
        assert (seen.code, seen.out) == (code, "")
        assert reason in seen.err
    seen = house.run("match", "explain", "M1731202611-AAAAAAAA")
    assert (seen.code, seen.out) == (1, "")
    assert "column melding_id of the files in the municipality's /outbox" in seen.err
    seen = house.run("match", "preview", "--municipality", "GM1731", "--month", "2020-01", "--policy", policy)
    assert seen.code == 0
    assert "No signal of 2020-01 is active" in seen.out


def test_a_melding_is_explained(house, month, policy):
    """Rules with their signals, the neighbours in rank, the deadline, the publication; no name anywhere."""
    melding_id = next(
        each["melding_id"] for each in look(house, policy, month)["meldingen"] if each["own"]["rang"] == 1
    )
    found = house.json("match", "explain", melding_id)
    numbers = [signal["signaalnummer"] for signal in found["signals"]]
    assert (found["klasse"], found["matchregels"], found["totaalbedrag"]) == ("MATCH", "MEERVOUDIG", 170_000)
    rules = {each["rule"]: each for each in found["rules"]}
    assert rules["MEERVOUDIG"]["signals"] == numbers
    assert rules["MEERVOUDIG"]["seen"] == {month: ["dezorgkas", "woonservice"]}
    assert (rules["CRISIS"]["is_asked"], rules["CRISIS"]["holds"], rules["GATEN_DICHTEN"]["is_asked"]) == (
        True,
        False,
        False,
    )
    ranking = found["ranking"]
    assert (ranking["rang"], ranking["matches"], ranking["above"]) == (1, 2, None)
    assert ranking["below"]["decided_by"] == "total_over:500"
    assert (ranking["visit_place"], ranking["is_visited"], found["voorstel_actie"]) == (1, True, "Huisbezoek")
    assert found["uiterlijk_aanbod"]["reason"] == "receipt"
    assert (found["published"]["versie"], found["published"]["policy"]) == (1, found["policy"])
    assert (found["changed"], found["waiting"]) == ([], False)

    seen = house.run("match", "explain", melding_id)
    assert (seen.code, seen.err) == (0, "")
    for words in ("2 or more creditors", numbers[0], "28 days from the earliest receipt", "total_over:500"):
        assert words in seen.out
    assert not any(name in json.dumps(found) + seen.out for name in ("Janszoon", "9431AA", "woonservice-1"))
    looks = [each for each in house.json("audit", "show") if each["action"] == "melding.explained"]
    assert [(each["actor"], each["object"]) for each in looks] == [(actor(), melding_id)] * 2


def test_what_waits_and_what_lapsed(house, month, policy):
    """A melding that changed says what it will be published with; one without signals which of them ended."""
    (first, *_) = look(house, policy, month)["meldingen"]
    header = "signaal_id;mutatie;sector;klantnummer;achternaam;postcode;huisnummer;bedrag;dagen_achterstand"
    for who, sector in (("woonservice", "Huur"), ("dezorgkas", "Zorg")):
        row = f"a;I;{sector};{who}-1;Janszoon;9431AA;12;850,00;60"
        house.receive(who, "einde.csv", f"{header};sociaal_incasso\n{row};J\n".encode())
        with house.opened() as opened:
            step(opened.pipeline())
        if who == "woonservice":
            seen = house.run("match", "explain", first["melding_id"])
            told = " ".join(seen.out.split())
            for words in (
                "other klasse, matchregels, signals, aantal_partners, totaalbedrag, sectors: in the next",
                "In it no more: S",
                "ENKELVOUDIG no rule holds",
            ):
                assert words in told
    found = house.json("match", "explain", first["melding_id"])
    assert (found["klasse"], found["ranking"], found["uiterlijk_aanbod"]) == ("VERVALLEN", None, None)
    assert [each["state"] for each in found["ended"]] == ["withdrawn", "withdrawn"]
    assert found["waiting"]
    seen = house.run("match", "explain", first["melding_id"])
    assert "all its signals ended: in the next publication" in seen.out


def test_beside_a_running_gateway(house, month, policy):
    """Both work while it serves, and wait for nothing; it still publishes nothing of it."""
    house.serve()
    first = look(house, policy, month)["meldingen"][0]["melding_id"]
    assert house.json("match", "explain", first)["melding_id"] == first
    assert house.stop() == 0
    assert "meldingen.published" not in {event["event"] for event in house.events()}
