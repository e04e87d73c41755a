"""A home whose root key lies in a token: moved there and back, seen, and what is in the way said (SoftHSM2)."""

from __future__ import annotations

import json

import pytest

from gateway.doctor.examine import examine
from gateway.errors import KeyringError
from gateway.gateway import open_gateway
from gateway.settings import Home
from gateway.store import status


@pytest.fixture
def configure(home, token):
    """Chooses the provider, with the token beside it."""

    def choose(provider, **changed):
        values = {"library": str(token.library), "token": token.label} | changed
        lines = [f'{name} = "{value}"' for name, value in values.items()]
        path = home / "config/gateway.toml"
        kept = path.read_text().partition("\n[keys]")[0]
        path.write_text("\n".join([kept, "[keys]", f'provider = "{provider}"', "[keys.pkcs11]", *lines, ""]))

    return choose


@pytest.fixture
def sealed(gateway, home, configure):
    """A home with its keys made ahead and its root key in the token; runs its commands."""
    assert gateway("init", home).code == 0
    opened = open_gateway(home)
    opened.make_keys()
    opened.close()
    configure("pkcs11")
    assert "rotate-root" in gateway("check").err
    done = gateway("keys", "rotate-root")
    assert (done.code, done.err) == (0, "")
    return gateway


def finding(home, now):
    """What the doctor says of the keyring."""
    return next(each for each in examine(Home(root=home), now) if each.subject == "keyring")


def test_a_root_key_moves_into_a_token_and_back(sealed, home, configure, token):
    """First the setting, then the verb; status names the master key; check, verify and doctor find nothing wrong."""
    told = json.loads(sealed("keys", "status", "--json").out)
    assert (told["provider"], told["master_to_replace"]) == ("pkcs11", False)
    shown = sealed("keys", "status").out
    assert told["master"] in shown
    assert token.label in shown
    assert sealed("check").code == 0
    assert sealed("keys", "verify").code == 0
    configure("file")
    assert "rotate-root" in sealed("check").err
    assert sealed("keys", "rotate-root").code == 0
    assert (home / "keys/root.key").exists()
    assert not (home / "keys/root.pkcs11").exists()
    assert sealed("check").code == 0


def test_what_a_purge_left_to_do_is_done_at_the_next_start(sealed, home):
    """Cut off after the keys went: doctor and status say so, and the start replaces the master key, on record."""
    opened = open_gateway(home)
    now, before = opened.clock.now(), opened.keyring.master()
    opened.keyring.destroy(opened.keyring.ids()[-1])
    found = finding(home, now)
    assert (found.verdict, "older copies of keys/" in found.what) == ("warn", True)
    assert "must be replaced" in sealed("keys", "status").out
    opened.make_keys()
    with opened.store.read() as conn:
        entries = [json.loads(entry) for entry in status.last_entries(conn, 10)]
    opened.close()
    assert before in [each.get("detail", {}).get("replaced") for each in entries]
    told = json.loads(sealed("keys", "status", "--json").out)
    assert (told["master"] != before, told["master_to_replace"]) == (True, False)
    assert finding(home, now).verdict == "ok"


def test_a_key_that_is_destroyed_while_the_token_is_away(sealed, home, token, monkeypatch):
    """It is destroyed, and the command fails: it says what is not done; nothing is done twice."""

    def away(*_):
        raise KeyringError("the token is not there")

    opened = open_gateway(home)
    opened.keyring.ensure(["until-2026-01-01"])
    opened.close()
    monkeypatch.setattr("gateway.vault.pkcs11.seal", away)
    done = sealed("keys", "destroy", "until-2026-01-01")
    assert (done.code, "older copy of the keyring" in done.err.replace("\n", " ")) == (12, True)
    assert "master.left" in done.err
    assert not (home / "keys/ring/until-2026-01-01.key").exists()


@pytest.mark.parametrize(
    ("changed", "pin", "reason"),
    [
        ({"library": "/usr/lib/none.so"}, None, "does not load"),
        ({"token": "another"}, None, 'the token "another" is not there'),
        ({}, "0000", "PIN is wrong"),
    ],
)
def test_what_is_in_the_way_is_said(sealed, home, configure, tmp_path, changed, pin, reason):
    """By check and by doctor, with exit 12."""
    opened = open_gateway(home)
    now = opened.clock.now()
    opened.close()
    configure("pkcs11", **changed)
    if pin:
        (tmp_path / "credentials/gateway-pin").write_text(pin)
    done = sealed("check")
    assert (done.code, reason in done.err.replace("\n", " ")) == (12, True)
    found = finding(home, now)
    assert found.verdict == "fail"
    assert (reason if not pin else "credential is not tried") in found.what
