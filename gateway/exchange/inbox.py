"""A partner's inbox as it sees it: what it sent, under the names it gave. Blocking, so it runs in threads; but `look_up`.

Names are sealed; a name is found by its token under the index key of the month in which it was stored.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day, month_of, shift_month
from gateway.domain.delivery import DeliveryState
from gateway.domain.partner import Box, Partner
from gateway.errors import KeyMissing, VaultError
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.protocol import Attributes, Refused, Status
from gateway.exchange.tree import file_attributes
from gateway.store import Connection, data_keys, deliveries
from gateway.store.data_keys import StoredKey
from gateway.store.deliveries import Name, Received
from gateway.vault.datakey import DataKey, WrappedKey, unwrap
from gateway.vault.index import NAME_LEVEL
from gateway.vault.key_ids import index_id
from gateway.vault.objects import open_name, seal_name

_log = logs.get("exchange")


def is_temporary(partner: Partner, name: str) -> bool:
    """Whether a file of this name waits for its RENAME (spec 1, Uploads 3)."""
    return any(fnmatchcase(name, pattern) for pattern in partner.temporary_names)


def store_name(
    exchange: Exchange, file: tuple[str, str], name: str, *, row_key: bytes | None, now: datetime
) -> Name:
    """A name for the database: sealed under the file's row key, unless that has gone, and its token.

    Args:
        exchange: keys.
        file: partner id and delivery id.
        name: the name that the partner gave.
        row_key: of the file's data key; None when it was destroyed.
        now: the instant of the change.

    Raises:
        KeyMissing: there is no index key for this month.
    """
    partner_id, delivery_id = file
    month = month_of(local_day(now))
    return Name(
        sealed=None if row_key is None else seal_name(row_key, delivery_id, name),
        token=exchange.indexer.token(month, NAME_LEVEL, partner_id, (name,)),
        key_id=index_id(month),
    )


def find(exchange: Exchange, conn: Connection, partner_id: str, name: str) -> list[Received]:
    """The files of that name that the partner sees, newest last."""
    now = exchange.clock.now()
    tokens = _tokens(exchange, partner_id, name, now)
    return deliveries.named(conn, partner_id, tokens, now - exchange.listed_for)


def newest(exchange: Exchange, visit: Visit, name: str) -> Received | None:
    """The file that the partner sees under that name."""
    with exchange.store.read() as conn:
        found = find(exchange, conn, visit.partner.id, name)
    return found[-1] if found else None


async def look_up(exchange: Exchange, visit: Visit, name: str) -> Received | None:
    """The same, at once: clients ask before each file that they send."""
    try:
        with exchange.store.glance() as conn:
            found = find(exchange, conn, visit.partner.id, name)
    except BlockingIOError:
        return await asyncio.to_thread(newest, exchange, visit, name)
    return found[-1] if found else None


def attributes_of(file: Received) -> Attributes:
    """What STAT answers: the size received, and the times the client set or those of receipt."""
    seen = int(file.seen_at.timestamp())
    modified = seen if file.client_modified is None else file.client_modified
    return file_attributes(
        Box.INBOX,
        size=file.size_bytes,
        at=modified,
        mode=file.client_mode,
        accessed=file.client_accessed,
    )


def listing(exchange: Exchange, visit: Visit) -> list[tuple[str, Attributes]]:
    """Every name in the inbox with its newest file, sorted.

    A file whose contents were destroyed early has no name left to show; STAT still finds it.
    """
    since = exchange.clock.now() - exchange.listed_for
    with exchange.store.read() as conn:
        files = deliveries.listed(conn, visit.partner.id, since)
        stored = data_keys.of_objects(conn, [file.id for file in files])
    names: dict[str, Attributes] = {}
    for file in files:
        try:
            key = _unwrap(exchange, visit.partner.id, stored[file.id]) if file.id in stored else None
            if key is not None and file.name_sealed is not None:
                names[open_name(key.row_key(), file.id, file.name_sealed)] = attributes_of(file)
        except VaultError as exc:  # one damaged row hides no other file
            _log.error("name.damaged", delivery_id=file.id, partner_id=visit.partner.id, error=str(exc))
    return sorted(names.items())


def set_attributes(exchange: Exchange, visit: Visit, name: str, attributes: Attributes) -> None:
    """SETSTAT: recorded and echoed, never obeyed. A size other than the file's is refused."""
    with exchange.store.write() as conn:
        file = _newest(exchange, conn, visit, name)
        if attributes.size not in {None, file.size_bytes}:
            raise Refused(Status.FAILURE, "A received file keeps its size")
        values = client_values(attributes)
        if values:
            deliveries.record_client_attributes(conn, file.id, **values)


