"""Keys made ahead: no due day and no month of receipt comes without its key (spec 4, Keys)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day, month_of
from gateway.domain.retention import FEW_KEY_DAYS, KEYS_AHEAD_DAYS, Terms, key_days, key_months
from gateway.store import early, key_versions, registers
from gateway.store.engine import Store
from gateway.vault.key_ids import index_id, until_id
from gateway.vault.keyring import Keyring

_log = logs.get("retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far keys reach that may be relied on: in the ring, and in every registered copy.

    Up to `until` no due day lacks one; `days_ahead` is for how many days to come files can be received, -1 when they
    can't be today. `lacks` is the first key that is missing.
    """

    until: date | None
    days_ahead: int
    lacks: str | None


def reach(keyring: Keyring, now: datetime, terms: Terms) -> Reach:
    """How far the keys reach that are made ahead."""
    today = local_day(now)
    days = key_days(today, terms)
    until, lacks = None, None
    for day in days:
        if not keyring.has(until_id(day)):
            lacks = until_id(day)
            break
        until = day
    needed = days[-1] - timedelta(days=KEYS_AHEAD_DAYS)
    ahead = ((until or days[0] - timedelta(days=1)) - needed).days
    for days_from_now in range(KEYS_AHEAD_DAYS + 1):
        index = index_id(month_of(today + timedelta(days=days_from_now)))
        if days_from_now <= ahead and not keyring.has(index):
            return Reach(until=until, days_ahead=days_from_now - 1, lacks=index)
    return Reach(until=until, days_ahead=ahead, lacks=lacks)


def warn_of_few(keyring: Keyring, now: datetime, terms: Terms) -> bool:
    """Log an error when keys reach fewer than 3 days ahead, or a copy lacks one of these days; whether it did."""
    found = reach(keyring, now, terms)
    if found.days_ahead >= FEW_KEY_DAYS:
        return False
    _log.error("keys.depleted", count=found.days_ahead, key=found.lacks)
    return True


def ensure_keys(
    store: Store, keyring: Keyring, now: datetime, terms: Terms, *, node: str, origin: str = "schedule"
) -> list[str]:
    """Make the keys that are missing and register them; gives the ids made, none when all were there.

    `until-` keys for every due day from today to the longest term plus 14 days, `index-` keys for this
    month and the next. May be repeated; a key that was made but not registered is registered then. Where the
    register is behind the ring, after a backup of the database was put back, it follows.
    """
    _follow(store, keyring, now, node=node, origin=origin)
    today = local_day(now)
    wanted = [until_id(day) for day in key_days(today, terms)]
    wanted += [index_id(month) for month in key_months(today)]
    made = keyring.ensure(wanted)
    with store.read() as conn:
        unknown = registers.unknown_keys(conn, wanted)
    if unknown:
        with store.write() as conn:
            registers.register_keys(conn, unknown, now)
            for key_id in unknown:
                record(
                    conn,
                    action="key.made",
                    object_id=key_id,
                    origin=origin,
                    actor="gateway",
                    at=now,
                    node=node,
                )
    return made


def _follow(store: Store, keyring: Keyring, now: datetime, *, node: str, origin: str) -> None:
    """The version in force is one that is in the ring; tokens that were made with one that is gone lead nowhere."""
    there = keyring.all_versions()
    with store.read() as conn:
        known = key_versions.all_keys(conn)
    behind = [key_id for key_id, held in there.items() if key_id in known and held[0] > known[key_id].version]
    for key_id in behind:
        version = there[key_id][-1]
        with store.write() as conn:
            lost = early.forget_index(conn, key_id)
            key_versions.advance(conn, key_id, version, now)
            key_versions.mark_destroyed(conn, key_id, there[key_id][0])
            record(
                conn,
                action="key.renewed",
                object_id=key_id,
                origin=origin,
                actor="gateway",
                at=now,
                node=node,
                detail={"version": version, "lost": lost},
            )
