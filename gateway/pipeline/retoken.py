"""Somebody may have an index key: what was made with it is made again with its next version (spec 4, Keys).

A token tells nothing of what it was made of, so that is taken from what is held: rows are opened, the old token of
each of their keys is looked up, and its place gets the new token. One transaction, under the lock of intake and
publication: matching sees the old tokens, or the new ones. A `content_token` can't be made again (the row as it was
sent is not kept): it becomes empty, and the row is compared with what is kept of it (`rows.RowIntake`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.audit.log import record
from gateway.clock import local_day
from gateway.errors import KeyMissing, VaultError
from gateway.matching import keys
from gateway.matching.keys import Level, Parts
from gateway.pipeline.context import Context
from gateway.pipeline.keying import made_of
from gateway.pipeline.sealing import Opener, open_key
from gateway.pipeline.staging import signal_of
from gateway.store import Connection, data_keys, key_versions, places, retokening, signals
from gateway.store.signals import Sealed
from gateway.vault import objects
from gateway.vault.index import DIGEST_LEVEL, NAME_LEVEL, Indexer
from gateway.vault.key_ids import month_of as month_of_key
from gateway.vault.keyring import Progress

#: Rows that are opened at a time.
BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retokened:
    """`tokens` were made again; of `lost` ones nothing is held that says what they were made of."""

    tokens: int
    lost: int


def make_tokens_again(
    context: Context, key_id: str, version: int, actor: str, progress: Progress
) -> Retokened:
    """Make what was made with an index key again with a version of it, which is in force from then on.

    No daemon may run: it would go on with the old version. May be repeated.
    """
    now = context.clock.now()
    with context.store.exclusive(), context.store.write() as conn:
        known = key_versions.of_key(conn, key_id)
        if known.version >= version:
            return Retokened(tokens=0, lost=0)
        work = _Work(
            key_id,
            retokening.beside(key_id, version),
            Indexer(context.keyring, lambda: {key_id: known.version}),
            Indexer(context.keyring, lambda: {key_id: version}),
        )
        _make_places_again(context, conn, work, progress)
        _make_names_again(context, conn, work)
        retokening.forget_contents(conn, key_id)
        made, lost = retokening.take_over(conn, key_id, work.beside)
        key_versions.advance(conn, key_id, version, now)
        record(
            conn,
            action="key.renewed",
            object_id=key_id,
            origin="cli",
            actor=actor,
            at=now,
            node=context.node,
            detail={"version": version, "tokens": made, "lost": lost},
        )
    return Retokened(tokens=made, lost=lost)


@dataclass(frozen=True, slots=True)
class _Work:
    key_id: str
    #: under which the new tokens lie until they take over
    beside: str
    old: Indexer
    new: Indexer

    @property
    def month(self) -> str:
        """The month of the key."""
        return month_of_key(self.key_id) or ""

    def again(self, level: str, scope: str, parts: Parts, token: bytes | None) -> bytes | None:
        """The new token in the place of one that was made of these parts; None when this one was not."""
        if token is None or self.old.token(self.month, level, scope, parts) != token:
            return None
        return self.new.token(self.month, level, scope, parts)


def _make_places_again(context: Context, conn: Connection, work: _Work, progress: Progress) -> None:
    total, done, last = retokening.count_rows(conn), 0, 0
    while ids := retokening.rows_after(conn, last, BATCH):
        opener = Opener(context, conn)
        made_of_level: dict[tuple[Level, str], dict[Parts, None]] = defaultdict(dict)
        for stored in signals.sealed(conn, ids):
            for level, scope, parts in _keys_of(opener, stored):
                made_of_level[level, scope][parts] = None
        for (level, scope), many in made_of_level.items():
            old = work.old.tokens(work.month, level, scope, many)
            known = places.find(conn, work.key_id, level, old)
            new = work.new.tokens(work.month, level, scope, many)
            found = {token: known[was] for was, token in zip(old, new, strict=True) if was in known}
            places.keep(conn, work.beside, level, found)
        last, done = ids[-1], done + len(ids)
        progress(done, total)


def _keys_of(opener: Opener, stored: Sealed) -> Iterator[tuple[Level, str, Parts]]:
    """Every key that a signal may have a token of: level, scope and parts."""
    try:
        contents = opener.open(stored)
    except (KeyMissing, VaultError):  # it is found by nothing then
        return
    row = signal_of(stored, contents)
    received_on = local_day(stored.received_at)
    yield Level.SIGNAL, stored.creditor, keys.signal(stored.creditor, row.signal_id or "")
    # of the month that it was sent in, where it named no day itself
    for day in {stored.signalled_on, received_on, local_day(stored.first_received_at)}:
        yield Level.AUTO_SIGNAL, stored.creditor, made_of(replace(row, signalled_on=day), received_on)
    levels = keys.levels(
        postcode=row.postcode,
        number=row.house_number,
        letter=row.house_letter,
        addition=row.house_number_suffix,
        surname=row.surname,
        born_on=row.born_on,
    )
    code = stored.municipality
    yield Level.ADDRESS, code, levels.address
    yield Level.ADDRESS_EXACT, code, levels.address_exact
    if levels.person is not None:
        yield Level.PERSON, code, levels.person
    if levels.address_surname is not None:
        yield Level.ADDRESS_SURNAME, code, levels.address_surname
    contract = keys.contract(stored.creditor, code, row.customer_number, row.sector, row.product)
    yield Level.CONTRACT, code, contract


def _make_names_again(context: Context, conn: Connection, work: _Work) -> None:
    """Of received files: by which name they are found, and by which bytes."""
    for file in retokening.files(conn, work.key_id):
        stored = data_keys.of_object(conn, file.id)
        name, digest = None, None
        try:
            if stored is not None:
                row_key = open_key(context, stored).row_key()
                if file.name_sealed is not None:
                    name = objects.open_name(row_key, file.id, file.name_sealed)
                if file.sha256_sealed is not None:
                    digest = objects.open_digest(row_key, file.id, file.sha256_sealed)
        except (KeyMissing, VaultError):  # it is found by nothing then
            name, digest = None, None
        partner = file.partner_id
        if file.name_key == work.key_id:
            token = None if name is None else work.again(NAME_LEVEL, partner, (name,), file.name_token)
            retokening.set_name(conn, file.id, token)
        if file.content_key == work.key_id:
            again = None
            if digest is not None:
                again = work.again(DIGEST_LEVEL, partner, (digest.hex(),), file.content_digest)
            retokening.set_digest(conn, file.id, again)
