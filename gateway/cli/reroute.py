"""`gateway reroute`: signals that found no municipality, looked at again."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.pipeline.reroute import Rerouted, preview
from gateway.pipeline.reroute import reroute as look_again
from gateway.settings.gemeenten import gemeente_names


def reroute(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be found; change nothing.")
    ] = False,
) -> None:
    """Look again at signals without a municipality (D40), with the table and the municipalities of now.

    To be run when a new table was loaded: `gateway reference load`. A signal that finds its municipality is published
    with the next publication there. Where no partner serves it, it becomes D41: its contents go, and its creditor is
    told. Contents are held for 14 days: what is older can only be sent again.
    """
    with opened(context.obj) as gateway:
        pipeline = gateway.pipeline()
        if dry_run:
            found = preview(pipeline)
        else:
            with screen.err.status("Looking again …"):
                found = look_again(pipeline, actor=actor())
            gateway.wake()
    _show(found)
    routed, not_connected = sum(found.routed.values()), sum(found.not_connected.values())
    would = "would find" if dry_run else "found"
    screen.done(
        f"{screen.counted(routed + not_connected, 'signal')} {would} a municipality"
        + (f", {not_connected:,} of them one that no partner serves (D41)" if not_connected else "")
    )
    if found.left:
        screen.out.print(
            f"  {screen.counted(found.left, 'signal')} still without: no table tells where they belong"
        )
    if found.gone:
        told = screen.counted(found.gone, "signal's contents are", "signals' contents are")
        screen.out.print(f"  {told} gone: only sent again can they find one")
    if found.unreadable:
        told = screen.counted(found.unreadable, "signal")
        screen.out.print(f"[yellow]![/] {told} could not be opened: gateway ledger check")


def _show(found: Rerouted) -> None:
    if not (found.routed or found.not_connected):
        return
    shown = screen.table("code", "municipality")
    shown.add_column("signals", justify="right")
    shown.add_column("")
    for counts, remark in ((found.routed, ""), (found.not_connected, "D41: no partner serves it")):
        for code, count in sorted(counts.items()):
            shown.add_row(code, escape(gemeente_names().get(code, "")), f"{count:,}", f"[dim]{remark}[/]")
    screen.out.print(shown)
