"""Signatures of approvers: what the real ssh-keygen makes is taken, anything else is refused, and it agrees with us."""

from __future__ import annotations

import re
import struct
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256, sha512
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.sshsig import sign_message
from gateway.audit.sshsig_check import MOST_BYTES, check_signature, signing_key
from gateway.domain.approval import NAMESPACE
from gateway.errors import SignatureRefused

MESSAGE = "VERZOEK OM GOEDKEURING\n\nNummer: G-2027-000001\nDat is één verzoek.\n".encode()
KINDS = {
    "ed25519": ("-t", "ed25519"),
    "p256": ("-t", "ecdsa", "-b", "256"),
    "p384": ("-t", "ecdsa", "-b", "384"),
    "rsa": ("-t", "rsa", "-b", "3072"),
}


def ssh_keygen(*args: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The real one."""
    return subprocess.run(["ssh-keygen", *map(str, args)], input=stdin, capture_output=True, check=False)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A private key of each kind, with its public key beside it."""
    folder = tmp_path_factory.mktemp("approvers")
    for name, kind in KINDS.items():
        made = ssh_keygen("-q", *kind, "-N", "", "-C", "", "-f", folder / name)
        assert made.returncode == 0, made.stderr
    return {name: folder / name for name in KINDS}


def public_line(key: Path) -> str:
    """The OpenSSH line of a key, without comment."""
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


def sign(key: Path, message: bytes = MESSAGE, *options: str, namespace: str = NAMESPACE) -> bytes:
    """What `ssh-keygen -Y sign` writes."""
    made = ssh_keygen("-Y", "sign", "-n", namespace, *options, "-f", key, stdin=message)
    assert made.returncode == 0, made.stderr
    return made.stdout


def agrees(tmp_path: Path, line: str, armour: bytes, message: bytes = MESSAGE) -> bool:
    """What the real ssh-keygen says of a signature."""
    (tmp_path / "signers").write_text(f"archivaris {line}\n")
    (tmp_path / "sig").write_bytes(armour)
    files = ("-f", tmp_path / "signers", "-s", tmp_path / "sig")
    return (
        ssh_keygen("-Y", "verify", *files, "-I", "archivaris", "-n", NAMESPACE, stdin=message).returncode == 0
    )


def refused(armour: bytes, line: str, message: bytes = MESSAGE) -> str:
    """Why a signature is refused."""
    with pytest.raises(SignatureRefused) as refusal:
        check_signature(armour, message, public_key=line, namespace=NAMESPACE)
    return str(refusal.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_ssh_keygen_signs_is_taken(keys: dict[str, Path], kind: str) -> None:
    """With each kind of key and both hashes; the key is named by the signature itself."""
    line = public_line(keys[kind])
    for options in ((), ("-O", "hashalg=sha256")):
        armour = sign(keys[kind], MESSAGE, *options)
        assert signing_key(armour) == line
        check_signature(armour, MESSAGE, public_key=line, namespace=NAMESPACE)
        check_signature(armour.replace(b"\n", b"\r\n"), MESSAGE, public_key=line, namespace=NAMESPACE)


@pytest.mark.parametrize("kind", KINDS)
def test_another_text_key_or_purpose_is_refused(keys: dict[str, Path], kind: str) -> None:
    """One byte of the text, someone else's key, another namespace."""
    line, armour = public_line(keys[kind]), sign(keys[kind])
    assert "does not fit the text" in refused(armour, line, MESSAGE[:-1])
    assert "does not fit the text" in refused(armour, line, MESSAGE.replace(b"000001", b"000002"))
    other = keys["p256" if kind == "ed25519" else "ed25519"]
    assert refused(armour, public_line(other)) == "another key signed"
    elsewhere = sign(keys[kind], namespace="file")
    assert f"sign with -n {NAMESPACE}" in refused(elsewhere, line)


@pytest.mark.parametrize("kind", KINDS)
def test_no_altered_signature_is_taken(keys: dict[str, Path], kind: str) -> None:
    """Every byte of it counts: each flipped bit, each cut, each byte more is refused."""
    line, armour = public_line(keys[kind]), sign(keys[kind])
    blob = b64decode(b"".join(armour.splitlines()[1:-1]))
    step = max(1, len(blob) // 60)
    for at in range(0, len(blob), step):
        altered = bytearray(blob)
        altered[at] ^= 1 << (at % 8)
        refused(armoured(bytes(altered)), line)
        refused(armoured(blob[:at]), line)
    refused(armoured(blob + b"\0"), line)
    # bytes behind the signature itself, within its own length
    fields = list(split(blob[10:]))
    fields[-1] += b"\0"
    refused(armoured(sshsig(fields)), line)
    refused(armour + armour, line)
    refused(b"x" + armour, line)
    refused(MESSAGE, line)
    assert "no SSH signature" in refused(armour + b"\n" * MOST_BYTES, line)


def test_an_old_hash_of_rsa_and_foreign_kinds_of_keys_are_refused(keys: dict[str, Path]) -> None:
    """A signature that names SHA-1, DSA or another hash is not even tried."""
    line, armour = public_line(keys["rsa"]), sign(keys["rsa"])
    blob = b64decode(b"".join(armour.splitlines()[1:-1]))
    assert "SHA-2 only" in refused(armoured(blob.replace(b"rsa-sha2-512", b"rsa-sha1-xyz")), line)
    assert "neither sha256 nor sha512" in refused(
        armoured(blob.replace(b"\0\0\0\x06sha512", b"\0\0\0\x06sha384")), line
    )
    foreign = string(b"ssh-dss") + string(b"1")
    fields = [foreign, NAMESPACE.encode(), b"", b"sha512", string(b"ssh-dss") + string(b"1")]
    foreign_line = f"ssh-dss {b64encode(foreign).decode()}"
    assert "kind of key is not accepted" in refused(armoured(sshsig(fields)), foreign_line)


@given(st.binary(max_size=400))
def test_bytes_that_nobody_signed_are_refused_and_nothing_else(data: bytes) -> None:
    """Whatever stands between the lines of the armour: a refusal, never another error."""
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDh9nZ5u3ZqVtZ5q3l7mGEkA1Vt1f0cV0bK5x2vVbqRi"
    for blob in (data, b"SSHSIG\0\0\0\1" + data):
        with pytest.raises(SignatureRefused):
            check_signature(armoured(blob), MESSAGE, public_key=line, namespace=NAMESPACE)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_fido_key_must_have_been_touched(tmp_path: Path, kind: str) -> None:
    """Signed as a security key does (PROTOCOL.u2f): ssh-keygen takes it, and so do we, unless nobody touched it."""
    for flags, is_good in ((1, True), (5, True), (0, False), (4, False)):
        line, armour = touched(kind, flags)
        assert agrees(tmp_path, line, armour)
        if is_good:
            check_signature(armour, MESSAGE, public_key=line, namespace=NAMESPACE)
            refused(armour, line, MESSAGE + b"x")
        else:
            assert "nobody touched" in refused(armour, line)


def test_our_own_signature_is_for_another_purpose(tmp_path: Path) -> None:
    """That of a certificate never approves anything."""
    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    line = f"ssh-ed25519 {b64encode(string(b'ssh-ed25519') + string(raw)).decode()}"
    assert "another purpose" in refused(sign_message(key, MESSAGE), line)


# -- signatures made by hand -----------------------------------------------------------------------


def string(data: bytes) -> bytes:
    """RFC 4251 section 5."""
    return struct.pack(">I", len(data)) + data


def split(data: bytes) -> Iterator[bytes]:
    """The strings that follow one another."""
    while data:
        (length,) = struct.unpack(">I", data[:4])
        yield data[4 : 4 + length]
        data = data[4 + length :]


def sshsig(fields: list[bytes]) -> bytes:
    """The blob of a signature."""
    return b"SSHSIG" + struct.pack(">I", 1) + b"".join(map(string, fields))


def armoured(blob: bytes) -> bytes:
    """As ssh-keygen writes it."""
    lines = re.findall(".{1,70}", b64encode(blob).decode())
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def mpint(number: int) -> bytes:
    """RFC 4251 section 5, of a positive number."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def touched(kind: str, flags: int) -> tuple[str, bytes]:
    """A security key's line and its signature over the message."""
    signed = b"SSHSIG" + b"".join(map(string, (NAMESPACE.encode(), b"", b"sha512", sha512(MESSAGE).digest())))
    whole = sha256(b"ssh:").digest() + bytes([flags]) + struct.pack(">I", 7) + sha256(signed).digest()
    if kind == "ed25519":
        name, key = b"sk-ssh-ed25519@openssh.com", Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        public, made = string(name) + string(raw), key.sign(whole)
    else:
        name, pair = b"sk-ecdsa-sha2-nistp256@openssh.com", ec.generate_private_key(ec.SECP256R1())
        point = pair.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        public = string(name) + string(b"nistp256") + string(point)
        made = b"".join(map(mpint, decode_dss_signature(pair.sign(whole, ec.ECDSA(SHA256())))))
    public += string(b"ssh:")
    signature = string(name) + string(made) + bytes([flags]) + struct.pack(">I", 7)
    fields = [public, NAMESPACE.encode(), b"", b"sha512", signature]
    return f"{name.decode()} {b64encode(public).decode()}", armoured(sshsig(fields))
