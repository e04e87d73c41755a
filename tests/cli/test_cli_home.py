"""A home made, configured and checked from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from gateway.audit.checkpoint import load_signing_key
from gateway.domain.partner import Role
from gateway.exchange.keys import host_key_fingerprint
from gateway.settings import load_settings
from gateway.settings.shipped import example
from gateway.store.engine import Store
from gateway.vault.keyring import Keyring


def test_init_makes_a_whole_home(gateway, home):
    """Configuration, keys, database and folders are there, and the host key's fingerprint is told."""
    made = gateway("init", home)
    assert (made.code, made.err) == (0, "")
    assert (home / "config/gateway.toml").read_text() == example()
    assert host_key_fingerprint(home / "keys/host_ed25519") in made.out
    Keyring.open(home / "keys")
    load_signing_key(home / "keys")
    Store(home / "data/gateway.db").close()
    assert (home / "log").is_dir()
    assert gateway("check").out == "✓ Ready to serve: 0 partners, 0 municipalities\n"


def test_what_is_secret_is_its_owners_only(gateway, home):
    """Nobody else reads keys, database or log, whatever the umask."""
    before = os.umask(0)
    try:
        gateway("init", home)
    finally:
        os.umask(before)
    for folder in ("keys", "data", "log"):
        assert (home / folder).stat().st_mode & 0o777 == 0o700
    for secret in ("keys/host_ed25519", "keys/root.key", "keys/audit.key", "data/gateway.db"):
        assert (home / secret).stat().st_mode & 0o777 == 0o600


def test_init_leaves_a_home_as_it_is(gateway, home):
    """A second init changes nothing and says where to look."""
    gateway("init", home)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    again = gateway("init", home)
    assert again.code == 2
    assert "is a home already (config/gateway.toml is there)" in again.err
    assert f"gateway --home {home} check" in again.err
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_init_refuses_a_folder_in_use(gateway, home):
    """A folder with other things in it is left alone."""
    home.mkdir()
    (home / "thesis.txt").write_text("…")
    refused = gateway("init", home)
    assert refused.code == 2
    assert "is not empty" in refused.err
    assert [path.name for path in home.iterdir()] == ["thesis.txt"]
    (home / "file").touch()
    assert "is a file" in gateway("init", home / "file").err


def test_a_checkout_can_be_a_home(gateway, home):
    """A checkout of the gateway, which holds config/ and keys/, becomes a home once."""
    (home / "config").mkdir(parents=True)
    (home / "keys").mkdir()
    (home / "keys/README.md").touch()
    (home / "config/gateway.example.toml").write_text(example())
    assert gateway("init", home).code == 0
    assert gateway("check").code == 0
    assert gateway("init", home).code == 2


def test_partners_and_municipalities_round_trip(gateway, home, key_file):
    """What is added is what loads, lists and shows."""
    gateway("init", home)
    first, second = key_file("first", "anna op kantoor"), key_file("second")
    assert gateway("municipality", "add", "GM1731", "--preset", "midden-drenthe").code == 0
    added = gateway(
        "partner", "add", "md", "--role", "municipality", "--serves", "GM1731", "--key", first, "--key", second,
        "--name", 'Gemeente "Midden-Drenthe"', "--contact", "post@example.nl", "--language", "en",
    )  # fmt: skip
    assert added.code == 0
    assert "md is a partner: municipality, GM1731 Midden-Drenthe" in added.out
    gateway(
        "partner",
        "add",
        "wbh",
        "--role",
        "creditor",
        "--sector",
        "Huur",
        "--sector",
        "Energie",
        "--key",
        key_file("c"),
    )
    gateway("partner", "add", "fg", "--role", "auditor", "--scope", "all", "--key", key_file("d"))

    settings = load_settings(home)
    md = settings.partners["md"]
    assert (md.role, md.serves, md.name) == (Role.MUNICIPALITY, ("GM1731",), 'Gemeente "Midden-Drenthe"')
    assert (md.contact, md.language) == ("post@example.nl", "en")
    assert [key.fingerprint for key in md.keys] == [
        asyncssh.read_public_key(path).get_fingerprint() for path in (first, second)
    ]
    assert [key.comment for key in md.keys] == ["anna op kantoor", ""]
    assert settings.partners["wbh"].sectors == ("Huur", "Energie")
    assert settings.partners["fg"].scope is None
    assert settings.policies["GM1731"].matching.consecutive_months == 2

    listed = gateway("partner", "list").out
    assert all(name in listed for name in ("md", "wbh", "fg", "Huur, Energie", "GM1731 Midden-Drenthe"))
    shown = gateway("partner", "show", "md").out
    assert all(text in shown for text in ("/inbox /outbox /returns", md.keys[0].fingerprint, "valid"))
    assert "Midden-Drenthe" in gateway("municipality", "list").out
    assert "3 partners, 1 municipality" in gateway("check").out


