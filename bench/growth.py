"""Growth: the same file with few live signals and with many; and a year of months, each with its purges (spec 5).

Many live signals are few, many times: `bench/multiplied.py` says how. A year is lived with the real steps of intake,
publication and purge, with the clock stepped from day to day. Worklists are part of neither.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from bench.country import CREDITORS, MUNICIPALITIES, Debtor, Gateway, file_of, working_days
from bench.measure import Failed, Row, Tell, Used, alternate, in_turn, peak_bytes, row, timed
from bench.multiplied import multiply
from gateway import logs
from gateway.clock import AMSTERDAM
from gateway.pipeline.intake import process
from gateway.pipeline.publish import publish
from gateway.store import queue

RESULTS = Path(__file__).parent / "results"
FIGURES = ("growth", "growth-year")
_MONTHS = ("2026-06", "2026-07", "2026-08", "2026-09", "2026-10", "2026-11")
_YEAR = tuple(f"2026-{month:02}" for month in range(1, 13))
_AT = datetime(2026, 11, 30, 18, tzinfo=AMSTERDAM)
#: One row in so many is about somebody of whom others reported in these months.
_KNOWN = 10
#: Time and space may grow so much at most.
_GOAL = 1.3
#: Signals go after six months: from the seventh on as many go as come.
_STEADY = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many signals are live and how often they are there, the least first; how many rows the file has.

    And of the year: signals a month, of how many creditors, in how many municipalities.
    """

    rounds: int
    live: int
    copies: Sequence[int]
    rows: int
    #: where those live
    municipalities: int
    year_signals: int
    year_creditors: int
    year_municipalities: int
    #: what is due goes each Friday night and on the last working day, or then only
    purges_weekly: bool


FULL = Scale(
    rounds=3,
    live=12_000,
    copies=(1, 10, 100),
    rows=5_000,
    municipalities=342,
    year_signals=10_000,
    year_creditors=20,
    year_municipalities=40,
    purges_weekly=True,
)
QUICK = Scale(
    rounds=1,
    live=1_200,
    copies=(1, 10),
    rows=200,
    municipalities=10,
    year_signals=200,
    year_creditors=2,
    year_municipalities=2,
    purges_weekly=False,
)


def measure(folder: Path, scale: Scale, tell: Tell, figures: Sequence[str]) -> Iterator[Row | Failed]:
    """`growth`: wall time of a file beside that with the fewest live signals; `growth-year`: later months beside earlier."""
    yield from in_turn(
        {
            "growth": partial(_live, folder, scale, tell),
            "growth-year": partial(_year, folder, scale, tell),
        },
        figures,
        tell,
    )


# -- live signals ---------------------------------------------------------------------------------------


