"""From a received file to its signals, receipt and statuses, visible together (spec 1, spec 2).

1 clear what an interrupted try staged · 2 digest the bytes, refuse what was processed before (F08) ·
3 read rows from the decrypting stream and stage what they do · 4 seal receipt and statuses · 5 one
transaction makes signals, meldingen, dispatches and audit entries visible, or refuses the file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day, month_of
from gateway.domain.codes import StatusCode
from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Box, Partner, Role
from gateway.domain.retention import dispatch_due
from gateway.errors import BlobDamaged, BlobMissing, ConfigError, DeliveryError, VaultError
from gateway.files import names
from gateway.files.feedbackfile import read_feedback
from gateway.files.receipt import Receipt, Sums, render_receipt_csv, render_receipt_json
from gateway.files.signalfile import read_signals
from gateway.files.status import StatusRow, render_status
from gateway.pipeline.context import Context
from gateway.pipeline.feedback import FeedbackIntake, store_feedback
from gateway.pipeline.outgoing import OutgoingFile, seal_file, store_files
from gateway.pipeline.rows import RowIntake
from gateway.pipeline.sealing import Opener, open_key, store_key
from gateway.pipeline.staging import drop_staged
from gateway.pipeline.tally import Tally
from gateway.pipeline.workbook import read_table
from gateway.store import Connection, data_keys, outgoing, queue, signals
from gateway.store.queue import Claimed
from gateway.vault import objects
from gateway.vault.blobs import BlobFile
from gateway.vault.datakey import DataKey
from gateway.vault.keyring import index_id
from gateway.vault.stream import SealedReader

_log = logs.get("intake")

#: Rows that are decided on and stored at a time: a transaction of a few dozen milliseconds.
BATCH_ROWS = 1_000
#: The level of a whole file's digest.
_FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Received:
    """A claimed delivery whose key is at hand."""

    delivery: Claimed
    partner: Partner
    data_key: DataKey
    name: str


def process(context: Context, delivery: Claimed) -> None:
    """Process one claimed delivery to its end; for the holder of `Store.exclusive()`.

    A refusal is an outcome: the file is REJECTED, its sender gets a receipt. Anything that is raised is ours:
    the delivery goes back to the queue.
    """
    partner = context.partners.get(delivery.partner_id)
    if partner is None:
        raise ConfigError(
            "a delivery of this partner waits, but the partner is not configured; put its file back",
            file=f"config/partners/{delivery.partner_id}.toml",
        )
    drop_staged(context, delivery.id)
    with context.store.read() as conn:
        stored = data_keys.of_object(conn, delivery.id)
    if stored is None:
        raise VaultError(f"delivery {delivery.id} has no data key")
    data_key = open_key(context, stored)
    received = _Received(
        delivery=delivery,
        partner=partner,
        data_key=data_key,
        name=objects.open_name(data_key.row_key(), delivery.id, delivery.name_sealed),
    )
    digest = b""
    try:
        with context.blobs.open(delivery.blob) as blob:
            reader = _reader(received, blob)
            digest = _digest(reader)
            _take(context, received, digest, reader)
    except DeliveryError as refusal:
        _refuse(context, received, digest, refusal)
    except (BlobDamaged, BlobMissing) as damage:
        if digest:  # every byte of the file was authenticated: it is something else that is damaged
            raise
        _log.error(
            "blob.damaged", delivery_id=delivery.id, partner_id=partner.id, error=type(damage).__name__
        )
        again = DeliveryError("F01", "het bestand is na ontvangst beschadigd; stuur het opnieuw")
        _refuse(context, received, digest, again)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What a file came to. `show` makes it visible, with its last transaction; `counts` are columns of the delivery."""

    kind: str
    tally: Tally
    counts: Mapping[str, int]
    files: Sequence[OutgoingFile]
    show: Callable[[Connection], None]


def _take(context: Context, received: _Received, digest: bytes, reader: SealedReader) -> None:
    delivery, partner = received.delivery, received.partner
    take = _TAKERS.get(partner.role)
    if take is None:
        raise DeliveryError("F11")
    month_key = index_id(month_of(local_day(delivery.received_at)))
    digests = _digests(context, partner.id, digest)
    with context.store.read() as conn:
        if queue.accepted_before(conn, partner.id, digests, month_key=month_key):
            raise DeliveryError("F08")
    began = time.perf_counter()
    taken = take(context, received, digest, reader)
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
            sha256_sealed=objects.seal_digest(received.data_key.row_key(), delivery.id, digest),
            content_digest=next(token for token, key in digests.items() if key == month_key),
            content_key=month_key,
            row_count=tally.rows,
            rejected_count=tally.rejected,
            accepted_count=tally.accepted,
            every_row_dated=tally.every_row_dated,
            **{f"{name}_count": count for name, count in taken.counts.items()},
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
            detail={"rows": tally.rows, **taken.counts, "rejected": tally.rejected},
        )
    _log.info(
        "delivery.processed",
        delivery_id=delivery.id,
        partner_id=partner.id,
        rows=tally.rows,
        count=tally.accepted,
        duration_ms=round((time.perf_counter() - began) * 1000),
    )


