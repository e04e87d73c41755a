"""Publication: what is new or changed goes to the municipality, and its creditors hear of it (spec 3).

1 look at the touched meldingen again · 2 rank what is published, this included · 3 render and seal the files ·
4 one transaction makes files, versions, passed-on signals, statuses and the audit entry visible.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.codes import StatusCode
from gateway.domain.dispatch import DispatchKind
from gateway.domain.melding import Klasse, MeldingContent, Rule
from gateway.domain.partner import Box
from gateway.domain.policy import Policy
from gateway.domain.retention import dispatch_due
from gateway.domain.signal import SignalType
from gateway.files import names
from gateway.files.manifest import render_manifest
from gateway.files.outbox import OutboxMelding, OutboxRow, OutboxSignal, render_meldingen
from gateway.files.status import StatusRow
from gateway.matching.deadline import feedback_deadlines, offer_deadline
from gateway.matching.publication import fingerprint, is_due
from gateway.matching.rank import Place, places
from gateway.pipeline import match, snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile, seal_file, store_files
from gateway.pipeline.sealing import Opener
from gateway.pipeline.statuses import Told, status_file, use_status_number
from gateway.store import Connection, meldingen, outgoing, signals
from gateway.store.meldingen import Melding
from gateway.store.signals import Sealed
from gateway.vault.ids import new_id

_log = logs.get("publish")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What one publication came to."""

    municipality: str
    partner_id: str = ""
    meldingen: int = 0
    signals: int = 0
    files: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A publication in the making."""

    context: Context
    policy: Policy
    partner_id: str
    now: datetime
    actor: str
    origin: str
    #: melding id -> the melding, and what it is now (None: it lapses)
    due: dict[str, tuple[Melding, MeldingContent | None]] = field(default_factory=dict)
    #: row id -> the signal, for every signal of `due`
    signals: dict[int, Sealed] = field(default_factory=dict)
    #: row id -> its sealed fields
    fields: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: melding id -> its contracts that were reported before, in the look-back months
    reported: dict[str, frozenset[Hashable]] = field(default_factory=dict)

    @property
    def today(self) -> date:
        return local_day(self.now)


def publish(
    context: Context,
    municipality: str,
    *,
    only_urgent: bool = False,
    only: Collection[str] | None = None,
    actor: str = "gateway",
    origin: str = "pipeline",
) -> Published:
    """Publish what is new or changed in a municipality; for the holder of `Store.exclusive()`.

    Args:
        context: the gateway.
        municipality: its code.
        only_urgent: only meldingen with rule CRISIS: they go out at once and alone.
        only: only meldingen of these ids; None: all that wait.
        actor: who ordered it, for the audit log.
        origin: where the order came from.
    """
    policy, partner_id = context.policy(municipality), context.served_by[municipality]
    with context.store.read() as conn:
        touched = meldingen.touched(conn, municipality, only_urgent=only_urgent)
        if only is not None:
            touched = [melding for melding in touched if melding.id in only]
        draft = _Draft(
            context=context,
            policy=policy,
            partner_id=partner_id,
            now=context.clock.now(),
            actor=actor,
            origin=origin,
        )
        settled: list[str] = []
        for group in match.groups(conn, policy, touched, draft.today):
            melding, content = group.melding, group.content(policy)
            if is_due(content, melding.fingerprint) or melding.is_lost:
                draft.due[melding.id] = melding, content
                draft.reported[melding.id] = frozenset(group.repeats)
            else:
                settled.append(melding.id)
        _open_signals(conn, draft)
    if draft.due:
        return _commit(draft, settled)
    with context.store.write() as conn:
        meldingen.settle(conn, settled)
    return Published(municipality=municipality)


def _open_signals(conn: Connection, draft: _Draft) -> None:
    ids = [ref for _, content in draft.due.values() if content for ref in content.refs]
    draft.signals = {signal.id: signal for signal in signals.sealed(conn, ids)}
    opener = Opener(draft.context, conn)
    opener.load(signal.data_key_id for signal in draft.signals.values())
    draft.fields = {signal.id: opener.open(signal) for signal in draft.signals.values()}


def _commit(draft: _Draft, settled: Sequence[str]) -> Published:
    context, now = draft.context, draft.now
    by_month: dict[str, list[str]] = defaultdict(list)
    for melding_id, (melding, _) in draft.due.items():
        by_month[melding.month].append(melding_id)
    files: list[OutgoingFile] = []
    with context.store.read() as conn:
        number = outgoing.last_number(conn, _numbers(draft.partner_id))
        ranked = {month: _rank(conn, draft, month) for month in by_month}
    for month in sorted(by_month):
        number += 1
        files += _files(draft, month, number, by_month[month], ranked[month])
    again = _reported_before(draft)
    statuses = _statuses(draft, again)
    told = {
        creditor: status_file(
            context,
            creditor,
            [each.row for each in rows],
            min(each.due_on for each in rows),
            Counter(each.delivery_id for each in rows),
        )
        for creditor, rows in statuses.items()
    }
    with context.store.write() as conn:
        meldingen.settle(conn, settled)
        meldingen.mark_published(conn, [_stored(draft, melding_id) for melding_id in draft.due])
        signals.mark_passed_on(conn, list(draft.signals), now, reported_before=again)
        outgoing.use_number(conn, _numbers(draft.partner_id), number)
        for creditor in told:
            use_status_number(conn, creditor)
        store_files(context, conn, [*files, *told.values()], now)
        publication_id = new_id("P", 12)
        meldingen.add_publication(
            conn,
            id=publication_id,
            municipality=draft.policy.code,
            partner_id=draft.partner_id,
            at=now,
            policy_hash=policy_hash(draft.policy),
            melding_count=len(draft.due),
        )
        record(
            conn,
            action="meldingen.published",
            object_id=publication_id,
            origin=draft.origin,
            actor=draft.actor,
            at=now,
            node=context.node,
            detail={
                "municipality": draft.policy.code,
                "partner": draft.partner_id,
                "meldingen": len(draft.due),
                "signals": len(draft.signals),
                "policy": policy_hash(draft.policy),
            },
        )
    _log.info(
        "meldingen.published",
        publication_id=publication_id,
        municipality=draft.policy.code,
        partner_id=draft.partner_id,
        count=len(draft.due),
        rows=len(draft.signals),
    )
    return Published(
        municipality=draft.policy.code,
        partner_id=draft.partner_id,
        meldingen=len(draft.due),
        signals=len(draft.signals),
        files=tuple(file.name for file in files if file.kind is DispatchKind.MELDINGEN),
    )


def _rank(conn: Connection, draft: _Draft, month: str) -> Mapping[str, Place]:
    """Ranks among what is published by then, this publication included."""
    standing = {
        melding.id: snapshot.load(melding.published)
        for melding in meldingen.published(conn, draft.policy.code, month)
        if melding.published and melding.id not in draft.due
    }
    fresh = {
        melding_id: content
        for melding_id, (melding, content) in draft.due.items()
        if melding.month == month and content
    }
    return places(standing | fresh, draft.policy)


# -- the files -------------------------------------------------------------------------------------


def _files(
    draft: _Draft, month: str, number: int, melding_ids: Sequence[str], ranked: Mapping[str, Place]
) -> list[OutgoingFile]:
    """The file of a month, and its manifest."""
    context, code = draft.context, draft.policy.code
    ordered = sorted(melding_ids, key=lambda melding_id: _line_order(draft, melding_id, ranked))
    rows = [row for melding_id in ordered for row in _rows(draft, melding_id, ranked.get(melding_id))]
    told = [
        draft.signals[ref]
        for melding_id in melding_ids
        if (content := draft.due[melding_id][1])
        for ref in content.refs
    ]
    due_on = dispatch_due(draft.now, context.terms, min((each.due_on for each in told), default=None))
    name = names.meldingen_name(code, month, number)
    file = seal_file(
        context,
        render_meldingen(rows),
        partner_id=draft.partner_id,
        box=Box.OUTBOX,
        name=name,
        kind=DispatchKind.MELDINGEN,
        due_on=due_on,
        municipality=code,
        contents=Counter(each.delivery_id for each in told),
    )
    manifest = render_manifest(
        name=name,
        size=file.size_bytes,
        sha256=file.sha256,
        rows=len(rows),
        municipality=code,
        created_at=draft.now,
        expires_on=due_on,
    )
    return [
        file,
        seal_file(
            context,
            (manifest,),
            partner_id=draft.partner_id,
            box=Box.OUTBOX,
            name=names.manifest_name(name),
            kind=DispatchKind.MANIFEST,
            due_on=due_on,
            municipality=code,
            parent_id=file.id,
        ),
    ]


def _line_order(draft: _Draft, melding_id: str, ranked: Mapping[str, Place]) -> tuple[Any, ...]:
    """By rank; then those without one, the highest total first; then what lapsed."""
    content = draft.due[melding_id][1]
    if content is None:
        return 2, 0, melding_id
    rank = ranked[melding_id].rank
    return (1, -content.total_cents, melding_id) if rank is None else (0, rank, melding_id)


def _rows(draft: _Draft, melding_id: str, place: Place | None) -> Iterator[OutboxRow]:
    melding, content = draft.due[melding_id]
    if content is None or place is None:
        yield OutboxRow(
            melding=OutboxMelding(
                melding_id=melding_id,
                version=melding.version + 1,
                municipality=melding.municipality,
                month=melding.month,
                klasse=Klasse.LAPSED,
            ),
            signal=None,
        )
        return
    line = OutboxMelding(
        melding_id=melding_id,
        version=melding.version + 1,
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
        offer_by=_offer_by(draft, melding, content),
    )
    ordered = sorted(content.refs, key=lambda ref: (draft.signals[ref].first_received_at, ref))
    for ref in ordered:
        yield OutboxRow(melding=line, signal=_signal(draft, content, ref))


def _offer_by(draft: _Draft, melding: Melding, content: MeldingContent) -> date:
    return offer_deadline(
        content,
        draft.policy.actions.deadline_from,
        today=draft.today,
        first_published_on=local_day(melding.first_published_at) if melding.first_published_at else None,
        crisis_published_on=local_day(melding.crisis_at) if melding.crisis_at else None,
    )


def _signal(draft: _Draft, content: MeldingContent, ref: int) -> OutboxSignal:
    signal, sealed = draft.signals[ref], draft.fields[ref]
    deadlines = feedback_deadlines(content.first_received_at)
    partner = draft.context.partners.get(signal.creditor)
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


def _reported_before(draft: _Draft) -> set[int]:
    """The signals whose creditor reported the same contract before: D11."""
    return {
        ref
        for melding_id, (_, content) in draft.due.items()
        for ref in (content.refs if content else ())
        if draft.signals[ref].place_k1 in draft.reported[melding_id]
    }


def _statuses(draft: _Draft, again: Collection[int]) -> dict[str, list[Told]]:
    """D10 or D11 for each signal that a publication contains for the first time, by creditor."""
    told: dict[str, list[Told]] = defaultdict(list)
    for _, content in draft.due.values():
        for ref in content.refs if content else ():
            signal = draft.signals[ref]
            if signal.passed_on_at is None:
                row = StatusRow(
                    signal_id=draft.fields[ref]["signaal_id"],
                    customer_number=draft.fields[ref]["klantnummer"],
                    code=StatusCode.PASSED_ON_AGAIN if ref in again else StatusCode.PASSED_ON,
                    municipality=draft.policy.code,
                    on=draft.today,
                )
                told[signal.creditor].append(Told(row, signal.due_on, signal.delivery_id))
    return told


def _stored(draft: _Draft, melding_id: str) -> dict[str, Any]:
    """What is remembered of a melding's publication."""
    melding, content = draft.due[melding_id]
    is_crisis = content is not None and Rule.CRISIS in content.rules
    return {
        "melding": melding_id,
        "version": melding.version + 1,
        "partner_id": draft.partner_id,
        "klasse": content.klasse if content else Klasse.LAPSED,
        "fingerprint": fingerprint(content),
        "published": snapshot.dump(content) if content else None,
        "first_published_at": melding.first_published_at or draft.now,
        "published_at": draft.now,
        # a crisis that is over counts no more for the deadline of the next one
        "crisis_at": (melding.crisis_at or draft.now) if is_crisis else None,
    }


def policy_hash(policy: Policy) -> str:
    """Names the policy that was in force; two that say the same have the same hash."""
    said = json.dumps(asdict(policy), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _numbers(partner_id: str) -> str:
    return f"meldingen/{partner_id}"
