"""`gateway doctor`: what is wrong on this host, for whoever has to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateway import logs
from gateway.cli import screen
from gateway.clock import SystemClock
from gateway.doctor.examine import examine
from gateway.doctor.finding import Finding, Verdict

_MARKS = {
    Verdict.OK: "[green]✓[/]",
    Verdict.WARN: "[bold yellow]![/]",
    Verdict.FAIL: "[bold red]✗[/]",
}


def doctor(
    context: typer.Context,
    *,
    backup: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="A folder, tar or zip that must hold no keys; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Examine keys, data, log and host, and say what to do; ends with 1 if something does not work.

    Changes nothing, and works beside a running gateway. Run it as the gateway's own user.

    With --json: {ok, findings: [{verdict, subject, what, remedy}]}; verdict is ok, warn or fail.
    """
    logs.set_up(level="CRITICAL")
    found = []
    for finding in examine(context.obj, SystemClock().now(), backup or ()):
        found.append(finding)
        if not as_json:
            _show(finding)
    failed = sum(each.verdict is Verdict.FAIL for each in found)
    warned = sum(each.verdict is Verdict.WARN for each in found)
    if as_json:
        screen.print_json({"ok": not failed, "findings": [_json(each) for each in found]})
    else:
        _conclude(failed, warned)
    if failed:
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    made = Table.grid(padding=(0, 1))
    made.add_column(no_wrap=True)
    made.add_column(width=13, no_wrap=True)
    made.add_column(overflow="fold")
    made.add_row(_MARKS[finding.verdict], finding.subject, escape(finding.what))
    if finding.remedy:
        made.add_row("", "", f"[cyan]{escape(finding.remedy)}[/]")
    screen.out.print(made)


def _conclude(failed: int, warned: int) -> None:
    screen.out.print()
    if failed:
        also = f", and {screen.counted(warned, 'warning')}" if warned else ""
        screen.out.print(f"[bold red]✗[/] {screen.counted(failed, 'thing')} to mend{also}")
    elif warned:
        screen.out.print(f"[bold yellow]![/] Works; {screen.counted(warned, 'warning')}")
    else:
        screen.done("Everything is as it should be")


def _json(finding: Finding) -> dict[str, str]:
    return {
        "verdict": str(finding.verdict),
        "subject": finding.subject,
        "what": finding.what,
        "remedy": finding.remedy,
    }
