"""The root key: its providers, and its replacement, which loses no key and can be cut at any place."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

from gateway.errors import KeyringError
from gateway.vault import root
from gateway.vault.durable import create_file
from gateway.vault.keyring import Keyring
from gateway.vault.root import Provider

DAYS = [f"until-2027-05-{day:02}" for day in range(1, 13)]
PHRASE = "vier paarden in een natte wei"


def silent(*_: object) -> None:
    """Nobody who wants to know how far it is."""


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that systemd would name; empty."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def keys_of(keyring: Keyring) -> dict[str, bytes]:
    """Every key, opened anew."""
    return {key_id: keyring.get(key_id) for key_id in keyring.ids()}


def typing(*words: str) -> root.Ask:
    """A person who types these, one after another."""
    left: Iterator[str] = iter(words)
    return lambda _: next(left)


def test_another_root_key_opens_the_same_keys(keyring: Keyring, keys_dir: Path) -> None:
    """No key changes; the old root key is gone and opens nothing; who had the ring open goes on."""
    keyring.ensure(DAYS)
    before, old = keys_of(keyring), (keys_dir / "root.key").read_bytes()
    daemon, maker = Keyring.open(keys_dir), Keyring.open(keys_dir)
    told: list[int] = []
    assert keyring.rotate_root(Provider.FILE, told.append, silent) == len(DAYS)
    assert told == [len(DAYS)]
    assert (keys_dir / "root.key").read_bytes() != old
    assert not list(keys_dir.glob("next-*"))
    for each in (keyring, daemon, Keyring.open(keys_dir)):
        assert keys_of(each) == before
    for path in (keys_dir / "ring").glob("*.key"):
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever the library calls it
            aes_key_unwrap_with_padding(old, path.read_bytes())
    # a key that a process makes which had the old root key is one that all can open
    maker.ensure(["until-2027-06-01"])
    assert Keyring.open(keys_dir).verify() == []


KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.vault.durable import create_file
from gateway.vault.keyring import Keyring
from gateway.vault.root import Provider

def progress(done, total):
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)

Keyring.open(Path(sys.argv[1])).rotate_root(Provider.FILE, lambda count: None, progress)
"""


