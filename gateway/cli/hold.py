"""`gateway retention hold`: what is kept past its day on legal grounds, by whom it was approved, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.clock import local_day
from gateway.domain.hold import MOST_DAYS, Grounds
from gateway.retention import holds
from gateway.store import holds as stored_holds
from gateway.store.holds import Hold

app = typer.Typer(no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A hold in the list; `days_left` until its review, below 0 when it is over, `objects` are kept by it now."""

    hold: Hold
    days_left: int
    objects: int


@app.command("add")
def add(
    context: typer.Context,
    deliveries: Annotated[
        list[str], typer.Argument(metavar="DELIVERY...", help="What is to be kept, whole.")
    ],
    *,
    grounds: Annotated[Grounds, typer.Option(help="Why.")],
    authority: Annotated[
        str, typer.Option(metavar="NAME", help="The organisation on whose account it is kept, no person.")
    ],
    reference: Annotated[
        str, typer.Option(metavar="NUMBER", help="Its case number: letters, digits and . / _ -, no spaces.")
    ],
    review: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DAY",
            help=f"By when somebody looks whether it is needed still: at most {MOST_DAYS} days ahead.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs: {hold, request}.")] = False,
) -> None:
    """Ask two approvers to keep deliveries past their day. Nothing changes before both have signed.

    There is no field for free text, and none can be added: what is said of a hold stands in the audit log, on
    certificates and in the auditor's registers for years, where no resident may be named. What the case is about
    stands in the file of that number.
    """
    with opened(context.obj) as gateway:
        asked = holds.ask(
            gateway.store,
            deliveries,
            grounds=grounds,
            authority=authority,
            reference=reference,
            review_on=review.date(),
            now=gateway.clock.now(),
            node=gateway.node,
            actor=actor(),
        )
        gateway.sign()
    _show_asked(asked, as_json, f"Nothing is held before two approvers have signed request {asked.number}")


@app.command("lift")
def lift(
    context: typer.Context,
    hold_id: Annotated[str, typer.Argument(metavar="HOLD", help="Its id: gateway retention hold list")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: {hold, request}.")] = False,
) -> None:
    """Ask two approvers to lift a hold; then what is over its day goes with the next purge."""
    with opened(context.obj) as gateway:
        asked = holds.ask_lift(
            gateway.store, hold_id, now=gateway.clock.now(), node=gateway.node, actor=actor()
        )
        gateway.sign()
    _show_asked(asked, as_json, f"{hold_id} stays before two approvers have signed request {asked.number}")


@app.command("list")
def show_all(
    context: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List legal holds that are asked for or in force, with the days left until somebody must look again.

    With --json: a list of {id, state, grounds, authority, reference, review_on, days_left, deliveries, objects,
    asked_at, placed_at, lifted_at, placed_by, lifted_by}. `objects` are what it keeps now: files and rows by data
    key. Times are UTC; placed_at and lifted_at may be null.
    """
    with opened(context.obj) as gateway, gateway.store.read() as conn:
        today = local_day(gateway.clock.now())
        found = [
            _Line(
                hold=each,
                days_left=(each.review_on - today).days,
                objects=len(stored_holds.wrapped(conn, each.id)) if each.is_in_force else 0,
            )
            for each in stored_holds.listed(conn)
            if every or each.lifted_at is None
        ]
    if as_json:
        screen.print_json([_json(each) for each in found])
    elif found:
        _show(found)
    else:
        screen.out.print("Nothing is held.")


def _show_asked(asked: holds.Asked, as_json: bool, words: str) -> None:
    if as_json:
        screen.print_json({"hold": asked.hold_id, "request": asked.number})
        return
    screen.done(f"Asked: hold [bold]{asked.hold_id}[/], request [bold]{asked.number}[/]")
    screen.out.print(f"  {words}:")
    screen.out.print(f"  [cyan]gateway retention approve {asked.number}[/]")


def _show(found: list[_Line]) -> None:
    shown = screen.table("hold", "state", "grounds", "authority", "reference", "review")
    shown.add_column("deliveries", justify="right")
    shown.add_column("objects", justify="right")
    for each in found:
        hold = each.hold
        shown.add_row(
            hold.id,
            _STATES[state(hold)],
            hold.grounds,
            escape(hold.authority),
            escape(hold.reference),
            _review(hold.review_on, each.days_left) if hold.lifted_at is None else "[dim]·[/]",
            f"{len(hold.deliveries):,}",
            f"{each.objects:,}",
        )
    screen.out.print(shown)


_STATES = {
    "asked": "[yellow]asked[/]",
    "in force": "[green]in force[/]",
    "lift asked": "[yellow]lift asked[/]",
    "lifted": "[dim]lifted[/]",
}


def state(hold: Hold) -> str:
    """Where a hold is, in a word."""
    if hold.lifted_at is not None:
        return "lifted"
    if hold.placed_at is None:
        return "asked"
    return "in force" if hold.lift_asked_at is None else "lift asked"


def _review(on: date, days_left: int) -> str:
    if days_left < 0:
        return f"{on} [bold red]{screen.counted(-days_left, 'day')} over[/]"
    colour = "yellow" if days_left <= 14 else "dim"
    return f"{on} [{colour}]in {screen.counted(days_left, 'day')}[/]"


def _json(line: _Line) -> dict[str, object]:
    hold = line.hold
    return {
        "id": hold.id,
        "state": state(hold),
        "grounds": hold.grounds,
        "authority": hold.authority,
        "reference": hold.reference,
        "review_on": hold.review_on.isoformat(),
        "days_left": line.days_left,
        "deliveries": list(hold.deliveries),
        "objects": line.objects,
        "asked_at": screen.instant(hold.asked_at),
        "placed_at": screen.instant(hold.placed_at),
        "lifted_at": screen.instant(hold.lifted_at),
        "placed_by": list(hold.placed_by),
        "lifted_by": list(hold.lifted_by),
    }
