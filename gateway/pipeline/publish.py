"""Publication: what is new or changed goes to the partner that its route says, and creditors hear of it (spec 3).

1 look at the touched meldingen again, and where they go · 2 rank what is published, this included · 3 render and seal
the files of each partner · 4 one transaction makes files, versions, passed-on signals, statuses and audit entries
visible.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gateway import logs
from gateway.audit.log import record
from gateway.domain.codes import StatusCode
from gateway.domain.dispatch import DispatchKind
from gateway.domain.melding import Klasse, Rule
from gateway.errors import ConfigError
from gateway.files.status import StatusRow
from gateway.matching.publication import fingerprint, is_due
from gateway.matching.rank import Place, places
from gateway.pipeline import match, snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.draft import Draft, Due
from gateway.pipeline.outgoing import store_files
from gateway.pipeline.parts import Part, numbers_of, part_of
from gateway.pipeline.policies import keep, policy_hash, policy_of, take_up
from gateway.pipeline.routing import Router
from gateway.pipeline.sealing import open_signals
from gateway.pipeline.statuses import Told, status_file, use_status_number
from gateway.store import Connection, meldingen, outgoing, signals, worklists
from gateway.store.meldingen import Melding

_log = logs.get("publish")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What one publication came to for one partner."""

    municipality: str
    partner_id: str
    meldingen: int
    signals: int
    files: tuple[str, ...]


def publish(
    context: Context,
    municipality: str,
    *,
    only_urgent: bool = False,
    only: Collection[str] | None = None,
    actor: str = "gateway",
    origin: str = "pipeline",
) -> list[Published]:
    """Publish what is new or changed in a municipality; for the holder of `Store.exclusive()`.

    Args:
        context: the gateway.
        municipality: its code.
        only_urgent: only meldingen with rule CRISIS: they go out at once and alone.
        only: only meldingen of these ids; None: all that wait.
        actor: who ordered it, for the audit log.
        origin: where the order came from.

    Returns:
        What each partner got that got something.

    Raises:
        ConfigError: nobody serves it.
    """
    server = context.server_of(municipality)
    if server is None:
        raise ConfigError(f"no partner serves {municipality}: nothing can be published to it")
    draft = Draft(
        context=context,
        code=municipality,
        server=server,
        now=context.clock.now(),
        actor=actor,
        origin=origin,
    )
    if not only_urgent and only is None:
        take_up(context, municipality, server, draft.now)
    with context.store.read() as conn:
        touched = meldingen.touched(conn, municipality, only_urgent=only_urgent)
        if only is not None:
            touched = [melding for melding in touched if melding.id in only]
        _gather(conn, draft, touched)
    if draft.due:
        return _commit(draft)
    if draft.settled:
        with context.store.write() as conn:
            meldingen.settle(conn, draft.settled)
    return []


def _gather(conn: Connection, draft: Draft, touched: Sequence[Melding]) -> None:
    """What of it goes out, and where; with its signals opened."""
    context, code = draft.context, draft.code
    predecessors = context.predecessors(code)
    for month, some in groupby(sorted(touched, key=lambda each: each.month), key=lambda each: each.month):
        policy = draft.policies[month] = policy_of(context, conn, code, month)
        looked = [
            (group, group.content(policy))
            for group in match.groups(conn, policy, list(some), draft.today, predecessors)
        ]
        router = Router(context, conn, policy, draft.server)
        router.load(content for _, content in looked if content)
        for group, content in looked:
            melding = group.melding
            holder = melding.partner_id if melding.published else None
            # of what lapsed before and was lost, its last holder is told again
            goes_to = router.partner_of(content) if content else melding.partner_id or draft.server
            former = holder if holder != goes_to else None
            if former is not None or melding.is_lost or is_due(content, melding.fingerprint):
                draft.due[melding.id] = Due(melding, content, goes_to, former)
                draft.reported[melding.id] = frozenset(group.repeats)
            else:
                draft.settled.append(melding.id)
    draft.opened = open_signals(context, conn, draft.refs)


