"""WISSEN that takes effect: what it covers is marked in one transaction, and goes with the purge that follows (spec 4).

    rows       every version of the person's signals, and what was answered on them: overdue from now on
    listed     where a municipality lists the person, as excluded or known: overdue too
    meldingen  looked at again, as at a withdrawal: the next version goes out before the old file is gone
    outgoing   the files of the municipality that name the person: out of sight; what others of a file that nobody
               collected would miss goes out again; worklists are made anew
    received   files in which the person stands, whole; rows of others stay, they have keys of their own
    tokens     those that lead to nobody else

What a legal hold keeps of it is marked too, takes part in nothing from then on, and goes when the hold is lifted.
A kill before the transaction leaves nothing; after it, the purge finds all by its marks and goes on with it.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.dispatch import DispatchKind
from gateway.domain.melding import Klasse
from gateway.domain.request import Ask, Request, RequestState
from gateway.errors import DeliveryError, VaultError
from gateway.files import names
from gateway.files.municipalfile import read_municipal
from gateway.files.requestfile import read_requests
from gateway.pipeline.context import Context
from gateway.pipeline.persons import (
    Asked,
    ListedPerson,
    asked_by,
    files_about,
    is_ambiguous,
    listed_about,
    open_received,
    outgoing_about,
    read_outgoing,
    rows_about,
)
from gateway.pipeline.publish import publish
from gateway.pipeline.removing import RemovalKind, keep
from gateway.pipeline.touching import mark_urgent, touch
from gateway.pipeline.workbook import read_table
from gateway.store import Connection, exclusions, persons, requests, signals, worklists
from gateway.store.persons import Held, Outgoing, Raw
from gateway.store.requests import Stored
from gateway.store.signals import Version

_log = logs.get("requests")


@dataclass(slots=True, kw_only=True)
class _Scope:
    """What a request covers. `lost` are the meldingen in each outgoing file that nobody collected, with their class."""

    versions: list[Version] = field(default_factory=list)
    #: the deliveries in which these came
    told_in: set[str] = field(default_factory=set)
    listed: list[ListedPerson] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    raws: list[Raw] = field(default_factory=list)
    lost: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    tokens: Sequence[tuple[str, str, bytes]] = ()
    #: signals that go whole, whatever versions there are of them
    whole: Collection[str] = ()

    @property
    def numbers(self) -> set[str]:
        return {version.number for version in self.versions}

    @property
    def deliveries(self) -> set[str]:
        """Those in which the person stands: a legal hold may keep them."""
        listed = {each.row.delivery_id for each in self.listed}
        return self.told_in | listed | {raw.id for raw in self.raws}

    @property
    def meldingen(self) -> set[str]:
        ids = {version.melding_id for version in self.versions if version.melding_id}
        return ids.union(*self.lost.values())


def carry_out(context: Context) -> int:
    """Mark what requests cover whose 24 hours are over; how many took effect.

    One that can't be carried out stops no other: it waits, and is tried again.
    """
    done = 0
    with context.store.exclusive():
        publish_marked(context)
        with context.store.read() as conn:
            due = requests.due(conn, context.clock.now())
        for request in due:
            try:
                _erase(context, request)
                done += 1
            except (VaultError, DeliveryError) as exc:
                _log.error(
                    "erasure.failed",
                    partner_id=request.partner_id,
                    error_type=type(exc).__name__,
                    error=str(exc),
                )
    return done


def _erase(context: Context, request: Stored) -> None:
    with context.store.read() as conn:
        asked = _asked(context, conn, request)
        scope = _scope(context, conn, request, asked)
    touch(context, scope.versions)
    _mark(context, request, scope, partial(_keep, context, request, scope))
    context.write_removals()
    _publish(context, scope.meldingen)
    _log.info(
        "erasure.marked",
        partner_id=request.partner_id,
        rows=len(scope.versions) + len(scope.listed),
        count=len(scope.outgoing) + len(scope.raws),
    )


def publish_marked(context: Context) -> None:
    """What a kill kept from being published, after it was marked and before it is purged."""
    with context.store.read() as conn:
        if not requests.erasing(conn):
            return
        marked = persons.marked_meldingen(conn, local_day(context.clock.now()))
    _publish(context, marked)


def _publish(context: Context, melding_ids: Collection[str]) -> None:
    """Publish those of these meldingen that were published before and must be looked at again."""
    with context.store.read() as conn:
        published = list(persons.meldingen_of(conn, melding_ids))
    for municipality in sorted({each for _, each in published if context.server_of(each)}):
        publish(context, municipality, only={melding_id for melding_id, _ in published}, origin="request")


def _asked(context: Context, conn: Connection, request: Stored) -> Asked:
    """Whom the request is about, from the file it came in.

    Raises:
        VaultError: the partner is not configured any more, or the file is gone.
    """
    partner = context.partners.get(request.partner_id)
    if partner is None:
        raise VaultError("its partner is not configured any more; put its file back")
    with open_received(context, conn, request.delivery_id) as reader:
        if reader is None:
            raise VaultError(f"the request file {request.delivery_id} is gone")
        _, table = read_municipal(reader.chunks, context.limits, read_table)
        rows = read_requests(table, local_day(request.received_at), context.limits).rows
    for row in rows:
        if isinstance(row, Request) and row.line == request.line:
            return asked_by(context, partner, row.subject)
    raise VaultError(f"the request is not in the file {request.delivery_id} any more")


def _scope(context: Context, conn: Connection, request: Stored, asked: Asked) -> _Scope:
    rows, listed = rows_about(context, conn, asked), listed_about(context, conn, asked)
    if is_ambiguous(context, conn, asked, rows, listed):
        rows, listed = _before(conn, request, rows, listed)
    # of a signal that is about the person every version goes, of one that was about him that version
    numbers = {row.number for row in rows if row.in_force}
    ids = {row.id for row in rows}
    found = persons.versions_of(conn, {row.number for row in rows})
    versions = [each for each in found if each.id in ids or each.number in numbers]
    told_in = {each.delivery_id for each in signals.sealed(conn, (version.id for version in versions))}
    scope = _Scope(versions=versions, told_in=told_in, listed=listed, whole=numbers)
    deliveries = {row.delivery_id for row in rows}
    # one with a request that still waits stays until that is carried out: `gateway.store.going.is_needed`
    scope.raws = [named.raw for named in files_about(context, conn, asked, scope.numbers, deliveries)]
    for file, content in outgoing_about(context, conn, asked, scope.numbers):
        scope.outgoing.append(file)
        if file.kind == DispatchKind.MELDINGEN and not (file.collected_at or file.removed_at):
            scope.lost[file.id] = _meldingen_in(content)
    scope.tokens = persons.tokens_of(conn, {version.id for version in scope.versions})
    return scope


def _before(
    conn: Connection, request: Stored, rows: list[Held], listed: list[ListedPerson]
) -> tuple[list[Held], list[ListedPerson]]:
    """Without a date of birth, and with another of that name there since: what was there when it was asked."""
    before = {
        each.id
        for each in signals.sealed(conn, (row.id for row in rows))
        if each.received_at <= request.received_at
    }
    return (
        [row for row in rows if row.id in before],
        [each for each in listed if each.row.received_at <= request.received_at],
    )


def _meldingen_in(content: bytes) -> dict[str, str]:
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    return {line["melding_id"]: line["klasse"] for line in csv.DictReader(text, delimiter=";")}


def _mark(
    context: Context, request: Stored, scope: _Scope, keep_record: Callable[[Connection], None]
) -> None:
    """One transaction makes all of it true, and keeps a record for a restored backup."""
    now = context.clock.now()
    today = local_day(now)
    last = today - timedelta(days=1)
    with context.store.write() as conn:
        persons.end_rows(conn, [version.id for version in scope.versions], last)
        exclusions.end(conn, [each.row.id for each in scope.listed], last)
        persons.end_answers(conn, scope.numbers, last)
        persons.end_raws(conn, [raw.id for raw in scope.raws], last)
        persons.end_outgoing(conn, [file.id for file in scope.outgoing])
        for file in scope.outgoing:
            _remake(conn, file)
            lost = scope.lost.get(file.id, {})
            persons.lose(conn, lost, file.created_at, now)
            lapsed = [melding_id for melding_id, klasse in lost.items() if klasse == Klasse.LAPSED]
            persons.hold_still(conn, lapsed, file.partner_id, file.created_at)
        persons.drop_tokens(conn, scope.tokens)
        mark_urgent(context, conn)
        keep_record(conn)
        requests.erase(
            conn,
            request.id,
            parties=_parties(context, request, scope),
            deliveries=scope.deliveries,
            backups_until=_backups_until(scope, today),
            at=now,
        )
        record(
            conn,
            action="request.carried_out",
            object_id=request.id,
            origin="schedule",
            actor=request.partner_id,
            at=now,
            node=context.node,
            detail={
                "rows": len(scope.versions),
                "listed": len(scope.listed),
                "files": len(scope.raws),
                "dispatches": len(scope.outgoing),
                "tokens": len(scope.tokens),
            },
        )


def _remake(conn: Connection, file: Outgoing) -> None:
    """Of a worklist that goes, another is made."""
    if file.kind == DispatchKind.WORKLIST:
        for month in worklists.known(conn, file.partner_id, file.municipality):
            if names.worklist_name(file.municipality, month) == file.name:
                worklists.mark_due(conn, [(file.partner_id, file.municipality, month)])


def _parties(context: Context, request: Stored, scope: _Scope) -> set[str]:
    """On whose certificates it comes: municipalities, and partners for what is only theirs (ADR 5)."""
    partners = [*(raw.partner_id for raw in scope.raws), request.partner_id]
    partners += [file.partner_id for file in scope.outgoing if not file.municipality]
    found = {version.municipality for version in scope.versions}
    found |= {each.row.municipality for each in scope.listed}
    found |= {file.municipality for file in scope.outgoing if file.municipality}
    for partner_id in partners:
        partner = context.partners.get(partner_id)
        found.add(partner.serves[0] if partner and len(partner.serves) == 1 else partner_id)
    return found


def _backups_until(scope: _Scope, today: date) -> date:
    """The last day whose key wraps a data key of what goes: until then a backup opens with keys that are held."""
    days = [
        *(version.due_on for version in scope.versions),
        *(each.row.due_on for each in scope.listed),
        *(raw.raw_due_on for raw in scope.raws),
        *(file.due_on for file in scope.outgoing),
    ]
    return max((*days, today))


# After a restore -----------------------------------------------------------------------------------------


def _keep(context: Context, request: Stored, scope: _Scope, conn: Connection) -> None:
    """What went, by ids that a backup knows too: rows have others there once they were purged."""
    rows = signals.sealed(conn, [each.id for each in scope.versions if each.number not in scope.whole])
    keep(
        context,
        conn,
        RemovalKind.ERASURE,
        _backups_until(scope, local_day(context.clock.now())),
        {
            "request": request.id,
            "partner": request.partner_id,
            "number": request.number,
            "delivery": request.delivery_id,
            "line": request.line,
            "received_at": request.received_at.isoformat(),
            "due_at": request.due_at.isoformat(),
            "numbers": sorted(scope.whole),
            "rows": [[each.delivery_id, each.line] for each in rows],
            "listed": [[each.row.delivery_id, each.row.line] for each in scope.listed],
            "raws": [raw.id for raw in scope.raws],
            "files": [file.id for file in scope.outgoing],
        },
    )


def erase_again(context: Context, kept: Mapping[str, Any], adopt: Callable[[Connection], None]) -> None:
    """Mark what a WISSEN removed and a restored backup brought back, as at the first time; `adopt` with it.

    Its request is on record again, as carried out, whether the backup knew it or not. `publish_marked` and the
    purge must follow.
    """
    with context.store.read() as conn:
        scope = _scope_again(context, conn, kept)
        known = requests.by_id(conn, kept["request"])
    request = Stored(
        id=kept["request"],
        partner_id=kept["partner"],
        number=kept["number"],
        ask=Ask.ERASURE,
        state=RequestState.WAITING,
        delivery_id=kept["delivery"],
        line=kept["line"],
        received_at=datetime.fromisoformat(kept["received_at"]),
        due_at=datetime.fromisoformat(kept["due_at"]),
        done_at=None,
        parties=(),
        deliveries=(),
        backups_until=None,
        held_at=None,
    )
    if known is None:
        with context.store.write() as conn:
            requests.add_again(conn, request)
    touch(context, scope.versions)
    _mark(context, request, scope, adopt)


def _scope_again(context: Context, conn: Connection, kept: Mapping[str, Any]) -> _Scope:
    places = [(delivery_id, line) for delivery_id, line in kept["rows"]]
    whole = set(kept["numbers"])
    versions = persons.versions_of(conn, whole)
    versions += [
        each for each in signals.by_id(conn, persons.rows_at(conn, places)) if each.number not in whole
    ]
    deliveries = {each.delivery_id for each in signals.sealed(conn, [each.id for each in versions])}
    scope = _Scope(versions=versions, told_in=deliveries, whole=whole)
    scope.listed = [
        ListedPerson(row=row, fields={}, person=None)
        for row in exclusions.at(conn, [(delivery_id, line) for delivery_id, line in kept["listed"]])
    ]
    # who was sent to others in a file that was received: as then
    scope.raws = persons.raws_at(conn, kept["raws"])
    # a worklist of then was made anew since: the one that a backup holds has another id
    scope.outgoing = persons.outgoing_at(conn, kept["files"], deliveries)
    for file in scope.outgoing:
        if file.kind == DispatchKind.MELDINGEN and not (file.collected_at or file.removed_at):
            content = read_outgoing(context, conn, file)
            scope.lost[file.id] = {} if content is None else _meldingen_in(content)
    scope.tokens = persons.tokens_of(conn, {version.id for version in versions})
    return scope
