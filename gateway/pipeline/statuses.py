"""Signaalstatus: what became of a creditor's signals, in a numbered file (spec 2, For a creditor)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from gateway.clock import local_day
from gateway.domain.codes import StatusCode
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Box
from gateway.domain.retention import dispatch_due
from gateway.files import names
from gateway.files.status import StatusRow, render_status
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile, seal_file
from gateway.pipeline.sealing import Opener
from gateway.pipeline.tally import Tally
from gateway.store import Connection, outgoing, signals
from gateway.store.queue import Claimed, Decidable


class Told(NamedTuple):
    """What a creditor is told of a signal; its due day, and the delivery that its version in force came in."""

    row: StatusRow
    due_on: date
    delivery_id: str


def status_of_delivery(context: Context, delivery: Claimed | Decidable, tally: Tally) -> list[OutgoingFile]:
    """The statuses that a file changed at once, sealed and not yet visible."""
    ended = _ended(context, tally)
    statuses = [*tally.statuses, *(told.row for told in ended)]
    if not statuses:
        return []
    due_on = min((tally.due_on, *(told.due_on for told in ended)))
    contents = Counter(told.delivery_id for told in ended)
    contents[delivery.id] += len(tally.statuses)
    number = next_status_number(context, delivery.partner_id)
    return [
        status_file(context, delivery.partner_id, number, statuses, signals_due_on=due_on, contents=+contents)
    ]


def status_file(
    context: Context,
    partner_id: str,
    number: int,
    rows: Sequence[StatusRow],
    *,
    signals_due_on: date,
    contents: Mapping[str, int],
) -> OutgoingFile:
    """A signaalstatus file under a number of the creditor's, which is yet to be used up.

    `signals_due_on` is the earliest due day of the signals that it names, `contents` how many of them came in
    each delivery.
    """
    now = context.clock.now()
    return seal_file(
        context,
        render_status(rows),
        partner_id=partner_id,
        box=Box.RETURNS,
        name=names.status_name(local_day(now), number),
        kind=DispatchKind.SIGNAL_STATUS,
        due_on=dispatch_due(now, context.terms, signals_due_on),
        contents=contents,
    )


def next_status_number(context: Context, partner_id: str) -> int:
    """The creditor's next number; `use_status_number` uses it up."""
    with context.store.read() as conn:
        return outgoing.last_number(conn, status_numbers_of(partner_id)) + 1


def use_status_number(conn: Connection, partner_id: str) -> None:
    """The creditor's next number is used, with the transaction that makes its file visible."""
    name = status_numbers_of(partner_id)
    outgoing.use_number(conn, name, outgoing.last_number(conn, name) + 1)


def _ended(context: Context, tally: Tally) -> list[Told]:
    """D51 and D52: signals that this file ended, named from their sealed contents."""
    told: list[Told] = []
    today = local_day(context.clock.now())
    with context.store.read() as conn:
        opener = Opener(context, conn)
        for ids, code in (
            (dict.fromkeys(tally.superseded_ids, ""), StatusCode.SUPERSEDED),
            (tally.withdrawn_ids, StatusCode.WITHDRAWN),
        ):
            for signal in signals.sealed(conn, ids):
                contents = opener.open(signal)
                if not (
                    ids[signal.id] or contents
                ):  # an excluded one, whose contents are gone: nothing names it
                    continue
                row = StatusRow(
                    signal_id=ids[signal.id] or str(contents.get("signaal_id", "")),
                    customer_number=str(contents.get("klantnummer", "")),
                    code=code,
                    municipality=signal.municipality,
                    on=today,
                )
                told.append(Told(row, signal.due_on, signal.delivery_id))
    return told


def status_numbers_of(partner_id: str) -> str:
    """The name of the running number of a creditor's signaalstatus files."""
    return f"signaalstatus/{partner_id}"
