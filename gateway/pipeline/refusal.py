"""Files that are refused: REJECTED with a receipt that says why, nothing of them counts (spec 1, States).

What its first bytes refuse needs no reading of rows: those at the head of the line are refused together, sealed several
at a time and by one transaction (ADR 29).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from gateway import logs
from gateway.audit.log import record
from gateway.domain.delivery import DeliveryState
from gateway.errors import DeliveryError, GatewayError
from gateway.files.csvfile import START_BYTES, is_never_read
from gateway.files.receipt import Receipt
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile, store_files
from gateway.pipeline.receipts import receipt_files
from gateway.pipeline.received import Received, opened
from gateway.pipeline.sealing import store_key
from gateway.pipeline.staging import drop_staged
from gateway.store import Connection, data_keys, queue
from gateway.store.queue import Claimed
from gateway.vault import objects
from gateway.vault.datakey import DataKey

_log = logs.get("intake")

#: Files that are refused together, and of how many bytes at most: a larger one takes a turn of its own.
_TOGETHER, _SMALL_BYTES = 32, 1 << 20
#: Receipts that are sealed at a time.
_SEALERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a file is refused, and its receipt, sealed and not yet visible."""

    received: Received
    error: DeliveryError
    files: Sequence[OutgoingFile]


def refuse(context: Context, received: Received, error: DeliveryError) -> None:
    """Refuse a claimed delivery; what its rows staged goes first."""
    refusal = _refusal(context, error, received)
    drop_staged(context, received.delivery.id)
    with context.store.write() as conn:
        _reject(context, conn, [refusal], context.clock.now())
    if error.code == "F03":
        context.blobs.remove(received.delivery.blob)
    _tell(refusal)


def refuse_first(context: Context) -> bool:
    """Refuse the first in line together, as far as their first bytes refuse them; whether there were any.

    They are claimed by the transaction that refuses them: until then nothing is known of this try, and it is made again.
    For the holder of `Store.exclusive()`.
    """
    if context.scanner is not None:  # it looks at each file before we do
        return False
    with context.store.read() as conn:
        found = list(_refused_at_once(context, conn))
    if not found:
        return False
    try:
        with ThreadPoolExecutor(_SEALERS) as pool:
            refusals = list(pool.map(partial(_refusal, context, DeliveryError("F11")), found))
        now = context.clock.now()
        with context.store.write() as conn:
            for refusal in refusals:
                queue.claim(conn, refusal.received.delivery, now)
            _reject(context, conn, refusals, now)
    except Exception as exc:  # noqa: BLE001 - whose error it is, each alone tells
        _log.warning("refusals.divided", count=len(found), error_type=type(exc).__name__)
        return False
    for refusal in refusals:
        _tell(refusal)
    return True


def _refused_at_once(context: Context, conn: Connection) -> Iterator[Received]:
    for delivery in queue.first_in_line(conn, _TOGETHER):
        received = None if delivery.size_bytes > _SMALL_BYTES else _looked_at(context, conn, delivery)
        if received is None:
            return
        yield received


def _looked_at(context: Context, conn: Connection, delivery: Claimed) -> Received | None:
    """A file that its first bytes refuse (F11), with its digests."""
    try:
        received = opened(context, conn, delivery)
        with context.blobs.open(delivery.blob) as blob:
            reader = received.reader(blob)
            if not is_never_read(bytes(reader.read(0, START_BYTES))):
                return None
            digests = reader.digests()
            return replace(received, digest=digests.text, sealed_digest=digests.sealed)
    except GatewayError:
        # it is claimed next: then the same error is told, and counts
        return None


def _refusal(context: Context, error: DeliveryError, received: Received) -> Refusal:
    delivery = received.delivery
    receipt = Receipt(
        delivery_id=delivery.id,
        name=received.name,
        size=delivery.size_bytes,
        sha256=received.digest.hex(),
        received_at=delivery.received_at,
        file_code=error.code,
        file_detail=error.detail,
    )
    due_on = delivery.raw_due_on if delivery.is_trial else None
    files = receipt_files(context, delivery.partner_id, receipt, due_on)
    return Refusal(received=received, error=error, files=files)


def _reject(context: Context, conn: Connection, refusals: Sequence[Refusal], now: datetime) -> None:
    for refusal in refusals:
        received, code = refusal.received, refusal.error.code
        delivery = received.delivery
        values: dict[str, Any] = {"refusal": code, "processed_at": now}
        if received.digest:
            row_key = received.data_key.row_key()
            values["sha256_sealed"] = objects.seal_digest(row_key, delivery.id, received.digest)
            values["sealed_sha256"] = received.sealed_digest
        if code == "F03":
            values |= _forget_contents(context, conn, received)
        queue.advance(conn, delivery.id, DeliveryState.PROCESSING, DeliveryState.REJECTED, **values)
        record(
            conn,
            action="delivery.rejected",
            object_id=delivery.id,
            result=code,
            origin="pipeline",
            actor=delivery.partner_id,
            at=now,
            node=context.node,
        )
    store_files(context, conn, [file for refusal in refusals for file in refusal.files], now)


def _forget_contents(context: Context, conn: Connection, received: Received) -> dict[str, Any]:
    """A forbidden column: the file is gone at once, blob and key; its name moves under a key of its own.

    The name must stay for its listing (spec 1), the contents must not (spec 4, `raw`).
    """
    delivery, fresh = received.delivery, DataKey.generate()
    data_keys.drop(conn, delivery.id)
    store_key(
        context,
        conn,
        fresh,
        object_id=delivery.id,
        partner_id=delivery.partner_id,
        due_on=delivery.raw_due_on,
    )
    return {
        "name_sealed": objects.seal_name(fresh.row_key(), delivery.id, received.name),
        "sha256_sealed": objects.seal_digest(fresh.row_key(), delivery.id, received.digest),
        "raw_gone_at": context.clock.now(),
    }


def _tell(refusal: Refusal) -> None:
    delivery = refusal.received.delivery
    _log.info(
        "delivery.rejected",
        delivery_id=delivery.id,
        partner_id=delivery.partner_id,
        code=refusal.error.code,
    )
