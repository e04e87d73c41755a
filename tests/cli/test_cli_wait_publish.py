"""`gateway wait` and `gateway publish`: what scripts and people do beside a daemon that runs."""

from __future__ import annotations

import json
import time

import pytest

from gateway.cli.opened import actor
from gateway.pipeline.worker import step

ROW = "s1;Huur;k1;Bakker;7938PL;18;600;60;J"


def test_idle_is_when_everything_is_out(house):
    """Once `wait --idle` returns, the receipt, the status and the municipality's file lie ready."""
    house.serve()
    file = house.write("signalen.csv", ROW)
    house.sftp("woonservice", f"put {file} inbox/")
    waited = house.run("wait", "--idle", "--timeout", "60")
    assert waited == (0, "", "")
    assert any(name.startswith("meldingen_GM1731") for name in house.collect("middendrenthe", "outbox"))
    kinds = {name.split("_")[0] for name in house.collect("woonservice", "returns")}
    assert kinds == {"ontvangst", "signaalstatus"}


def test_time_is_up(house):
    """Exit 1 at the time-out, with what is still to do: meldingen that gather for ten minutes are waited for."""
    house.edit_policy("settle_s = 0 ", "settle_s = 600 ")
    house.serve()
    file = house.write("signalen.csv", ROW)
    house.sftp("woonservice", f"put {file} inbox/")
    late = house.run("wait", "--idle", "--timeout", "3")
    assert late.code == 1
    assert "1 melding still to do after 3 seconds" in late.err


def test_nobody_to_wait_for(house):
    """Without a daemon: 0 when there is nothing to do, else 1 at once, with the reason."""
    assert house.run("wait", "--idle") == (0, "", "")
    house.receive("woonservice", "signalen.csv", house.write("signalen.csv", ROW).read_bytes())
    began = time.monotonic()
    alone = house.run("wait", "--idle", "--timeout", "600")
    assert time.monotonic() - began < 60
    assert alone.code == 1
    assert "1 received file still to do, and no gateway runs here: gateway serve" in alone.err


def test_wait_says_for_what(house):
    """`gateway wait` alone is no command."""
    assert house.run("wait").code == 2


def test_publish_does_not_wait_for_the_schedule(house):
    """A municipality that publishes once a year: idle at once, and out when it is ordered, by whom is on record."""
    house.edit_policy('when = "arrival"', 'when = "0 7 1 1 *"')
    house.serve()
    house.sftp("woonservice", f"put {house.write('signalen.csv', ROW)} inbox/")
    assert house.run("wait", "--idle", "--timeout", "60").code == 0
    assert house.collect("middendrenthe", "outbox") == {}
    (waiting,) = house.json("status")["meldingen"]
    assert (waiting["municipality"], waiting["waiting"]) == ("GM1731", 1)

    done = house.run("publish", "--municipality", "GM1731")
    assert (done.code, done.err) == (0, "")
    assert "middendrenthe" in done.out
    (name,) = (name for name in house.collect("middendrenthe", "outbox") if name.endswith(".csv"))
    assert name in done.out
    entry = house.json("audit", "show", "--last", "50")[-1]
    published = [each for each in house.json("audit", "show") if each["action"] == "meldingen.published"]
    assert [(each["origin"], each["actor"]) for each in published] == [("cli", actor())], entry
    again = house.run("publish", "--all")
    assert again.out == "✓ Nothing new or changed in 1 municipality\n"


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ((), "say which"),
        (("--all", "--municipality", "GM1731"), "say which"),
        (("--municipality", "GM0001"), "GM0001 is no municipality of this gateway"),
        (("--municipality", "GM0303"), "no partner serves GM0303"),
    ],
)
def test_publish_refuses_what_it_can_not_know(house, gateway, monkeypatch, args, reason):
    """A municipality that is not there, or that nobody serves: exit 2, and why."""
    monkeypatch.setenv("GATEWAY_HOME", str(house.home))
    assert gateway("municipality", "add", "GM0303").code == 0
    refused = gateway("publish", *args)
    assert (refused.code, refused.out) == (2, "")
    assert reason in refused.err


def test_a_policy_made_effective_now(house):
    """Another route moves what was published; `publish` tells what each partner got, `status` who is on trial."""
    file = house.write("s.csv", ROW)
    house.receive("woonservice", "s.csv", file.read_bytes())
    with house.opened() as opened:
        assert step(opened.pipeline())
    assert house.run("publish", "--all").code == 0
    partners = house.home / "config/partners"
    (partners / "team.toml").write_text('role = "municipality"\nserves = ["GM0303"]\n')
    policy = house.home / "config/municipalities/GM1731.toml"
    before = policy.read_text() if policy.exists() else ""
    policy.write_text(f'{before}\n[[route]]\nto = "team"\n')
    woonservice = partners / "woonservice.toml"
    woonservice.write_text(f'mode = "proef"\n{woonservice.read_text()}')
    told = house.run("publish", "--municipality", "GM1731")
    assert (told.code, told.err) == (0, "")
    assert ["team" in told.out, "middendrenthe" in told.out] == [True, True]
    assert "Nothing new" in house.run("publish", "--all").out
    modes = {each["id"]: each["mode"] for each in house.json("status")["partners"]}
    assert (modes["woonservice"], modes["dezorgkas"]) == ("proef", "live")
    assert "(proef)" in house.run("status").out
    # what a partner that leaves may be due includes what routes send it
    left = house.run("partner", "leave", "team")
    assert left.code == 0
    assert "2 files lie ready that it did not collect" in left.out


def test_status_tells_programs(house):
    """The JSON of `status` has the fields that its help tells, with true figures and no name in them."""
    told = house.serve()
    file = house.write("Bakker-Pietersen.csv", ROW, "s2;Huur;k2;;7938PL;18;600;60;J")
    house.sftp("woonservice", f"put {file} inbox/")
    assert house.run("wait", "--idle", "--timeout", "60").code == 0
    seen = house.json("status")
    assert list(seen) == [
        "version", "at", "daemon", "door", "deliveries", "oldest_waiting_at", "failed", "meldingen", "retention",
        "approvals", "holds", "keys",
        "audit", "disk", "partners", "partner_keys", "host_keys",
    ]  # fmt: skip
    assert seen["daemon"] == {name: told[name] for name in ("port", "pid", "host_key")} | {"configuration": 1}
    assert seen["deliveries"]["processed"] == 1
    assert (seen["failed"], seen["meldingen"], seen["oldest_waiting_at"]) == ([], [], None)
    assert (seen["keys"]["days_ahead"], seen["keys"]["wanted_days_ahead"]) == (14, 14)
    assert seen["audit"]["entries"] > 190
    assert seen["disk"]["vault_files"] == len(list((house.home / "data/vault").iterdir()))
    partners = {each["id"]: each for each in seen["partners"]}
    assert partners["woonservice"]["last_received_at"]
    # a receipt counts once in its two forms; the files of meldingen, each once with its manifest
    assert {name: each["uncollected"] for name, each in partners.items()} == {
        "woonservice": 2, "dezorgkas": 0, "middendrenthe": 2,
    }  # fmt: skip
    house.collect("middendrenthe", "outbox")
    assert {each["id"]: each["uncollected"] for each in house.json("status")["partners"]}[
        "middendrenthe"
    ] == 0
    shown = house.run("status")
    for text in (json.dumps(seen), shown.out):
        assert "Bakker" not in text
        assert "Pietersen" not in text
    assert f"runs on port {told['port']}" in shown.out
