"""A tree of real files behind our own SFTP session: everything is done that the drop boxes refuse.

It is what public SFTP test suites are run against, so that they test our packets, replies and session. There are
no boxes here, no vault and no partner; links are followed wherever they lead, with the rights of whoever runs it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.exchange import protocol as sftp
from gateway.exchange import replies
from gateway.exchange.checksum import Outcome
from gateway.exchange.conversation import MOST_HANDLES, Totals
from gateway.exchange.protocol import MOST_READ_BYTES, Attributes, OpenFlag, Refused, Space, Status
from gateway.exchange.tree import long_name

NAMES_PER_REPLY = 128
EXTENSIONS = (*replies.EXTENSIONS, (b"hardlink@openssh.com", b"1"), (b"lsetstat@openssh.com", b"1"))

#: As OpenSSH's server translates them; any other is FAILURE.
STATUSES = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP), Status.NO_SUCH_FILE),
    **dict.fromkeys((errno.EPERM, errno.EACCES, errno.EFAULT, errno.EROFS), Status.PERMISSION_DENIED),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.EINVAL), Status.BAD_MESSAGE),
    errno.ENOTSUP: Status.OP_UNSUPPORTED,
}


@dataclass(slots=True)
class OpenFile:
    """An open file."""

    fd: int


@dataclass(slots=True)
class OpenFolder:
    """An open folder: what READDIR has yet to tell."""

    path: str
    names: list[str]


@dataclass(slots=True)
class RealTree:
    """The requests of one session, carried out below `root`."""

    #: an absolute path that becomes `/`
    root: str
    #: where relative paths begin, as the client sees it
    start: str = "/"
    #: nothing is written
    is_read_only: bool = False
    totals: Totals = field(default_factory=Totals)
    _handles: dict[bytes, OpenFile | OpenFolder] = field(default_factory=dict)
    _last_handle: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether no file is open."""
        return not any(isinstance(opened, OpenFile) for opened in self._handles.values())

    async def answer(self, number: int, request: sftp.Request) -> bytes:
        """The reply to a request."""
        with refusals():
            return await asyncio.to_thread(self._answer, number, request)

    def write(self, handle: bytes, offset: int, data: memoryview) -> None:
        """Take in data of a WRITE."""
        with refusals():
            self._answer(0, sftp.Write(handle, offset, data))

    async def run(self, command: str, has_no_input: Callable[[], Awaitable[bool]]) -> Outcome | None:
        """No commands."""
        return None

    async def end(self, reason: str) -> None:
        """Close what is open."""
        handles, self._handles = list(self._handles.values()), {}
        for opened in handles:
            if isinstance(opened, OpenFile):
                os.close(opened.fd)

    def _answer(self, number: int, request: sftp.Request) -> bytes:
        if self.is_read_only and writes(request):
            raise Refused(Status.PERMISSION_DENIED)
        match request:
            case sftp.Init():
                return replies.version_reply(EXTENSIONS)
            case sftp.Open(path, flags, attributes):
                return replies.handle_reply(number, self._open(path, flags, attributes))
            case sftp.Close(handle):
                if isinstance(opened := self._opened(handle), OpenFile):
                    os.close(opened.fd)
                del self._handles[handle]
            case sftp.Read(handle, offset, length):
                return replies.data_reply(number, self._read(self._file(handle).fd, offset, length))
            case sftp.Write(handle, offset, data):
                self._write(self._file(handle).fd, offset, data)
            case sftp.Stat(path, follows):
                return replies.attributes_reply(
                    number, shown(os.stat(self._path(path), follow_symlinks=follows))
                )
            case sftp.HandleStat(handle):
                match self._opened(handle):
                    case OpenFile(fd):
                        return replies.attributes_reply(number, shown(os.fstat(fd)))
                    case OpenFolder(path):
                        return replies.attributes_reply(number, shown(os.stat(path)))
            case sftp.SetStat(path, attributes, follows):
                self._set(self._path(path), attributes, follows=follows)
            case sftp.SetHandleStat(handle, attributes):
                self._set(self._file(handle).fd, attributes, follows=True)
            case sftp.OpenFolder(path):
                self._check_room()
                place = self._path(path)
                return replies.handle_reply(
                    number, self._add(OpenFolder(place, [".", "..", *sorted(os.listdir(place))]))
                )
            case sftp.ReadFolder(handle):
                return self._read_folder(number, handle)
            case sftp.Remove(path):
                os.unlink(self._path(path))
            case sftp.MakeFolder(path, attributes):
                os.mkdir(self._path(path), 0o777 if attributes.mode is None else attributes.mode & 0o7777)
            case sftp.RemoveFolder(path):
                os.rmdir(self._path(path))
            case sftp.RealPath(path):
                real = self._virtual(os.path.realpath(self._path(path)))
                return replies.names_reply(number, [(real, real, Attributes())])
            case sftp.Rename(old, new, replaces):
                self._rename(self._path(old), self._path(new), replaces=replaces)
            case sftp.ReadLink(path):
                target = os.readlink(self._path(path))
                text = self._virtual(target) if target.startswith("/") else target
                return replies.names_reply(number, [(text, text, Attributes())])
            case sftp.SymbolicLink(target, path):
                there = os.fsdecode(target)
                os.symlink(self._path(target) if there.startswith("/") else there, self._path(path))
            case sftp.HardLink(old, new):
                os.link(self._path(old), self._path(new))
            case sftp.Sync(handle):
                os.fsync(self._file(handle).fd)
            case sftp.Limits():
                return replies.limits_reply(number, MOST_HANDLES)
            case sftp.SpaceStat(path):
                return replies.space_reply(number, space(os.statvfs(self._path(path))))
            case sftp.Unsupported():
                raise Refused(Status.OP_UNSUPPORTED)
        return replies.status_reply(number, Status.OK)

    # paths

    def _path(self, path: bytes) -> str:
        """The real path of what a client names; its last part may be a link."""
        text = os.path.normpath("/" + os.path.join(self.start, os.fsdecode(path))).lstrip("/")
        real = os.path.join(self.root, text) if text else self.root
        return f"{real}/" if path.endswith(b"/") and text else real  # a link before a slash is followed

    def _virtual(self, real: str) -> str:
        """A real path as the client names it."""
        below = os.path.relpath(real, os.path.realpath(self.root))
        return "/" if below == "." else os.path.normpath(f"/{below}")

    # handles

    def _add(self, opened: OpenFile | OpenFolder) -> bytes:
        self._last_handle += 1
        handle = self._last_handle.to_bytes(4, "big")
        self._handles[handle] = opened
        return handle

    def _check_room(self) -> None:
        if len(self._handles) >= MOST_HANDLES:
            raise Refused(Status.FAILURE, "Too many open files")

    def _opened(self, handle: bytes) -> OpenFile | OpenFolder:
        if handle not in self._handles:
            raise Refused(Status.FAILURE, "That handle is not open")
        return self._handles[handle]

    def _file(self, handle: bytes) -> OpenFile:
        opened = self._opened(handle)
        if not isinstance(opened, OpenFile):
            raise Refused(Status.FAILURE, "That handle is a folder")
        return opened

    # files

    def _open(self, path: bytes, flags: OpenFlag, attributes: Attributes) -> bytes:
        self._check_room()
        writes = flags & (OpenFlag.WRITE | OpenFlag.APPEND)
        mode = os.O_RDONLY
        if writes:
            mode = os.O_RDWR if flags & OpenFlag.READ else os.O_WRONLY
        for flag, option in (
            (OpenFlag.APPEND, os.O_APPEND),
            (OpenFlag.CREATE, os.O_CREAT),
            (OpenFlag.TRUNCATE, os.O_TRUNC),
            (OpenFlag.EXCLUSIVE, os.O_EXCL),
        ):
            mode |= option if flags & flag else 0
        permissions = 0o666 if attributes.mode is None else attributes.mode & 0o7777
        return self._add(OpenFile(os.open(self._path(path), mode | os.O_CLOEXEC, permissions)))

    def _read(self, fd: int, offset: int, length: int) -> bytes:
        wanted, data = min(length, MOST_READ_BYTES), b""
        while len(data) < wanted and (more := os.pread(fd, wanted - len(data), offset + len(data))):
            data += more
        if not data:
            raise Refused(Status.EOF)
        self.totals.bytes_out += len(data)
        return data

    def _write(self, fd: int, offset: int, data: memoryview) -> None:
        self.totals.bytes_in += len(data)
        while data:
            written = os.pwrite(fd, data, offset)
            data, offset = data[written:], offset + written

    def _set(self, place: str | int, attributes: Attributes, *, follows: bool) -> None:
        options = {} if follows else {"follow_symlinks": False}
        if attributes.size is not None:
            os.truncate(place, attributes.size)
        if attributes.mode is not None:
            os.chmod(place, attributes.mode & 0o7777, **options)
        if attributes.accessed is not None and attributes.modified is not None:
            os.utime(place, (attributes.accessed, attributes.modified), **options)
        if attributes.owner is not None:
            os.chown(place, *attributes.owner, **options)

    def _rename(self, old: str, new: str, *, replaces: bool) -> None:
        if not replaces and os.path.lexists(new):
            raise Refused(Status.FAILURE, "There is a file of that name")
        os.rename(old, new)

    def _read_folder(self, number: int, handle: bytes) -> bytes:
        opened = self._opened(handle)
        if not isinstance(opened, OpenFolder):
            raise Refused(Status.FAILURE, "That handle is not a folder")
        if not opened.names:
            raise Refused(Status.EOF)
        page, opened.names = opened.names[:NAMES_PER_REPLY], opened.names[NAMES_PER_REPLY:]
        entries = []
        for name in page:
            with suppress(FileNotFoundError):  # it went while we looked
                attributes = shown(os.lstat(os.path.join(opened.path, name)))
                line = stat.filemode(attributes.mode or 0) + long_name(name, attributes, time.time())[10:]
                entries.append((name, line, attributes))
        return replies.names_reply(number, entries)