def _live(folder: Path, scale: Scale, tell: Tell) -> Iterator[Row]:
    first = Gateway.create(folder / "growth", _AT)
    for month in first.grow(_MONTHS, scale.live // len(_MONTHS)):
        tell(f"growth: {scale.live:,} live: {month}")
    first.close()
    gateways: dict[str, Gateway] = {}
    try:
        for copies in scale.copies:
            live = scale.live * copies
            tell(f"growth: {live:,} live")
            gateways[str(live)] = Gateway.open(multiply(first.home, folder / f"growth-{live}", copies), _AT)
        numbers = {name: count() for name in gateways}
        found = alternate(
            {
                name: partial(_one_file, each, scale, numbers[name].__next__)
                for name, each in gateways.items()
            },
            scale.rounds,
            lambda text: tell(f"growth: live {text}"),
        )
    finally:
        for each in gateways.values():
            each.close()
    least, *more = found
    for name in more:
        yield row(
            f"growth-{name}",
            f"{least} live",
            [used.wall_s / scale.rows * 1000 for used in found[name]],
            [used.wall_s / scale.rows * 1000 for used in found[least]],
            goal=_GOAL,
            unit="ms/signal",
            at_least=False,
        )


def _one_file(gateway: Gateway, scale: Scale, number: Callable[[], int]) -> Used:
    first, known = 1_000_000 + number() * scale.rows, scale.live // len(_MONTHS) // 2
    debtors = (
        Debtor(
            0,
            first + each,
            _at_home(each % known if each % _KNOWN == 0 else 10 * first + each, scale.municipalities),
        )
        for each in range(scale.rows)
    )
    gateway.put(CREDITORS[0], file_of(debtor.row(_MONTHS[-1]) for debtor in debtors))
    return timed(os.getpid(), partial(_take_and_publish, gateway, MUNICIPALITIES[: scale.municipalities]))


def _at_home(resident: int, municipalities: int) -> int:
    """The resident beside this one who lives in one of the first municipalities."""
    turn, place = divmod(resident, len(MUNICIPALITIES))
    return turn * len(MUNICIPALITIES) + place % municipalities


def _take_and_publish(gateway: Gateway, municipalities: Sequence[str]) -> None:
    context = gateway.context
    with context.store.exclusive():
        while True:
            with context.store.write() as conn:
                claimed = queue.claim_next(conn, context.clock.now())
            if claimed is None:
                break
            process(context, claimed)
        for code in municipalities:
            publish(context, code)


# -- a year ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a month took: wall and processor time, memory at its highest, and the database and its journal at its end."""

    month: int
    seconds: float
    cpu_s: float
    purge_s: float
    peak_bytes: int
    db_bytes: int


def _year(folder: Path, scale: Scale, tell: Tell) -> Iterator[Row]:
    """A year in a process of its own: what others did before has no part in its memory."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_live_a_year, args=(folder / "year", scale, theirs))
    process.start()
    theirs.close()
    months: list[Month] = []
    while len(months) < len(_YEAR):
        try:
            months.append(ours.recv())
        except EOFError:
            break
        tell(f"growth-year: {_YEAR[len(months) - 1]}")
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the year ended with {process.exitcode} after {len(months)} months")
    (RESULTS / "growth.json").write_text(
        json.dumps({"series": [asdict(each) for each in months]}, indent=1) + "\n"
    )
    half = _STEADY + (len(months) - _STEADY) // 2
    for name, unit, values in (
        ("seconds", "s", [each.seconds for each in months]),
        ("memory", "MiB", [each.peak_bytes / (1 << 20) for each in months]),
        ("database", "MiB", [each.db_bytes / (1 << 20) for each in months]),
    ):
        yield row(
            f"growth-year-{name}",
            "three months before",
            values[half:],
            values[_STEADY:half],
            goal=_GOAL,
            unit=unit,
            at_least=False,
        )


def _live_a_year(folder: Path, scale: Scale, to: Connection) -> None:
    logs.set_up(level="ERROR")
    gateway = Gateway.create(folder, working_days(_YEAR[0])[0])
    for number, month in enumerate(_YEAR):
        # the highest from here on (proc(5), clear_refs)
        Path("/proc/self/clear_refs").write_text("5")
        purges: list[float] = []
        used = timed(os.getpid(), partial(_live_a_month, gateway, scale, number, month, purges))
        to.send(
            Month(
                month=number + 1,
                seconds=round(used.wall_s, 2),
                cpu_s=round(used.cpu_s, 2),
                purge_s=round(sum(purges), 2),
                peak_bytes=peak_bytes(os.getpid()),
                db_bytes=sum(path.stat().st_size for path in folder.glob("gateway.db*")),
            )
        )
    gateway.close()


def _live_a_month(gateway: Gateway, scale: Scale, number: int, month: str, purges: list[float]) -> None:
    """Files come on working days and are published on the last; what is due goes at night."""
    days, served = working_days(month), MUNICIPALITIES[: scale.year_municipalities]
    each = scale.year_signals // scale.year_creditors
    for at, day in enumerate(days):
        gateway.go_to(day)
        for creditor in range(at, scale.year_creditors, len(days)):
            first = number * (each // 2)
            debtors = (
                Debtor(creditor, customer, _resident(creditor * 7_919 + customer, scale))
                for customer in range(first, first + each)
            )
            gateway.put(CREDITORS[creditor], file_of(debtor.row(month) for debtor in debtors))
        _take_and_publish(gateway, served if day is days[-1] else ())
        if day is days[-1] or (scale.purges_weekly and day.weekday() == 4):
            gateway.go_to(day + timedelta(hours=14))
            began = time.perf_counter()
            report = gateway.purge()
            purges.append(time.perf_counter() - began)
            if report.errors:
                raise RuntimeError(f"{month}: {report.errors}")


def _resident(number: int, scale: Scale) -> int:
    """Residents of the first municipalities; eight in ten of a month's signals are about somebody else's too."""
    turn, place = divmod(number % (scale.year_signals * 8 // 10), scale.year_municipalities)
    return turn * len(MUNICIPALITIES) + place
