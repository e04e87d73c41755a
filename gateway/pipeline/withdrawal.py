"""All signals of a delivery withdrawn: a file that should not have come (spec 1, When something went wrong)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.codes import StatusCode
from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Box
from gateway.domain.retention import dispatch_due
from gateway.errors import CommandError, KeyMissing, VaultError
from gateway.files import names
from gateway.files.status import StatusRow
from gateway.files.withdrawal import WithdrawalNote, render_withdrawal
from gateway.pipeline.context import Context
from gateway.pipeline.deliveries import INSTEAD, open_name, sentence, unknown
from gateway.pipeline.outgoing import OutgoingFile, seal_file, store_files
from gateway.pipeline.removing import RemovalKind, keep_signals
from gateway.pipeline.sealing import Opener
from gateway.pipeline.statuses import next_status_number, status_file, use_status_number
from gateway.pipeline.touching import mark_urgent, touch
from gateway.store import Connection, history, queue, signals
from gateway.store.queue import Decidable
from gateway.store.signals import Version

_log = logs.get("withdrawal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """What a withdrawal came to; the municipalities are those that must be told."""

    signals: int
    municipalities: tuple[str, ...]


def withdraw(context: Context, delivery_id: str, reason: str, *, actor: str) -> Withdrawn:
    """Withdraw every signal whose version in force came in a delivery; no earlier version returns.

    Its sender gets a note and a D52 for each; the municipalities are told by the publication that follows. The
    reason is a person's text, which may name one: it is kept in the sealed note, and nowhere else.

    Raises:
        CommandError: it was not processed, nothing of it is in force, or the reason can't be told.
    """
    told = sentence(reason)
    today = local_day(context.clock.now())
    with context.store.exclusive():
        with context.store.read() as conn:
            delivery = _processed(conn, delivery_id)
            versions = history.in_force_of(conn, delivery_id, today)
            if not versions:
                raise CommandError(
                    f"{delivery_id} has no signal in force: all were withdrawn, changed or replaced since, "
                    "or it never had one"
                )
            name = open_name(context, conn, delivery)
            rows = _rows(context, conn, versions, today)
        files = _files(context, delivery, versions, rows, name=name, reason=told)
        touch(context, versions)
        _commit(context, delivery, versions, files, actor)
        context.write_removals()
    told_to = sorted({each.municipality for each in versions if each.passed_on_at is not None})
    _log.info(
        "delivery.withdrawn", delivery_id=delivery_id, partner_id=delivery.partner_id, count=len(versions)
    )
    return Withdrawn(signals=len(versions), municipalities=tuple(told_to))


def _processed(conn: Connection, delivery_id: str) -> Decidable:
    delivery = queue.get_in(conn, delivery_id, DeliveryState.PROCESSED)
    if delivery is None:
        state = queue.state_of(conn, delivery_id)
        if state is None:
            raise unknown(delivery_id)
        raise CommandError(
            f"{delivery_id} is {state.upper()}, and only a PROCESSED one can be withdrawn: {INSTEAD[state]}"
        )
    return delivery


def _rows(context: Context, conn: Connection, versions: Sequence[Version], today: date) -> list[StatusRow]:
    """D52 for each signal whose contents are held: nothing else says which it was."""
    opener = Opener(context, conn)
    found = []
    for signal in signals.sealed(conn, (each.id for each in versions)):
        try:
            contents = opener.open(signal)
        except (KeyMissing, VaultError):  # it is withdrawn all the same
            continue
        if contents:
            found.append(
                StatusRow(
                    signal_id=str(contents["signaal_id"]),
                    customer_number=str(contents["klantnummer"]),
                    code=StatusCode.WITHDRAWN,
                    municipality=signal.municipality,
                    on=today,
                )
            )
    return found


def _files(
    context: Context,
    delivery: Decidable,
    versions: Sequence[Version],
    rows: Sequence[StatusRow],
    *,
    name: str,
    reason: str,
) -> list[OutgoingFile]:
    """The statuses and the note, sealed and not yet visible."""
    due_on = min(each.due_on for each in versions)
    files = []
    if rows:
        number = next_status_number(context, delivery.partner_id)
        files.append(
            status_file(
                *(context, delivery.partner_id, number, rows),
                signals_due_on=due_on,
                contents={delivery.id: len(rows)},
            )
        )
    note = WithdrawalNote(
        delivery_id=delivery.id,
        name=name,
        received_at=delivery.received_at,
        withdrawn_at=context.clock.now(),
        reason=reason,
        signals=len(versions),
        unnamed=len(versions) - len(rows),
        status_file=files[0].name if files else "",
    )
    return [
        *files,
        seal_file(
            context,
            (render_withdrawal(note),),
            partner_id=delivery.partner_id,
            box=Box.RETURNS,
            name=names.withdrawal_name(delivery.id),
            kind=DispatchKind.WITHDRAWAL,
            due_on=dispatch_due(context.clock.now(), context.terms, due_on),
            delivery_id=delivery.id,
        ),
    ]


def _commit(
    context: Context,
    delivery: Decidable,
    versions: Sequence[Version],
    files: Sequence[OutgoingFile],
    actor: str,
) -> None:
    """One transaction makes all of it true."""
    now = context.clock.now()
    with context.store.write() as conn:
        history.withdraw(conn, delivery.id, local_day(now))
        keep_signals(context, conn, RemovalKind.WITHDRAWAL, versions)
        mark_urgent(context, conn)
        if any(file.kind is DispatchKind.SIGNAL_STATUS for file in files):
            use_status_number(conn, delivery.partner_id)
        store_files(context, conn, files, now)
        record(
            conn,
            action="delivery.withdrawn",
            object_id=delivery.id,
            origin="cli",
            actor=actor,
            at=now,
            node=context.node,
            detail={"signals": len(versions)},
        )
