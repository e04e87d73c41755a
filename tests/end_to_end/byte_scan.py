"""The byte scan: whether something lies anywhere in what a gateway leaves on its host (spec 4, promises 1 and 2).

What is looked for is known beforehand: names that were planted, or ciphertexts, tokens and keys that were written down
before a purge. It is looked for in every file under some folders, as it lies there (SQLite with its journal and free
pages too), in the names of files, in files that are deleted but still open in a process or one of its children, and
inside compressed data at any offset of all these.
"""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import os
import re
import sqlite3
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway.domain.retention import Terms, index_due
from gateway.vault.key_ids import day_of, month_of
from gateway.vault.keyring import Keyring
from gateway.vault.stream import HEADER_BYTES, SEGMENT_BYTES

#: The fewest bytes of a needle; by its first ones it is looked for.
GRAM = 6
#: At most at every so many bytes is looked for needles that are long enough.
MOST_STRIDE = 8
#: Compressed data in compressed data in …, and how much of each is looked through.
MOST_LAYERS = 4
MOST_UNPACKED = 8 * 1024**2
#: Up to this size deflate without a header is tried at every offset; it takes two seconds a megabyte.
MOST_TRIED = 4 * 1024**2
#: How much is looked through at a time: most blocks are as they were when they were looked at last.
_BLOCK = 4096


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """Something lies where it must not: in which place, in what it is packed (empty: it lies there plainly)."""

    place: str
    packed: str
    form: str
    what: str


# -- what is looked for ----------------------------------------------------------------------------


