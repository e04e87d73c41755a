"""`gateway guard`: who is closed out after too many refused logins, and letting them in again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import ceil
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.domain.guard import GuardTerms, Standing, faded, is_closed_out
from gateway.exchange.guard import lift as lift_penalty
from gateway.store import guard

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def show_all(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the addresses whose logins were refused lately, those that are closed out longest first.

    An IPv6 address stands for its /64. What was refused counts half after `half_life`.

    With --json: a list of {address, refusals, closed_out_until}. Times are UTC; closed_out_until may be null.
    """
    with opened(context.obj) as gateway:
        with gateway.store.read() as conn:
            found = guard.standings(conn)
        now, terms = gateway.clock.now(), gateway.settings.guard
    if as_json:
        screen.print_json([_json(source, found[source], now, terms) for source in found])
    elif found:
        _show(found, now, terms)
    else:
        screen.out.print("No address was refused lately.")


@app.command("lift")
def lift(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Argument(metavar="ADDRESS", help="As `gateway guard list` shows it, or one in that network."),
    ],
) -> None:
    """Let an address in again at once, and forget what was refused. The audit log tells who did it."""
    with opened(context.obj) as gateway:
        source = lift_penalty(
            gateway.store, address, actor=actor(), at=gateway.clock.now(), node=gateway.node
        )
    screen.done(f"{source} may connect again")


def _show(found: Mapping[str, Standing], now: datetime, terms: GuardTerms) -> None:
    shown = screen.table("address")
    shown.add_column("refused", justify="right")
    shown.add_column("closed out until", no_wrap=True)
    for source, standing in found.items():
        until = screen.moment(standing.until, seconds=True)
        shown.add_row(
            escape(source),
            f"{_refusals(standing, now, terms):,}",
            f"[yellow]{until}[/]" if is_closed_out(standing, now, terms) else "[dim]·[/]",
        )
    screen.out.print(shown)
    if any(is_closed_out(standing, now, terms) for standing in found.values()):
        screen.out.print("\nTo let one in again:\n  [cyan]gateway guard lift ADDRESS[/]")


def _refusals(standing: Standing, now: datetime, terms: GuardTerms) -> int:
    return ceil(faded(standing, now, terms))


def _json(source: str, standing: Standing, now: datetime, terms: GuardTerms) -> dict[str, object]:
    return {
        "address": source,
        "refusals": _refusals(standing, now, terms),
        "closed_out_until": screen.instant(standing.until) if is_closed_out(standing, now, terms) else None,
    }
