"""What runs of the purge took, how they were compacted, and the registers made from them (spec 4, Retention).

Each function works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.domain.certificate import CompactionFigures, Kind
from gateway.domain.delivery import Kind as FileKind
from gateway.domain.dispatch import DispatchKind
from gateway.store.going import Going
from gateway.store.retention_tables import CompactionRow, Destruction
from gateway.store.tables import DataKeyRow, Delivery, Dispatch, ExclusionRow, SignalRow

_DESTRUCTION: Table = Destruction.__table__  # type: ignore[attr-defined]
_COMPACTION: Table = CompactionRow.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]

#: What the rows of a file are that are no signals.
_LISTS: Mapping[str, Kind] = {
    FileKind.EXCLUSIONS: Kind.EXCLUSIONS,
    FileKind.KNOWN_RESIDENTS: Kind.KNOWN_RESIDENTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a run takes, as it was written down before it went; fields as `gateway.store.going.Going`."""

    id: int
    party: str
    kind: Kind
    object_id: str
    partner_id: str
    received_at: datetime | None
    due_on: date
    rows: int
    sealed_bytes: int
    sha256: bytes
    key: bytes
    key_goes: bool
    never_collected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A line of the register: what is or was held of an object; `rows` None: it is a file.

    `never_collected`: nobody has read the outgoing file.
    """

    object_id: str
    kind: Kind
    partner_id: str
    municipality: str
    received_at: datetime | None
    due_on: date
    rows: int | None
    never_collected: bool = False
    destroyed_at: datetime | None = None
    certificate: str | None = None
    #: what keeps it, by its key
    hold_id: str = ""


# Before and after it goes --------------------------------------------------------------------------------


def write_down(
    conn: Connection, run_id: int, going: Sequence[tuple[str, date, Going]], keep_until: date
) -> None:
    """Note what a run takes, with its party and due day; what was noted already stays as it was."""
    rows = [
        {
            "run_id": run_id,
            "party": party,
            "kind": one.kind,
            "object_id": one.object_id,
            "partner_id": one.partner_id,
            "received_at": one.received_at,
            "due_on": due_on,
            "rows": one.rows,
            "sealed_bytes": one.sealed_bytes,
            "sha256": one.sha256,
            "key": one.key,
            "key_goes": one.key_goes,
            "never_collected": one.never_collected,
            "keep_until": keep_until,
        }
        for party, due_on, one in going
    ]
    if rows:
        conn.execute(upsert(_DESTRUCTION).on_conflict_do_nothing(), rows)


def uncertified(conn: Connection, run_id: int) -> list[Taken]:
    """What a run takes and no certificate tells of yet, in a fixed order."""
    columns = [_DESTRUCTION.c[field.name] for field in fields(Taken)]
    query = (
        select(*columns)
        .where(_DESTRUCTION.c.run_id == run_id, _DESTRUCTION.c.certificate.is_(None))
        .order_by(_DESTRUCTION.c.party, _DESTRUCTION.c.object_id, _DESTRUCTION.c.id)
    )
    return [Taken(**{**row, "kind": Kind(row["kind"])}) for row in conn.execute(query).mappings()]


def has_uncertified(conn: Connection, run_id: int) -> bool:
    """Whether a run takes anything that no certificate tells of yet."""
    left = exists().where(_DESTRUCTION.c.run_id == run_id, _DESTRUCTION.c.certificate.is_(None))
    return bool(conn.execute(select(left)).scalar_one())


def settle(conn: Connection, gone: Mapping[int, int], number: str, at: datetime) -> None:
    """What was written down (id -> rows) is destroyed, and on a certificate: digest and key stand there."""
    conn.execute(
        update(_DESTRUCTION)
        .where(_DESTRUCTION.c.id == bindparam("of"))
        .values(rows=bindparam("count"), destroyed_at=at, certificate=number, sha256=b"", key=b""),
        [{"of": of, "count": count} for of, count in gone.items()],
    )


def drop(conn: Connection, ids: Collection[int]) -> None:
    """What was written down is here still: the run that takes it writes it down again."""
    conn.execute(delete(_DESTRUCTION).where(_DESTRUCTION.c.id.in_(ids)))


def forget(conn: Connection, today: date) -> None:
    """What certificates tell of goes when their own term is over."""
    conn.execute(delete(_DESTRUCTION).where(_DESTRUCTION.c.keep_until < today))


# Compaction ----------------------------------------------------------------------------------------------


def record_compaction(conn: Connection, run_id: int, done: CompactionFigures, at: datetime) -> None:
    """How the database was compacted after a run; a later one takes its place."""
    figures = {
        "at": at,
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "wal_bytes": done.wal_bytes,
        "seconds": done.seconds,
        "busy": done.busy,
        "reason": done.reason,
    }
    made = upsert(_COMPACTION).values(run_id=run_id, **figures)
    conn.execute(made.on_conflict_do_update(index_elements=[_COMPACTION.c.run_id], set_=figures))


def compaction(conn: Connection, run_id: int) -> CompactionFigures | None:
    """How the database was compacted after a run; None when it was not."""
    columns = [_COMPACTION.c[field.name] for field in fields(CompactionFigures)]
    row = conn.execute(select(*columns).where(_COMPACTION.c.run_id == run_id)).mappings().one_or_none()
    return None if row is None else CompactionFigures(**row)


# Lists -------------------------------------------------------------------------------------------------


def lists_made(conn: Connection, due_on: date) -> dict[str, int]:
    """How many lists of what went each partner got on the day whose lists go on `due_on`; purged ones too."""
    query = (
        select(_DISPATCH.c.partner_id, func.count())
        .where(_DISPATCH.c.due_on == due_on, _DISPATCH.c.kind == DispatchKind.DESTROYED)
        .group_by(_DISPATCH.c.partner_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def files_held(conn: Connection, kinds: Collection[DispatchKind]) -> int:
    """How many outgoing files of these kinds are held, with what comes and goes with them."""
    file = _DISPATCH.alias()
    parents = select(file.c.id).where(file.c.kind.in_(kinds))
    is_meant = _DISPATCH.c.kind.in_(kinds) | _DISPATCH.c.parent_id.in_(parents)
    held = select(func.count()).select_from(_DISPATCH).where(_DISPATCH.c.purged_at.is_(None), is_meant)
    return int(conn.execute(held).scalar_one())


# Registers -----------------------------------------------------------------------------------------------


def register(
    conn: Connection, since: datetime, until: datetime, scope: Collection[str] | None
) -> list[Recorded]:
    """What was received or made from `since` up to `until`: what is held, and what was destroyed.

    `scope` are the municipalities whose part is told; None: all. What is held is known by its data keys.
    """
    return [*_held(conn, since, until, scope), *_destroyed(conn, since, until, scope)]


def months(conn: Connection) -> tuple[datetime, datetime] | None:
    """The first and last receipt that a register tells of; None: nothing was received yet."""
    received = _DELIVERY.c.received_at
    row = conn.execute(select(func.min(received), func.max(received))).one()
    return None if row[0] is None else (row[0], row[1])


def _held(
    conn: Connection, since: datetime, until: datetime, scope: Collection[str] | None
) -> Iterable[Recorded]:
    counted = (
        select(_SIGNAL.c.delivery_id, _SIGNAL.c.data_key_id, func.count().label("rows"))
        .where(_SIGNAL.c.delivery_id.in_(_received_in(since, until)), _SIGNAL.c.data_key_id.is_not(None))
        .group_by(_SIGNAL.c.delivery_id, _SIGNAL.c.data_key_id)
        .subquery()
    )
    listed = (
        select(_EXCLUSION.c.data_key_id, func.count().label("rows"))
        .where(_EXCLUSION.c.delivery_id.in_(_received_in(since, until)))
        .group_by(_EXCLUSION.c.data_key_id)
        .subquery()
    )
    of_delivery = (
        select(
            _DATA_KEY.c.object_id,
            _DATA_KEY.c.partner_id,
            _DATA_KEY.c.municipality,
            _DATA_KEY.c.due_on,
            _DELIVERY.c.received_at,
            _DELIVERY.c.kind,
            func.coalesce(counted.c.rows, listed.c.rows, 0).label("rows"),
            _DATA_KEY.c.key_id,
        )
        .select_from(
            _DATA_KEY.join(_DELIVERY, _DELIVERY.c.id == _DATA_KEY.c.object_id)
            .outerjoin(counted, counted.c.data_key_id == _DATA_KEY.c.id)
            .outerjoin(listed, listed.c.data_key_id == _DATA_KEY.c.id)
        )
        .where(_between(_DELIVERY.c.received_at, since, until), _in(_DATA_KEY.c.municipality, scope))
    )
    for row in conn.execute(of_delivery.order_by(_DATA_KEY.c.object_id, _DATA_KEY.c.id)).mappings():
        fields, is_file = dict(row), row["municipality"] == ""
        fields["kind"] = Kind.FILE if is_file else _LISTS.get(row["kind"], Kind.ROWS)
        fields["rows"] = None if is_file else row["rows"]
        hold_id = _hold_in(fields.pop("key_id"))
        yield Recorded(**fields, hold_id=hold_id)
    outgoing = (
        select(
            _DISPATCH.c.id.label("object_id"),
            _DISPATCH.c.partner_id,
            _DISPATCH.c.municipality,
            _DISPATCH.c.due_on,
            _DISPATCH.c.created_at.label("received_at"),
            and_(
                _DISPATCH.c.parent_id.is_(None),
                _DISPATCH.c.collected_at.is_(None),
                _DISPATCH.c.removed_at.is_(None),
            ).label("never_collected"),
            _DATA_KEY.c.key_id,
        )
        .select_from(_DISPATCH.outerjoin(_DATA_KEY, _DATA_KEY.c.object_id == _DISPATCH.c.id))
        .where(
            _DISPATCH.c.purged_at.is_(None),
            _between(_DISPATCH.c.created_at, since, until),
            _in(_DISPATCH.c.municipality, scope),
        )
        .order_by(_DISPATCH.c.id)
    )
    for row in conn.execute(outgoing).mappings():
        fields = dict(row)
        hold_id = _hold_in(fields.pop("key_id") or "")
        yield Recorded(**fields, rows=None, kind=Kind.DISPATCH, hold_id=hold_id)


def _destroyed(
    conn: Connection, since: datetime, until: datetime, scope: Collection[str] | None
) -> Iterable[Recorded]:
    query = (
        select(_DESTRUCTION)
        .where(
            _DESTRUCTION.c.certificate.is_not(None),
            _between(_DESTRUCTION.c.received_at, since, until),
            _in(_DESTRUCTION.c.party, scope),
        )
        .order_by(_DESTRUCTION.c.object_id, _DESTRUCTION.c.id)
    )
    for row in conn.execute(query).mappings():
        yield _recorded(row)


def _recorded(row: RowMapping) -> Recorded:
    kind = Kind(row["kind"])
    return Recorded(
        object_id=row["object_id"],
        kind=kind,
        partner_id=row["partner_id"],
        municipality=row["party"] if row["party"].startswith("GM") else "",
        received_at=row["received_at"],
        due_on=row["due_on"],
        rows=row["rows"] if kind.is_rows else None,
        never_collected=row["never_collected"],
        destroyed_at=row["destroyed_at"],
        certificate=row["certificate"],
    )


def _hold_in(key_id: str) -> str:
    kind, _, rest = key_id.partition("-")
    return rest if kind == "hold" else ""


def _received_in(since: datetime, until: datetime) -> Any:
    return select(_DELIVERY.c.id).where(_between(_DELIVERY.c.received_at, since, until))


def _between(column: ColumnElement[Any], since: datetime, until: datetime) -> ColumnElement[bool]:
    return (column >= since) & (column < until)


def _in(column: ColumnElement[Any], scope: Collection[str] | None) -> ColumnElement[bool]:
    return column.is_not(None) if scope is None else column.in_(scope)
