"""Registers: keys made and destroyed, runs of the purge, when scheduled work ran last, what falls due when."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    case,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import PROOFS, DispatchState
from gateway.store.going import is_held
from gateway.store.retention_tables import KeyRow, PurgeRun
from gateway.store.tables import DataKeyRow, Delivery, Dispatch, ExclusionRow, Schedule, SignalRow

_KEY: Table = KeyRow.__table__  # type: ignore[attr-defined]
_RUN: Table = PurgeRun.__table__  # type: ignore[attr-defined]
_SCHEDULE: Table = Schedule.__table__  # type: ignore[attr-defined]
_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]

#: What a run of the purge counts.
COUNTS = (
    "rewrapped",
    "raws",
    "deliveries",
    "dispatches",
    "signals",
    "answers",
    "exclusions",
    "contents",
    "meldingen",
    "tokens",
    "blobs",
    "data_keys",
    "keys",
    "errors",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the purge; `counts` by the names in `COUNTS`."""

    id: int
    due_before: date
    started_at: datetime
    finished_at: datetime | None
    step: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """A key as the register knows it."""

    id: str
    made_at: datetime
    destroyed_at: datetime | None


# Keys ----------------------------------------------------------------------------------------------------


def register_keys(conn: Connection, key_ids: Iterable[str], at: datetime) -> None:
    """Keys are in the keyring; those that are known already stay as they are."""
    rows = [{"id": key_id, "version": 1, "made_at": at} for key_id in key_ids]
    if rows:
        conn.execute(upsert(_KEY).on_conflict_do_nothing(), rows)


def unknown_keys(conn: Connection, key_ids: Collection[str]) -> list[str]:
    """Those of the keys that the register does not know, in their order."""
    known = set(conn.execute(select(_KEY.c.id)).scalars())
    return [key_id for key_id in key_ids if key_id not in known]


def keys(conn: Connection) -> list[RegisteredKey]:
    """Every key that was ever made."""
    query = select(_KEY.c.id, _KEY.c.made_at, _KEY.c.destroyed_at)
    return [RegisteredKey(**row) for row in conn.execute(query).mappings()]


def live_keys(conn: Connection) -> list[str]:
    """The keys whose destruction is not on record."""
    return list(conn.execute(select(_KEY.c.id).where(_KEY.c.destroyed_at.is_(None))).scalars())


def mark_destroyed(conn: Connection, key_id: str, at: datetime, run_id: int | None = None) -> None:
    """A key is destroyed, on record from now on; by a run of the purge, if by one."""
    gone = {"destroyed_at": at, "destroyed_in": run_id}
    destroyed = upsert(_KEY).values(id=key_id, version=1, made_at=at, **gone)
    conn.execute(destroyed.on_conflict_do_update(index_elements=[_KEY.c.id], set_=gone))


def destroyed_in(conn: Connection, run_id: int) -> list[str]:
    """The keys that a run of the purge destroyed, by id."""
    return list(
        conn.execute(select(_KEY.c.id).where(_KEY.c.destroyed_in == run_id).order_by(_KEY.c.id)).scalars()
    )


# Runs of the purge ---------------------------------------------------------------------------------------


def open_run(conn: Connection, due_before: date, at: datetime) -> tuple[int, bool]:
    """The id of the run to work in, and whether it goes on after an interruption."""
    unfinished: int | None = conn.execute(
        select(_RUN.c.id).where(_RUN.c.finished_at.is_(None)).order_by(_RUN.c.id.desc()).limit(1)
    ).scalar()
    if unfinished is not None:
        conn.execute(update(_RUN).where(_RUN.c.id == unfinished).values(due_before=due_before))
        return unfinished, True
    fresh = insert(_RUN).values(due_before=due_before, started_at=at, step="", **dict.fromkeys(COUNTS, 0))
    made: int = conn.execute(fresh.returning(_RUN.c.id)).scalar_one()
    return made, False


def count(conn: Connection, run_id: int, counts: Mapping[str, int]) -> None:
    """Add to what a run counts, in the transaction of what is counted."""
    added = {name: _RUN.c[name] + number for name, number in counts.items() if number}
    if added:
        conn.execute(update(_RUN).where(_RUN.c.id == run_id).values(added))


def mark_step(conn: Connection, run_id: int, step: str, finished_at: datetime | None = None) -> None:
    """A step of a run is done; with `finished_at`, so is the run."""
    conn.execute(update(_RUN).where(_RUN.c.id == run_id).values(step=step, finished_at=finished_at))


