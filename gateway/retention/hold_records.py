"""What is kept past its day, for a restored backup: holds, and the data keys that no day's key wraps any more (spec 4).

A backup has these data keys under keys of days that are gone by then. So `log/` has them as they are wrapped now, under the
key of the hold; of a hold that was lifted, under that of their day again. Each record is made anew when it changes, and
before the day of its own key: what it tells is worth nothing without the keys of the holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

from gateway.clock import local_day
from gateway.store import Connection, data_keys, holds, removals
from gateway.store.data_keys import StoredKey
from gateway.store.engine import Store
from gateway.store.holds import Hold
from gateway.store.removals import Kept
from gateway.vault import removal
from gateway.vault.ids import new_id
from gateway.vault.key_ids import day_of, hold_of, until_id
from gateway.vault.keyring import Keyring

#: What a record of the list tells of.
KIND = "hold"
#: A record can be read for so many days, and is made anew when half of them are over.
_DAYS = 30

_INSTANTS = ("asked_at", "placed_at", "lift_asked_at", "lifted_at")


def keep_holds(store: Store, keyring: Keyring, now: datetime) -> None:
    """Bring the records of holds up to what is so now; for the holder of `Store.exclusive()`."""
    today = local_day(now)
    with store.read() as conn:
        wanted = _wanted(conn)
        there = removals.about_holds(conn)
    current = {each.about for each in there if each.due_on >= today + timedelta(days=_DAYS // 2)}
    fresh = {about: fields for about, fields in wanted.items() if about not in current}
    stale = [each.id for each in there if each.about not in wanted or each.about in fresh]
    if not fresh and not stale:
        return
    day = _last_day(keyring, today)
    with store.write() as conn:
        for record_id in stale:
            data_keys.drop(conn, record_id)
        for about, fields in fresh.items():
            _keep(conn, keyring, about, fields, day=day, now=now)


def _last_day(keyring: Keyring, today: date) -> date:
    """The last day that a record is for: its key must be there."""
    days = [day for key_id in keyring.ids() if (day := day_of(key_id)) is not None]
    return max((day for day in days if today <= day <= today + timedelta(days=_DAYS)), default=today)


def _wanted(conn: Connection) -> dict[str, dict[str, Any]]:
    """What each record tells, by the hold and a digest of it."""
    found: dict[str, dict[str, Any]] = {}
    for hold in holds.listed(conn):
        if hold.placed_at is None:
            continue
        keys = holds.wrapped(conn, hold.id)
        if keys or hold.is_in_force:
            found |= _told(hold.id, hold, keys)
    for key_id in data_keys.count_by_key(conn):
        hold_id = hold_of(key_id)
        if hold_id is not None and holds.hold(conn, hold_id) is None:
            found |= _told(hold_id, None, data_keys.under(conn, key_id))
    return found


def _told(hold_id: str, hold: Hold | None, keys: list[StoredKey]) -> dict[str, dict[str, Any]]:
    fields: dict[str, Any] = {
        "kind": KIND,
        "hold": None if hold is None else _plain(hold),
        "deliveries": [] if hold is None else list(hold.deliveries),
        "keys": [_key(each) for each in keys],
    }
    return {f"{hold_id}:{sha256(repr(fields).encode()).hexdigest()[:32]}": fields}


def _keep(
    conn: Connection, keyring: Keyring, about: str, fields: Mapping[str, Any], *, day: date, now: datetime
) -> None:
    record_id = new_id("R", 16)
    at = now.astimezone(UTC).isoformat(timespec="microseconds")
    wrapped, sealed = removal.seal(keyring, until_id(day), record_id, {**fields, "at": at})
    kept = Kept(
        id=record_id,
        sealed=sealed,
        key_id=wrapped.key_id,
        key_version=wrapped.key_version,
        wrapped=wrapped.wrapped,
        commitment=wrapped.commitment,
    )
    removals.add(conn, kept, owner=removal.OWNER, due_on=day, at=now, about=about)


def _plain(hold: Hold) -> dict[str, object]:
    row = asdict(hold)
    del row["deliveries"]
    for name in _INSTANTS:
        row[name] = row[name] and row[name].isoformat()
    return {
        **row,
        "review_on": hold.review_on.isoformat(),
        "placed_by": "\n".join(hold.placed_by),
        "lifted_by": "\n".join(hold.lifted_by),
    }


def _key(stored: StoredKey) -> dict[str, object]:
    return {
        **asdict(stored),
        "due_on": stored.due_on.isoformat(),
        "wrapped": stored.wrapped.hex(),
        "commitment": stored.commitment.hex(),
    }


def hold_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a hold from its record."""
    row = dict(fields["hold"])
    for name in _INSTANTS:
        row[name] = datetime.fromisoformat(row[name]) if row[name] else None
    return {**row, "review_on": date.fromisoformat(row["review_on"])}


def stored_keys(fields: Mapping[str, Any]) -> list[StoredKey]:
    """The data keys of a record."""
    return [
        StoredKey(
            **{
                **key,
                "due_on": date.fromisoformat(key["due_on"]),
                "wrapped": bytes.fromhex(key["wrapped"]),
                "commitment": bytes.fromhex(key["commitment"]),
            }
        )
        for key in fields["keys"]
    ]
