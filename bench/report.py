"""`python -m bench.report [NAME]`: the table and the plots of `bench/results/NAME.json`, into `docs/performance.md`.

What stands between the two marks is written anew, the rest of the document is people's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.measure import Row

_ROOT = Path(__file__).parent.parent
RESULTS, DOCUMENT = _ROOT / "bench" / "results", _ROOT / "docs" / "performance.md"
BEGINS, ENDS = "<!-- measured: begins -->", "<!-- measured: ends -->"


def write(name: str, document: Path = DOCUMENT) -> None:
    """Put one run's results into the document, and its plots beside it.

    Raises:
        ValueError: the document has no marks.
    """
    from bench import plots  # not at the top: a table needs no matplotlib

    found = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    folder = document.with_suffix("")
    folder.mkdir(exist_ok=True)
    rows = [Row.from_json(each) for each in found["rows"]]
    pictures = plots.draw(rows, found["series"], folder)
    document.write_text(put_in(document.read_text("utf-8"), render(found, rows, pictures)), "utf-8")


def put_in(text: str, measured: str) -> str:
    """The document with other results. Raises ValueError when it has no marks."""
    before, begins, rest = text.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError(f"the document must have {BEGINS} and {ENDS}, in this order")
    return f"{before}{BEGINS}\n\n{measured}\n{ENDS}{after}"


def render(found: Mapping[str, Any], rows: Sequence[Row], pictures: Mapping[str, str]) -> str:
    """The part that is written anew, in Markdown; `pictures` is what each plot shows by the name of its file."""
    parts = [_machine(found["machine"]), _table(rows)]
    if missed := [row for row in rows if not row.is_met]:
        parts.append(_missed(missed))
    else:
        parts.append("Every goal was met.")
    parts += [f"Left out: {each['figure']} ({each['reason']})." for each in found["left_out"]] + [
        f"Failed: {each['figure']} ({each['reason']})." for each in found["failed"]
    ]
    parts += [f"![{shows}](performance/{name})" for name, shows in pictures.items()]
    seconds = ", ".join(f"{part.replace('_', ' ')} {took:.0f} s" for part, took in found["seconds"].items())
    return "\n\n".join([*parts, f"How long the run took: {seconds}."]) + "\n"


def _machine(told: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items() if version)
    return (
        f"Measured on {told['processors']} processors ({told['model']}), {told['memory_mib'] / 1024:.0f} GiB, Linux "
        f"{told['kernel']}, Python {told['python']}, SQLite {told['sqlite']}; {versions}. Load before the run "
        f"{told['load_before']:.1f}; the same fixed work took at its slowest {told['noise_before']:.0%} longer than at "
        f"its median before the run, and {told['noise_after']:.0%} after it."
    )


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "| figure | beside | ratio (least to most) | goal | gateway | beside it | unit | rounds | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        spread = f"{row.ratio:.2f} ({row.min:.2f} to {row.max:.2f})"
        goal = f"{'≥' if row.at_least else '≤'} {row.goal:g}"
        values = f"{number(row.value)} | {number(row.peer_value)} | {row.unit}"
        mark = "met" if row.is_met else "**missed**"
        lines.append(
            f"| {row.figure} | {row.peer or 'limit'} | {spread} | {goal} | {values} | {row.rounds} | {mark} |"
        )
    return "\n".join(lines)


def _missed(rows: Sequence[Row]) -> str:
    """By what factor each goal was missed, the furthest first."""
    factors = {row: row.goal / row.ratio if row.at_least else row.ratio / row.goal for row in rows}
    return "\n".join(
        [
            "| missed | beside | by a factor of |",
            "|---|---|---|",
            *(
                f"| {row.figure} | {row.peer or 'limit'} | {factor:.2f} |"
                for row, factor in sorted(factors.items(), key=lambda each: -each[1])
            ),
        ]
    )


def number(value: float) -> str:
    """Three figures that count, and no fewer than those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    write(sys.argv[1] if len(sys.argv) > 1 else "full")
