"""From a received file to its signals, receipt and statuses, visible together (spec 1, spec 2).

1 clear what an interrupted try staged · 2 digest ciphertext and text, refuse what was processed before (F08) ·
3 read rows from the decrypting stream and stage what they do · 4 seal receipt and statuses · 5 one
transaction makes signals, meldingen, dispatches and audit entries visible, or refuses the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day, month_of
from gateway.domain.delivery import DeliveryState, Kind
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Mode, Role
from gateway.errors import BlobDamaged, BlobMissing, DeliveryError
from gateway.files.municipalfile import read_municipal
from gateway.files.signalfile import read_signals
from gateway.files.table import Table
from gateway.pipeline.context import Context
from gateway.pipeline.feedback import take_feedback
from gateway.pipeline.listing import take_exclusions, take_known_residents
from gateway.pipeline.outgoing import OutgoingFile, store_files
from gateway.pipeline.received import Received, Taken, opened
from gateway.pipeline.refusal import refuse
from gateway.pipeline.requests import take_requests
from gateway.pipeline.rows import take_signals
from gateway.pipeline.scanner import scan
from gateway.pipeline.signatures import is_signature, take_signature
from gateway.pipeline.staging import drop_staged
from gateway.pipeline.statuses import use_status_number
from gateway.pipeline.trial import try_signals, without_effect
from gateway.pipeline.workbook import read_municipal_table, read_table
from gateway.store import Connection, queue
from gateway.store.queue import Claimed
from gateway.vault import objects
from gateway.vault.index import DIGEST_LEVEL
from gateway.vault.key_ids import index_id
from gateway.vault.stream import SealedReader

_log = logs.get("intake")


def process(context: Context, delivery: Claimed) -> bool:
    """Process one claimed delivery to its end; whether it was taken. For the holder of `Store.exclusive()`.

    A refusal is an outcome: the file is REJECTED, its sender gets a receipt. Anything that is raised is ours:
    the delivery goes back to the queue.
    """
    drop_staged(context, delivery.id)
    with context.store.read() as conn:
        received = opened(context, conn, delivery)
    try:
        with context.blobs.open(delivery.blob) as blob:
            reader = received.reader(blob)
            digests = reader.digests()
            received = replace(received, digest=digests.text, sealed_digest=digests.sealed)
            if context.scanner is not None:
                scan(context.scanner, reader.chunks())
            _take(context, received, reader)
            return True
    except DeliveryError as refusal:
        refuse(context, received, refusal)
    except (BlobDamaged, BlobMissing) as damage:
        if received.digest:  # every byte of the file was authenticated: it is something else that is damaged
            raise
        _log.error(
            "blob.damaged",
            delivery_id=delivery.id,
            partner_id=delivery.partner_id,
            error=type(damage).__name__,
        )
        again = DeliveryError("F01", "het bestand is na ontvangst beschadigd; stuur het opnieuw")
        refuse(context, received, again)
    return False


def _take(context: Context, received: Received, reader: SealedReader) -> None:
    delivery, partner = received.delivery, received.partner
    take = _TAKERS.get(partner.role)
    if take is None:
        raise DeliveryError("F11")
    month_key = index_id(month_of(local_day(delivery.received_at)))
    digests = _digests(context, partner.id, received.digest)
    with context.store.read() as conn:
        # a municipality's file is always processed (spec 1, Uploads 6), and so is one on trial
        counts = partner.role is Role.CREDITOR and not delivery.is_trial
        if counts and queue.accepted_before(conn, partner.id, digests, month_key=month_key):
            raise DeliveryError("F08")
    began = time.perf_counter()
    taken = take(context, received, reader)
    if delivery.is_trial:
        taken = without_effect(context, received, taken)
    tally, now = taken.tally, context.clock.now()
    with context.store.write() as conn:
        taken.show(conn)
        queue.advance(
            conn,
            delivery.id,
            DeliveryState.PROCESSING,
            DeliveryState.PROCESSED,
            kind=taken.kind,
            processed_at=now,
            sha256_sealed=objects.seal_digest(received.data_key.row_key(), delivery.id, received.digest),
            sealed_sha256=received.sealed_digest,
            content_digest=next(token for token, key in digests.items() if key == month_key),
            content_key=month_key,
            row_count=tally.rows,
            rejected_count=tally.rejected,
            accepted_count=tally.accepted,
            every_row_dated=tally.every_row_dated,
            **{f"{name}_count": count for name, count in taken.counts.items()},
            **taken.gone,
        )
        _store_answers(context, conn, partner.id, taken.files)
        record(
            conn,
            action="delivery.processed",
            object_id=delivery.id,
            origin="pipeline",
            actor=partner.id,
            at=now,
            node=context.node,
            detail={"rows": tally.rows, **taken.counts, "rejected": tally.rejected}
            | ({"mode": Mode.TRIAL} if delivery.is_trial else {}),
        )
    _log.info(
        "delivery.processed",
        delivery_id=delivery.id,
        partner_id=partner.id,
        rows=tally.rows,
        count=tally.accepted,
        duration_ms=round((time.perf_counter() - began) * 1000),
    )


def _take_signals(context: Context, received: Received, reader: SealedReader) -> Taken:
    take = try_signals if received.delivery.is_trial else take_signals
    return take(
        context,
        received,
        read_signals(reader.chunks, received.partner, received.received_on, context.limits, read_table),
    )


def _take_municipal(context: Context, received: Received, reader: SealedReader) -> Taken:
    if is_signature(reader):
        return take_signature(context, received, reader)
    kind, table = read_municipal(reader.chunks, context.limits, read_municipal_table)
    return _KINDS[kind](context, received, table)


#: What each role may send.
_TAKERS: Mapping[Role, Callable[[Context, Received, SealedReader], Taken]] = {
    Role.CREDITOR: _take_signals,
    Role.MUNICIPALITY: _take_municipal,
}
#: What a municipality may send.
_KINDS: Mapping[Kind, Callable[[Context, Received, Table], Taken]] = {
    Kind.FEEDBACK: take_feedback,
    Kind.EXCLUSIONS: take_exclusions,
    Kind.KNOWN_RESIDENTS: take_known_residents,
    Kind.REQUESTS: take_requests,
}


def _store_answers(
    context: Context, conn: Connection, partner_id: str, files: Sequence[OutgoingFile]
) -> None:
    if any(file.kind is DispatchKind.SIGNAL_STATUS for file in files):
        use_status_number(conn, partner_id)
    store_files(context, conn, files, context.clock.now())


def _digests(context: Context, partner_id: str, digest: bytes) -> dict[bytes, str]:
    """The keyed digest of the bytes under each live index key, with that key's id."""
    return {
        context.indexer.token(month, DIGEST_LEVEL, partner_id, (digest.hex(),)): index_id(month)
        for month in context.indexer.live_months()
    }
