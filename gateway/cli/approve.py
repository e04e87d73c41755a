"""`gateway retention approve`: what waits for two people, their signatures, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateway.audit import approve as signing
from gateway.audit.sshsig_check import MOST_BYTES
from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.domain.approval import (
    LASTING,
    NAMESPACE,
    Approval,
    ApprovalState,
    Subject,
)
from gateway.errors import CommandError
from gateway.files.approval import request_name
from gateway.gateway import Gateway
from gateway.overview import Consent
from gateway.retention.approvals import drop as drop_request
from gateway.retention.approvals import to_sign
from gateway.store import approvals

#: What is asked, in words.
WORDS = {
    Subject.BATCH: "destruction of a month",
    Subject.STANDING: "standing destruction",
    Subject.HOLD: "a legal hold",
    Subject.LIFT: "the lift of a hold",
    Subject.KEY: "a key, before its day",
    Subject.CLOCK: "the clock, which jumped",
}


def approve(
    context: typer.Context,
    number: Annotated[
        str, typer.Argument(metavar="[NUMBER]", help="Of a request; without it the open ones are listed.")
    ] = "",
    *,
    signature: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="What ssh-keygen -Y sign made of its text; may be given twice."),
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Take the request back; nothing comes of it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what two people must approve, print the text that they sign, and hand in their signatures.

    The text goes to standard output, byte for byte as it is signed. The second person's signature carries it out.
    """
    if (signature or drop) and not number:
        raise CommandError("name the request: gateway retention approve lists them")
    with opened(context.obj) as gateway:
        if not number:
            _list(gateway, as_json=as_json)
            return
        approval = _known(gateway, number)
        if drop:
            _drop(gateway, approval)
        elif signature:
            _sign(gateway, approval, signature)
        elif as_json:
            screen.print_json(_json(approval))
        else:
            _show(approval)


def _list(gateway: Gateway, *, as_json: bool) -> None:
    with gateway.store.read() as conn:
        found = to_sign(conn)
    if as_json:
        screen.print_json([_json(each) for each in found])
    elif found:
        screen.out.print(_table(found))
        names = sorted({each.principal for each in gateway.settings.approvers})
        if len(names) < 2:
            screen.out.print(
                "[yellow]![/] config/approvers does not name two people yet: docs/retention.md tells how"
            )
    else:
        screen.done("Nothing waits for approval.")


def _show(approval: Approval) -> None:
    """The text alone on standard output, so that it can be saved; what to do with it beside that."""
    print(approval.text.decode(), end="", flush=True)
    name = request_name(approval.number)
    if approval.state is not ApprovalState.OPEN:
        screen.err.print(
            f"{approval.number} is {approval.state}: it can't be signed any more", soft_wrap=True
        )
        return
    screen.err.print(f"\nTwo people sign this text, exactly as it is. {_signed_by(approval)}")
    for step in (
        f"gateway retention approve {approval.number} > {name}",
        f"ssh-keygen -Y sign -n {NAMESPACE} -f KEY {name}",
        f"gateway retention approve {approval.number} --signature {name}.sig",
    ):
        screen.err.print(f"  [cyan]{escape(step)}[/]", soft_wrap=True)


def _sign(gateway: Gateway, approval: Approval, files: Sequence[Path]) -> None:
    for path in files:
        armour = _read(path)
        now = gateway.clock.now()
        found = signing.check(approval, armour, gateway.settings.approvers, now)
        with gateway.store.write() as conn:
            approval = signing.take(
                conn, approval.number, found, origin="cli", actor=actor(), node=gateway.node
            )
        screen.done(f"{escape(found.principal)} signed {approval.number}")
    problem = ""
    if approval.state is ApprovalState.APPROVED:
        problem = gateway.carry_out_approved(origin="cli", actor=actor()).get(approval.number, "")
    gateway.sign()
    gateway.wake()
    if problem:
        raise CommandError(f"{approval.number} is approved, and could not be carried out: {problem}")
    if approval.state is ApprovalState.OPEN:
        screen.out.print("One more person must sign: nothing has changed yet.")
    elif approval.subject in LASTING:
        screen.done(f"{approval.number} is approved: what is due goes with the next purge")
    else:
        screen.done(f"{approval.number} is approved and carried out: {WORDS[approval.subject]}")


def _drop(gateway: Gateway, approval: Approval) -> None:
    with gateway.store.write() as conn:
        drop_request(conn, approval.number, actor=actor(), now=gateway.clock.now(), node=gateway.node)
    gateway.sign()
    screen.done(f"{approval.number} is taken back: nothing has changed by it")


def _known(gateway: Gateway, number: str) -> Approval:
    with gateway.store.read() as conn:
        found = approvals.get(conn, number)
    if found is None:
        raise CommandError(f"there is no request {number}: gateway retention approve lists the open ones")
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise CommandError(f"{path} can't be read: {exc.strerror}") from exc


def _table(found: Sequence[Approval]) -> Table:
    made = screen.table("request", "asks", "of", "asked", "last day", "signed by")
    for each in found:
        state = "[yellow]approved, not done yet[/]" if each.state is ApprovalState.APPROVED else ""
        signed = ", ".join(escape(one.principal) for one in each.signatures)
        made.add_row(
            each.number,
            WORDS[each.subject],
            escape(each.object_id),
            screen.moment(each.asked_at),
            "" if each.open_until is None else str(each.open_until),
            state or signed or "[dim]nobody[/]",
        )
    return made


def remarks(seen: Consent) -> Iterator[str]:
    """What waits for two people, in lines for a terminal."""
    if seen.clock:
        yield f"[bold red]the clock[/]: {escape(seen.clock)}"
    for each in seen.overdue:
        count = screen.counted(sum(each.counts.values()), "record")
        yield f"[bold red]{each.municipality}: {count} overdue[/], not approved and out of sight"
    for request in seen.to_sign:
        signed = screen.counted(len(request.signatures), "signature")
        yield f"[yellow]{request.number}[/] asks {WORDS[request.subject]} ({escape(request.object_id)}), {signed}"
    if seen.to_sign:
        yield "[cyan]gateway retention approve[/]"


def _signed_by(approval: Approval) -> str:
    names = ", ".join(escape(each.principal) for each in approval.signatures)
    return f"Signed by {names}." if names else "Nobody signed yet."


def _json(approval: Approval) -> dict[str, object]:
    return {
        "number": approval.number,
        "subject": approval.subject,
        "object": approval.object_id,
        "municipality": approval.municipality or None,
        "state": approval.state,
        "asked_at": screen.instant(approval.asked_at),
        "asked_by": approval.asked_by,
        "through": approval.through and approval.through.isoformat(),
        "open_until": approval.open_until and approval.open_until.isoformat(),
        "detail": dict(approval.detail),
        "signatures": [
            {"principal": each.principal, "key": each.fingerprint, "signed_at": screen.instant(each.at)}
            for each in approval.signatures
        ],
        "text": approval.text.decode(),
    }
