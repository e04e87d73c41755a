"""The way of bytes between socket and channel, for AES-GCM and chacha20-poly1305: fewer copies than the library makes.

asyncssh's own connection does everything that is seldom: key exchange, login, channels, disconnects. What is
frequent, packets of an open channel, is received into a buffer that is used again, decrypted into another by
cipher objects that are kept, and handed to the session as a view; replies are gathered into one write. No MSG_IGNORE
goes before each packet: with an authenticated cipher it protects nothing (RFC 4251, section 9.3.1).

This uses names that are asyncssh's own affair, so it holds for one version of it. With another, or another
cipher, the connection is the library's, and only slower.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from socket import socket
from struct import Struct
from typing import Any

import asyncssh
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_FIRST, MSG_IGNORE
from asyncssh.encryption import ChachaEncryption, Encryption, GCMEncryption
from asyncssh.misc import DisconnectError, MACError, ProtocolError
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.poly1305 import Poly1305

from gateway.exchange.sockets import BACKLOG

#: The version whose private names were read.
ASYNCSSH = "2.24.1"

TAG_BYTES = 16
_LENGTH_BYTES = 4
#: A whole packet fits (the library's limit for one is 256 KiB and a channel's own), with room for what follows it.
_BUFFER_BYTES = 1 << 19
#: Buffers that no connection needs now, kept for the next.
_MOST_SPARE = 8

#: A read has at least this much room.
_LEAST_ROOM = 1 << 16
#: RFC 4253, section 6: what a packet has at least, its length not counted, and its padding.
_LEAST_PACKET, _LEAST_PADDING = 6, 4
_MOST_PACKET = _BUFFER_BYTES - _LEAST_ROOM - _LENGTH_BYTES - TAG_BYTES

_U32 = Struct(">I")
#: SSH_MSG_CHANNEL_DATA: channel, length of the data (RFC 4254, section 5.2)
_DATA_HEADER = Struct(">BII")
_ZEROS = bytes(32)
_BLOCK_0, _BLOCK_1 = bytes(8), (1).to_bytes(8, "little")


class _Direction(Encryption):
    """Packets of one direction under one key, as the library calls it and without copies.

    A nonce is used once: what was opened or sealed by the one way must not be by the other.
    """

    #: what was opened already, and goes through the library all the same
    opened = b""

    def length(self, seq: int, head: memoryview) -> int:
        """The length that the first four bytes of a packet tell."""
        raise NotImplementedError

    def open(self, seq: int, packet: memoryview, into: memoryview) -> int:
        """Decrypt a packet, with its length before and its tag behind it; how many bytes. Raises MACError."""
        raise NotImplementedError

    def seal(self, seq: int, plain: memoryview, into: memoryview) -> None:
        """Encrypt a packet: its length, ciphertext and tag fill `into`."""
        raise NotImplementedError

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """As the library asks for it."""
        into = bytearray(_LENGTH_BYTES + len(packet) + TAG_BYTES)
        self.seal(seq, memoryview(packet), memoryview(into))
        return bytes(into[:-TAG_BYTES]), bytes(into[-TAG_BYTES:])

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """As the library asks for it."""
        if self.opened:
            return first_block, first_block[:header_len]
        return first_block, _U32.pack(self.length(seq, memoryview(first_block)[:header_len]))

    def decrypt_packet(self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes) -> bytes:
        """As the library asks for it."""
        plain, self.opened = self.opened, b""
        if plain:
            return plain
        packet = memoryview(first + rest + mac)
        into = bytearray(len(packet) - _LENGTH_BYTES - TAG_BYTES)
        self.open(seq, packet, memoryview(into))
        return bytes(into)


class _GCM(_Direction):
    """RFC 5647: the length is in the clear, and authenticated."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._aead = AESGCM(key)
        self._fixed, self._count = iv[:4], int.from_bytes(iv[4:], "big")

    def _nonce(self) -> bytes:
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) & 0xFFFFFFFFFFFFFFFF
        return nonce

    def length(self, seq: int, head: memoryview) -> int:
        return int(_U32.unpack(head)[0])

    def open(self, seq: int, packet: memoryview, into: memoryview) -> int:
        count = len(packet) - _LENGTH_BYTES - TAG_BYTES
        try:
            self._aead.decrypt_into(
                self._nonce(), packet[_LENGTH_BYTES:], packet[:_LENGTH_BYTES], into[:count]
            )
        except InvalidTag as exc:
            raise MACError("MAC verification failed") from exc
        return count

    def seal(self, seq: int, plain: memoryview, into: memoryview) -> None:
        head = _U32.pack(len(plain))
        into[:_LENGTH_BYTES] = head
        self._aead.encrypt_into(self._nonce(), plain, head, into[_LENGTH_BYTES:])


