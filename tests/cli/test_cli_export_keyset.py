"""`gateway export-keyset`: the real Tink opens what the gateway sealed, with what the documents say and no more."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tink import json_proto_keyset_format, secret_key_access, streaming_aead

from gateway.cli.opened import actor
from gateway.pipeline.sealing import open_key
from gateway.store import data_keys
from gateway.vault.stream import FIRST_TEXT_BYTES, SEGMENT_BYTES, TEXT_BYTES, SealedReader

DOCUMENT = Path(__file__).parents[2] / "docs/vault-format.md"


def given(house, content: bytes) -> tuple[str, Path, str, str]:
    """A received file, and what its export gave: its id, the keyset, the sealed file and the associated data."""
    before = {each["id"] for each in house.json("deliveries", "list")}
    house.receive("woonservice", f"{len(before)}.csv", content)
    (delivery,) = {each["id"] for each in house.json("deliveries", "list")} - before
    out = house.path / f"{delivery}.json"
    ran = house.run("export-keyset", "--delivery", delivery, "--out", out)
    assert ran.code == 0, ran.err
    sealed, associated = re.findall(r"(?:sealed file|associated data) +(\S+)", ran.out)
    return delivery, out, sealed, associated


def opened(*args: str | Path) -> subprocess.CompletedProcess[bytes]:
    """What the program in the document prints: Tink alone, without the gateway."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    command = [sys.executable, "-W", "ignore", "-c", program, *map(str, args)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, cwd="/")


@pytest.mark.parametrize("size", [1, FIRST_TEXT_BYTES, FIRST_TEXT_BYTES + TEXT_BYTES + 1])
def test_tink_opens_a_received_file(house, size):
    """One byte, an exactly full segment, two and a byte; not with the associated data of another place."""
    content = os.urandom(size)
    _, keyset, sealed, associated = given(house, content)
    done = opened(keyset, sealed, associated)
    assert (done.returncode, done.stdout) == (0, content), done.stderr
    assert opened(keyset, sealed, associated[:-2] + "00").returncode != 0


@pytest.mark.parametrize(
    "size",
    [
        *(0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1),
        *(FIRST_TEXT_BYTES - 1, FIRST_TEXT_BYTES, FIRST_TEXT_BYTES + 1),
        *(
            FIRST_TEXT_BYTES + TEXT_BYTES - 1,
            FIRST_TEXT_BYTES + TEXT_BYTES,
            FIRST_TEXT_BYTES + TEXT_BYTES + 1,
        ),
        FIRST_TEXT_BYTES + 3 * TEXT_BYTES,
    ],
)
def test_there_and_back_at_each_boundary(house, size):
    """Tink opens the received file with the exported keyset; what Tink seals with it, the gateway reads in its place."""
    content = os.urandom(size)
    delivery, keyset, sealed, associated = given(house, content)
    streaming_aead.register()
    handle = json_proto_keyset_format.parse(keyset.read_text(), secret_key_access.TOKEN)
    tink, place = handle.primitive(streaming_aead.StreamingAead), bytes.fromhex(associated)
    with Path(sealed).open("rb") as file, tink.new_decrypting_stream(file, place) as opened_by_tink:
        assert opened_by_tink.read() == content
    before = Path(sealed).read_bytes()
    with Path(sealed).open("wb") as file, tink.new_encrypting_stream(file, place) as sealed_by_tink:
        sealed_by_tink.write(content)
    assert Path(sealed).read_bytes() != before
    with house.opened() as gateway:
        with gateway.store.read() as conn:
            stored = data_keys.of_object(conn, delivery)
        file_key = open_key(gateway.pipeline(), stored).file_key(delivery)
        with gateway.blobs.open(Path(sealed).name) as blob:
            reader = SealedReader(file_key, place, blob.read_at, blob.size)
            reader.authenticate()
            assert b"".join(reader.chunks()) == content


def test_it_is_the_owners_only_and_on_record(house):
    """0600, of one file only, by whom stands in the audit log; nothing of the key is printed."""
    delivery, keyset, _, _ = given(house, b"one")
    _, other, sealed, associated = given(house, b"two")
    assert stat.S_IMODE(keyset.stat().st_mode) == 0o600
    assert opened(other, sealed, associated).stdout == b"two"
    assert opened(keyset, sealed, associated).returncode != 0
    exported = [each for each in house.json("audit", "show") if each["action"] == "key.exported"]
    assert [(each["object"], each["actor"], each["origin"]) for each in exported][:1] == [
        (delivery, actor(), "cli")
    ]


def test_what_can_not_be_given(house, tmp_path):
    """An unknown delivery, a file that is there, a folder that is not, a file whose key has gone: nothing is written."""
    delivery, keyset, _, _ = given(house, b"one")
    before = keyset.read_bytes()
    out = tmp_path / "new.json"
    for words in (
        ("--delivery", "L0", "--out", out),
        ("--delivery", delivery, "--out", keyset),
        ("--delivery", delivery, "--out", tmp_path / "none" / "new.json"),
    ):
        assert house.run("export-keyset", *words).code == 1, words
    for ring in (house.home / "keys/ring").glob("until-*.key"):
        ring.unlink()
    gone = house.run("export-keyset", "--delivery", delivery, "--out", out)
    assert gone.code == 1
    assert "is not held" in gone.err
    assert keyset.read_bytes() == before
    assert not out.exists()
    exported = [each for each in house.json("audit", "show") if each["action"] == "key.exported"]
    assert len(exported) == 1
