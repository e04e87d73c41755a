"""`python -m bench.sqlite_settings [--rounds N] [--copies N]`: what each SQLite setting is worth, beside those in force.

Two kinds of work, in turn, each setting on a database of its own that is alike: a file of 2,000 rows is taken in and
published, and 200 small files are received, each durable at its CLOSE. One setting is changed at a time. Two
show a price and may not be chosen: `synchronous=NORMAL` loses what was acknowledged when power fails, `secure_delete=OFF`
leaves what was deleted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from bench import month
from bench.growth import AT, RESIDENTS, live_home, take_file
from bench.home import open_country
from bench.measure import Used, alternate, timed
from bench.multiplied import multiply
from bench.work import do_all
from gateway import logs
from gateway.clock import SteppedClock
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.upload import Upload
from gateway.gateway import Gateway
from gateway.store import engine

_ROWS, _CLOSES, _LIVE = 2_000, 200, 1_200
#: Who sends what is measured.
_SENDER = month.alone(_ROWS, residents=RESIDENTS)
_IN_FORCE = "in force"
#: Pragmas that come before those in force, and those that come after.
_CHANGED: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    _IN_FORCE: ((), ()),
    "page_size=8192": (("page_size=8192",), ()),
    "cache_size=-16000": ((), ("cache_size=-16000",)),
    "cache_size=-64000": ((), ("cache_size=-64000",)),
    "mmap_size=268435456": ((), ("mmap_size=268435456",)),
    "wal_autocheckpoint=4000": ((), ("wal_autocheckpoint=4000",)),
    "temp_store=FILE": ((), ("temp_store=FILE",)),
    "secure_delete=OFF": ((), ("secure_delete=OFF",)),
    "synchronous=NORMAL": ((), ("synchronous=NORMAL",)),
}

#: Words as SQLite tells them.
_NUMBERS = {"FILE": "1", "OFF": "0", "NORMAL": "1"}
#: A small file that the pipeline refuses.
_SMALL = b"%PDF" + bytes(20 * 1024 - 4)


def main() -> None:
    """Measure, and print a table in Markdown: ratios of wall time to that with the settings in force."""
    asked = argparse.ArgumentParser(
        prog="bench.sqlite_settings", description=(__doc__ or "").partition("\n")[0]
    )
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--copies", type=int, default=50, help=f"of {_LIVE:,} live signals, at least two")
    words = asked.parse_args()
    logs.set_up(level="ERROR")
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
        _gateways(Path(folder), words.copies) as gateways,
    ):
        for work, do in (("2,000 rows", _intake), ("200 CLOSEs", _closes)):
            found = alternate(
                {name: partial(_work, each, name, do, count().__next__) for name, each in gateways.items()},
                words.rounds,
                partial(_tell, work),
            )
            print(render(work, found), flush=True)  # noqa: T201 - a program


def render(work: str, found: Mapping[str, Sequence[Used]]) -> str:
    """The table of one kind of work."""
    lines = [f"| {work} | wall, least to most | processor |", "|---|---|---|"]
    lines += [f"| `{name}` | {' | '.join(_cells(each, found[_IN_FORCE]))} |" for name, each in found.items()]
    return "\n".join(lines)


def _cells(ours: Sequence[Used], theirs: Sequence[Used]) -> Iterator[str]:
    pairs = list(zip(ours, theirs, strict=True))
    if ours is theirs:
        yield f"{median(each.wall_s for each in ours):.2f} s"
        yield f"{median(each.cpu_s for each in ours):.2f} s"
        return
    walls = [mine.wall_s / other.wall_s for mine, other in pairs]
    yield f"{median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})"
    yield f"{median(mine.cpu_s / other.cpu_s for mine, other in pairs):.2f}"


@contextmanager
def _gateways(folder: Path, copies: int) -> Iterator[Mapping[str, Gateway]]:
    """One with each setting, alike for the rest."""
    first = live_home(folder, _LIVE, _SENDER, partial(_tell, "before"))
    gateways: dict[str, Gateway] = {}
    try:
        for number, name in enumerate(_CHANGED):
            with _set(name):
                home = multiply(first, folder / f"settings-{number}", copies)
                gateways[name] = open_country(home, SteppedClock(AT))
                _check(gateways[name], name)
        yield gateways
    finally:
        for each in gateways.values():
            each.close()


@contextmanager
def _set(name: str) -> Iterator[None]:
    """Connections that are opened now get these settings."""
    in_force = engine._PRAGMAS
    before, after = _CHANGED[name]
    engine._PRAGMAS = (*before, *in_force, *after)  # type: ignore[assignment]
    try:
        yield
    finally:
        engine._PRAGMAS = in_force


def _check(gateway: Gateway, name: str) -> None:
    """Raises RuntimeError when SQLite did not take a setting."""
    for pragma in (each for some in _CHANGED[name] for each in some):
        what, _, wanted = pragma.partition("=")
        with gateway.store.read() as conn:
            found = str(conn.exec_driver_sql(f"PRAGMA {what}").scalar())
        if found != _NUMBERS.get(wanted, wanted):
            raise RuntimeError(f"{what} is {found}, not {wanted}")


def _work(gateway: Gateway, name: str, do: Callable[[Gateway, int], Used], number: Callable[[], int]) -> Used:
    with _set(name):
        return do(gateway, number())


def _intake(gateway: Gateway, number: int) -> Used:
    return take_file(gateway, _SENDER, lambda: number)


def _closes(gateway: Gateway, number: int) -> Used:
    """What a session does with small files, one after the other, without the session."""
    context = gateway.pipeline()
    exchange = Exchange(
        store=context.store,
        keyring=context.keyring,
        blobs=context.blobs,
        indexer=context.indexer,
        clock=gateway.clock,
        partners=context.partners,
        node=context.node,
        on_arrival=lambda: None,
    )
    visit = Visit(
        partner=context.partners[_SENDER.id], fingerprint="", address="127.0.0.1", client="", session_id=""
    )

    def receive() -> None:
        for file in range(_CLOSES):
            upload = Upload(exchange, visit, f"{number}-{file}.pdf")
            upload.write(0, memoryview(_SMALL))
            upload.close()

    used = timed(os.getpid(), receive)
    # all are refused by their first bytes
    do_all(context)
    return used


def _tell(what: str, text: str) -> None:
    sys.stderr.write(f"{what}: {text}\n")


if __name__ == "__main__":
    main()
