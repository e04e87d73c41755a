"""Key derivation and unambiguous encoding, shared by everything that is sealed (spec 4)."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

#: Every key of the vault is this long, in bytes (AES-256).
KEY_BYTES = 32

#: The lengths of most parts, as they are written.
_LENGTHS = tuple(length.to_bytes(2, "big") for length in range(256))


def length_prefixed(*parts: str | bytes) -> bytes:
    """`lp` of the specification: each part behind its length (u16, big-endian); text as UTF-8.

    No two different lists of parts give the same bytes, so what binds a ciphertext to its place
    can't be read as another place. Raises OverflowError for a part of 64 KiB or more.
    """
    found = b""
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        length = len(raw)
        found += (_LENGTHS[length] if length < 256 else length.to_bytes(2, "big")) + raw
    return found


def expand(key: bytes, info: str) -> bytes:
    """A key of 32 bytes for one purpose: HKDF-Expand with SHA-256 (RFC 5869 section 2.3).

    Expand alone suffices because `key` is uniformly random already.
    """
    return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=info.encode()).derive(key)
