"""Certificates of destruction, signed, and the creditors' lists of what went (spec 4, Retention: certify).

One for each party of a run: a municipality for its own, a partner for what is only that partner's (ADR 5).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import groupby

from gateway import __version__
from gateway.audit.log import Entry, record_all
from gateway.audit.sshsig import public_line
from gateway.clock import add_months, local_day
from gateway.domain.approval import Approval, Subject, gave_leave
from gateway.domain.certificate import (
    CERTIFICATE_MONTHS,
    LIST_DAYS,
    Certificate,
    CompactionFigures,
    Destroyed,
    Kind,
    LogPlace,
)
from gateway.domain.dispatch import DispatchKind, Letter
from gateway.domain.hold import HeldOut
from gateway.domain.partner import Box, Role
from gateway.domain.request import Erasure
from gateway.files.certificate import render_json, render_text
from gateway.files.manifest import render_manifest
from gateway.files.names import certificate_names, destroyed_name, manifest_name
from gateway.files.registers import DestroyedRow, render_destroyed
from gateway.retention.notary import Party
from gateway.retention.run import Run
from gateway.retention.steps import due_keys
from gateway.store import approvals, certificates, destruction, holds, registers, requests
from gateway.store.audit import place_of
from gateway.store.certificates import Signed
from gateway.store.destruction import Taken
from gateway.store.going import Going, going
from gateway.store.holds import LeftOut
from gateway.store.requests import Stored
from gateway.store.retention import writing
from gateway.vault.key_ids import until_id

#: The place that holds the keyring, beside the registered copies of it.
RING = "keys"

NOT_COMPACTED = "de database is niet geheel gecompacteerd"
NOT_ALL = "niet alles kon worden vernietigd: wat er nog is, volgt op een latere verklaring"
NOT_SEALED = "de hoofdsleutel in de HSM is nog niet vervangen: een eerdere kopie van de map keys/ kan nog worden geopend"
#: What stands on a certificate when the database was not compacted at all.
_NO_COMPACTION = CompactionFigures(bytes_before=0, bytes_after=0, wal_bytes=0, seconds=0, busy=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """What a run took, seen after it: what is gone, with its rows, and what is still here."""

    gone: Sequence[Taken]
    #: id -> rows that are gone
    rows: Mapping[int, int]
    #: ids of what is wholly here still
    left: Sequence[int]
    #: parties of which something is here still
    incomplete: frozenset[str]
    #: keys of days and months that are over and still here
    stuck: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Circumstances:
    """What all certificates of a run have in common."""

    began_at: datetime
    keys: tuple[str, ...]
    unconfirmed: frozenset[tuple[str, str]]
    master: str
    compaction: CompactionFigures
    log: LogPlace
    problems: tuple[str, ...]
    requests: Sequence[Stored]
    #: given by two people each, and of use to this run
    approvals: Sequence[Approval]
    #: delivery -> the legal holds that keep it
    holds: Mapping[str, Sequence[str]]
    #: party -> what is kept of it past its day
    held: Mapping[str, Sequence[HeldOut]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A certificate in its signed forms, and what it tells of."""

    signed: Signed
    taken: Sequence[Taken]


def certify(run: Run) -> None:
    """A signed certificate for each party, and for each creditor the list of its deliveries that went.

    What turns out to be still here comes on the certificate of the run that takes it. Certificates, lists and
    their audit entries are there with one transaction, or not at all.
    """
    with writing(run.store) as conn:
        destruction.forget(conn, run.today)
        certificates.forget(conn, run.today)
    account = _account(run)
    if not account.gone:
        return
    common = _circumstances(run, account)
    with run.store.read() as conn:
        last = certificates.last_number(conn, run.today.year)
    made = [
        _certificate(run, f"{run.today.year}-{number:06}", list(taken), account, common)
        for number, (_, taken) in enumerate(groupby(account.gone, key=lambda one: one.party), start=last + 1)
    ]
    day_key = until_id(_keep_until(run))
    run.keyring.ensure([day_key])
    letters = [*(letter for one in made for letter in _letters(run, one)), *_lists(run, account)]
    store_letters = run.notary.post(letters)
    with run.transaction() as conn:
        registers.register_keys(conn, [day_key], run.now)
        certificates.add(conn, [one.signed for one in made])
        for one in made:
            rows = {each.id: account.rows[each.id] for each in one.taken}
            destruction.settle(conn, rows, one.signed.number, run.now)
            run.note(conn, "certificate.made", one.signed.number, _digests(one))
        destruction.drop(conn, account.left)
        store_letters(conn, run.now)


