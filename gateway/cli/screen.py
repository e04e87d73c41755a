"""What people see: results on standard output, remarks and refusals on standard error."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's style."""
    made = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        header_style="dim",
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    return made
