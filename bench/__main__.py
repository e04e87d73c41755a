"""`python -m bench [--quick] [FIGURE …]`: measure, print a table, write `bench/results/`."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine, transfers
from bench.measure import Row

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure what is asked for."""
    asked = argparse.ArgumentParser(prog="bench", description=__doc__)
    asked.add_argument("--quick", action="store_true", help="less of everything: under three minutes")
    asked.add_argument("--name", default="", help="of the file under bench/results")
    asked.add_argument("figures", nargs="*", help="all if none is named")
    words = asked.parse_args()
    console = Console(stderr=True)
    scale = transfers.QUICK if words.quick else transfers.FULL
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder, console.status("begins") as status:
        rows = list(transfers.measure(Path(folder), scale, status.update, words.figures))
    name = words.name or ("quick" if words.quick else "full")
    RESULTS.mkdir(exist_ok=True)
    found = {"machine": machine.describe(), "rows": [row.as_json() for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    Console().print(table(rows))


def table(rows: list[Row]) -> Table:
    """Figures as people read them."""
    made = Table("figure", "peer", box=None)
    for column in ("ratio", "spread", "goal", "gateway", "peer's", "unit"):
        made.add_column(column, justify="right")
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        colour = "green" if row.is_met else "red"
        made.add_row(
            row.figure,
            row.peer,
            f"[{colour}]{row.ratio:.2f}[/]",
            f"{row.min:.2f}-{row.max:.2f}",
            f"{sign} {row.goal}",
            f"{row.value:,.1f}",
            f"{row.peer_value:,.1f}",
            row.unit,
        )
    return made


if __name__ == "__main__":
    main()
