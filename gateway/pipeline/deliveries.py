"""What an administrator decides about a delivery: try it again or refuse it when it FAILED (spec 1, States)."""

from __future__ import annotations

from gateway.audit.log import record
from gateway.domain.delivery import DeliveryState
from gateway.errors import CommandError, GatewayError
from gateway.files.receipt import Receipt
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import store_files
from gateway.pipeline.receipts import receipt_files
from gateway.pipeline.sealing import open_key
from gateway.pipeline.staging import drop_staged
from gateway.store import Connection, data_keys, queue
from gateway.store.queue import Decidable
from gateway.vault import objects
from gateway.vault.datakey import DataKey
from gateway.vault.stream import Digests, SealedReader

#: What its sender reads of a file that could not be processed: the code, and who decided.
REFUSAL_CODE = "F01"
_REFUSED_BY = "door de beheerder geweigerd"
#: Of the administrator's own text, in characters.
MOST_REASON = 500


def retry(context: Context, delivery_id: str, *, actor: str) -> None:
    """FAILED -> ARRIVED: back in line at its old place, with all its attempts before it.

    Raises:
        CommandError: it is not FAILED; the text says what it is.
    """
    with context.store.write() as conn:
        _failed(conn, delivery_id)
        queue.advance(
            conn, delivery_id, DeliveryState.FAILED, DeliveryState.ARRIVED, attempts=0, claimed_at=None
        )
        _record(context, conn, "delivery.retried", delivery_id, actor)


def reject(context: Context, delivery_id: str, reason: str, *, actor: str) -> None:
    """FAILED -> REJECTED: its sender gets a receipt with sums 0 that gives the reason; nothing of it counts.

    The reason is a person's text, which may name one: it is kept in the sealed receipt, and nowhere else.

    Raises:
        CommandError: it is not FAILED, or the reason can't be told.
    """
    told = sentence(reason)
    with context.store.exclusive():
        with context.store.read() as conn:
            delivery = _failed(conn, delivery_id)
            key = _key(context, conn, delivery)
        digests = None if key is None else _digests(context, delivery, key)
        receipt = Receipt(
            delivery_id=delivery.id,
            name=_name(delivery, key),
            size=delivery.size_bytes,
            sha256="" if digests is None else digests.text.hex(),
            received_at=delivery.received_at,
            file_code=REFUSAL_CODE,
            file_detail=f"{_REFUSED_BY}: {told}",
        )
        files = receipt_files(context, delivery.partner_id, receipt)
        values: dict[str, bytes] = {}
        if key is not None and digests is not None:
            values["sealed_sha256"] = digests.sealed
            values["sha256_sealed"] = objects.seal_digest(key.row_key(), delivery.id, digests.text)
        now = context.clock.now()
        drop_staged(context, delivery.id)
        with context.store.write() as conn:
            queue.advance(
                conn,
                delivery.id,
                DeliveryState.FAILED,
                DeliveryState.REJECTED,
                refusal=REFUSAL_CODE,
                processed_at=now,
                **values,
            )
            store_files(context, conn, files, now)
            _record(context, conn, "delivery.rejected", delivery.id, actor, result=REFUSAL_CODE)


def sentence(reason: str) -> str:
    """A person's reason as its sender reads it.

    Raises:
        CommandError: it can't be told.
    """
    told = " ".join(reason.split())
    if not told or len(told) > MOST_REASON or not told.isprintable():
        raise CommandError(f"the reason is a sentence of 1 to {MOST_REASON} characters: its sender reads it")
    return told


def _failed(conn: Connection, delivery_id: str) -> Decidable:
    delivery = queue.get_in(conn, delivery_id, DeliveryState.FAILED)
    if delivery is None:
        state = queue.state_of(conn, delivery_id)
        if state is None:
            raise unknown(delivery_id)
        raise CommandError(
            f"{delivery_id} is {state.upper()}, and only a FAILED one can be retried or rejected: {INSTEAD[state]}"
        )
    return delivery


def unknown(delivery_id: str) -> CommandError:
    """There is none of that id."""
    return CommandError(f"there is no delivery {delivery_id}; see: gateway deliveries list")


#: What there is to say of a delivery in another state.
INSTEAD = {
    DeliveryState.RECEIVING: "its partner is still sending it",
    DeliveryState.STAGED: "its partner has yet to give it its final name",
    DeliveryState.ARRIVED: "it waits for its turn, by itself",
    DeliveryState.PROCESSING: "it is at work",
    DeliveryState.PROCESSED: "its partner has the receipt",
    DeliveryState.REJECTED: "its partner has the receipt, and may send the file again",
    DeliveryState.ABORTED: "it was never received; its partner may send the file again",
    DeliveryState.PURGING: "it is being purged",
    DeliveryState.PURGED: "it is purged",
    DeliveryState.FAILED: "its partner waits for you; see: gateway deliveries retry, gateway deliveries reject",
}


def open_name(context: Context, conn: Connection, delivery: Decidable) -> str:
    """The name of the file; empty when it can't be opened."""
    return _name(delivery, _key(context, conn, delivery))


def _name(delivery: Decidable, key: DataKey | None) -> str:
    if key is None or delivery.name_sealed is None:
        return ""
    try:
        return objects.open_name(key.row_key(), delivery.id, delivery.name_sealed)
    except GatewayError:
        return ""


def _key(context: Context, conn: Connection, delivery: Decidable) -> DataKey | None:
    """The file's key; None when it is gone or can't be opened: that may be why it failed."""
    stored = data_keys.of_object(conn, delivery.id)
    if stored is None:
        return None
    try:
        return open_key(context, stored)
    except GatewayError:
        return None


def _digests(context: Context, delivery: Decidable, key: DataKey) -> Digests | None:
    """Of the file as it lies in the vault; None when it can't be read whole: that may be why it failed."""
    if delivery.blob is None:
        return None
    try:
        with context.blobs.open(delivery.blob) as blob:
            return SealedReader(
                key.file_key(delivery.id),
                objects.received_file(partner=delivery.partner_id, delivery=delivery.id),
                blob.read_at,
                blob.size,
            ).digests()
    except GatewayError:
        return None


def _record(
    context: Context, conn: Connection, action: str, delivery_id: str, actor: str, *, result: str = "ok"
) -> None:
    record(
        conn,
        action=action,
        object_id=delivery_id,
        result=result,
        origin="cli",
        actor=actor,
        at=context.clock.now(),
        node=context.node,
    )
