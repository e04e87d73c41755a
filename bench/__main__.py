"""`python -m bench [--quick] [--figures NAME …]`: measure, print a table, write `bench/results/` and the document.

A figure that could not be measured is told by name, the others are measured all the same, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench import machine, report
from bench.measure import Failed, Row
from gateway import logs

RESULTS = Path(__file__).parent / "results"
#: Each has `FULL`, `QUICK` and `measure`. In this order: what others leave for the disk disturbs the first least.
PARTS = ("transfers", "pipeline", "peak_day", "purge", "growth")
#: What parts write for plots, under bench/results.
SERIES = ("listed-after-ok", "peak-day", "growth")


def main() -> None:
    """Measure what is asked for."""
    asked = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--quick", action="store_true", help="less of everything: under three minutes")
    asked.add_argument("--name", default="", help="of the file under bench/results")
    asked.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="all if none is named")
    asked.add_argument("--figures", nargs="+", default=[], help="all of a part if none is named")
    words = asked.parse_args()
    name = words.name or ("quick" if words.quick else "full")
    found = measure(words.parts, words.figures, quick=words.quick)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    if not words.quick:
        report.write(name)
    console = Console(width=max(140, Console().width))
    console.print(table([Row.from_json(each) for each in found["rows"]]))
    for what, colour in (("left out", "yellow"), ("failed", "red")):
        for each in found[what.replace(" ", "_")]:
            told = f"{each['figure']} {what}: {each['reason']}"
            console.print(f"[{colour}]{escape(told)}[/]", soft_wrap=True)
    if found["failed"]:
        sys.exit(1)


def measure(parts: Sequence[str], figures: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """What was measured, as it stands in `bench/results`."""
    logs.set_up(level="ERROR")
    before, noise, began = machine.describe(), machine.noise(), time.time()
    rows: list[Row] = []
    missing: list[Failed] = []
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        for part in parts:
            begins = time.monotonic()
            try:
                module = import_module(f"bench.{part}")
                scale = module.QUICK if quick else module.FULL
                for each in module.measure(Path(folder) / part, scale, partial(_tell, begins), figures):
                    if isinstance(each, Row):
                        rows.append(each)
                    else:
                        missing.append(each)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is told, and the rest is measured
                missing.append(Failed(figure=part, reason=f"{type(exc).__name__}: {exc}"))
            took[part] = round(time.monotonic() - begins, 1)
    return {
        "machine": {**before, "noise_before": noise, "noise_after": machine.noise()},
        "rows": [row.as_json() for row in rows],
        "left_out": [asdict(each) for each in missing if each.is_left_out],
        "failed": [asdict(each) for each in missing if not each.is_left_out],
        "seconds": took,
        "series": {name: json.loads(path.read_text()) for name, path in _series(began)},
    }


def _series(began: float) -> Iterator[tuple[str, Path]]:
    """What parts have written for plots since the run began."""
    for name in SERIES:
        path = RESULTS / f"{name}.json"
        if path.exists() and path.stat().st_mtime >= began:
            yield name, path


def _tell(began: float, text: str) -> None:
    """Progress, on one line of a terminal and on a line each elsewhere."""
    line = f"{time.monotonic() - began:6.1f} s  {text}"
    sys.stderr.write(f"\r\x1b[K{line}" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()


def table(rows: Sequence[Row]) -> Table:
    """Figures as people read them."""
    made = Table(box=None)
    for column in ("figure", "beside"):
        made.add_column(column, no_wrap=True)
    for column in ("ratio", "spread", "goal", "gateway", "beside it", "unit"):
        made.add_column(column, justify="right")
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        colour = "green" if row.is_met else "red"
        made.add_row(
            row.figure,
            row.peer or "limit",
            f"[{colour}]{row.ratio:.2f}[/]",
            f"{row.min:.2f}-{row.max:.2f}",
            f"{sign} {row.goal}",
            f"{row.value:,.2f}",
            f"{row.peer_value:,.2f}",
            row.unit,
        )
    return made


if __name__ == "__main__":
    main()
