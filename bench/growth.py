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
from datetime import date, datetime, timedelta
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from bench import month
from bench.home import make_country, open_country, put
from bench.measure import Failed, Row, Tell, Used, alternate, in_turn, peak_bytes, row, timed
from bench.multiplied import multiply
from bench.work import do_all
from gateway import logs
from gateway.clock import AMSTERDAM, SteppedClock
from gateway.gateway import Gateway
from gateway.settings import Home

RESULTS = Path(__file__).parent / "results"
FIGURES = ("growth", "growth-year")
#: The months of which signals are live, and the moment at which they are.
MONTHS = month.months(6)
AT = datetime(2026, 11, 30, 18, tzinfo=AMSTERDAM)
#: Of these residents each file is, so that one in some is known already.
RESIDENTS = 60_000
_YEAR = month.months(12, date(2026, 12, 1))
#: Time and space may grow so much at most.
_GOAL = 1.3
#: Signals go after six months: from the seventh on as many go as come.
_STEADY = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many signals are live and how often they are there, the least first; how many rows the file has.

    And of the year: signals a month, of how many creditors, who send on each how-manieth working day.
    """

    rounds: int
    live: int
    copies: Sequence[int]
    rows: int
    year_signals: int
    year_creditors: int
    year_days_apart: int
    #: what is due goes each Friday night and on the last working day, or then only
    purges_weekly: bool


FULL = Scale(
    rounds=3,
    live=12_000,
    copies=(1, 10, 100),
    rows=5_000,
    year_signals=3_000,
    year_creditors=20,
    year_days_apart=1,
    purges_weekly=True,
)
QUICK = Scale(
    rounds=1,
    live=600,
    copies=(1, 10),
    rows=200,
    year_signals=120,
    year_creditors=4,
    year_days_apart=7,
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
    sender = month.alone(scale.rows, residents=RESIDENTS)
    first = live_home(folder, scale.live, sender, lambda text: tell(f"growth: {text}"))
    gateways: dict[str, Gateway] = {}
    try:
        for copies in scale.copies:
            live = scale.live * copies
            tell(f"growth: {live:,} live")
            home = multiply(first, folder / f"growth-{live}", copies)
            gateways[str(live)] = open_country(home, SteppedClock(AT))
        parts = {name: count() for name in gateways}
        found = alternate(
            {name: partial(take_file, each, sender, parts[name].__next__) for name, each in gateways.items()},
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


def live_home(folder: Path, live: int, sender: month.Creditor, tell: Tell) -> Path:
    """A home with so many live signals of six months, and one creditor more who has sent nothing yet."""
    creditors = month.national(
        count=20, rows=live // len(MONTHS), largest=live // len(MONTHS) // 4, residents=RESIDENTS
    )
    home = make_country(folder / "first", [*creditors, sender], settle_s=0)
    clock = SteppedClock(_evening(MONTHS[0]))
    gateway = open_country(home, clock)
    for each in MONTHS:
        tell(f"{live:,} live signals: {each:%Y-%m}")
        clock.set(_evening(each))
        gateway.make_keys()
        for creditor in creditors:
            put(gateway.pipeline(), creditor.id, month.signal_file(creditor, each))
        do_all(gateway.pipeline())
    gateway.close()
    return home


def take_file(gateway: Gateway, sender: month.Creditor, part: Callable[[], int]) -> Used:
    """Intake and publication of a file of this creditor, of residents that it has not told of."""
    context = gateway.pipeline()
    put(context, sender.id, month.signal_file(sender, MONTHS[-1], day=30, part=part()))
    return timed(os.getpid(), partial(do_all, context))


def _evening(of: date) -> datetime:
    return datetime(of.year, of.month, 5, 18, tzinfo=AMSTERDAM)


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
    creditors = month.national(
        count=scale.year_creditors, rows=scale.year_signals, largest=scale.year_signals // 4
    )
    home = make_country(folder / "year", creditors, settle_s=0)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_live_a_year, args=(home, creditors, scale, theirs))
    process.start()
    theirs.close()
    months: list[Month] = []
    while len(months) < len(_YEAR):
        try:
            months.append(ours.recv())
        except EOFError:
            break
        tell(f"growth-year: {_YEAR[len(months) - 1]:%Y-%m}")
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


def _live_a_year(home: Path, creditors: Sequence[month.Creditor], scale: Scale, to: Connection) -> None:
    logs.set_up(level="ERROR")
    clock = SteppedClock(working_days(_YEAR[0])[0])
    gateway = open_country(home, clock)
    for number, each in enumerate(_YEAR, start=1):
        # the highest from here on (proc(5), clear_refs)
        Path("/proc/self/clear_refs").write_text("5")
        purges: list[float] = []
        used = timed(
            os.getpid(),
            partial(_live_a_month, gateway, clock, creditors, each, scale=scale, purges=purges),
        )
        database = Home(root=home).db
        to.send(
            Month(
                month=number,
                seconds=round(used.wall_s, 2),
                cpu_s=round(used.cpu_s, 2),
                purge_s=round(sum(purges), 2),
                peak_bytes=peak_bytes(os.getpid()),
                db_bytes=sum(path.stat().st_size for path in database.parent.glob(f"{database.name}*")),
            )
        )
    gateway.close()


def _live_a_month(
    gateway: Gateway,
    clock: SteppedClock,
    creditors: Sequence[month.Creditor],
    of: date,
    *,
    scale: Scale,
    purges: list[float],
) -> None:
    """Files come on working days and are published at once; what is due goes at night."""
    # the last one is always among them
    days = working_days(of)[:: -scale.year_days_apart][::-1]
    for at, day in enumerate(days):
        clock.set(day)
        gateway.make_keys()
        for creditor in creditors[at :: len(days)]:
            put(gateway.pipeline(), creditor.id, month.signal_file(creditor, of, day=day.day))
        do_all(gateway.pipeline())
        if day is days[-1] or (scale.purges_weekly and day.weekday() == 4):
            clock.set(day + timedelta(hours=14))
            began = time.perf_counter()
            report = gateway.purge()
            purges.append(time.perf_counter() - began)
            if report.errors:
                raise RuntimeError(f"{of:%Y-%m}: {report.errors}")


def working_days(of: date) -> list[datetime]:
    """Nine o'clock of each day from Monday to Friday of a month."""
    first = datetime(of.year, of.month, 1, 9, tzinfo=AMSTERDAM)
    days = (first + timedelta(days=number) for number in range(31))
    return [day for day in days if day.month == of.month and day.weekday() < 5]
