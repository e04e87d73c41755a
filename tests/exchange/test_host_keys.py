"""Host keys: a calendar that time alone moves, and a client that trusts strictly through a whole rotation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.host_key import HostKeyKind, HostKeyState, in_use, state, turns
from gateway.errors import CommandError, KeyringError
from gateway.exchange import host_keys
from gateway.exchange.algorithms import MODERN
from gateway.exchange.keys import create_host_key

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
#: The first instant of 22 December in the Netherlands.
TURN = datetime(2026, 12, 21, 23, 0, tzinfo=UTC)
#: The first instant after 21 January in the Netherlands.
RETIRED = datetime(2027, 1, 21, 23, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    """The keys of a home that was just made."""
    create_host_key(tmp_path / "host_ed25519")
    return tmp_path


def states(folder, now: datetime) -> list[HostKeyState]:
    """What each key is, the oldest first."""
    known = host_keys.calendar(folder)
    return [state(key, known, now) for key in known]


def test_a_rotation_by_the_calendar(folder):
    """Old and new are announced together; the new one takes over on its day, the old one goes after its own."""
    assert states(folder, NOW) == [HostKeyState.IN_USE]
    (made,) = host_keys.rotate(folder, NOW, TURN, told=lambda _: None)
    old, new = host_keys.calendar(folder)
    assert (new.fingerprint, new.announced_at, new.active_from) == (made.fingerprint, NOW, TURN)
    assert (old.retire_at, new.retire_at) == (RETIRED, None)
    instant = timedelta(microseconds=1)
    for now, expected, first in (
        (NOW, [HostKeyState.IN_USE, HostKeyState.ANNOUNCED], old),
        (TURN - instant, [HostKeyState.IN_USE, HostKeyState.ANNOUNCED], old),
        (TURN, [HostKeyState.REPLACED, HostKeyState.IN_USE], new),
        (RETIRED - instant, [HostKeyState.REPLACED, HostKeyState.IN_USE], new),
        (RETIRED, [HostKeyState.RETIRED, HostKeyState.IN_USE], new),
    ):
        assert states(folder, now) == expected
        known = host_keys.calendar(folder)
        assert in_use(known, HostKeyKind.ED25519, now) == first
        shown = host_keys.shown(folder, known, MODERN.host_keys, now)
        live = [folder / key.file for key in (old, new) if not key.is_retired(now)]
        assert (shown[0], sorted(shown)) == (folder / first.file, live)
    assert [(turn.on.isoformat(), turn.what) for turn in turns((old, new), NOW)] == [
        ("2026-12-22", "comes into use"),
        ("2027-01-22", "is retired"),
    ]
    assert turns((old, new), RETIRED) == []


def test_what_is_retired_is_gone_from_the_disk(folder):
    """Both halves of the old key, and no other file, on its day and not before; its fingerprint stays known."""
    host_keys.rotate(folder, NOW, TURN, told=lambda _: None)
    before = sorted(path.name for path in folder.iterdir())
    assert host_keys.remove_retired(folder, RETIRED - timedelta(seconds=1), told=lambda _: None) == []
    assert sorted(path.name for path in folder.iterdir()) == before
    (removed,) = host_keys.remove_retired(folder, RETIRED, told=lambda _: None)
    assert set(before) - {path.name for path in folder.iterdir()} == {"host_ed25519", "host_ed25519.pub"}
    assert host_keys.remove_retired(folder, RETIRED, told=lambda _: None) == []
    assert host_keys.calendar(folder)[0] == removed
    assert host_keys.check(folder, RETIRED) == [folder / "host_ed25519-2"]


def test_rotations_one_after_the_other(folder):
    """A second is refused while the first is announced; a third key takes another name than a first that is gone."""
    host_keys.rotate(folder, NOW, TURN, told=lambda _: None)
    with pytest.raises(CommandError, match="is announced already"):
        host_keys.rotate(folder, NOW, TURN, told=lambda _: None)
    host_keys.remove_retired(folder, RETIRED, told=lambda _: None)
    host_keys.rotate(folder, RETIRED, RETIRED + timedelta(days=30), told=lambda _: None)
    assert [key.file for key in host_keys.calendar(folder)] == [
        "host_ed25519",
        "host_ed25519-2",
        "host_ed25519-3",
    ]


def test_a_rotation_at_once(folder):
    """After a theft the new key is used from now; the old one can be retired at once, and no other can."""
    (new,) = host_keys.rotate(folder, NOW, NOW - timedelta(hours=9), told=lambda _: None)
    assert states(folder, NOW) == [HostKeyState.REPLACED, HostKeyState.IN_USE]
    old = host_keys.calendar(folder)[0]
    with pytest.raises(CommandError, match="only a replaced key"):
        host_keys.retire(folder, new.fingerprint, NOW, told=lambda _: None)
    with pytest.raises(CommandError, match="there is no host key"):
        host_keys.retire(folder, "SHA256:none", NOW, told=lambda _: None)
    host_keys.retire(folder, old.fingerprint, NOW, told=lambda _: None)
    assert states(folder, NOW) == [HostKeyState.RETIRED, HostKeyState.IN_USE]
    assert [key.fingerprint for key in host_keys.remove_retired(folder, NOW, told=lambda _: None)] == [
        old.fingerprint
    ]


def test_every_kind_is_rotated(folder):
    """The legacy listener's own key is made once, and turns with the other."""
    made = host_keys.ensure(folder, HostKeyKind.ECDSA, NOW, told=lambda _: None)
    assert made
    assert host_keys.ensure(folder, HostKeyKind.ECDSA, NOW, told=lambda _: None) is None
    assert [key.kind for key in host_keys.rotate(folder, NOW, TURN, told=lambda _: None)] == [
        HostKeyKind.ED25519,
        HostKeyKind.ECDSA,
    ]
    assert states(folder, TURN) == [HostKeyState.REPLACED] * 2 + [HostKeyState.IN_USE] * 2
    host_keys.check(folder, TURN)