def _account(run: Run) -> _Account:
    with run.store.read() as conn:
        taken = destruction.uncertified(conn, run.id)
        here = Counter[tuple[object, ...]]()
        for still in going(conn, run.today):
            here[_mark(run, still)] += _size(still)
        stuck = due_keys(conn, run.keyring, run.today, run.terms)
    incomplete = frozenset(one.party for one in taken if here[_mark_of(one)])
    gone: list[Taken] = []
    left: list[int] = []
    rows: dict[int, int] = {}
    for one in taken:
        stays = min(_size(one), here[_mark_of(one)])
        here[_mark_of(one)] -= stays
        rows[one.id] = max(0, one.rows - stays)
        if stays < _size(one):
            gone.append(one)
        else:
            left.append(one.id)
    return _Account(gone=gone, rows=rows, left=left, incomplete=incomplete, stuck=stuck)


def _circumstances(run: Run, account: _Account) -> _Circumstances:
    log = _log_place(run)
    with run.store.read() as conn:
        figures = destruction.compaction(conn, run.id)
        keys = registers.destroyed_in(conn, run.id)
        began_at = registers.run(conn, run.id).started_at
        erased = requests.erasing(conn)
        given = approvals.given(conn, clock_after=registers.started_before(conn, run.id))
        covering = holds.covering(conn)
        left_out = holds.left_out(conn, run.today)
    problems = [f"sleutel {key} is niet vernietigd" for key in account.stuck]
    unconfirmed = [(key, copy) for key in keys for copy in run.keyring.unconfirmed(key)]
    problems += [
        f"van sleutel {key} is de vernietiging in {copy} niet bevestigd" for key, copy in unconfirmed
    ]
    must_replace_master = run.keyring.must_replace_master()
    if must_replace_master:
        problems.append(NOT_SEALED)
    if figures is None or not figures.is_complete:
        problems.append(NOT_COMPACTED)
    return _Circumstances(
        began_at=began_at,
        keys=tuple(keys),
        unconfirmed=frozenset(unconfirmed),
        master="" if must_replace_master or not keys else run.keyring.master() or "",
        compaction=figures or _NO_COMPACTION,
        log=log,
        problems=tuple(problems),
        requests=erased,
        approvals=given,
        holds=covering,
        held=_by_party(run, left_out),
    )


def _by_party(run: Run, left_out: Sequence[LeftOut]) -> dict[str, list[HeldOut]]:
    """What is kept past its day, for each party by hold."""
    counts: dict[str, dict[HeldOut, int]] = defaultdict(lambda: defaultdict(int))
    for one in left_out:
        party = run.notary.party_for(one.municipality, one.partner_id)
        counts[party][replace(one.held, objects=0)] += one.held.objects
    return {
        party: [replace(held, objects=count) for held, count in found.items()]
        for party, found in counts.items()
    }


def _log_place(run: Run) -> LogPlace:
    """The log says that the run was verified, and a checkpoint covers that: both are on the certificate."""
    entry = Entry(
        action="purge.verified",
        object_id=run.object_id,
        origin=run.origin,
        actor=run.actor,
        at=run.now,
        node=run.node,
    )
    with writing(run.store) as conn:
        record_all(conn, [entry])
    note = run.notary.seal_log(run.store, run.now)
    with run.store.read() as conn:
        return LogPlace(index=place_of(conn, entry.canonical()), checkpoint=note)


def _certificate(
    run: Run, number: str, taken: list[Taken], account: _Account, common: _Circumstances
) -> _Made:
    party = run.notary.party(taken[0].party, run.terms)
    certificate = Certificate(
        number=number,
        run_id=run.id,
        made_at=run.now,
        began_at=common.began_at,
        due_before=run.today,
        party=party.code,
        party_name=party.name,
        is_municipality=party.is_municipality,
        mandate=party.mandate,
        policy_version=party.policy_version,
        items=tuple(_destroyed(one, account.rows[one.id]) for one in taken),
        keys=common.keys,
        copies=(RING, *run.keyring.copies()),
        unconfirmed=common.unconfirmed,
        master=common.master,
        compaction=common.compaction,
        problems=(*common.problems, *([NOT_ALL] if party.code in account.incomplete else [])),
        approvals=_approvals(party, taken, common),
        erasures=tuple(
            _erasure(run, each, common.holds) for each in common.requests if party.code in each.parties
        ),
        held=tuple(common.held.get(party.code, ())),
        log=common.log,
        node=run.node,
        version=__version__,
        public_key=public_line(run.notary.signer.public_key),
    )
    as_json, as_text = render_json(certificate), render_text(certificate)
    signed = Signed(
        number=number,
        run_id=run.id,
        party=party.code,
        made_at=run.now,
        is_complete=certificate.is_complete,
        as_json=as_json,
        json_signature=run.notary.signer.sign_message(as_json),
        as_text=as_text,
        text_signature=run.notary.signer.sign_message(as_text),
        keep_until=_keep_until(run),
    )
    return _Made(signed=signed, taken=taken)


