"""Receipts: what became of an upload, in both forms, for its sender (spec 2, For a creditor)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Box
from gateway.domain.retention import dispatch_due
from gateway.files import names
from gateway.files.receipt import Receipt, render_receipt_csv, render_receipt_json
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile, seal_file


def receipt_files(
    context: Context, partner_id: str, receipt: Receipt, signals_due_on: date | None = None
) -> list[OutgoingFile]:
    """A receipt in both its forms, sealed and not yet visible; it warns of the sender's keys that end soon.

    `signals_due_on` is the earliest due day of the signals that it is about.
    """
    receipt = replace(receipt, ending_keys=_ending_keys(context, partner_id))
    csv_name, json_name = names.receipt_names(receipt.delivery_id)
    due_on = dispatch_due(context.clock.now(), context.terms, signals_due_on)
    csv = seal_file(
        context,
        render_receipt_csv(receipt),
        partner_id=partner_id,
        box=Box.RETURNS,
        name=csv_name,
        kind=DispatchKind.RECEIPT,
        due_on=due_on,
        delivery_id=receipt.delivery_id,
    )
    json = seal_file(
        context,
        render_receipt_json(receipt),
        partner_id=partner_id,
        box=Box.RETURNS,
        name=json_name,
        kind=DispatchKind.RECEIPT,
        due_on=due_on,
        delivery_id=receipt.delivery_id,
        parent_id=csv.id,
    )
    return [csv, json]


def _ending_keys(context: Context, partner_id: str) -> list[tuple[date, str]]:
    partner = context.partners.get(partner_id)  # gone, when an administrator refuses its file
    keys = partner.ending_keys(context.clock.now()) if partner else ()
    return [(key.last_day, key.fingerprint) for key in keys if key.last_day is not None]
