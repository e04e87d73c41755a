"""The way of bytes between socket and session, for AES-GCM and chacha20-poly1305: fewer copies than the library makes.

asyncssh's own connection does everything that is seldom: key exchange, login, channels, disconnects. What is
frequent, data of an open channel, is received into a buffer that all connections share, decrypted into another by
cipher objects that are kept, and handed to the session as a view; what is sent is gathered into one write. No
MSG_IGNORE goes before each packet: with an authenticated cipher it protects nothing (RFC 4251, section 9.3.1).

This uses names that are asyncssh's own affair, so it holds for one version of it (ADR 21). With another the
connection is the library's; with another cipher it works as the library's: only slower.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from socket import socket
from struct import Struct
from typing import Any

import asyncssh
from asyncssh import connection
from asyncssh.auth import MSG_USERAUTH_PK_OK
from asyncssh.constants import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_IGNORE,
    MSG_SERVICE_ACCEPT,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_LAST,
    MSG_USERAUTH_SUCCESS,
)
from asyncssh.encryption import ChachaEncryption, Encryption, GCMEncryption
from asyncssh.logging import SSHLogger
from asyncssh.misc import DisconnectError, ProtocolError
from asyncssh.saslprep import saslprep

from gateway.exchange.ciphers import LENGTH_BYTES, TAG_BYTES, ChachaCipher, GCMCipher, PacketCipher
from gateway.exchange.sockets import BACKLOG

#: The version whose private names were read.
ASYNCSSH = "2.24.1"

#: A whole packet fits, with room for what follows it.
_BUFFER_BYTES = 1 << 19
#: A read has at least this much room.
_LEAST_ROOM = 1 << 16
#: RFC 4253, section 6: what a packet has at least, its length not counted, and its padding.
_LEAST_PACKET, _LEAST_PADDING = 6, 4
_MOST_PACKET = _BUFFER_BYTES - _LEAST_ROOM - LENGTH_BYTES - TAG_BYTES
#: Data in one packet that goes out, whatever its receiver would take.
_MOST_DATA = 1 << 18
#: What is gathered before it is sent, but for the packet that makes it so much.
_MUCH_BYTES = 1 << 18
#: Padding that is drawn at once: more than any packet's.
_RANDOM_BYTES = 1 << 12
#: A receiver that takes less at a time has us make thousands of packets of one reply.
_LEAST_RECEIVED = 1 << 10
#: Bytes, and packets held back by a key exchange, that a client may leave unread: more than its sessions' replies.
_MOST_UNSENT_BYTES, _MOST_DEFERRED = 1 << 22, 1_000

#: What is said to who has not logged in, once there are keys.
_OF_LOGIN = frozenset({MSG_SERVICE_ACCEPT, MSG_USERAUTH_FAILURE, MSG_USERAUTH_SUCCESS, MSG_USERAUTH_PK_OK})

#: A packet of SSH_MSG_CHANNEL_DATA: bytes of padding, kind, channel, length of the data (RFC 4254, section 5.2); and of
#: SSH_MSG_CHANNEL_WINDOW_ADJUST, where the last is how far the window opens
_DATA_HEADER = Struct(">BBII")
_DATA_HEADER_BYTES = _DATA_HEADER.size
#: as many bytes as that
_UNDER = Struct(f"{_DATA_HEADER_BYTES}s")
#: channel, length of the data
_DATA_START = Struct(">II")


def _cipher(library: Encryption | None) -> PacketCipher | None:
    """Ours in the place of the library's, which goes on where that one stopped; None: its cipher is another."""
    if isinstance(library, PacketCipher):
        return library
    if isinstance(library, GCMEncryption):
        return GCMCipher(library._cipher._key, library._cipher._iv)
    if isinstance(library, ChachaEncryption):
        return ChachaCipher(library._cipher._key, library._cipher._adkey)
    return None


class Buffers:
    """What the connections of one event loop share. Each is done with them before another has its turn."""

    def __init__(self) -> None:
        #: what is read from a socket
        self.received = _buffer()
        #: packets that came in, decrypted; whoever is given a view of it is done with it on return
        self.opened = _buffer()
        #: a packet that goes out, before it is encrypted
        self.sealing = _buffer()
        #: what goes out, whose it is, and how many bytes; another that sends has it sent first
        self.sending = memoryview(bytearray(_MUCH_BYTES + _BUFFER_BYTES))
        self.sender: Connection | None = None
        self.unsent = 0
        #: whose read is under way
        self.reader: Connection | None = None
        self._random = memoryview(b"")

    def padding(self, count: int) -> memoryview:
        """Random bytes that nobody was given: one call of the system for some hundred packets."""
        if len(self._random) < count:
            self._random = memoryview(os.urandom(_RANDOM_BYTES))
        padding, self._random = self._random[:count], self._random[count:]
        return padding