def _commit(draft: Draft) -> list[Published]:
    context, now = draft.context, draft.now
    with context.store.read() as conn:
        months = {due.melding.month for due in draft.due.values()}
        ranked = {month: _rank(conn, draft, month) for month in months}
        parts = [
            part_of(conn, draft, partner_id, lines, ranked)
            for partner_id, lines in sorted(draft.lines.items())
        ]
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
        meldingen.settle(conn, draft.settled)
        meldingen.mark_published(conn, [_stored(draft, due) for due in draft.due.values()])
        signals.mark_passed_on(conn, draft.refs, now, reported_before=again)
        for creditor in told:
            use_status_number(conn, creditor)
        store_files(context, conn, [*(file for part in parts for file in part.files), *told.values()], now)
        keep(context, conn, draft.code, draft.policies, draft.server)
        for part in parts:
            _record(conn, draft, part)
        for partner_id, lines in draft.lines.items():
            for month in {line.melding.month for line in lines}:
                worklists.mark_due(conn, partner_id, draft.code, month)
    for part in parts:
        _log.info(
            "meldingen.published",
            publication_id=part.id,
            municipality=draft.code,
            partner_id=part.partner_id,
            count=part.meldingen,
            rows=part.signals,
        )
    return [
        Published(
            municipality=draft.code,
            partner_id=part.partner_id,
            meldingen=part.meldingen,
            signals=part.signals,
            files=tuple(file.name for file in part.files if file.kind is DispatchKind.MELDINGEN),
        )
        for part in parts
    ]


def _record(conn: Connection, draft: Draft, part: Part) -> None:
    """The publication to one partner: its number, its row and its audit entry."""
    code, policy = draft.code, policy_hash(draft.context.policy(draft.code))
    outgoing.use_number(conn, numbers_of(part.partner_id), part.number)
    meldingen.add_publication(
        conn,
        id=part.id,
        municipality=code,
        partner_id=part.partner_id,
        at=draft.now,
        policy_hash=policy,
        melding_count=part.meldingen,
    )
    record(
        conn,
        action="meldingen.published",
        object_id=part.id,
        origin=draft.origin,
        actor=draft.actor,
        at=draft.now,
        node=draft.context.node,
        detail={
            "municipality": code,
            "partner": part.partner_id,
            "meldingen": part.meldingen,
            "signals": part.signals,
            "policy": policy,
        },
    )


def _rank(conn: Connection, draft: Draft, month: str) -> Mapping[str, Place]:
    """Ranks among what is published by then, to whichever partner, this publication included."""
    standing = {
        melding.id: snapshot.load(melding.published)
        for melding in meldingen.published(conn, draft.code, month)
        if melding.published and melding.id not in draft.due
    }
    fresh = {
        melding_id: due.content
        for melding_id, due in draft.due.items()
        if due.melding.month == month and due.content
    }
    return places(standing | fresh, draft.policies[month])


def _reported_before(draft: Draft) -> set[int]:
    """The signals whose creditor reported the same contract before: D11."""
    return {
        ref
        for melding_id, due in draft.due.items()
        for ref in (due.content.refs if due.content else ())
        if draft.opened.signals[ref].place_k1 in draft.reported[melding_id]
    }


def _statuses(draft: Draft, again: Collection[int]) -> dict[str, list[Told]]:
    """D10 or D11 for each signal that a publication contains for the first time, by creditor."""
    told: dict[str, list[Told]] = defaultdict(list)
    for due in draft.due.values():
        for ref in due.content.refs if due.content else ():
            signal = draft.opened.signals[ref]
            if signal.passed_on_at is None:
                row = StatusRow(
                    signal_id=draft.opened.fields[ref]["signaal_id"],
                    customer_number=draft.opened.fields[ref]["klantnummer"],
                    code=StatusCode.PASSED_ON_AGAIN if ref in again else StatusCode.PASSED_ON,
                    municipality=draft.code,
                    on=draft.today,
                )
                told[signal.creditor].append(Told(row, signal.due_on, signal.delivery_id))
    return told


def _stored(draft: Draft, due: Due) -> dict[str, Any]:
    """What is remembered of a melding's publication."""
    melding, content = due.melding, due.content
    is_crisis = content is not None and Rule.CRISIS in content.rules
    return {
        "melding": melding.id,
        "version": due.version,
        "partner_id": due.partner_id,
        "klasse": content.klasse if content else Klasse.LAPSED,
        "fingerprint": fingerprint(content),
        "published": snapshot.dump(content) if content else None,
        "first_published_at": melding.first_published_at or draft.now,
        "published_at": draft.now,
        # a crisis that is over counts no more for the deadline of the next one
        "crisis_at": (melding.crisis_at or draft.now) if is_crisis else None,
    }
