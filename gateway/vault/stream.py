"""The sealed stream: Tink's AES-GCM-HKDF streaming format, AES-256, segments of 64 KiB (spec 4, Vault).

    ciphertext = header || segment 0 || segment 1 ...      header = 0x28 || salt32 || prefix7
    key        = HKDF-SHA256(file key, salt, info = associated data)
    segment i  = AES-256-GCM(key, nonce = prefix7 || u32be(i) || last, plaintext) = text || tag16

Every segment of the file fills 64 KiB (the first one together with the header) except the last, so
segment i begins at i * 64 KiB and reading starts anywhere. The last segment says in its nonce that
it is the last. https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.errors import BlobDamaged, VaultError
from gateway.vault.derive import KEY_BYTES, length_prefixed

#: Bytes of ciphertext in a segment; another size needs a measurement and a line in docs/vault-format.md.
SEGMENT_BYTES = 65_536

SALT_BYTES = 32
PREFIX_BYTES = 7
TAG_BYTES = 16
#: First byte of the header: its own length, 1 + 32 + 7.
HEADER_BYTES = 1 + SALT_BYTES + PREFIX_BYTES
#: Plaintext that a segment holds; the first one shares its room with the header.
TEXT_BYTES = SEGMENT_BYTES - TAG_BYTES
FIRST_TEXT_BYTES = TEXT_BYTES - HEADER_BYTES
#: The index in the nonce has 32 bits.
MOST_SEGMENTS = 1 << 32
#: Opened segments that a reader keeps: a client that asks in small pieces opens each segment once.
SEGMENTS_KEPT = 3


#: What is read of a sealed file; a view is good until the next read.
Sealed = bytes | bytearray | memoryview


def associated_data(*, partner: str, delivery: str, object_id: str, kind: str) -> bytes:
    """What binds a stream to its place: sealed for one place, it opens at no other."""
    return b"gw/v1/file\0" + length_prefixed(partner, delivery, object_id, kind)


def _stream_key(file_key: bytes, salt: bytes, associated: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=associated).derive(file_key))


def _nonce(prefix: bytes, index: int, *, last: bool) -> bytes:
    return prefix + index.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


class Sealer:
    """Seals a stream as it comes in; hands out nothing but ciphertext.

    `sink` gets each segment (the first with the header before it) as a view of a buffer that is used
    again afterwards: it must be done with the bytes when it returns, or give another buffer of
    `SEGMENT_BYTES` that the next segment is sealed into. One segment is held back, since
    only `finish` makes a segment the last. After an error of the sink the stream is dead: an index is
    sealed once, always. Without `is_hashed` there is no `sha256`: whoever reads the file first makes it.
    """

    def __init__(
        self,
        file_key: bytes,
        associated: bytes,
        sink: Callable[[memoryview], memoryview | None],
        *,
        is_hashed: bool = True,
    ) -> None:
        salt = os.urandom(SALT_BYTES)
        self._prefix = os.urandom(PREFIX_BYTES)
        self._key = _stream_key(file_key, salt, associated)
        self._sink = sink
        self._hash = sha256() if is_hashed else None
        self._out = memoryview(bytearray(SEGMENT_BYTES))
        self._out[:HEADER_BYTES] = bytes([HEADER_BYTES]) + salt + self._prefix
        self._held = bytearray(TEXT_BYTES)
        self._held_bytes = 0
        self._room = FIRST_TEXT_BYTES
        self._index = 0
        self._open = True
        #: plaintext taken in so far
        self.plain_bytes = 0
        #: ciphertext handed to the sink so far, the header included
        self.sealed_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take in plaintext; pieces of any size give the same segments."""
        if not self._open:
            raise VaultError("the sealed stream is finished or broken")
        view = memoryview(data).cast("B")
        self.plain_bytes += len(view)
        while len(view) > self._room - self._held_bytes:
            if self._held_bytes:
                taken = self._room - self._held_bytes
                self._held[self._held_bytes : self._room] = view[:taken]
                text = memoryview(self._held)[: self._room]
            else:
                taken = self._room
                text = view[:taken]
            self._seal(text, last=False)
            self._held_bytes = 0
            view = view[taken:]
        end = self._held_bytes + len(view)
        self._held[self._held_bytes : end] = view
        self._held_bytes = end

    def finish(self) -> None:
        """Seal the last segment; empty contents have one too."""
        if not self._open:
            raise VaultError("the sealed stream is finished or broken")
        self._seal(memoryview(self._held)[: self._held_bytes], last=True)
        self._open = False
        self._held[:] = bytes(TEXT_BYTES)

    def sha256(self) -> bytes:
        """SHA-256 of the ciphertext handed to the sink so far: for scrubbing without keys.

        Raises:
            VaultError: the stream is not hashed.
        """
        if self._hash is None:
            raise VaultError("this sealed stream is not hashed")
        return self._hash.digest()

    def _seal(self, text: memoryview, *, last: bool) -> None:
        index = self._index
        if index >= MOST_SEGMENTS:
            raise VaultError("a sealed stream holds at most 2^32 segments")
        start = HEADER_BYTES if index == 0 else 0
        end = start + len(text) + TAG_BYTES
        self._open = False
        out = self._out
        self._key.encrypt_into(_nonce(self._prefix, index, last=last), text, None, out[start:end])
        self._index = index + 1
        self._room = TEXT_BYTES
        if self._hash is not None:
            self._hash.update(out[:end])
        self._out = self._sink(out[:end]) or out
        self.sealed_bytes += end
        self._open = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """SHA-256 of a file: of its `text`, and of the whole ciphertext, header included, in which it is `sealed`."""

    text: bytes
    sealed: bytes


