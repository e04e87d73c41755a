"""What is held on the person of a request, within the municipalities of the partner that asks (spec 2, Request file).

For the holder of `Store.exclusive()`: what is looked at then stays as it is.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from gateway.clock import local_day
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Partner, Role
from gateway.domain.request import Subject
from gateway.errors import DeliveryError, GatewayError, KeyMissing
from gateway.files.accessfile import subject_of
from gateway.files.personfile import Mention, mentions
from gateway.matching.keys import Level, Parts
from gateway.matching.municipality import municipality_of
from gateway.matching.person import Identity, identity, is_about, persons
from gateway.pipeline.context import Context
from gateway.pipeline.sealing import Opener, open_key
from gateway.pipeline.workbook import read_municipal_table, read_table
from gateway.store import Connection, data_keys, exclusions, places, reference, signals
from gateway.store import persons as held
from gateway.store.exclusions import Held as Listed
from gateway.store.persons import Held, Outgoing, Raw
from gateway.store.signals import Sealed
from gateway.vault import objects
from gateway.vault.datakey import DataKey
from gateway.vault.key_ids import index_id
from gateway.vault.objects import EXCLUSION, SIGNAL
from gateway.vault.stream import SealedReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whom a partner asks about: the person's keys, and the municipalities within which.

    Those are the ones that the partner serves, and what merged into them: a request is the controller's (AVG art. 4(7)).
    Who only gets meldingen by a route asks nothing.
    """

    partner: Partner
    subject: Subject
    within: frozenset[str]

    @property
    def keys(self) -> Identity:
        """P1 and AS of the person."""
        return identity(self.subject)