def _take_signals(context: Context, received: _Received, digest: bytes, reader: SealedReader) -> _Taken:
    delivery, partner = received.delivery, received.partner
    received_on = local_day(delivery.received_at)
    file = read_signals(reader.chunks, partner, received_on, context.limits, read_table)
    intake = RowIntake(context, delivery)
    intake.tally.warnings.extend(file.warnings)
    for batch in file.batches:
        intake.tally.warnings.extend(batch.warnings)
        intake.tally.every_row_dated &= batch.every_row_dated
        for start in range(0, len(batch.rows), BATCH_ROWS):
            intake.take(batch.rows[start : start + BATCH_ROWS])
    tally = intake.tally
    sums = Sums(
        signals=tally.new,
        changes=tally.changed,
        withdrawals=tally.withdrawn,
        rejected=tally.rejected,
        duplicates=tally.duplicate,
    )
    return _Taken(
        kind="signals",
        tally=tally,
        counts={
            "new": tally.new,
            "changed": tally.changed,
            "withdrawn": tally.withdrawn,
            "duplicate": tally.duplicate,
        },
        files=[*_receipt(context, received, digest, tally, sums), *_status(context, delivery, tally)],
        show=intake.show,
    )


def _take_feedback(context: Context, received: _Received, digest: bytes, reader: SealedReader) -> _Taken:
    delivery = received.delivery
    received_on = local_day(delivery.received_at)
    intake = FeedbackIntake(context, delivery, Tally(due_on=dispatch_due(context.clock.now(), context.terms)))
    intake.take(read_feedback(reader.chunks, received_on, context.limits, read_table))
    tally, told = intake.tally, intake.told()
    sums = Sums(feedback=tally.accepted, rejected=tally.rejected)
    return _Taken(
        kind="feedback",
        tally=tally,
        counts={"feedback": tally.accepted, "answer": intake.answers},
        files=_receipt(context, received, digest, tally, sums),
        show=lambda conn: store_feedback(context, conn, told),
    )


#: What each role may send.
_TAKERS: Mapping[Role, Callable[[Context, _Received, bytes, SealedReader], _Taken]] = {
    Role.CREDITOR: _take_signals,
    Role.MUNICIPALITY: _take_feedback,
}


def _refuse(context: Context, received: _Received, digest: bytes, refusal: DeliveryError) -> None:
    """REJECTED, with a receipt that says why; nothing of the file counts."""
    delivery = received.delivery
    receipt = Receipt(
        delivery_id=delivery.id,
        name=received.name,
        size=delivery.size_bytes,
        sha256=digest.hex(),
        received_at=delivery.received_at,
        file_code=refusal.code,
        file_detail=refusal.detail,
    )
    files = receipt_files(context, delivery.partner_id, receipt)
    drop_staged(context, delivery.id)
    now = context.clock.now()
    with context.store.write() as conn:
        values: dict[str, Any] = {"refusal": refusal.code, "processed_at": now}
        if digest:
            values["sha256_sealed"] = objects.seal_digest(received.data_key.row_key(), delivery.id, digest)
        if refusal.code == "F03":
            values |= _forget_contents(context, conn, received, digest)
        queue.advance(conn, delivery.id, DeliveryState.PROCESSING, DeliveryState.REJECTED, **values)
        store_files(context, conn, files, now)
        record(
            conn,
            action="delivery.rejected",
            object_id=delivery.id,
            result=refusal.code,
            origin="pipeline",
            actor=delivery.partner_id,
            at=now,
            node=context.node,
        )
    if refusal.code == "F03":
        context.blobs.remove(delivery.blob)
    _log.info("delivery.rejected", delivery_id=delivery.id, partner_id=delivery.partner_id, code=refusal.code)


def _forget_contents(
    context: Context, conn: Connection, received: _Received, digest: bytes
) -> dict[str, Any]:
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
        "sha256_sealed": objects.seal_digest(fresh.row_key(), delivery.id, digest),
        "raw_gone_at": context.clock.now(),
    }


# -- what goes back to the sender ------------------------------------------------------------------


def _receipt(
    context: Context, received: _Received, digest: bytes, tally: Tally, sums: Sums
) -> list[OutgoingFile]:
    """The receipt of a processed file, sealed and not yet visible."""
    delivery = received.delivery
    receipt = Receipt(
        delivery_id=delivery.id,
        name=received.name,
        size=delivery.size_bytes,
        sha256=digest.hex(),
        received_at=delivery.received_at,
        sums=sums,
        rejected=tally.errors,
        warnings=tally.warnings,
        duplicates=tally.duplicates,
    )
    return receipt_files(context, delivery.partner_id, receipt, tally.due_on)


def _status(context: Context, delivery: Claimed, tally: Tally) -> list[OutgoingFile]:
    """The statuses that a file changed at once, sealed and not yet visible."""
    ended = _ended(context, tally)
    statuses = [*tally.statuses, *(told.row for told in ended)]
    if not statuses:
        return []
    due_on = min((tally.due_on, *(told.due_on for told in ended)))
    contents = Counter(told.delivery_id for told in ended)
    contents[delivery.id] += len(tally.statuses)
    return [status_file(context, delivery.partner_id, statuses, due_on, +contents)]


