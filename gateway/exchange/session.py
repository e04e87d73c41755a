"""One SFTP session on an SSH channel: packets in, one request after another, replies out.

An end of the channel or connection is no CLOSE: what is open then is given up (spec 1, Uploads 4).
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import asyncssh

from gateway import logs
from gateway.domain.guard import GuardTerms, Pace, ending, paced
from gateway.exchange.checksum import INPUT_TIMEOUT_S, Outcome
from gateway.exchange.context import Visit
from gateway.exchange.key_uses import KeyUses
from gateway.exchange.protocol import (
    MOST_PACKET_BYTES,
    MOST_WRITE_HEAD_BYTES,
    READ_BYTES,
    PacketError,
    Read,
    Refused,
    Request,
    Status,
    first_read,
    parse,
    request_id,
    take_packet,
    write_head,
)
from gateway.exchange.replies import status_reply
from gateway.vault.ids import new_id

_log = logs.get("exchange")

#: Received bytes that wait their turn: above it the client is made to wait; room for a whole packet.
_MOST_WAITING_BYTES = 2 * MOST_PACKET_BYTES

_SFTP_ONLY = b"This service speaks SFTP only.\n"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is open at a listener."""

    connections: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    sessions: set[SFTPSession] = field(default_factory=set)
    #: of those who logged in, by connection
    visits: dict[asyncssh.SSHServerConnection, Visit] = field(default_factory=dict)
    key_uses: KeyUses = field(default_factory=KeyUses)


class Totals(Protocol):
    """What was done in a session, for its line in the log."""

    uploads: int
    bytes_in: int
    bytes_out: int


class Answers(Protocol):
    """What a session is about: it gives the answers, and the session carries them."""

    @property
    def totals(self) -> Totals:
        """What was done so far."""

    @property
    def is_idle(self) -> bool:
        """Whether no file is open."""

    def write(self, handle: bytes, offset: int, data: memoryview) -> None:
        """Take in data of a WRITE. Raises Refused: the status and text of the reply."""

    async def answer(self, number: int, request: Request) -> bytes | bytearray:
        """The reply to a request. Raises Refused: the status and text of the reply."""

    def read_now(self, number: int, request: Read) -> bytearray | None:
        """The same of a READ, when it waits for nothing; None: it does. Raises Refused."""

    async def run(self, command: str, has_no_input: Callable[[], Awaitable[bool]]) -> Outcome | None:
        """Carry out a command instead of SFTP; None: it is refused."""

    def look(self) -> None:
        """A second has passed."""

    async def end(self, reason: str) -> None:
        """The session is over, and why."""


@dataclass(slots=True)
class _Write:
    """A WRITE whose data is coming in: `left` bytes from `offset` on, after `skip` that tell of it."""

    number: int
    handle: bytes
    offset: int
    left: int
    skip: int
    #: the reply, once something of it was refused
    refusal: bytes = b""


