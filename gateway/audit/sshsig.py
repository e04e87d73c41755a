"""Signatures that `ssh-keygen -Y verify` checks (SSHSIG, OpenSSH's PROTOCOL.sshsig), with the log's own key.

The namespace keeps a signature from being taken for one of another purpose, and the preamble from being taken for
one of a checkpoint. Those of others are checked in `gateway.audit.sshsig_check`.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from hashlib import sha512

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: The namespace of certificates of destruction.
NAMESPACE = "verklaring@gateway"
#: Who signs, in the file of allowed signers.
PRINCIPAL = "gateway"

_PREAMBLE, _VERSION, _HASH = b"SSHSIG", 1, "sha512"
_LINE_CHARACTERS = 70


def sign_message(key: Ed25519PrivateKey, message: bytes) -> bytes:
    """The armoured signature over `message`, for a file beside it with `.sig` behind its name."""
    public = _public_blob(key.public_key())
    what = [NAMESPACE.encode(), b"", _HASH.encode()]
    signed = _PREAMBLE + b"".join(map(_string, [*what, sha512(message).digest()]))
    signature = _string(b"ssh-ed25519") + _string(key.sign(signed))
    blob = _PREAMBLE + struct.pack(">I", _VERSION) + b"".join(map(_string, [public, *what, signature]))
    text = b64encode(blob).decode()
    lines = [text[at : at + _LINE_CHARACTERS] for at in range(0, len(text), _LINE_CHARACTERS)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def allowed_signers(public_key: Ed25519PublicKey) -> str:
    """The line by which `ssh-keygen -Y verify -f` knows the signer, for this namespace only."""
    return f'{PRINCIPAL} namespaces="{NAMESPACE}" {public_line(public_key)}\n'


def public_line(public_key: Ed25519PublicKey) -> str:
    """The public key as OpenSSH writes it."""
    return f"ssh-ed25519 {b64encode(_public_blob(public_key)).decode()}"


def _public_blob(public_key: Ed25519PublicKey) -> bytes:
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _string(b"ssh-ed25519") + _string(raw)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
