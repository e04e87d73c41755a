"""Publication: what is new or changed goes to the partner that its route says, and creditors hear of it (spec 3).

1 look at the touched meldingen again, and where they go · 2 rank what is published, this included · 3 render and seal
the files of each partner · 4 one transaction makes files, versions, passed-on signals, statuses and audit entries
visible. Many municipalities go together: most of what one costs, several cost once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway import logs
from gateway.audit.log import Entry, record_all
from gateway.domain.codes import StatusCode
from gateway.domain.dispatch import DispatchKind
from gateway.domain.melding import Klasse, MeldingContent, Rule
from gateway.errors import ConfigError
from gateway.files.status import StatusRow
from gateway.matching.publication import fingerprint, is_due
from gateway.matching.rank import Place, places
from gateway.pipeline import match, snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.draft import Draft, Due
from gateway.pipeline.lines import Line
from gateway.pipeline.outgoing import OutgoingFile, store_files
from gateway.pipeline.parts import Part, numbers_of, part_of
from gateway.pipeline.policies import keep, policies_of, policy_hash, take_up
from gateway.pipeline.routing import Router
from gateway.pipeline.sealing import open_signals
from gateway.pipeline.statuses import Told, status_file, status_numbers_of
from gateway.store import Connection, meldingen, outgoing, signals, worklists
from gateway.store.meldingen import Melding

_log = logs.get("publish")

#: Files that are sealed at a time.
_SEALERS = 8


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
    """Publish what is new or changed in a municipality: `publish_together` of it alone."""
    return publish_together(
        context, (municipality,), only_urgent=only_urgent, only=only, actor=actor, origin=origin
    )


def publish_together(
    context: Context,
    municipalities: Sequence[str],
    *,
    only_urgent: bool = False,
    only: Collection[str] | None = None,
    actor: str = "gateway",
    origin: str = "pipeline",
) -> list[Published]:
    """Publish what is new or changed in municipalities, all of it or nothing; for the holder of `Store.exclusive()`.

    A creditor hears of all of it in one file.

    Args:
        context: the gateway.
        municipalities: their codes.
        only_urgent: only meldingen with rule CRISIS: they go out at once and alone.
        only: only meldingen of these ids; None: all that wait.
        actor: who ordered it, for the audit log.
        origin: where the order came from.

    Returns:
        What each partner got that got something, by municipality.

    Raises:
        ConfigError: nobody serves one of them.
    """
    drafts = [
        Draft(
            context=context,
            code=code,
            server=_server(context, code),
            now=context.clock.now(),
            actor=actor,
            origin=origin,
        )
        for code in municipalities
    ]
    if not only_urgent and only is None:
        take_up(context, {draft.code: draft.server for draft in drafts}, context.clock.now())
    with context.store.read() as conn:
        touched = meldingen.touched(conn, municipalities, only_urgent=only_urgent)
        _gather(conn, drafts, [each for each in touched if only is None or each.id in only])
        opened = open_signals(context, conn, [ref for draft in drafts for ref in draft.refs])
    for draft in drafts:
        draft.opened = opened
    if any(draft.due for draft in drafts):
        return _commit(context, drafts)
    settled = [each for draft in drafts for each in draft.settled]
    if settled:
        with context.store.write() as conn:
            meldingen.settle(conn, settled)
    return []


def _server(context: Context, municipality: str) -> str:
    server = context.server_of(municipality)
    if server is None:
        raise ConfigError(f"no partner serves {municipality}: nothing can be published to it")
    return server


def _gather(conn: Connection, drafts: Sequence[Draft], touched: Sequence[Melding]) -> None:
    """What of it goes out, and where."""
    if not touched:
        return
    found = match.look_up(conn, touched, drafts[0].today)
    waiting: dict[str, dict[str, list[Melding]]] = defaultdict(lambda: defaultdict(list))
    for melding in touched:
        waiting[melding.month][melding.municipality].append(melding)
    for month in sorted(waiting):
        policies = policies_of(drafts[0].context, conn, waiting[month], month)
        for draft in drafts:
            if draft.code in policies:
                draft.policies[month] = policies[draft.code]
                _look_at(conn, draft, month, waiting[month][draft.code], found)


def _look_at(
    conn: Connection, draft: Draft, month: str, waiting: Sequence[Melding], found: match.Neighbours
) -> None:
    """The same for one municipality's month."""
    context, policy = draft.context, draft.policies[month]
    looked = [
        (group, group.content(policy))
        for group in match.groups(found, policy, waiting, context.predecessors(draft.code))
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
            if group.repeats:
                draft.reported[melding.id] = frozenset(group.repeats)
        else:
            draft.settled.append(melding.id)


def _commit(context: Context, drafts: Sequence[Draft]) -> list[Published]:
    now = context.clock.now()
    again = {ref for draft in drafts for ref in _reported_before(draft)}
    told = _statuses(drafts, again)
    with context.store.read() as conn:
        ranked = _rank(conn, drafts)
        wanted = [
            _Wanted(draft, partner_id, lines, ranked[draft.code])
            for draft in drafts
            for partner_id, lines in sorted(draft.lines.items())
        ]
        names = {numbers_of(each.partner_id) for each in wanted}
        numbers = outgoing.last_numbers(conn, names | {status_numbers_of(creditor) for creditor in told})
    made = _seal(context, wanted, told, numbers)
    # whoever waits to write waits for what follows: nothing is made there that can be made here
    stored = [_stored(due) for draft in drafts for due in draft.due.values()]
    rows, entries = _records(wanted, made.parts)
    with context.store.write() as conn:
        meldingen.settle(conn, [each for draft in drafts for each in draft.settled])
        meldingen.mark_published(conn, stored, now)
        signals.mark_passed_on(
            conn, [ref for draft in drafts for ref in draft.refs], now, reported_before=again
        )
        outgoing.use_numbers(conn, numbers)
        store_files(context, conn, made.files, now)
        for month in {month for draft in drafts for month in draft.policies}:
            keep(
                context,
                conn,
                month,
                {draft.code: draft.server for draft in drafts if month in draft.policies},
            )
        meldingen.add_publications(conn, rows)
        record_all(conn, entries)
        worklists.mark_due(conn, [spot for each in wanted for spot in each.worklists])
    for each, part in zip(wanted, made.parts, strict=True):
        _log.info(
            "meldingen.published",
            publication_id=part.id,
            municipality=each.draft.code,
            partner_id=part.partner_id,
            count=part.meldingen,
            rows=part.signals,
        )
    return [
        Published(
            municipality=each.draft.code,
            partner_id=part.partner_id,
            meldingen=part.meldingen,
            signals=part.signals,
            files=tuple(file.name for file in part.files if file.kind is DispatchKind.MELDINGEN),
        )
        for each, part in zip(wanted, made.parts, strict=True)
    ]


class _Wanted(NamedTuple):
    """What one partner is to get of a municipality: lines, and by month and melding their ranks."""

    draft: Draft
    partner_id: str
    lines: Sequence[Line]
    ranked: Mapping[str, Mapping[str, Place]]

    @property
    def worklists(self) -> set[tuple[str, str, str]]:
        """The worklists that must tell of it: partner, municipality, month."""
        months = {line.melding.month for line in self.lines}
        return {(self.partner_id, self.draft.code, month) for month in months}


class _Made(NamedTuple):
    """Sealed, and not yet visible: what was wanted, in its order, and all files."""

    parts: Sequence[Part]
    files: Sequence[OutgoingFile]


def _seal(
    context: Context,
    wanted: Sequence[_Wanted],
    told: Mapping[str, Sequence[Told]],
    numbers: dict[str, int],
) -> _Made:
    """Seal all files, several at a time: those that wait for the disk share its syncs. Uses up `numbers`."""
    with ThreadPoolExecutor(_SEALERS) as pool:
        parts, statuses = [], []
        for each in wanted:
            last = numbers[numbers_of(each.partner_id)]
            parts.append(pool.submit(part_of, each.draft, each.partner_id, each.lines, each.ranked, last))
            numbers[numbers_of(each.partner_id)] += len(each.worklists)
        for creditor, rows in told.items():
            number = numbers[status_numbers_of(creditor)] = numbers[status_numbers_of(creditor)] + 1
            statuses.append(
                pool.submit(
                    status_file,
                    context,
                    creditor,
                    number,
                    [each.row for each in rows],
                    signals_due_on=min(each.due_on for each in rows),
                    contents=Counter(each.delivery_id for each in rows),
                )
            )
        made = [each.result() for each in parts]
        files = [*(file for part in made for file in part.files), *(each.result() for each in statuses)]
    return _Made(made, files)


def _records(wanted: Sequence[_Wanted], parts: Sequence[Part]) -> tuple[list[dict[str, Any]], list[Entry]]:
    """What each partner gets: its row and its audit entry."""
    hashes = {each.draft.code: policy_hash(each.draft.context.policy(each.draft.code)) for each in wanted}
    rows = [
        {
            "id": part.id,
            "municipality": each.draft.code,
            "partner_id": part.partner_id,
            "at": each.draft.now,
            "policy_hash": hashes[each.draft.code],
            "melding_count": part.meldingen,
        }
        for each, part in zip(wanted, parts, strict=True)
    ]
    entries = [
        Entry(
            action="meldingen.published",
            object_id=part.id,
            origin=each.draft.origin,
            actor=each.draft.actor,
            at=each.draft.now,
            node=each.draft.context.node,
            detail={
                "municipality": each.draft.code,
                "partner": part.partner_id,
                "meldingen": part.meldingen,
                "signals": part.signals,
                "policy": hashes[each.draft.code],
            },
        )
        for each, part in zip(wanted, parts, strict=True)
    ]
    return rows, entries


def _rank(conn: Connection, drafts: Sequence[Draft]) -> Mapping[str, Mapping[str, Mapping[str, Place]]]:
    """By municipality and month: ranks among the matches that are published by then, to whichever partner.

    This publication is included.
    """
    fresh = {draft.code: draft.contents for draft in drafts}
    asked: dict[str, list[str]] = defaultdict(list)
    for code, months in fresh.items():
        for month, contents in months.items():
            # without a match there is none to rank
            if any(content.klasse is Klasse.MATCH for content in contents.values()):
                asked[month].append(code)
    due = {melding_id for draft in drafts for melding_id in draft.due}
    standing: dict[tuple[str, str], dict[str, MeldingContent]] = defaultdict(dict)
    for month, codes in asked.items():
        for each in meldingen.matches(conn, codes, month):
            if each.id not in due:
                standing[each.municipality, month][each.id] = snapshot.load(each.published)
    return {
        draft.code: {
            month: places(standing[draft.code, month] | contents, draft.policies[month])
            for month, contents in fresh[draft.code].items()
        }
        for draft in drafts
    }


def _reported_before(draft: Draft) -> set[int]:
    """The signals whose creditor reported the same contract before: D11."""
    reported = (
        (draft.due[melding_id].content, contracts) for melding_id, contracts in draft.reported.items()
    )
    return {
        ref
        for content, contracts in reported
        if content
        for ref in content.refs
        if draft.opened.signals[ref].place_k1 in contracts
    }


def _statuses(drafts: Sequence[Draft], again: Collection[int]) -> dict[str, list[Told]]:
    """D10 or D11 for each signal that a publication contains for the first time, by creditor."""
    told: dict[str, list[Told]] = defaultdict(list)
    for draft in drafts:
        found, fields, code, today = *draft.opened, draft.code, draft.today
        for ref in draft.refs:
            signal, contents = found[ref], fields[ref]
            if signal.passed_on_at is None:
                status = StatusCode.PASSED_ON_AGAIN if ref in again else StatusCode.PASSED_ON
                row = StatusRow(contents["signaal_id"], contents["klantnummer"], status, code, today)
                told[signal.creditor].append(Told(row, signal.due_on, signal.delivery_id))
    return told


def _stored(due: Due) -> meldingen.Published:
    """What is remembered of a melding's publication."""
    content = due.content
    return meldingen.Published(
        due.version,
        due.partner_id,
        (content.klasse if content else Klasse.LAPSED).value,
        fingerprint(content),
        snapshot.dump(content) if content else None,
        content is not None and Rule.CRISIS in content.rules,
        due.melding.id,
    )
