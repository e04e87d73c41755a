"""`gateway keys` for the keyring: seen, verified, its root key replaced, copied; each change on record."""

from __future__ import annotations

import json

import pytest

from gateway.gateway import open_gateway
from gateway.running import only_one
from gateway.store import status
from gateway.store.engine import Store


@pytest.fixture
def ready(gateway, home):
    """A home with its keys made ahead; the keyring's folder."""
    assert gateway("init", home).code == 0
    opened = open_gateway(home)
    opened.make_keys()
    opened.close()
    return home / "keys"


def actions(home) -> list[dict]:
    """What the audit log has, the oldest first, without the keys made."""
    store = Store(home / "data/gateway.db")
    with store.read() as conn:
        found = [json.loads(entry) for entry in status.last_entries(conn, 1000)]
    store.close()
    return [entry for entry in found if entry["action"] != "key.made"]


def configure(home, provider):
    """Choose where the root key comes from."""
    path = home / "config/gateway.toml"
    before, line, after = path.read_text().partition('# provider = "file"')
    assert line
    path.write_text(f'{before}provider = "{provider}"{after}')


def test_status_tells_kinds_states_and_copies(gateway, ready, tmp_path):
    """For people in groups, for programs key by key."""
    gateway("keys", "add-copy", tmp_path / "safe")
    (tmp_path / "safe").rename(tmp_path / "away")
    told = json.loads(gateway("keys", "status", "--json").out)
    assert (told["provider"], told["days_ahead"]) == ("file", 14)
    assert told["copies"] == [{"name": "copy-1", "folder": str(tmp_path / "safe"), "reached": False}]
    assert {key["id"] for key in told["keys"]} == {path.stem for path in (ready / "ring").glob("*.key")}
    states = [key["state"] for key in told["keys"] if key["id"].startswith("until")]
    assert states.count("pre-active") == 14
    shown = gateway("keys", "status")
    assert shown.code == 0
    for words in ("until", "pre-active", "14 days further", "can't be reached"):
        assert words in shown.out


def test_verify_fails_on_a_damaged_key(gateway, ready):
    """Exit 12, and the key is named."""
    assert gateway("keys", "verify").code == 0
    path = next((ready / "ring").glob("until-*.key"))
    path.write_bytes(bytes(40))
    done = gateway("keys", "verify")
    assert done.code == 12
    assert f"{path.stem} doesn't open" in done.err


def test_rotate_root_moves_to_another_provider(gateway, ready, home, tmp_path, monkeypatch):
    """First the setting, then the verb; between the two nothing starts; afterwards it says who did it."""
    configure(home, "credential")
    for words in (("check",), ("keys", "status")):
        refused = gateway(*words)
        assert refused.code == 12
        assert "rotate-root" in refused.err
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "gateway-root").write_bytes(bytes(range(32)))
    done = gateway("keys", "rotate-root")
    assert (done.code, done.err) == (0, "")
    assert not (ready / "root.key").exists()
    assert gateway("check").code == 0
    assert gateway("keys", "verify").code == 0
    entry = actions(home)[-1]
    assert (entry["action"], entry["object"], entry["origin"]) == ("root_key.rotated", "root", "cli")
    assert entry["detail"] == {"keys": len(list((ready / "ring").glob("*.key"))), "provider": "credential"}
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert gateway("check").code == 12


def test_a_running_gateway_is_not_given_another_passphrase(gateway, ready, home, monkeypatch):
    """It could not open what is wrapped under it: stop it first."""
    configure(home, "passphrase")
    monkeypatch.setattr("gateway.cli.ring.running", lambda _: object())
    refused = gateway("keys", "rotate-root")
    assert refused.code == 1
    assert "stop it" in refused.err
    assert (ready / "root.key").exists()


def test_a_copy_is_not_put_where_backups_go(gateway, ready, home, tmp_path):
    """Keys in a backup of data/ are not destroyed; elsewhere it is on record."""
    refused = gateway("keys", "add-copy", home / "data/ring")
    assert refused.code == 1
    assert "backed up" in refused.err
    assert not (home / "data/ring").exists()
    assert gateway("keys", "add-copy", tmp_path / "safe").code == 0
    assert (actions(home)[-1]["action"], actions(home)[-1]["object"]) == ("key_copy.added", "copy-1")


def test_a_key_of_today_is_not_destroyed(gateway, ready):
    """Its day is not over: that takes two."""
    key_id = min(path.stem for path in (ready / "ring").glob("until-*.key"))
    refused = gateway("keys", "destroy", key_id)
    assert refused.code == 1
    assert "two approvers" in refused.err
    assert (ready / "ring" / f"{key_id}.key").exists()


def test_a_key_that_leaked(gateway, ready, home):
    """Sealed again, destroyed and on record; rewrap and retire of another; figures for programs by version."""
    day = sorted(path.stem for path in (ready / "ring").glob("until-*"))[20]
    done = gateway("keys", "compromise", day)
    assert (done.code, "version 2 is in its place" in done.out) == (0, True), done
    told = {key["id"]: key for key in json.loads(gateway("keys", "status", "--json").out)["keys"]}
    assert (told[day]["versions"], told[day]["compromised_at"]) == ([2], None)
    other = sorted(told)[30]
    assert gateway("keys", "rewrap", other).code == 0
    assert gateway("keys", "retire", other).code == 0
    assert sorted(path.name for path in (ready / "ring").glob("until-*.v2.key")) == [
        f"{day}.v2.key",
        f"{other}.v2.key",
    ]
    refused = gateway("keys", "retire", other)
    assert (refused.code, "no older version" in refused.err) == (1, True)
    assert gateway("keys", "verify").code == 0
    mine = [(entry["action"], entry["object"]) for entry in actions(home)]
    assert [each for each in mine if each[0].startswith("key.")] == [
        ("key.compromised", day),
        ("key.renewed", day),
        ("key.retired", day),
        ("key.renewed", other),
        ("key.rewrapped", other),
        ("key.retired", other),
    ]


def test_an_index_key_waits_for_the_gateway_to_stop(gateway, ready, home):
    """It is marked at once; a daemon would go on with it, so its tokens are made again without one."""
    key_id = min(path.stem for path in (ready / "ring").glob("index-*"))
    opened = open_gateway(home)
    with only_one(opened.home):
        refused = gateway("keys", "compromise", key_id)
    assert (refused.code, "stop the gateway" in refused.err) == (1, True), refused
    opened.close()
    (marked,) = [
        key for key in json.loads(gateway("keys", "status", "--json").out)["keys"] if key["id"] == key_id
    ]
    assert (marked["state"], marked["versions"]) == ("compromised", [1, 2])
    shown = " ".join(gateway("keys", "status").out.split())
    assert f"gateway keys compromise {key_id}" in shown
    done = gateway("keys", "compromise", key_id)
    assert (done.code, done.err) == (0, "")
    assert [path.name for path in (ready / "ring").glob(f"{key_id}*")] == [f"{key_id}.v2.key"]
    opened = open_gateway(home)
    assert opened.indexer.token(key_id.removeprefix("index-"), "name", "p", ("a",))
    opened.close()
