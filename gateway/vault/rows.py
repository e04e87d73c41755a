"""Sealed rows: what names, addresses and numbers of people look like in the database (spec 4, Rows)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import BlobDamaged
from gateway.vault.datakey import NONCE_BYTES
from gateway.vault.derive import length_prefixed

#: Plaintext is padded to a multiple of this, so that a length tells little of a name.
PADDED_BYTES = 64

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode
#: What was opened is what we sealed: only blanks follow.
_decode = json.JSONDecoder().raw_decode
#: What needs no more than a look at its type.
_FLAT = frozenset({str, int})


class RowSealer:
    """Seals and opens the rows under one row key (`DataKey.row_key`).

    A row is sealed for its place: `table`, `object_id` (that of the data key), `row` (its id) and the
    version of its fields. Every sealing draws a nonce of its own, also when a row is sealed again.
    """

    __slots__ = ("_key",)

    def __init__(self, row_key: bytes) -> None:
        self._key = AESGCM(row_key)

    def seal(
        self, fields: Mapping[str, object], *, table: str, object_id: str, row: str | int, schema: int = 1
    ) -> bytes:
        """nonce12 || AES-256-GCM of the fields as canonical JSON, padded with blanks.

        Fields are text, whole numbers, booleans and None, and lists or mappings of these; TypeError for
        anything else.
        """
        text = _canonical(fields).encode()
        text += b" " * (-len(text) % PADDED_BYTES)
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._key.encrypt(nonce, text, _place(table, object_id, row, schema))

    def open(
        self, sealed: bytes, *, table: str, object_id: str, row: str | int, schema: int = 1
    ) -> dict[str, Any]:
        """The fields again. BlobDamaged if the row was altered or belongs to another place or key."""
        try:
            text = self._key.decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _place(table, object_id, row, schema)
            )
        except (InvalidTag, ValueError) as exc:
            raise BlobDamaged(f"a sealed row of {object_id} was altered, or belongs elsewhere") from exc
        fields: dict[str, Any] = _decode(text.decode())[0]
        return fields


def _canonical(fields: Mapping[str, object]) -> str:
    """As `_encode`, which takes three times as long to begin."""
    if not _FLAT.issuperset(map(type, fields.values())):
        return _encode(fields)
    cells = [
        f"{_quoted(name)}:{_quoted(value) if isinstance(value, str) else value}"
        for name, value in sorted(fields.items())
    ]
    return "{" + ",".join(cells) + "}"


def _place(table: str, object_id: str, row: str | int, schema: int) -> bytes:
    return _object(table, object_id) + length_prefixed(str(row), str(schema))


@lru_cache(maxsize=256)
def _object(table: str, object_id: str) -> bytes:
    """The part of a place that all rows of a data key share."""
    return length_prefixed(table, object_id)
