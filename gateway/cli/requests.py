"""`gateway requests`: what municipalities asked about persons, and what waits for its 24 hours."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import opened
from gateway.domain.request import RequestState
from gateway.store import requests
from gateway.store.requests import Stored

app = typer.Typer(no_args_is_help=True)

_STATES = {
    RequestState.WAITING: "[yellow]waits[/]",
    RequestState.ERASING: "[yellow]is carried out[/]",
    RequestState.HELD: "[yellow]waits for a hold to be lifted[/]",
    RequestState.DONE: "[green]done[/]",
    RequestState.WITHDRAWN: "[dim]withdrawn[/]",
}


@app.command("list")
def show_all(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List requests, newest first: INZAGE is answered at once, WISSEN takes effect after 24 hours.

    Whom they are about is not shown: only the municipality's number.

    With --json: a list of {id, partner, number, ask, state, received_at, due_at, done_at, backups_until}. Times are
    UTC; the last two may be null.
    """
    with opened(context.obj) as gateway, gateway.store.read() as conn:
        found = requests.listed(conn)
    if as_json:
        screen.print_json([_json(each) for each in found])
        return
    if not found:
        screen.out.print("No municipality asked anything yet.")
        return
    shown = screen.table("partner", "number", "asked", "state", "received", "takes effect")
    for each in found:
        shown.add_row(
            escape(each.partner_id),
            each.number,
            str(each.ask),
            _STATES[each.state],
            screen.moment(each.received_at),
            screen.moment(each.due_at),
        )
    screen.out.print(shown)


def _json(each: Stored) -> dict[str, object]:
    return {
        "id": each.id,
        "partner": each.partner_id,
        "number": each.number,
        "ask": each.ask,
        "state": each.state,
        "received_at": screen.instant(each.received_at),
        "due_at": screen.instant(each.due_at),
        "done_at": screen.instant(each.done_at) if each.done_at else None,
        "backups_until": each.backups_until.isoformat() if each.backups_until else None,
    }
