"""The heartbeat: the time that is believed, for whoever looks at the clock next. In the caller's transaction."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.domain.heartbeat import Heartbeat
from gateway.store.retention_tables import HeartbeatRow

_HEARTBEAT: Table = HeartbeatRow.__table__  # type: ignore[attr-defined]
_ONLY = 1


def last(conn: Connection) -> Heartbeat | None:
    """What was noted last; None before the first."""
    row = conn.execute(select(_HEARTBEAT)).mappings().one_or_none()
    return None if row is None else Heartbeat(**{name: row[name] for name in Heartbeat.__slots__})


def note(conn: Connection, heartbeat: Heartbeat) -> None:
    """Note it in the place of the one before."""
    values = asdict(heartbeat)
    noted = upsert(_HEARTBEAT).values(id=_ONLY, **values)
    conn.execute(noted.on_conflict_do_update(index_elements=[_HEARTBEAT.c.id], set_=values))


def forget(conn: Connection) -> None:
    """The next one is the first: for data that was restored, whose heartbeat is as old as its backup."""
    conn.execute(delete(_HEARTBEAT))
