"""A key is there until it is destroyed; then it is gone for everyone who holds the keyring."""

from __future__ import annotations

import stat
import threading
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from gateway.errors import KeyMissing, KeyringError
from gateway.vault.datakey import DataKey, unwrap, wrap
from gateway.vault.derive import length_prefixed
from gateway.vault.key_ids import day_of, index_id, month_of, until_id
from gateway.vault.keyring import Keyring

DAY = "until-2027-05-22"


def key_file(keys_dir: Path, key_id: str = DAY) -> Path:
    """Where a key lies."""
    return keys_dir / "ring" / f"{key_id}.key"


def test_ids_name_the_day_and_the_month() -> None:
    """The id says when what it protects must be gone."""
    assert until_id(date(2027, 5, 22)) == DAY
    assert day_of(DAY) == date(2027, 5, 22)
    assert day_of("index-2026-11") is None
    assert index_id("2026-11") == "index-2026-11"
    assert month_of("index-2026-11") == "2026-11"
    assert month_of(DAY) is None


def test_a_new_keyring_is_private_and_left_out_of_backups(keyring: Keyring, keys_dir: Path) -> None:
    """Only its owner reads a key, and backup programs see the tag."""
    keyring.ensure([DAY])
    for path in (keys_dir / "root.key", key_file(keys_dir)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (keys_dir, keys_dir / "ring"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    tag = (keys_dir / "CACHEDIR.TAG").read_bytes()
    assert tag.startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")


def test_create_leaves_an_existing_root_key_alone(keyring: Keyring, keys_dir: Path) -> None:
    """A second `init` can't make the vault unreadable."""
    root = (keys_dir / "root.key").read_bytes()
    with pytest.raises(KeyringError, match="exists already"):
        Keyring.create(keys_dir)
    assert (keys_dir / "root.key").read_bytes() == root
    assert keyring.ids() == []


def test_ensure_makes_what_is_missing_and_changes_nothing_else(keyring: Keyring) -> None:
    """A key once made stays the same key."""
    assert keyring.ensure([DAY, "index-2026-11", DAY]) == [DAY, "index-2026-11"]
    key = keyring.get(DAY)
    assert keyring.ensure([DAY, "until-2027-05-23"]) == ["until-2027-05-23"]
    assert keyring.get(DAY) == key
    assert len({keyring.get(key_id) for key_id in keyring.ids()}) == 3
    assert keyring.verify() == []


def test_threads_that_ensure_at_once_get_one_key(keyring: Keyring, keys_dir: Path) -> None:
    """No one wraps under a key that another maker then replaces."""
    rings = [keyring, *(Keyring.open(keys_dir) for _ in range(5))]
    got: list[bytes] = []
    start = threading.Barrier(len(rings))

    def work(ring: Keyring) -> None:
        start.wait()
        for day in range(1, 20):
            ring.ensure([f"until-2027-01-{day:02}"])
            got.append(ring.get(f"until-2027-01-{day:02}"))

    threads = [threading.Thread(target=work, args=(ring,)) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 19 * len(rings)
    assert len(set(got)) == 19


def test_a_second_instance_reads_the_same_keys(keyring: Keyring, keys_dir: Path) -> None:
    """Keys are in their files, not in a process."""
    keyring.ensure([DAY])
    assert Keyring.open(keys_dir).get(DAY) == keyring.get(DAY)


def test_a_destroyed_key_is_gone_in_every_open_instance(keyring: Keyring, keys_dir: Path) -> None:
    """Also where it was used just before: a copy in memory is not served."""
    keyring.ensure([DAY])
    other = Keyring.open(keys_dir)
    assert other.get(DAY)
    assert keyring.get(DAY)
    assert keyring.destroy(DAY) is True
    for ring in (keyring, other, Keyring.open(keys_dir)):
        assert not ring.has(DAY)
        assert ring.ids() == []
        with pytest.raises(KeyMissing):
            ring.get(DAY)
    assert not key_file(keys_dir).exists()
    assert keyring.destroy(DAY) is False


def test_a_key_that_was_replaced_is_not_served_from_memory(keyring: Keyring, keys_dir: Path) -> None:
    """Destroyed and made again elsewhere between two uses: the old key is nowhere."""
    keyring.ensure([DAY])
    old = keyring.get(DAY)
    other = Keyring.open(keys_dir)
    other.destroy(DAY)
    other.ensure([DAY])
    assert keyring.get(DAY) == other.get(DAY) != old


def test_what_was_wrapped_under_a_destroyed_key_is_lost_for_good(keyring: Keyring, keys_dir: Path) -> None:
    """Destroying the key is the destruction; a new key of the same name brings nothing back."""
    keyring.ensure([DAY])
    wrapped = wrap(keyring, DAY, DataKey.generate(), partner="eneco", object_id="L1")
    keyring.destroy(DAY)
    with pytest.raises(KeyMissing):
        unwrap(keyring, wrapped, partner="eneco", object_id="L1")
    keyring.ensure([DAY])
    with pytest.raises(Exception, match="altered, or belongs"):
        unwrap(keyring, wrapped, partner="eneco", object_id="L1")


def test_destroy_takes_what_an_interrupted_ensure_left(keyring: Keyring, keys_dir: Path) -> None:
    """A half-made key file of that day is no copy that survives."""
    aside = keys_dir / "ring" / f".{DAY}.key.new"
    aside.write_bytes(b"half")
    assert keyring.ids() == []
    keyring.destroy(DAY)
    assert not aside.exists()


def test_a_destruction_that_fails_is_said(keyring: Keyring, keys_dir: Path) -> None:
    """No one is told a key is gone while something lies in its place."""
    key_file(keys_dir).mkdir()
    with pytest.raises(KeyringError, match="can't be destroyed"):
        keyring.destroy(DAY)


def test_a_damaged_key_file_is_named(keyring: Keyring, keys_dir: Path) -> None:
    """One bad file is reported and stops none of the others."""
    keyring.ensure([DAY, "index-2026-11"])
    path = key_file(keys_dir)
    raw = bytearray(path.read_bytes())
    raw[5] ^= 1
    path.write_bytes(raw)
    fresh = Keyring.open(keys_dir)
    with pytest.raises(KeyringError, match=f"{DAY} doesn't open"):
        fresh.get(DAY)
    assert fresh.get("index-2026-11")
    assert [DAY in problem for problem in fresh.verify()] == [True]


@pytest.mark.parametrize("contents", [b"", b"short", bytes(40)])
def test_a_cut_key_file_is_a_keyring_error(keyring: Keyring, keys_dir: Path, contents: bytes) -> None:
    """Whatever lies in the file, the error is ours and says what to do."""
    keyring.ensure([DAY])
    key_file(keys_dir).write_bytes(contents)
    with pytest.raises(KeyringError, match="damaged"):
        Keyring.open(keys_dir).get(DAY)


def test_a_key_under_another_name_is_refused(keyring: Keyring, keys_dir: Path) -> None:
    """A key can't be kept alive by renaming its file to a later day."""
    keyring.ensure([DAY])
    key_file(keys_dir).rename(key_file(keys_dir, "until-2037-05-22"))
    with pytest.raises(KeyringError, match="another key"):
        keyring.get("until-2037-05-22")


def test_the_key_file_has_the_documented_form(keyring: Keyring, keys_dir: Path) -> None:
    """AES-256-KWP under the root key of lp(key id) || key: readable without this software."""
    keyring.ensure([DAY])
    root = (keys_dir / "root.key").read_bytes()
    inner = b"\x00\x10" + DAY.encode() + keyring.get(DAY)
    assert inner == length_prefixed(DAY) + keyring.get(DAY)
    assert key_file(keys_dir).read_bytes() == aes_key_wrap_with_padding(root, inner)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_root_key_that_others_can_read_is_refused(keyring: Keyring, keys_dir: Path, mode: int) -> None:
    """The error names the command that mends it."""
    (keys_dir / "root.key").chmod(mode)
    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.open(keys_dir)


def test_a_missing_or_short_root_key_is_refused(keyring: Keyring, keys_dir: Path) -> None:
    """Nothing is made in its place: that would lose the vault in silence."""
    path = keys_dir / "root.key"
    path.write_bytes(bytes(31))
    with pytest.raises(KeyringError, match="31 bytes"):
        Keyring.open(keys_dir)
    path.unlink()
    with pytest.raises(KeyringError, match="gateway init"):
        Keyring.open(keys_dir)


def test_a_missing_ring_is_refused(keyring: Keyring, keys_dir: Path) -> None:
    """A root key alone is no keyring."""
    (keys_dir / "ring").rmdir()
    with pytest.raises(KeyringError, match="ring is missing"):
        Keyring.open(keys_dir)


@pytest.mark.parametrize(
    "key_id", ["", "until-", "../root", "until-2027-05-22/x", "until-\u0662\u066027-05-22", "other-1"]
)
def test_what_is_no_key_id_reaches_no_file(keyring: Keyring, key_id: str) -> None:
    """Ids come from the database too: none of them leads out of the ring."""
    for use in (keyring.get, keyring.has, keyring.destroy):
        with pytest.raises(KeyringError, match="not the id"):
            use(key_id)
    with pytest.raises(KeyringError, match="not the id"):
        keyring.ensure([key_id])


def test_a_strange_file_in_the_ring_is_no_key(keyring: Keyring, keys_dir: Path) -> None:
    """An editor's copy beside a key stops nothing."""
    keyring.ensure([DAY])
    (keys_dir / "ring" / "notes.key").write_text("x")
    (keys_dir / "ring" / f"{DAY}.key~").write_text("x")
    assert keyring.ids() == [DAY]