class SealedReader:
    """Reads a sealed stream at any offset; raises BlobDamaged, and hands out nothing, for what is wrong.

    `read_at(offset, n)` gives ciphertext, `sealed_size` is all there is of it. Making a reader
    authenticates the last segment, which fixes the length: truncated, extended and foreign files stop
    here. `authenticate` opens all segments, so that an altered one stops a file before its first byte.
    """

    def __init__(
        self,
        file_key: bytes,
        associated: bytes,
        read_at: Callable[[int, int], Sealed],
        sealed_size: int,
    ) -> None:
        self._read_at = read_at
        self._sealed_size = sealed_size
        self._segments = -(-sealed_size // SEGMENT_BYTES)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        # Only empty contents end in a segment without text.
        least = HEADER_BYTES + TAG_BYTES if self._segments <= 1 else TAG_BYTES + 1
        if sealed_size - (self._segments - 1) * SEGMENT_BYTES < least or self._segments > MOST_SEGMENTS:
            raise BlobDamaged("the sealed file has a length that no sealed file has")
        self._header = header = bytes(read_at(0, HEADER_BYTES))
        if len(header) != HEADER_BYTES or header[0] != HEADER_BYTES:
            raise BlobDamaged("the sealed file begins with another header")
        self._prefix = header[1 + SALT_BYTES :]
        self._key = _stream_key(file_key, header[1 : 1 + SALT_BYTES], associated)
        #: plaintext bytes
        self.size = sealed_size - HEADER_BYTES - self._segments * TAG_BYTES
        self._keep(self._segments - 1, self._open_segment(self._segments - 1))

    def read(self, offset: int, n: int, *, before: int = 0) -> bytearray:
        """The `n` plaintext bytes from `offset` on, fewer only at the end; behind `before` bytes that are the caller's."""
        if n < 0:
            raise ValueError("offset and length are not negative")
        data = bytearray(before + max(0, min(n, self.size - offset)))
        self.read_into(offset, memoryview(data)[before:])
        return data

    def read_into(self, offset: int, into: memoryview) -> int:
        """Fill `into` with plaintext from `offset` on; how many bytes, fewer only at the end of the contents."""
        if offset < 0:
            raise ValueError("offset and length are not negative")
        index, within = _locate(offset)
        count = max(0, min(len(into), self.size - offset))
        at = 0
        while at < count:
            at += self._fill(index, within, into[at:count])
            index, within = index + 1, 0
        return count

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """The plaintext from `start` on, a segment at a time."""
        if not 0 <= start < self.size:
            return
        first, within = _locate(start)
        for index in range(first, self._segments):
            segment = self._kept.get(index) if index == self._segments - 1 else None
            if segment is None:
                segment = self._open_segment(index)
            yield segment[within:] if within else segment
            within = 0

    def authenticate(self) -> None:
        """Open every segment and keep none; BlobDamaged if one was altered."""
        text = memoryview(bytearray(TEXT_BYTES))
        for index in range(self._segments):
            self._decrypt_into(index, self._read_segment(index), text)

    def digests(self) -> Digests:
        """Open every segment and keep none, hashing what was read and what it held; BlobDamaged if one was altered."""
        sealed, text = sha256(self._header), sha256()
        room = memoryview(bytearray(TEXT_BYTES))
        for index in range(self._segments):
            segment = self._read_segment(index)
            self._decrypt_into(index, segment, room)
            text.update(room[: len(segment) - TAG_BYTES])
            sealed.update(segment)
        return Digests(text=text.digest(), sealed=sealed.digest())

    def _segment(self, index: int) -> bytes:
        segment = self._kept.get(index)
        if segment is None:
            segment = self._open_segment(index)
            self._keep(index, segment)
        else:
            self._kept.move_to_end(index)
        return segment

    def _keep(self, index: int, segment: bytes) -> None:
        self._kept[index] = segment
        if len(self._kept) > SEGMENTS_KEPT:
            self._kept.popitem(last=False)

    def _open_segment(self, index: int) -> bytes:
        return self._decrypt(index, self._read_segment(index))

    def _fill(self, index: int, within: int, room: memoryview) -> int:
        """Fill `room` with the text of a segment from `within` on; how many bytes. What is read in part is kept."""
        start, end = self._span(index)
        whole = end - start - TAG_BYTES
        if not within and len(room) >= whole and index not in self._kept:
            self._decrypt_into(index, self._read_segment(index), room)
            return whole
        text = memoryview(self._segment(index))[within : within + len(room)]
        room[: len(text)] = text
        return len(text)

    def _span(self, index: int) -> tuple[int, int]:
        """Where a segment lies in the sealed file."""
        return index * SEGMENT_BYTES if index else HEADER_BYTES, min(
            (index + 1) * SEGMENT_BYTES, self._sealed_size
        )

    def _read_segment(self, index: int) -> Sealed:
        start, end = self._span(index)
        sealed = self._read_at(start, end - start)
        if len(sealed) != end - start:
            raise BlobDamaged("the sealed file is shorter than it was")
        return sealed

    def _decrypt(self, index: int, sealed: Sealed) -> bytes:
        try:
            return self._key.decrypt(self._nonce(index), sealed, None)
        except InvalidTag as exc:
            raise self._altered(index) from exc

    def _decrypt_into(self, index: int, sealed: Sealed, room: memoryview) -> None:
        """The same, into the beginning of `room`, of which nothing is to be used on error."""
        try:
            self._key.decrypt_into(self._nonce(index), sealed, None, room[: len(sealed) - TAG_BYTES])
        except InvalidTag as exc:
            raise self._altered(index) from exc

    def _nonce(self, index: int) -> bytes:
        return _nonce(self._prefix, index, last=index == self._segments - 1)

    def _altered(self, index: int) -> BlobDamaged:
        return BlobDamaged(
            f"segment {index} of {self._segments} of the sealed file was altered, or belongs elsewhere"
        )


def _locate(offset: int) -> tuple[int, int]:
    """The segment of a plaintext offset, and the offset within it."""
    if offset < FIRST_TEXT_BYTES:
        return 0, offset
    index, within = divmod(offset - FIRST_TEXT_BYTES, TEXT_BYTES)
    return index + 1, within


class SealedFile(io.RawIOBase):
    """A `SealedReader` as a file for `io.BufferedReader` and `io.TextIOWrapper`."""

    def __init__(self, reader: SealedReader) -> None:
        super().__init__()
        self._reader = reader
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The plaintext offset of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a plaintext offset."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._reader.size}[whence]
        if base + offset < 0:
            raise ValueError("an offset is not negative")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer
        """Fill `buffer` with plaintext; the number of bytes, 0 at the end."""
        count = self._reader.read_into(self._at, memoryview(buffer))
        self._at += count
        return count
