"""Random ids that people read out and type: Crockford's base 32, without I, L, O and U."""

from __future__ import annotations

import secrets

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def crockford(data: bytes) -> str:
    """`data` as Crockford base 32, five bits a character, the last ones filled with zeros."""
    length = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << (length * 5 - len(data) * 8)
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range((length - 1) * 5, -1, -5))


def new_id(prefix: str, length: int) -> str:
    """`prefix` and `length` random characters, five bits each."""
    number = secrets.randbits(5 * length)
    return prefix + "".join(CROCKFORD[(number >> shift) & 31] for shift in range(0, 5 * length, 5))


def random_place() -> int:
    """A place for a hit level that is seen for the first time: 62 random bits (spec 4, Rows and index)."""
    return secrets.randbits(62)
