"""`gateway restore`: a backup in the place of the data, and what must happen before partners come in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gateway.backup.replay import Report, replay
from gateway.backup.restore import put_back
from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.errors import GatewayError
from gateway.running import only_one


def restore(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The backup.")],
    *,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Also over data that is newer than the backup: that is lost then."),
    ] = False,
) -> None:
    """Put a backup in the place of data/, with the gateway stopped; keys/ and log/ of this host stay as they are.

    What was destroyed, erased, withdrawn or excluded since the backup is so again before anyone comes in.
    """
    with screen.progress("files") as progress:
        done = put_back(context.obj, folder, replace=replace, progress=progress)
    screen.done(f"data/ is that of {done.about.made_at}")
    if done.with_config:
        screen.out.print("  config/ too: this home had none. Partners' keys may have changed since.")
    try:
        with opened(context.obj) as gateway, only_one(gateway.home):
            report = replay(gateway, actor=actor(), origin="cli")
    except GatewayError:
        screen.err.print(
            "[bold yellow]![/] Nothing is played back yet: that is done at the next start, or by "
            "`gateway retention replay`, once what follows is mended."
        )
        raise
    if report is not None:
        show(report)


def show(report: Report) -> None:
    """What a replay did."""
    rows = (
        ("log", f"{screen.counted(report.taken_in, 'entry', 'entries')} taken in again from log/"),
        ("unopenable", f"{screen.counted(report.unopenable, 'data key')} whose key is gone: purged"),
        ("removals", f"{screen.counted(report.removals, 'early removal')} carried out again"),
        ("partners", f"{screen.counted(report.lists, 'list')} of deliveries to send again"),
        ("numbers", "of files, certificates and meldingen go on 1000 higher"),
    )
    screen.out.print(screen.pairs(*rows))
    if report.errors:
        screen.err.print(
            f"[bold red]✗[/] {screen.counted(report.errors, 'record')} could not be purged; see: "
            f"{escape('gateway retention log')}. The next purge tries again."
        )
        raise typer.Exit(1)
