"""A received file on its way through the pipeline, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from gateway.clock import local_day
from gateway.domain.delivery import Kind
from gateway.domain.partner import Partner
from gateway.errors import ConfigError, VaultError
from gateway.files.receipt import Receipt, Sums
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile
from gateway.pipeline.receipts import receipt_files
from gateway.pipeline.sealing import open_key
from gateway.pipeline.tally import Tally
from gateway.store import Connection, data_keys
from gateway.store.queue import Claimed
from gateway.vault import objects
from gateway.vault.blobs import BlobFile
from gateway.vault.datakey import DataKey
from gateway.vault.stream import SealedReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A claimed delivery whose key is at hand.

    `digest` and `sealed_digest` are the SHA-256 of its text and of its ciphertext, empty until it is read.
    """

    delivery: Claimed
    partner: Partner
    data_key: DataKey
    name: str
    digest: bytes = b""
    sealed_digest: bytes = b""

    @property
    def received_on(self) -> date:
        """The day of receipt in the Netherlands."""
        return local_day(self.delivery.received_at)

    def reader(self, blob: BlobFile) -> SealedReader:
        """The decrypting stream."""
        return SealedReader(
            self.data_key.file_key(self.delivery.id),
            objects.received_file(partner=self.delivery.partner_id, delivery=self.delivery.id),
            blob.read_view,
            # what is on disk, not what was stored of it: a blob that grew is refused
            blob.size,
        )


def opened(context: Context, conn: Connection, delivery: Claimed) -> Received:
    """A delivery with its partner, key and name.

    Raises:
        ConfigError: its partner is not configured.
        VaultError: its key is gone, or is another's.
    """
    partner = context.partners.get(delivery.partner_id)
    if partner is None:
        raise ConfigError(
            "a delivery of this partner waits, but the partner is not configured; put its file back",
            file=f"config/partners/{delivery.partner_id}.toml",
        )
    stored = data_keys.of_object(conn, delivery.id)
    if stored is None:
        raise VaultError(f"delivery {delivery.id} has no data key")
    data_key = open_key(context, stored)
    return Received(
        delivery=delivery,
        partner=partner,
        data_key=data_key,
        name=objects.open_name(data_key.row_key(), delivery.id, delivery.name_sealed),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a file came to.

    `counts` are columns of the delivery, without `_count`; `files` go back to the sender and others; `show` makes it
    visible, with the delivery's last transaction. `gone` are columns of the delivery: how much of it is gone already.
    """

    kind: Kind
    tally: Tally
    counts: Mapping[str, int]
    files: Sequence[OutgoingFile]
    show: Callable[[Connection], None]
    gone: Mapping[str, int] = field(default_factory=dict)


def receipt(
    context: Context, received: Received, tally: Tally, sums: Sums, *, approval: str = ""
) -> list[OutgoingFile]:
    """The receipt of a processed file, sealed and not yet visible; `approval` is the request that it signs."""
    delivery = received.delivery
    return receipt_files(
        context,
        delivery.partner_id,
        Receipt(
            delivery_id=delivery.id,
            name=received.name,
            size=delivery.size_bytes,
            sha256=received.digest.hex(),
            received_at=delivery.received_at,
            sums=sums,
            rejected=tally.errors,
            warnings=tally.warnings,
            duplicates=tally.duplicates,
            approval=approval,
        ),
        min(tally.due_on, delivery.raw_due_on) if delivery.is_trial else tally.due_on,
    )
