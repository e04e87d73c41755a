"""Worklists: a municipality's month as it stands, made anew after each publication (spec 2, For a municipality).

It has a transaction of its own, after that of the publication: the CSV does not wait for it, and what a kill leaves
undone is still due at the next look.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.dispatch import DispatchKind
from gateway.domain.feedback import latest
from gateway.domain.melding import MeldingContent
from gateway.domain.partner import Box
from gateway.domain.policy import Grouping, Policy
from gateway.domain.retention import dispatch_due
from gateway.files import names
from gateway.files.worklist import Worklist, WorklistMelding, WorklistSignal, render_worklist
from gateway.matching.rank import Place, places
from gateway.pipeline import snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.lines import Line, rows
from gateway.pipeline.outgoing import OutgoingFile, seal_file, seal_manifest, store_files
from gateway.pipeline.policies import policy_of
from gateway.pipeline.sealing import open_signals
from gateway.store import Connection, answers, meldingen, outgoing, signals, worklists
from gateway.store.meldingen import Melding
from gateway.store.signals import Sealed
from gateway.store.worklists import Due

_log = logs.get("worklist")


class _Published(NamedTuple):
    """A melding as it was published last, and its rank among all of the municipality."""

    melding: Melding
    content: MeldingContent
    place: Place


class _Month(NamedTuple):
    """What a worklist tells: under which policy and key, its lines, in order, and the signals on them."""

    policy: Policy
    level: Grouping
    lines: list[WorklistMelding]
    signals: list[Sealed]


class Made(NamedTuple):
    """A worklist that was rendered and is not listed yet; `began` is of `time.perf_counter`."""

    due: Due
    month: _Month
    worklist: Worklist
    workbook: bytes
    began: float


#: Makes a workbook of a worklist.
Render = Callable[[Worklist], bytes]


def due_worklists(context: Context) -> list[Due]:
    """The worklists that must be made: of partners that are still there."""
    with context.store.read() as conn:
        return [each for each in worklists.due(conn) if each.partner_id in context.partners]


def make_worklist(context: Context, due: Due) -> bool:
    """Make a worklist that is due in place of the one before it; for the holder of `Store.exclusive()`.

    Returns:
        False when something of it was published or went while it was made: it is still due.
    """
    return list_worklist(context, render_month(context, due))


def render_month(context: Context, due: Due, render: Render | None = None) -> Made:
    """A month as it stands, rendered by `render` or here; changes nothing, so that intake may go on beside it."""
    began, now = time.perf_counter(), context.clock.now()
    with context.store.read() as conn:
        month = _month(context, conn, due, now)
    worklist = _worklist(context, due, month, now)
    return Made(due, month, worklist, (render or render_worklist)(worklist), began)


def list_worklist(context: Context, made: Made) -> bool:
    """Seal and list what was rendered, if it is still so; for the holder of `Store.exclusive()`.

    Returns:
        False when something of it was published or went since: it is still due.
    """
    due, month, now = made.due, made.month, context.clock.now()
    with context.store.read() as conn:
        if not _still_holds(conn, made, now):
            return False
    files = _files(context, made)
    with context.store.write() as conn:
        outgoing.replace(conn, due.partner_id, Box.OUTBOX, [file.name for file in files])
        store_files(context, conn, files, now)
        worklists.mark_made(conn, due, due.version + 1)
        record(
            conn,
            action="worklist.published",
            object_id=files[0].id,
            origin="pipeline",
            actor="gateway",
            at=now,
            node=context.node,
            detail={
                "municipality": due.municipality,
                "partner": due.partner_id,
                "month": due.month,
                "meldingen": len(month.lines),
                "signals": len(month.signals),
            },
        )
    _log.info(
        "worklist.published",
        dispatch_id=files[0].id,
        municipality=due.municipality,
        partner_id=due.partner_id,
        count=len(month.lines),
        rows=len(month.signals),
        size=files[0].size_bytes,
        duration_ms=round((time.perf_counter() - made.began) * 1000),
    )
    return True


def _still_holds(conn: Connection, made: Made, now: datetime) -> bool:
    """Nothing was published since, and each signal is held: what went for good must not come back in a file."""
    ids = {each.id for each in made.month.signals}
    return made.due in worklists.due(conn) and ids == _held(conn, ids, now)


def _month(context: Context, conn: Connection, due: Due, now: datetime) -> _Month:
    policy = policy_of(context, conn, due.municipality, due.month)
    published = _published(conn, due, policy)
    refs = [ref for each in published for ref in each.content.refs]
    # what was published and has gone since, or is overdue, is in no list
    opened = open_signals(context, conn, _held(conn, refs, now))
    given = answers.of_signals(conn, (each.number for each in opened.signals.values()))
    lines = []
    for melding, content, place in published:
        left = content._replace(refs=tuple(ref for ref in content.refs if ref in opened.signals))
        if left.refs:
            told = list(
                rows(
                    context, policy, Line(melding, melding.version, left), place, opened, today=local_day(now)
                )
            )
            lines.append(
                WorklistMelding(
                    # as it was published: that a signal goes is no change
                    melding=told[0].melding._replace(signal_count=content.signal_count),
                    signals=[
                        WorklistSignal(signal=row.signal, answer=latest(given.get(row.signal.number, ())))
                        for row in told
                        if row.signal is not None
                    ],
                )
            )
    # a month keeps the key that it began with
    level = Grouping(published[0].melding.level) if published else policy.matching.key
    return _Month(policy, level, lines, list(opened.signals.values()))


def _held(conn: Connection, refs: Iterable[int], now: datetime) -> set[int]:
    today = local_day(now)
    return {
        each.id for each in signals.sealed(conn, refs) if each.due_on >= today and each.sealed is not None
    }


def _published(conn: Connection, due: Due, policy: Policy) -> list[_Published]:
    """The partner's meldingen of the month, by rank; then those without one, the highest total first."""
    standing = {each.id: each for each in meldingen.published(conn, due.municipality, due.month)}
    contents: Mapping[str, MeldingContent] = {
        each.id: snapshot.load(each.published) for each in standing.values() if each.published
    }
    # ranks and places are those of the municipality, also where its meldingen go to several partners
    ranked = places(contents, policy)
    mine = [
        _Published(standing[melding_id], content, ranked[melding_id])
        for melding_id, content in contents.items()
        if standing[melding_id].partner_id == due.partner_id
    ]
    return sorted(mine, key=_line_order)


def _line_order(each: _Published) -> tuple[int, int, str]:
    rank = each.place.rank
    return (0, rank, each.melding.id) if rank is not None else (1, -each.content.total_cents, each.melding.id)


def _worklist(context: Context, due: Due, month: _Month, now: datetime) -> Worklist:
    return Worklist(
        policy=month.policy,
        partner_name=context.partners[due.partner_id].name,
        month=due.month,
        version=due.version + 1,
        made_at=now,
        expires_on=dispatch_due(
            now, context.terms, min((each.due_on for each in month.signals), default=None)
        ),
        level=month.level,
        meldingen=month.lines,
    )


def _files(context: Context, made: Made) -> list[OutgoingFile]:
    """The worklist and its manifest."""
    due, signals_of = made.due, made.month.signals
    file = seal_file(
        context,
        (made.workbook,),
        partner_id=due.partner_id,
        box=Box.OUTBOX,
        name=names.worklist_name(due.municipality, due.month),
        kind=DispatchKind.WORKLIST,
        due_on=made.worklist.expires_on,
        municipality=due.municipality,
        contents=Counter(each.delivery_id for each in signals_of),
    )
    return [file, seal_manifest(context, file, rows=len(signals_of))]
