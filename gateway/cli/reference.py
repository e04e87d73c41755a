"""`gateway reference`: from an address to its municipality."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli import screen
from gateway.errors import ConfigError
from gateway.matching.municipality import read_reference
from gateway.settings import Home, load_settings
from gateway.settings.gemeenten import gemeente_names
from gateway.store.reference import load as load_table

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `load` a verb of its own while it is the only one."""


@app.command("load")
def load(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CBS: PC6;Huisnummer;…;Gemeente<year>, unpacked from its zip."),
    ],
) -> None:
    """Load the table of Statistics Netherlands; it replaces the one loaded before."""
    home: Home = context.obj
    load_settings(home.root)
    seen: set[str] = set()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=screen.err,
        transient=True,
        disable=not screen.err.is_terminal,
    ) as progress:
        try:
            with progress.open(file, "rb", description=f"Reading {file.name}") as raw:
                # only postcodes and numbers are read, the same bytes in UTF-8 and in the ISO-8859-1 of older years
                lines = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
                count = load_table(home.reference, _noting(read_reference(lines), seen))
        except OSError as exc:
            raise ConfigError(f"can't be read: {exc.strerror}", file=str(file)) from exc
        except ValueError as exc:
            raise ConfigError(f"{exc}; nothing was changed", file=str(file)) from exc
    addresses = screen.counted(count, "address", "addresses")
    municipalities = screen.counted(len(seen), "municipality", "municipalities")
    screen.done(f"{addresses} in {municipalities}, from {escape(file.name)}")
    if unknown := sorted(seen - gemeente_names().keys()):
        screen.out.print(
            f"[yellow]![/] {screen.counted(len(unknown), 'code')} not in the list of CBS: "
            f"{', '.join(unknown[:10])}{' …' if len(unknown) > 10 else ''}; is there a newer table?"
        )


def _noting(rows: Iterable[tuple[str, int, str]], seen: set[str]) -> Iterator[tuple[str, int, str]]:
    for row in rows:
        seen.add(row[2])
        yield row
