"""SFTP version 3, requests out of packets (the replies: `replies.py`). No I/O, no state.

Source: draft-ietf-secsh-filexfer-02, with OpenSSH's extensions (PROTOCOL, section 4). Bytes after the
last field of a request are ignored: rclone before 1.62 sends them with WRITE.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from gateway.errors import TransferError

VERSION = 3
#: What `limits@openssh.com` announces, in bytes: OpenSSH's own numbers.
PACKET_BYTES = 262_144
TRANSFER_BYTES = 261_120
#: The longest packet that is taken in; above it the connection is ended.
MOST_PACKET_BYTES = PACKET_BYTES + 8_192
#: The most that one READ is answered with.
MOST_READ_BYTES = 262_144
#: What comes before the data of DATA: length, kind, number, length of the data.
DATA_HEAD_BYTES = 13

_LENGTH = struct.Struct(">I")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")

#: WRITE: length, kind, number, length of the handle; and after that: offset, length of the data
_WRITE_START, _WRITE_END = struct.Struct(">IBII"), struct.Struct(">QI")
_READ, _WRITE = 5, 6
#: No WRITE of a handle of ours begins with more before its data.
MOST_WRITE_HEAD_BYTES = 64
#: Of a handle of ours.
HANDLE_BYTES = 4
#: READ of such a handle: length, kind, number, length of the handle, handle, offset, bytes to read
_READ_PACKET = struct.Struct(f">IBII{HANDLE_BYTES}sQI")
READ_BYTES = _READ_PACKET.size

_ATTR_SIZE, _ATTR_OWNER, _ATTR_MODE, _ATTR_TIMES, _ATTR_EXTENDED = 1, 2, 4, 8, 0x8000_0000


class Status(IntEnum):
    """SSH_FX_*: the outcome of a request."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8


#: What a client shows when a reply says no more than the code.
STATUS_TEXTS: Mapping[Status, str] = {
    Status.OK: "OK",
    Status.EOF: "End of file",
    Status.NO_SUCH_FILE: "No such file",
    Status.PERMISSION_DENIED: "Permission denied",
    Status.FAILURE: "Failure",
    Status.BAD_MESSAGE: "Bad message",
    Status.OP_UNSUPPORTED: "Operation unsupported",
}


class OpenFlag(IntFlag):
    """SSH_FXF_*: how a file is opened."""

    READ = 1
    WRITE = 2
    APPEND = 4
    CREATE = 8
    TRUNCATE = 16
    EXCLUSIVE = 32


class Refused(TransferError):
    """A request is refused with a status and a text for the partner."""

    def __init__(self, status: Status, text: str = "") -> None:
        self.status, self.text = status, text or STATUS_TEXTS[status]
        super().__init__(self.text)


class PacketError(TransferError):
    """The stream is not SFTP, or a packet is too long: the session can't go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is known of a file; None: not said. Times are seconds since 1970."""

    size: int | None = None
    #: user and group id
    owner: tuple[int, int] | None = None
    mode: int | None = None
    accessed: int | None = None
    modified: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What statvfs@openssh.com tells of the room that there is; 0 files: they are not counted."""

    block_bytes: int
    blocks: int
    free_blocks: int
    files: int = 0
    free_files: int = 0
    is_read_only: bool = False
    #: the longest name
    most_name: int = 255


@dataclass(frozen=True, slots=True)
class Init:
    """The client's highest version."""

    version: int