def asked_by(context: Context, partner: Partner, subject: Subject) -> Asked:
    """Whom a partner asks about."""
    merged = (code for served in partner.serves for code in context.predecessors(served))
    return Asked(partner=partner, subject=subject, within=frozenset({*partner.serves, *merged}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPerson:
    """A row of a municipality's list that is about a person, opened."""

    row: Listed
    fields: Mapping[str, Any]
    person: Parts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A received file with its rows that are about a person."""

    raw: Raw
    rows: Sequence[Mention]


def rows_about(context: Context, conn: Connection, asked: Asked) -> list[Held]:
    """Every row that is held on the person: by place, and by opening those that no token leads to."""
    keys, serves = asked.keys, asked.within
    p1 = _places(context, conn, Level.PERSON, serves, keys.person)
    by_surname = _places(context, conn, Level.ADDRESS_SURNAME, serves, keys.address_surname)
    found = {
        row.id: row
        for row in held.at_places(conn, serves, p1, by_surname)
        # one of that name and address with another date of birth is somebody else
        if row.place_p1 in p1 or row.place_p1 is None or keys.person is None
    }
    live = [index_id(month) for month in context.indexer.live_months()]
    rest = held.unindexed(conn, serves, live, local_day(context.clock.now()))
    others = {row.id: row for row in rest if row.id not in found}
    opener = Opener(context, conn)
    for signal in signals.sealed(conn, others):
        if is_about(keys, _identity(opened(opener, signal))):
            found[signal.id] = others[signal.id]
    return [found[row_id] for row_id in sorted(found)]


def listed_about(context: Context, conn: Connection, asked: Asked) -> list[ListedPerson]:
    """Where the municipalities list the person, as excluded or known: rows without tokens, so all are opened."""
    opener = Opener(context, conn)
    found = []
    for row in exclusions.held(conn, asked.within):
        fields = opened(opener, row, EXCLUSION)
        keys = _identity(fields)
        if is_about(asked.keys, keys):
            found.append(ListedPerson(row=row, fields=fields, person=keys.person))
    return found


def is_ambiguous(
    context: Context, conn: Connection, asked: Asked, rows: Iterable[Held], listed: Iterable[ListedPerson]
) -> bool:
    """Whether a surname at an address, asked for without a date of birth, is that of several persons."""
    if asked.keys.person is not None:
        return False
    known = {row.place_p1 for row in rows}
    only_listed = {
        each.person
        for each in listed
        if not known & _places(context, conn, Level.PERSON, asked.within, each.person)
    }
    return persons((*known, *only_listed)) > 1


def files_about(
    context: Context,
    conn: Connection,
    asked: Asked,
    numbers: Collection[str],
    deliveries: Collection[str] = (),
) -> Iterator[Named]:
    """The received files that are held and have rows about the person, of creditors and of who gets these meldingen.

    `deliveries` are those whose signals are about the person: they are in it, whatever their columns are read as now.
    """
    # also those who answer on meldingen that a route gave them
    answering = {each for code in asked.within for each in context.recipients(code)}
    senders = [each.id for each in context.partners.values() if each.sectors or each.id in answering]
    for raw in held.raws(conn, senders):
        rows: list[Mention] = []
        with _received(context, conn, raw) as reader:
            if reader is None:
                continue
            sender = context.partners[raw.partner_id]
            # as far as it can be read: it could be when it was processed
            read = read_municipal_table if sender.role is Role.MUNICIPALITY else read_table
            with suppress(DeliveryError):
                for row in mentions(reader.chunks, sender, context.limits, read):
                    if row.signal_number in numbers or is_about(asked.keys, identity(row.subject)):
                        rows.append(row)
        if raw.partner_id != asked.partner.id:
            rows = [row for row in rows if municipality(context, row) in (*asked.within, None)]
        if rows or raw.id in deliveries:
            yield Named(raw=raw, rows=rows)


def municipality(context: Context, row: Mention) -> str | None:
    """The municipality of a creditor's row; None when its address can't be read, or does not say."""
    hit = None
    if row.postcode and row.house_number:
        at = (row.postcode, row.house_number)
        hit = reference.find(context.reference, [at]).get(at)
    return municipality_of(hit, context.pc4.get(row.postcode[:4], ()), row.municipality)[0]


def outgoing_about(
    context: Context, conn: Connection, asked: Asked, numbers: Collection[str]
) -> Iterator[tuple[Outgoing, bytes]]:
    """The outgoing files that are held and name the person, with what is in them; not their manifests.

    Of the partner, and of its municipalities to whomever they went.
    """
    for file in held.outgoing_of(conn, asked.partner.id, asked.within):
        if file.kind == DispatchKind.MANIFEST:
            continue
        content = read_outgoing(context, conn, file)
        if content is not None and _names(content, asked.keys, numbers):
            yield file, content


@contextmanager
def open_received(context: Context, conn: Connection, delivery_id: str) -> Iterator[SealedReader | None]:
    """The decrypting stream of a received file; None when it is gone."""
    raw = held.raw(conn, delivery_id)
    if raw is None:
        yield None
        return
    with _received(context, conn, raw) as reader:
        yield reader


def read_outgoing(context: Context, conn: Connection, file: Outgoing) -> bytes | None:
    """What is in an outgoing file; None when its key is gone."""
    data_key = _key(context, conn, file.id)
    if data_key is None:
        return None
    place = objects.dispatched_file(
        partner=file.partner_id, delivery=file.delivery_id, dispatch=file.id, kind=file.kind
    )
    with context.blobs.open(file.blob) as blob:
        reader = SealedReader(data_key.file_key(file.id), place, blob.read_at, blob.size)
        return b"".join(reader.chunks())


@contextmanager
def _received(context: Context, conn: Connection, raw: Raw) -> Iterator[SealedReader | None]:
    data_key = _key(context, conn, raw.id)
    if data_key is None:
        yield None
        return
    place = objects.received_file(partner=raw.partner_id, delivery=raw.id)
    with context.blobs.open(raw.blob) as blob:
        yield SealedReader(data_key.file_key(raw.id), place, blob.read_at, blob.size)


def _key(context: Context, conn: Connection, object_id: str) -> DataKey | None:
    stored = data_keys.of_object(conn, object_id)
    if stored is None:
        return None
    try:
        return open_key(context, stored)
    except KeyMissing:
        return None


def _places(
    context: Context, conn: Connection, level: Level, municipalities: Iterable[str], key: Parts | None
) -> set[int]:
    """The places of a key in some municipalities, under every live index key."""
    if key is None:
        return set()
    return {
        place
        for municipality in municipalities
        for month in context.indexer.live_months()
        for place in places.find(
            conn, index_id(month), level, [context.indexer.token(month, level, municipality, key)]
        ).values()
    }


def opened(opener: Opener, row: Sealed | Listed, table: str = SIGNAL) -> dict[str, Any]:
    """The sealed fields of a row; none when they are gone."""
    try:
        return opener.open(row, table)
    except GatewayError:
        return {}


def _identity(fields: Mapping[str, Any]) -> Identity:
    """The keys in the fields of a row, or of a line of our own files: by the wire's names."""
    born_on = fields.get("geboortedatum")
    return identity(
        Subject(
            surname=str(fields.get("achternaam") or ""),
            born_on=date.fromisoformat(born_on) if born_on else None,
            postcode=str(fields.get("postcode") or ""),
            house_number=int(fields.get("huisnummer") or 0),
            house_letter=str(fields.get("huisletter") or ""),
            house_number_suffix=str(fields.get("huisnummertoevoeging") or ""),
        )
    )


def _names(content: bytes, keys: Identity, numbers: Collection[str]) -> bool:
    """Whether an outgoing file names a person: a number of its signals, or its name with its birth or address."""
    parts = [content]
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            parts = [book.read(name) for name in book.namelist()]
    if any(number.encode() in part for number in numbers for part in parts):
        return True
    subject = subject_of(content)
    if subject is not None:
        return is_about(keys, identity(subject))
    if len(parts) > 1:
        return False
    text = io.StringIO(content.decode("utf-8-sig", errors="replace"), newline="")
    return any(
        is_about(keys, _identity(line))
        for line in csv.DictReader(text, delimiter=";")
        if line.get("achternaam")
    )
