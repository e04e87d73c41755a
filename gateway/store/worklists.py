"""Worklists: which there are, and which must be made anew (spec 2, For a municipality)."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, Table, bindparam, select
from sqlalchemy.dialects import sqlite

from gateway.store.tables import WorklistRow

_WORKLIST: Table = WorklistRow.__table__  # type: ignore[attr-defined]


class Due(NamedTuple):
    """A worklist to make; `version` is how often it was made before. `month` is `YYYY-MM`.

    `marked` rises with each publication that it must tell of.
    """

    partner_id: str
    municipality: str
    month: str
    version: int
    marked: int


_ADD = sqlite.insert(_WORKLIST).on_conflict_do_nothing()
_MARK = (
    _WORKLIST.update()
    .where(_WORKLIST.c.municipality == bindparam("of"), _WORKLIST.c.month == bindparam("in_month"))
    .values(is_due=True, marked=_WORKLIST.c.marked + 1)
)


def mark_due(conn: Connection, spots: Collection[tuple[str, str, str]]) -> None:
    """Something was published to a partner, of a municipality and a month: the worklist is to be made, after the
    caller's transaction.

    So are those of other partners of the municipality and month: their meldingen share ranks and capacity with it.
    """
    if not spots:
        return
    fresh = {"version": 0, "is_due": True, "marked": 0}
    conn.execute(
        _ADD,
        [
            {"partner_id": partner_id, "municipality": municipality, "month": month, **fresh}
            for partner_id, municipality, month in spots
        ],
    )
    conn.execute(_MARK, [{"of": municipality, "in_month": month} for _, municipality, month in spots])


def known(conn: Connection, partner_id: str, municipality: str) -> list[str]:
    """The months of which a partner has, or had, a worklist of a municipality."""
    query = select(_WORKLIST.c.month).where(
        _WORKLIST.c.partner_id == partner_id, _WORKLIST.c.municipality == municipality
    )
    return list(conn.execute(query.order_by(_WORKLIST.c.month)).scalars())


def due(conn: Connection) -> list[Due]:
    """The worklists to make, by municipality and month."""
    query = select(*(_WORKLIST.c[name] for name in Due._fields)).where(_WORKLIST.c.is_due)
    order = (_WORKLIST.c.municipality, _WORKLIST.c.month, _WORKLIST.c.partner_id)
    return [Due(*row) for row in conn.execute(query.order_by(*order))]


def mark_made(conn: Connection, made: Due, version: int) -> None:
    """It is made, and tells of all that was published."""
    conn.execute(
        _WORKLIST.update()
        .where(
            _WORKLIST.c.partner_id == made.partner_id,
            _WORKLIST.c.municipality == made.municipality,
            _WORKLIST.c.month == made.month,
        )
        .values(version=version, is_due=False)
    )
