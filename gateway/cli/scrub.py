"""`gateway scrub`: whether every sealed file is still what was written; no key is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gateway.audit.log import Entry, record_all
from gateway.cli import screen
from gateway.cli.opened import actor
from gateway.clock import SystemClock
from gateway.gateway import node_id
from gateway.retention import scrub as scrubbing
from gateway.retention.scrub import Damage, Scrubbed
from gateway.settings import Home
from gateway.store import blobs as known_blobs
from gateway.store.engine import Store
from gateway.vault.blobs import BlobFolder

_REMEDIES = {
    Damage.MISSING: "bring it back from a backup of data/vault, under the same name",
    Damage.TRUNCATED: "bring it back from a backup of data/vault, under the same name",
    Damage.ALTERED: "bring it back from a backup of data/vault, under the same name",
    Damage.UNREADABLE: "look at the disk: dmesg, smartctl",
    Damage.ORPHANED: "it is swept when the gateway starts",
}


def scrub(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Read every sealed file and compare it with the digest it had when it was written. Ends with 1 if one differs.

    Needs no key, and goes on beside a running gateway. What is found is in the audit log.

    With --json: {ok, blobs, undigested, bytes, seconds, damaged: {missing | truncated | altered | unreadable | orphaned: count},
    findings: [{damage, id, partner, blob}]}; id is that of the delivery or outgoing file. undigested: received and not
    processed yet; of them the size was compared.
    """
    home: Home = context.obj
    store = Store(home.db)
    try:
        with store.read() as conn:
            _, total = known_blobs.sum_kept(conn)
        with _bar(total) as progress:
            found = scrubbing.scrub(store, BlobFolder(home.vault), progress)
        if found.findings:
            _record(store, found)
    finally:
        store.close()
    if as_json:
        screen.print_json(_json(found))
    else:
        _show(found)
    if found.findings:
        raise typer.Exit(1)


def _record(store: Store, found: Scrubbed) -> None:
    now, who, node = SystemClock().now(), actor(), node_id()
    with store.write() as conn:
        record_all(
            conn,
            (
                Entry(
                    action="blob.damaged",
                    object_id=each.owner or each.blob,
                    result=each.damage,
                    origin="cli",
                    actor=who,
                    at=now,
                    node=node,
                )
                for each in found.findings
            ),
        )


def _show(found: Scrubbed) -> None:
    seconds = max(found.seconds, 0.001)
    seen = (
        f"{screen.counted(found.blobs, 'sealed file')}, {screen.size(found.read_bytes)} "
        f"in {seconds:,.1f} s ({screen.size(round(found.read_bytes / seconds))} a second)"
    )
    if found.undigested:
        seen += f"; {found.undigested:,} not processed yet and without a digest: their size was compared"
    if not found.findings:
        screen.done(f"Every sealed file is as it was written: {seen}")
        return
    shown = screen.table("damage", "delivery or file", "partner", "blob")
    for each in found.findings:
        shown.add_row(
            f"[red]{each.damage}[/]",
            each.owner or "[dim]no row knows it[/]",
            escape(each.partner_id),
            f"[dim]{each.blob}[/]",
        )
    screen.out.print(shown)
    screen.out.print()
    counts = Counter(each.damage for each in found.findings)
    wrong = screen.counted(len(found.findings), "is", "are")
    screen.out.print(f"[bold red]✗[/] {wrong} not as they should be: {seen}", soft_wrap=True)
    for damage, count in counts.items():
        screen.out.print(f"  [cyan]→[/] {count:,} {damage}: {_REMEDIES[damage]}", soft_wrap=True)


def _json(found: Scrubbed) -> dict[str, object]:
    return {
        "ok": not found.findings,
        "blobs": found.blobs,
        "undigested": found.undigested,
        "bytes": found.read_bytes,
        "seconds": round(found.seconds, 3),
        "damaged": dict(Counter(each.damage for each in found.findings)),
        "findings": [
            {"damage": each.damage, "id": each.owner, "partner": each.partner_id, "blob": each.blob}
            for each in found.findings
        ],
    }


@contextmanager
def _bar(total: int) -> Iterator[scrubbing.Progress]:
    """A bar on the terminal, with bytes a second and the time that is left; nothing stays of it."""
    columns = (
        TextColumn("Reading the vault"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen.err, transient=True, disable=not screen.err.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda n: bar.advance(task, n)