def encoded(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The texts in which bytes are written down, by name."""
    yield f"hex of {name}", data.hex().encode()
    yield f"HEX of {name}", data.hex().upper().encode()
    for shift in range(3):
        for kind, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            # the characters that depend on nothing but the data, wherever it begins within three bytes
            first, last = -(-shift * 8 // 6), (shift + len(data)) * 8 // 6
            yield f"{kind}+{shift} of {name}", encode(bytes(shift) + data)[first:last]


def forms(text: str) -> Iterator[tuple[str, bytes]]:
    """Every way in which a text could stand on disk, by name."""
    plain = {codec: text.encode(codec) for codec in ("utf-8", "utf-16-le", "utf-16-be", "latin-1")}
    yield from plain.items()
    yield "json", json.dumps(text)[1:-1].encode()
    for name in ("utf-8", "utf-16-le", "latin-1"):
        yield from encoded(name, plain[name])


def _one_of(values: Iterable[int]) -> bytes:
    """The class of a pattern that matches one of some bytes."""
    return b"[%s]" % b"".join(re.escape(bytes([value])) for value in sorted(set(values)))


class Needles:
    """What is looked for, all of it at once.

    Args:
        wanted: what it is, in which form, and its bytes.
        is_compressible: whether deflate without a header is tried for them; of chance it makes nothing shorter.
    """

    def __init__(self, wanted: Iterable[tuple[str, str, bytes]], *, is_compressible: bool = True) -> None:
        every = list(wanted)
        if short := [what for what, _, needle in every if len(needle) < GRAM]:
            raise ValueError(f"{short[0]}: too short to be told from chance")
        self._is_compressible = is_compressible
        self._longest = max((len(needle) for _, _, needle in every), default=1)
        #: at every so many bytes is looked: each needle has as many beginnings
        self._stride = min([MOST_STRIDE, *(len(needle) - GRAM + 1 for _, _, needle in every)])
        #: some bytes of a needle -> where in it they are, and which it is
        self._by_gram: dict[bytes, list[tuple[int, bytes, str, str]]] = {}
        for what, form, needle in every:
            for at in range(self._stride):
                self._by_gram.setdefault(needle[at : at + GRAM], []).append((at, needle, form, what))
        first, second = (_one_of(gram[at] for gram in self._by_gram) for at in (0, 1))
        self._begins = re.compile(first + b"(?=%s)" % second)
        #: digests of contents in which nothing was found, with all that is packed in them; and hashes of blocks
        self._clean: set[bytes] = set()
        self._clean_blocks: set[int] = set()

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Needles:
        """Texts in each of their forms."""
        return cls((text, form, needle) for text in texts for form, needle in forms(text))

    @classmethod
    def of_bytes(cls, known: Iterable[tuple[str, bytes]]) -> Needles:
        """Bytes of chance as they are, and written down as text."""
        wanted = ((what, *form) for what, data in known for form in (("raw", data), *encoded("raw", data)))
        return cls(wanted, is_compressible=False)

    def within(self, data: bytes) -> set[tuple[str, str]]:
        """The forms and names of what stands in `data`, plainly."""
        found: set[tuple[str, str]] = set()
        for start in range(0, len(data), _BLOCK):
            # with what may begin in this block and end in the next
            block = data[start : start + _BLOCK + self._longest - 1]
            if hash(block) not in self._clean_blocks:
                here = self._within_block(block)
                found |= here
                if not here:
                    self._clean_blocks.add(hash(block))
        return found

    def _within_block(self, block: bytes) -> set[tuple[str, str]]:
        return {
            (form, what)
            for at in self._candidates(block)
            for offset, needle, form, what in self._by_gram.get(block[at : at + GRAM], ())
            if at >= offset and block.startswith(needle, at - offset)
        }

    def _candidates(self, block: bytes) -> Iterable[int]:
        if self._stride > 1:
            return range(0, len(block), self._stride)
        return (match.start() for match in self._begins.finditer(block))

    def look(self, places: Iterable[tuple[str, bytes]]) -> set[Found]:
        """What stands in any of the places, plainly or compressed."""
        found: set[Found] = set()
        for place, data in places:
            digest = sha256(data).digest()
            if digest in self._clean:
                continue
            here = {
                Found(place, packed, form, what)
                for packed, layer in (("", data), *unpacked(data, is_bare=self._is_compressible))
                for form, what in self.within(layer)
            }
            found |= here
            if not here:
                self._clean.add(digest)
        return found


# -- what is compressed ----------------------------------------------------------------------------


def _zip_member(data: memoryview) -> tuple[Callable[[], Any], int] | None:
    """How a member of a zip is unpacked, and where it begins behind its local header (APPNOTE.TXT, 4.3.7)."""
    if len(data) < 30:
        return None
    method, name, extra = (*struct.unpack_from("<H", data, 8), *struct.unpack_from("<HH", data, 26))
    unpackers: Mapping[int, Callable[[], Any]] = {
        8: lambda: zlib.decompressobj(-15),
        12: bz2.BZ2Decompressor,
        # 4 bytes before LZMA's own properties; a raw decoder needs those as a filter
        14: lambda: _zip_lzma(bytes(data[30 + name + extra : 30 + name + extra + 9])),
    }
    if method not in unpackers:  # a member that is stored lies there plainly
        return None
    return unpackers[method], 30 + name + extra + (9 if method == 14 else 0)


def _zip_lzma(head: bytes) -> lzma.LZMADecompressor:
    lc_lp_pb, dictionary = struct.unpack("<4xBI", head)
    options = {"lc": lc_lp_pb % 9, "lp": lc_lp_pb // 9 % 5, "pb": lc_lp_pb // 45, "dict_size": dictionary}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, **options}])


#: kind -> how it begins, and what unpacks it from there
HEADED: Mapping[str, tuple[re.Pattern[bytes], Callable[[], Any]]] = {
    "gzip": (re.compile(rb"\x1f\x8b\x08"), lambda: zlib.decompressobj(31)),
    "zlib": (re.compile(rb"[\x08\x18\x28\x38\x48\x58\x68\x78]"), lambda: zlib.decompressobj(15)),
    "bzip2": (re.compile(rb"BZh[1-9]1AY&SY"), bz2.BZ2Decompressor),
    "xz": (re.compile(rb"\xfd7zXZ\x00"), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)),
    "lzma": (re.compile(rb"\x5d\x00\x00[\x00-\xff]{2}"), lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE)),
}
_ZIP = re.compile(rb"PK\x03\x04")
#: How deflate (RFC 1951) begins whose first block is compressed: what one merely stores lies there plainly. Fixed codes,
#: or dynamic ones with at most 286 for lengths and 30 for distances.
_FIXED = _one_of(n for n in range(256) if n >> 1 & 3 == 1)
_DYNAMIC = _one_of(n for n in range(256) if n >> 1 & 3 == 2 and n >> 3 < 30)
_DISTANCES = _one_of(n for n in range(256) if n & 31 < 30)
_BARE = re.compile(rb"%s|%s(?=%s)" % (_FIXED, _DYNAMIC, _DISTANCES))
#: What of a stream is tried first.
_TRIED = 64


def unpacked(data: bytes, layers: int = MOST_LAYERS, *, is_bare: bool = True) -> Iterator[tuple[str, bytes]]:
    """What is compressed in `data`, wherever it begins, and in that again: the kinds from outside to inside."""
    if not layers:
        return
    view = memoryview(data)
    for kind, start, unpacker in _starts(view, is_bare=is_bare and len(data) <= MOST_TRIED):
        inner = _unpack(unpacker, view[start:])
        if len(inner) < GRAM:
            continue
        yield kind, inner
        # chance finds deflate everywhere: in what came of it, only what says what it is
        for deeper, innermost in unpacked(inner, layers - 1, is_bare=kind != "deflate"):
            yield f"{kind} > {deeper}", innermost


def _starts(view: memoryview, *, is_bare: bool) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    for kind, (begins, unpacker) in HEADED.items():
        for match in begins.finditer(view):
            at = match.start()
            if kind == "zlib" and (at + 1 >= len(view) or (view[at] << 8 | view[at + 1]) % 31):
                continue
            yield kind, at, unpacker
    for match in _ZIP.finditer(view):
        if (member := _zip_member(view[match.start() :])) is not None:
            yield "zip", match.start() + member[1], member[0]
    if is_bare:
        for block in range(0, len(view), _BLOCK):
            for start in _bare_starts(bytes(view[block : block + _BLOCK + _TRIED])):
                yield "deflate", block + start, lambda: zlib.decompressobj(-15)


@lru_cache(maxsize=4096)
def _bare_starts(block: bytes) -> tuple[int, ...]:
    """Where in a block, but for its last bytes, something begins that could be deflate."""
    found, new = [], zlib.decompressobj
    for match in _BARE.finditer(block):
        at = match.start()
        if at >= _BLOCK:
            break
        stream = new(-15)
        try:
            out = stream.decompress(block[at : at + _TRIED])
        except zlib.error:
            continue
        if len(out) >= GRAM or not stream.eof:
            found.append(at)
    return tuple(found)


def _unpack(unpacker: Callable[[], Any], data: memoryview) -> bytes:
    """What comes out, up to where it is damaged or cut off (as where a row of SQLite goes on in another page)."""
    out, at, size = bytearray(), 0, 64
    try:
        stream = unpacker()
        while at < len(data) and len(out) < MOST_UNPACKED and not stream.eof:
            out += stream.decompress(data[at : at + size])
            at, size = at + size, min(2 * size, 65_536)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, struct.error):
        pass  # it was no such stream, or ends here
    return bytes(out)


# -- where it is looked for ------------------------------------------------------------------------


def places(*roots: Path, pids: Iterable[int] = ()) -> Iterator[tuple[str, bytes]]:
    """Every file under the folders, its name, and what the processes and their children hold open.

    A file is named by its path from the folder's parent on.
    """
    for root in roots:
        for path in [root, *root.rglob("*")]:
            name = path.relative_to(root.parent).as_posix()
            yield f"name of {name}", os.fsencode(name)
            try:
                if path.is_file() and not path.is_symlink():
                    # the reserve is 32 MB of zeros: one of them is enough, for a form that ends in one
                    yield name, path.read_bytes().rstrip(b"\0") + b"\0"
            except FileNotFoundError:
                continue  # it came and went
    for pid in pids:
        for each in family(pid):
            yield from held_open(each, roots)


def family(pid: int) -> Iterator[int]:
    """A process and all that it started."""
    yield pid
    for child in children(pid):
        yield from family(child)


def children(pid: int) -> list[int]:
    """What a process started, in whatever thread."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended
    return found


def held_open(pid: int, roots: Sequence[Path] = ()) -> Iterator[tuple[str, bytes]]:
    """The files that a process has open and that are deleted, or that it may write, outside of some folders."""
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
        # none: it has ended; no file size: it can't write a byte, and perhaps nobody may look into it
        may_write = limits and not re.search(r"^Max file size +0 ", limits, re.MULTILINE)
        opened = list(Path(f"/proc/{pid}/fd").iterdir()) if may_write else []
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended
    for fd in opened:
        try:
            target = str(fd.readlink())
            flags = int(
                re.findall(r"^flags:\s+(\d+)", (fd.parents[1] / "fdinfo" / fd.name).read_text(), re.M)[0], 8
            )
            is_regular = stat.S_ISREG(fd.stat().st_mode)
        except (FileNotFoundError, ProcessLookupError):
            continue  # the one that lists, or one that was closed meanwhile
        is_deleted = target.endswith(" (deleted)")
        is_elsewhere = flags & os.O_ACCMODE != os.O_RDONLY and not any(
            map(Path(target).is_relative_to, roots)
        )
        if is_regular and (is_deleted or is_elsewhere):
            yield f"{target}, open in a process", fd.read_bytes().rstrip(b"\0") + b"\0"


# -- what is written down before a purge -----------------------------------------------------------

#: All columns of ciphertexts, tokens and wrapped keys.
RECORDED = (
    ("signal", "sealed"),
    ("signal", "content_token"),
    ("exclusion", "sealed"),
    ("delivery", "name_sealed"),
    ("delivery", "sha256_sealed"),
    ("delivery", "name_token"),
    ("delivery", "content_digest"),
    ("index_token", "token"),
    ("data_key", "wrapped"),
)
#: The other columns of bytes: certificates name the digest of a file's ciphertext and the commitment of its key, so that
#: these stay; certificates, requests for approval and the audit log hold ids, codes, counts and digests; what was removed
#: early is a list of ids, which goes with a data key of its own.
STAYS = (
    ("data_key", "commitment"),
    ("delivery", "sealed_sha256"),
    ("dispatch", "sealed_sha256"),
    ("destruction", "key"),
    ("destruction", "sha256"),
    ("certificate", "packed"),
    *(("audit_entry", name) for name in ("entry", "leaf_hash")),
    ("audit_checkpoint", "root"),
    ("approval", "text"),
    ("approval_signature", "armour"),
    ("removal", "sealed"),
)
_PIECE = 24


def recorded(home: Path, before: date) -> list[tuple[str, bytes]]:
    """The ciphertexts, tokens and wrapped keys of a home, and the keys that go before a day: pieces of them."""
    found: list[tuple[str, bytes]] = []
    with closing(sqlite3.connect(home / "data/gateway.db")) as db:
        for table, column in RECORDED:
            for (value,) in db.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                # a trace may be a part of it only
                found += [
                    (f"{table}.{column}", value[at : at + _PIECE]) for at in range(0, len(value), 2 * _PIECE)
                ]
    for blob in sorted((home / "data/vault").iterdir()):
        sealed = blob.read_bytes()
        for start in range(0, len(sealed), SEGMENT_BYTES):
            segment = sealed[start : start + SEGMENT_BYTES]
            for at in (0, HEADER_BYTES, len(segment) // 2, len(segment) - _PIECE):
                found.append(("blob", segment[at : at + _PIECE]))
    return [(what, piece) for what, piece in found if len(piece) >= 16] + keys_of(home, before)


def keys_of(home: Path, before: date = date.max) -> list[tuple[str, bytes]]:
    """The keys of a home's ring that go before a day: the files that hold them, and the keys themselves."""
    ring, found = Keyring.open(home / "keys"), []
    for path in sorted((home / "keys/ring").glob("*.key")):
        # another version of a key has its number behind the id
        key_id = path.name.partition(".")[0]
        if _last_day(key_id) < before:
            found += [(f"file of {key_id}", path.read_bytes()), (f"key {key_id}", ring.get(key_id))]
    return found


def _last_day(key_id: str) -> date:
    month = month_of(key_id)
    return index_due(month, Terms()) if month else day_of(key_id) or date.max
