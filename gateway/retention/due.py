"""What falls due when, for people who look ahead: `gateway retention due` (spec 4, Retention)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from gateway.clock import local_day
from gateway.domain.retention import Terms, index_due
from gateway.store import registers
from gateway.store.engine import Store
from gateway.vault.key_ids import day_of, month_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDay:
    """What goes at the end of a day.

    `raws` are received files, `exclusions` residents whom municipalities list, `uncollected` the outgoing files that nobody has read, `contents` sealed contents whose row stays a while (D30, D40), `keys` the ids of
    the keys that are destroyed with it. `held` stay: objects (what one data key serves) that a legal hold covers or
    that wait for approval.
    """

    day: date
    raws: int = 0
    dispatches: int = 0
    uncollected: int = 0
    signals: int = 0
    exclusions: int = 0
    contents: int = 0
    held: int = 0
    keys: tuple[str, ...] = ()


def due(store: Store, now: datetime, until: date, terms: Terms) -> list[DueDay]:
    """The days up to and including `until` on which something falls due, in order.

    A day before today is overdue. What goes at the next purge whatever its day (refused files, replaced
    ones) is counted for today. A day that only has a key of its own, which nothing uses, is left out.
    """
    today = local_day(now)
    with store.read() as conn:
        kinds = registers.falling_due(conn, today, until)
        live = registers.live_keys(conn)
    keys: dict[date, list[str]] = {}
    for key_id in live:
        month = month_of(key_id)
        day = day_of(key_id) if month is None else index_due(month, terms)
        if day is not None and day <= until:
            keys.setdefault(day, []).append(key_id)
    days = {day for counts in kinds.values() for day in counts}
    days |= {day for day, ids in keys.items() if day < today or any(month_of(key_id) for key_id in ids)}
    return [
        DueDay(
            day=day,
            raws=kinds["raws"].get(day, 0),
            dispatches=kinds["dispatches"].get(day, 0),
            uncollected=kinds["uncollected"].get(day, 0),
            signals=kinds["signals"].get(day, 0),
            exclusions=kinds["exclusions"].get(day, 0),
            contents=kinds["contents"].get(day, 0),
            held=kinds["held"].get(day, 0),
            keys=tuple(sorted(keys.get(day, ()))),
        )
        for day in sorted(days)
    ]


def past_runs(store: Store) -> list[registers.Run]:
    """Every run of the purge, newest first: `gateway retention log`."""
    with store.read() as conn:
        return registers.runs(conn)
