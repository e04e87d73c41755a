"""INZAGE: all that is held on a person within the municipalities of a partner, as a page for it (spec 2)."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, datetime, timedelta

from gateway.clock import local_day
from gateway.domain.delivery import Kind
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Box
from gateway.domain.retention import dispatch_due
from gateway.domain.signal import SignalState
from gateway.files import names
from gateway.files.accessfile import (
    Access,
    AccessAnswer,
    AccessDispatch,
    AccessFile,
    AccessListing,
    AccessSignal,
    render_access,
)
from gateway.files.manifest import render_manifest
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile, seal_file
from gateway.pipeline.persons import Asked, ListedPerson, files_about, municipality, opened
from gateway.pipeline.sealing import Opener
from gateway.store import Connection, holds, persons, signals
from gateway.store.persons import Held
from gateway.store.signals import Sealed


def access_files(
    context: Context,
    conn: Connection,
    asked: Asked,
    rows: list[Held],
    listed: list[ListedPerson],
    *,
    number: str,
    asked_at: datetime,
) -> list[OutgoingFile]:
    """`inzage_<verzoek_id>.html` and its manifest, sealed and not yet visible; `rows` and `listed` are about the person."""
    partner, now = asked.partner, context.clock.now()
    access = Access(
        number=number,
        asked_at=asked_at,
        made_at=now,
        municipality_name=partner.name,
        subject=asked.subject,
        signals=_signals(context, conn, rows),
        received=_received(context, conn, asked, rows),
        sent=_sent(context, conn, asked, rows),
        listings=[_listing(context, each) for each in listed],
    )
    code = partner.serves[0] if len(partner.serves) == 1 else ""
    due_on = _due_on(context, conn, access, rows)
    file = seal_file(
        context,
        (render_access(access),),
        partner_id=partner.id,
        box=Box.OUTBOX,
        name=names.access_name(number),
        kind=DispatchKind.ACCESS,
        due_on=due_on,
        municipality=code,
        contents=Counter(row.delivery_id for row in rows),
    )
    manifest = render_manifest(
        name=file.name,
        size=file.size_bytes,
        sha256=file.sha256,
        rows=len(access.signals),
        municipality=code,
        created_at=now,
        expires_on=due_on,
    )
    return [
        file,
        seal_file(
            context,
            (manifest,),
            partner_id=partner.id,
            box=Box.OUTBOX,
            name=names.manifest_name(file.name),
            kind=DispatchKind.MANIFEST,
            due_on=due_on,
            municipality=code,
            parent_id=file.id,
        ),
    ]


def _due_on(context: Context, conn: Connection, access: Access, rows: list[Held]) -> date:
    """The earliest day on which something of what it tells goes; what is overdue goes tonight.

    What a hold keeps past its day would leave nobody the time to collect it: then the page stays for the days of a
    received file, and goes with the lift (`gateway.retention.holds.lift`).
    """
    today = local_day(context.clock.now())
    days = [
        *(each.due_on for each in access.signals),
        *(each.due_on for each in access.received if each.rows),
        *(each.due_on for each in access.listings),
    ]
    overdue = {row.delivery_id for row in rows if row.due_on < today}
    if overdue and overdue <= holds.kept(conn, overdue):
        days = [day for day in days if day >= today] + [today + timedelta(days=context.terms.raw_days)]
    return max(dispatch_due(context.clock.now(), context.terms, min(days, default=None)), today)


def _signals(context: Context, conn: Connection, rows: list[Held]) -> list[AccessSignal]:
    opener = Opener(context, conn)
    sealed = {signal.id: signal for signal in signals.sealed(conn, (row.id for row in rows))}
    answers: dict[str, list[AccessAnswer]] = defaultdict(list)
    for each in persons.answers_on(conn, {row.number for row in rows}):
        answers[each.signal_number].append(
            AccessAnswer(
                partner_name=_name(context, each.partner_id),
                outcome=each.outcome,
                on=each.on,
                contact=each.contact,
                reached=each.reached,
                consents=each.consents,
                suspend_until=each.suspend_until,
            )
        )
    return [_signal(context, opener, row, sealed[row.id], answers[row.number]) for row in rows]


def _signal(
    context: Context, opener: Opener, row: Held, signal: Sealed, answers: list[AccessAnswer]
) -> AccessSignal:
    fields = opened(opener, signal)
    return AccessSignal(
        number=row.number,
        creditor_name=_name(context, signal.creditor),
        municipality=context.policy(row.municipality).name or row.municipality,
        sector=signal.sector,
        signal_type=signal.signal_type,
        is_crisis=signal.is_crisis,
        amount_cents=signal.amount_cents,
        signalled_on=signal.signalled_on,
        since=signal.since,
        supply_ends_on=signal.supply_ends_on,
        received_at=signal.received_at,
        passed_on_at=signal.passed_on_at,
        state=SignalState(row.state),
        is_current=row.in_force,
        month=row.month,
        melding_id=row.melding_id,
        klasse=row.klasse,
        due_on=min(row.due_on, row.contents_due_on) if fields else row.due_on,
        fields=fields,
        answers=answers if row.in_force else (),
    )


def _received(context: Context, conn: Connection, asked: Asked, rows: list[Held]) -> list[AccessFile]:
    told = {(each.delivery_id, each.line) for each in signals.sealed(conn, (row.id for row in rows))}
    deliveries = {delivery_id for delivery_id, _ in told}
    numbers = {row.number for row in rows}
    found = []
    for named in files_about(context, conn, asked, numbers, deliveries):
        is_own = named.raw.partner_id == asked.partner.id
        others = [
            (row.line, row.cells)
            for row in named.rows
            if not is_own
            and (named.raw.id, row.line) not in told
            # what may lie elsewhere is not this municipality's to see
            and municipality(context, row) in asked.within
        ]
        if is_own or others or named.raw.id in deliveries:
            found.append(
                AccessFile(
                    delivery_id=named.raw.id,
                    partner_name=_name(context, named.raw.partner_id),
                    received_at=named.raw.received_at,
                    due_on=named.raw.raw_due_on,
                    rows=others,
                )
            )
    return found


def _listing(context: Context, listed: ListedPerson) -> AccessListing:
    row = listed.row
    return AccessListing(
        kind=Kind(row.kind),
        partner_name=_name(context, row.partner_id),
        municipality=context.policy(row.municipality).name or row.municipality,
        received_at=row.received_at,
        until=row.until,
        is_current=row.in_force,
        due_on=row.due_on,
        fields=listed.fields,
    )


def _sent(context: Context, conn: Connection, asked: Asked, rows: list[Held]) -> list[AccessDispatch]:
    """Files of other municipalities are not this one's to see."""
    return [
        AccessDispatch(
            kind=DispatchKind(each.kind),
            partner_name=_name(context, each.partner_id),
            made_at=each.created_at,
            collected_at=each.collected_at or each.removed_at,
            due_on=each.due_on,
        )
        for each in persons.outgoing_with(conn, {row.delivery_id for row in rows})
        if not each.municipality or each.municipality in asked.within
    ]


def _name(context: Context, partner_id: str) -> str:
    partner = context.partners.get(partner_id)
    return partner.name if partner else partner_id
