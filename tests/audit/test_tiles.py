"""The log as others read it: tiles, and a verifier that needs nothing of ours (spec 4, Audit log)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.checkpoint import write_checkpoint
from gateway.audit.merkle import leaf_hash, root_of
from gateway.audit.publish import seal_log
from gateway.audit.shelf import LogShelf
from gateway.audit.sshsig import NAMESPACE, PRINCIPAL, allowed_signers
from gateway.audit.tiles import Tile, find, render, tiles_of
from gateway.audit.verify_log import ed25519_verifies

sys.path.append(str(Path(__file__).parent))
from auditor import fetch, run_verifier  # beside this file

#: The class of `conftest.py`.
Log = Any


def test_the_tiles_of_a_tree_are_those_of_the_specification() -> None:
    """The example of tlog-tiles: 70,000 entries; and 256, of which the level above has one hash."""
    found: dict[str, list[int]] = {}
    for tile in tiles_of(70_000):
        found.setdefault(str(tile.level), []).append(tile.width)
    assert found["0"] == found["None"] == [256] * 273 + [112]
    assert found["1"] == [256, 17]
    assert found["2"] == [1]
    assert [(tile.level, tile.width) for tile in tiles_of(256)] == [(None, 256), (0, 256), (1, 1)]
    assert list(tiles_of(0)) == []


def test_paths_go_both_ways_and_nothing_else_is_a_path() -> None:
    """1234067 is `x001/x234/067`; leading zeroes, wrong groups and tiles to come lead nowhere."""
    assert Tile(level=1, number=1_234_067, width=256).path() == ("tile", "1", "x001", "x234", "067")
    size = 1_300 * 256 + 7
    for tile in tiles_of(size):
        assert find(tile.path(), size) == tile
    assert find(("tile", "entries", "x001", "300.p", "5"), size) == Tile(level=None, number=1_300, width=5)
    for path in (
        "tile/0/x001/300.p/8",
        "tile/0/x001/301",
        "tile/00/000",
        "tile/0/x000/000",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/0",
        "tile/0/000/000",
        "tile/x/000",
        "tile/0",
        "entries/000",
        "tile/64/000",
    ):
        assert find(tuple(path.split("/")), size) is None, path


def test_what_grew_since_is_added_and_nothing_else() -> None:
    """The tiles that a growing log adds are those that it did not have."""
    for since, size in ((0, 5), (5, 9), (250, 256), (256, 257), (255, 600), (600, 600)):
        assert set(tiles_of(size, since)) == set(tiles_of(size)) - set(tiles_of(since))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_what_is_fetched_verifies_without_the_gateway(log: Log, tmp_path: Path, count: int) -> None:
    """Whatever the size of the last bundle; the tiles in `log/` are the same bytes."""
    log.add(*(f"L{number}" for number in range(count)))
    seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    fetched = fetch(LogShelf(log.store, log.signer), tmp_path / "fetched")
    status, said = run_verifier(fetched)
    assert (status, f"{count} entries" in said) == (0, True), said
    outside = {
        path.relative_to(log.folder): path.read_bytes()
        for path in (log.folder / "tile").rglob("*/*")
        if path.is_file()
    }
    assert outside == {path: (fetched / path).read_bytes() for path in outside}
    assert len(outside) == len(list(tiles_of(count)))


def test_the_log_outside_grows_with_each_checkpoint(log: Log, tmp_path: Path) -> None:
    """A tile that became full replaces its partial ones; one that was lost is written again with the rest."""
    for count in (3, 250, 20, 400):
        log.add(*(f"L{number}" for number in range(count)))
        seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    shelf = LogShelf(log.store, log.signer)
    for name in ("verify_log.py", "audit.pub"):
        document = shelf.document((name,), None)
        assert document is not None
        (log.folder / name).write_bytes(document.data)
    assert run_verifier(log.folder)[0] == 0
    assert not (log.folder / "tile" / "0" / "000.p").exists()
    kept = tmp_path / "kept"
    (log.folder / "tile").rename(kept)
    log.add("after")
    seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    assert run_verifier(log.folder)[0] == 0


def flip(path: Path) -> None:
    """Alter the last byte."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    "alter",
    [
        lambda folder: flip(folder / "tile" / "entries" / "000.p" / "9"),
        lambda folder: flip(folder / "tile" / "0" / "000.p" / "9"),
        lambda folder: (folder / "tile" / "0" / "000.p" / "9").unlink(),
        lambda folder: (folder / "checkpoint").write_text(
            (folder / "checkpoint").read_text().replace("\n9\n", "\n8\n")
        ),
        lambda folder: (folder / "tile" / "entries" / "000.p" / "9").write_bytes(b""),
    ],
)
def test_an_altered_log_is_told(log: Log, tmp_path: Path, alter: Callable[[Path], None]) -> None:
    """An entry, a tile, a missing file, another size, a cut bundle: each ends with 1 and a sentence."""
    log.add(*(f"L{number}" for number in range(9)))
    seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    fetched = fetch(LogShelf(log.store, log.signer), tmp_path / "fetched")
    alter(fetched)
    status, said = run_verifier(fetched)
    assert (status, said.startswith("NOT WHOLE: ")) == (1, True)


