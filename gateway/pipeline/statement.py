"""`stand_<YYYY-MM>.csv`, every month: each creditor's live signals with their last codes (spec 2, For a creditor).

Live are signals in force that did not end and whose contents are held. Of a D30, D40 or D41 whose contents are gone
nobody can say any more which signal it was: it stands in the signaalstatus of its day. What is told of an answer is what
was told last, as far as the policy in force allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from itertools import chain

from gateway.clock import local_day, month_of
from gateway.domain.codes import StatusCode
from gateway.domain.dispatch import DispatchKind
from gateway.domain.feedback import NONE_YET, SILENT_DAYS, Answer, News, last_told
from gateway.domain.partner import Box, Role
from gateway.domain.retention import dispatch_due, signal_due
from gateway.domain.signal import SignalState
from gateway.files.names import statement_name
from gateway.files.statement import StatementRow, render_statement
from gateway.pipeline.context import Context
from gateway.pipeline.feedback import SILENCE
from gateway.pipeline.outgoing import Contents, OutgoingFile, seal_file
from gateway.pipeline.regular import Regular, send_each
from gateway.pipeline.sealing import Opener
from gateway.store import Connection, answers, outgoing, queue, signals
from gateway.store.places import chunks
from gateway.store.signals import Sealed

#: Signals that are opened at a time.
BATCH_ROWS = 1_000

_UNPLACED = {
    SignalState.EXCLUDED: StatusCode.NOT_PASSED_ON,
    SignalState.NOT_ROUTABLE: StatusCode.NOT_ROUTABLE,
    SignalState.NOT_CONNECTED: StatusCode.NOT_CONNECTED,
}


def send_statements(context: Context) -> int:
    """Each creditor's stand of this month, if it has live signals and no stand yet; how many were made."""
    month = month_of(local_day(context.clock.now()))
    return send_each(
        context,
        [
            Regular(
                kind=DispatchKind.STATEMENT,
                partner_id=partner.id,
                period=int(month.replace("-", "")),
                seal=partial(_seal, context, partner.id, month),
            )
            for partner in context.partners.values()
            if partner.role is Role.CREDITOR
        ],
    )


def _seal(context: Context, creditor: str, month: str, conn: Connection) -> Sequence[OutgoingFile]:
    contents = Contents()
    rows = _rows(context, conn, creditor, contents)
    first = next(rows, None)
    if first is None:
        return ()
    file = seal_file(
        context,
        render_statement(chain((first,), rows)),
        partner_id=creditor,
        box=Box.RETURNS,
        name=statement_name(month),
        kind=DispatchKind.STATEMENT,
        due_on=dispatch_due(context.clock.now(), context.terms),
    )
    return (contents.of(context, file),)


def _rows(context: Context, conn: Connection, creditor: str, contents: Contents) -> Iterator[StatementRow]:
    """One delivery after the other, so that few data keys are at hand at a time."""
    today = local_day(context.clock.now())
    last_silence = outgoing.last_number(conn, SILENCE)
    told_until = date.fromordinal(last_silence) if last_silence else date.min
    for delivery_id, processed_at in queue.processed(conn, creditor):
        opener = Opener(context, conn)
        for batch in chunks(signals.live(conn, delivery_id, today), BATCH_ROWS):
            opener.load(signal.data_key_id for signal in batch)
            answered = answers.of_signals(conn, (signal.number for signal in batch))
            for signal in batch:
                sealed = opener.open(signal)
                code, on = _status(signal, processed_at)
                contents.add(delivery_id, signal.due_on)
                yield StatementRow(
                    signal_id=sealed["signaal_id"],
                    customer_number=sealed["klantnummer"],
                    code=code,
                    municipality=signal.municipality,
                    on=on,
                    feedback=_feedback(context, signal, answered.get(signal.number, ()), told_until),
                )


def _status(signal: Sealed, processed_at: datetime) -> tuple[StatusCode | None, date | None]:
    """The last code that was told of a signal, and when; None while it waits."""
    if code := _UNPLACED.get(SignalState(signal.state)):
        return code, local_day(processed_at)
    if signal.passed_on_at is None:
        return None, None
    code = StatusCode.PASSED_ON_AGAIN if signal.reported_before else StatusCode.PASSED_ON
    return code, local_day(signal.passed_on_at)


def _feedback(context: Context, signal: Sealed, answered: Sequence[Answer], told_until: date) -> News | None:
    """What was told last of an answer, or that there was none on day 14 or 28."""
    if told := last_told(answered, context.feedback_policy):
        return told
    term = context.term_months(signal.municipality)
    # an answer goes with the version that it was given on: that of an older one may be gone
    is_sure = signal_due(signal.first_received_at, term) >= local_day(context.clock.now())
    if signal.passed_on_at is None or not is_sure:
        return None
    days = [local_day(signal.passed_on_at) + timedelta(days=each) for each in SILENT_DAYS]
    return max(
        (News(NONE_YET, each) for each in days if each <= told_until), key=lambda news: news.on, default=None
    )
