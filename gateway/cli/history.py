"""`gateway deliveries show` and `trace`: what is known of one delivery, and who could collect what of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gateway.cli import screen
from gateway.cli.opened import opened
from gateway.domain.codes import FILE_ERRORS
from gateway.domain.dispatch import DispatchKind
from gateway.gateway import Gateway
from gateway.pipeline.deliveries import unknown
from gateway.store import Connection, history
from gateway.store.history import Held, Key, Known, Told

DeliveryId = Annotated[str, typer.Argument(metavar="ID", help="As `gateway deliveries list` shows it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: the fields above.")]

_TIMES = {
    "opened_at": "opened",
    "closed_at": "closed",
    "received_at": "received",
    "claimed_at": "taken up",
    "processed_at": "decided",
    "raw_gone_at": "file destroyed",
    "purged_at": "purged",
}


def show(context: typer.Context, delivery_id: DeliveryId, *, as_json: JsonOption = False) -> None:
    """Show everything that is known of one delivery; no person and no file name.

    [bold]--json[/] gives one object; times are UTC, days Europe/Amsterdam:

    [cyan]id, partner, state, kind, attempts, refusal, reason, key_fingerprint, bytes, sealed_bytes, sealed_sha256[/]
    [cyan]times[/] {opened_at, closed_at, received_at, claimed_at, processed_at, raw_gone_at, purged_at}
    [cyan]rows[/] {total, new, changed, withdrawn, feedback, listed, ended, rejected, duplicate, purged}
    [cyan]file_due_on[/] when the received file itself goes
    [cyan]signals[/] [{municipality, state, due_on, count}] whose version in force came in it
    [cyan]keys[/] [{municipality: empty for the file itself, due_on, key, is_held}]
    [cyan]files[/] as of gateway deliveries trace: those that answer it
    """
    with opened(context.obj) as gateway:
        ring = set(gateway.keyring.ids())
        with gateway.store.read() as conn:
            known = _known(conn, delivery_id)
            held, keys = history.signals_of(conn, delivery_id), history.keys_of(conn, delivery_id)
            answers = [each for each in history.told_of(conn, delivery_id) if _answers(each)]
    if as_json:
        screen.print_json(_show_json(known, held, keys, ring, answers))
    else:
        _show(known, held, keys, ring, answers)


def trace(context: typer.Context, delivery_id: DeliveryId, *, as_json: JsonOption = False) -> None:
    """Tell who could collect and who collected what of a delivery, and when: for a report of a data breach.

    [bold]--json[/] gives one object; times are UTC, null when it did not happen:

    [cyan]id, partner, state, received_at[/] of the delivery
    [cyan]signals[/] {state: count} of those whose version in force came in it
    [cyan]files[/] [{id, partner, contact, box, name, kind, state, signals, ready_at, collected_at, removed_at,
    gone_at, due_on}], oldest first; signals: how many of it, null when the file is about the delivery itself
    """
    with opened(context.obj) as gateway:
        with gateway.store.read() as conn:
            known = _known(conn, delivery_id)
            held, told = history.signals_of(conn, delivery_id), history.told_of(conn, delivery_id)
        contacts = _contacts(gateway, told)
    if as_json:
        screen.print_json(
            {
                "id": known.id,
                "partner": known.partner_id,
                "state": known.state,
                "received_at": screen.instant(known.received_at),
                "signals": _by_state(held),
                "files": [_file_json(each, contacts.get(each.partner_id, "")) for each in told],
            }
        )
    else:
        _show_trace(known, held, told, contacts)


def _known(conn: Connection, delivery_id: str) -> Known:
    known = history.delivery(conn, delivery_id)
    if known is None:
        raise unknown(delivery_id)
    return known


def _answers(told: Told) -> bool:
    """Whether a file is about the delivery: its receipt, or a note that it was withdrawn."""
    return told.kind in {DispatchKind.RECEIPT, DispatchKind.WITHDRAWAL}


def _contacts(gateway: Gateway, told: Iterable[Told]) -> dict[str, str]:
    partners = gateway.settings.partners
    return {
        each.partner_id: partners[each.partner_id].contact for each in told if each.partner_id in partners
    }


# -- show ------------------------------------------------------------------------------------------


def _show(
    known: Known, held: Sequence[Held], keys: Sequence[Key], ring: set[str], answers: Sequence[Told]
) -> None:
    screen.out.print(f"[bold]{known.id}[/] of [bold]{escape(known.partner_id)}[/]: {_state(known)}\n")
    facts = [
        (name, screen.moment(at, seconds=True))
        for field, name in _TIMES.items()
        if (at := getattr(known, field))
    ]
    facts += [
        ("size", f"{screen.size(known.size_bytes)}, sealed {screen.size(known.sealed_bytes)}"),
        ("ciphertext", (known.sealed_sha256 or b"").hex() or "[dim]none: it was not read[/]"),
        ("uploaded with", escape(known.key_fingerprint) or "[dim]no longer held[/]"),
        ("attempts", str(known.attempts)),
        ("rows", _rows(known)),
    ]
    if known.raw_due_on and not known.raw_gone_at:
        facts.append(("file goes after", known.raw_due_on.isoformat()))
    screen.out.print(screen.pairs(*facts))
    if held:
        shown = screen.table("signals in force", "municipality", "state", "go after")
        shown.columns[0].justify = "right"
        for each in held:
            shown.add_row(
                f"{each.count:,}",
                each.municipality or "[dim]·[/]",
                _words(each.state),
                each.due_on.isoformat(),
            )
        screen.out.print()
        screen.out.print(shown)
    if keys:
        made = screen.table("wrapped key of", "destroyed after", "under")
        for key in keys:
            gone = "" if key.key_id in ring else " [bold red]not in the keyring[/]"
            made.add_row(_served(key), key.due_on.isoformat(), f"{key.key_id}{gone}")
        screen.out.print()
        screen.out.print(made)
    if answers:
        screen.out.print()
        screen.out.print(_files(answers))
    screen.out.print(f"\nWho could collect what of it: [cyan]gateway deliveries trace {known.id}[/]")


def _state(known: Known) -> str:
    told = f"[cyan]{known.state}[/]"
    if known.refusal:
        told += f" [yellow]{known.refusal}[/] {FILE_ERRORS.get(known.refusal, '')}"
    return f"{told} [dim]({escape(known.reason)})[/]" if known.reason else told


def _rows(known: Known) -> str:
    parts = (
        (known.new_count, "new"),
        (known.changed_count, "changed"),
        (known.withdrawn_count, "withdrawn"),
        (known.feedback_count, "feedback"),
        (known.listed_count, "listed"),
        (known.ended_count, "ended"),
        (known.rejected_count, "rejected"),
        (known.duplicate_count, "unchanged"),
    )
    told = " + ".join(f"{count:,} {word}" for count, word in parts if count)
    purged = f"; {known.purged_rows:,} purged" if known.purged_rows else ""
    return f"{known.row_count:,}{f' = {told}' if told else ''}{purged}"


def _served(key: Key) -> str:
    if not key.municipality:
        return "the received file"
    return f"rows of {key.municipality}" if key.municipality != "-" else "rows that can't be routed"


def _words(state: str) -> str:
    return state.replace("_", " ")


def _show_json(
    known: Known, held: Sequence[Held], keys: Sequence[Key], ring: set[str], answers: Sequence[Told]
) -> dict[str, Any]:
    return {
        "id": known.id,
        "partner": known.partner_id,
        "state": known.state,
        "kind": known.kind,
        "attempts": known.attempts,
        "refusal": known.refusal,
        "reason": known.reason,
        "key_fingerprint": known.key_fingerprint,
        "bytes": known.size_bytes,
        "sealed_bytes": known.sealed_bytes,
        "sealed_sha256": (known.sealed_sha256 or b"").hex() or None,
        "times": {field: screen.instant(getattr(known, field)) for field in _TIMES},
        "rows": {
            "total": known.row_count,
            "new": known.new_count,
            "changed": known.changed_count,
            "withdrawn": known.withdrawn_count,
            "feedback": known.feedback_count,
            "listed": known.listed_count,
            "ended": known.ended_count,
            "rejected": known.rejected_count,
            "duplicate": known.duplicate_count,
            "purged": known.purged_rows,
        },
        "file_due_on": known.raw_due_on.isoformat() if known.raw_due_on else None,
        "signals": [
            {
                "municipality": each.municipality,
                "state": each.state,
                "due_on": each.due_on.isoformat(),
                "count": each.count,
            }
            for each in held
        ],
        "keys": [
            {
                "municipality": key.municipality,
                "due_on": key.due_on.isoformat(),
                "key": key.key_id,
                "is_held": key.key_id in ring,
            }
            for key in keys
        ],
        "files": [_file_json(each, "") for each in answers],
    }


# -- trace -----------------------------------------------------------------------------------------


def _show_trace(known: Known, held: Sequence[Held], told: Sequence[Told], contacts: dict[str, str]) -> None:
    screen.out.print(
        f"[bold]{known.id}[/] of [bold]{escape(known.partner_id)}[/], received {screen.moment(known.received_at)}"
    )
    states = ", ".join(f"{count:,} {_words(state)}" for state, count in _by_state(held).items())
    screen.out.print(f"Signals whose version in force came in it: {states or 'none is held'}\n")
    if not told:
        screen.out.print("Nothing of it was ever ready for anyone.")
        return
    for partner in sorted({each.partner_id for each in told}):
        theirs = [each for each in told if each.partner_id == partner]
        collected = sum(each.collected_at is not None for each in theirs)
        contact = f" [dim]{escape(contacts[partner])}[/]" if contacts.get(partner) else ""
        verdict = f"[yellow]collected {collected}[/]" if collected else "collected none"
        screen.out.print(
            f"[bold]{escape(partner)}[/]{contact} {verdict} of {screen.counted(len(theirs), 'file')}"
        )
        screen.out.print(_files(theirs))
        screen.out.print()


def _files(told: Sequence[Told]) -> Table:
    """Files of one partner; a file is there until its partner removed it, or it was purged."""
    made = screen.table("file")
    made.add_column("signals", justify="right")
    for name in ("ready", "collected", "there until"):
        made.add_column(name, no_wrap=True)
    for each in told:
        until = min(filter(None, (each.removed_at, each.purged_at)), default=None)
        made.add_row(
            escape(each.name),
            "[dim]·[/]" if each.signals is None else f"{each.signals:,}",
            screen.moment(each.created_at),
            screen.moment(each.collected_at),
            screen.moment(until),
        )
    return made


def _by_state(held: Iterable[Held]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for each in held:
        counts[each.state] += each.count
    return dict(sorted(counts.items()))


def _file_json(told: Told, contact: str) -> dict[str, Any]:
    return {
        "id": told.id,
        "partner": told.partner_id,
        "contact": contact,
        "box": told.box,
        "name": told.name,
        "kind": told.kind,
        "state": told.state,
        "signals": told.signals,
        "ready_at": screen.instant(told.created_at),
        "collected_at": screen.instant(told.collected_at),
        "removed_at": screen.instant(told.removed_at),
        "gone_at": screen.instant(told.purged_at),
        "due_on": told.due_on.isoformat(),
    }
