"""Keys made ahead: no due day and no month of receipt comes without its key (spec 4, Keys)."""

from __future__ import annotations

from datetime import datetime

from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.retention import Terms, key_days, key_months
from gateway.store import registers
from gateway.store.engine import Store
from gateway.vault.keyring import Keyring, index_id, until_id


def ensure_keys(
    store: Store, keyring: Keyring, now: datetime, terms: Terms, *, node: str, origin: str = "schedule"
) -> list[str]:
    """Make the keys that are missing and register them; gives the ids made, none when all were there.

    `until-` keys for every due day from today to the longest term plus 14 days, `index-` keys for this
    month and the next. May be repeated; a key that was made but not registered is registered then.
    """
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