def _buffer() -> memoryview:
    return memoryview(bytearray(_BUFFER_BYTES))


class _Quiet(SSHLogger):
    """The library's lines quote commands and names, and nobody reads them: they are not even made."""

    def log(self, *_: object, **__: object) -> None:
        """Leave it."""

    debug1 = debug2 = info = log


_QUIET = _Quiet(logging.getLogger("asyncssh"))


class Channel(asyncssh.SSHServerChannel[bytes]):
    """A channel of the library, that sends views of what was written to it."""

    def process_open(
        self,
        send_chan: int,
        send_window: int,
        send_pktsize: int,
        session: Any,
    ) -> None:
        """The client opens it.

        Raises:
            ProtocolError: it takes too little at a time.
        """
        if send_pktsize < _LEAST_RECEIVED:
            raise ProtocolError("Invalid maximum packet size")
        super().process_open(send_chan, send_window, send_pktsize, session)

    def write(self, data: bytes | bytearray, datatype: asyncssh.DataType = None) -> None:
        """Send data, as far as the client's window is open; what is not open waits. It is changed by nobody any more."""
        if datatype is not None or self._send_state != "open":
            super().write(data, datatype)
        elif data and not self._send_buf and len(data) <= min(self._send_window, self._send_pktsize):
            self._send_window -= len(data)
            self._conn.send_data(self, memoryview(data), len(data))  # type: ignore[attr-defined]  # as below
        elif data:
            self._send_buf.append((memoryview(data), None))  # type: ignore[arg-type]
            self._send_buf_len += len(data)
            self._flush_send_buf()

    def _flush_send_buf(self) -> None:
        while self._send_buf and self._send_window and self._send_buf[0][1] is None:
            data = memoryview(self._send_buf[0][0])
            size = min(self._send_window, len(data))
            if size < len(data):
                self._send_buf[0] = (data[size:], None)  # type: ignore[assignment]
            else:
                del self._send_buf[0]
            self._send_buf_len -= size
            self._send_window -= size
            most = min(self._send_pktsize, _MOST_DATA)
            self._conn.send_data(self, data[:size], most)  # type: ignore[attr-defined]  # all are of this module
        super()._flush_send_buf()


