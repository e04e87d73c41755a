"""A truncated, extended, altered, swapped or foreign file is refused before its first byte is handed out."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BlobDamaged
from gateway.vault.stream import (
    FIRST_TEXT_BYTES,
    HEADER_BYTES,
    SEGMENT_BYTES,
    TEXT_BYTES,
    SealedReader,
    Sealer,
    associated_data,
)

KEY = bytes(range(32))
PLACE = associated_data(partner="eneco", delivery="L1", object_id="L1", kind="raw")
#: Four segments, the last one exactly full: where Tink's own reader lets appended bytes pass.
FULL = FIRST_TEXT_BYTES + 3 * TEXT_BYTES
SIZES = [0, 1, 1000, FIRST_TEXT_BYTES, FIRST_TEXT_BYTES + 1, FULL - 1, FULL]


def seal(contents: bytes, *, key: bytes = KEY, place: bytes = PLACE) -> bytes:
    """Seal in memory."""
    out = bytearray()
    sealer = Sealer(key, place, out.extend)
    sealer.write(contents)
    sealer.finish()
    return bytes(out)


def refused_at_once(sealed: bytes, *, key: bytes = KEY, place: bytes = PLACE) -> None:
    """Making the reader fails: nobody holds anything that could hand out a byte."""
    with pytest.raises(BlobDamaged):
        SealedReader(key, place, lambda offset, n: sealed[offset : offset + n], len(sealed))


def refused_before_use(sealed: bytes) -> None:
    """Making the reader and authenticating it fails."""
    with pytest.raises(BlobDamaged):
        SealedReader(KEY, PLACE, lambda offset, n: sealed[offset : offset + n], len(sealed)).authenticate()


def flipped(sealed: bytes, at: int, bit: int = 0) -> bytes:
    """`sealed` with one bit changed."""
    changed = bytearray(sealed)
    changed[at] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_file_is_not_refused(size: int) -> None:
    """The refusals below are not refusals of everything."""
    sealed = seal(bytes(size))
    SealedReader(KEY, PLACE, lambda offset, n: sealed[offset : offset + n], len(sealed)).authenticate()


@pytest.mark.parametrize("at", range(HEADER_BYTES))
def test_each_byte_of_the_header_counts(at: int) -> None:
    """Length byte, salt and nonce prefix are all bound."""
    refused_at_once(flipped(seal(bytes(FULL)), at))


@pytest.mark.parametrize("segment", range(4))
@pytest.mark.parametrize(
    "within", [HEADER_BYTES, 1000, SEGMENT_BYTES - 17, SEGMENT_BYTES - 16, SEGMENT_BYTES - 1]
)
def test_a_flipped_bit_in_any_segment_is_seen_before_the_first_byte(segment: int, within: int) -> None:
    """Text and tag of each segment are authenticated before anything of the file is used."""
    refused_before_use(flipped(seal(bytes(FULL)), segment * SEGMENT_BYTES + within, 3))


def test_an_altered_segment_is_never_handed_out_without_authenticate_either() -> None:
    """Each segment is authenticated when it is read, whatever was read before."""
    sealed = flipped(seal(bytes(FULL)), SEGMENT_BYTES + 5)
    opened = SealedReader(KEY, PLACE, lambda offset, n: sealed[offset : offset + n], len(sealed))
    with pytest.raises(BlobDamaged, match="segment 1 of 4"):
        opened.read(FIRST_TEXT_BYTES - 5, 10)
    with pytest.raises(BlobDamaged):
        list(opened.chunks())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cut", [1, 15, 16, 17, 100, SEGMENT_BYTES, 2 * SEGMENT_BYTES])
def test_a_truncated_file_is_refused(size: int, cut: int) -> None:
    """Cut anywhere, at a segment border too."""
    refused_at_once(seal(bytes(size))[:-cut])


@pytest.mark.parametrize("left", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 15, HEADER_BYTES + 16])
def test_a_file_cut_down_to_its_beginning_is_refused(left: int) -> None:
    """Nothing, less than a header, a header alone, a header with something like a tag."""
    refused_at_once(seal(bytes(FULL))[:left])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("added", [1, 15, 16, 17, 100, SEGMENT_BYTES, SEGMENT_BYTES + 5])
def test_an_extended_file_is_refused(size: int, added: int) -> None:
    """Also behind a last segment that is exactly full."""
    refused_at_once(seal(bytes(size)) + bytes(added))


def segments(sealed: bytes) -> list[bytes]:
    """The ciphertext, a segment at a time."""
    return [sealed[at : at + SEGMENT_BYTES] for at in range(0, len(sealed), SEGMENT_BYTES)]


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 3), (2, 3)])
def test_swapped_segments_are_refused(one: int, other: int) -> None:
    """A segment opens at its own index only."""
    parts = segments(seal(bytes(FULL)))
    parts[one], parts[other] = parts[other], parts[one]
    refused_before_use(b"".join(parts))


def test_a_repeated_and_a_dropped_segment_are_refused() -> None:
    """The number of segments is bound by the last one."""
    parts = segments(seal(bytes(FULL)))
    refused_at_once(b"".join([*parts[:2], *parts[1:]]))
    refused_at_once(b"".join([parts[0], *parts[2:]]))


def test_two_files_spliced_together_are_refused() -> None:
    """Segments of another file under the same key and place don't fit: its salt is another."""
    one, other = segments(seal(bytes(FULL))), segments(seal(bytes(FULL)))
    refused_before_use(b"".join([one[0], other[1], *one[2:]]))
    refused_at_once(b"".join([*one[:2], *other[2:]]))
    refused_at_once(other[0][:HEADER_BYTES] + b"".join(one)[HEADER_BYTES:])


@pytest.mark.parametrize(
    "place",
    [
        associated_data(partner="vitens", delivery="L1", object_id="L1", kind="raw"),
        associated_data(partner="eneco", delivery="L2", object_id="L1", kind="raw"),
        associated_data(partner="eneco", delivery="L1", object_id="L2", kind="raw"),
        associated_data(partner="eneco", delivery="L1", object_id="L1", kind="outbox"),
        b"",
    ],
)
def test_a_file_of_another_place_is_refused(place: bytes) -> None:
    """Partner, delivery, object and kind each bind the file."""
    refused_at_once(seal(b"contents"), place=place)


def test_a_file_under_another_key_is_refused() -> None:
    """A foreign file is no file of ours."""
    refused_at_once(seal(b"contents", key=bytes(32)))


def test_a_second_empty_segment_is_refused_even_from_someone_with_the_key() -> None:
    """Contents have one form: only empty contents end in an empty segment."""
    salt, prefix = bytes(32), bytes(7)
    key = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=PLACE).derive(KEY))
    first = key.encrypt(prefix + bytes(4) + b"\0", bytes(FIRST_TEXT_BYTES), None)
    last = key.encrypt(prefix + b"\0\0\0\1" + b"\1", b"", None)
    refused_at_once(b"\x28" + salt + prefix + first + last)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_single_change_is_refused(data: st.DataObject) -> None:
    """Whatever byte is changed, the file is refused before use."""
    sealed = SEALED
    at = data.draw(st.integers(0, len(sealed) - 1))
    refused_before_use(flipped(sealed, at, data.draw(st.integers(0, 7))))


SEALED = seal(b"naam;adres\n" * 15_000)
