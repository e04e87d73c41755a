"""Which meldingen must be looked at again when signals come, go or change (spec 3, Rules)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Set
from datetime import datetime
from operator import attrgetter

from gateway.clock import local_day
from gateway.matching.municipality import successors_of
from gateway.matching.rules import affected_months
from gateway.pipeline.context import Context
from gateway.store import Connection, meldingen, signals
from gateway.store.meldingen import Span
from gateway.store.places import chunks
from gateway.store.signals import PLACE_COLUMNS, Version

#: The places of a version, whatever key its months are grouped by.
_places = attrgetter(*PLACE_COLUMNS.values())
#: Signals whose meldingen are marked in one transaction.
_AT_A_TIME = 500


def mark_urgent(context: Context, conn: Connection, among: Collection[str] | None = None) -> None:
    """What was touched and holds a crisis signal goes out at once (spec 3, Publication), with the caller's transaction.

    `among` are the only meldingen of which that may have changed, None: any.
    """
    meldingen.mark_urgent(
        conn,
        [code for code in context.served_by if context.policy(code).matching.always_crisis],
        local_day(context.clock.now()),
        among=among,
    )


class Touching:
    """Collects what must be looked at again, and stores it with the caller's transaction."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._spans: dict[Span, set[int]] = defaultdict(set)
        self._ids: set[str] = set()
        #: every melding that was marked, and those that began with a crisis signal
        self.marked: set[str] = set()
        #: municipality and month -> where what comes in it is looked back on, and until when
        self._reach: dict[tuple[str, str], tuple[list[Span], str]] = {}

    def add(self, version: Version, contract: Iterable[Version]) -> None:
        """What this signal is in, and what looks back on it.

        Args:
            version: came, went or changed.
            contract: the signals in force of its contract: their `herhaald` may have changed.
        """
        if version.melding_id is None:
            return
        at = version.municipality, version.month
        reach = self._reach.get(at)
        if reach is None:
            reach = self._reach[at] = self._reach_of(*at)
        spans, last = reach
        places = _places(version)
        for span in spans:
            self._spans[span].update(places)
        for other in contract:
            if other.melding_id and version.month < other.month <= last:
                self._ids.add(other.melding_id)

    def _reach_of(self, municipality: str, month: str) -> tuple[list[Span], str]:
        # where a municipality merged, those who took over look back on it
        codes = (municipality, *successors_of(municipality, self._context.successors))
        spans = [
            Span(code, month, affected_months(month, self._context.policy(code).matching)[-1])
            for code in codes
        ]
        return spans, max(span.last for span in spans)

    def store(self, conn: Connection, now: datetime, made: Set[int] = frozenset()) -> None:
        """Mark all that was added since the last call; no melding that is stored is at the places that were `made`."""
        spans = {span: old for span, places in self._spans.items() if (old := places - made)}
        if spans:
            self.marked.update(meldingen.touch(conn, spans, now))
        self.marked.update(self._ids)
        meldingen.touch_ids(conn, self._ids, now)
        self._spans.clear()
        self._ids.clear()


def touch(context: Context, versions: Iterable[Version]) -> None:
    """Mark what must be looked at again because these signals go, in short transactions.

    Looked at in vain when what follows never comes.
    """
    today = local_day(context.clock.now())
    for batch in chunks(versions, _AT_A_TIME):
        touching = Touching(context)
        with context.store.read() as conn:
            contracts: dict[int, list[Version]] = defaultdict(list)
            for other in signals.in_force(conn, "place_k1", {each.place_k1 for each in batch}, today):
                contracts[other.place_k1].append(other)
        for version in batch:
            touching.add(version, contracts[version.place_k1])
        with context.store.write() as conn:
            touching.store(conn, context.clock.now())
