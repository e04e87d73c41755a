"""`aanleveroverzicht_<gemeentecode>_<YYYY-MM>.csv`, every month: who delivered what to a municipality (spec 2).

It names the creditors that had signals for the municipality in that month or in the months that a signal is held before.
What can't be known to be of the municipality is not told: rejected rows count only where all that a file brought is its.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from itertools import groupby

from gateway.clock import end_of_day, local_day, month_of, shift_month
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Box
from gateway.domain.retention import dispatch_due
from gateway.files.delivery_report import DeliveryLine, render_delivery_report
from gateway.files.names import delivery_report_name
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile, seal_file, seal_manifest
from gateway.pipeline.regular import Regular, send_each
from gateway.store import Connection, outgoing, shares
from gateway.store.shares import Share


def send_delivery_reports(context: Context) -> int:
    """The reports of the months that are over, for each partner that serves a municipality; how many were made.

    The first time that is the last month; months that were missed are made up for, as many as a signal is held.
    """
    over = shift_month(month_of(local_day(context.clock.now())), -1)
    files: list[Regular] = []
    for partner in context.partners.values():
        for municipality in partner.serves:
            files += [
                _regular(context, partner.id, municipality, month)
                for month in _missing(context, _regular(context, partner.id, municipality, over), over)
            ]
    return send_each(context, files)


def _regular(context: Context, partner_id: str, municipality: str, month: str) -> Regular:
    return Regular(
        kind=DispatchKind.DELIVERY_REPORT,
        partner_id=partner_id,
        municipality=municipality,
        period=_number(month),
        seal=partial(_seal, context, partner_id, municipality, month),
    )


def _missing(context: Context, report: Regular, over: str) -> list[str]:
    with context.store.read() as conn:
        last = outgoing.last_number(conn, report.counter)
    if not last:
        return [over]
    months = [shift_month(over, -back) for back in range(context.terms.signals_months)]
    return sorted(month for month in months if _number(month) > last)


def _seal(
    context: Context, partner_id: str, municipality: str, month: str, conn: Connection
) -> Sequence[OutgoingFile]:
    lines = _lines(context, conn, municipality, month)
    if not lines:
        return ()
    now = context.clock.now()
    file = seal_file(
        context,
        render_delivery_report(lines),
        partner_id=partner_id,
        box=Box.OUTBOX,
        name=delivery_report_name(municipality, month),
        kind=DispatchKind.DELIVERY_REPORT,
        due_on=dispatch_due(now, context.terms),
        municipality=municipality,
    )
    return file, seal_manifest(context, file, rows=len(lines))


def _lines(context: Context, conn: Connection, municipality: str, month: str) -> list[DeliveryLine]:
    since, until = _start_of(month), _start_of(shift_month(month, 1))
    known = shares.creditors(
        conn, municipality, _start_of(shift_month(month, -context.terms.signals_months)), until
    )
    found = shares.received(conn, municipality, known, since, until)
    of_creditor: dict[str, Sequence[Share | None]] = {
        name: list(some) for name, some in groupby(found, key=lambda each: each.creditor)
    }
    return [
        _line(context, municipality, month, creditor, share)
        for creditor in known
        for share in of_creditor.get(creditor, (None,))
    ]


def _line(
    context: Context, municipality: str, month: str, creditor: str, share: Share | None
) -> DeliveryLine:
    partner = context.partners.get(creditor)
    is_own = share is not None and 0 < share.own == share.all
    return DeliveryLine(
        municipality=municipality,
        month=month,
        partner_id=creditor,
        partner_name=partner.name if partner else creditor,
        received_on=local_day(share.received_at) if share else None,
        accepted=share.own if share else 0,
        rejected=share.rejected if share and is_own else None,
        expected_by=partner.expected_in(month) if partner else None,
    )


def _start_of(month: str) -> datetime:
    return end_of_day(date.fromisoformat(f"{month}-01") - timedelta(days=1))


def _number(month: str) -> int:
    return int(month.replace("-", ""))
