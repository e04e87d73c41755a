"""Measuring: peers in turn, medians of their ratios, and what a process tree uses."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

Tell = Callable[[str], None]

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a piece of work took: wall time, and processor time of the server's process tree, in seconds."""

    wall_s: float
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure beside a peer. `ratio` is the median over the rounds, `value` and `peer_value` are in `unit`."""

    figure: str
    peer: str
    ratio: float
    min: float
    max: float
    goal: float
    #: whether the goal is a floor or a ceiling
    at_least: bool
    value: float
    peer_value: float
    unit: str
    rounds: int

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Row:
        """What `as_json` gave."""
        return cls(**{each.name: found[each.name] for each in fields(cls)})

    @property
    def is_met(self) -> bool:
        """Whether the median reaches the goal."""
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    def as_json(self) -> dict[str, object]:
        """For `bench/results`."""
        return {**asdict(self), "met": self.is_met}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A figure, or a part of the benchmark, that could not be measured, and why."""

    figure: str
    reason: str
    #: a peer that this machine does not have
    is_left_out: bool = False


def in_turn(
    figures: Mapping[str, Callable[[], Iterable[Row]]], only: Sequence[str], tell: Tell
) -> Iterator[Row | Failed]:
    """Figures one after the other, all or those named in `only`; one that fails stops no other."""
    for name, figure in figures.items():
        if only and name not in only:
            continue
        tell(name)
        try:
            yield from figure()
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is told, and the rest is measured
            yield Failed(figure=name, reason=f"{type(exc).__name__}: {exc}")


def alternate(
    work: Mapping[str, Callable[[], Used]], rounds: int, tell: Tell, *, warm: bool = True
) -> dict[str, list[Used]]:
    """Do the same work with each in turn, A B A B, after one round that does not count unless `warm` is off.

    What earlier ones left for the disk is written first.
    """
    found: dict[str, list[Used]] = {name: [] for name in work}
    for number in range(0 if warm else 1, rounds + 1):
        for name, run in work.items():
            tell(f"{name} {'warms up' if not number else f'{number}/{rounds}'}")
            os.sync()
            used = run()
            if number:
                found[name].append(used)
    return found


def row(
    figure: str,
    peer: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    goal: float,
    unit: str,
    at_least: bool,
) -> Row:
    """A figure from values in which more is better (`at_least`) or less is: ours over theirs, round by round."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Row(
        figure=figure,
        peer=peer,
        ratio=round(statistics.median(ratios), 3),
        min=round(min(ratios), 3),
        max=round(max(ratios), 3),
        goal=goal,
        at_least=at_least,
        value=round(statistics.median(ours), 4),
        peer_value=round(statistics.median(theirs), 4),
        unit=unit,
        rounds=len(ratios),
    )


def held(figure: str, values: Sequence[float], *, limit: float, unit: str) -> Row:
    """A figure with a limit and no peer: the ratio is of values to the limit, of which less is better."""
    return row(figure, "", values, [limit] * len(values), goal=1.0, unit=unit, at_least=False)


def timed(pid: int, work: Callable[[], object]) -> Used:
    """Do it, and tell what it took, here and in the process tree of `pid`."""
    cpu, began = tree_cpu_s(pid), time.perf_counter()
    work()
    wall = time.perf_counter() - began
    return Used(wall_s=wall, cpu_s=tree_cpu_s(pid) - cpu)


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in read(task).split():
            yield from tree(int(child))


def tree_cpu_s(pid: int) -> float:
    """User and system time of a process tree, of children that ended too."""
    return sum(cpu_s(each) for each in tree(pid))


def tree_pss_bytes(pid: int) -> int:
    """Memory of a process tree, what is shared counted in parts (PSS)."""
    return sum(pss_bytes(each) for each in tree(pid))


def peak_bytes(pid: int) -> int:
    """What a process had in memory at its highest (VmHWM, proc(5)); 0 when it has ended."""
    for line in read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_s(pid: int) -> float:
    """User and system time of a process, and of its children that ended, in seconds; 0 when it has ended."""
    fields = read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    # utime, stime, cutime, cstime: fields 14 to 17 of proc(5), of which two went with the name
    return sum(map(int, fields[11:15])) / _TICKS if fields else 0.0


def pss_bytes(pid: int) -> int:
    """Memory of a process, what is shared counted in parts (PSS); 0 when it has ended."""
    for line in read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def read(path: Path) -> str:
    """A file of proc(5); empty when the process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return ""
