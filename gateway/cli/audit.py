"""`gateway audit`: who did what, and whether the record of it is whole."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.audit.checkpoint import load_public_key
from gateway.audit.shelf import VERIFIER_FILE, LogShelf
from gateway.audit.verify import Report
from gateway.audit.verify import verify as verify_log
from gateway.cli import screen
from gateway.cli.opened import opened
from gateway.errors import AuditError, CommandError
from gateway.settings import Home
from gateway.store.engine import Store
from gateway.store.status import last_entries

_FIELDS = ("action", "actor", "node", "object", "origin", "result", "time")

JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]

app = typer.Typer(no_args_is_help=True)


@app.command("verify")
def verify(
    context: typer.Context,
    *,
    kept: Annotated[
        Path | None,
        typer.Option("--from", metavar="CHECKPOINT", help="A checkpoint kept from earlier: is it continued?"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the whole log from its entries and compare it with every signed checkpoint; ends with 13 if it differs.

    With --json: {ok, entries, held_from, checkpoints, unsequenced, restored: [entry], problems: [sentence]}; contents
    are held from entry held_from on; restored are the entries with which the log began again after it was lost.
    """
    home: Home = context.obj
    note = None if kept is None else _read_note(kept)
    public_key = load_public_key(home.keys)
    store = Store(home.db)
    try:
        with store.read() as conn, screen.err.status("Reading the log …"):
            report = verify_log(conn, public_key, home.log, note)
    finally:
        store.close()
    if as_json:
        screen.print_json(_json(report))
    else:
        _show(report, kept)
    if report.problems:
        raise typer.Exit(AuditError.exit_code)


@app.command("show")
def show(
    context: typer.Context,
    *,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="How many of the newest entries.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the newest entries of the log, oldest first.

    With --json: a list of {action, actor, node, object, origin, result, time, detail}; detail only where there is one.
    """
    store = Store(context.obj.db)
    try:
        with store.read() as conn:
            entries = [_read(entry) for entry in last_entries(conn, last)]
    finally:
        store.close()
    if as_json:
        screen.print_json(entries)
    elif entries:
        _show_entries(entries)
    else:
        screen.out.print("No entries yet.")


@app.command("export")
def export(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
) -> None:
    """Write the log up to its newest checkpoint to a folder, as auditors read it in /audit/log, with its verifier."""
    with opened(context.obj) as gateway:
        try:
            folder.mkdir(parents=True)
            count = _write(LogShelf(gateway.store, gateway.signer), folder, ())
        except OSError as exc:
            raise CommandError(f"{folder}: {exc.strerror}; name a new folder") from exc
    screen.done(
        f"{screen.counted(count, 'file')} in {escape(str(folder))}. To check them without the gateway:"
    )
    screen.out.print(f"  [cyan]python3 {escape(str(folder / VERIFIER_FILE))}[/]", soft_wrap=True)


def _write(shelf: LogShelf, folder: Path, path: tuple[str, ...]) -> int:
    """Write what lies at `path` of the log; how many files.

    The checkpoint is listed first: what is added to the log meanwhile does no harm.
    """
    count = 0
    for shown in shelf.listing(path, None) or ():
        below = (*path, shown.name)
        if shown.size is None:
            folder.joinpath(*below).mkdir()
            count += _write(shelf, folder, below)
        elif document := shelf.document(below, None):
            folder.joinpath(*below).write_bytes(document.data)
            count += 1
    return count


def _read_note(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "is no checkpoint"
        raise CommandError(f"{path}: {reason}") from exc


def _show(report: Report, kept: Path | None) -> None:
    seen = (
        f"{screen.counted(report.entries, 'entry', 'entries')}, "
        f"{screen.counted(report.checkpoints, 'signed checkpoint')}"
    )
    waiting = f"; {report.unsequenced:,} wait for the next checkpoint" if report.unsequenced else ""
    if not report.problems:
        screen.done(f"The audit log is whole: {seen}{waiting}")
        if kept:
            screen.out.print(f"  It continues {escape(str(kept))}.", soft_wrap=True)
        if report.held_from:
            screen.out.print(
                f"  Contents are held from entry {report.held_from:,} on: what came before went by its term, "
                "its hashes stay.",
                soft_wrap=True,
            )
        for place in report.restored:
            screen.out.print(
                f"[yellow]![/] It began again at entry {place:,}, after a loss: what came before may lack entries."
            )
        return
    problems = screen.counted(len(report.problems), "problem")
    screen.err.print(f"[bold red]✗[/] The audit log is not whole: {problems} in {seen}{waiting}")
    for problem in report.problems:
        screen.err.print(f"  {escape(problem)}")


def _read(entry: bytes) -> dict[str, Any]:
    """An entry's fields; one that was altered shows what it still is."""
    try:
        fields = json.loads(entry)
        datetime.fromisoformat(fields["time"])
        return {**dict.fromkeys(_FIELDS, ""), **fields}
    except (ValueError, TypeError, KeyError):
        return dict.fromkeys(_FIELDS, "") | {"action": "unreadable", "result": "altered", "time": None}


def _show_entries(entries: list[dict[str, Any]]) -> None:
    shown = screen.table("time", "who", "did what", "to")
    shown.columns[0].no_wrap = True
    for entry in entries:
        text = {name: escape(str(entry[name])) for name in _FIELDS}
        result = "" if text["result"] == "ok" else f" [yellow]{text['result']}[/]"
        shown.add_row(
            screen.moment(entry["time"] and datetime.fromisoformat(entry["time"]), seconds=True),
            f"{text['actor']} [dim]{text['origin']}[/]",
            f"{text['action']}{result}{_detail(entry.get('detail'))}",
            text["object"],
        )
    screen.out.print(shown)


def _detail(detail: Any) -> str:
    """Codes and counts, on a line of their own; a count of 0 says nothing."""
    pairs = detail.items() if isinstance(detail, dict) else ()
    told = escape(", ".join(f"{name} {value}" for name, value in pairs if value != 0))
    return f"\n[dim]{told}[/]" if told else ""


def _json(report: Report) -> dict[str, object]:
    return {
        "ok": not report.problems,
        "entries": report.entries,
        "held_from": report.held_from,
        "checkpoints": report.checkpoints,
        "unsequenced": report.unsequenced,
        "restored": report.restored,
        "problems": report.problems,
    }