class Connection(asyncssh.SSHServerConnection):
    """A connection of the library, whose frequent packets take the short way."""

    def __init__(self, buffers: Buffers, *args: Any) -> None:
        super().__init__(*args)
        self._logger = _QUIET
        self._buffers = buffers
        #: half a packet
        self._rest = b""
        #: of which channel data lies in `opened`, one packet's behind the other's, and how many bytes
        self._gathering: Channel | None = None
        self._gathered = 0
        #: of its socket, to send past the event loop
        self._fd: int | None = None
        #: whether anything came since the keepalive timer was set
        self._was_heard = False
        #: what is sent goes out when all that came is taken, or when the loop comes round
        self._is_receiving = self._flush_is_due = False
        #: why its sessions may not write now
        self._is_unread = self._is_deferring = False

    def create_server_channel(
        self, encoding: str | None = "", errors: str = "", window: int = 0, max_pktsize: int = 0
    ) -> Channel:
        """A channel for a session of bytes; the arguments are the library's, and those of text are not for us."""
        pktsize = max_pktsize or self._max_pktsize
        self._update_recv_pktlen(pktsize)
        lines = (
            self._allow_pty,
            self._line_editor,
            self._line_echo,
            self._line_history,
            self._max_line_length,
        )
        return Channel(self, self._loop, *lines, None, "strict", window or self._window, pktsize)

    def log_sent_packet(self, *_: object) -> None:
        """Leave it, as all that the library would log."""

    def log_received_packet(self, *_: object) -> None:
        """Leave it too."""

    async def reload_config(self) -> None:
        """Nothing depends on who logs in: the library would read every host key from its file again, in a thread."""

    # what comes in

    def room(self) -> memoryview:
        """Where the next bytes go: they are to be read at once, and `received` is told."""
        self._buffers.reader = self
        self._buffers.received[: len(self._rest)] = self._rest
        return self._buffers.received[len(self._rest) :]

    def received(self, count: int) -> None:
        """So many bytes came into `room`.

        Raises:
            RuntimeError: another connection was given the room meanwhile: the event loop is none for this.
        """
        if self._buffers.reader is not self:
            raise RuntimeError("two connections read at once")
        self._buffers.reader = None
        if self._transport is not None:
            self._reset_keepalive_timer()
            self._take(len(self._rest) + count)

    def _reset_keepalive_timer(self) -> None:
        """The client is there: its timer is looked at when it fires, not made anew for each read."""
        self._was_heard = True

    def _keepalive_timer_callback(self) -> None:
        if self._was_heard:
            self._was_heard = False
            self._set_keepalive_timer()
        else:
            super()._keepalive_timer_callback()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        sock = transport.get_extra_info("socket")
        self._fd = None if sock is None else sock.fileno()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None = None) -> None:
        """Nothing more comes, and nothing more goes."""
        if self._buffers.reader is self:
            self._buffers.reader = None
        if self._buffers.sender is self:
            self._buffers.sender, self._buffers.unsent = None, 0
        super().connection_lost(exc)

    def _take(self, end: int) -> None:
        """Take every whole packet of what was received up to `end`, and keep the rest."""
        self._rest, self._is_receiving = b"", True
        begin, taken = 0, -1
        try:
            try:
                while taken < begin < end and self._transport is not None:
                    taken, cipher = begin, self._opening()
                    if cipher is None:
                        begin += self._hand_over(self._buffers.received[begin:end])
                    else:
                        begin = self._take_packets(cipher, begin, end)
            finally:
                self._hand_data_over()
        except DisconnectError as exc:
            self._send_disconnect(exc.code, exc.reason, exc.lang)
            self._force_close(exc)
        except Exception:  # noqa: BLE001  # as the library does
            self.internal_error()
        finally:
            self._is_receiving = False
        self._flush()
        if self._transport is not None:
            self._rest = bytes(self._buffers.received[begin:end])

    def _opening(self) -> PacketCipher | None:
        """What opens the next packet; None: it is the library's to take.

        So is the client's version, the rest of a packet that it has begun, and all that comes while it is at work.
        """
        if self._inpbuf or self._recv_handler != self._recv_pkthdr:
            return None
        cipher = _cipher(self._recv_encryption)
        if cipher is not None:
            self._recv_encryption = cipher
        return cipher

    def _hand_over(self, there: memoryview) -> int:
        """The library takes all that there is; how many bytes."""
        self._hand_data_over()
        self._inpbuf += bytes(there)
        while self._inpbuf and self._recv_handler():
            pass
        return len(there)

    def _take_packets(self, cipher: PacketCipher, begin: int, end: int) -> int:
        """Take whole packets of what was received, and where the first lies that was not taken.

        Data of one channel is gathered as long as it comes; after a packet that the library took all may be different.

        Raises:
            ProtocolError: a packet has a length or a padding that none has.
        """
        received, opened = self._buffers.received, self._buffers.opened
        most = min(self._max_recv_pktlen, _MOST_PACKET)
        while begin + LENGTH_BYTES <= end:
            length = cipher.length(self._recv_seq, received, begin)
            if not _LEAST_PACKET <= length <= most:
                raise ProtocolError("Max packet size exceeded")  # no word of how long: it may be encrypted
            stop = begin + LENGTH_BYTES + length + TAG_BYTES
            if stop > end:
                break
            # Data is to lie behind data: what comes before it takes the place of the last that is gathered, for a moment.
            at = self._gathered
            plain, under = opened[at : at + length], _UNDER.unpack_from(opened, at)
            try:
                cipher.open(self._recv_seq, received, begin, stop, plain)
                size = self._data_bytes(at, length)
                other = b"" if size else bytes(plain)
            finally:
                _UNDER.pack_into(opened, at, *under)
            begin = stop
            if not size:
                self._hand_data_over()
                if not self._open_window(other):
                    self._take_seldom(cipher, other)
                    break
                if self._transport is None:
                    break
                continue
            self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
            self._gathered += size
        return begin

    def _data_bytes(self, at: int, length: int) -> int:
        """How many bytes of data a packet has to be gathered; 0 when something about it is not ours to judge.

        Args:
            at: where in `opened` it lies.
            length: its bytes; what a shorter one than the header lacks is of another packet, and its length tells.

        Raises:
            ProtocolError: its padding is none.
        """
        padding: int
        number: int
        size: int
        padding, kind, number, size = _DATA_HEADER.unpack_from(self._buffers.opened, at)
        if not _LEAST_PADDING <= padding <= length - 2:
            raise ProtocolError("Invalid padding")
        if kind != MSG_CHANNEL_DATA or _DATA_HEADER_BYTES + size + padding != length:
            return 0
        if not at:
            self._gathering = self._receiving(number)
        channel = self._gathering
        if channel is None or channel._recv_chan != number or at + size > channel._recv_window:
            return 0
        return size

    def _receiving(self, number: int) -> Channel | None:
        """The channel whose data may be gathered; None: what comes for it is the library's to judge."""
        channel = self._channels.get(number)
        if (
            channel is None
            or not self._auth_complete
            or self._decompressor
            or channel._recv_state != "open"
            or channel._recv_paused
            or channel._encoding is not None
        ):
            return None
        return channel  # type: ignore[return-value]  # all are of `create_server_channel`

    def _open_window(self, plain: bytes) -> bool:
        """A client that reads a file says so every few packets; False when something about it is not ours to judge."""
        if plain[1] != MSG_CHANNEL_WINDOW_ADJUST or len(plain) < _DATA_HEADER.size:
            return False
        padding, _, number, more = _DATA_HEADER.unpack_from(plain)
        channel = self._receiving(number)
        if channel is None or self._transport is None or _DATA_HEADER.size + padding != len(plain):
            return False
        self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
        channel._send_window += more
        channel._flush_send_buf()
        return True

    def _hand_data_over(self) -> None:
        """A session takes what was gathered for it."""
        channel, size = self._gathering, self._gathered
        self._gathering, self._gathered = None, 0
        if channel is not None:
            # it takes a view, and keeps none of it
            channel._accept_data(self._buffers.opened[_DATA_HEADER.size :][:size])  # type: ignore[arg-type]

    def _take_seldom(self, cipher: PacketCipher, plain: bytes) -> None:
        """The library takes a packet that is opened already: it asks for it as if only its first block were."""
        cipher.opened, self._pktlen = plain, len(plain)
        self._inpbuf = bytes(LENGTH_BYTES + len(plain) + TAG_BYTES - self._recv_blocksize)
        self._recv_packet()

    # what goes out

    def send_data(self, channel: Channel, data: memoryview, most: int) -> None:
        """Send data of a channel, at most so many bytes in a packet."""
        number, cipher, plain = channel._send_chan, self._send_encryption, self._buffers.sealing
        # asked once: a key that has done its share does these few packets more
        is_ours = self._can_send_at_once()
        for begin in range(0, len(data), most):
            piece = data[begin : begin + most]
            size = len(piece)
            if is_ours and isinstance(cipher, PacketCipher):
                end = _DATA_HEADER_BYTES + size
                _DATA_HEADER.pack_into(plain, 0, 0, MSG_CHANNEL_DATA, number, size)
                plain[_DATA_HEADER_BYTES:end] = piece
                self._seal(cipher, end)
            else:
                head = _DATA_START.pack(number, size)
                self.send_packet(MSG_CHANNEL_DATA, head, piece, handler=channel)  # type: ignore[arg-type]  # a view will do
        self._send_soon()

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send a packet: of a channel or a login the short way, when nothing stands in it."""
        cipher = _cipher(self._send_encryption)
        if cipher is not None:
            self._send_encryption = cipher
            if pkttype == MSG_IGNORE:
                return
            if self._can_send_at_once(pkttype):
                packet = b"".join((bytes((0, pkttype)), *args))
                self._buffers.sealing[: len(packet)] = packet
                self._seal(cipher, len(packet))
                self._send_soon()
                return
        super().send_packet(pkttype, *args, handler=handler)
        if self._deferred_packets:
            self._hold_back()

    def _can_send_at_once(self, pkttype: int = MSG_CHANNEL_DATA) -> bool:
        if self._compressor or not self._kex_complete:
            return False
        if not self._auth_complete:
            return pkttype in _OF_LOGIN
        return bool(
            pkttype > MSG_USERAUTH_LAST
            and self._rekey_bytes_sent < self._rekey_bytes
            and (not self._rekey_seconds or time.monotonic() < self._rekey_time)
        )

    def _seal(self, cipher: PacketCipher, end: int) -> None:
        """Seal a packet, which lies in `sealing` up to `end` but for its padding, behind what is to be sent."""
        buffers = self._buffers
        plain = buffers.sealing
        padding = -(self._send_enchdrlen + end - 1) % self._send_blocksize
        if padding < _LEAST_PADDING:
            padding += self._send_blocksize
        length = end + padding
        plain[0], plain[end:length] = padding, buffers.padding(padding)
        self._begin_sending()
        begin, buffers.unsent = buffers.unsent, buffers.unsent + LENGTH_BYTES + length + TAG_BYTES
        cipher.seal(self._send_seq, plain[:length], buffers.sending[begin : buffers.unsent])
        self._send_seq = (self._send_seq + 1) & 0xFFFFFFFF
        self._rekey_bytes_sent += length
        if buffers.unsent >= _MUCH_BYTES:
            self._flush()

    def _send(self, data: bytes) -> None:
        """What the library sends goes behind what is to be sent already."""
        for begin in range(0, len(data), _BUFFER_BYTES):
            piece, buffers = data[begin : begin + _BUFFER_BYTES], self._buffers
            self._begin_sending()
            at, buffers.unsent = buffers.unsent, buffers.unsent + len(piece)
            buffers.sending[at : buffers.unsent] = piece
            if buffers.unsent >= _MUCH_BYTES:
                self._flush()
        self._send_soon()

    def _begin_sending(self) -> None:
        """Have the buffer: what another connection has in it is sent."""
        buffers = self._buffers
        if buffers.sender is not self:
            if buffers.sender is not None:
                buffers.sender._flush()
            buffers.sender = self

    def _send_soon(self) -> None:
        """Send when all that came is taken, or when the loop comes round; much is sent while the caches have it."""
        if not (self._is_receiving or self._flush_is_due):
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        buffers = self._buffers
        if buffers.sender is not self:
            return
        unsent = buffers.sending[: buffers.unsent]
        buffers.sender, buffers.unsent = None, 0
        transport = self._transport
        if transport is None:
            return
        rest = unsent[self._send_now(transport, unsent) :]
        if rest:
            transport.write(bytes(rest))
            if transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
                self._force_close(ProtocolError("What is sent is not read"))

    def _send_now(self, transport: asyncio.WriteTransport, data: memoryview) -> int:
        """How many bytes the socket takes at once, without the event loop's copy and behind nothing of its own.

        What is wrong with the socket, the event loop finds out and tells.
        """
        if self._fd is None or transport.is_closing() or transport.get_write_buffer_size():
            return 0
        try:
            return os.write(self._fd, data)
        except OSError:
            return 0

    def _force_close(self, exc: Exception | None) -> None:
        self._flush()
        super()._force_close(exc)

    # what its sessions may write

    def write_no_more(self) -> None:
        """The socket takes no more for now."""
        self._is_unread = True
        self.pause_writing()

    def write_again(self) -> None:
        """The socket takes more."""
        self._is_unread = False
        self._let_write()

    def _hold_back(self) -> None:
        """Packets wait for the end of a key exchange, which the client may put off as long as it likes."""
        if len(self._deferred_packets) > _MOST_DEFERRED:
            self._force_close(ProtocolError("A key exchange without an end"))
        elif not self._is_deferring:
            self._is_deferring = True
            self.pause_writing()

    def _send_deferred_packets(self) -> None:
        super()._send_deferred_packets()
        self._is_deferring = bool(self._deferred_packets)
        self._let_write()

    def _let_write(self) -> None:
        if not (self._is_unread or self._is_deferring):
            self.resume_writing()


class Receiver(asyncio.BufferedProtocol):
    """What the event loop knows of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._connection.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._connection.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        return self._connection.room()

    def buffer_updated(self, nbytes: int) -> None:
        """So much was read."""
        self._connection.received(nbytes)

    def eof_received(self) -> None:
        """The client sends no more."""
        self._connection.eof_received()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._connection.write_no_more()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._connection.write_again()


def user_name(s: str) -> str:
    """A user name as RFC 4013 has it; one of printable ASCII is as it stands, whoever's it is, and no table is asked.

    Raises:
        SASLPrepError: it is none.
    """
    return s if s.isascii() and s.isprintable() else saslprep(s)


async def listen(sock: socket, options: asyncssh.SSHServerConnectionOptions) -> asyncssh.SSHAcceptor:
    """Listen at a socket that is bound, with connections of this module."""
    connection.saslprep = user_name  # type: ignore[attr-defined]  # asked twice by each login
    loop, buffers = asyncio.get_running_loop(), Buffers()
    server = await loop.create_server(
        lambda: Receiver(Connection(buffers, loop, options)), sock=sock, backlog=BACKLOG
    )
    return asyncssh.SSHAcceptor(server, options)
