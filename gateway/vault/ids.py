"""Random ids that people read out and type: Crockford's base 32, without I, L, O and U."""

from __future__ import annotations

import os
import struct

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

#: A byte's character: of five of its bits, so that each is as likely as any.
_CHARACTERS = CROCKFORD.encode() * 8
_NUMBERS = struct.Struct(">Q")


def crockford(data: bytes) -> str:
    """`data` as Crockford base 32, five bits a character, the last ones filled with zeros."""
    length = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << (length * 5 - len(data) * 8)
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range((length - 1) * 5, -1, -5))


def new_id(prefix: str, length: int) -> str:
    """`prefix` and `length` random characters, five bits each."""
    return prefix + os.urandom(length).translate(_CHARACTERS).decode()


def random_place() -> int:
    """A place for a hit level that is seen for the first time: 62 random bits (spec 4, Rows and index)."""
    return random_places(1)[0]


def random_places(count: int) -> list[int]:
    """So many of them."""
    drawn = os.urandom(8 * count)
    return [number >> 2 for (number,) in _NUMBERS.iter_unpack(drawn)]