def test_a_crash_before_the_calendar_leaves_the_keys_as_they_were(folder, monkeypatch):
    """A key that no calendar tells of is not shown, and is in nobody's way."""
    with monkeypatch.context() as patch:
        patch.setattr(host_keys, "_write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            host_keys.rotate(folder, NOW, TURN, told=lambda _: None)
    assert (folder / "host_ed25519-2").exists()
    assert states(folder, NOW) == [HostKeyState.IN_USE]
    host_keys.rotate(folder, NOW, TURN, told=lambda _: None)
    assert host_keys.calendar(folder)[-1].file == "host_ed25519-3"


def test_a_removal_that_was_cut_off_before_its_entry_is_told_again(folder):
    """The public half goes last: as long as it is there, the key's end may not be on record."""
    host_keys.rotate(folder, NOW, TURN, told=lambda _: None)
    with pytest.raises(ZeroDivisionError):
        host_keys.remove_retired(folder, RETIRED, told=lambda _: 1 / 0)
    assert not (folder / "host_ed25519").exists()
    told = []
    for _ in range(2):
        host_keys.remove_retired(folder, RETIRED, told=told.append)
    assert [key.file for key in told] == ["host_ed25519"]


def test_a_calendar_that_can_t_be_used(folder):
    """Damage, another version, a key that is missing or swapped: each is told, and nothing is guessed."""
    host_keys.rotate(folder, NOW, TURN, told=lambda _: None)
    file, second = folder / host_keys.CALENDAR, folder / "host_ed25519-2"
    whole = file.read_text()
    for damaged in ("", "[]", "{}", whole.replace("host_ed25519-2", "../host"), whole.replace("+00:00", "")):
        file.write_text(damaged)
        with pytest.raises(KeyringError, match="is damaged"):
            host_keys.calendar(folder)
    file.write_text(json.dumps(json.loads(whole) | {"version": 2}))
    with pytest.raises(KeyringError, match="of another version"):
        host_keys.calendar(folder)
    file.write_text(whole)
    second.rename(folder / "away")
    with pytest.raises(KeyringError, match="No such file"):
        host_keys.check(folder, NOW)
    create_host_key(second.with_name("other"))
    (folder / "other").rename(second)
    with pytest.raises(KeyringError, match="another key than"):
        host_keys.check(folder, NOW)
