"""Registered copies of the ring: they have a key before it is used, and lose it when it is destroyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import KeyMissing, KeyringError
from gateway.vault.keyring import Keyring
from gateway.vault.root import Provider

DAY, LATER, LAST = "until-2027-05-22", "until-2027-05-23", "until-2027-05-24"


@pytest.fixture
def copy(keyring: Keyring, tmp_path: Path) -> Path:
    """A registered copy of a ring with one key."""
    keyring.ensure([DAY])
    assert keyring.add_copy(tmp_path / "safe", lambda _: None) == "copy-1"
    return tmp_path / "safe"


def contents(folder: Path) -> dict[str, bytes]:
    """The key files of a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*.key")}


def test_a_copy_has_every_key_as_the_ring_has_it(keyring: Keyring, keys_dir: Path, copy: Path) -> None:
    """From the first on, without the root key, for its owner only and left out of backups."""
    keyring.ensure([DAY, LATER])
    assert contents(copy) == contents(keys_dir / "ring")
    assert len(contents(copy)) == 2
    assert (copy / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    assert copy.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in copy.glob("*.key")} == {0o600}
    assert keyring.verify_copies() == []


def test_a_key_that_a_copy_lacks_is_not_relied_on(keyring: Keyring, copy: Path) -> None:
    """While the copy is away, what it had before is used, what is new is not; back, it gets all."""
    copy.rename(copy.with_name("away"))
    copy.mkdir()  # where a disk is not mounted there is an empty folder
    keyring.ensure([DAY, LATER])
    assert not list(copy.iterdir())
    assert keyring.has(DAY)
    assert not keyring.has(LATER)
    assert keyring.verify_copies() == [f"copy-1 can't be reached at {copy}"]
    copy.rmdir()
    copy.with_name("away").rename(copy)
    assert keyring.verify_copies() == [f"copy-1 has no {LATER}"]
    assert keyring.ensure([DAY, LATER]) == []
    assert keyring.has(LATER)
    assert keyring.verify_copies() == []


def test_a_destruction_reaches_every_copy(keyring: Keyring, copy: Path, tmp_path: Path) -> None:
    """Seen to be gone in each; a copy that is away is named, and loses the key when it is back."""
    keyring.ensure([LATER])
    second = tmp_path / "second"
    assert keyring.add_copy(second, lambda _: None) == "copy-2"
    keyring.destroy(DAY)
    assert keyring.unconfirmed(DAY) == []
    assert f"{DAY}.key" not in contents(copy) | contents(second)
    second.rename(tmp_path / "away")
    keyring.destroy(LATER)
    assert keyring.unconfirmed(LATER) == ["copy-2"]
    assert keyring.ids_in_copies() == set()
    (tmp_path / "away").rename(second)
    assert keyring.ids_in_copies() == {LATER}
    assert keyring.verify_copies() == [f"copy-2 still has {LATER}, which is destroyed here"]
    keyring.destroy(LATER)
    assert keyring.unconfirmed(LATER) == []
    with pytest.raises(KeyMissing):
        keyring.get(LATER)


def test_a_key_that_only_the_copy_has_is_not_made_anew(keyring: Keyring, keys_dir: Path, copy: Path) -> None:
    """Lost in the ring, or made by a call that was cut: a new one in its place would lose what it protects."""
    key = keyring.get(DAY)
    (keys_dir / "ring" / f"{DAY}.key").unlink()
    keyring.ensure([DAY])
    assert keyring.get(DAY) == key


def test_another_key_in_a_copy_is_seen(keyring: Keyring, copy: Path) -> None:
    """A copy that would open nothing is no copy."""
    (copy / f"{DAY}.key").write_bytes(bytes(56))
    assert keyring.verify_copies() == [f"copy-1 has another {DAY}"]


def test_a_new_root_key_wraps_the_copies_too(keyring: Keyring, keys_dir: Path, copy: Path) -> None:
    """Else a copy is dead; a copy that is away keeps the old root key alive."""
    keyring.rotate_root(Provider.FILE, lambda _: None, lambda _done, _total: None)
    assert contents(copy) == contents(keys_dir / "ring")
    before = (keys_dir / "root.key").read_bytes()
    copy.rename(copy.with_name("away"))
    with pytest.raises(KeyringError, match="copy-1 can't be reached"):
        keyring.rotate_root(Provider.FILE, lambda _: None, lambda _done, _total: None)
    assert (keys_dir / "root.key").read_bytes() == before


def test_what_can_be_no_copy(keyring: Keyring, keys_dir: Path, copy: Path, tmp_path: Path) -> None:
    """Registered already, in use, or the keyring itself."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter").touch()
    for folder, reason in (
        (copy, "already"),
        (tmp_path / "used", "not empty"),
        (keys_dir / "ring", "same folder"),
        (tmp_path / "used" / "letter" / "x", "can't be a copy"),
    ):
        with pytest.raises(KeyringError, match=reason):
            keyring.add_copy(folder, lambda _: None)
    assert list(keyring.copies()) == ["copy-1"]


def test_a_damaged_list_of_copies_stops_the_destruction(keyring: Keyring, keys_dir: Path, copy: Path) -> None:
    """Nobody is told that a key is gone from copies that nobody knows."""
    (keys_dir / "copies").write_text("copy-1 safe\n")
    with pytest.raises(KeyringError, match="damaged"):
        keyring.destroy(DAY)
