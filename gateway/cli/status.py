"""`gateway status`: how the gateway stands, on one screen or as JSON."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from gateway.cli import screen
from gateway.cli.approve import remarks
from gateway.cli.opened import opened
from gateway.clock import local_day
from gateway.domain.delivery import DeliveryState
from gateway.domain.host_key import state, turns
from gateway.domain.partner import Mode
from gateway.domain.retention import FEW_KEY_DAYS
from gateway.overview import Overview, overview
from gateway.retention.due import DueDay

#: Of the JSON's shape; rises when a reader of the old one could stumble.
VERSION = 1

#: Less room than this on the disk, and somebody should look.
FEW_BYTES = 2 * 1000**3
#: The signed checkpoint comes every hour (spec 4, Audit log).
CHECKPOINT_LATE = timedelta(hours=2)

_WORK = (DeliveryState.ARRIVED, DeliveryState.PROCESSING, DeliveryState.FAILED)


def status(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the fields above.")] = False,
) -> None:
    """Show how the gateway stands: what runs, waits, failed and falls due; never a person or a file name.

    [bold]--json[/] gives one object; when a reader of it could stumble, `version` rises.

    [cyan]version[/] 1
    [cyan]at[/] the moment of the look; every time is UTC, every day is Europe/Amsterdam
    [cyan]daemon[/] null, or {port, pid, host_key, configuration}, and legacy_port if there is one
    [cyan]door[/] {sessions, penalised: addresses that are closed out}
    [cyan]deliveries[/] {state: count}
    [cyan]oldest_waiting_at[/] null, or the receipt of the oldest unprocessed file
    [cyan]failed[/] [{id, partner, received_at, attempts, behind}]; it holds back `behind` files
    [cyan]meldingen[/] [{municipality, waiting, urgent, since, due_at: null where nobody serves it}]
    [cyan]retention[/] {next_purge_at, last_purge, due}
    [cyan]  last_purge[/] null, or {started_at, finished_at, errors}
    [cyan]  due[/] [{day, raws, signals, contents, dispatches, keys}]: 7 days, and what is overdue
    [cyan]approvals[/] {to_sign, overdue, clock: null, or why nothing is destroyed by it}
    [cyan]  to_sign[/] [{number, subject, object, state, signatures, open_until}]
    [cyan]  overdue[/] [{municipality, approved_through, signals, answers, exclusions, contents, dispatches}]
    [cyan]holds[/] [{id, grounds, review_on, deliveries: how many}] in force, the first review first
    [cyan]keys[/] {until, days_ahead, wanted_days_ahead}; below 0 no file can be received
    [cyan]audit[/] {entries, unsequenced, checkpoint_at}
    [cyan]disk[/] {vault_bytes, vault_files, database_bytes, free_bytes, reserve_bytes, takes_files}
    [cyan]partners[/] [{id, role, mode, last_received_at, uncollected, oldest_uncollected_at}]
    [cyan]partner_keys[/] {ending, locked_out}; ending: 30 days, locked_out: ids of partners without a valid key
    [cyan]  ending[/] [{partner, fingerprint, last_day, last_used_at}]
    [cyan]host_keys[/] [{fingerprint, kind, state, active_from, retire_at}]
    """
    with opened(context.obj) as gateway:
        seen = overview(gateway)
    if as_json:
        screen.print_json(to_json(seen))
    else:
        _show(seen)


# -- for programs ----------------------------------------------------------------------------------


def to_json(seen: Overview) -> dict[str, Any]:
    """The overview for programs; a stable contract, told in the help of `status`."""
    daemon, purge = seen.daemon, seen.last_purge
    return {
        "version": VERSION,
        "at": screen.instant(seen.at),
        "daemon": daemon
        and {
            "port": daemon.port,
            "pid": daemon.pid,
            "host_key": daemon.host_key,
            "configuration": daemon.generation,
            **({"legacy_port": daemon.legacy_port} if daemon.legacy_port else {}),
        },
        "door": {"sessions": seen.door.sessions, "penalised": seen.door.penalised},
        "deliveries": {str(state): seen.deliveries.get(state, 0) for state in DeliveryState},
        "oldest_waiting_at": screen.instant(seen.oldest_waiting_at),
        "failed": [
            {
                "id": each.delivery.id,
                "partner": each.delivery.partner_id,
                "received_at": screen.instant(each.delivery.received_at),
                "attempts": each.delivery.attempts,
                "behind": each.behind,
            }
            for each in seen.failed
        ],
        "meldingen": [
            {
                "municipality": each.municipality,
                "waiting": each.count,
                "urgent": each.urgent,
                "since": screen.instant(each.since),
                "due_at": screen.instant(each.due_at),
            }
            for each in seen.waiting
        ],
        "retention": {
            "next_purge_at": screen.instant(seen.next_purge_at),
            "last_purge": purge
            and {
                "started_at": screen.instant(purge.started_at),
                "finished_at": screen.instant(purge.finished_at),
                "errors": purge.counts["errors"],
            },
            "due": [
                {
                    "day": each.day.isoformat(),
                    "raws": each.raws,
                    "signals": each.signals,
                    "contents": each.contents,
                    "dispatches": each.dispatches,
                    "keys": list(each.keys),
                }
                for each in seen.due
            ],
        },
        "approvals": {
            "to_sign": [
                {
                    "number": each.number,
                    "subject": each.subject,
                    "object": each.object_id,
                    "state": each.state,
                    "signatures": len(each.signatures),
                    "open_until": each.open_until and each.open_until.isoformat(),
                }
                for each in seen.consent.to_sign
            ],
            "overdue": [
                {
                    "municipality": late.municipality,
                    "approved_through": None if late.through == date.min else late.through.isoformat(),
                    **late.counts,
                }
                for late in seen.consent.overdue
            ],
            "clock": seen.consent.clock or None,
        },
        "holds": [
            {
                "id": each.id,
                "grounds": each.grounds,
                "review_on": each.review_on.isoformat(),
                "deliveries": len(each.deliveries),
            }
            for each in seen.holds
        ],
        "keys": {
            "until": seen.keys.until and seen.keys.until.isoformat(),
            "days_ahead": seen.keys.days_ahead,
            "wanted_days_ahead": seen.keys.wanted_days_ahead,
        },
        "audit": {
            "entries": seen.audit.entries,
            "unsequenced": seen.audit.unsequenced,
            "checkpoint_at": screen.instant(seen.audit.checkpoint_at),
        },
        "disk": {
            "vault_bytes": seen.disk.vault_bytes,
            "vault_files": seen.disk.vault_files,
            "database_bytes": seen.disk.database_bytes,
            "free_bytes": seen.disk.free_bytes,
            "reserve_bytes": seen.disk.reserve_bytes,
            "takes_files": seen.disk.takes_files,
        },
        "partners": [
            {
                "id": each.id,
                "role": each.role,
                "mode": each.mode,
                "last_received_at": screen.instant(each.last_received_at),
                "uncollected": each.uncollected.count if each.uncollected else 0,
                "oldest_uncollected_at": screen.instant(
                    each.uncollected.oldest_at if each.uncollected else None
                ),
            }
            for each in seen.partners
        ],
        "partner_keys": {
            "ending": [
                {
                    "partner": each.partner_id,
                    "fingerprint": each.fingerprint,
                    "last_day": each.last_day.isoformat(),
                    "last_used_at": screen.instant(each.last_used_at),
                }
                for each in seen.ending_keys
            ],
            "locked_out": list(seen.locked_out),
        },
        "host_keys": [
            {
                "fingerprint": each.fingerprint,
                "kind": str(each.kind),
                "state": str(state(each, seen.host_keys, seen.at)),
                "active_from": screen.instant(each.active_from),
                "retire_at": screen.instant(each.retire_at),
            }
            for each in seen.host_keys
        ],
    }


# -- for people ------------------------------------------------------------------------------------


def _show(seen: Overview) -> None:
    made = Table.grid(padding=(0, 3))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    made.add_row("Gateway", _daemon(seen))
    made.add_row("Door", _door(seen))
    made.add_row("Files", _files(seen))
    if seen.failed:
        made.add_row("", _failed(seen))
    made.add_row("Meldingen", _waiting(seen))
    made.add_row("Purge", _purge(seen))
    if waiting := list(remarks(seen.consent)):
        made.add_row("Approvals", "\n".join(waiting))
    if seen.holds:
        made.add_row("Legal holds", _holds(seen))
    made.add_row("Keys", _keys(seen))
    if seen.ending_keys or seen.locked_out:
        made.add_row("Partner keys", _partner_keys(seen))
    if coming := turns(seen.host_keys, seen.at):
        made.add_row(
            "Host keys", "\n".join(f"[yellow]{turn.on}[/] {turn.fingerprint} {turn.what}" for turn in coming)
        )
    made.add_row("Audit log", _audit(seen))
    made.add_row("Disk", _disk(seen))
    screen.out.print(made)
    if seen.partners:
        screen.out.print()
        screen.out.print(_partners(seen))


def _daemon(seen: Overview) -> str:
    if seen.daemon is None:
        return "[bold yellow]does not run[/]: gateway serve"
    legacy = f" and {seen.daemon.legacy_port} (legacy)" if seen.daemon.legacy_port else ""
    return (
        f"[bold green]runs[/] on port {seen.daemon.port}{legacy}, process {seen.daemon.pid}\n"
        f"[dim]host key {seen.daemon.host_key}[/]\n"
        + (
            f"[dim]configuration {seen.daemon.generation}[/]"
            if seen.is_config_in_force
            else f"[yellow]configuration {seen.daemon.generation}: config/ has changed since, see its log[/]"
        )
    )


def _door(seen: Overview) -> str:
    sessions = screen.counted(seen.door.sessions, "session")
    if not seen.door.penalised:
        return f"{sessions} open"
    kept_out = screen.counted(seen.door.penalised, "address", "addresses")
    return f"{sessions} open, [yellow]{kept_out} closed out[/]: gateway guard list"


def _files(seen: Overview) -> str:
    counts = [f"{seen.deliveries[state]:,} {state}" for state in _WORK if seen.deliveries.get(state)]
    since = f", the oldest since {screen.moment(seen.oldest_waiting_at)}" if seen.oldest_waiting_at else ""
    done = seen.deliveries.get(DeliveryState.PROCESSED, 0)
    refused = seen.deliveries.get(DeliveryState.REJECTED, 0)
    under_way = ", ".join(counts) + since if counts else "none waits"
    return f"{under_way}\n[dim]{done:,} processed and {refused:,} rejected are still held[/]"


def _failed(seen: Overview) -> RenderableType:
    made = screen.table("failed", "partner", "received")
    made.add_column("held back", justify="right")
    for each in seen.failed:
        delivery = each.delivery
        made.add_row(
            f"[bold red]{delivery.id}[/]",
            delivery.partner_id,
            screen.moment(delivery.received_at),
            screen.number(each.behind),
        )
    first = seen.failed[0].delivery.id
    return Group(
        "",
        made,
        f"[cyan]gateway deliveries retry {first}[/]",
        f"[cyan]gateway deliveries reject {first} --reason TEXT[/]",
        "",
    )


def _waiting(seen: Overview) -> RenderableType:
    if not seen.waiting:
        return "none waits to be published"
    made = screen.table("municipality", "")
    made.add_column("to publish", justify="right")
    made.add_column("changed since")
    made.add_column("will be out")
    for each in seen.waiting:
        when = "[yellow]nobody serves it[/]" if each.due_at is None else screen.moment(each.due_at)
        made.add_row(
            each.municipality,
            escape(each.name),
            f"{each.count:,}" + (f" [red]({each.urgent:,} crisis)[/]" if each.urgent else ""),
            screen.moment(each.since),
            "[cyan]now[/]" if each.due_at and each.due_at <= seen.at else when,
        )
    return made


def _purge(seen: Overview) -> RenderableType:
    last = seen.last_purge
    text = f"next {screen.moment(seen.next_purge_at)}"
    if last is not None:
        text += f", last {screen.moment(last.started_at)}"
        if last.finished_at is None:
            text += " [yellow]not finished[/]"
        if last.counts["errors"]:
            text += f" [bold red]{screen.counted(last.counts['errors'], 'error')}[/]: gateway retention log"
    today = local_day(seen.at)
    made = Table.grid()
    made.add_row(text)
    for day in seen.due:
        name = f"[bold red]{day.day} overdue[/]" if day.day < today else f"{day.day:%a} {day.day}"
        made.add_row(f"[dim]{name}[/]  {_due(day)}")
    if not seen.due:
        made.add_row("[dim]nothing falls due in the coming 7 days[/]")
    return made


def _due(day: DueDay) -> str:
    parts = (
        (day.raws, "received file", ""),
        (day.signals, "signal", ""),
        (day.contents, "contents of a signal", "contents of signals"),
        (day.dispatches, "outgoing file", ""),
        (len(day.keys), "key", ""),
    )
    return ", ".join(screen.counted(count, one, many) for count, one, many in parts if count)


def _holds(seen: Overview) -> str:
    late = [each for each in seen.holds if each.review_on < local_day(seen.at)]
    text = f"{len(seen.holds):,} in force"
    if not late:
        return f"{text}, the next review by {seen.holds[0].review_on}"
    named = ", ".join(each.id for each in late)
    return f"{text}, [bold red]review is over[/] of {named}: gateway retention hold list"


def _keys(seen: Overview) -> str:
    keys = seen.keys
    if keys.days_ahead < 0:
        return f"[bold red]missing from {keys.until or 'today'} on[/]: no file can be received; gateway serve makes them"
    text = f"until {keys.until}, {screen.counted(keys.days_ahead, 'day')} further than is needed today"
    more = "gateway serve makes more; a registered copy that is away lacks them"
    return f"[bold red]{text}[/]: {more}" if keys.days_ahead < FEW_KEY_DAYS else text


def _partner_keys(seen: Overview) -> str:
    lines = [f"[bold red]{partner_id} has no valid key[/]: it can't log in" for partner_id in seen.locked_out]
    for each in seen.ending_keys:
        used = f"last used {screen.moment(each.last_used_at)}" if each.last_used_at else "never used"
        lines.append(
            f"[yellow]{each.partner_id}'s key ends on {each.last_day}[/], {used}\n[dim]{each.fingerprint}[/]"
        )
    return "\n".join([*lines, "[cyan]gateway partner keys[/]"])


def _audit(seen: Overview) -> str:
    audit = seen.audit
    entries = screen.counted(audit.entries, "entry", "entries")
    if audit.checkpoint_at is None:
        return f"{entries}, not signed yet"
    late = audit.unsequenced and seen.at - audit.checkpoint_at > CHECKPOINT_LATE
    signed = f"signed {screen.moment(audit.checkpoint_at)}"
    since = f", {audit.unsequenced:,} since" if audit.unsequenced else ""
    return f"{entries}, {f'[yellow]{signed}[/]' if late else signed}{since}"


def _disk(seen: Overview) -> str:
    disk = seen.disk
    free = f"{screen.size(disk.free_bytes)} free"
    if not disk.takes_files:
        free += ": no file is received, make room"
    return (
        f"{screen.size(disk.vault_bytes)} in {screen.counted(disk.vault_files, 'sealed file')}, "
        f"{screen.size(disk.database_bytes)} database, "
        f"{f'[bold red]{free}[/]' if disk.free_bytes < FEW_BYTES else free}"
    )


def _partners(seen: Overview) -> Table:
    made = screen.table("partner", "role", "last file received")
    made.add_column("not collected", justify="right")
    made.add_column("oldest of it")
    for each in seen.partners:
        left = each.uncollected
        made.add_row(
            each.id,
            str(each.role) if each.mode is Mode.LIVE else f"{each.role} [yellow]({each.mode})[/]",
            screen.moment(each.last_received_at),
            screen.number(left.count if left else 0),
            screen.moment(left.oldest_at if left else None),
        )
    return made
