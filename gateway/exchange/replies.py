"""SFTP version 3, replies into packets (the requests: `protocol.py`). No I/O, no state.

Source: draft-ietf-secsh-filexfer-02, with OpenSSH's extensions (PROTOCOL, section 4).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache

from gateway.exchange.protocol import (
    DATA_HEAD_BYTES,
    PACKET_BYTES,
    STATUS_TEXTS,
    TRANSFER_BYTES,
    VERSION,
    Attributes,
    Space,
    Status,
)

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_DATA_HEAD = struct.Struct(">IBII")
#: length, kind, number
_STATUS_HEAD = struct.Struct(">IBI")

_ATTR_SIZE, _ATTR_OWNER, _ATTR_MODE, _ATTR_TIMES = 1, 2, 4, 8
_VERSION, _STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED_REPLY = 2, 101, 102, 103, 104, 105, 201

#: Extensions that the version reply announces: those that clients of version 3 use.
EXTENSIONS = (
    (b"posix-rename@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
)


def _packet(kind: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return _U32.pack(len(body) + 1) + bytes([kind]) + body


def _string(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


def _attributes(attributes: Attributes) -> bytes:
    flags, parts = 0, []
    if attributes.size is not None:
        flags |= _ATTR_SIZE
        parts.append(_U64.pack(attributes.size))
    if attributes.owner is not None:
        flags |= _ATTR_OWNER
        parts.extend(_U32.pack(number) for number in attributes.owner)
    if attributes.mode is not None:
        flags |= _ATTR_MODE
        parts.append(_U32.pack(attributes.mode))
    if attributes.accessed is not None and attributes.modified is not None:
        flags |= _ATTR_TIMES
        parts.append(_U32.pack(attributes.accessed) + _U32.pack(attributes.modified))
    return _U32.pack(flags) + b"".join(parts)


def version_reply(extensions: Iterable[tuple[bytes, bytes]] = EXTENSIONS) -> bytes:
    """VERSION 3, whatever was asked: WinSCP asks 6 and takes 3."""
    pairs = b"".join(_string(name) + _string(value) for name, value in extensions)
    return _packet(_VERSION, _U32.pack(VERSION), pairs)


def status_reply(number: int, status: Status, text: str = "") -> bytes:
    """STATUS, with the status's own text when none is given."""
    rest = _status_rest(status, text or STATUS_TEXTS[status])
    return _STATUS_HEAD.pack(len(rest) + 5, _STATUS, number) + rest


@lru_cache(maxsize=64)
def _status_rest(status: Status, text: str) -> bytes:
    """What comes after a STATUS's number: of most it is the same."""
    return _U32.pack(status) + _string(text.encode()) + _string(b"en")


def handle_reply(number: int, handle: bytes) -> bytes:
    """HANDLE."""
    return _packet(_HANDLE, _U32.pack(number), _string(handle))


def data_reply(number: int, data: bytes) -> bytes:
    """DATA."""
    return _packet(_DATA, _U32.pack(number), _string(data))


def begin_data_reply(number: int, reply: bytearray) -> None:
    """The same where the data lies already, behind `DATA_HEAD_BYTES` that are filled now."""
    count = len(reply) - DATA_HEAD_BYTES
    _DATA_HEAD.pack_into(reply, 0, DATA_HEAD_BYTES - 4 + count, _DATA, number, count)


def attributes_reply(number: int, attributes: Attributes) -> bytes:
    """ATTRS."""
    return _packet(_ATTRS, _U32.pack(number), _attributes(attributes))


def names_reply(number: int, entries: Iterable[tuple[str, str, Attributes]]) -> bytes:
    """NAME: (name, long name, attributes) of each entry."""
    parts = [
        _string(name.encode(errors="surrogateescape"))
        + _string(long_name.encode(errors="surrogateescape"))
        + _attributes(attributes)
        for name, long_name, attributes in entries
    ]
    return _packet(_NAME, _U32.pack(number), _U32.pack(len(parts)), *parts)


def limits_reply(number: int, most_handles: int) -> bytes:
    """The reply to limits@openssh.com: packet, read and write in bytes, and open handles."""
    numbers = (PACKET_BYTES, TRANSFER_BYTES, TRANSFER_BYTES, most_handles)
    return _packet(_EXTENDED_REPLY, _U32.pack(number), *(_U64.pack(value) for value in numbers))


def space_reply(number: int, space: Space) -> bytes:
    """The reply to statvfs@openssh.com: `struct statvfs` in its order, without a file system's id."""
    read_only, no_set_uid = (1 if space.is_read_only else 0), 2
    numbers = (
        space.block_bytes,
        space.block_bytes,
        space.blocks,
        space.free_blocks,
        space.free_blocks,
        space.files,
        space.free_files,
        space.free_files,
        0,
        read_only | no_set_uid,
        space.most_name,
    )
    return _packet(_EXTENDED_REPLY, _U32.pack(number), *(_U64.pack(value) for value in numbers))
