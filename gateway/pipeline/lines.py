"""What a partner reads of a melding: its lines in the file of meldingen (spec 2, For a municipality)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from gateway.clock import local_day
from gateway.domain.melding import Klasse, MeldingContent
from gateway.domain.policy import Policy
from gateway.domain.signal import SignalType
from gateway.files.outbox import OutboxMelding, OutboxRow, OutboxSignal
from gateway.matching.deadline import FeedbackDeadlines, feedback_deadlines, offer_deadline
from gateway.matching.rank import Place
from gateway.pipeline.context import Context
from gateway.pipeline.sealing import Opened
from gateway.store.meldingen import Melding
from gateway.store.signals import Sealed


class Line(NamedTuple):
    """A melding as one publication tells one partner of it, under a version; without content it lapses there."""

    melding: Melding
    version: int
    content: MeldingContent | None


def rows(
    context: Context, policy: Policy, line: Line, place: Place | None, opened: Opened, *, today: date
) -> Iterator[OutboxRow]:
    """The rows of a melding, by receipt of its signals.

    Args:
        context: the gateway.
        policy: of its municipality.
        line: what is told.
        place: its rank and proposed action; None when it lapses.
        opened: holds all its signals.
        today: the day on which it is told.
    """
    melding, version, content = line
    if content is None or place is None:
        yield OutboxRow(
            OutboxMelding(melding.id, version, melding.municipality, melding.month, Klasse.LAPSED), None
        )
        return
    # by place, here and below: names cost as much as all else that is done for a line
    told = OutboxMelding(
        melding.id,
        version,
        melding.municipality,
        melding.month,
        content.klasse,
        content.rules,
        place.rank,
        place.action,
        content.signal_count,
        content.creditor_count,
        len(content.sectors),
        content.total_cents,
        content.consecutive,
        content.bridging,
        content.several_addresses,
        offer_by(policy, melding, content, today),
    )
    by = feedback_deadlines(content.first_received_at)
    for ref in sorted(content.refs, key=lambda ref: (opened.signals[ref].first_received_at, ref)):
        yield OutboxRow(
            told, _signal(context, opened.signals[ref], opened.fields[ref], ref in content.repeated, by)
        )


def offer_by(policy: Policy, melding: Melding, content: MeldingContent, today: date) -> date:
    """The wire's `uiterlijk_aanbod` of a melding that is published today."""
    return offer_deadline(
        content,
        policy.actions.deadline_from,
        today=today,
        first_published_on=local_day(melding.first_published_at) if melding.first_published_at else None,
        crisis_published_on=local_day(melding.crisis_at) if melding.crisis_at else None,
    )


def _signal(
    context: Context, signal: Sealed, sealed: Mapping[str, Any], is_repeated: bool, by: FeedbackDeadlines
) -> OutboxSignal:
    partner = context.partners.get(signal.creditor)
    return OutboxSignal(
        signal.number,
        signal.creditor,
        partner.name if partner else signal.creditor,
        signal.sector,
        sealed.get("product", ""),
        SignalType(signal.signal_type),
        signal.is_crisis,
        signal.signalled_on,
        local_day(signal.received_at),
        signal.amount_cents,
        _day(sealed.get("ontstaansdatum")),
        sealed.get("dagen_achterstand"),
        is_repeated,
        signal.warm_handover,
        sealed["klantnummer"],
        sealed.get("voorletters", ""),
        sealed.get("voorvoegsel", ""),
        sealed["achternaam"],
        _day(sealed.get("geboortedatum")),
        sealed.get("straatnaam", ""),
        sealed["huisnummer"],
        sealed.get("huisletter", ""),
        sealed.get("huisnummertoevoeging", ""),
        sealed["postcode"],
        sealed.get("woonplaats", ""),
        sealed.get("telefoonnummer", ""),
        sealed.get("emailadres", ""),
        signal.supply_ends_on,
        by.respond_by,
        by.finish_by,
        signal.due_on,
    )


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if text else None