def test_an_addition_that_breaks_the_whole_never_lands(gateway, home, key_file):
    """A partner that can't be used beside the others is refused; no file is left behind."""
    gateway("init", home)
    key = key_file("one")
    gateway("partner", "add", "aaa", "--role", "creditor", "--sector", "Huur", "--key", key)
    before = sorted((home / "config").rglob("*"))
    same_key = gateway("partner", "add", "bbb", "--role", "creditor", "--sector", "Huur", "--key", key)
    assert same_key.code == 2
    assert "config/partners/bbb.toml" in same_key.err
    assert "is also a key of the partner aaa" in same_key.err
    other = key_file("other")
    for args, reason in (
        (("bbb", "--role", "creditor", "--key", other), "a creditor names its sectors"),
        (("bbb", "--role", "municipality", "--key", other), "names what it serves"),
        (("bbb", "--role", "auditor", "--key", other), "an auditor names its scope"),
        (("Bbb", "--role", "creditor", "--sector", "Huur", "--key", other), "2 to 32 characters"),
        (("../bbb", "--role", "creditor", "--sector", "Huur", "--key", other), "2 to 32 characters"),
        (("aaa", "--role", "creditor", "--sector", "Huur", "--key", other), "exists already"),
        (
            ("bbb", "--role", "creditor", "--sector", "Huur", "--key", home / "config/gateway.toml"),
            "not a public key",
        ),
        (("bbb", "--role", "creditor", "--sector", "Huur", "--key", home / "none.pub"), "No such file"),
        (("bbb", "--role", "king", "--key", other), "king"),
    ):
        refused = gateway("partner", "add", *args)
        assert refused.code == 2
        assert reason in " ".join(refused.err.split())
    assert sorted((home / "config").rglob("*")) == before


def test_municipality_add_refusals(gateway, home):
    """Unknown codes and presets, and a policy that is there already, are refused."""
    gateway("init", home)
    assert gateway("municipality", "add", "GM1731").code == 0
    for args, reason in (
        (("GM1731",), "exists already"),
        (("GM9999",), "no municipality in the list of CBS"),
        (("../GM0072",), "no municipality in the list of CBS"),
        (("GM0072", "--preset", "drechtsteden"), "there is no partner 'sdd': gateway partner add"),
        (("GM0072", "--preset", "rsi"), "choose ris, vps, midden-drenthe, nwf, drechtsteden"),
    ):
        refused = gateway("municipality", "add", *args)
        assert refused.code == 2
        assert reason in refused.err
    assert [path.name for path in (home / "config/municipalities").iterdir()] == ["GM1731.toml"]


def test_drechtsteden_with_and_without_an_own_partner(gateway, home, key_file):
    """The preset routes to the municipality's own partner; before it has one that route is commented out."""
    gateway("init", home)
    sdd = ("partner", "add", "sdd", "--role", "municipality", "--key", key_file("sdd"))
    assert gateway(*sdd, "--serves", "GM0505", "--serves", "GM0590").code == 0
    added = gateway("municipality", "add", "GM0505", "--preset", "drechtsteden")
    assert added.code == 0
    assert "commented out: GM0505 has none yet" in " ".join(added.out.split())
    assert [route.to for route in load_settings(home).policies["GM0505"].routes] == ["sdd", "sdd"]
    own = ("partner", "add", "dordrecht", "--role", "municipality", "--serves", "GM0505")
    assert gateway(*own, "--key", key_file("own")).code == 0
    assert "gateway" not in gateway("check").err

    (home / "config/municipalities/GM0505.toml").unlink()
    assert "GM0505 is served by the partner dordrecht already" in " ".join(gateway("check").err.split())
    again = gateway("municipality", "add", "GM0505", "--preset", "drechtsteden")
    assert (again.code, "commented out" in again.out) == (0, False)
    settings = load_settings(home)
    assert [route.to for route in settings.policies["GM0505"].routes] == ["sdd", "dordrecht", "sdd"]
    assert settings.served_by["GM0505"] == "sdd"
    shown = " ".join(gateway("municipality", "list").out.split())
    assert "sdd, dordrecht" in shown


