"""`gateway retention`: what goes when, letting it go now, and what went."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from gateway.backup.replay import replay
from gateway.cli import approve, hold, screen
from gateway.cli.opened import actor, opened
from gateway.cli.restore import show
from gateway.clock import AMSTERDAM, local_day
from gateway.errors import CommandError
from gateway.overview import consent
from gateway.retention import run as purge_run
from gateway.retention.due import DueDay, due, past_runs
from gateway.retention.purge import PurgeReport
from gateway.running import only_one
from gateway.store.certificates import Listed, certificate, certificates
from gateway.store.registers import Run

#: What a purge counts, in words and in the order in which people ask for it.
WORDS: Mapping[str, str] = {
    "raws": "received files",
    "signals": "signals",
    "answers": "answers of municipalities",
    "exclusions": "excluded and known residents",
    "contents": "contents of signals not passed on",
    "meldingen": "meldingen",
    "dispatches": "outgoing files",
    "tokens": "index tokens",
    "data_keys": "wrapped data keys",
    "keys": "keys of days and months",
    "blobs": "sealed files on disk",
    "deliveries": "deliveries of which only the tombstone stays",
    "rewrapped": "unprocessed files kept a day more",
}

JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]

app = typer.Typer(no_args_is_help=True)
app.command("approve")(approve.approve)
app.add_typer(hold.app, name="hold", help="What is kept past its day on legal grounds.")


@app.command("due")
def show_due(
    context: typer.Context,
    *,
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DAY",
            help="The last day listed; as far ahead as it is announced if not given.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what goes at the end of which day."""
    with opened(context.obj) as gateway:
        now = gateway.clock.now()
        today = local_day(now)
        last = until.date() if until else today + timedelta(days=gateway.settings.notice_days)
        days = due(gateway.store, now, last, gateway.settings.terms)
        waiting = list(approve.remarks(consent(gateway, now)))
    if as_json:
        _print_json([_day_json(day) for day in days])
        return
    if days:
        screen.out.print(_due_table(days, today))
        if uncollected := sum(day.uncollected for day in days):
            screen.out.print(
                f"\n[yellow]![/] {screen.counted(uncollected, 'outgoing file goes', 'outgoing files go')} without "
                "having been collected. Whose they are: gateway status",
                soft_wrap=True,
            )
    else:
        screen.done(f"Nothing falls due up to and including {last}.")
    for line in waiting:
        screen.out.print(line, soft_wrap=True)