@dataclass(frozen=True, slots=True)
class Open:
    """OPEN."""

    path: bytes
    flags: OpenFlag
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE of a file or folder."""

    handle: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """READ."""

    handle: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Write:
    """WRITE; `data` is a view of the packet."""

    handle: bytes
    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class Stat:
    """STAT, or LSTAT when a link is not followed."""

    path: bytes
    follows: bool = True


@dataclass(frozen=True, slots=True)
class HandleStat:
    """FSTAT."""

    handle: bytes


@dataclass(frozen=True, slots=True)
class SetStat:
    """SETSTAT, or lsetstat@openssh.com when a link is not followed."""

    path: bytes
    attributes: Attributes
    follows: bool = True


@dataclass(frozen=True, slots=True)
class SetHandleStat:
    """FSETSTAT."""

    handle: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """OPENDIR."""

    path: bytes


@dataclass(frozen=True, slots=True)
class ReadFolder:
    """READDIR."""

    handle: bytes


@dataclass(frozen=True, slots=True)
class Remove:
    """REMOVE."""

    path: bytes


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """MKDIR."""

    path: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class RemoveFolder:
    """RMDIR."""

    path: bytes


@dataclass(frozen=True, slots=True)
class RealPath:
    """REALPATH."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Rename:
    """RENAME, or posix-rename@openssh.com, which puts the file in the place of what had the name."""

    old: bytes
    new: bytes
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class ReadLink:
    """READLINK."""

    path: bytes


@dataclass(frozen=True, slots=True)
class SymbolicLink:
    """SYMLINK, its paths in the order in which OpenSSH and everybody after it sends them."""

    target: bytes
    path: bytes


@dataclass(frozen=True, slots=True)
class HardLink:
    """hardlink@openssh.com."""

    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Sync:
    """fsync@openssh.com."""

    handle: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """limits@openssh.com."""


@dataclass(frozen=True, slots=True)
class SpaceStat:
    """statvfs@openssh.com."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A request or extension that is not known here."""


Request = (
    Init
    | Open
    | Close
    | Read
    | Write
    | Stat
    | HandleStat
    | SetStat
    | SetHandleStat
    | OpenFolder
    | ReadFolder
    | Remove
    | MakeFolder
    | RemoveFolder
    | RealPath
    | Rename
    | ReadLink
    | SymbolicLink
    | HardLink
    | Sync
    | Limits
    | SpaceStat
    | Unsupported
)


class _Fields:
    """Reads the fields of one packet in order."""

    __slots__ = ("_at", "_view")

    def __init__(self, packet: bytes) -> None:
        self._view = memoryview(packet)
        self._at = 0

    def _take(self, count: int) -> memoryview:
        end = self._at + count
        if end > len(self._view):
            raise Refused(Status.BAD_MESSAGE, "The packet ends too early")
        piece = self._view[self._at : end]
        self._at = end
        return piece

    def u8(self) -> int:
        return self._take(1)[0]

    def u32(self) -> int:
        return int(_U32.unpack(self._take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self._take(8))[0])

    def view(self) -> memoryview:
        return self._take(self.u32())

    def string(self) -> bytes:
        return bytes(self.view())

    def attributes(self) -> Attributes:
        flags = self.u32()
        size = self.u64() if flags & _ATTR_SIZE else None
        owner = (self.u32(), self.u32()) if flags & _ATTR_OWNER else None
        mode = self.u32() if flags & _ATTR_MODE else None
        accessed, modified = (self.u32(), self.u32()) if flags & _ATTR_TIMES else (None, None)
        if flags & _ATTR_EXTENDED:
            for _ in range(self.u32()):
                self.view(), self.view()
        return Attributes(size=size, owner=owner, mode=mode, accessed=accessed, modified=modified)


def _open(fields: _Fields) -> Request:
    path, flags = fields.string(), OpenFlag(fields.u32() & 0x3F)
    return Open(path, flags, fields.attributes())


def _extended(fields: _Fields) -> Request:
    match fields.string():
        case b"posix-rename@openssh.com":
            return Rename(fields.string(), fields.string(), replaces=True)
        case b"fsync@openssh.com":
            return Sync(fields.string())
        case b"limits@openssh.com":
            return Limits()
        case b"hardlink@openssh.com":
            return HardLink(fields.string(), fields.string())
        case b"lsetstat@openssh.com":
            return SetStat(fields.string(), fields.attributes(), follows=False)
        case b"statvfs@openssh.com":
            return SpaceStat(fields.string())
        case _:
            return Unsupported()


