"""When partners used which of their keys (spec 1, A partner's key)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects.sqlite import insert

from gateway.store.tables import PartnerKeyUse

_USE: Table = PartnerKeyUse.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The first and the last login with a key; the last one is some minutes exact."""

    first_used_at: datetime
    last_used_at: datetime


def use(conn: Connection, partner_id: str, fingerprint: str, at: datetime) -> None:
    """A partner logged in with a key; of two that come out of order the later stays."""
    made = insert(_USE).values(
        partner_id=partner_id, fingerprint=fingerprint, first_used_at=at, last_used_at=at
    )
    conn.execute(
        made.on_conflict_do_update(
            index_elements=[_USE.c.partner_id, _USE.c.fingerprint],
            set_={"last_used_at": func.max(_USE.c.last_used_at, made.excluded.last_used_at)},
        )
    )


def uses(conn: Connection) -> dict[tuple[str, str], Use]:
    """Every key that was ever used, by partner and fingerprint."""
    return {
        (row.partner_id, row.fingerprint): Use(first_used_at=row.first_used_at, last_used_at=row.last_used_at)
        for row in conn.execute(select(_USE))
    }
