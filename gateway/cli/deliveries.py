"""`gateway deliveries`: what was received, what became of it, and what an administrator decides."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import history, screen
from gateway.cli.history import DeliveryId
from gateway.cli.opened import actor, opened
from gateway.domain.delivery import DeliveryState
from gateway.errors import ConfigError
from gateway.pipeline.deliveries import reject as reject_failed
from gateway.pipeline.deliveries import retry as retry_failed
from gateway.pipeline.withdrawal import withdraw as withdraw_all
from gateway.settings import Home
from gateway.store.status import DeliveryLine
from gateway.store.status import deliveries as read_deliveries

_COLOURS = {
    DeliveryState.PROCESSED: "green",
    DeliveryState.REJECTED: "yellow",
    DeliveryState.FAILED: "bold red",
}

app = typer.Typer(no_args_is_help=True)
app.command("show")(history.show)
app.command("trace")(history.trace)


@app.command("list")
def show_all(
    context: typer.Context,
    *,
    partner: Annotated[str | None, typer.Option(metavar="ID", help="Only of this partner.")] = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only in this state.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List what was received, oldest first, with the rows that were counted; what is purged only with --state purged.

    With --json: a list of {id, partner, state, opened_at, received_at, bytes, attempts, refusal, rows: {total, new,
    changed, withdrawn, rejected, duplicate}}. Times are UTC; received_at and refusal may be null.
    """
    with opened(context.obj) as gateway:
        if partner is not None and partner not in gateway.settings.partners:
            raise ConfigError(f"{partner} is no partner; see: gateway partner list")
        with gateway.store.read() as conn:
            found = read_deliveries(conn, partner_id=partner, state=state)
    if as_json:
        screen.print_json([_json(each) for each in found])
    elif found:
        _show(found)
    else:
        screen.out.print("No deliveries.")


@app.command("retry")
def retry(context: typer.Context, delivery_id: DeliveryId) -> None:
    """Try a FAILED delivery again: it takes its old place in line."""
    home: Home = context.obj
    with opened(home) as gateway:
        retry_failed(gateway.pipeline(), delivery_id, actor=actor())
        gateway.wake()
    screen.done(f"{delivery_id} is in line again")


@app.command("reject")
def reject(
    context: typer.Context,
    delivery_id: DeliveryId,
    *,
    reason: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Its sender reads it in the receipt. It is kept nowhere else."),
    ],
) -> None:
    """Refuse a FAILED delivery: nothing of it counts, and its sender gets a receipt with the reason."""
    with opened(context.obj) as gateway:
        reject_failed(gateway.pipeline(), delivery_id, reason, actor=actor())
        gateway.wake()
    screen.done(f"{delivery_id} is rejected; its sender has a receipt")


@app.command("withdraw")
def withdraw(
    context: typer.Context,
    delivery_id: DeliveryId,
    *,
    reason: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Its sender reads it in a note. It is kept nowhere else."),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: {id, signals, municipalities: [code]}.")
    ] = False,
) -> None:
    """Withdraw every signal that came in a delivery and is in force: a file that should not have come.

    No earlier version of a signal returns. Its sender gets a note and a D52 for each signal; each municipality
    that had them is told VERVALLEN when it is next published to.
    """
    with opened(context.obj) as gateway:
        done = withdraw_all(gateway.pipeline(), delivery_id, reason, actor=actor())
        gateway.wake()
    if as_json:
        screen.print_json(
            {"id": delivery_id, "signals": done.signals, "municipalities": list(done.municipalities)}
        )
        return
    screen.done(f"{screen.counted(done.signals, 'signal')} of {delivery_id} withdrawn; its sender has a note")
    if done.municipalities:
        screen.out.print("  They were passed on. Who could collect them, and who did:")
        screen.out.print(f"  [cyan]gateway deliveries trace {delivery_id}[/]")
        screen.out.print("  To tell the municipality at once, whatever its schedule says:")
        for code in done.municipalities:
            screen.out.print(f"  [cyan]gateway publish --municipality {code}[/]")


def _show(found: list[DeliveryLine]) -> None:
    shown = screen.table("delivery", "partner", "received", "state")
    shown.add_column("size", justify="right", no_wrap=True)
    shown.add_column("rows")
    for column in (0, 2, 3):
        shown.columns[column].no_wrap = True
    for each in found:
        shown.add_row(
            each.id,
            each.partner_id,
            screen.moment(each.received_at or each.opened_at),
            _state(each),
            screen.size(each.size_bytes),
            _rows(each),
        )
    screen.out.print(shown)
    if any(each.state is DeliveryState.FAILED for each in found):
        screen.out.print("\nA failed delivery holds back its partner's later ones until you decide:")
        screen.out.print("  [cyan]gateway deliveries retry ID[/]")
        screen.out.print("  [cyan]gateway deliveries reject ID --reason TEXT[/]")


def _state(line: DeliveryLine) -> str:
    colour = _COLOURS.get(line.state, "cyan")
    return f"[{colour}]{line.state}[/]{f' {line.refusal}' if line.refusal else ''}"


def _rows(line: DeliveryLine) -> str:
    """What became of the rows, in words; a file that was refused counts none."""
    counts = (
        (line.new_count, "new"),
        (line.changed_count, "changed"),
        (line.withdrawn_count, "withdrawn"),
        (line.duplicate_count, "unchanged"),
    )
    told = [f"{count:,} {word}" for count, word in counts if count]
    told += [f"[yellow]{line.rejected_count:,} rejected[/]"] * bool(line.rejected_count)
    return ", ".join(told) or "[dim]·[/]"


def _json(line: DeliveryLine) -> dict[str, object]:
    return {
        "id": line.id,
        "partner": line.partner_id,
        "state": line.state,
        "opened_at": screen.instant(line.opened_at),
        "received_at": screen.instant(line.received_at),
        "bytes": line.size_bytes,
        "attempts": line.attempts,
        "refusal": line.refusal,
        "rows": {
            "total": line.row_count,
            "new": line.new_count,
            "changed": line.changed_count,
            "withdrawn": line.withdrawn_count,
            "rejected": line.rejected_count,
            "duplicate": line.duplicate_count,
        },
    }