def _ending_keys(context: Context, partner_id: str) -> list[tuple[date, str]]:
    partner = context.partners.get(partner_id)  # gone, when an administrator refuses its file
    keys = partner.ending_keys(context.clock.now()) if partner else ()
    return [(key.last_day, key.fingerprint) for key in keys if key.last_day is not None]


def receipt_files(
    context: Context, partner_id: str, receipt: Receipt, signals_due_on: date | None = None
) -> list[OutgoingFile]:
    """A receipt in both its forms, sealed and not yet visible; it warns of the sender's keys that end soon.

    `signals_due_on` is the earliest due day of the signals that it is about.
    """
    receipt = replace(receipt, ending_keys=_ending_keys(context, partner_id))
    csv_name, json_name = names.receipt_names(receipt.delivery_id)
    due_on = dispatch_due(context.clock.now(), context.terms, signals_due_on)
    csv = seal_file(
        context,
        render_receipt_csv(receipt),
        partner_id=partner_id,
        box=Box.RETURNS,
        name=csv_name,
        kind=DispatchKind.RECEIPT,
        due_on=due_on,
        delivery_id=receipt.delivery_id,
    )
    json = seal_file(
        context,
        render_receipt_json(receipt),
        partner_id=partner_id,
        box=Box.RETURNS,
        name=json_name,
        kind=DispatchKind.RECEIPT,
        due_on=due_on,
        delivery_id=receipt.delivery_id,
        parent_id=csv.id,
    )
    return [csv, json]


class Told(NamedTuple):
    """What a creditor is told of a signal; its due day, and the delivery that its version in force came in."""

    row: StatusRow
    due_on: date
    delivery_id: str


def status_file(
    context: Context,
    partner_id: str,
    rows: Sequence[StatusRow],
    signals_due_on: date,
    contents: Mapping[str, int],
) -> OutgoingFile:
    """A signaalstatus file under the creditor's next number; `use_status_number` uses the number up.

    `signals_due_on` is the earliest due day of the signals that it names, `contents` how many of them came in
    each delivery.
    """
    now = context.clock.now()
    with context.store.read() as conn:
        number = outgoing.last_number(conn, _numbers(partner_id)) + 1
    return seal_file(
        context,
        render_status(rows),
        partner_id=partner_id,
        box=Box.RETURNS,
        name=names.status_name(local_day(now), number),
        kind=DispatchKind.SIGNAL_STATUS,
        due_on=dispatch_due(now, context.terms, signals_due_on),
        contents=contents,
    )


def use_status_number(conn: Connection, partner_id: str) -> None:
    """The creditor's next number is used, with the transaction that makes its file visible."""
    outgoing.use_number(conn, _numbers(partner_id), outgoing.last_number(conn, _numbers(partner_id)) + 1)


def _store_answers(
    context: Context, conn: Connection, partner_id: str, files: Sequence[OutgoingFile]
) -> None:
    if any(file.kind is DispatchKind.SIGNAL_STATUS for file in files):
        use_status_number(conn, partner_id)
    store_files(context, conn, files, context.clock.now())


def _ended(context: Context, tally: Tally) -> list[Told]:
    """D51 and D52: signals that this file ended, named from their sealed contents."""
    told: list[Told] = []
    today = local_day(context.clock.now())
    with context.store.read() as conn:
        opener = Opener(context, conn)
        for ids, code in (
            (dict.fromkeys(tally.superseded_ids, ""), StatusCode.SUPERSEDED),
            (tally.withdrawn_ids, StatusCode.WITHDRAWN),
        ):
            for signal in signals.sealed(conn, ids):
                contents = opener.open(signal)
                row = StatusRow(
                    signal_id=ids[signal.id] or str(contents.get("signaal_id", "")),
                    customer_number=str(contents.get("klantnummer", "")),
                    code=code,
                    municipality=signal.municipality,
                    on=today,
                )
                told.append(Told(row, signal.due_on, signal.delivery_id))
    return told


def _numbers(partner_id: str) -> str:
    return f"signaalstatus/{partner_id}"


# -- the bytes -------------------------------------------------------------------------------------


def _reader(received: _Received, blob: BlobFile) -> SealedReader:
    delivery = received.delivery
    return SealedReader(
        received.data_key.file_key(delivery.id),
        objects.received_file(partner=delivery.partner_id, delivery=delivery.id),
        blob.read_at,
        # what is on disk, not what was stored of it: a blob that grew is refused
        blob.size,
    )


def _digest(reader: SealedReader) -> bytes:
    """SHA-256 of the plaintext: every segment is authenticated before the first row is read."""
    digest = sha256()
    for chunk in reader.chunks():
        digest.update(chunk)
    return digest.digest()


def _digests(context: Context, partner_id: str, digest: bytes) -> dict[bytes, str]:
    """The keyed digest of the bytes under each live index key, with that key's id."""
    return {
        context.indexer.token(month, _FILE, partner_id, (digest.hex(),)): index_id(month)
        for month in context.indexer.live_months()
    }
