"""A checkpoint is signed so that anyone checks it, with openssl alone, and nobody else makes it."""

from __future__ import annotations

import shutil
import stat
import subprocess
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.audit.checkpoint import (
    Checkpoint,
    Signer,
    create_signing_key,
    load_public_key,
    load_signing_key,
    open_checkpoint,
    write_checkpoint,
)
from gateway.errors import AuditError, KeyringError

ROOT = sha256(b"root").digest()


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """A folder for keys."""
    folder = tmp_path / "keys"
    folder.mkdir()
    return folder


@pytest.fixture
def signer(keys_dir: Path) -> Signer:
    """A new signing key."""
    return create_signing_key(keys_dir)


def test_a_note_says_what_was_signed(signer: Signer) -> None:
    """Origin, size and root come back."""
    assert open_checkpoint(signer.sign(42, ROOT), signer.public_key) == Checkpoint(
        origin=signer.origin, size=42, root=ROOT
    )


def test_a_note_has_the_form_of_c2sp(signer: Signer) -> None:
    """Three lines, an empty one, and a signature line whose key id is SHA-256(name, newline, 0x01, key)[:4]."""
    lines = signer.sign(42, ROOT).split("\n")
    assert lines[:4] == [signer.origin, "42", b64encode(ROOT).decode(), ""]
    dash, name, signature = lines[4].split(" ")
    assert (dash, name, lines[5:]) == ("—", signer.origin, [""])
    raw = signer.public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert b64decode(signature)[:4] == sha256(signer.origin.encode() + b"\n\x01" + raw).digest()[:4]
    assert len(b64decode(signature)) == 4 + 64


def test_the_same_checkpoint_is_the_same_note(signer: Signer, keys_dir: Path) -> None:
    """Ed25519 is deterministic, so a repeated checkpoint is no second opinion."""
    assert load_signing_key(keys_dir).sign(42, ROOT) == signer.sign(42, ROOT)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_a_note(signer: Signer, keys_dir: Path, tmp_path: Path) -> None:
    """With `audit.pub`, the three lines and the signature: nothing of this software."""
    text, _, signatures = signer.sign(42, ROOT).partition("\n\n")
    signature = b64decode(signatures.split(" ")[2])[4:]
    (tmp_path / "note.txt").write_text(text + "\n")
    (tmp_path / "note.sig").write_bytes(signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys_dir / "audit.pub"), "-rawin"]
    command += ["-in", str(tmp_path / "note.txt"), "-sigfile", str(tmp_path / "note.sig")]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert "Verified Successfully" in good.stdout
    (tmp_path / "note.txt").write_text(text.replace("42", "43") + "\n")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("part", ["size", "root", "signature", "no signature", "cut", "extra line", "empty"])
def test_an_altered_note_is_refused(signer: Signer, part: str) -> None:
    """Each line counts."""
    note = signer.sign(42, ROOT)
    lines = note.split("\n")
    altered = {
        "size": note.replace("\n42\n", "\n43\n"),
        "root": note.replace(lines[2], b64encode(sha256(b"other").digest()).decode()),
        "signature": note[:-6] + ("AAAA=" if note[-6:-1] != "AAAA=" else "BAAA=") + "\n",
        "no signature": "\n".join(lines[:4]) + "\n",
        "cut": note[: len(note) // 2],
        "extra line": note.replace("\n\n", "\nextension\n\n"),
        "empty": "",
    }[part]
    assert altered != note
    with pytest.raises(AuditError):
        open_checkpoint(altered, signer.public_key)


@pytest.mark.parametrize("size", ["042", "-1", "1e3", "", " 42", "9" * 5000, "٤٢"])
def test_only_one_way_to_write_a_size(signer: Signer, size: str) -> None:
    """A note that two readers could read differently is none."""
    with pytest.raises(AuditError):
        open_checkpoint(signer.sign(42, ROOT).replace("\n42\n", f"\n{size}\n"), signer.public_key)


def test_a_note_of_another_key_is_refused(signer: Signer) -> None:
    """Also when it claims this log's name."""
    other = Signer(Ed25519PrivateKey.generate())
    with pytest.raises(AuditError, match="another log"):
        open_checkpoint(other.sign(42, ROOT), signer.public_key)
    with pytest.raises(AuditError, match="not signed with the key"):
        open_checkpoint(other.sign(42, ROOT).replace(other.origin, signer.origin), signer.public_key)


def test_a_cosignature_is_passed_over(signer: Signer) -> None:
    """There is room for a second signer's line."""
    note = signer.sign(42, ROOT)
    head, signature = note.split("\n\n")
    cosigned = f"{head}\n\n— auditor AAAAAAAA\n{signature}"
    assert open_checkpoint(cosigned, signer.public_key).size == 42


def test_the_signing_key_is_private_and_made_once(signer: Signer, keys_dir: Path) -> None:
    """A log goes on under the key it began with."""
    path = keys_dir / "audit.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(KeyringError, match="exists already"):
        create_signing_key(keys_dir)
    assert path.read_bytes() == before
    assert load_signing_key(keys_dir).origin == signer.origin
    assert load_public_key(keys_dir) == signer.public_key


def test_keys_that_cannot_be_used_are_refused(signer: Signer, keys_dir: Path) -> None:
    """Readable by others, damaged or missing: each with what to do."""
    path = keys_dir / "audit.key"
    path.chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        load_signing_key(keys_dir)
    path.chmod(0o600)
    path.write_text("nonsense")
    with pytest.raises(KeyringError, match="no private key"):
        load_signing_key(keys_dir)
    (keys_dir / "audit.pub").write_text("nonsense")
    with pytest.raises(KeyringError, match="no public key"):
        load_public_key(keys_dir)
    path.unlink()
    with pytest.raises(KeyringError, match="missing"):
        load_signing_key(keys_dir)


def test_the_written_checkpoint_replaces_the_last(signer: Signer, tmp_path: Path) -> None:
    """Whole or not at all, and nothing is left beside it."""
    folder = tmp_path / "log"
    folder.mkdir()
    write_checkpoint(folder, signer.sign(1, ROOT))
    write_checkpoint(folder, signer.sign(2, ROOT))
    assert open_checkpoint((folder / "checkpoint").read_text(), signer.public_key).size == 2
    assert [path.name for path in folder.iterdir()] == ["checkpoint"]