class _Chacha(_Direction):
    """OpenSSH's PROTOCOL.chacha20poly1305: the length is encrypted, under a key of its own."""

    def __init__(self, key: bytes) -> None:
        self._main = Cipher(ChaCha20(key[:32], bytes(16)), mode=None).encryptor()
        self._head = Cipher(ChaCha20(key[32:], bytes(16)), mode=None).encryptor()

    def length(self, seq: int, head: memoryview) -> int:
        self._head.reset_nonce(_BLOCK_0 + seq.to_bytes(8, "big"))
        return int(_U32.unpack(self._head.update(head))[0])

    def open(self, seq: int, packet: memoryview, into: memoryview) -> int:
        nonce = seq.to_bytes(8, "big")
        try:
            Poly1305.verify_tag(self._authenticator(nonce), packet[:-TAG_BYTES], bytes(packet[-TAG_BYTES:]))
        except InvalidSignature as exc:
            raise MACError("MAC verification failed") from exc
        self._main.reset_nonce(_BLOCK_1 + nonce)
        return self._main.update_into(packet[_LENGTH_BYTES:-TAG_BYTES], into)

    def seal(self, seq: int, plain: memoryview, into: memoryview) -> None:
        nonce, end = seq.to_bytes(8, "big"), _LENGTH_BYTES + len(plain)
        key = self._authenticator(nonce)
        self._head.reset_nonce(_BLOCK_0 + nonce)
        into[:_LENGTH_BYTES] = self._head.update(_U32.pack(len(plain)))
        self._main.reset_nonce(_BLOCK_1 + nonce)
        self._main.update_into(plain, into[_LENGTH_BYTES:end])
        into[end:] = Poly1305.generate_tag(key, into[:end])

    def _authenticator(self, nonce: bytes) -> bytes:
        """The one-time key of a packet's tag."""
        self._main.reset_nonce(_BLOCK_0 + nonce)
        return self._main.update(_ZEROS)


def _direction(library: Encryption | None) -> _Direction | None:
    """Ours in the place of the library's, at a moment when it has not been used; None: its cipher is another."""
    if isinstance(library, GCMEncryption):
        return _GCM(library._cipher._key, library._cipher._iv)
    if isinstance(library, ChachaEncryption):
        return _Chacha(library._cipher._key + library._cipher._adkey)
    return library if isinstance(library, _Direction) else None


class Buffers:
    """What the connections of one event loop share: what they receive into, and what they work in."""

    def __init__(self) -> None:
        self._spare: list[memoryview] = []
        #: a packet that came in, decrypted; whoever is given a view of it is done with it on return
        self.opened = _buffer()
        #: a packet that goes out, before it is encrypted
        self.sealing = _buffer()

    def take(self) -> memoryview:
        """A buffer to receive into: for a read, and longer only while half a packet is in it."""
        return self._spare.pop() if self._spare else _buffer()

    def give(self, buffer: memoryview) -> None:
        """It is not needed now."""
        if len(self._spare) < _MOST_SPARE:
            self._spare.append(buffer)


def _buffer() -> memoryview:
    return memoryview(bytearray(_BUFFER_BYTES))