class SFTPSession(asyncssh.SSHServerSession[bytes]):
    """The session of one channel: SFTP, or a command.

    A shell, and a command that is not one of ours, is answered with a line and exit 1.
    """

    def __init__(
        self,
        conversation: Answers,
        visit: Visit,
        traffic: Traffic,
        on_end: Callable[[SFTPSession], None],
        guard: GuardTerms,
    ) -> None:
        self._conversation, self._visit = conversation, visit
        self._traffic = traffic
        #: told when the channel is gone
        self._on_end = on_end
        self._guard = guard
        self._channel: asyncssh.SSHServerChannel[bytes]
        self._is_sftp = False
        self._command = ""
        self._waiting = bytearray()
        #: a WRITE of which not all data has come
        self._write: _Write | None = None
        self._is_paused = False
        #: no more bytes will come
        self._ended = False
        #: the connection is gone, or the gateway stops: what waits is not worked off
        self._cut = False
        #: the gateway stops: the session goes on only while a file is open
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        #: the same of the whole connection; its channels share one
        self.connection_writable = asyncio.Event()
        self.connection_writable.set()
        self._bytes_in = self._bytes_out = 0
        #: seconds in which somebody looked at it
        self._watched_s = 0.0
        self._pace = Pace(0, 0.0)
        #: a request is being answered: the client waits for us
        self._is_working = False
        #: what came is no SFTP
        self.broke_protocol = False
        #: why it is ended, when neither side did it as it should
        self._reason = ""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan

    def subsystem_requested(self, subsystem: str) -> bool:
        """Only SFTP."""
        self._is_sftp = subsystem == "sftp"
        return self._is_sftp

    def exec_requested(self, command: str) -> bool:
        """Taken, if only to be refused with a text: rclone probes with several of these."""
        self._command = command
        return True

    def shell_requested(self) -> bool:
        """Taken, to be refused with a text."""
        return True

    def session_started(self) -> None:
        """Begin to serve, or refuse."""
        if self._is_sftp or self._command:
            self._traffic.sessions.add(self)
            work = self._serve() if self._is_sftp else self._run()
            self._task = asyncio.get_running_loop().create_task(work)
        else:
            self._channel.write_stderr(_SFTP_ONLY)
            self._channel.exit(1)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Bytes of requests; a view of them will do: none of it is kept."""
        self._bytes_in += len(data)
        rest = self._take_writes(memoryview(data))
        if not rest:
            return
        self._waiting += rest
        self._take_reads()
        if len(self._waiting) > _MOST_WAITING_BYTES and not self._is_paused:
            self._is_paused = True
            self._channel.pause_reading()
        if self._waiting:
            self._arrived.set()

    def _take_writes(self, data: memoryview) -> memoryview:
        """Take in the data of WRITEs as it comes, when nothing is before it; what is left waits for its turn.

        What came at once is answered at once, in one packet of the channel.
        """
        replies = b""
        while data and (self._write is not None or self._begin_write(data)):
            write = self._write
            if write is None:
                break
            if write.skip:
                data, write.skip = data[write.skip :], 0
            piece = data[: write.left]
            write.left -= len(piece)
            if not write.refusal:
                write.refusal = self._take_piece(write, piece)
            write.offset += len(piece)
            data = data[len(piece) :]
            if not write.left:
                self._write = None
                replies += write.refusal or status_reply(write.number, Status.OK)
        if replies:
            self._send(replies)
        return data

    def _take_reads(self) -> None:
        """Answer READs whose turn it is and that wait for nothing, without waking the task for each."""
        while self._is_free() and (found := first_read(self._waiting)):
            try:
                reply = self._conversation.read_now(*found)
            except Exception:  # noqa: BLE001  # the task comes to the same, and answers it
                reply = None
            if reply is None:
                break
            del self._waiting[:READ_BYTES]
            self._send(reply)

    def _is_free(self) -> bool:
        """Whether the next request may be worked off: none is, and its reply can go."""
        return (
            self._is_sftp
            and not self._is_working
            and not self._cut
            and self._writable.is_set()
            and self.connection_writable.is_set()
        )

    def _begin_write(self, data: memoryview) -> bool:
        before = len(self._waiting)
        if before >= MOST_WRITE_HEAD_BYTES or not self._is_free():
            return False
        head = write_head(bytes(self._waiting) + bytes(data[: MOST_WRITE_HEAD_BYTES - before]))
        # data that waits already, with its head, is taken in its turn
        if head is None or head.head_bytes < before:
            return False
        self._waiting.clear()
        self._write = _Write(head.number, head.handle, head.offset, head.length, head.head_bytes - before)
        return True

    def _take_piece(self, write: _Write, piece: memoryview) -> bytes:
        """Take in a piece of a WRITE; the reply when it is refused, else nothing."""
        try:
            self._conversation.write(write.handle, write.offset, piece)
        except Refused as exc:
            return status_reply(write.number, exc.status, exc.text)
        except Exception as exc:  # noqa: BLE001  # what goes wrong in one request ends no session
            return self._failure(write.number, exc)
        return b""

    def _send(self, reply: bytes | bytearray) -> None:
        if not self._channel.is_closing():
            self._channel.write(reply)
            self._bytes_out += len(reply)

    def _failure(self, number: int, exc: Exception) -> bytes:
        return status_reply(number, Status.FAILURE, f"Internal error, incident {self._report(exc)}")

    def eof_received(self) -> bool:
        """The client will send no more; what it sent is still answered."""
        self._ended = True
        self._arrived.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone."""
        self._ended = self._cut = True
        self._arrived.set()
        self._writable.set()
        self._on_end(self)

    def pause_writing(self) -> None:
        """The client does not take its replies: no further request is worked off."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client takes replies again."""
        self._writable.set()
        self._take_reads()

    @property
    def is_serving(self) -> bool:
        """Whether SFTP is spoken."""
        return self in self._traffic.sessions

    def stop(self, *, at_once: bool) -> None:
        """End the session after the reply under way; unless `at_once`, not while a file is open."""
        self._is_stopping = True
        self._arrived.set()
        if at_once:
            self._cut = True
            # a client that takes no replies holds up no end
            self._writable.set()
            self.connection_writable.set()

    def look(self, since_s: float) -> None:
        """A second has passed, or so: end the session if its client stood still for too long.

        Args:
            since_s: what a look counts for, however long ago the last one was: when this process stood still,
                no client could move.
        """
        self._conversation.look()
        self._watched_s += since_s
        moved = self._bytes_in + self._bytes_out - self._channel.get_write_buffer_size()
        self._pace = paced(self._pace, moved, self._watched_s, is_open=not self._conversation.is_idle)
        if self._is_working:
            self._pace = replace(self._pace, at_s=self._watched_s)
        found = ending(self._pace, self._watched_s, self._guard)
        if found is not None and not self._cut:
            self._reason = str(found)
            # what waits to be written is dropped: its client does not read it
            self._channel.abort()
            if not self.connection_writable.is_set():
                self._channel.get_connection().abort()
            self.stop(at_once=True)

    async def wait_ended(self) -> None:
        """Wait until everything of this session is either received or given up."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _serve(self) -> None:
        started = time.monotonic()
        try:
            while (packet := await self._next_packet()) is not None:
                self._is_working = True
                reply = await self._reply(packet)
                self._is_working = False
                self._send(reply)
        except PacketError as exc:
            self._reason, self.broke_protocol = str(exc), True
            self._channel.get_connection().disconnect(asyncssh.DISC_PROTOCOL_ERROR, self._reason)
        finally:
            await self._finish(started)

    async def _next_packet(self) -> bytes | None:
        """The next whole packet; None when the session is over."""
        while True:
            await self._writable.wait()
            await self.connection_writable.wait()
            if self._cut:
                return None
            packet = take_packet(self._waiting)
            if self._is_paused and len(self._waiting) <= _MOST_WAITING_BYTES // 2:
                self._is_paused = False
                self._channel.resume_reading()
            if packet is not None or self._ended or (self._is_stopping and self._conversation.is_idle):
                return packet
            self._arrived.clear()
            await self._arrived.wait()

    async def _run(self) -> None:
        """Carry out the command, or refuse it."""
        self._is_working = True
        try:
            outcome = await self._conversation.run(self._command, self._has_no_input)
        except Exception as exc:  # noqa: BLE001  # what goes wrong in a command ends no connection
            outcome = Outcome(out="", err=f"Internal error, incident {self._report(exc)}\n", status=1)
        finally:
            self._traffic.sessions.discard(self)
        if outcome is None:
            outcome = Outcome(out="", err=_SFTP_ONLY.decode(), status=1)
        if not self._channel.is_closing():
            self._channel.write(outcome.out.encode())
            self._channel.write_stderr(outcome.err.encode())
            self._channel.exit(outcome.status)

    async def _has_no_input(self) -> bool:
        """Wait for the end of a command's input; False when there is some, or no end in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INPUT_TIMEOUT_S):
                while not (self._waiting or self._ended or self._is_stopping):
                    self._arrived.clear()
                    await self._arrived.wait()
        return self._ended and not self._waiting

    async def _reply(self, packet: bytes) -> bytes | bytearray:
        number = request_id(packet)
        try:
            return await self._conversation.answer(number, parse(packet))
        except Refused as exc:
            return status_reply(number, exc.status, exc.text)
        except Exception as exc:  # noqa: BLE001  # what goes wrong in one request ends no session
            return self._failure(number, exc)

    async def _finish(self, started: float) -> None:
        try:
            await self._conversation.end(self._reason or "not closed")
        except Exception as exc:  # noqa: BLE001  # the next start gives up what is left
            self._report(exc)
        self._channel.exit(0)
        self._traffic.sessions.discard(self)
        totals = self._conversation.totals
        _log.info(
            "session.ended",
            session_id=self._visit.session_id,
            partner_id=self._visit.partner.id,
            fingerprint=self._visit.fingerprint,
            address=self._visit.address,
            client=self._visit.client,
            count=totals.uploads,
            bytes=totals.bytes_in + totals.bytes_out,
            duration_ms=round((time.monotonic() - started) * 1000),
            reason=self._reason,
        )

    def _report(self, exc: Exception) -> str:
        """Log what went wrong under an incident id; the text of an error may quote what it worked on."""
        incident = new_id("", 10)
        frame = traceback.extract_tb(exc.__traceback__)[-1]
        _log.error(
            "request.failed",
            incident=incident,
            session_id=self._visit.session_id,
            partner_id=self._visit.partner.id,
            error_type=type(exc).__name__,
            reason=f"{frame.filename.rpartition('/')[2]}:{frame.lineno}",
        )
        return incident
