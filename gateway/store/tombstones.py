"""Tombstones, and what else is on record of what went: it goes when its own term is over (spec 4, Retention: `audit`).

Each function works in the caller's transaction. What the ledger needs of tombstones that went stays as sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, Table, delete, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import NUMBERED, DispatchKind, DispatchState
from gateway.domain.ledger import Forgotten
from gateway.domain.request import RequestState
from gateway.store.retention_tables import CompactionRow, ForgottenRow, KeyRow, PurgeRun
from gateway.store.tables import Delivery, DeliveryShare, Dispatch, DispatchContent, Publication, RequestRow

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_SHARE: Table = DeliveryShare.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_CONTENT: Table = DispatchContent.__table__  # type: ignore[attr-defined]
_FORGOTTEN: Table = ForgottenRow.__table__  # type: ignore[attr-defined]
_KEY: Table = KeyRow.__table__  # type: ignore[attr-defined]
_PUBLICATION: Table = Publication.__table__  # type: ignore[attr-defined]
_RUN: Table = PurgeRun.__table__  # type: ignore[attr-defined]
_COMPACTION: Table = CompactionRow.__table__  # type: ignore[attr-defined]
_REQUEST: Table = RequestRow.__table__  # type: ignore[attr-defined]

_ARRIVALS, _LAST_ARRIVAL, _NEW, _PURGED = "arrivals", "last_arrival", "new", "purged"


def deliveries_over(conn: Connection, before: datetime) -> list[str]:
    """Deliveries of which nothing but a tombstone is left since before an instant."""
    over = (_DELIVERY.c.state == DeliveryState.PURGED) & (_DELIVERY.c.purged_at < before)
    return list(conn.execute(select(_DELIVERY.c.id).where(over).order_by(_DELIVERY.c.id)).scalars())


def dispatches_over(conn: Connection, before: datetime) -> list[str]:
    """Outgoing files of which nothing but a tombstone is left since before an instant."""
    over = (_DISPATCH.c.state == DispatchState.PURGED) & (_DISPATCH.c.purged_at < before)
    return list(conn.execute(select(_DISPATCH.c.id).where(over).order_by(_DISPATCH.c.id)).scalars())


def forget_deliveries(conn: Connection, ids: Sequence[str]) -> None:
    """Let go of the tombstones of deliveries, and of how many signals went where."""
    those = _DELIVERY.c.id.in_(ids)
    sums = select(
        _DELIVERY.c.partner_id,
        func.count(_DELIVERY.c.arrival),
        func.coalesce(func.max(_DELIVERY.c.arrival), 0),
        func.sum(_DELIVERY.c.new_count),
        func.sum(_DELIVERY.c.purged_signals),
    )
    for partner, arrivals, last, new, purged in conn.execute(
        sums.where(those).group_by(_DELIVERY.c.partner_id)
    ):
        _add(conn, {_ARRIVALS: arrivals, f"{_NEW}/{partner}": new, f"{_PURGED}/{partner}": purged})
        latest = upsert(_FORGOTTEN).values(name=_LAST_ARRIVAL, value=last)
        conn.execute(
            latest.on_conflict_do_update(
                index_elements=[_FORGOTTEN.c.name], set_={"value": func.max(_FORGOTTEN.c.value, last)}
            )
        )
    conn.execute(delete(_SHARE).where(_SHARE.c.delivery_id.in_(ids)))
    conn.execute(delete(_CONTENT).where(_CONTENT.c.delivery_id.in_(ids)))
    conn.execute(delete(_DELIVERY).where(those))


def forget_dispatches(conn: Connection, ids: Sequence[str]) -> None:
    """Let go of the tombstones of outgoing files, and of whose signals they held."""
    those = _DISPATCH.c.id.in_(ids)
    counts = (
        select(_DISPATCH.c.kind, _DISPATCH.c.partner_id, func.count())
        .where(those, _DISPATCH.c.kind.in_(NUMBERED))
        .group_by(_DISPATCH.c.kind, _DISPATCH.c.partner_id)
    )
    found = {
        f"{NUMBERED[DispatchKind(kind)]}/{partner}": count for kind, partner, count in conn.execute(counts)
    }
    _add(conn, found)
    conn.execute(delete(_CONTENT).where(_CONTENT.c.dispatch_id.in_(ids)))
    conn.execute(delete(_DISPATCH).where(those))


def forget_records(conn: Connection, before: datetime) -> dict[str, int]:
    """Let go of what else was over before an instant; how many of each.

    Requests that were carried out or withdrawn (their numbers may be used again), publications, runs of the purge
    with their compaction, and keys that were destroyed.
    """
    runs = select(_RUN.c.id).where(_RUN.c.finished_at < before)
    done = _REQUEST.c.state.in_((RequestState.DONE, RequestState.WITHDRAWN)) & (_REQUEST.c.done_at < before)
    conn.execute(delete(_COMPACTION).where(_COMPACTION.c.run_id.in_(runs)))
    return {
        "requests": conn.execute(delete(_REQUEST).where(done)).rowcount,
        "publications": conn.execute(delete(_PUBLICATION).where(_PUBLICATION.c.at < before)).rowcount,
        "keys": conn.execute(delete(_KEY).where(_KEY.c.destroyed_at < before)).rowcount,
        "runs": conn.execute(delete(_RUN).where(_RUN.c.finished_at < before)).rowcount,
    }


def forgotten(conn: Connection) -> Forgotten:
    """What tombstones that went add up to."""
    sums = {row.name: row.value for row in conn.execute(select(_FORGOTTEN))}

    def under(prefix: str) -> dict[str, int]:
        return {
            name.partition("/")[2]: value for name, value in sums.items() if name.startswith(f"{prefix}/")
        }

    return Forgotten(
        arrivals=sums.get(_ARRIVALS, 0),
        last_arrival=sums.get(_LAST_ARRIVAL, 0),
        new=under(_NEW),
        purged=under(_PURGED),
        numbered={name: value for name, value in sums.items() if name.partition("/")[0] in NUMBERED.values()},
    )


def _add(conn: Connection, counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        added = upsert(_FORGOTTEN).values(name=name, value=count)
        conn.execute(
            added.on_conflict_do_update(
                index_elements=[_FORGOTTEN.c.name], set_={"value": _FORGOTTEN.c.value + count}
            )
        )