def test_a_log_that_was_rewritten_does_not_continue_what_was_kept(log: Log, tmp_path: Path) -> None:
    """Who owns the signing key can sign another history; a checkpoint that was kept shows it."""
    log.add("one", "two")
    kept = tmp_path / "kept"
    kept.write_text(seal_log(log.store, log.sequencer, log.signer, log.folder, log.now))
    log.add("three")
    seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    shelf = LogShelf(log.store, log.signer)
    assert run_verifier(fetch(shelf, tmp_path / "true"), "--kept", kept)[0] == 0

    other = [leaf_hash(b"{}"), *([leaf_hash(b"{}")] * 2)]
    forged = fetch(shelf, tmp_path / "forged")
    (forged / "tile" / "entries" / "000.p" / "3").write_bytes(b"\x00\x02{}" * 3)
    (forged / "tile" / "0" / "000.p" / "3").write_bytes(b"".join(other))
    write_checkpoint(forged, log.signer.sign(3, root_of(other)))
    assert run_verifier(forged)[0] == 0
    status, said = run_verifier(forged, "--kept", kept)
    assert (status, "does not continue" in said) == (1, True)


def test_a_partial_tile_stays_readable_when_it_grew(log: Log) -> None:
    """Who fetched the checkpoint of before still gets the tile of before."""
    log.add("one", "two", "three")
    seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    shelf = LogShelf(log.store, log.signer)
    before = shelf.document(("tile", "0", "000.p", "3"), None)
    assert before is not None
    log.add("four")
    seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    assert shelf.document(("tile", "0", "000.p", "3"), None) == before
    with log.store.read() as conn:
        assert render(conn, Tile(level=0, number=0, width=3)) == before.data
    assert [shown.name for shown in shelf.listing(("tile", "0", "000.p"), None) or []] == ["4"]


def test_the_verifier_knows_the_signatures_of_rfc_8032() -> None:
    """Test 3 of section 7.1, and the same with another message, key or signature."""
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert ed25519_verifies(public, b"\xaf\x82", signature)
    assert not ed25519_verifies(public, b"\xaf\x83", signature)
    assert not ed25519_verifies(public, b"\xaf\x82", signature[:-1] + b"\x0b")
    assert not ed25519_verifies(public, b"\xaf\x82", signature[:-1])


def test_ssh_keygen_verifies_what_the_log_key_signed(log: Log, tmp_path: Path) -> None:
    """With the line that lies beside it; not for another message, and not under another namespace."""
    message = b"verklaring\n"
    (tmp_path / "signers").write_text(allowed_signers(log.signer.public_key))
    (tmp_path / "message.sig").write_bytes(log.signer.sign_message(message))

    def verify(said: bytes, namespace: str = NAMESPACE) -> int:
        command = ["ssh-keygen", "-Y", "verify", "-f", "signers", "-I", PRINCIPAL, "-n", namespace]
        return subprocess.run(
            [*command, "-s", "message.sig"], cwd=tmp_path, input=said, capture_output=True, check=False
        ).returncode

    assert verify(message) == 0
    assert verify(message + b" ") != 0
    assert verify(message, "retention@gateway") != 0