class Connection(asyncssh.SSHServerConnection):
    """A connection of the library, whose frequent packets take the short way."""

    def __init__(self, buffers: Buffers, *args: Any) -> None:
        super().__init__(*args)
        self._buffers = buffers
        #: what was received and not taken yet: from `_begin` up to `_end`
        self._held: memoryview | None = None
        self._begin = self._end = 0
        self._out: list[bytes | bytearray] = []
        #: what is sent goes out when all that came is taken, or when the loop comes round
        self._is_receiving = self._flush_is_due = False

    # what comes in

    def room(self) -> memoryview:
        """Where the next bytes go."""
        if self._held is None:
            self._held, self._begin, self._end = self._buffers.take(), 0, 0
        elif self._end + _LEAST_ROOM > len(self._held):
            rest = self._end - self._begin
            self._held[:rest] = self._held[self._begin : self._end]
            self._begin, self._end = 0, rest
        return self._held[self._end :]

    def received(self, count: int) -> None:
        """So many bytes came into `room`."""
        self._end += count
        self._reset_keepalive_timer()
        self._receive()

    def connection_lost(self, exc: Exception | None = None) -> None:
        """Nothing more comes."""
        self._drop_held()
        super().connection_lost(exc)

    def _receive(self) -> None:
        self._is_receiving = True
        try:
            while self._held is not None and self._transport is not None and self._take():
                pass
        except DisconnectError as exc:
            self._send_disconnect(exc.code, exc.reason, exc.lang)
            self._force_close(exc)
        except Exception:  # noqa: BLE001  # as the library does
            self.internal_error()
        finally:
            self._is_receiving = False
        self._flush()
        if self._begin == self._end or self._transport is None:
            self._drop_held()

    def _drop_held(self) -> None:
        if self._held is not None:
            self._buffers.give(self._held)
            self._held, self._begin, self._end = None, 0, 0

    def _take(self) -> bool:
        """Take what is next; False when more bytes are needed."""
        if self._recv_handler != self._recv_pkthdr or self._inpbuf:
            # the client's version, half a packet before the ciphers were ours, or the library is at work on one
            return self._hand_over()
        cipher = _direction(self._recv_encryption)
        if cipher is None:
            return self._hand_over()
        self._recv_encryption = cipher
        return self._take_packet(cipher)

    def _hand_over(self) -> bool:
        """The library takes all that there is."""
        assert self._held is not None
        self._inpbuf += bytes(self._held[self._begin : self._end])
        self._begin = self._end
        while self._inpbuf and self._recv_handler():
            pass
        return False

    def _take_packet(self, cipher: _Direction) -> bool:
        assert self._held is not None
        begin, there = self._begin, self._end - self._begin
        if there < _LENGTH_BYTES:
            return False
        length = cipher.length(self._recv_seq, self._held[begin : begin + _LENGTH_BYTES])
        if not _LEAST_PACKET <= length <= self._max_recv_pktlen or length > _MOST_PACKET:
            raise ProtocolError(f"Packet of {length} bytes")
        end = begin + _LENGTH_BYTES + length + TAG_BYTES
        if end > self._end:
            return False
        plain = self._buffers.opened
        cipher.open(self._recv_seq, self._held[begin:end], plain)
        self._begin = end
        padding = plain[0]
        if padding + 2 > length:
            raise ProtocolError("A packet of padding alone")
        payload = plain[1 : length - padding]
        if not (payload[0] == MSG_CHANNEL_DATA and self._take_data(payload)):
            self._take_seldom(cipher, bytes(plain[:length]))
        return True

    def _take_data(self, payload: memoryview) -> bool:
        """Hand the data of a channel to its session; False when something about it is the library's to judge."""
        if len(payload) < _DATA_HEADER.size or not self._auth_complete or self._decompressor:
            return False
        _, number, length = _DATA_HEADER.unpack_from(payload)
        channel = self._channels.get(number)
        data = payload[_DATA_HEADER.size :]
        if (
            channel is None
            or channel._recv_state != "open"
            or channel._recv_paused
            or channel._encoding is not None
            or len(data) != length
            or length > channel._recv_window
        ):
            return False
        self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
        channel._accept_data(data)  # type: ignore[arg-type]  # the session takes a view, and keeps none of it
        return True

    def _take_seldom(self, cipher: _Direction, plain: bytes) -> None:
        """The library takes a packet that is opened already: it asks for it as if it were not."""
        cipher.opened = plain
        self._inpbuf = _U32.pack(len(plain)) + bytes(len(plain) + TAG_BYTES)
        while self._inpbuf and self._recv_handler():
            pass

    def _finish_recv_packet(
        self, pkttype: int, seq: int, _task: asyncio.Task[Any] | None = None, is_async: bool = False
    ) -> None:
        """What came while the library was at work on a packet can be taken now."""
        super()._finish_recv_packet(pkttype, seq, _task, is_async)
        if is_async and self._held is not None and not self._is_receiving:
            self._receive()

    # what goes out

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send a packet: of a channel the short way, when nothing stands in it."""
        cipher = _direction(self._send_encryption)
        if cipher is None:
            super().send_packet(pkttype, *args, handler=handler)
            return
        self._send_encryption = cipher
        if pkttype == MSG_IGNORE:
            return
        if pkttype < MSG_CHANNEL_FIRST or not self._can_send_at_once():
            super().send_packet(pkttype, *args, handler=handler)
            return
        self._seal(cipher, pkttype, args)

    def _can_send_at_once(self) -> bool:
        return bool(
            self._auth_complete
            and self._kex_complete
            and not self._compressor
            and self._rekey_bytes_sent < self._rekey_bytes
            and (not self._rekey_seconds or time.monotonic() < self._rekey_time)
        )

    def _seal(self, cipher: _Direction, pkttype: int, parts: Sequence[bytes]) -> None:
        plain, end = self._buffers.sealing, 2
        for part in parts:
            plain[end : end + len(part)] = part
            end += len(part)
        padding = -(self._send_enchdrlen + end - 1) % self._send_blocksize
        if padding < _LEAST_PADDING:
            padding += self._send_blocksize
        plain[0], plain[1] = padding, pkttype
        plain[end : end + padding] = os.urandom(padding)
        length = end + padding
        packet = bytearray(_LENGTH_BYTES + length + TAG_BYTES)
        cipher.seal(self._send_seq, plain[:length], memoryview(packet))
        self._send_seq = (self._send_seq + 1) & 0xFFFFFFFF
        self._rekey_bytes_sent += length
        self._send(packet)

    def _send(self, data: bytes | bytearray) -> None:
        """Gather what is sent until all that came is taken."""
        self._out.append(data)
        if not (self._is_receiving or self._flush_is_due):
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._out:
            out, self._out = self._out, []
            super()._send(b"".join(out))

    def _force_close(self, exc: Exception | None) -> None:
        self._flush()
        super()._force_close(exc)


class Receiver(asyncio.BufferedProtocol):
    """What the event loop knows of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._connection.room()

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.received(nbytes)

    def eof_received(self) -> None:
        self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


async def listen(sock: socket, options: asyncssh.SSHServerConnectionOptions) -> asyncssh.SSHAcceptor:
    """Listen at a socket that is bound, with connections of this module."""
    loop, buffers = asyncio.get_running_loop(), Buffers()
    server = await loop.create_server(
        lambda: Receiver(Connection(buffers, loop, options)), sock=sock, backlog=BACKLOG
    )
    return asyncssh.SSHAcceptor(server, options)
