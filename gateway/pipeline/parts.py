"""What one partner gets of a publication: for each month a file of meldingen with its manifest (spec 2)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Box
from gateway.domain.retention import dispatch_due
from gateway.files import names
from gateway.files.outbox import render_meldingen
from gateway.matching.rank import Place
from gateway.pipeline.draft import Draft
from gateway.pipeline.lines import Line, rows
from gateway.pipeline.outgoing import OutgoingFile, seal_file, seal_manifest
from gateway.vault.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one partner gets: files, each a month's."""

    id: str
    partner_id: str
    meldingen: int
    signals: int
    files: Sequence[OutgoingFile]


def part_of(
    draft: Draft,
    partner_id: str,
    lines: Sequence[Line],
    ranked: Mapping[str, Mapping[str, Place]],
    number: int,
) -> Part:
    """The files of one partner, sealed and not yet visible.

    Args:
        draft: the publication.
        partner_id: who gets them.
        lines: what it is told.
        ranked: month -> melding id -> rank and action.
        number: of the partner's file before; each month's takes the next.
    """
    by_month: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_month[line.melding.month].append(line)
    files: list[OutgoingFile] = []
    for month in sorted(by_month):
        number += 1
        name = names.meldingen_name(draft.code, month, number)
        files += _files(draft, partner_id, name, by_month[month], ranked[month])
    return Part(
        id=new_id("P", 12),
        partner_id=partner_id,
        meldingen=len(lines),
        signals=sum(line.content.signal_count for line in lines if line.content),
        files=files,
    )


def _files(
    draft: Draft,
    partner_id: str,
    name: str,
    lines: Sequence[Line],
    ranked: Mapping[str, Place],
) -> list[OutgoingFile]:
    """The file of a month, and its manifest."""
    context, code = draft.context, draft.code
    ordered = sorted(lines, key=lambda line: _line_order(line, ranked))
    told = [
        row
        for line in ordered
        for row in rows(
            context,
            draft.policies[line.melding.month],
            line,
            ranked.get(line.melding.id),
            draft.opened,
            today=draft.today,
        )
    ]
    inside = [draft.opened.signals[ref] for line in lines if line.content for ref in line.content.refs]
    due_on = dispatch_due(draft.now, context.terms, min((each.due_on for each in inside), default=None))
    file = seal_file(
        context,
        render_meldingen(told),
        partner_id=partner_id,
        box=Box.OUTBOX,
        name=name,
        kind=DispatchKind.MELDINGEN,
        due_on=due_on,
        municipality=code,
        contents=Counter(each.delivery_id for each in inside),
    )
    return [file, seal_manifest(context, file, rows=len(told))]


def _line_order(line: Line, ranked: Mapping[str, Place]) -> tuple[Any, ...]:
    """By rank; then those without one, the highest total first; then what lapsed."""
    if line.content is None:
        return 2, 0, line.melding.id
    rank = ranked[line.melding.id].rank
    return (1, -line.content.total_cents, line.melding.id) if rank is None else (0, rank, line.melding.id)


def numbers_of(partner_id: str) -> str:
    """The name of the running number of a partner's files of meldingen."""
    return f"meldingen/{partner_id}"