def client_values(attributes: Attributes) -> dict[str, int]:
    """The columns in which attributes that a client sets are recorded."""
    said = {
        "client_mode": None if attributes.mode is None else attributes.mode & 0o7777,
        "client_modified": attributes.modified,
        "client_accessed": attributes.accessed,
    }
    return {column: value for column, value in said.items() if value is not None}


def rename(exchange: Exchange, visit: Visit, old: str, new: str) -> bool:
    """RENAME: True when it made a staged file ARRIVED.

    A received file is only listed under its new name: what was received stays received. A staged file
    that had the new name is replaced, so it is given up.
    """
    partner = visit.partner
    with exchange.store.write() as conn:
        file = _newest(exchange, conn, visit, old)
        replaced = [one for one in find(exchange, conn, partner.id, new) if one.id != file.id]
        now = exchange.clock.now()
        key = data_key(exchange, conn, partner.id, file.id)
        row_key = None if key is None else key.row_key()
        name = store_name(exchange, (partner.id, file.id), new, row_key=row_key, now=now)
        arrives = file.is_staged and not is_temporary(partner, new)
        if arrives:
            deliveries.arrive(conn, file.id, received_at=now, name=name)
            record_change(exchange, visit, conn, "delivery.arrived", file.id)
        else:
            deliveries.relabel(conn, file.id, name)
        dropped = drop_staged(exchange, visit, conn, replaced)
    remove_blobs(exchange, dropped)
    return arrives


def remove(exchange: Exchange, visit: Visit, name: str) -> None:
    """REMOVE: a staged file is ABORTED; a received one is hidden, and nothing is withdrawn."""
    with exchange.store.write() as conn:
        found = find(exchange, conn, visit.partner.id, name) or [_missing()]
        dropped = drop_staged(exchange, visit, conn, found)
        deliveries.hide(conn, [file.id for file in found if not file.is_staged])
    remove_blobs(exchange, dropped)


def drop_staged(exchange: Exchange, visit: Visit, conn: Connection, files: list[Received]) -> list[str]:
    """Give up those that are STAGED; the blobs that `remove_blobs` removes after the commit."""
    staged = [file.id for file in files if file.is_staged]
    dropped = deliveries.staged(conn, staged) if staged else []
    for one in dropped:
        deliveries.abort(
            conn, one.id, DeliveryState.STAGED, at=exchange.clock.now(), reason="removed by its sender"
        )
        record_change(exchange, visit, conn, "delivery.aborted", one.id)
    return [one.blob for one in dropped if one.blob is not None]


def remove_blobs(exchange: Exchange, names: list[str]) -> None:
    """Remove the sealed bytes of what was given up; what the disk refuses, the sweep takes later."""
    try:
        exchange.blobs.remove(*names)
    except VaultError as exc:
        _log.error("blob.left", count=len(names), error=str(exc))


def data_key(exchange: Exchange, conn: Connection, partner_id: str, object_id: str) -> DataKey | None:
    """The data key of a file or dispatch; None when it, or the key that wrapped it, has been destroyed.

    Raises:
        VaultError: the wrapped key is damaged or another object's.
    """
    stored = data_keys.of_object(conn, object_id)
    return None if stored is None else _unwrap(exchange, partner_id, stored)


def _unwrap(exchange: Exchange, partner_id: str, stored: StoredKey) -> DataKey | None:
    wrapped = WrappedKey(
        key_id=stored.key_id,
        key_version=stored.key_version,
        wrapped=stored.wrapped,
        commitment=stored.commitment,
    )
    try:
        return unwrap(exchange.keyring, wrapped, partner=partner_id, object_id=stored.object_id)
    except KeyMissing:
        return None


def record_change(
    exchange: Exchange,
    visit: Visit,
    conn: Connection,
    action: str,
    object_id: str,
    *,
    size: int | None = None,
) -> None:
    """An audit entry for what a partner did, in the transaction of the change."""
    record(
        conn,
        action=action,
        object_id=object_id,
        origin=visit.address,
        actor=visit.partner.id,
        at=exchange.clock.now(),
        node=exchange.node,
        detail=None if size is None else {"bytes": size},
    )


def _tokens(exchange: Exchange, partner_id: str, name: str, now: datetime) -> list[bytes]:
    """The tokens of a name under every index key under which it may still be listed."""
    oldest = month_of(local_day(now - max(exchange.listed_for, exchange.staged_for) - timedelta(days=1)))
    month, tokens = month_of(local_day(now)), []
    while month >= oldest:
        with suppress(KeyMissing):  # no name is stored under a key that is not there
            tokens.append(exchange.indexer.token(month, NAME_LEVEL, partner_id, (name,)))
        month = shift_month(month, -1)
    return tokens


def _newest(exchange: Exchange, conn: Connection, visit: Visit, name: str) -> Received:
    found = find(exchange, conn, visit.partner.id, name)
    return found[-1] if found else _missing()


def _missing() -> Received:
    raise Refused(Status.NO_SUCH_FILE)
