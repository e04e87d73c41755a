"""Packets of one direction of a connection, opened and sealed into buffers that are there: AES-GCM, chacha20-poly1305.

The library's own make the cipher anew for each packet, and copy it four times. Nothing here decides anything: keys,
sequence numbers and the order of packets are the library's (`transport.py`).
"""

from __future__ import annotations

from itertools import count
from struct import Struct

from asyncssh.encryption import Encryption
from asyncssh.misc import MACError
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.poly1305 import Poly1305

LENGTH_BYTES, TAG_BYTES = 4, 16

_U32 = Struct(">I")
_ZEROS = bytes(32)
#: What comes before the nonce: the block to begin with, least significant byte first.
_BLOCK_0, _BLOCK_1 = bytes(8), (1).to_bytes(8, "little")


class PacketCipher(Encryption):
    """Packets of one direction under one key, without copies; and as the library asks for it.

    A nonce is used once: a packet is opened, or sealed, by one of the two ways and never by both.
    """

    #: a packet that was opened already, and goes through the library all the same
    opened = b""

    def length(self, seq: int, received: memoryview, begin: int) -> int:
        """The length that the first four bytes of the packet at `begin` tell; nobody vouches for it yet."""
        raise NotImplementedError

    def open(self, seq: int, received: memoryview, begin: int, end: int, into: memoryview) -> None:
        """Decrypt a packet, with its length before and its tag behind it; nothing of `into` is to be used on error.

        Raises:
            MACError: the tag is another.
        """
        raise NotImplementedError

    def seal(self, seq: int, plain: memoryview, into: memoryview) -> None:
        """Encrypt a packet: its length, ciphertext and tag fill `into`."""
        raise NotImplementedError

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """As the library asks for it; `header` is the packet's length."""
        into = bytearray(LENGTH_BYTES + len(packet) + TAG_BYTES)
        self.seal(seq, memoryview(packet), memoryview(into))
        return bytes(into[:-TAG_BYTES]), bytes(into[-TAG_BYTES:])

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """As the library asks for it."""
        if self.opened:
            return first_block, _U32.pack(len(self.opened))
        return first_block, _U32.pack(self.length(seq, memoryview(first_block), 0))

    def decrypt_packet(self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes) -> bytes:
        """As the library asks for it."""
        plain, self.opened = self.opened, b""
        if plain:
            return plain
        packet = memoryview(first + rest + mac)
        into = bytearray(len(packet) - LENGTH_BYTES - TAG_BYTES)
        self.open(seq, packet, 0, len(packet), memoryview(into))
        return bytes(into)


class GCMCipher(PacketCipher):
    """RFC 5647: the length is in the clear, and authenticated; the nonce counts packets from where the key began."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._aead = AESGCM(key)
        self._fixed, self._counts = iv[:4], count(int.from_bytes(iv[4:], "big"))

    def _nonce(self) -> bytes:
        return self._fixed + (next(self._counts) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")

    def length(self, seq: int, received: memoryview, begin: int) -> int:
        """As it stands."""
        length: int = _U32.unpack_from(received, begin)[0]
        return length

    def open(self, seq: int, received: memoryview, begin: int, end: int, into: memoryview) -> None:
        """Decrypt and verify in one pass."""
        text = begin + LENGTH_BYTES
        try:
            self._aead.decrypt_into(self._nonce(), received[text:end], received[begin:text], into)
        except InvalidTag as exc:
            raise MACError("MAC verification failed") from exc

    def seal(self, seq: int, plain: memoryview, into: memoryview) -> None:
        """Encrypt and authenticate in one pass."""
        head = _U32.pack(len(plain))
        into[:LENGTH_BYTES] = head
        self._aead.encrypt_into(self._nonce(), plain, head, into[LENGTH_BYTES:])


class ChachaCipher(PacketCipher):
    """OpenSSH's PROTOCOL.chacha20poly1305: the length is encrypted under a key of its own; the nonce is `seq`."""

    def __init__(self, main: bytes, head: bytes) -> None:
        self._main = Cipher(ChaCha20(main, bytes(16)), mode=None).encryptor()
        self._head = Cipher(ChaCha20(head, bytes(16)), mode=None).encryptor()

    def length(self, seq: int, received: memoryview, begin: int) -> int:
        """Decrypted; it may be asked again while the packet comes in."""
        self._head.reset_nonce(_BLOCK_0 + seq.to_bytes(8, "big"))
        return int(_U32.unpack(self._head.update(received[begin : begin + LENGTH_BYTES]))[0])

    def open(self, seq: int, received: memoryview, begin: int, end: int, into: memoryview) -> None:
        """Verify, and only then decrypt."""
        nonce, tag = seq.to_bytes(8, "big"), end - TAG_BYTES
        try:
            Poly1305.verify_tag(self._authenticator(nonce), received[begin:tag], bytes(received[tag:end]))
        except InvalidSignature as exc:
            raise MACError("MAC verification failed") from exc
        self._main.reset_nonce(_BLOCK_1 + nonce)
        self._main.update_into(received[begin + LENGTH_BYTES : tag], into)

    def seal(self, seq: int, plain: memoryview, into: memoryview) -> None:
        """Encrypt length and packet, then authenticate both."""
        nonce, end = seq.to_bytes(8, "big"), LENGTH_BYTES + len(plain)
        key = self._authenticator(nonce)
        self._head.reset_nonce(_BLOCK_0 + nonce)
        into[:LENGTH_BYTES] = self._head.update(_U32.pack(len(plain)))
        self._main.reset_nonce(_BLOCK_1 + nonce)
        self._main.update_into(plain, into[LENGTH_BYTES:end])
        into[end:] = Poly1305.generate_tag(key, into[:end])

    def _authenticator(self, nonce: bytes) -> bytes:
        """The one-time key of a packet's tag."""
        self._main.reset_nonce(_BLOCK_0 + nonce)
        return self._main.update(_ZEROS)
