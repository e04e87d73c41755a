"""Data keys: one for each object, wrapped in the database under a key of the keyring (spec 4, Keys).

Wrapping again under another day's key re-encrypts no data, and destroying the wrapping key makes
the data unreadable wherever a copy of it lies.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from hmac import compare_digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import BlobDamaged, WrongKey
from gateway.vault.derive import KEY_BYTES, expand, length_prefixed
from gateway.vault.keyring import Keyring

NONCE_BYTES = 12


class DataKey:
    """32 random bytes that seal one object, from which its file, row and commitment keys derive."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes")
        self._secret = secret

    def __repr__(self) -> str:
        return "DataKey(hidden)"

    @classmethod
    def generate(cls) -> DataKey:
        """A new data key, in memory only until it is wrapped."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def file_key(self, object_id: str) -> bytes:
        """The key of the sealed stream of `object_id`."""
        return expand(self._secret, f"gw/v1/file{object_id}")

    def row_key(self) -> bytes:
        """The key of sealed rows."""
        return expand(self._secret, "gw/v1/row")

    def commitment(self) -> bytes:
        """32 bytes that name this key and reveal nothing of it."""
        return expand(self._secret, "gw/v1/commit")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key as the database holds it: useless without the key `key_id` of the keyring."""

    key_id: str
    key_version: int
    wrapped: bytes = field(repr=False)
    commitment: bytes = field(repr=False)


def wrap(keyring: Keyring, key_id: str, data_key: DataKey, *, partner: str, object_id: str) -> WrappedKey:
    """Wrap a data key under the newest version of `key_id`, bound to its partner and object. Raises KeyMissing."""
    nonce, version = os.urandom(NONCE_BYTES), keyring.newest(key_id)
    sealed = AESGCM(keyring.get(key_id, version)).encrypt(
        nonce, data_key._secret, _associated(key_id, partner, object_id)
    )
    return WrappedKey(
        key_id=key_id, key_version=version, wrapped=nonce + sealed, commitment=data_key.commitment()
    )


def unwrap(keyring: Keyring, wrapped: WrappedKey, *, partner: str, object_id: str) -> DataKey:
    """The data key again.

    Raises KeyMissing (destroyed on its day, or a version that is not here), BlobDamaged (altered, or
    wrapped for another partner or object) or WrongKey (whole, but not the key that sealed the object).
    """
    nonce, sealed = wrapped.wrapped[:NONCE_BYTES], wrapped.wrapped[NONCE_BYTES:]
    try:
        secret = AESGCM(keyring.get(wrapped.key_id, wrapped.key_version)).decrypt(
            nonce, sealed, _associated(wrapped.key_id, partner, object_id)
        )
    except (InvalidTag, ValueError) as exc:
        raise BlobDamaged(
            f"the wrapped data key of {object_id} was altered, or belongs to another object"
        ) from exc
    if len(secret) != KEY_BYTES:
        raise BlobDamaged(f"the wrapped data key of {object_id} has a wrong length")
    data_key = DataKey(secret)
    if not compare_digest(data_key.commitment(), wrapped.commitment):
        raise WrongKey(f"the data key of {object_id} is not the one that sealed it")
    return data_key


def _associated(key_id: str, partner: str, object_id: str) -> bytes:
    return length_prefixed("gw/v1/dek", key_id, partner, object_id)