@app.command("run")
def purge_now(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Let everything go whose day is over, as the schedule does at night."""
    with opened(context.obj, level="CRITICAL") as gateway, _progress() as progress:
        report = gateway.purge(origin="cli", actor=actor(), dry_run=dry_run, progress=progress)
    if as_json:
        _print_json(_report_json(report))
    else:
        _show_report(report)
    if report.errors:
        raise typer.Exit(1)


@app.command("log")
def show_log(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Show the runs of the purge, newest first."""
    with opened(context.obj) as gateway:
        runs = past_runs(gateway.store)
    if as_json:
        _print_json([_run_json(run) for run in runs])
    elif runs:
        screen.out.print(_log_table(runs))
    else:
        screen.out.print("No purge has run yet.")


@app.command("certificate")
def show_certificate(
    context: typer.Context,
    number: Annotated[
        str, typer.Argument(metavar="[ID]", help="Its number; without it all are listed, newest first.")
    ] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show a certificate of destruction (verklaring van vernietiging), as it was signed."""
    with opened(context.obj) as gateway, gateway.store.read() as conn:
        listed = certificates(conn)
        signed = certificate(conn, number) if number else None
    if signed is not None:
        print((signed.as_json if as_json else signed.as_text).decode(), end="")
    elif number:
        raise CommandError(
            f"there is no certificate {number}; see which there are: gateway retention certificate"
        )
    elif as_json:
        screen.print_json([_listed_json(one) for one in listed])
    elif listed:
        screen.out.print(_certificate_table(listed))
    else:
        screen.out.print("Nothing was destroyed yet that a certificate tells of.")


@app.command("replay")
def play_back(context: typer.Context) -> None:
    """After older data were put back: do now what the next start would do, with the gateway stopped.

    Log, early removals, numbers, lists for partners, purge: docs/operations.md, Backups.
    """
    with opened(context.obj) as gateway, only_one(gateway.home):
        report = replay(gateway, actor=actor(), origin="cli")
    if report is None:
        screen.done("No older data were put back: there is nothing to play back.")
    else:
        show(report)


# -- tables ----------------------------------------------------------------------------------------


def _due_table(days: list[DueDay], today: date) -> Table:
    made = screen.table("day")
    made.add_column("")
    for name in (
        "received files",
        "signals",
        "exclusions",
        "contents",
        "outgoing files",
        "not collected",
        "held",
    ):
        made.add_column(name, justify="right")
    made.add_column("keys", overflow="fold")
    for day in days:
        numbers = (day.raws, day.signals, day.exclusions, day.contents, day.dispatches)
        keys = ", ".join(day.keys)
        uncollected = f"[yellow]{day.uncollected:,}[/]" if day.uncollected else _number(0)
        made.add_row(
            str(day.day), _when(day.day, today), *map(_number, numbers), uncollected, _number(day.held), keys
        )
    return made


def _when(day: date, today: date) -> str:
    left = (day - today).days
    if left < 0:
        return "[bold red]overdue[/]"
    return "[yellow]tonight[/]" if left == 0 else f"[dim]in {screen.counted(left, 'day')}[/]"


def _show_report(report: PurgeReport) -> None:
    went = [(WORDS[name], report.counts[name]) for name in WORDS if report.counts[name]]
    last = report.due_before - timedelta(days=1)
    if report.is_dry_run:
        head = "Would go" if went else "Nothing would go"
        screen.out.print(f"{head}: what is due up to and including [bold]{last}[/] · nothing was changed")
    elif not report.errors:
        screen.done(f"What was due up to and including [bold]{last}[/] is gone.")
    if went:
        made = Table.grid(padding=(0, 2))
        made.add_column(justify="right", min_width=8)
        made.add_column()
        for words, number in went:
            made.add_row(f"{number:,}", words)
        screen.out.print(made)
    if report.errors:
        screen.err.print(
            f"[bold red]✗[/] {screen.counted(len(report.errors), 'record')} could not be purged; "
            "everything else was. The next purge tries again."
        )
        shown = screen.table("step", "object", "reason")
        for error in report.errors:
            shown.add_row(*map(escape, (error.step, error.object_id, error.reason)))
        screen.err.print(shown)


def _log_table(runs: list[Run]) -> Table:
    made = screen.table("run", "began", "took", "due before")
    for name in ("received files", "signals", "outgoing files", "tokens", "keys", "errors"):
        made.add_column(name, justify="right")
    for run in runs:
        counts = run.counts
        made.add_row(
            str(run.id),
            f"{run.started_at.astimezone(AMSTERDAM):%Y-%m-%d %H:%M}",
            _took(run),
            str(run.due_before),
            *(_number(counts[name]) for name in ("raws", "signals", "dispatches", "tokens", "keys")),
            f"[bold red]{counts['errors']}[/]" if counts["errors"] else "",
        )
    return made


def _certificate_table(listed: list[Listed]) -> Table:
    made = screen.table("certificate", "made", "municipality or partner", "run", "status")
    for one in listed:
        status = "[green]complete[/]" if one.is_complete else "[bold yellow]incomplete[/]"
        made.add_row(one.number, screen.moment(one.made_at), escape(one.party), str(one.run_id), status)
    return made


def _took(run: Run) -> str:
    if run.finished_at is None:
        return f"[yellow]not finished[/] ({run.step or 'begun'})"
    seconds = (run.finished_at - run.started_at).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def _number(number: int) -> str:
    return f"{number:,}" if number else "[dim]·[/]"


@contextmanager
def _progress() -> Iterator[purge_run.Progress]:
    """A bar on the terminal while a purge is at work; nothing stays of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen.err, transient=True, disable=not screen.err.is_terminal) as bar:
        task = bar.add_task("purging", total=None)

        def tell(step: str, done: int, total: int) -> None:
            bar.update(task, description=step.replace("_", " "), completed=done, total=total or None)

        yield tell


# -- for programs ----------------------------------------------------------------------------------


def _day_json(day: DueDay) -> dict[str, object]:
    return {
        "day": day.day.isoformat(),
        "raws": day.raws,
        "signals": day.signals,
        "exclusions": day.exclusions,
        "contents": day.contents,
        "dispatches": day.dispatches,
        "uncollected": day.uncollected,
        "held": day.held,
        "keys": list(day.keys),
    }


def _report_json(report: PurgeReport) -> dict[str, object]:
    return {
        "run": report.run_id,
        "due_before": report.due_before.isoformat(),
        "dry_run": report.is_dry_run,
        "counts": dict(report.counts),
        "keys": list(report.keys),
        "errors": [
            {"step": error.step, "object": error.object_id, "reason": error.reason} for error in report.errors
        ],
    }


def _listed_json(one: Listed) -> dict[str, object]:
    return {
        "number": one.number,
        "made_at": screen.instant(one.made_at),
        "party": one.party,
        "run": one.run_id,
        "complete": one.is_complete,
    }


def _run_json(run: Run) -> dict[str, object]:
    return {
        "run": run.id,
        "due_before": run.due_before.isoformat(),
        "started_at": run.started_at.astimezone(UTC).isoformat(),
        "finished_at": run.finished_at and run.finished_at.astimezone(UTC).isoformat(),
        "step": run.step,
        "counts": dict(run.counts),
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))