@contextmanager
def refusals() -> Iterator[None]:
    """What the file system refuses, in words of SFTP."""
    try:
        yield
    except OSError as exc:
        status = STATUSES.get(exc.errno or 0, Status.FAILURE)
        raise Refused(status, "" if status is Status.NO_SUCH_FILE else exc.strerror or "") from exc
    except (NotImplementedError, ValueError) as exc:  # a link's mode; a path with a zero byte
        raise Refused(Status.OP_UNSUPPORTED, str(exc)) from exc


def writes(request: sftp.Request) -> bool:
    """Whether a request changes anything."""
    match request:
        case sftp.Open(_, flags):
            return bool(flags & ~OpenFlag.READ)
        case sftp.Write() | sftp.SetStat() | sftp.SetHandleStat() | sftp.Remove() | sftp.Rename():
            return True
        case sftp.MakeFolder() | sftp.RemoveFolder() | sftp.SymbolicLink() | sftp.HardLink():
            return True
    return False


def shown(found: os.stat_result) -> Attributes:
    """What STAT tells."""
    return Attributes(
        size=found.st_size,
        owner=(found.st_uid, found.st_gid),
        mode=found.st_mode,
        accessed=int(found.st_atime) & 0xFFFF_FFFF,
        modified=int(found.st_mtime) & 0xFFFF_FFFF,
    )


def space(found: os.statvfs_result) -> Space:
    """What statvfs tells of a real file system."""
    return Space(
        block_bytes=found.f_frsize,
        blocks=found.f_blocks,
        free_blocks=found.f_bavail,
        files=found.f_files,
        free_files=found.f_favail,
        is_read_only=bool(found.f_flag & os.ST_RDONLY),
        most_name=found.f_namemax,
    )
