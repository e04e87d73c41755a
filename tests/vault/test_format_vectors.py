"""docs/vault-format.md is true: its vectors, made by other code, are what the gateway writes and reads."""

from __future__ import annotations

import re
import secrets
from base64 import b64decode
from configparser import ConfigParser
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit.checkpoint import Signer, open_checkpoint
from gateway.audit.merkle import leaf_hash, node_hash
from gateway.domain.dispatch import DispatchKind
from gateway.matching.keys import Level
from gateway.store.tables import SQLModel
from gateway.vault import stream
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.derive import length_prefixed
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring
from gateway.vault.rows import RowSealer
from gateway.vault.stream import SealedReader, Sealer, associated_data

DOCUMENT = (Path(__file__).parents[2] / "docs/vault-format.md").read_text()


class Vector:
    """One section of the vectors: values as text, and as bytes where they are in hex."""

    def __init__(self, name: str) -> None:
        parser = ConfigParser(interpolation=None, delimiters=("=",))
        parser.read_string(re.findall(r"```ini\n(.*?)```", DOCUMENT, re.DOTALL)[-1])
        self._values = {key: value.replace("\n", "") for key, value in parser[name].items()}

    def text(self, key: str) -> str:
        """A value as it stands there."""
        return self._values[key]

    def hex(self, key: str) -> bytes:
        """A value in hex."""
        return bytes.fromhex(self._values[key])


def drawn(monkeypatch: pytest.MonkeyPatch, *values: bytes) -> None:
    """What the system's random source gives next, in this order and these lengths."""
    left = list(values)

    def draw(n: int) -> bytes:
        value = left.pop(0)
        assert len(value) == n
        return value

    monkeypatch.setattr("os.urandom", draw)
    monkeypatch.setattr(secrets, "token_bytes", draw)


def ring_of(keys_dir: Path, root: bytes, files: dict[str, bytes]) -> Keyring:
    """A keyring on disk as the document describes it."""
    (keys_dir / "ring").mkdir(parents=True)
    (keys_dir / "root.key").write_bytes(root)
    (keys_dir / "root.key").chmod(0o600)
    for key_id, wrapped in files.items():
        (keys_dir / "ring" / f"{key_id}.key").write_bytes(wrapped)
    return Keyring.open(keys_dir)


@pytest.fixture
def ring(keys_dir: Path) -> Keyring:
    """The keyring of the vectors."""
    vector = Vector("keyring")
    return ring_of(keys_dir, vector.hex("root-key"), {vector.text("id"): vector.hex("file")})


