"""What people see: results on standard output, refusals on standard error, in one style."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from gateway.clock import AMSTERDAM
from gateway.errors import ConfigErrors, GatewayError


def _console(*, stderr: bool) -> Console:
    """A console; a pipe or a file gets lines of a fixed width instead of a window's."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 120)


out = _console(stderr=False)
err = _console(stderr=True)


def table(*columns: str) -> Table:
    """An empty table in the house's style."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def pairs(*rows: tuple[str, str]) -> Table:
    """Names and values, one below the other."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value)
    return made


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 partner`, `2 partners`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def number(count: int) -> str:
    """A number in a table; nothing that catches the eye for 0."""
    return f"{count:,}" if count else "[dim]·[/]"


def size(count: int) -> str:
    """A number of bytes with the unit that suits it: `212 B`, `4.6 MB`."""
    scaled = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if scaled < 999.5:
            return f"{scaled:,.0f} {unit}" if scaled >= 10 or unit == "B" else f"{scaled:.1f} {unit}"
        scaled /= 1000
    return f"{scaled:,.1f} TB"


def moment(at: datetime | None, *, seconds: bool = False) -> str:
    """An instant as people in the Netherlands read it; nothing that catches the eye for None."""
    if at is None:
        return "[dim]·[/]"
    return f"{at.astimezone(AMSTERDAM):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def instant(at: datetime | None) -> str | None:
    """An instant for programs: RFC 3339, UTC, whole seconds."""
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def print_json(value: object) -> None:
    """Print a value for programs, whatever the width of the window."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def done(sentence: str) -> None:
    """Say what was done."""
    out.print(f"[bold green]✓[/] {sentence}", soft_wrap=True)


def refuse(error: GatewayError) -> None:
    """Say on standard error why something was not done."""
    if isinstance(error, ConfigErrors) and any(problem.key for problem in error.problems):
        err.print(f"[bold red]✗[/] {counted(len(error.problems), 'problem')} in the configuration")
        shown = table("file", "key", "reason")
        for problem in error.problems:
            shown.add_row(*map(escape, (problem.file, problem.key, problem.reason)))
        err.print(shown)
    else:
        err.print(f"[bold red]✗[/] {escape(str(error))}", soft_wrap=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal for what is told of so many of so many; nothing stays of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
