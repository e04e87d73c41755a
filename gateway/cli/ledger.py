"""`gateway ledger`: whether everything that came in is still accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import opened
from gateway.pipeline.ledger import Ledger
from gateway.pipeline.ledger import check as recompute

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group, also while it has one verb."""


@app.command("check")
def check(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the fields above.")] = False,
) -> None:
    """Recompute conservation over all that is held: nothing lost, nothing counted twice. Ends with 1 if it differs.

    [bold]--json[/] gives one object:

    [cyan]ok[/] whether everything adds up
    [cyan]deliveries[/] {state: count} · [cyan]rows[/] of their files · [cyan]new[/] signals that came in them
    [cyan]signals[/] {state: count} of those that are held · [cyan]purged[/] those that are not
    [cyan]blobs[/] sealed files that are held
    [cyan]differences[/] [{check, count, claim, remedy, ids: at most 20}]
    """
    with opened(context.obj) as gateway, screen.err.status("Counting …"):
        found = recompute(gateway.pipeline())
    if as_json:
        screen.print_json(_json(found))
    else:
        _show(found)
    if found.differences:
        raise typer.Exit(1)


def _show(found: Ledger) -> None:
    held = sum(found.signals.values())
    made = screen.table("what was counted", "")
    made.columns[1].justify = "right"
    made.add_column("", overflow="fold")
    made.add_row("deliveries", f"{sum(found.deliveries.values()):,}", _states(found.deliveries))
    made.add_row("rows in their files", f"{found.rows:,}", f"[dim]{found.new:,} of them new signals[/]")
    made.add_row("signals held", f"{held:,}", _states(found.signals))
    made.add_row("signals purged", f"{found.purged:,}", "")
    made.add_row("sealed files", f"{found.blobs:,}", "")
    screen.out.print(made)
    screen.out.print()
    if not found.differences:
        screen.done(f"Everything adds up: {found.new:,} new = {held:,} held + {found.purged:,} purged")
        return
    count = screen.counted(len(found.differences), "thing does", "things do")
    screen.out.print(f"[bold red]✗[/] {count} not add up\n")
    for each in found.differences:
        screen.out.print(
            f"[bold red]{each.check}[/] [dim]should hold:[/] {escape(each.claim)}", soft_wrap=True
        )
        for subject in each.ids:
            screen.out.print(f"    {escape(subject)}", soft_wrap=True)
        if each.count > len(each.ids):
            screen.out.print(f"    [dim]and {each.count - len(each.ids):,} more[/]")
        screen.out.print(f"  [cyan]→[/] {escape(each.remedy)}\n", soft_wrap=True)


def _states(counts: Mapping[str, int]) -> str:
    told = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in sorted(counts.items()))
    return f"[dim]{told}[/]"


def _json(found: Ledger) -> dict[str, object]:
    return {
        "ok": not found.differences,
        "deliveries": dict(found.deliveries),
        "rows": found.rows,
        "new": found.new,
        "signals": dict(found.signals),
        "purged": found.purged,
        "blobs": found.blobs,
        "differences": [
            {
                "check": each.check,
                "count": each.count,
                "claim": each.claim,
                "remedy": each.remedy,
                "ids": list(each.ids),
            }
            for each in found.differences
        ],
    }
