"""What people see: results on standard output, refusals on standard error, in one style."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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