def run(conn: Connection, run_id: int) -> Run:
    """One run of the purge."""
    return _run(conn.execute(select(_RUN).where(_RUN.c.id == run_id)).mappings().one())


def started_before(conn: Connection, run_id: int) -> datetime | None:
    """When the run before this one began; None: there was none."""
    query = select(func.max(_RUN.c.started_at)).where(_RUN.c.id < run_id)
    before: datetime | None = conn.execute(query).scalar_one()
    return before


def runs(conn: Connection) -> list[Run]:
    """Every run of the purge, newest first."""
    return [_run(row) for row in conn.execute(select(_RUN).order_by(_RUN.c.id.desc())).mappings()]


# Schedule ------------------------------------------------------------------------------------------------


def last_runs(conn: Connection) -> dict[str, datetime]:
    """When each scheduled job ran last."""
    return {row.job: row.last_run_at for row in conn.execute(select(_SCHEDULE))}


def set_last_run(conn: Connection, job: str, at: datetime) -> None:
    """A scheduled job ran."""
    ran = upsert(_SCHEDULE).values(job=job, last_run_at=at)
    conn.execute(ran.on_conflict_do_update(index_elements=[_SCHEDULE.c.job], set_={"last_run_at": at}))


# What falls due ------------------------------------------------------------------------------------------


def falling_due(conn: Connection, today: date, until: date) -> dict[str, dict[date, int]]:
    """How much falls due on each day up to and including `until`: kind -> day -> number.

    Kinds: `raws` received files, `dispatches`, `uncollected` those of them that nobody has read, `signals` rows, `exclusions` listed residents, `contents` those of rows that stay a while,
    `held` objects under the key of a hold: by data key, and not counted among the others when the hold is legal.
    What goes at the next purge whatever its day is counted for `today`. Files that are still to be processed
    are kept, so they are not counted.
    """
    at_next_purge = literal(today, _SIGNAL.c.due_on.type)
    refused = _DELIVERY.c.state.in_((DeliveryState.REJECTED, DeliveryState.ABORTED, DeliveryState.PURGING))
    replaced = _DISPATCH.c.state.in_((DispatchState.REPLACED, DispatchState.PURGING))
    kinds: Mapping[str, tuple[ColumnElement[date], ColumnElement[bool]]] = {
        "raws": (
            case((refused, at_next_purge), else_=_DELIVERY.c.raw_due_on),
            _DELIVERY.c.raw_gone_at.is_(None)
            & (refused | (_DELIVERY.c.state == DeliveryState.PROCESSED))
            & ~is_held(_DELIVERY.c.id),
        ),
        "dispatches": (
            case((replaced, at_next_purge), else_=_DISPATCH.c.due_on),
            _DISPATCH.c.state != DispatchState.PURGED,
        ),
        "uncollected": (
            _DISPATCH.c.due_on,
            (_DISPATCH.c.state == DispatchState.READY)
            & _DISPATCH.c.parent_id.is_(None)
            & _DISPATCH.c.collected_at.is_(None)
            & _DISPATCH.c.removed_at.is_(None)
            & _DISPATCH.c.kind.not_in(PROOFS),
        ),
        "signals": (_SIGNAL.c.due_on, ~is_held(_SIGNAL.c.delivery_id)),
        "exclusions": (_EXCLUSION.c.due_on, ~is_held(_EXCLUSION.c.delivery_id)),
        "contents": (
            _SIGNAL.c.contents_due_on,
            (_SIGNAL.c.contents_due_on < _SIGNAL.c.due_on)
            & _SIGNAL.c.sealed.is_not(None)
            & ~is_held(_SIGNAL.c.delivery_id),
        ),
        "held": (_DATA_KEY.c.due_on, _DATA_KEY.c.key_id.startswith("hold-")),
    }
    found: dict[str, dict[date, int]] = {}
    for kind, (day, condition) in kinds.items():
        column = day.label("day")
        query = select(column, func.count()).where(condition, day <= until).group_by(column)
        found[kind] = {row[0]: row[1] for row in conn.execute(query)}
    return found


def _run(row: RowMapping) -> Run:
    fields = {name: row[name] for name in Run.__slots__ if name != "counts"}
    return Run(**fields, counts={name: row[name] for name in COUNTS})