def _approvals(party: Party, taken: Sequence[Taken], common: _Circumstances) -> tuple[Approval, ...]:
    """What two people each approved of this: the days, the end of a hold, and a clock that had jumped."""
    leave = gave_leave(party.mandate.approval, common.approvals, party.code, {one.due_on for one in taken})
    objects = {one.object_id for one in taken}
    others = [
        each
        for each in common.approvals
        if each.subject is Subject.CLOCK
        or (each.subject is Subject.LIFT and objects.intersection(str(each.detail["deliveries"]).split()))
    ]
    return (*leave, *others)


def _erasure(run: Run, request: Stored, covering: Mapping[str, Sequence[str]]) -> Erasure:
    return Erasure(
        number=request.number,
        received_at=request.received_at,
        backups_until=max(request.backups_until or run.today, run.today),
        waits_for=tuple(sorted({hold for each in request.deliveries for hold in covering.get(each, ())})),
    )


def _destroyed(one: Taken, rows: int) -> Destroyed:
    return Destroyed(
        kind=one.kind,
        object_id=one.object_id,
        partner_id=one.partner_id,
        received_at=one.received_at,
        due_on=one.due_on,
        rows=rows,
        sealed_bytes=one.sealed_bytes,
        sha256=one.sha256,
        key=one.key,
        key_destroyed=one.key_goes,
        never_collected=one.never_collected,
    )


def _letters(run: Run, made: _Made) -> Iterator[Letter]:
    """Both forms, their signatures and manifests, for the outbox of the partner that collects."""
    party, signed = run.notary.party(made.signed.party, run.terms), made.signed
    if party.partner_id is None:
        return
    forms = ((signed.as_json, signed.json_signature), (signed.as_text, signed.text_signature))
    for name, (content, signature) in zip(certificate_names(signed.number), forms, strict=True):
        manifest = render_manifest(
            name=name,
            size=len(content),
            sha256=_digest(content),
            rows=len(made.taken),
            municipality=party.code if party.is_municipality else "",
            created_at=run.now,
            expires_on=signed.keep_until,
        )
        for letter_name, kind, data, parent in (
            (name, DispatchKind.CERTIFICATE, content, None),
            (f"{name}.sig", DispatchKind.CERTIFICATE, signature, name),
            (manifest_name(name), DispatchKind.MANIFEST, manifest, name),
        ):
            yield Letter(
                partner_id=party.partner_id,
                box=Box.OUTBOX,
                name=letter_name,
                kind=kind,
                content=data,
                due_on=signed.keep_until,
                municipality=party.code if party.is_municipality else "",
                belongs_to=parent,
            )


def _lists(run: Run, account: _Account) -> Iterator[Letter]:
    """`vernietigd_<date>.csv` for each creditor whose signals went."""
    lists: dict[str, dict[str, DestroyedRow]] = defaultdict(dict)
    for one in account.gone:
        partner = run.notary.partners.get(one.partner_id)
        if one.kind is not Kind.ROWS or partner is None or partner.role is not Role.CREDITOR:
            continue
        before = lists[partner.id].get(one.object_id)
        lists[partner.id][one.object_id] = DestroyedRow(
            delivery_id=one.object_id,
            received_on=one.received_at and local_day(one.received_at),
            destroyed_on=run.today,
            signal_count=account.rows[one.id] + (before.signal_count if before else 0),
        )
    due_on = run.today + timedelta(days=LIST_DAYS)
    with run.store.read() as conn:
        made = destruction.lists_made(conn, due_on)
    for partner_id, rows in lists.items():
        yield Letter(
            partner_id=partner_id,
            box=Box.RETURNS,
            name=destroyed_name(run.today, made.get(partner_id, 0) + 1),
            kind=DispatchKind.DESTROYED,
            content=b"".join(render_destroyed(rows.values())),
            due_on=due_on,
        )


def _digests(made: _Made) -> dict[str, int | str]:
    """What the log says of a certificate: who has one finds it there, unaltered."""
    return {
        "items": len(made.taken),
        "json": _digest(made.signed.as_json),
        "party": made.signed.party,
        "status": "complete" if made.signed.is_complete else "incomplete",
        "text": _digest(made.signed.as_text),
    }


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _mark(run: Run, one: Going) -> tuple[object, ...]:
    """What is still here is known again by this: its data key may be gone already."""
    return one.kind, one.object_id, run.notary.party_of(one), one.due_on or run.today


def _mark_of(one: Taken) -> tuple[object, ...]:
    return one.kind, one.object_id, one.party, one.due_on


def _size(one: Going | Taken) -> int:
    """Rows, or 1 for a file."""
    return one.rows if one.kind.is_rows else 1


def _keep_until(run: Run) -> date:
    return add_months(run.today, CERTIFICATE_MONTHS)