_PARSERS: Mapping[int, Callable[[_Fields], Request]] = {
    3: _open,
    4: lambda fields: Close(fields.string()),
    5: lambda fields: Read(fields.string(), fields.u64(), fields.u32()),
    6: lambda fields: Write(fields.string(), fields.u64(), fields.view()),
    7: lambda fields: Stat(fields.string(), follows=False),
    8: lambda fields: HandleStat(fields.string()),
    9: lambda fields: SetStat(fields.string(), fields.attributes()),
    10: lambda fields: SetHandleStat(fields.string(), fields.attributes()),
    11: lambda fields: OpenFolder(fields.string()),
    12: lambda fields: ReadFolder(fields.string()),
    13: lambda fields: Remove(fields.string()),
    14: lambda fields: MakeFolder(fields.string(), fields.attributes()),
    15: lambda fields: RemoveFolder(fields.string()),
    16: lambda fields: RealPath(fields.string()),
    17: lambda fields: Stat(fields.string()),
    18: lambda fields: Rename(fields.string(), fields.string()),
    19: lambda fields: ReadLink(fields.string()),
    20: lambda fields: SymbolicLink(fields.string(), fields.string()),
    200: _extended,
}
_INIT = 1


def take_packet(buffer: bytearray) -> bytes | None:
    """Take the first whole packet, without its length, out of `buffer`; None: more bytes are needed.

    Raises:
        PacketError: the packet is empty or longer than `MOST_PACKET_BYTES`; known from its first 4 bytes.
    """
    if len(buffer) < 4:
        return None
    (length,) = _LENGTH.unpack_from(buffer)
    if not 1 <= length <= MOST_PACKET_BYTES:
        raise PacketError(f"SFTP packet of {length} bytes; a packet has 1 to {MOST_PACKET_BYTES}")
    if len(buffer) < 4 + length:
        return None
    packet = bytes(memoryview(buffer)[4 : 4 + length])
    del buffer[: 4 + length]
    return packet


def first_read(buffer: bytearray) -> tuple[int, Read] | None:
    """The number of the READ that `buffer` begins with, and the READ; None: it is another, or its handle none of ours."""
    if len(buffer) < READ_BYTES:
        return None
    length, kind, number, handle_bytes, handle, offset, count = _READ_PACKET.unpack_from(buffer)
    if length != READ_BYTES - 4 or kind != _READ or handle_bytes != HANDLE_BYTES:
        return None
    return number, Read(handle, offset, count)


@dataclass(frozen=True, slots=True)
class WriteHead:
    """What comes before the data of a WRITE: `head_bytes` of them, the packet's length included."""

    number: int
    handle: bytes
    offset: int
    length: int
    head_bytes: int


def write_head(head: bytes) -> WriteHead | None:
    """The beginning of a WRITE whose packet ends with its data; None: it is another, or not all of it is here."""
    if len(head) < _WRITE_START.size or head[4] != _WRITE:
        return None
    packet_bytes, _, number, handle_bytes = _WRITE_START.unpack_from(head)
    head_bytes = _WRITE_START.size + handle_bytes + _WRITE_END.size
    if len(head) < head_bytes:
        return None
    offset, length = _WRITE_END.unpack_from(head, head_bytes - _WRITE_END.size)
    if not length or packet_bytes > MOST_PACKET_BYTES or packet_bytes != head_bytes - 4 + length:
        return None
    handle = head[_WRITE_START.size : _WRITE_START.size + handle_bytes]
    return WriteHead(number, handle, offset, length, head_bytes)


def request_id(packet: bytes) -> int:
    """The number that the reply repeats. Raises PacketError when the packet is too short to have one."""
    if len(packet) < 5:
        raise PacketError("SFTP packet without a request id")
    return int(_U32.unpack_from(packet, 1)[0])


def parse(packet: bytes) -> Request:
    """The request in a packet.

    Raises:
        Refused: BAD_MESSAGE when fields are missing.
    """
    fields = _Fields(packet)
    kind, number = fields.u8(), fields.u32()
    if kind == _INIT:
        return Init(number)
    parser = _PARSERS.get(kind)
    return parser(fields) if parser else Unsupported()
