"""Plots of one run, as SVG: figures beside their goals, and what happened over time.

Colours are told apart by everybody (Okabe and Ito), and marks differ too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.measure import Row

_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#555555"
_COLOURS = (_BLUE, _ORANGE, _GREEN, "#cc79a7", "#e69f00", "#56b4e9")
#: Up to this, 2 and 5 are labelled too on a logarithmic axis.
_LABELLED_SPAN = 500
#: What is told of a month -> what its axis is called, and by what its values are divided.
_MONTH = {
    "seconds": ("all of it,\nseconds", 1),
    "cpu_s": ("processor,\nseconds", 1),
    "purge_s": ("its purges,\nseconds", 1),
    "peak_bytes": ("memory at its\nhighest, MiB", 1 << 20),
    "db_bytes": ("database and\njournal, MiB", 1 << 20),
}
mpl.rcParams.update(
    {
        "svg.hashsalt": "gateway",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def draw(rows: Sequence[Row], series: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Draw what there is into a folder; what each plot shows, by the name of its file."""
    found: dict[str, str] = {}
    for name, at_least in (("more-is-better", True), ("less-is-better", False)):
        if some := [row for row in rows if row.at_least is at_least and row.ratio > 0]:
            _save(_ratios(some, at_least=at_least), folder / f"{name}.svg")
            found[f"{name}.svg"] = (
                f"Ratios of which {'more' if at_least else 'less'} is better, with their goals"
            )
    if taken := series.get("listed-after-ok"):
        _save(_latency(taken), folder / "listed-after-ok.svg")
        found["listed-after-ok.svg"] = "From OK on CLOSE to the outbox: how long each file took"
    if day := series.get("peak-day"):
        _save(_peak_day(day), folder / "peak-day.svg")
        found["peak-day.svg"] = "A peak day: small uploads and memory of each process over time"
    if months := (series.get("growth") or {}).get("series"):
        _save(_growth(months), folder / "growth.svg")
        found["growth.svg"] = "A year of months: time, memory and size of the database by month"
    return found


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


def _ratios(rows: Sequence[Row], *, at_least: bool) -> Figure:
    """One line a figure and peer: the median, its spread, and a tick where the goal is."""
    figure = Figure(figsize=(9, 0.9 + 0.34 * len(rows)))
    axes: Axes = figure.subplots()
    for at, row in enumerate(rows):
        colour, mark = (_BLUE, "o") if row.is_met else (_ORANGE, "X")
        axes.plot([row.min, row.max], [at, at], color=colour, linewidth=2, alpha=0.45, solid_capstyle="round")
        axes.plot([row.ratio], [at], mark, color=colour, markersize=7)
        axes.plot([row.goal, row.goal], [at - 0.38, at + 0.38], color=_GREY, linewidth=2)
    axes.set_yticks(range(len(rows)), [f"{row.figure}  ·  {row.peer or 'limit'}" for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    values = [value for row in rows for value in (row.min, row.max, row.goal)]
    if max(values) / min(values) < _LABELLED_SPAN:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.axvline(1, color="#999999", linewidth=1, linestyle=":")
    axes.grid(visible=True, axis="x", which="both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    better = "more is better →" if at_least else "← less is better"
    axes.set_xlabel(f"gateway's value as a multiple of what stands beside it (log scale); {better}")
    axes.legend(
        handles=[
            Line2D([], [], color=_BLUE, marker="o", label="goal met: median, least to most"),
            Line2D([], [], color=_ORANGE, marker="X", label="goal missed"),
            Line2D(
                [], [], color=_GREY, marker="|", linestyle="", markersize=12, markeredgewidth=2, label="goal"
            ),
        ],
        loc="lower center",
        bbox_to_anchor=(0.4, 1.0),
        ncols=3,
        frameon=False,
    )
    return figure


def _latency(taken: Mapping[str, Sequence[float]]) -> Figure:
    """The share of files that took no longer than so many seconds."""
    figure = Figure(figsize=(8, 3.4))
    axes: Axes = figure.subplots()
    for (name, seconds), colour, style in zip(taken.items(), _COLOURS, ("-", "--", ":"), strict=False):
        ordered = sorted(seconds)
        shares = [(at + 1) / len(ordered) for at in range(len(ordered))]
        axes.step([0, *ordered], [0, *shares], where="post", color=colour, linestyle=style, label=name)
        axes.plot(ordered, shares, "o", color=colour, markersize=4)
    axes.axvline(0.5, color=_GREY, linewidth=1.5)
    axes.annotate("limit 0.5 s", (0.5, 0.03), xytext=(4, 0), textcoords="offset points", color=_GREY)
    axes.set(
        xlabel="seconds from OK on CLOSE to the listing; less is better",
        ylabel="share of files",
        xlim=(0, None),
    )
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _peak_day(day: Mapping[str, Any]) -> Figure:
    """Small uploads as they come, their p50 and p99 by stretch, the purge, and the processes' memory."""
    figure = Figure(figsize=(9, 6))
    above, below = figure.subplots(2, 1, sharex=True)
    uploads = [(at, close) for _, at, _, close in day["uploads"] if close is not None]
    above.plot(
        *zip(*((at, close * 1000) for at, close in uploads), strict=True),
        ".",
        color="#bbbbbb",
        label="one upload",
    )
    stretch = max(at for at, _ in uploads) / 12 or 1
    parts: dict[int, list[float]] = defaultdict(list)
    for at, close in uploads:
        parts[int(at / stretch)].append(close * 1000)
    shown = {part: times for part, times in sorted(parts.items()) if len(times) > 1}
    for name, which, colour, style in (("p50", 50, _BLUE, "-"), ("p99", 99, _ORANGE, "--")):
        above.plot(
            [(part + 0.5) * stretch for part in shown],
            [quantiles(times, n=100, method="inclusive")[which - 1] for times in shown.values()],
            style,
            color=colour,
            marker="o" if which == 50 else "s",
            markersize=4,
            label=name,
        )
    above.set(ylabel="CLOSE to OK, ms\n(log scale; less is better)", yscale="log")
    above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    memory: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for at, process, pss, _ in day["memory"]:
        memory[process].append((at, pss))
    for (process, points), colour in zip(sorted(memory.items()), _COLOURS * 9, strict=False):
        below.plot(*zip(*points, strict=True), color=colour, label=process)
    below.set(ylabel="memory (PSS), MiB", xlabel="seconds of the shortened day", ylim=(0, None))
    for axes in (above, below):
        axes.axvline(day["busy_from_s"], color=_GREY, linewidth=1)
        axes.axvspan(*day["purge_s"], color="#e69f00", alpha=0.15, label="purge")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    above.annotate(
        "busy from here",
        (day["busy_from_s"], 1.0),
        xytext=(4, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=_GREY,
    )
    return figure


def _growth(months: Sequence[Mapping[str, float]]) -> Figure:
    """What is known of each month, one plot each."""
    names = [name for name in _MONTH if name in months[0]]
    figure = Figure(figsize=(9, 1.7 * len(names)))
    for axes, name in zip(
        figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], names, strict=True
    ):
        label, divisor = _MONTH[name]
        values = [each[name] / divisor for each in months]
        axes.plot([each["month"] for each in months], values, color=_BLUE, marker="o", markersize=4)
        axes.set(ylabel=label, ylim=(0, max(values) * 1.15 or 1))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_xticks([int(each["month"]) for each in months])
    axes.set_xlabel("month; from the seventh on as many signals go as come")
    figure.align_ylabels()
    return figure
