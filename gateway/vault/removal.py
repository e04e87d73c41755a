"""Records of early removals, as they lie in `log/` (spec 4, Retention): ids of what went before its day.

A record is sealed under a data key of its own, which is wrapped under the key of the last day on which a backup of
what it removed can still be opened: after that day nobody needs the record, and nobody can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gateway.errors import BlobDamaged
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.keyring import Keyring
from gateway.vault.rows import RowSealer

#: What stands for the partner in the associated data of a record's wrapped key.
OWNER = "log"
_TABLE = "removal"


def seal(
    keyring: Keyring, key_id: str, record_id: str, fields: Mapping[str, object]
) -> tuple[WrappedKey, bytes]:
    """The wrapped key of a record, and its sealed fields: ids, codes and days. Raises KeyMissing."""
    data_key = DataKey.generate()
    wrapped = wrap(keyring, key_id, data_key, partner=OWNER, object_id=record_id)
    return wrapped, RowSealer(data_key.row_key()).seal(fields, table=_TABLE, object_id=record_id, row="")


def unseal(keyring: Keyring, record_id: str, wrapped: WrappedKey, sealed: bytes) -> dict[str, Any]:
    """The fields again. Raises KeyMissing when its day is over, BlobDamaged or WrongKey when it was altered."""
    data_key = unwrap(keyring, wrapped, partner=OWNER, object_id=record_id)
    return RowSealer(data_key.row_key()).open(sealed, table=_TABLE, object_id=record_id, row="")


def to_file(wrapped: WrappedKey, sealed: bytes) -> bytes:
    """A record as a file: canonical JSON, the bytes in hex."""
    fields = {
        "commitment": wrapped.commitment.hex(),
        "key": wrapped.key_id,
        "key_version": wrapped.key_version,
        "sealed": sealed.hex(),
        "wrapped": wrapped.wrapped.hex(),
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def from_file(record_id: str, content: bytes) -> tuple[WrappedKey, bytes]:
    """Wrapped key and sealed fields of a record's file. Raises BlobDamaged."""
    try:
        fields = json.loads(content)
        wrapped = WrappedKey(
            key_id=str(fields["key"]),
            key_version=int(fields["key_version"]),
            wrapped=bytes.fromhex(fields["wrapped"]),
            commitment=bytes.fromhex(fields["commitment"]),
        )
        return wrapped, bytes.fromhex(fields["sealed"])
    except (ValueError, KeyError, TypeError) as exc:
        raise BlobDamaged(f"log/removals/{record_id}.json is damaged: bring log/ back") from exc
