"""Keys of partners from the command line: listed, rotated, disabled, ended; each change in the audit log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from gateway.clock import AMSTERDAM, add_months, local_day
from gateway.pipeline.worker import pending, step
from gateway.settings import load_settings
from gateway.store import partner_keys, status
from gateway.store.engine import Store


@pytest.fixture
def partner(gateway, home, key_file):
    """A home with the creditor `aaa`; its file."""
    gateway("init", home)
    added = gateway(
        "partner", "add", "aaa", "--role", "creditor", "--sector", "Huur", "--key", key_file("a", "oud")
    )
    assert added.code == 0
    return home / "config/partners/aaa.toml"


def loaded(home):
    """The partner as it is configured now."""
    return load_settings(home).partners["aaa"]


def entries(home) -> list[dict]:
    """What the audit log has of partners, the oldest first."""
    store = Store(home / "data/gateway.db")
    with store.read() as conn:
        found = [json.loads(entry) for entry in status.last_entries(conn, 1000)]
    store.close()
    return [entry for entry in found if entry["action"].startswith("partner")]


def test_rotate_lets_both_in_for_a_while(gateway, home, partner, key_file):
    """The new key from now, the old one until the overlap is over; comments stay; the audit log has who did it."""
    partner.write_text(partner.read_text() + "# ask for Anna\n")
    (old,) = loaded(home).keys
    before = datetime.now(UTC).replace(microsecond=0)
    done = gateway("partner", "rotate", "aaa", "--key", key_file("b", "nieuw"))
    assert (done.code, done.err) == (0, "")
    kept, new = loaded(home).keys
    assert (kept.fingerprint, new.comment) == (old.fingerprint, "nieuw")
    assert new.valid_until is None
    assert new.valid_from
    assert kept.valid_until == new.valid_from + timedelta(days=30)
    assert before <= new.valid_from <= datetime.now(UTC)
    assert all(key.is_valid(datetime.now(UTC)) for key in (kept, new))
    assert partner.read_text().endswith("# ask for Anna\n")
    assert new.fingerprint in done.out
    entry = entries(home)[-1]
    assert (entry["action"], entry["object"], entry["origin"]) == ("partner.key_rotated", "aaa", "cli")
    assert entry["detail"] == {"key": new.fingerprint, "ended": 1}
    assert entry["actor"] == entries(home)[0]["actor"]
    assert entries(home)[0]["action"] == "partner.added"


def test_an_earlier_end_stays(gateway, home, partner, key_file):
    """A rotation makes no key last longer than it did, and touches none that has ended or is yet to begin."""
    for name, overlap in (("b", "1 hour"), ("c", "2 days")):
        assert gateway("partner", "rotate", "aaa", "--key", key_file(name), "--overlap", overlap).code == 0
    first, second, third = loaded(home).keys
    assert second.valid_from
    assert third.valid_from
    assert first.valid_until == second.valid_from + timedelta(hours=1)
    assert second.valid_until == third.valid_from + timedelta(days=2)


def test_a_rotation_that_can_t_be(gateway, home, partner, key_file):
    """No such partner, no such key, a key that is there already, no span: nothing changes, nothing is recorded."""
    before = partner.read_bytes()
    for args, reason in (
        (("bbb", "--key", key_file("b")), "there is no partner 'bbb'"),
        (("aaa", "--key", home / "none.pub"), "No such file"),
        (("aaa", "--key", key_file("b"), "--overlap", "long"), "write a whole number and a unit"),
        (("aaa", "--key", key_file("b"), "--overlap", "90 days"), "at most"),
        (("aaa", "--key", partner.parents[3] / "a.pub"), "stands here twice"),
    ):
        refused = gateway("partner", "rotate", *args)
        assert refused.code == 2
        assert reason in " ".join(refused.err.split())
    assert partner.read_bytes() == before
    assert [entry["action"] for entry in entries(home)] == ["partner.added"]


def test_keys_are_listed(gateway, home, partner, key_file):
    """Window, last use, days left and a warning, for one partner or all."""
    gateway("partner", "rotate", "aaa", "--key", key_file("b"))
    first, second = loaded(home).keys
    at = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    store = Store(home / "data/gateway.db")
    with store.write() as conn:
        partner_keys.use(conn, "aaa", first.fingerprint, at)
    store.close()
    for args in ((), ("aaa",)):
        shown = gateway("partner", "keys", *args)
        lines = shown.out.splitlines()
        start = next(number for number, line in enumerate(lines) if "oud" in line)
        assert f"{at.astimezone(AMSTERDAM):%Y-%m-%d %H:%M}" in lines[start]
        assert " 29 " in lines[start + 1]
        assert "ends soon" in shown.out
        assert first.fingerprint in lines[start + 1]
        assert second.fingerprint in shown.out
        assert "never" in shown.out
        assert "ssh-ed25519" in shown.out
    assert gateway("partner", "keys", "bbb").code == 2


def test_keys_that_end_are_on_the_board_and_in_check(gateway, home, partner, key_file):
    """From 30 days ahead, with the last use; a partner without a valid key stands out more."""
    assert "partner_keys" in gateway("status", "--json").out
    gateway("partner", "rotate", "aaa", "--key", key_file("b"), "--overlap", "3 days")
    first = loaded(home).keys[0]
    last_day = first.last_day
    told = json.loads(gateway("status", "--json").out)["partner_keys"]
    assert told["ending"] == [
        {"partner": "aaa", "fingerprint": first.fingerprint, "last_day": f"{last_day}", "last_used_at": None}
    ]
    assert told["locked_out"] == []
    shown = gateway("status").out
    assert f"aaa's key ends on {last_day}" in shown
    assert first.fingerprint in shown
    assert f"key {first.fingerprint} ends on {last_day}" in " ".join(gateway("check").out.split())
    gateway("partner", "disable", "aaa")
    told = json.loads(gateway("status", "--json").out)["partner_keys"]
    assert told == {"ending": [], "locked_out": ["aaa"]}
    assert "aaa has no valid key" in gateway("status").out
    assert "aaa is disabled" in gateway("check").out


def test_disable(gateway, home, partner):
    """No key lets it in any more; what takes it back is said; a second time nothing changes."""
    done = gateway("partner", "disable", "aaa")
    assert done.code == 0
    assert "take `disabled = true` out" in done.out
    assert not loaded(home).can_log_in(datetime.now(UTC))
    assert entries(home)[-1]["action"] == "partner.disabled"
    before = partner.read_bytes()
    again = gateway("partner", "disable", "aaa")
    assert (again.code, partner.read_bytes()) == (1, before)
    assert "is disabled already" in again.err
    assert "disabled" in gateway("partner", "keys").out


def test_leave_now(gateway, home, partner, key_file):
    """Every key ends, one that was to begin later goes; a later end is not given back."""
    gateway("partner", "rotate", "aaa", "--key", key_file("b"))
    text = partner.read_text()
    last = text.rindex("valid_from = ")
    partner.write_text(text[:last] + "valid_from = 2099-01-01\n\n" + text[text.index("[columns]") :])
    assert len(loaded(home).keys) == 2
    done = gateway("partner", "leave", "aaa")
    assert (done.code, done.err) == (0, "")
    (left,) = loaded(home).keys
    assert left.comment == "oud"
    assert not loaded(home).can_log_in(datetime.now(UTC))
    assert "Nothing of it is held" in done.out
    assert entries(home)[-1]["action"] == "partner.left"
    assert entries(home)[-1]["detail"]["ended"] == 1


def test_leave_on_a_day(gateway, home, partner):
    """It can come until the end of that day; a day that is over is refused."""
    day = local_day(datetime.now(UTC)) + timedelta(days=10)
    assert gateway("partner", "leave", "aaa", "--last-day", day.isoformat()).code == 0
    assert loaded(home).keys[0].last_day == day
    assert entries(home)[-1]["detail"] == {"last_day": day.isoformat(), "ended": 1}
    for wrong, reason in (("2020-01-01", "is over"), ("soon", "write a day")):
        refused = gateway("partner", "leave", "aaa", "--last-day", wrong)
        assert refused.code == 2
        assert reason in refused.err


def test_leave_delivers_and_lists_what_goes_when(house):
    """What waits for a municipality is published before it goes; what is held of a partner is listed by its days."""
    file = house.write(
        "s.csv", "s1;Huur;k1;Bakker;7938PL;18;600;60;J", "s2;Huur;k2;Jansen;7938PL;20;600;60;J"
    )
    house.receive("woonservice", "s.csv", file.read_bytes())
    assert "1 received file is still to be processed" in house.run("partner", "leave", "woonservice").out
    with house.opened() as opened:
        assert step(opened.pipeline())
    today = local_day(datetime.now(UTC))
    told = house.run("partner", "leave", "woonservice")
    assert (told.code, told.err) == (0, "")
    assert "1 file lies ready that it did not collect" in told.out
    goes = {line.split()[0]: line.split()[1:] for line in told.out.splitlines() if line.startswith("20")}
    assert goes.pop(f"{today + timedelta(days=14)}") == ["1", *["·"] * 6]
    assert goes.pop(f"{add_months(today, 6)}") == ["·", "2", *["·"] * 4, "2"]
    assert goes == {}

    day = today + timedelta(days=10)
    told = house.run("partner", "leave", "middendrenthe", "--last-day", day.isoformat())
    assert (told.code, told.err) == (0, "")
    assert "GM1731 is still its to serve" in told.out
    assert "2 files lie ready that it did not collect" in told.out
    with house.opened() as opened:
        assert not pending(opened.pipeline())


def test_partners_and_host_keys_in_the_audit_log(gateway, home, partner):
    """A rotation of host keys is recorded with its actor; retiring what is in use is refused."""
    assert gateway("keys", "host", "rotate", "--from", "2020-01-01").code == 2
    assert gateway("keys", "host", "rotate", "--from", "soon").code == 2
    first = json.loads(gateway("status", "--json").out)["host_keys"]
    assert [key["state"] for key in first] == ["in use"]
    today = local_day(datetime.now(UTC))
    done = gateway("keys", "host", "rotate", "--from", today.isoformat())
    assert done.code == 0
    old, new = json.loads(gateway("status", "--json").out)["host_keys"]
    assert (old["state"], new["state"]) == ("replaced", "in use")
    assert (
        f"[NAME-OF-THIS-HOST]:2222 {(home / 'keys/host_ed25519-2.pub').read_text().rsplit(' ', 1)[0]}"
        in done.out
    )
    assert f"ssh-ed25519 {new['fingerprint']} (nu in gebruik)" in done.out
    assert gateway("keys", "host", "retire", new["fingerprint"]).code == 1
    assert gateway("keys", "host", "retire", old["fingerprint"]).code == 0
    assert not (home / "keys/host_ed25519").exists()
    assert "retired" in gateway("keys", "host", "status").out
    assert gateway("check").code == 0
    again = gateway("keys", "host", "rotate")
    assert again.code == 0
    assert f"in gebruik tot {local_day(datetime.now(UTC)) + timedelta(days=30):%d-%m-%Y}" in again.out
    assert "comes into use" in gateway("status").out
    assert "comes into use" in " ".join(gateway("check").out.split())
