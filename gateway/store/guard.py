"""What the processes of a gateway tell each other of visitors: penalties, open sessions, use of a day.

Each function works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, case, delete, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.domain.guard import Standing
from gateway.store.prepared import Prepared
from gateway.store.tables import DayUse, OpenSessions, PenaltyRow

_PENALTY: Table = PenaltyRow.__table__  # type: ignore[attr-defined]
_SESSIONS: Table = OpenSessions.__table__  # type: ignore[attr-defined]
_USE: Table = DayUse.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Use:
    """What a partner sent on a day."""

    files: int = 0
    bytes: int = 0


def standing(conn: Connection, source: str) -> Standing | None:
    """What a source scored; None when nothing is held against it."""
    row = conn.execute(select(_PENALTY).where(_PENALTY.c.source == source)).one_or_none()
    return None if row is None else Standing(row.score, row.until)


def standings(conn: Connection, *, after: datetime | None = None) -> dict[str, Standing]:
    """Every source's standing, the longest penalty first; `after`: only of those closed out until after it."""
    query = select(_PENALTY).order_by(_PENALTY.c.until.desc(), _PENALTY.c.source)
    if after is not None:
        query = query.where(_PENALTY.c.until > after)
    return {row.source: Standing(row.score, row.until) for row in conn.execute(query)}


def set_standing(conn: Connection, source: str, found: Standing) -> None:
    """Put a source's standing on record."""
    values = {"score": found.score, "until": found.until}
    row = upsert(_PENALTY).values(source=source, **values)
    conn.execute(row.on_conflict_do_update(index_elements=[_PENALTY.c.source], set_=values))


def lift(conn: Connection, source: str) -> bool:
    """Hold nothing against a source any more; False: nothing was."""
    return conn.execute(delete(_PENALTY).where(_PENALTY.c.source == source)).rowcount == 1


def forget(conn: Connection, before: datetime) -> None:
    """Drop the standings of those that were closed out, or refused, until `before` at the latest."""
    conn.execute(delete(_PENALTY).where(_PENALTY.c.until < before))


def set_sessions(
    conn: Connection, process: str, open_now: Mapping[str, int], *, now: datetime, until: datetime
) -> None:
    """Say how many sessions of each partner a process has open; it holds until `until` unless said again."""
    conn.execute(delete(_SESSIONS).where((_SESSIONS.c.process == process) | (_SESSIONS.c.until <= now)))
    if open_now:
        rows = [
            {"process": process, "partner_id": partner_id, "sessions": count, "until": until}
            for partner_id, count in open_now.items()
        ]
        conn.execute(insert(_SESSIONS), rows)


def sessions(conn: Connection, now: datetime, *, but_of: str = "") -> dict[str, int]:
    """How many sessions of each partner are open, in all processes but one."""
    query = (
        select(_SESSIONS.c.partner_id, func.sum(_SESSIONS.c.sessions))
        .where(_SESSIONS.c.until > now, _SESSIONS.c.process != but_of)
        .group_by(_SESSIONS.c.partner_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def used(conn: Connection, partner_id: str, day: date) -> Use:
    """What a partner sent on a day."""
    for files, size in _USED.rows(conn, {"of": partner_id, "on": day}):
        return Use(files, size)
    return Use()


def add_use(conn: Connection, partner_id: str, day: date, sent: Use) -> Use:
    """Add to what a partner sent on a day, and say what it is now; what was counted for another day is dropped."""
    values = {"partner_id": partner_id, "day": day, "files": sent.files, "bytes": sent.bytes}
    ((files, size),) = _ADD_USE.rows(conn, values)
    return Use(files, size)


def _adding_use() -> Any:
    row = upsert(_USE)
    same_day = _USE.c.day == row.excluded.day
    sums = {
        "day": row.excluded.day,
        "files": row.excluded.files + case((same_day, _USE.c.files), else_=0),
        "bytes": row.excluded.bytes + case((same_day, _USE.c.bytes), else_=0),
    }
    summed = row.on_conflict_do_update(index_elements=[_USE.c.partner_id], set_=sums)
    return summed.returning(_USE.c.files, _USE.c.bytes)


# Made once: what each file needs, a file of a few kilobytes must not pay for.
_USED = Prepared(
    select(_USE.c.files, _USE.c.bytes).where(
        _USE.c.partner_id == bindparam("of"), _USE.c.day == bindparam("on")
    )
)
_ADD_USE = Prepared(_adding_use())
