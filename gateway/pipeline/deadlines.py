"""`termijnen_<gemeentecode>_<date>.csv`, every week: what a municipality must do by when (spec 2, For a municipality).

It goes to whoever holds the meldingen. Deadlines are those of what was published: the same as in its lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import partial

from gateway.clock import local_day
from gateway.domain.dispatch import DispatchKind
from gateway.domain.feedback import latest
from gateway.domain.melding import Deadline, Klasse
from gateway.domain.partner import Box
from gateway.domain.policy import Policy
from gateway.domain.retention import dispatch_due
from gateway.files.deadlines import DeadlineRow, render_deadlines
from gateway.files.names import deadlines_name
from gateway.matching.deadline import feedback_deadlines, first_unmet, offer_deadline
from gateway.pipeline import snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import Contents, OutgoingFile, seal_file, seal_manifest
from gateway.pipeline.policies import policy_of
from gateway.pipeline.regular import Regular, send_each
from gateway.store import Connection, answers, meldingen, signals
from gateway.store.meldingen import Melding
from gateway.store.places import CHUNK, chunks
from gateway.store.signals import PassedOn


def send_deadlines(context: Context) -> int:
    """The deadlines of today, for each municipality and partner that has something open; how many were made."""
    today = local_day(context.clock.now())
    with context.store.read() as conn:
        holders = meldingen.holders(conn)
    return send_each(
        context,
        [
            Regular(
                kind=DispatchKind.DEADLINES,
                partner_id=holder,
                municipality=municipality,
                period=today.toordinal(),
                seal=partial(_seal, context, holder, municipality, today),
            )
            for municipality, holder in holders
            # who gets nothing of it any more is told no more
            if holder in context.partners and holder in context.recipients(municipality)
        ],
    )


def _seal(
    context: Context, partner_id: str, municipality: str, today: date, conn: Connection
) -> Sequence[OutgoingFile]:
    """As of `today`, also when midnight has passed since: tomorrow's file needs its own name."""
    now = context.clock.now()
    found = list(_open(context, conn, meldingen.held(conn, municipality, partner_id), today))
    if not found:
        return ()
    urgency: dict[str, int] = {}
    for row, _ in found:
        urgency[row.melding_id] = min(row.days_left, urgency.get(row.melding_id, row.days_left))
    found.sort(key=lambda each: (urgency[each[0].melding_id], each[0].melding_id))
    contents = Contents()
    for _, signal in found:
        contents.add(signal.delivery_id, signal.due_on)
    sealed = seal_file(
        context,
        render_deadlines(row for row, _ in found),
        partner_id=partner_id,
        box=Box.OUTBOX,
        name=deadlines_name(municipality, today),
        kind=DispatchKind.DEADLINES,
        due_on=dispatch_due(now, context.terms),
        municipality=municipality,
    )
    file = contents.of(context, sealed)
    return file, seal_manifest(context, file, rows=contents.lines)


def _open(
    context: Context, conn: Connection, melding_ids: Iterable[str], today: date
) -> Iterator[tuple[DeadlineRow, PassedOn]]:
    """The signals without an end result, melding after melding as they are given; some meldingen at a time."""
    policies: dict[tuple[str, str], Policy] = {}
    for chunk in chunks(melding_ids, CHUNK):
        known = meldingen.some(conn, chunk)
        found = list(signals.passed_on(conn, chunk, today))
        answered = answers.of_signals(conn, (signal.number for signal in found))
        for at in {(each.municipality, each.month) for each in known.values()} - policies.keys():
            policies[at] = policy_of(context, conn, *at)
        by = {
            each.id: _deadlines(each, policies[each.municipality, each.month], today)
            for each in known.values()
        }
        place = {melding_id: number for number, melding_id in enumerate(chunk)}
        for signal in sorted(found, key=lambda each: place[each.melding_id]):
            melding = known[signal.melding_id]
            # what another municipality answered before the signal moved is not this one's to know
            own = [
                each for each in answered.get(signal.number, ()) if each.municipality == melding.municipality
            ]
            answer = latest(own)
            first = first_unmet(by[melding.id], answer.outcome if answer else None)
            if first is not None:
                row = DeadlineRow(
                    municipality=melding.municipality,
                    melding_id=melding.id,
                    number=signal.number,
                    klasse=Klasse(str(melding.klasse)),
                    sector=signal.sector,
                    answer=answer,
                    by=by[melding.id],
                    first=first,
                    days_left=(by[melding.id][first] - today).days,
                )
                yield row, signal


def _deadlines(melding: Melding, policy: Policy, today: date) -> dict[Deadline, date]:
    """As in the lines of its last publication, under the policy of its month."""
    content = snapshot.load(melding.published or "")
    respond_by, finish_by = feedback_deadlines(content.first_received_at)
    offer_by = offer_deadline(
        content,
        policy.actions.deadline_from,
        today=today,
        first_published_on=local_day(melding.first_published_at) if melding.first_published_at else None,
        crisis_published_on=local_day(melding.crisis_at) if melding.crisis_at else None,
    )
    return {Deadline.RESPOND: respond_by, Deadline.OFFER: offer_by, Deadline.FINISH: finish_by}
