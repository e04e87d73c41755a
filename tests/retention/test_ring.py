"""The keyring as a whole: states, what does not fit, an early end refused, copies on the certificate."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.domain.ring_key import KeyState, key_state
from gateway.errors import CommandError, KeyringError
from gateway.retention import ring
from gateway.retention.keys import reach, warn_of_few
from gateway.store.retention_tables import KeyRow
from gateway.store.tables import AuditEntry, DataKeyRow
from gateway.vault.key_ids import index_id, until_id

#: The class of `conftest.py`.
World = Any

DAY = timedelta(days=1)
TODAY = date(2026, 11, 22)


@pytest.mark.parametrize(
    ("day", "month", "protects", "state"),
    [
        (TODAY - DAY, None, 0, KeyState.DEACTIVATED),
        (TODAY, None, 0, KeyState.ACTIVE),
        (TODAY + 10 * DAY, None, 0, KeyState.ACTIVE),
        (TODAY + 11 * DAY, None, 0, KeyState.PRE_ACTIVE),
        (TODAY + 11 * DAY, None, 1, KeyState.ACTIVE),
        (None, "2026-10", 5, KeyState.DEACTIVATED),
        (None, "2026-11", 0, KeyState.ACTIVE),
        (None, "2026-12", 0, KeyState.PRE_ACTIVE),
        (None, None, 0, KeyState.ACTIVE),
    ],
)
def test_states_follow_the_day(day: date | None, month: str | None, protects: int, state: KeyState) -> None:
    """The turns are on the day itself, the last that is needed, and the month."""
    of_today = {"today": TODAY, "last_needed": TODAY + 10 * DAY}
    for is_destroyed, expected in ((False, state), (True, KeyState.DESTROYED)):
        found = key_state(day=day, month=month, protects=protects, is_destroyed=is_destroyed, **of_today)
        assert found is expected


def standing(world: World, key_id: str) -> ring.Standing:
    """One key as it stands."""
    found = ring.standings(world.store, world.keyring, world.now, world.terms)
    return next(key for key in found if key.id == key_id)


def trouble(world: World) -> list[str]:
    """What does not fit."""
    return list(ring.problems(world.store, world.keyring, lambda _done, _total: None))


def test_each_key_tells_what_it_protects(world: World) -> None:
    """By count; destroyed only when it is gone from the ring as well."""
    world.deliver(months=1)
    used = {row["key_id"] for row in world.rows(DataKeyRow)}
    assert used
    for key_id in used:
        count = sum(row["key_id"] == key_id for row in world.rows(DataKeyRow))
        assert standing(world, key_id).data_keys == count
    assert any(key.tokens for key in ring.standings(world.store, world.keyring, world.now, world.terms))
    spare = until_id(world.today + 3 * DAY)
    assert standing(world, spare).state is KeyState.ACTIVE
    world.change(KeyRow, spare, destroyed_at=world.now)
    assert standing(world, spare).state is KeyState.ACTIVE
    world.keyring.destroy(spare)
    assert standing(world, spare).state is KeyState.DESTROYED


def test_what_does_not_fit_is_named(world: World) -> None:
    """A key of another object, another commitment, a key that is lost: each by itself, and nothing else."""
    world.deliver(months=1)
    assert trouble(world) == []
    first, *others = world.rows(DataKeyRow)
    world.change(DataKeyRow, first["id"], commitment=bytes(32))
    assert trouble(world) == [
        f"the data key of {first['object_id']}: the data key of {first['object_id']} is not the one that sealed it"
    ]
    world.change(DataKeyRow, first["id"], commitment=first["commitment"], partner_id="iemand")
    assert ["was altered" in each for each in trouble(world)] == [True]
    world.change(DataKeyRow, first["id"], partner_id=first["partner_id"])
    lost = others[0]["key_id"]
    (world.home / "keys" / "ring" / f"{lost}.key").unlink()
    found = trouble(world)
    assert found[0] == f"{lost} is not in the keyring, and its destruction is not on record"
    assert len(found) == 1 + sum(row["key_id"] == lost for row in world.rows(DataKeyRow))


def destroy(world: World, key_id: str) -> list[str]:
    """What the administrator's verb does."""
    return ring.destroy(world.store, world.keyring, key_id, world.now, world.terms, node="node", actor="anna")


