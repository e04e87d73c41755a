"""What a partner reads of a melding: its lines in the file of meldingen (spec 2, For a municipality)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple

from gateway.clock import local_day
from gateway.domain.melding import Klasse, MeldingContent
from gateway.domain.policy import Policy
from gateway.domain.signal import SignalType
from gateway.files.outbox import OutboxMelding, OutboxRow, OutboxSignal
from gateway.matching.deadline import feedback_deadlines, offer_deadline
from gateway.matching.rank import Place
from gateway.pipeline.context import Context
from gateway.pipeline.sealing import Opened
from gateway.store.meldingen import Melding


class Line(NamedTuple):
    """A melding as one publication tells one partner of it, under a version; without content it lapses there."""

    melding: Melding
    version: int
    content: MeldingContent | None


def rows(
    context: Context, policy: Policy, line: Line, place: Place | None, opened: Opened
) -> Iterator[OutboxRow]:
    """The rows of a melding, by receipt of its signals.

    Args:
        context: the gateway.
        policy: of its municipality.
        line: what is told.
        place: its rank and proposed action; None when it lapses.
        opened: holds all its signals.
    """
    melding, version, content = line
    if content is None or place is None:
        yield OutboxRow(
            melding=OutboxMelding(
                melding_id=melding.id,
                version=version,
                municipality=melding.municipality,
                month=melding.month,
                klasse=Klasse.LAPSED,
            ),
            signal=None,
        )
        return
    told = OutboxMelding(
        melding_id=melding.id,
        version=version,
        municipality=melding.municipality,
        month=melding.month,
        klasse=content.klasse,
        rules=content.rules,
        rank=place.rank,
        action=place.action,
        signal_count=content.signal_count,
        creditor_count=content.creditor_count,
        sector_count=len(content.sectors),
        total_cents=content.total_cents,
        consecutive=content.consecutive,
        bridging=content.bridging,
        several_addresses=content.several_addresses,
        offer_by=offer_by(context, policy, melding, content),
    )
    for ref in sorted(content.refs, key=lambda ref: (opened.signals[ref].first_received_at, ref)):
        yield OutboxRow(melding=told, signal=_signal(context, content, ref, opened))


def offer_by(context: Context, policy: Policy, melding: Melding, content: MeldingContent) -> date:
    """The wire's `uiterlijk_aanbod` of a melding that is published now."""
    return offer_deadline(
        content,
        policy.actions.deadline_from,
        today=local_day(context.clock.now()),
        first_published_on=local_day(melding.first_published_at) if melding.first_published_at else None,
        crisis_published_on=local_day(melding.crisis_at) if melding.crisis_at else None,
    )


def _signal(context: Context, content: MeldingContent, ref: int, opened: Opened) -> OutboxSignal:
    signal, sealed = opened.signals[ref], opened.fields[ref]
    deadlines = feedback_deadlines(content.first_received_at)
    partner = context.partners.get(signal.creditor)
    return OutboxSignal(
        number=signal.number,
        partner_id=signal.creditor,
        partner_name=partner.name if partner else signal.creditor,
        sector=signal.sector,
        product=sealed.get("product", ""),
        signal_type=SignalType(signal.signal_type),
        is_crisis=signal.is_crisis,
        signalled_on=signal.signalled_on,
        received_on=local_day(signal.received_at),
        amount_cents=signal.amount_cents,
        arrears_since=_day(sealed.get("ontstaansdatum")),
        days_in_arrears=sealed.get("dagen_achterstand"),
        repeated=ref in content.repeated,
        warm_handover=signal.warm_handover,
        customer_number=sealed["klantnummer"],
        initials=sealed.get("voorletters", ""),
        infix=sealed.get("voorvoegsel", ""),
        surname=sealed["achternaam"],
        born_on=_day(sealed.get("geboortedatum")),
        street=sealed.get("straatnaam", ""),
        house_number=sealed["huisnummer"],
        house_letter=sealed.get("huisletter", ""),
        house_number_suffix=sealed.get("huisnummertoevoeging", ""),
        postcode=sealed["postcode"],
        city=sealed.get("woonplaats", ""),
        phone=sealed.get("telefoonnummer", ""),
        email=sealed.get("emailadres", ""),
        supply_ends_on=signal.supply_ends_on,
        feedback_by=deadlines.respond_by,
        finish_by=deadlines.finish_by,
        held_until=signal.due_on,
    )


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if text else None