def test_a_killed_rotation_goes_on(keyring: Keyring, keys_dir: Path) -> None:
    """Killed halfway, both root keys are in force and every key opens; run again, it does the rest only."""
    keyring.ensure(DAYS)
    before = keys_of(keyring)
    done = subprocess.run([sys.executable, "-c", KILLED, str(keys_dir)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (keys_dir / "root.key").exists()
    assert (keys_dir / "next-root.key").exists()
    assert keys_of(keyring) == before
    keyring.ensure(["until-2027-06-01"])  # under the new one, at once
    resumed = Keyring.open(keys_dir)
    assert resumed.verify() == []
    assert resumed.rotate_root(Provider.FILE, silent, silent) == len(DAYS) - 5
    assert not (keys_dir / "next-root.key").exists()
    after = keys_of(Keyring.open(keys_dir))
    assert {key_id: after[key_id] for key_id in DAYS} == before


def test_a_rotation_cut_after_the_old_key_went(keyring: Keyring, keys_dir: Path) -> None:
    """Between the old root key's end and the new one's name: it opens as it is, and is finished later."""
    keyring.ensure(DAYS)
    before = keys_of(keyring)
    keyring.rotate_root(Provider.FILE, silent, silent)
    (keys_dir / "root.key").rename(keys_dir / "next-root.key")
    cut = Keyring.open(keys_dir)
    assert keys_of(cut) == before
    assert cut.rotate_root(Provider.FILE, silent, silent) == 0
    assert keys_of(Keyring.open(keys_dir)) == before
    assert (keys_dir / "root.key").exists()


def test_a_key_that_does_not_open_keeps_the_old_root(keyring: Keyring, keys_dir: Path) -> None:
    """What can't be wrapped again must not lose the only root key that may open it."""
    keyring.ensure(DAYS)
    old = (keys_dir / "root.key").read_bytes()
    (keys_dir / "ring" / f"{DAYS[6]}.key").write_bytes(bytes(40))
    with pytest.raises(KeyringError, match=DAYS[6]):
        keyring.rotate_root(Provider.FILE, silent, silent)
    assert (keys_dir / "root.key").read_bytes() == old
    assert Keyring.open(keys_dir).get(DAYS[0])


def test_a_passphrase_is_typed_and_nowhere_kept(keyring: Keyring, keys_dir: Path) -> None:
    """Argon2id with the parameters beside it, and nothing in keys/ that opens the ring without the passphrase."""
    keyring.ensure(DAYS)
    before = keys_of(keyring)
    mover = Keyring.open(keys_dir, ask=typing(PHRASE, PHRASE, PHRASE, PHRASE))
    mover.rotate_root(Provider.PASSPHRASE, silent, silent)
    assert not (keys_dir / "root.key").exists()
    assert (keys_dir / "root.argon2id").stat().st_mode & 0o777 == 0o600
    known = json.loads((keys_dir / "root.argon2id").read_bytes())
    assert (known["iterations"], known["lanes"], known["memory_kib"]) == (3, 4, 65536)
    assert not any(PHRASE.encode() in path.read_bytes() for path in keys_dir.rglob("*") if path.is_file())
    opened = Keyring.open(keys_dir, Provider.PASSPHRASE, ask=typing(PHRASE))
    assert keys_of(opened) == before
    with pytest.raises(KeyringError, match="another passphrase"):
        Keyring.open(keys_dir, ask=typing(PHRASE + "."))
    # as documented: readable without this software
    salt = b64decode(known["salt"])
    derived = Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=65536).derive(PHRASE.encode())
    wrapped = (keys_dir / "ring" / f"{DAYS[0]}.key").read_bytes()
    assert aes_key_unwrap_with_padding(derived, wrapped).endswith(before[DAYS[0]])


@pytest.mark.parametrize(
    ("typed", "reason"), [(("te kort",) * 2, "at least 15"), ((PHRASE, PHRASE + "x"), "differ")]
)
def test_a_passphrase_that_will_not_do(
    keyring: Keyring, keys_dir: Path, typed: tuple[str, ...], reason: str
) -> None:
    """Nothing is changed by one that is short or typed wrongly."""
    with pytest.raises(KeyringError, match=reason):
        Keyring.open(keys_dir, ask=typing(*typed)).rotate_root(Provider.PASSPHRASE, silent, silent)
    assert sorted(path.name for path in keys_dir.glob("*root*")) == ["root.key"]


def test_a_passphrase_as_a_credential(
    keyring: Keyring, keys_dir: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no terminal gets it in a file; another one takes its place by way of `-next`."""
    monkeypatch.setattr(
        root, "_COST", {"iterations": 1, "lanes": 1, "memory_kib": 64}
    )  # the form is the same
    keyring.ensure(DAYS)
    before = keys_of(keyring)
    given = credentials / "gateway-passphrase"
    given.write_text(f"{PHRASE}\n")
    keyring.rotate_root(Provider.PASSPHRASE, silent, silent)
    following = credentials / "gateway-passphrase-next"
    following.write_text("een heel ander verhaal")
    keyring.rotate_root(Provider.PASSPHRASE, silent, silent)
    assert keys_of(Keyring.open(keys_dir)) == before
    following.rename(given)
    assert keys_of(Keyring.open(keys_dir)) == before
    given.write_text(PHRASE)
    with pytest.raises(KeyringError, match="another passphrase"):
        Keyring.open(keys_dir)


def test_nobody_to_ask(keyring: Keyring, keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without terminal and credential the error says what to hand over."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(KeyringError, match="credential gateway-passphrase"):
        keyring.rotate_root(Provider.PASSPHRASE, silent, silent)


def test_a_root_key_as_a_credential(keyring: Keyring, keys_dir: Path, credentials: Path) -> None:
    """Nothing in keys/ opens the ring then; the next credential must be another one."""
    keyring.ensure(DAYS)
    before = keys_of(keyring)
    with pytest.raises(KeyringError, match="gateway-root-next is not there"):
        keyring.rotate_root(Provider.CREDENTIAL, silent, silent)
    given = credentials / "gateway-root"
    given.write_bytes(bytes(range(31)))
    with pytest.raises(KeyringError, match="31 bytes"):
        keyring.rotate_root(Provider.CREDENTIAL, silent, silent)
    given.write_bytes(bytes(range(32)))
    keyring.rotate_root(Provider.CREDENTIAL, silent, silent)
    assert [path.name for path in keys_dir.glob("*root*")] == ["root.credential"]
    assert keys_of(Keyring.open(keys_dir, Provider.CREDENTIAL)) == before
    with pytest.raises(KeyringError, match="nothing was changed"):
        keyring.rotate_root(Provider.CREDENTIAL, silent, silent)
    assert [path.name for path in keys_dir.glob("*root*")] == ["root.credential"]
    (credentials / "gateway-root-next").write_bytes(bytes(range(1, 33)))
    keyring.rotate_root(Provider.CREDENTIAL, silent, silent)
    (credentials / "gateway-root-next").rename(given)
    assert keys_of(Keyring.open(keys_dir)) == before
    given.unlink()
    with pytest.raises(KeyringError, match="LoadCredential"):
        Keyring.open(keys_dir)


def test_another_provider_than_configured_is_refused(keyring: Keyring, keys_dir: Path) -> None:
    """A root key that lies in the open though a passphrase was asked for is not used in silence."""
    with pytest.raises(KeyringError, match="rotate-root"):
        Keyring.open(keys_dir, Provider.PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"salt": "x", "commitment": "x"}', b"[1]", b"\xff"])
def test_a_damaged_root_file_is_named(keyring: Keyring, keys_dir: Path, content: bytes) -> None:
    """Whatever lies in it, the error is ours."""
    (keys_dir / "root.key").unlink()
    create_file(keys_dir / "root.argon2id", content)
    with pytest.raises(KeyringError, match="damaged"):
        Keyring.open(keys_dir, ask=typing(PHRASE))