def test_check_looks_at_routes_and_trials(gateway, home, key_file):
    """What can be used but is hardly meant is said."""
    gateway("init", home)
    for name, code in (("own", "GM1731"), ("team", "GM0072")):
        gateway(
            "partner", "add", name, "--role", "municipality", "--serves", code, "--key", key_file(name)
        )  # fmt: skip
    (home / "config/municipalities").mkdir(exist_ok=True)
    (home / "config/municipalities/GM1731.toml").write_text(
        '[[route]]\nto = "team"\ntotal_over = 500\n[[route]]\nto = "own"\n[[route]]\nto = "team"\n'
    )
    gateway("partner", "add", "wbh", "--role", "creditor", "--sector", "Huur", "--key", key_file("c"))
    wbh = home / "config/partners/wbh.toml"
    wbh.write_text(f'mode = "proef"\n{wbh.read_text()}')
    said = " ".join(gateway("check").out.split())
    assert "GM1731: a route goes to team, which does not serve it" in said
    assert "GM1731: its route to team stands below one that takes all" in said
    assert 'wbh has mode "proef"' in said


def test_check_shows_every_problem(gateway, home):
    """All problems stand in one table of file, key and reason; the exit code is 2."""
    gateway("init", home)
    (home / "config/gateway.toml").write_text("[listen]\nprt = 1\n")
    (home / "config/partners/aaa.toml").write_text('role = "creditor"\n')
    checked = gateway("check")
    assert (checked.code, checked.out) == (2, "")
    assert "2 problems in the configuration" in checked.err
    lines = [" ".join(line.split()) for line in checked.err.splitlines()]
    assert "config/gateway.toml listen.prt prt is an unknown setting; did you mean port?" in lines
    assert 'config/partners/aaa.toml sectors a creditor names its sectors, such as ["Huur"]' in lines


def test_check_remarks(gateway, home, key_file):
    """What can be used but deserves a look is told: no partner, no valid key."""
    gateway("init", home)
    gateway("municipality", "add", "GM1731")
    gateway("partner", "add", "aaa", "--role", "creditor", "--sector", "Huur", "--key", key_file("k"))
    path = home / "config/partners/aaa.toml"
    path.write_text(path.read_text().replace("# valid_until = 2027-12-31", "valid_until = 2020-12-31"))
    checked = gateway("check")
    assert checked.code == 0
    assert "GM1731 Midden-Drenthe has a policy and no partner that serves it" in checked.out
    assert "aaa has no key that is valid now" in checked.out
    assert "none valid" in gateway("partner", "list").out


@pytest.mark.parametrize("name", ["host_ed25519", "root.key", "audit.key"])
def test_check_looks_at_the_keys(gateway, home, name):
    """A key that others can read, or that is gone, is named; the exit code is 12."""
    gateway("init", home)
    path = home / "keys" / name
    path.chmod(0o640)
    open_to_others = gateway("check")
    assert open_to_others.code == 12
    assert f"chmod 600 {path}" in open_to_others.err
    path.unlink()
    gone = gateway("check")
    assert gone.code == 12
    assert name in gone.err


def test_commands_say_when_there_is_no_home(gateway):
    """Outside a home every command says how to make or name one."""
    for args in (
        ("check",),
        ("partner", "list"),
        ("municipality", "add", "GM1731"),
        ("reference", "load", "x"),
    ):
        refused = gateway(*args)
        assert refused.code == 2
        assert "`gateway init DIR` makes a home" in refused.err


def test_the_home_can_be_named_in_three_ways(gateway, home):
    """--home, GATEWAY_HOME and the current folder find the same home; the command is also a module."""
    gateway("init", home)
    gateway("municipality", "add", "GM0072")
    command = Path(sys.executable).with_name("gateway")
    clean = {name: value for name, value in os.environ.items() if name != "GATEWAY_HOME"}
    runs = (
        ([command, "--home", home, "municipality", "list"], clean, None),
        ([command, "municipality", "list"], {**clean, "GATEWAY_HOME": str(home)}, None),
        ([sys.executable, "-m", "gateway", "municipality", "list"], clean, home),
    )
    for args, env, folder in runs:
        ran = subprocess.run(
            args, env=env, cwd=folder or home.parent, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0
        assert "Harlingen" in ran.stdout


def test_help_names_the_exit_codes(gateway):
    """`gateway --help` says what the exit codes mean."""
    assert "Exit codes: 0 done" in gateway("--help").out
