"""What waits for two people: asked in time, handed out to sign, and carried out (spec 4, Approvals).

tend        requests that no one can sign any more end; those that are needed are made; municipalities get theirs
carry_out   what two people approved is done: a hold, a lift, a key, a clock
waiting     of which municipality what is due after which day waits
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256

from gateway import logs
from gateway.audit.log import record
from gateway.clock import Clock, add_months, end_of_day, local_day
from gateway.domain.approval import (
    ASKED,
    LASTING,
    Approval,
    ApprovalMode,
    ApprovalState,
    Subject,
    approved_through,
    last_day,
    months_to_ask,
    standing_to_ask,
)
from gateway.domain.certificate import CERTIFICATE_MONTHS, Mandate
from gateway.domain.dispatch import DispatchKind, Letter
from gateway.domain.partner import Box
from gateway.domain.retention import Terms, dispatch_due
from gateway.errors import CommandError, GatewayError, Overtaken
from gateway.files.approval import request_name
from gateway.files.manifest import render_manifest
from gateway.files.names import manifest_name
from gateway.retention.notary import Notary
from gateway.store import Connection, approvals
from gateway.store.engine import Store

_log = logs.get("retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """What of a municipality is due and waits for its approvers: the last approved day, and how much by kind."""

    municipality: str
    through: date
    counts: Mapping[str, int]


def ask(
    conn: Connection,
    subject: Subject,
    *,
    object_id: str,
    detail: Mapping[str, str | int],
    now: datetime,
    actor: str,
    node: str,
    origin: str,
) -> str:
    """Ask two people to approve something, with its audit entry; the number. One that is open already stays."""
    number = approvals.ask(conn, subject, object_id=object_id, detail=detail, now=now, actor=actor)
    asked = approvals.get(conn, number)
    if asked is not None and asked.asked_at == now:
        record(
            conn,
            action="approval.asked",
            object_id=number,
            origin=origin,
            actor=actor,
            at=now,
            node=node,
            detail={"object": object_id, "subject": subject.value, "sha256": sha256(asked.text).hexdigest()},
        )
    return number


def tend(store: Store, notary: Notary, clock: Clock, terms: Terms, *, notice_days: int, node: str) -> None:
    """End what is over, ask what is needed, and lay what was asked in the outbox of whose it is."""
    now = clock.now()
    with store.exclusive():
        with store.write() as conn:
            _end(conn, notary.mandates, now, node)
            kept_from = add_months(local_day(now), -CERTIFICATE_MONTHS)
            approvals.forget(conn, ended_before=end_of_day(kept_from))
            for code, mandate in notary.mandates.items():
                if mandate.approval is not ApprovalMode.MANDATE:
                    _ask_leave(conn, notary, code, now, notice_days=notice_days, node=node)
        _hand_out(store, notary, now, terms)


def drop(conn: Connection, number: str, *, actor: str, now: datetime, node: str) -> None:
    """Take a request back that was not approved.

    Raises:
        CommandError: there is none, or it is not open.
    """
    if not approvals.advance(conn, number, ApprovalState.OPEN, ApprovalState.DROPPED, now):
        raise CommandError(f"{number} is no open request: gateway retention approve lists those")
    record(conn, action="approval.dropped", object_id=number, origin="cli", actor=actor, at=now, node=node)


def carry_out(
    store: Store, clock: Clock, do: Callable[[Approval], None], *, origin: str, actor: str, node: str
) -> dict[str, str]:
    """Do what was approved and is not done; number -> why it could not be done, empty when it is.

    What can never be done any more is dropped; what else fails stays approved, and is tried again by the schedule; an interruption may do it twice, so that what
    it does must bear that.
    """
    if not _to_do(store):
        return {}
    with store.carrying_out():
        # what another process did meanwhile is not in it any more
        return {
            each.number: _carry_out(store, clock, do, each, origin=origin, actor=actor, node=node)
            for each in _to_do(store)
        }


def waiting(conn: Connection, mandates: Mapping[str, Mandate], today: date) -> dict[str, date]:
    """Municipality -> the last due day that its approvers gave leave for; what is due later waits for them."""
    given = approvals.listed(conn, states=(ApprovalState.APPROVED,), subjects=LASTING)
    found = {}
    for code, mandate in mandates.items():
        through = approved_through(mandate.approval, given, code, today)
        if through is not None:
            found[code] = through
    return found


def to_sign(conn: Connection) -> list[Approval]:
    """What two people must still sign, and what they approved and is not carried out; oldest first."""
    given = approvals.listed(conn, states=(ApprovalState.APPROVED,), subjects=set(Subject) - LASTING)
    return sorted([*approvals.listed(conn), *given], key=lambda each: each.number)


def overdue(conn: Connection, through: Mapping[str, date], today: date) -> list[Overdue]:
    """Of which municipalities something is due that its approvers gave no leave for: access to it is blocked."""
    found = []
    for code, last in sorted(through.items()):
        counts = approvals.falling_due(conn, code, after=last, through=today - timedelta(days=1))
        if any(counts.values()):
            found.append(Overdue(municipality=code, through=last, counts=counts))
    return found


def _to_do(store: Store) -> list[Approval]:
    with store.read() as conn:
        return approvals.listed(conn, states=(ApprovalState.APPROVED,), subjects=set(Subject) - LASTING)


def _carry_out(
    store: Store,
    clock: Clock,
    do: Callable[[Approval], None],
    approval: Approval,
    *,
    origin: str,
    actor: str,
    node: str,
) -> str:
    try:
        do(approval)
    except Overtaken as exc:
        with store.write() as conn:
            approvals.advance(
                conn, approval.number, ApprovalState.APPROVED, ApprovalState.DROPPED, clock.now()
            )
            record(
                conn,
                action="approval.dropped",
                object_id=approval.number,
                result="overtaken",
                origin=origin,
                actor=actor,
                at=clock.now(),
                node=node,
            )
        return str(exc)
    except GatewayError as exc:
        _log.error("approval.failed", approval=approval.number, error=str(exc))
        return str(exc)
    with store.write() as conn:
        approvals.advance(conn, approval.number, ApprovalState.APPROVED, ApprovalState.DONE, clock.now())
        record(
            conn,
            action="approval.carried_out",
            object_id=approval.number,
            origin=origin,
            actor=actor,
            at=clock.now(),
            node=node,
            detail={"object": approval.object_id, "subject": approval.subject.value},
        )
    return ""


def _end(conn: Connection, mandates: Mapping[str, Mandate], now: datetime, node: str) -> None:
    """Nobody can sign these any more: their time is over, another says what they say, or nobody is to be asked."""
    today = local_day(now)
    given = approvals.listed(conn, states=(ApprovalState.APPROVED,), subjects=LASTING)
    for each in approvals.listed(conn):
        if each.open_until is not None and each.open_until < today:
            _close(conn, each, ApprovalState.EXPIRED, now, node)
        elif each.subject in LASTING and (
            _is_overtaken(each, given)
            or each.subject is not ASKED.get(mandates.get(each.municipality, Mandate()).approval)
        ):
            _close(conn, each, ApprovalState.DROPPED, now, node)


def drop_others_of_clock(conn: Connection, object_id: str | None, now: datetime, node: str) -> None:
    """What was asked about a jump of the clock other than this one has no sense any more."""
    for each in approvals.listed(conn, subjects=(Subject.CLOCK,)):
        if each.object_id != object_id:
            _close(conn, each, ApprovalState.DROPPED, now, node)


def _close(conn: Connection, asked: Approval, state: ApprovalState, now: datetime, node: str) -> None:
    if approvals.advance(conn, asked.number, ApprovalState.OPEN, state, now):
        record(
            conn,
            action=f"approval.{state}",
            object_id=asked.number,
            origin="schedule",
            actor="gateway",
            at=now,
            node=node,
        )


def _is_overtaken(asked: Approval, given: Iterable[Approval]) -> bool:
    return any(
        (each.subject, each.municipality) == (asked.subject, asked.municipality)
        and (each.through or date.min) >= (asked.through or date.max)
        for each in given
    )


def _ask_leave(
    conn: Connection, notary: Notary, code: str, now: datetime, *, notice_days: int, node: str
) -> None:
    """What a municipality's approvers must be asked in time: each month, or once for a time."""
    mandate, today = notary.mandates[code], local_day(now)
    given = approvals.listed(conn, states=(ApprovalState.APPROVED,), subjects=LASTING)
    subject = ASKED[mandate.approval]
    through = max(
        (each.through or date.min for each in given if (each.subject, each.municipality) == (subject, code)),
        default=date.min,
    )
    whose: dict[str, str | int] = {"municipality": code, "name": notary.names.get(code, code)}
    wanted: list[tuple[str, dict[str, str | int]]] = []
    if subject is Subject.STANDING:
        until = standing_to_ask(through, today, notice_days, mandate.until)
        if until is not None:
            wanted.append((code, {**whose, "until": until.isoformat()}))
    else:
        for month in months_to_ask(through, today, notice_days):
            counts = approvals.falling_due(conn, code, through=last_day(month))
            if any(counts.values()):
                detail = {**whose, "through": last_day(month).isoformat(), **counts}
                wanted.append((f"{code}-{month}", detail))
    for object_id, detail in wanted:
        ask(
            conn,
            subject,
            object_id=object_id,
            detail=detail,
            now=now,
            actor="gateway",
            node=node,
            origin="schedule",
        )


