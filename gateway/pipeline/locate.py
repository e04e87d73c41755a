"""Where a signal belongs: its municipality, and whether anyone there takes it (spec 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.domain.signal import Signal, SignalState
from gateway.matching.municipality import municipality_of
from gateway.pipeline.context import Context
from gateway.store import reference


class Located(NamedTuple):
    """`municipality` is empty when the signal can't be routed (D40). `is_contradicted` is W03."""

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
    return {row.line: _located(context, row, hits.get((row.postcode, row.house_number))) for row in rows}


def candidates(
    context: Context, addresses: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], tuple[str, ...]]:
    """The municipalities that each postcode and house number may lie in; one where the table holds it."""
    wanted = set(addresses)
    hits = reference.find(context.reference, wanted)
    return {
        each: (hits[each],) if each in hits else tuple(context.pc4.get(each[0][:4], ())) for each in wanted
    }


def _located(context: Context, row: Signal, hit: str | None) -> Located:
    code, is_contradicted = municipality_of(hit, context.pc4.get(row.postcode[:4], ()), row.municipality)
    if code is None:
        return Located("", SignalState.NOT_ROUTABLE, is_contradicted)
    state = SignalState.WAITING if code in context.served_by else SignalState.NOT_CONNECTED
    return Located(code, state, is_contradicted)
