"""What binds each sealed object to its place: the one account of it for those who write and who read.

A received file and what is sealed with it: object = delivery id, kind `received`. A dispatch: object =
dispatch id, kind = its kind, delivery = the delivery it answers or nothing. The data key of either is
wrapped for the partner in whose box it lies and that object (spec 4, Keys and Vault).
"""

from __future__ import annotations

from gateway.vault.rows import RowSealer
from gateway.vault.stream import associated_data

_TABLE = "delivery"
#: The tables that a sealed row is bound to; object = the delivery that it came in, row = its line there.
SIGNAL = "signal"
EXCLUSION = "exclusion"


def received_file(*, partner: str, delivery: str) -> bytes:
    """Associated data of the sealed stream of a received file."""
    return associated_data(partner=partner, delivery=delivery, object_id=delivery, kind="received")


def dispatched_file(*, partner: str, delivery: str | None, dispatch: str, kind: str) -> bytes:
    """Associated data of the sealed stream of a dispatch; `kind` is its `DispatchKind`."""
    return associated_data(partner=partner, delivery=delivery or "", object_id=dispatch, kind=kind)


def seal_name(row_key: bytes, delivery: str, name: str) -> bytes:
    """The name that a partner gave a file, for `delivery.name_sealed`; under the file's own row key."""
    return RowSealer(row_key).seal({"name": name}, table=_TABLE, object_id=delivery, row="name")


def open_name(row_key: bytes, delivery: str, sealed: bytes) -> str:
    """The name again. Raises BlobDamaged."""
    return str(RowSealer(row_key).open(sealed, table=_TABLE, object_id=delivery, row="name")["name"])


def seal_digest(row_key: bytes, delivery: str, sha256: bytes) -> bytes:
    """SHA-256 of the plaintext, for `delivery.sha256_sealed`; under the file's own row key."""
    return RowSealer(row_key).seal({"sha256": sha256.hex()}, table=_TABLE, object_id=delivery, row="sha256")


def open_digest(row_key: bytes, delivery: str, sealed: bytes) -> bytes:
    """The SHA-256 again. Raises BlobDamaged."""
    fields = RowSealer(row_key).open(sealed, table=_TABLE, object_id=delivery, row="sha256")
    return bytes.fromhex(fields["sha256"])
