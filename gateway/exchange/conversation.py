"""What each SFTP request does, for one partner (reference: the answers that clients rely on).

Everything is denied that is not listed here. Names of others and names of nothing get one answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from gateway.domain.delivery import DeliveryState
from gateway.domain.partner import BOXES, Box
from gateway.exchange import checksum, download, inbox, quota, reading_room, replies, space
from gateway.exchange import protocol as sftp
from gateway.exchange.checksum import Outcome
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.download import Download
from gateway.exchange.protocol import Attributes, OpenFlag, Refused, Space, Status
from gateway.exchange.reading_room import Reading
from gateway.exchange.threads import in_thread
from gateway.exchange.tree import (
    BadName,
    Below,
    File,
    Folder,
    Nowhere,
    Root,
    canonical,
    folder_attributes,
    long_name,
    resolve,
)
from gateway.exchange.upload import Upload

#: Open files and folders of a session; `limits@openssh.com` announces it.
MOST_HANDLES = 256
#: Files open for writing at once; each may hold 8 MiB that came out of order.
MOST_UPLOADS = 16
#: Names in one reply to READDIR.
_NAMES_PER_REPLY = 128

_RESUME = "A file can't be continued or appended to: send it again, whole"


@dataclass(slots=True)
class _Listing:
    """An open folder: what READDIR has yet to tell."""

    folder: Box | None
    entries: list[tuple[str, Attributes]]


@dataclass(slots=True)
class Totals:
    """What a session did, for its line in the log."""

    uploads: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class Conversation:
    """The requests of one session, answered one after the other."""

    exchange: Exchange
    visit: Visit
    totals: Totals = field(default_factory=Totals)
    _handles: dict[bytes, Upload | Download | Reading | _Listing] = field(default_factory=dict)
    _last_handle: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether no file is open."""
        return not any(isinstance(opened, Upload | Download) for opened in self._handles.values())

    def write(self, handle: bytes, offset: int, data: memoryview) -> None:
        """Take in data of a WRITE, or a piece of it.

        Raises:
            Refused: the status and text of the reply.
        """
        self._upload(handle).write(offset, data)
        self.totals.bytes_in += len(data)

    def read_now(self, number: int, request: sftp.Read) -> bytearray | None:
        """The reply to a READ of a file that lies ready, when it waits for nothing; None: `answer` gives it.

        Raises:
            Refused: the status and text of the reply.
        """
        opened = self._handles.get(request.handle)
        reply = opened.read_now(request.offset, request.length) if isinstance(opened, Download) else None
        return None if reply is None else self._data_reply(number, reply)

    async def answer(self, number: int, request: sftp.Request) -> bytes | bytearray:
        """The reply to a request.

        Raises:
            Refused: the status and text of the reply.
        """
        match request:
            case sftp.Write(handle, offset, data):
                self.write(handle, offset, data)
            case sftp.Read(handle, offset, length):
                return await self._read(number, handle, offset, length)
            case sftp.Init():
                return replies.version_reply()
            case sftp.Open(path, flags, attributes):
                return replies.handle_reply(number, await self._open(path, flags, attributes))
            case sftp.Close(handle):
                await self._close(handle)
            case sftp.Stat(path):
                return replies.attributes_reply(number, await self._stat(path))
            case sftp.HandleStat(handle):
                return replies.attributes_reply(number, self._handle_attributes(handle))
            case sftp.SetStat(path, attributes):
                await self._set_attributes(path, attributes)
            case sftp.SetHandleStat(handle, attributes):
                self._upload(handle).set_attributes(attributes)
            case sftp.OpenFolder(path):
                return replies.handle_reply(number, await self._open_folder(path))
            case sftp.ReadFolder(handle):
                return self._read_folder(number, handle)
            case sftp.RealPath(path):
                return self._real_path(number, path)
            case sftp.Remove(path):
                await self._remove(path)
            case sftp.Rename(old, new):
                await self._rename(old, new)
            case sftp.MakeFolder(path):
                self._make_folder(path)
            case sftp.RemoveFolder() | sftp.ReadLink() | sftp.SymbolicLink() | sftp.HardLink():
                raise Refused(Status.PERMISSION_DENIED)
            case sftp.Sync(handle):
                self._sync(handle)
            case sftp.Limits():
                return replies.limits_reply(number, MOST_HANDLES)
            case sftp.SpaceStat(path):
                return replies.space_reply(number, await self._space(path))
            case sftp.Unsupported():
                raise Refused(Status.OP_UNSUPPORTED)
        return replies.status_reply(number, Status.OK)

    async def run(self, command: str, has_no_input: Callable[[], Awaitable[bool]]) -> Outcome | None:
        """Carry out a command instead of SFTP; None: it is refused."""
        return await checksum.run(self.exchange, self.visit, command, has_no_input)

    def look(self) -> None:
        """A second has passed: a file that is open still is put on record."""
        for opened in self._handles.values():
            if isinstance(opened, Upload) and not opened.is_noted:
                opened.is_noted = True
                in_thread(opened.put_on_record)

    async def end(self, reason: str) -> None:
        """The session is over: what was not closed is not received, and not collected."""
        handles, self._handles = list(self._handles.values()), {}
        for handle in handles:
            match handle:
                case Upload():
                    await asyncio.to_thread(handle.abort, reason)
                case Download():
                    handle.abort()
                case Reading() | _Listing():
                    pass

    # handles

    def _add(self, opened: Upload | Download | Reading | _Listing) -> bytes:
        self._last_handle += 1
        handle = self._last_handle.to_bytes(sftp.HANDLE_BYTES, "big")
        self._handles[handle] = opened
        return handle

    def _check_room(self) -> None:
        if len(self._handles) >= MOST_HANDLES:
            raise Refused(Status.FAILURE, f"Too many open files: at most {MOST_HANDLES}")

    def _opened(self, handle: bytes) -> Upload | Download | Reading | _Listing:
        opened = self._handles.get(handle)
        if opened is None:
            raise Refused(Status.FAILURE, "That handle is not open")
        return opened

    def _upload(self, handle: bytes) -> Upload:
        opened = self._opened(handle)
        if not isinstance(opened, Upload):
            raise Refused(Status.PERMISSION_DENIED)
        return opened

    def _readable(self, handle: bytes) -> Download | Reading:
        opened = self._opened(handle)
        if not isinstance(opened, Download | Reading):
            raise Refused(Status.PERMISSION_DENIED)
        return opened

    def _under_way(self, name: str) -> Upload | None:
        """The upload of that name which this session has open, the latest first."""
        uploads = [opened for opened in self._handles.values() if isinstance(opened, Upload)]
        return next(
            (one for one in reversed(uploads) if one.name == name and one.state is DeliveryState.RECEIVING),
            None,
        )

    # files

    async def _open(self, path: bytes, flags: OpenFlag, attributes: Attributes) -> bytes:
        self._check_room()
        writes = bool(flags & (OpenFlag.WRITE | OpenFlag.APPEND | OpenFlag.CREATE | OpenFlag.TRUNCATE))
        match resolve(self.visit.partner.role, path):
            case File(Box.INBOX, name) if writes:
                return self._add(await self._open_upload(name, flags, attributes))
            case File(Box.INBOX, name):
                here = self._under_way(name) is not None
                if not here and await inbox.look_up(self.exchange, self.visit, name) is None:
                    raise Refused(Status.NO_SUCH_FILE)
                raise Refused(Status.PERMISSION_DENIED, "What was sent can't be read back")
            case File(box, name) if not writes:
                file = await asyncio.to_thread(download.find, self.exchange, self.visit, box, name)
                if file is None:
                    raise Refused(Status.NO_SUCH_FILE)
                return self._add(await asyncio.to_thread(Download, self.exchange, self.visit, box, file))
            case Below(path=below) if not writes:
                return self._add(await asyncio.to_thread(Reading, self.exchange, self.visit, below))
            case BadName(Box.INBOX) if writes:
                raise Refused(
                    Status.FAILURE, "This name can't be used: 1-200 characters, none of them invisible"
                )
            case Nowhere(in_root=True) if writes:
                raise Refused(Status.PERMISSION_DENIED, self._where_to_write())
            case Nowhere() | BadName():
                raise Refused(Status.NO_SUCH_FILE)
            case _:
                raise Refused(Status.PERMISSION_DENIED)

    async def _open_upload(self, name: str, flags: OpenFlag, attributes: Attributes) -> Upload:
        if flags & OpenFlag.READ:
            raise Refused(Status.PERMISSION_DENIED, "What was sent can't be read back")
        if flags & OpenFlag.APPEND:
            raise Refused(Status.FAILURE, _RESUME)
        exclusive, creates = bool(flags & OpenFlag.EXCLUSIVE), bool(flags & OpenFlag.CREATE)
        if exclusive or not creates:
            received = await inbox.look_up(self.exchange, self.visit, name)
            exists = received is not None or self._under_way(name) is not None
            if exclusive and exists:
                raise Refused(Status.FAILURE, "There is a file of that name")
            if not creates and not exists:
                raise Refused(Status.NO_SUCH_FILE)
            if not creates and not flags & OpenFlag.TRUNCATE:
                raise Refused(Status.FAILURE, _RESUME)
        if sum(isinstance(opened, Upload) for opened in self._handles.values()) >= MOST_UPLOADS:
            raise Refused(Status.FAILURE, f"Too many files open for writing: at most {MOST_UPLOADS}")
        try:
            upload = Upload(self.exchange, self.visit, name, waits=False)
        except BlockingIOError:
            upload = await in_thread(partial(Upload, self.exchange, self.visit, name))
        # What OPEN says of mode and times is recorded; a size announced there binds to nothing.
        upload.set_attributes(
            Attributes(mode=attributes.mode, accessed=attributes.accessed, modified=attributes.modified)
        )
        return upload

    async def _read(self, number: int, handle: bytes, offset: int, length: int) -> bytes | bytearray:
        opened = self._readable(handle)
        if isinstance(opened, Reading):  # it is in memory
            data = opened.read(offset, length)
            self.totals.bytes_out += len(data)
            return replies.data_reply(number, data)
        reply = opened.read_now(offset, length)
        if reply is None:
            reply = await asyncio.to_thread(opened.read, offset, length)
        return self._data_reply(number, reply)

    def _data_reply(self, number: int, reply: bytearray) -> bytearray:
        """What was read of a file, with the head of the reply before it."""
        self.totals.bytes_out += len(reply) - sftp.DATA_HEAD_BYTES
        replies.begin_data_reply(number, reply)
        return reply

    async def _close(self, handle: bytes) -> None:
        opened = self._opened(handle)
        del self._handles[handle]
        match opened:
            case Upload():
                state = await in_thread(opened.close)
                self.totals.uploads += 1
                if state is DeliveryState.ARRIVED:
                    self.exchange.on_arrival()
            case Download():
                await asyncio.to_thread(opened.close)
            case Reading() | _Listing():
                pass

    def _sync(self, handle: bytes) -> None:
        opened = self._opened(handle)
        if isinstance(opened, Upload):
            opened.sync()

    # attributes

    async def _stat(self, path: bytes) -> Attributes:
        match resolve(self.visit.partner.role, path):
            case Root():
                return folder_attributes(None)
            case Folder(box):
                return folder_attributes(box)
            case File(Box.INBOX, name):
                if upload := self._under_way(name):
                    return upload.attributes()
                if file := await inbox.look_up(self.exchange, self.visit, name):
                    return inbox.attributes_of(file)
            case File(box, name):
                if outgoing := await asyncio.to_thread(download.find, self.exchange, self.visit, box, name):
                    return download.attributes_of(box, outgoing)
            case Below(below):
                return await asyncio.to_thread(reading_room.attributes_of, self.exchange, self.visit, below)
            case _:
                pass
        raise Refused(Status.NO_SUCH_FILE)

    def _handle_attributes(self, handle: bytes) -> Attributes:
        opened = self._opened(handle)
        return folder_attributes(opened.folder) if isinstance(opened, _Listing) else opened.attributes()

    async def _space(self, path: bytes) -> Space:
        await self._stat(path)
        match resolve(self.visit.partner.role, path):
            case Root() if Box.INBOX in BOXES[self.visit.partner.role]:
                pass
            case Folder(Box.INBOX) | File(Box.INBOX, _):
                pass
            case _:
                return space.NO_ROOM
        return await asyncio.to_thread(self._room)

    def _room(self) -> Space:
        limits = self.visit.partner.limits
        with self.exchange.store.read() as conn:
            used = quota.used_today(conn, self.exchange, self.visit)
        return space.room(
            limit_bytes=limits.bytes_per_day,
            used_bytes=used.bytes,
            limit_files=limits.files_per_day,
            used_files=used.files,
        )

    async def _set_attributes(self, path: bytes, attributes: Attributes) -> None:
        match resolve(self.visit.partner.role, path):
            case File(Box.INBOX, name):
                if upload := self._under_way(name):
                    upload.set_attributes(attributes)
                else:
                    await asyncio.to_thread(inbox.set_attributes, self.exchange, self.visit, name, attributes)
            case Folder(Box.INBOX):
                pass
            case Nowhere() | BadName():
                raise Refused(Status.NO_SUCH_FILE)
            case _:
                raise Refused(Status.PERMISSION_DENIED)

    # folders

    async def _open_folder(self, path: bytes) -> bytes:
        self._check_room()
        match resolve(self.visit.partner.role, path):
            case Root():
                boxes = BOXES[self.visit.partner.role]
                return self._add(
                    _Listing(None, _with_dots(None, [(box, folder_attributes(box)) for box in boxes]))
                )
            case Folder(Box.INBOX):
                entries = await asyncio.to_thread(inbox.listing, self.exchange, self.visit)
                return self._add(_Listing(Box.INBOX, _with_dots(Box.INBOX, entries)))
            case Folder(Box.AUDIT):
                return await self._open_shelf(())
            case Below(below):
                return await self._open_shelf(below)
            case Folder(box):
                entries = await asyncio.to_thread(download.listing, self.exchange, self.visit, box)
                return self._add(_Listing(box, _with_dots(box, entries)))
            case _:
                raise Refused(Status.NO_SUCH_FILE)

    async def _open_shelf(self, path: tuple[str, ...]) -> bytes:
        entries = await asyncio.to_thread(reading_room.listing, self.exchange, self.visit, path)
        return self._add(_Listing(Box.AUDIT, _with_dots(Box.AUDIT, entries)))

    def _read_folder(self, number: int, handle: bytes) -> bytes:
        opened = self._opened(handle)
        if not isinstance(opened, _Listing):
            raise Refused(Status.FAILURE, "That handle is not a folder")
        if not opened.entries:
            raise Refused(Status.EOF)
        now_s = self.exchange.clock.now().timestamp()
        page, opened.entries = opened.entries[:_NAMES_PER_REPLY], opened.entries[_NAMES_PER_REPLY:]
        return replies.names_reply(
            number, [(name, long_name(name, attributes, now_s), attributes) for name, attributes in page]
        )

    def _real_path(self, number: int, path: bytes) -> bytes:
        text = canonical(path)
        if text is None:
            raise Refused(Status.NO_SUCH_FILE)
        return replies.names_reply(number, [(text, text, Attributes())])

    def _make_folder(self, path: bytes) -> None:
        if isinstance(resolve(self.visit.partner.role, path), Root | Folder):
            raise Refused(Status.FAILURE, "There is a folder of that name")
        raise Refused(Status.PERMISSION_DENIED)

    # names

    async def _remove(self, path: bytes) -> None:
        match resolve(self.visit.partner.role, path):
            case File(Box.INBOX, name):
                if upload := self._under_way(name):
                    await asyncio.to_thread(upload.abort, "removed by its sender")
                else:
                    await asyncio.to_thread(inbox.remove, self.exchange, self.visit, name)
            case File(Box.OUTBOX | Box.RETURNS as box, name):
                await asyncio.to_thread(download.remove, self.exchange, self.visit, box, name)
            case Nowhere() | BadName():
                raise Refused(Status.NO_SUCH_FILE)
            case _:
                raise Refused(Status.PERMISSION_DENIED)

    async def _rename(self, old: bytes, new: bytes) -> None:
        role = self.visit.partner.role
        match resolve(role, old), resolve(role, new):
            case File(Box.INBOX, old_name), File(Box.INBOX, new_name):
                if upload := self._under_way(old_name):
                    upload.name = new_name
                elif await asyncio.to_thread(inbox.rename, self.exchange, self.visit, old_name, new_name):
                    self.exchange.on_arrival()
            case File(Box.INBOX), BadName(Box.INBOX):
                raise Refused(
                    Status.FAILURE, "This name can't be used: 1-200 characters, none of them invisible"
                )
            case (Nowhere() | BadName(), _) | (_, Nowhere() | BadName()):
                raise Refused(Status.NO_SUCH_FILE)
            case _:
                raise Refused(Status.PERMISSION_DENIED)

    def _where_to_write(self) -> str:
        if Box.INBOX in BOXES[self.visit.partner.role]:
            return "Permission denied: files are sent to /inbox"
        return ""


def _with_dots(box: Box | None, entries: list[tuple[str, Attributes]]) -> list[tuple[str, Attributes]]:
    return [(".", folder_attributes(box)), ("..", folder_attributes(None)), *entries]