def _hand_out(store: Store, notary: Notary, now: datetime, terms: Terms) -> None:
    """The text of each request of a municipality lies in the outbox of its partner, to be signed."""
    with store.read() as conn:
        new = [
            each
            for each in approvals.listed(conn)
            if each.posted_at is None and each.municipality in notary.served_by
        ]
    if not new:
        return
    store_letters = notary.post(
        [letter for each in new for letter in _letters(each, notary.served_by[each.municipality], now, terms)]
    )
    with store.write() as conn:
        store_letters(conn, now)
        for each in new:
            approvals.mark_posted(conn, each.number, now)


def _letters(approval: Approval, partner_id: str, now: datetime, terms: Terms) -> Iterable[Letter]:
    name, due_on = request_name(approval.number), dispatch_due(now, terms)
    manifest = render_manifest(
        name=name,
        size=len(approval.text),
        sha256=sha256(approval.text).hexdigest(),
        rows=1,
        municipality=approval.municipality,
        created_at=now,
        expires_on=due_on,
    )
    for letter_name, kind, content, parent in (
        (name, DispatchKind.APPROVAL, approval.text, None),
        (manifest_name(name), DispatchKind.MANIFEST, manifest, name),
    ):
        yield Letter(
            partner_id=partner_id,
            box=Box.OUTBOX,
            name=letter_name,
            kind=kind,
            content=content,
            due_on=due_on,
            municipality=approval.municipality,
            belongs_to=parent,
        )


def jump_id(jumped_to: datetime) -> str:
    """What the request about a jump of the clock is about."""
    return f"clock-{jumped_to:%Y%m%dT%H%M%S}"
