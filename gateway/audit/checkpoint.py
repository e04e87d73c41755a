"""Checkpoints: the size and root of the log, signed; the form is C2SP's tlog-checkpoint in a signed note.

    origin
    size
    base64(root)
    (empty)
    — origin base64(key id4 || Ed25519 signature)

The signature covers the first three lines with their line ends, so `openssl pkeyutl -verify -rawin` checks
it with the public key alone. https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note
"""

from __future__ import annotations

import binascii
import re
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.audit.sshsig import sign_message
from gateway.errors import AuditError, KeyringError
from gateway.vault.durable import create_file, place_file, sync_folder

SIGNING_KEY_FILE = "audit.key"
PUBLIC_KEY_FILE = "audit.pub"
CHECKPOINT_FILE = "checkpoint"

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_AGAIN = re.compile(r"/[0-9a-f]{16}")
_ROOT_BYTES = 32
_KEY_ID_BYTES = 4
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log says of itself: its name (`origin`), its number of entries and their root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class Signer:
    """Signs checkpoints and certificates with the log's key; its origin is named after the public key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key()
        self.origin = origin_of(self.public_key)

    def __repr__(self) -> str:
        return f"Signer({self.origin!r})"

    def sign(self, size: int, root: bytes, origin: str = "") -> str:
        """The signed note of a checkpoint; the same checkpoint gives the same note.

        `origin` is that of a log begun again (`new_origin`); the key's own when empty.
        """
        origin = origin or self.origin
        text = Checkpoint(origin=origin, size=size, root=root).text()
        signature = _key_id(origin, self.public_key) + self._key.sign(text.encode())
        return f"{text}\n— {origin} {b64encode(signature).decode()}\n"

    def sign_message(self, message: bytes) -> bytes:
        """The SSHSIG signature of a certificate, armoured: `ssh-keygen -Y verify` checks it."""
        return sign_message(self._key, message)

    def public_pem(self) -> bytes:
        """The public key as `openssl` and the verifier read it."""
        return self.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def origin_of(public_key: Ed25519PublicKey) -> str:
    """The name of the log that a key signs: unique for each installation, and bound to the key."""
    return f"gateway/{sha256(_raw(public_key)).hexdigest()[:16]}"


def new_origin(public_key: Ed25519PublicKey) -> str:
    """The name of a log that begins again after one was lost: no log of this key ever had it."""
    return f"{origin_of(public_key)}/{secrets.token_hex(8)}"


def create_signing_key(keys_dir: Path) -> Signer:
    """Make `audit.key` (0600) and `audit.pub` in `keys_dir`; KeyringError when there is a key already."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = keys_dir / SIGNING_KEY_FILE
    try:
        create_file(path, private)
    except FileExistsError as exc:
        raise KeyringError(f"{path} exists already and is left as it is: the log goes on under it") from exc
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    place_file(keys_dir / PUBLIC_KEY_FILE, public, mode=0o644)
    sync_folder(keys_dir)
    return Signer(key)


def load_signing_key(keys_dir: Path) -> Signer:
    """The log's signing key; KeyringError says what is wrong with its file and what to do."""
    path = keys_dir / SIGNING_KEY_FILE
    pem = _read(path)
    if path.stat().st_mode & 0o077:
        raise KeyringError(f"{path} can be read by others: run `chmod 600 {path}`")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as exc:
        raise KeyringError(f"{path} holds no private key in PEM form") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyringError(f"{path} holds another kind of key than Ed25519")
    return Signer(key)


def load_public_key(keys_dir: Path) -> Ed25519PublicKey:
    """The log's public key; KeyringError if its file can't be used."""
    path = keys_dir / PUBLIC_KEY_FILE
    try:
        key = load_pem_public_key(_read(path))
    except ValueError as exc:
        raise KeyringError(f"{path} holds no public key in PEM form") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise KeyringError(f"{path} holds another kind of key than Ed25519")
    return key


def open_checkpoint(note: str, public_key: Ed25519PublicKey) -> Checkpoint:
    """What a signed note says, once its signature and its origin are checked.

    Lines of other signers (cosignatures) are passed over. Raises AuditError.
    """
    text, separator, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not separator or len(lines) < 3:
        raise AuditError("that is not a checkpoint")
    origin, size, root = lines[0], lines[1], _base64(lines[2])
    if not _SIZE.fullmatch(size) or len(root) != _ROOT_BYTES:
        raise AuditError("that is not a checkpoint")
    own = origin_of(public_key)
    if not origin.startswith(own) or not (origin == own or _AGAIN.fullmatch(origin, len(own))):
        raise AuditError(f"the checkpoint is of another log: {origin}")
    expected = _key_id(origin, public_key)
    for line in signatures.splitlines():
        dash, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        signature = _base64(value)
        if (dash, name) != ("—", origin) or len(signature) != _KEY_ID_BYTES + _SIGNATURE_BYTES:
            continue
        if signature[:_KEY_ID_BYTES] != expected:
            continue
        try:
            public_key.verify(signature[_KEY_ID_BYTES:], f"{text}\n".encode())
        except InvalidSignature as exc:
            raise AuditError("the signature of the checkpoint is false") from exc
        return Checkpoint(origin=origin, size=int(size), root=root)
    raise AuditError("the checkpoint is not signed with the key of this log")


def write_checkpoint(log_dir: Path, note: str) -> None:
    """Put the newest checkpoint at `log/checkpoint`: outside the data it vouches for, durable on return."""
    place_file(log_dir / CHECKPOINT_FILE, note.encode(), mode=0o644)
    sync_folder(log_dir)


def _raw(public_key: Ed25519PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _key_id(name: str, public_key: Ed25519PublicKey) -> bytes:
    return sha256(name.encode() + b"\n\x01" + _raw(public_key)).digest()[:_KEY_ID_BYTES]


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise KeyringError(f"{path} is missing: run `gateway init`, or bring the key back") from exc
    except OSError as exc:
        raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
