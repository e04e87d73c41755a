"""WISSEN that takes effect: what it covers is marked in one transaction, and goes with the purge that follows (spec 4).

    rows       every version of the person's signals, and what was answered on them: overdue from now on
    meldingen  looked at again, as at a withdrawal: the next version goes out before the old file is gone
    outgoing   the files of the municipality that name the person: out of sight; what others of a file that nobody
               collected would miss goes out again
    received   files in which the person stands, whole; rows of others stay, they have keys of their own
    tokens     those that lead to nobody else

A kill before the transaction leaves nothing; after it, the purge finds all by its marks and goes on with it.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.dispatch import DispatchKind
from gateway.domain.request import Request
from gateway.errors import DeliveryError, VaultError
from gateway.files.municipalfile import read_municipal
from gateway.files.requestfile import read_requests
from gateway.pipeline.context import Context
from gateway.pipeline.persons import (
    Asked,
    files_about,
    is_ambiguous,
    open_received,
    outgoing_about,
    rows_about,
)
from gateway.pipeline.publish import publish
from gateway.pipeline.touching import Touching
from gateway.pipeline.workbook import read_table
from gateway.store import Connection, meldingen, persons, requests, signals
from gateway.store.persons import Held, Outgoing, Raw
from gateway.store.requests import Stored
from gateway.store.signals import Version

_log = logs.get("requests")


@dataclass(slots=True, kw_only=True)
class _Scope:
    """What a request covers. `lost` are the meldingen in each outgoing file that nobody collected."""

    versions: list[Version] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    raws: list[Raw] = field(default_factory=list)
    lost: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    tokens: Sequence[tuple[str, str, bytes]] = ()

    @property
    def numbers(self) -> set[str]:
        return {version.number for version in self.versions}

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
    _touch(context, scope.versions)
    _mark(context, request, scope)
    with context.store.read() as conn:
        published = list(persons.meldingen_of(conn, scope.meldingen))
    for municipality in sorted({each for _, each in published if each in context.served_by}):
        publish(context, municipality, only={melding_id for melding_id, _ in published}, origin="request")
    _log.info(
        "erasure.marked",
        partner_id=request.partner_id,
        rows=len(scope.versions),
        count=len(scope.outgoing) + len(scope.raws),
    )


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
            return Asked(partner=partner, subject=row.subject)
    raise VaultError(f"the request is not in the file {request.delivery_id} any more")


def _scope(context: Context, conn: Connection, request: Stored, asked: Asked) -> _Scope:
    rows = _of_one_person(request, asked, rows_about(context, conn, asked), conn)
    # of a signal that is about the person every version goes, of one that was about him that version
    numbers = {row.number for row in rows if row.in_force}
    ids = {row.id for row in rows}
    found = persons.versions_of(conn, {row.number for row in rows})
    scope = _Scope(versions=[each for each in found if each.id in ids or each.number in numbers])
    deliveries = {row.delivery_id for row in rows}
    # one with a request that still waits stays until that is carried out: `gateway.store.going.is_needed`
    scope.raws = [named.raw for named in files_about(context, conn, asked, scope.numbers, deliveries)]
    for file, content in outgoing_about(context, conn, asked, scope.numbers):
        scope.outgoing.append(file)
        if file.kind == DispatchKind.MELDINGEN and not (file.collected_at or file.removed_at):
            scope.lost[file.id] = _meldingen_in(content)
    scope.tokens = persons.tokens_of(conn, {version.id for version in scope.versions})
    return scope


def _of_one_person(request: Stored, asked: Asked, rows: list[Held], conn: Connection) -> list[Held]:
    """Without a date of birth, and with another of that name there since: the rows that were there when it was asked."""
    if not is_ambiguous(asked, rows):
        return rows
    before = {
        each.id
        for each in signals.sealed(conn, (row.id for row in rows))
        if each.received_at <= request.received_at
    }
    return [row for row in rows if row.id in before]


def _meldingen_in(content: bytes) -> set[str]:
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    return {line["melding_id"] for line in csv.DictReader(text, delimiter=";")}


def _touch(context: Context, versions: Iterable[Version]) -> None:
    """Mark what must be looked at again; looked at in vain when what follows never comes."""
    touching, today = Touching(context), local_day(context.clock.now())
    with context.store.read() as conn:
        contracts: dict[int, list[Version]] = defaultdict(list)
        for other in signals.in_force(conn, "place_k1", {each.place_k1 for each in versions}, today):
            contracts[other.place_k1].append(other)
    for version in versions:
        touching.add(version, contracts[version.place_k1])
    with context.store.write() as conn:
        touching.store(conn, context.clock.now())


def _mark(context: Context, request: Stored, scope: _Scope) -> None:
    """One transaction makes all of it true."""
    now = context.clock.now()
    today = local_day(now)
    last = today - timedelta(days=1)
    with context.store.write() as conn:
        persons.end_rows(conn, [version.id for version in scope.versions], last)
        persons.end_answers(conn, scope.numbers, last)
        persons.end_raws(conn, [raw.id for raw in scope.raws], last)
        persons.end_outgoing(conn, [file.id for file in scope.outgoing])
        for file in scope.outgoing:
            persons.lose(conn, scope.lost.get(file.id, ()), file.created_at, now)
        persons.drop_tokens(conn, scope.tokens)
        meldingen.mark_urgent(
            conn,
            [code for code in context.served_by if context.policy(code).matching.always_crisis],
            today,
        )
        requests.erase(
            conn,
            request.id,
            parties=_parties(context, request, scope),
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
                "files": len(scope.raws),
                "dispatches": len(scope.outgoing),
                "tokens": len(scope.tokens),
            },
        )


def _parties(context: Context, request: Stored, scope: _Scope) -> set[str]:
    """On whose certificates it comes: municipalities, and partners for what is only theirs (ADR 5)."""
    partners = [*(raw.partner_id for raw in scope.raws), request.partner_id]
    partners += [file.partner_id for file in scope.outgoing if not file.municipality]
    found = {version.municipality for version in scope.versions}
    found |= {file.municipality for file in scope.outgoing if file.municipality}
    for partner_id in partners:
        partner = context.partners.get(partner_id)
        found.add(partner.serves[0] if partner and len(partner.serves) == 1 else partner_id)
    return found


def _backups_until(scope: _Scope, today: date) -> date:
    """The last day whose key wraps a data key of what goes: until then a backup opens with keys that are held."""
    days = [
        *(version.due_on for version in scope.versions),
        *(raw.raw_due_on for raw in scope.raws),
        *(file.due_on for file in scope.outgoing),
    ]
    return max((*days, today))
