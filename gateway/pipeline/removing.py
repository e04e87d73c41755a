"""Early removals, kept so that an older backup can't bring back what went before its day (spec 4, Retention).

A record holds ids, codes and days only. It is kept in the transaction of the removal, under the key of the last day on
which a backup of what went can be opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, timedelta
from enum import StrEnum
from typing import Any

from gateway.clock import local_day
from gateway.errors import KeyMissing
from gateway.pipeline.context import Context
from gateway.pipeline.touching import mark_urgent, touch
from gateway.store import Connection, persons, removals, signals
from gateway.store.removals import Kept
from gateway.store.signals import Version
from gateway.vault import removal
from gateway.vault.ids import new_id
from gateway.vault.key_ids import until_id


class RemovalKind(StrEnum):
    """What went before its day."""

    #: a WISSEN that was carried out
    ERASURE = "erasure"
    #: signals that their creditor or an administrator took back
    WITHDRAWAL = "withdrawal"
    #: signals that waited, and whose resident was excluded since
    EXCLUSION = "exclusion"


def keep(
    context: Context, conn: Connection, kind: RemovalKind, due_on: date, fields: Mapping[str, object]
) -> None:
    """Keep a record, in the caller's transaction; `due_on` is the latest day of what is removed."""
    now = context.clock.now()
    record_id, today = new_id("R", 16), local_day(now)
    told = {**fields, "kind": kind.value, "at": now.astimezone(UTC).isoformat(timespec="microseconds")}
    day = max(due_on, today)
    try:
        wrapped, sealed = removal.seal(context.keyring, until_id(day), record_id, told)
    except KeyMissing:
        # then no backup of it can be opened that long either
        day = today
        wrapped, sealed = removal.seal(context.keyring, until_id(day), record_id, told)
    kept = Kept(
        id=record_id,
        sealed=sealed,
        key_id=wrapped.key_id,
        key_version=wrapped.key_version,
        wrapped=wrapped.wrapped,
        commitment=wrapped.commitment,
    )
    removals.add(conn, kept, owner=removal.OWNER, due_on=day, at=now)


def keep_signals(context: Context, conn: Connection, kind: RemovalKind, versions: Iterable[Version]) -> None:
    """Keep which signals were withdrawn or excluded; does nothing when there are none."""
    found = list(versions)
    if found:
        numbers = sorted({each.number for each in found})
        keep(context, conn, kind, max(each.due_on for each in found), {"numbers": numbers})


def remove_again(context: Context, fields: Mapping[str, Any], adopt: Callable[[Connection], None]) -> None:
    """Withdraw or exclude again what a restored backup brought back; `adopt` with it, in one transaction.

    Nobody is told again by its creditor's list; the municipalities are told by the publication that follows.
    """
    numbers = fields["numbers"]
    with context.store.read() as conn:
        versions = persons.versions_of(conn, numbers)
    touch(context, versions)
    with context.store.write() as conn:
        if fields["kind"] == RemovalKind.WITHDRAWAL:
            signals.withdraw_again(conn, numbers)
        else:
            last = local_day(context.clock.now()) - timedelta(days=1)
            signals.exclude_again(conn, numbers, last)
        mark_urgent(context, conn)
        adopt(conn)
