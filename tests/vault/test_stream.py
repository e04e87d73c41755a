"""The sealed stream opens at any offset, to what was sealed, whatever the pieces it came in."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BlobDamaged, VaultError
from gateway.vault.stream import (
    FIRST_TEXT_BYTES,
    HEADER_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    TEXT_BYTES,
    SealedFile,
    SealedReader,
    Sealer,
    associated_data,
)

KEY = bytes(range(32))
PLACE = associated_data(partner="eneco", delivery="L1", object_id="L1", kind="raw")
BORDERS = [
    0,
    1,
    FIRST_TEXT_BYTES - 1,
    FIRST_TEXT_BYTES,
    FIRST_TEXT_BYTES + 1,
    FIRST_TEXT_BYTES + TEXT_BYTES - 1,
    FIRST_TEXT_BYTES + TEXT_BYTES,
    FIRST_TEXT_BYTES + TEXT_BYTES + 1,
    FIRST_TEXT_BYTES + 4 * TEXT_BYTES,
]


def text(size: int) -> bytes:
    """`size` bytes that differ along the way."""
    return (b"0123456789abcdefghijklmnopqrstuvwxyz\n" * (size // 37 + 1))[:size]


def seal(*pieces: bytes) -> tuple[bytes, Sealer]:
    """Seal in memory."""
    out = bytearray()
    sealer = Sealer(KEY, PLACE, out.extend)
    for piece in pieces:
        sealer.write(piece)
    sealer.finish()
    return bytes(out), sealer


def reader(sealed: bytes) -> SealedReader:
    """A reader over bytes in memory."""
    return SealedReader(KEY, PLACE, lambda offset, n: sealed[offset : offset + n], len(sealed))


@pytest.mark.parametrize("size", BORDERS)
def test_sizes_around_segment_borders_come_back(size: int) -> None:
    """Contents that fill a segment exactly, or miss it by a byte, come back whole."""
    sealed, sealer = seal(text(size))
    opened = reader(sealed)
    assert opened.size == size == sealer.plain_bytes
    assert b"".join(opened.chunks()) == text(size) == opened.read(0, size + 10)


@pytest.mark.parametrize("size", BORDERS)
def test_a_reader_makes_both_digests_in_one_pass(size: int) -> None:
    """Of the text and of the whole ciphertext; a segment that was altered gives none."""
    sealed, _ = seal(text(size))
    digests = reader(sealed).digests()
    assert digests.text == hashlib.sha256(text(size)).digest()
    assert digests.sealed == hashlib.sha256(sealed).digest()
    bad = bytearray(sealed)
    opened = SealedReader(KEY, PLACE, lambda offset, n: bytes(bad[offset : offset + n]), len(bad))
    bad[-1] ^= 1
    with pytest.raises(BlobDamaged):
        opened.digests()


def test_a_stream_that_is_not_hashed_has_no_digest() -> None:
    """And the same ciphertext otherwise: none is made up."""
    out = bytearray()
    sealer = Sealer(KEY, PLACE, out.extend, is_hashed=False)
    sealer.write(b"signal")
    sealer.finish()
    assert reader(bytes(out)).read(0, 10) == b"signal"
    with pytest.raises(VaultError, match="not hashed"):
        sealer.sha256()


@pytest.mark.parametrize("size", BORDERS)
def test_sealed_size_and_hash_are_those_of_the_ciphertext(size: int) -> None:
    """What is kept for scrubbing describes the bytes that the sink got."""
    sealed, sealer = seal(text(size))
    assert sealer.sealed_bytes == len(sealed)
    assert sealer.sha256() == hashlib.sha256(sealed).digest()
    segments = max(1, -(-(size + HEADER_BYTES) // TEXT_BYTES))
    assert len(sealed) == HEADER_BYTES + size + segments * TAG_BYTES


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(0, 50), st.integers(TEXT_BYTES - 60, TEXT_BYTES + 60), st.integers(0, 200_000)),
        max_size=6,
    ),
    st.data(),
)
def test_any_chunking_gives_the_same_contents_at_any_offset(sizes: list[int], data: st.DataObject) -> None:
    """How the client cut its writes shows nowhere, and reading starts anywhere."""
    contents = text(sum(sizes))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(contents[at : at + size])
        at += size
    opened = reader(seal(*pieces)[0])
    for _ in range(4):
        offset = data.draw(st.integers(0, len(contents) + 5))
        n = data.draw(st.integers(0, 140_000))
        assert opened.read(offset, n) == contents[offset : offset + n]
        assert b"".join(opened.chunks(offset)) == contents[offset:]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_caller_may_reuse_its_buffer(kind: type) -> None:
    """Bytes taken in are copied or sealed before `write` returns."""
    out = bytearray()
    sealer = Sealer(KEY, PLACE, out.extend)
    for letter in (b"a", b"b", b"c"):
        buffer = bytearray(letter * 50_000)
        sealer.write(kind(buffer))
        buffer[:] = bytes(len(buffer))
    sealer.finish()
    assert reader(bytes(out)).read(0, 200_000) == b"a" * 50_000 + b"b" * 50_000 + b"c" * 50_000


def test_the_sink_gets_no_plaintext() -> None:
    """What leaves the sealer holds no piece of what went in."""
    sealed, _ = seal(b"Jansen-Vermeulen;1234AB;" * 10_000)
    assert b"Jansen" not in sealed
    assert b"1234AB" not in sealed


def test_two_seals_of_the_same_contents_differ_everywhere() -> None:
    """Salt and nonce prefix are drawn for each stream."""
    one, other = seal(text(1000))[0], seal(text(1000))[0]
    assert one[1:40] != other[1:40]
    assert one[40:] != other[40:]


def test_a_stream_whose_sink_failed_seals_nothing_more() -> None:
    """A segment index is sealed once: after a full disk nothing is tried again under the same nonce."""

    def full_disk(_: object) -> None:
        raise OSError(28, "No space left on device")

    sealer = Sealer(KEY, PLACE, full_disk)
    with pytest.raises(OSError, match="No space"):
        sealer.write(bytes(2 * SEGMENT_BYTES))
    with pytest.raises(VaultError, match="broken"):
        sealer.write(b"more")
    with pytest.raises(VaultError, match="broken"):
        sealer.finish()


def test_a_finished_stream_takes_nothing_more() -> None:
    """The last segment is sealed once."""
    sealer = seal(b"x")[1]
    with pytest.raises(VaultError, match="finished"):
        sealer.write(b"more")
    with pytest.raises(VaultError, match="finished"):
        sealer.finish()


def test_reading_in_small_pieces_opens_each_segment_once() -> None:
    """The segments at hand are kept: a client that asks for 32 KiB at a time costs no second opening."""
    sealed, _ = seal(text(400_000))
    asked: list[int] = []

    def read_at(offset: int, n: int) -> bytes:
        asked.append(offset)
        return sealed[offset : offset + n]

    opened = SealedReader(KEY, PLACE, read_at, len(sealed))
    for offset in range(0, 400_000, 32_768):
        opened.read(offset, 32_768)
    assert len(asked) == 1 + 7 + 1  # the header, seven segments, and the last once more for its turn


def test_the_file_view_reads_lines_and_seeks() -> None:
    """The pipeline reads text from it as from any file."""
    sealed, _ = seal(text(300_000))
    with io.BufferedReader(SealedFile(reader(sealed))) as file:
        assert file.readline() == text(37)
        file.seek(-5, io.SEEK_END)
        assert file.read() == text(300_000)[-5:]
        file.seek(100_000)
        assert file.read(10) == text(300_000)[100_000:100_010]
        assert file.tell() == 100_010


def test_the_associated_data_is_unambiguous() -> None:
    """Bytes that move from one part to the next give another place."""
    assert associated_data(partner="ab", delivery="c", object_id="d", kind="raw") != associated_data(
        partner="a", delivery="bc", object_id="d", kind="raw"
    )
    assert associated_data(partner="p", delivery="d", object_id="o", kind="raw") == (
        b"gw/v1/file\0\x00\x01p\x00\x01d\x00\x01o\x00\x03raw"
    )


def test_a_read_that_comes_back_short_is_damage() -> None:
    """A file that shrinks while it is read hands out nothing of what is missing."""
    sealed, _ = seal(text(200_000))
    cut = len(sealed)
    opened = SealedReader(KEY, PLACE, lambda offset, n: sealed[offset : min(offset + n, cut)], len(sealed))
    cut = 100_000
    assert opened.read(0, 10) == text(10)
    with pytest.raises(BlobDamaged, match="shorter"):
        opened.read(70_000, 10)
