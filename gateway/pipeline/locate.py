"""Where a signal belongs: its municipality, and whether anyone there takes it (spec 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from gateway.clock import local_day
from gateway.domain.signal import Signal, SignalState
from gateway.matching.municipality import follow, municipality_of
from gateway.pipeline.context import Context
from gateway.store import reference


class Located(NamedTuple):
    """`municipality` is empty when the signal can't be routed (D40). `is_contradicted` is W03.

    A municipality that merged is its successor's from its day on. One that the legal basis of a further sector does
    not name is not connected for it (D41).
    """

    municipality: str
    state: SignalState
    is_contradicted: bool

    @property
    def is_routed(self) -> bool:
        """Whether it can be in a melding."""
        return self.state is SignalState.WAITING


def locate(context: Context, rows: Sequence[Signal]) -> dict[int, Located]:
    """Where each row's signal belongs, by line."""
    hits = reference.find(context.reference, ((row.postcode, row.house_number) for row in rows))
    today = local_day(context.clock.now())
    #: by what it follows from: many rows have the same
    known: dict[tuple[str, str, str], Located] = {}
    found: dict[int, Located] = {}
    for row in rows:
        hit = hits.get((row.postcode, row.house_number))
        of = (hit or row.postcode[:4], row.municipality, row.sector)
        located = known.get(of)
        if located is None:
            located = known[of] = _located(context, row, hit, today)
        found[row.line] = located
    return found


def candidates(
    context: Context, addresses: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], tuple[str, ...]]:
    """The municipalities that each postcode and house number may lie in; one where the table holds it."""
    wanted = set(addresses)
    hits = reference.find(context.reference, wanted)
    today = local_day(context.clock.now())
    found = {each: (hits[each],) if each in hits else context.pc4.get(each[0][:4], ()) for each in wanted}
    return {each: _merged(context, codes, today) for each, codes in found.items()}


def _merged(context: Context, codes: Iterable[str], today: date) -> tuple[str, ...]:
    """The municipalities that these are part of by now."""
    return tuple(dict.fromkeys(follow(code, today, context.successors) for code in codes))


def _located(context: Context, row: Signal, hit: str | None, today: date) -> Located:
    def now(code: str) -> str:
        return follow(code, today, context.successors)

    by_pc4 = _merged(context, context.pc4.get(row.postcode[:4], ()), today)
    stated = row.municipality and now(row.municipality)
    code, is_contradicted = municipality_of(hit and now(hit), by_pc4, stated)
    if code is None:
        return Located("", SignalState.NOT_ROUTABLE, is_contradicted)
    may_go = code in context.served_by and code in context.further_sectors.get(row.sector, {code})
    return Located(code, SignalState.WAITING if may_go else SignalState.NOT_CONNECTED, is_contradicted)
