"""Checks what `ssh-keygen -Y sign` made (SSHSIG, OpenSSH's PROTOCOL.sshsig): whose key signed which bytes.

Read strictly: one armoured signature and nothing beside it, each field to its last byte. Keys of the kinds that
partners may have too: Ed25519, ECDSA P-256 and P-384, RSA, and FIDO `sk-` keys that were touched.
"""

from __future__ import annotations

import binascii
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Mapping
from hashlib import sha256, sha512
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from gateway.errors import SignatureRefused

#: How every armoured signature begins.
ARMOUR = b"-----BEGIN SSH SIGNATURE-----"
#: More than any signature with such a key takes, in bytes.
MOST_BYTES = 16 * 1024

_PREAMBLE, _VERSION = b"SSHSIG", 1
_ARMOURED = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)-----END SSH SIGNATURE-----\s*"
)
_HASHES: Mapping[bytes, Callable[[bytes], Any]] = {b"sha256": sha256, b"sha512": sha512}
_CURVES: Mapping[bytes, tuple[ec.EllipticCurve, HashAlgorithm]] = {
    b"ecdsa-sha2-nistp256": (ec.SECP256R1(), SHA256()),
    b"ecdsa-sha2-nistp384": (ec.SECP384R1(), SHA384()),
}
_RSA_HASHES: Mapping[bytes, HashAlgorithm] = {b"rsa-sha2-256": SHA256(), b"rsa-sha2-512": SHA512()}
_SK_ED25519, _SK_ECDSA = b"sk-ssh-ed25519@openssh.com", b"sk-ecdsa-sha2-nistp256@openssh.com"
#: Of a FIDO signature: somebody touched the key (PROTOCOL.u2f).
_USER_PRESENT = 0x01


class _Fields:
    """The fields of an SSH structure (RFC 4251 section 5), one after another."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def take(self, count: int) -> bytes:
        if count > len(self._rest):
            raise SignatureRefused("it is cut off")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def number(self) -> int:
        return int(struct.unpack(">I", self.take(4))[0])

    def string(self) -> bytes:
        return self.take(self.number())

    def mpint(self) -> int:
        return int.from_bytes(self.string(), "big", signed=True)

    def end(self) -> None:
        if self._rest:
            raise SignatureRefused("it has bytes that don't belong to it")


def signing_key(armour: bytes) -> str:
    """The public key that a signature names, as its OpenSSH line: nothing is proved of it yet.

    Raises:
        SignatureRefused: it is no SSH signature.
    """
    public = _signed_fields(armour)[0]
    kind = _Fields(public).string()
    return f"{kind.decode('ascii', 'replace')} {binascii.b2a_base64(public, newline=False).decode()}"


def check_signature(armour: bytes, message: bytes, *, public_key: str, namespace: str) -> None:
    """See that a key signed exactly these bytes, for this purpose.

    Args:
        armour: what `ssh-keygen -Y sign` wrote.
        message: the bytes that were to be signed.
        public_key: the OpenSSH line without comment of the key that is expected.
        namespace: the purpose (`-n`).

    Raises:
        SignatureRefused: it is not that; the text says why.
    """
    public, said_namespace, reserved, hash_name, signature = _signed_fields(armour)
    if public != b64decode(public_key.split()[1]):
        raise SignatureRefused("another key signed")
    if said_namespace != namespace.encode():
        raise SignatureRefused(f"it was made for another purpose: sign with -n {namespace}")
    digest = _HASHES.get(hash_name)
    if digest is None:
        raise SignatureRefused("its hash is neither sha256 nor sha512")
    signed = _PREAMBLE + b"".join(
        map(_string, (said_namespace, reserved, hash_name, digest(message).digest()))
    )
    try:
        _verify(public, signature, signed)
    except (InvalidSignature, ValueError) as exc:
        raise SignatureRefused("it does not fit the text: sign the file as it is, unaltered") from exc


def _signed_fields(armour: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Public key, namespace, reserved, hash algorithm and signature."""
    found = _ARMOURED.fullmatch(armour) if len(armour) <= MOST_BYTES else None
    if found is None:
        raise SignatureRefused("it is no SSH signature: give the .sig file that ssh-keygen -Y sign wrote")
    try:
        blob = b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error as exc:
        raise SignatureRefused("it is damaged") from exc
    fields = _Fields(blob)
    if fields.take(len(_PREAMBLE)) != _PREAMBLE or fields.number() != _VERSION:
        raise SignatureRefused("it is no SSH signature of version 1")
    public, namespace, reserved, hash_name, signature = (fields.string() for _ in range(5))
    fields.end()
    return public, namespace, reserved, hash_name, signature


def _verify(public: bytes, signature: bytes, signed: bytes) -> None:
    """Raises InvalidSignature, ValueError or SignatureRefused unless the key made the signature."""
    key, made = _Fields(public), _Fields(signature)
    kind, algorithm = key.string(), made.string()
    if kind == b"ssh-rsa":
        _verify_rsa(key, algorithm, made.string(), signed)
    elif algorithm != kind:
        raise SignatureRefused("it is of another kind than its key")
    elif kind == b"ssh-ed25519":
        Ed25519PublicKey.from_public_bytes(key.string()).verify(made.string(), signed)
    elif kind in _CURVES:
        curve, digest = _CURVES[kind]
        key.string()  # the curve's name, which the kind of key says too
        _verify_ecdsa(key.string(), curve, digest, made.string(), signed)
    elif kind == _SK_ED25519:
        raw, inner, whole = key.string(), made.string(), _touched(key, made, signed)
        Ed25519PublicKey.from_public_bytes(raw).verify(inner, whole)
    elif kind == _SK_ECDSA:
        key.string()
        raw, inner, whole = key.string(), made.string(), _touched(key, made, signed)
        _verify_ecdsa(raw, ec.SECP256R1(), SHA256(), inner, whole)
    else:
        raise SignatureRefused("its kind of key is not accepted: sign with an Ed25519 key")
    key.end()
    made.end()


def _verify_rsa(key: _Fields, algorithm: bytes, made: bytes, signed: bytes) -> None:
    digest = _RSA_HASHES.get(algorithm)
    if digest is None:
        raise SignatureRefused("an RSA key signs with SHA-2 only")
    exponent, modulus = key.mpint(), key.mpint()
    rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(made, signed, padding.PKCS1v15(), digest)


def _verify_ecdsa(
    raw: bytes, curve: ec.EllipticCurve, digest: HashAlgorithm, made: bytes, signed: bytes
) -> None:
    numbers = _Fields(made)
    r, s = numbers.mpint(), numbers.mpint()
    numbers.end()
    point = ec.EllipticCurvePublicKey.from_encoded_point(curve, raw)
    point.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))


def _touched(key: _Fields, made: _Fields, signed: bytes) -> bytes:
    """What a FIDO key signs: digests of its application and of the message, its flags and counter (PROTOCOL.u2f)."""
    application, flags, counter = key.string(), made.take(1), made.take(4)
    if not flags[0] & _USER_PRESENT:
        raise SignatureRefused("nobody touched the key when it signed")
    return sha256(application).digest() + flags + counter + sha256(signed).digest()


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