def test_a_key_file(keys_dir: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the document is read, and the same key makes the same file."""
    vector = Vector("keyring")
    key_id, path = vector.text("id"), keys_dir / "ring" / f"{vector.text('id')}.key"
    assert length_prefixed(key_id) + vector.hex("key") == vector.hex("wrapped-input")
    assert (ring.get(key_id), ring.verify()) == (vector.hex("key"), [])
    path.unlink()
    drawn(monkeypatch, vector.hex("key"))
    assert ring.ensure([key_id]) == [key_id]
    assert path.read_bytes() == vector.hex("file")


def test_a_data_key(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrapped, unwrapped, and what derives from it."""
    vector = Vector("data-key")
    key, key_id = DataKey(vector.hex("data-key")), vector.text("key-id")
    place = {"partner": vector.text("partner"), "object_id": vector.text("object")}
    assert ring.get(key_id) == vector.hex("key-of-that-day")
    assert length_prefixed("gw/v1/dek", key_id, *place.values()) == vector.hex("associated")
    assert key.file_key(vector.text("object")) == vector.hex("file-key")
    assert (key.row_key(), key.commitment()) == (vector.hex("row-key"), vector.hex("commitment"))
    wrapped = WrappedKey(
        key_id=key_id, key_version=1, wrapped=vector.hex("wrapped"), commitment=vector.hex("commitment")
    )
    assert unwrap(ring, wrapped, **place).row_key() == vector.hex("row-key")
    drawn(monkeypatch, vector.hex("nonce"))
    assert wrap(ring, key_id, key, **place) == wrapped


@pytest.mark.parametrize("name", ["blob", "blob-empty", "blob-full"])
def test_a_blob(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short, empty, and with a last segment that is exactly full: sealed to the same bytes, and opened."""
    vector = Vector(name)
    associated = associated_data(
        partner=vector.text("partner"),
        delivery=vector.text("delivery"),
        object_id=vector.text("object"),
        kind=vector.text("kind"),
    )
    is_full = name == "blob-full"
    text = bytes(n % 251 for n in range(int(vector.text("text-bytes")))) if is_full else vector.hex("text")
    drawn(monkeypatch, vector.hex("salt"), vector.hex("prefix"))
    out = bytearray()
    sealer = Sealer(vector.hex("file-key"), associated, out.extend)
    sealer.write(text)
    sealer.finish()
    sealed = bytes(out)
    if is_full:
        assert len(sealed) == int(vector.text("sealed-bytes")) == 2 * stream.SEGMENT_BYTES
        assert sha256(sealed).digest() == sealer.sha256() == vector.hex("sealed-sha256")
        assert sealed[-16:] == vector.hex("last-tag")
    else:
        assert sealed == vector.hex("sealed")
    if name == "blob":
        assert associated == vector.hex("associated")
    reader = SealedReader(vector.hex("file-key"), associated, lambda at, n: sealed[at : at + n], len(sealed))
    assert reader.read(0, reader.size) == text


def test_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padded JSON under the row key, bound to its place."""
    vector = Vector("row")
    sealer = RowSealer(vector.hex("row-key"))
    place = {"table": vector.text("table"), "object_id": vector.text("object")}
    fields = sealer.open(vector.hex("sealed"), row=int(vector.text("row")), **place)
    assert fields == {"achternaam": "Vörös", "huisnummer": 18, "postcode": "7938PL", "voorletters": "Q."}
    assert vector.hex("text").rstrip(b" ").decode().endswith("}")
    assert len(vector.hex("sealed")) == 12 + len(vector.hex("text")) + 16
    assert length_prefixed(*place.values(), "2", vector.text("schema")) == vector.hex("associated")
    drawn(monkeypatch, vector.hex("nonce"))
    assert sealer.seal(fields, row=int(vector.text("row")), **place) == vector.hex("sealed")


def test_tokens(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a key, of a row's contents, and of a file."""
    vector, content, file = Vector("index-token"), Vector("content-token"), Vector("file-token")
    ring = ring_of(keys_dir, bytes(32), {})
    drawn(monkeypatch, vector.hex("index-key"))
    ring.ensure([f"index-{vector.text('month')}"])
    indexer, month, parts = Indexer(ring), vector.text("month"), vector.text("parts").split("|")
    assert length_prefixed(*parts) == vector.hex("input")
    assert indexer.token(month, vector.text("level"), vector.text("scope"), parts) == vector.hex("token")
    made = indexer.content_token(month, content.text("creditor"), content.hex("content"))
    assert made == content.hex("token")
    assert indexer.token(month, "file", file.text("partner"), [file.text("sha256")]) == file.hex("token")


def test_the_audit_log() -> None:
    """Leaves, root, and a checkpoint that is signed to the letter."""
    vector = Vector("audit")
    signer = Signer(Ed25519PrivateKey.from_private_bytes(vector.hex("seed")))
    leaves = [leaf_hash(vector.text(f"entry-{number}").encode()) for number in range(2)]
    assert leaves == [vector.hex("leaf-0"), vector.hex("leaf-1")]
    assert node_hash(*leaves) == vector.hex("root")
    assert signer.public_key.public_bytes_raw() == vector.hex("public-key")
    note = f"{vector.hex('checkpoint-signed').decode()}\n{vector.text('signature-line')}\n"
    assert signer.sign(2, vector.hex("root")) == note
    assert len(b64decode(vector.text("signature-line").split(" ")[2])) == 4 + 64
    found = open_checkpoint(note, signer.public_key)
    assert (found.origin, found.size, found.root) == (vector.text("origin"), 2, vector.hex("root"))


def listed(mark: str) -> set[str]:
    """The words in code style between two marks of the document."""
    return set(re.findall(r"`([^`]+)`", DOCUMENT.partition(f"<!-- {mark} -->")[2].partition("<!-- /")[0]))


def test_every_kind_level_and_sealed_column_is_told() -> None:
    """What is added to the code is added to the document."""
    assert listed("kinds") == {kind.value for kind in DispatchKind}
    levels = set(
        re.findall(r"^\| `([a-z_]+)`(?: \(..\))? \| (?:municipality|creditor|partner) \|", DOCUMENT, re.M)
    )
    assert levels == {level.value for level in Level} | {"content", "name", "file"}
    columns = {
        f"{table.name}.{column.name}"
        for table in SQLModel.metadata.sorted_tables
        for column in table.columns
        if "sealed" in column.name and column.name not in ("sealed_bytes", "sealed_sha256")
    }
    assert listed("sealed") == columns