def test_nobody_alone_destroys_early(world: World) -> None:
    """Not before the end of its day, and not what is used; then with an entry that names who did it."""
    world.deliver(months=1)
    used = until_id(date(2026, 12, 22))
    spare = until_id(world.today)
    for key_id in (spare, used, "index-2026-11"):
        with pytest.raises(CommandError, match="two approvers"):
            destroy(world, key_id)
    with pytest.raises(KeyringError, match="not in the keyring"):
        destroy(world, "until-2020-01-01")
    world.go_to(date(2026, 12, 23))
    with pytest.raises(CommandError, match="protects something"):
        destroy(world, used)
    assert world.keyring.has(used)
    assert destroy(world, spare) == []
    assert not world.keyring.has(spare)
    entries = [json.loads(row["entry"]) for row in world.rows(AuditEntry)]
    assert [(each["object"], each["actor"]) for each in entries if each["action"] == "key.destroyed"] == [
        (spare, "anna")
    ]
    assert standing(world, spare).state is KeyState.DESTROYED


def test_a_copy_that_is_away_makes_the_certificate_incomplete(world: World, tmp_path: Path) -> None:
    """What could not be seen is not said; when the copy is back the next purge destroys the key there too."""
    world.deliver(months=1)
    safe, away = tmp_path / "safe", tmp_path / "away"
    assert world.keyring.add_copy(safe, lambda _: None) == "copy-1"
    key_id = until_id(date(2026, 12, 22))
    safe.rename(away)
    world.go_to(date(2026, 12, 23))
    world.purge()
    made = json.loads(world.certificates()[0]["as_json"])
    assert made["status"] == "onvolledig"
    assert f"van sleutel {key_id} is de vernietiging in copy-1 niet bevestigd" in made["redenen"]
    results = next(key["kopieen"] for key in made["sleutels"] if key["id"] == key_id)
    assert results == [
        {"kopie": "keys", "resultaat": "vernietigd"},
        {"kopie": "copy-1", "resultaat": "niet bevestigd"},
    ]
    assert "copy-1: niet bevestigd" in " ".join(world.certificates()[0]["as_text"].decode().split())
    assert (away / f"{key_id}.key").exists()
    away.rename(safe)
    assert key_id in world.purge().keys
    assert not (safe / f"{key_id}.key").exists()
    assert world.keyring.unconfirmed(key_id) == []


def alarms(world: World, days: int) -> list[dict[str, Any]]:
    """What is logged by the look of some days later, while no key is made."""
    with capture_logs() as logged:
        warn_of_few(world.keyring, world.now + days * DAY, world.terms)
    return [each for each in logged if each["event"] == "keys.depleted"]


def test_an_alarm_each_day_when_keys_run_out(world: World) -> None:
    """None while they reach 3 days ahead; then an error each day with the first that is missing, also past the end."""
    last = until_id(date(2027, 5, 22) + 14 * DAY)
    assert reach(world.keyring, world.now, world.terms).days_ahead == 14
    assert last in world.keyring.ids()
    assert alarms(world, 11) == []
    for days, left in ((12, 2), (13, 1), (14, 0), (15, -1)):
        (told,) = alarms(world, days)
        assert (told["log_level"], told["count"]) == ("error", left)
        assert told["key"] > last


def test_an_alarm_when_a_copy_lacks_the_next_days(world: World, tmp_path: Path) -> None:
    """What it has not got may not be relied on, day or month; back again, there is nothing to tell."""
    safe = tmp_path / "safe"
    world.keyring.add_copy(safe, lambda _: None)
    safe.rename(tmp_path / "away")
    soon = until_id(date(2027, 5, 22) + 2 * DAY)
    world.keyring.renew({soon: 2})
    (told,) = alarms(world, 0)
    assert (told["count"], told["key"]) == (0, soon)
    (tmp_path / "away").rename(safe)
    world.ensure_keys()
    assert alarms(world, 0) == []
    world.keyring.destroy(index_id("2026-12"))
    (told,) = alarms(world, 7)
    assert (told["count"], told["key"]) == (1, "index-2026-12")
