"""Growth: time per signal of one file's intake and publication, with few live signals and with many (spec 5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path

from bench.country import CREDITORS, MUNICIPALITIES, Debtor, Gateway, file_of
from bench.measure import Row, Used, alternate, row, timed
from gateway.clock import AMSTERDAM
from gateway.pipeline.intake import process
from gateway.pipeline.publish import publish
from gateway.store import queue

_MONTHS = ("2026-06", "2026-07", "2026-08", "2026-09", "2026-10", "2026-11")
_AT = datetime(2026, 11, 30, 18, tzinfo=AMSTERDAM)
#: One row in so many is about somebody of whom others reported in these months.
_KNOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many signals are live, the least first, and how many rows the file has."""

    rounds: int
    live: Sequence[int]
    rows: int


FULL = Scale(rounds=5, live=(12_000, 120_000, 1_200_000), rows=5_000)
QUICK = Scale(rounds=1, live=(1_200, 12_000), rows=200)


def measure(folder: Path, scale: Scale, tell: Callable[[str], None], figures: Sequence[str]) -> Iterator[Row]:
    """`growth`: wall time of the same file, beside that with the fewest live signals. Worklists are not part of it."""
    if figures and "growth" not in figures:
        return
    gateways: dict[str, Gateway] = {}
    try:
        for live in scale.live:
            made = gateways[f"{live} live"] = Gateway.create(folder / f"growth-{live}", _AT)
            for month in made.grow(_MONTHS, live // len(_MONTHS)):
                tell(f"growth: {live} live: {month}")
            made.go_to(_AT)
        numbers = {name: count() for name in gateways}
        found = alternate(
            {
                name: partial(_one_file, each, scale.rows, numbers[name].__next__)
                for name, each in gateways.items()
            },
            scale.rounds,
            lambda text: tell(f"growth: {text}"),
        )
    finally:
        for each in gateways.values():
            each.close()
    least, *more = found
    for name in more:
        yield row(
            f"growth-{name.partition(' ')[0]}",
            least,
            [used.wall_s / scale.rows * 1000 for used in found[name]],
            [used.wall_s / scale.rows * 1000 for used in found[least]],
            goal=1.3,
            unit="ms/signal",
            at_least=False,
        )


def _one_file(gateway: Gateway, rows: int, number: Callable[[], int]) -> Used:
    first = 1_000_000 + number() * rows
    debtors = (
        Debtor(0, first + each, each if each % _KNOWN == 0 else 10 * first + each) for each in range(rows)
    )
    gateway.put(CREDITORS[0], file_of(debtor.row(_MONTHS[-1]) for debtor in debtors))
    return timed(os.getpid(), partial(_take_and_publish, gateway))


def _take_and_publish(gateway: Gateway) -> None:
    context = gateway.context
    with context.store.exclusive():
        with context.store.write() as conn:
            claimed = queue.claim_next(conn, context.clock.now())
        assert claimed is not None
        process(context, claimed)
        for code in MUNICIPALITIES:
            publish(context, code)
