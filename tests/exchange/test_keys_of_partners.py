"""A partner's keys: windows that overlap, the last use of each, and sessions that end with their key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncssh
import pytest
import structlog

from gateway.domain.partner import PartnerKey
from gateway.exchange.key_uses import EVERY
from gateway.store import partner_keys
from gateway.store.engine import Store


def uses(house):
    """What is on record of the keys, by partner and fingerprint."""
    with house.exchange.store.read() as conn:
        return partner_keys.uses(conn)


def give_keys(house, partner: str, **windows: tuple) -> dict[str, str]:
    """Give a partner a new key for each name, with its window; their fingerprints."""
    keys = {}
    for name, (since, until) in windows.items():
        line, fingerprint = house.new_key(name)
        keys[name] = PartnerKey(public_key=line, fingerprint=fingerprint, valid_from=since, valid_until=until)
    house.partners[partner] = replace(house.partners[partner], keys=tuple(keys.values()))
    return {name: key.fingerprint for name, key in keys.items()}


async def test_windows_overlap(house):
    """During a rotation both keys let their partner in; before it only the old one does, after it only the new."""
    now = house.clock.now()
    begin, end = now + timedelta(days=1), now + timedelta(days=31)
    give_keys(house, "woonbron", old=(None, end), new=(begin, None))

    async def let_in() -> list[bool]:
        return [(await house.sftp("woonbron", "ls", key=key)).status == 0 for key in ("old", "new")]

    assert await let_in() == [True, False]
    house.clock.set(begin)
    assert await let_in() == [True, True]
    house.clock.set(end)
    assert await let_in() == [False, True]


async def test_the_use_of_each_key_is_recorded(house):
    """First and last login by key; a login within minutes of one on record costs no transaction."""
    now = house.clock.now()
    fingerprint = house.partners["woonbron"].keys[0].fingerprint
    key = ("woonbron", fingerprint)
    assert uses(house) == {}
    async with house.connect("woonbron"):
        await house.until(lambda: key in uses(house))
    house.clock.step(EVERY - timedelta(seconds=1))
    async with house.connect("woonbron"), house.connect("vitens"):
        await house.until(lambda: len(uses(house)) == 2)
    assert uses(house)[key] == partner_keys.Use(first_used_at=now, last_used_at=now)
    house.clock.step(timedelta(seconds=1))
    async with house.connect("woonbron"):
        await house.until(lambda: uses(house)[key].last_used_at == now + EVERY)
    assert uses(house)[key].first_used_at == now


async def test_a_key_that_lets_nobody_in_is_not_used(house):
    """A refused key leaves no record, whoever's it is."""
    assert (await house.sftp("woonbron", "ls", key="vitens")).status == 255
    await house.listener.close()
    assert uses(house) == {}


async def test_a_login_does_not_wait_for_the_record(house, monkeypatch):
    """Without the database a partner still comes in; the loss is told, and the next login is recorded."""

    def refuse(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as lines:
        patch.setattr(partner_keys, "use", refuse)
        async with house.connect("woonbron"):
            await house.until(lambda: any(line["event"] == "key.unrecorded" for line in lines))
    async with house.connect("woonbron"):
        await house.until(lambda: len(uses(house)) == 1)


def test_uses_out_of_order(tmp_path):
    """Of two processes that write out of order, the later login stays the last."""
    store = Store.create(tmp_path / "gateway.db")
    at = datetime(2026, 11, 22, tzinfo=UTC)
    with store.write() as conn:
        partner_keys.use(conn, "p", "SHA256:x", at)
        partner_keys.use(conn, "p", "SHA256:x", at - timedelta(minutes=1))
        found = partner_keys.uses(conn)
    store.close()
    assert found == {("p", "SHA256:x"): partner_keys.Use(first_used_at=at, last_used_at=at)}


@pytest.mark.parametrize("how", ["expired", "removed", "disabled", "left"])
async def test_sessions_end_with_their_key(house, how):
    """A file under way is ABORTED, the client is told; whoever has another key or is somebody else stays."""
    now = house.clock.now()
    give_keys(house, "woonbron", short=(None, now + timedelta(hours=1)), long=(None, None))
    async with (
        house.raw("woonbron", "short") as cut,
        house.raw("woonbron", "long") as kept,
        house.raw("vitens") as other,
    ):
        handle = (await cut.open("inbox/a.csv")).string
        await cut.write(handle, 0, b"signaal_id;postcode\n")
        assert house.listener.cut_ended(house.partners, house.clock.now()) == 0
        partner = house.partners["woonbron"]
        if how == "expired":
            house.clock.step(timedelta(hours=1))
        elif how == "removed":
            house.partners["woonbron"] = replace(partner, keys=partner.keys[1:])
        elif how == "disabled":
            house.partners["woonbron"] = replace(partner, is_disabled=True)
        else:
            del house.partners["woonbron"]
        ends = 1 if how in {"expired", "removed"} else 2
        with structlog.testing.capture_logs() as lines:
            assert house.listener.cut_ended(house.partners, house.clock.now()) == ends
        assert [line["event"] for line in lines] == ["session.revoked"] * ends
        with pytest.raises((asyncssh.DisconnectError, asyncio.IncompleteReadError)):
            await cut.stat("/")
        await house.until(lambda: house.states() == ["aborted"])
        assert house.blob_files() == []
        if ends == 1:
            assert (await kept.stat("/")).kind == 105
        assert (await other.stat("/")).kind == 105
        assert house.listener.cut_ended(house.partners, house.clock.now()) == 0
