"""The root key in a token: nothing leaves it, and what its old master key sealed is dead wherever it lies (SoftHSM2)."""

from __future__ import annotations

import errno
import io
import json
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType

from gateway.errors import KeyringError
from gateway.vault.durable import create_file
from gateway.vault.keyring import Keyring
from gateway.vault.pkcs11 import Token
from gateway.vault.root import Provider

DAYS = [f"until-2027-05-{day:02}" for day in range(1, 6)]
PIN = "493716"


def silent(*_: object) -> None:
    """Nobody who wants to know."""


def masters(token: Token) -> list[str]:
    """The ids of the keys in a token."""
    found = pkcs11.lib(str(token.library)).get_token(token_label=token.label)
    with found.open(user_pin=PIN) as session:
        return [each[Attribute.ID].hex() for each in session.get_objects()]


def keys_of(keyring: Keyring) -> dict[str, bytes]:
    """Every key, opened."""
    return {key_id: keyring.get(key_id) for key_id in keyring.ids()}


@pytest.fixture
def credentials(token: Token, tmp_path: Path) -> Path:
    """The folder that systemd would name."""
    return tmp_path / "credentials"


@pytest.fixture
def sealed(keyring: Keyring, keys_dir: Path, token: Token) -> Keyring:
    """A keyring with keys, its root key in the token."""
    keyring.ensure(DAYS)
    ring = Keyring.open(keys_dir, token=token)
    ring.rotate_root(Provider.PKCS11, silent, silent)
    return ring


def dead(keys_dir: Path, token: Token) -> None:
    """A copy of the keyring opens nothing, although the token is there, with its PIN."""
    with pytest.raises(KeyringError, match="holds no master key"):
        Keyring.open(keys_dir, token=token)


def test_the_root_key_moves_into_a_token_and_out_again(sealed: Keyring, keys_dir: Path, token: Token) -> None:
    """No key changes; nothing in keys/ opens the ring without the token; out of it, the master key is destroyed."""
    before = keys_of(sealed)
    assert [path.name for path in keys_dir.glob("*root*")] == ["root.pkcs11"]
    assert (keys_dir / "root.pkcs11").stat().st_mode & 0o777 == 0o600
    assert masters(token) == [sealed.master()]
    assert keys_of(Keyring.open(keys_dir, Provider.PKCS11, token=token)) == before
    assert sealed.verify() == []
    with pytest.raises(KeyringError, match="names none"):
        Keyring.open(keys_dir)
    old = sealed.master()
    sealed.rotate_root(Provider.PKCS11, silent, silent)
    assert masters(token) == [sealed.master()] != [old]
    sealed.rotate_root(Provider.FILE, silent, silent)
    assert masters(token) == []
    assert keys_of(Keyring.open(keys_dir, Provider.FILE)) == before


def test_the_master_key_can_not_leave_the_token(sealed: Keyring, keys_dir: Path, token: Token) -> None:
    """Made in it, sensitive, never extractable; one that is not so is refused, whatever it opens."""
    found = pkcs11.lib(str(token.library)).get_token(token_label=token.label)
    with found.open(rw=True, user_pin=PIN) as session:
        (master,) = session.get_objects()
        wanted = {"LOCAL": True, "ALWAYS_SENSITIVE": True, "NEVER_EXTRACTABLE": True, "MODIFIABLE": False}
        assert {name: master[Attribute[name]] for name in wanted} == wanted
        with pytest.raises(pkcs11.AttributeSensitive):
            master[Attribute.VALUE]
        weak = session.generate_key(
            KeyType.AES, 256, id=master[Attribute.ID], store=True, template={Attribute.EXTRACTABLE: True}
        )
        master.destroy()
        assert weak[Attribute.EXTRACTABLE]
    with pytest.raises(KeyringError, match=r"refused for its .*EXTRACTABLE"):
        Keyring.open(keys_dir, token=token)
    assert any("refused" in problem for problem in sealed.verify())


def test_an_old_copy_opens_nothing_after_a_destruction(
    sealed: Keyring, keys_dir: Path, token: Token, tmp_path: Path
) -> None:
    """Promise 2 with an HSM: not the key that was destroyed, and no other; the live keyring goes on."""
    daemon = Keyring.open(keys_dir, token=token)
    before = keys_of(daemon)
    old = Path(shutil.copytree(keys_dir, tmp_path / "backup"))
    assert keys_of(Keyring.open(old, token=token)) == before
    assert not sealed.replace_master(silent)  # nothing was destroyed
    sealed.destroy(DAYS[0])
    assert sealed.must_replace_master()
    assert keys_of(Keyring.open(old, token=token)) == before  # not yet
    told: list[object] = []
    assert sealed.replace_master(lambda *what: told.append(what))
    assert told == [(len(DAYS) - 1, sealed.master())]
    dead(old, token)
    # nor with the files of today beside it, in whatever mixture
    shutil.copy(keys_dir / "root.pkcs11", old / "root.pkcs11")
    mixed = Keyring.open(old, token=token)
    assert len(mixed.verify()) == len(DAYS)
    assert masters(token) == [sealed.master()]
    assert not sealed.must_replace_master()
    del before[DAYS[0]]
    for ring in (sealed, daemon, Keyring.open(keys_dir, token=token)):
        assert keys_of(ring) == before
        assert ring.verify() == []
    daemon.ensure(["until-2027-06-01"])
    assert Keyring.open(keys_dir, token=token).verify() == []


def test_other_providers_have_no_master_key(keyring: Keyring, keys_dir: Path) -> None:
    """No token, no master key, no trace."""
    keyring.ensure(DAYS)
    before = (keys_dir / "root.key").read_bytes()
    keyring.destroy(DAYS[0])
    assert not keyring.replace_master(silent)
    assert (keys_dir / "root.key").read_bytes() == before
    assert (keyring.master(), keyring.must_replace_master()) == (None, False)


DRIVER = """
import os, signal, sys
import pkcs11._pkcs11
from pathlib import Path
from gateway.vault import pkcs11 as hsm
from gateway.vault.keyring import Keyring

keys_dir, library, label, key_id = sys.argv[1:]
token = hsm.Token(library=Path(library), label=label)

def killed_before(number):
    # in a child: the parent has never opened the token
    ring, left = Keyring.open(Path(keys_dir), token=token), number
    def counted(name, call):
        def step(*args, **named):
            nonlocal left
            left -= 1
            if left < 0:
                print(name, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)
        return step
    for place, names in ((os, ("fsync", "replace", "rename", "unlink")), (hsm, ("seal", "destroy"))):
        for name in names:
            setattr(place, name, counted(name, getattr(place, name)))
    ring.destroy(key_id)
    ring.replace_master(lambda *_: None)
    print("nowhere", flush=True)
    os._exit(0)

for line in sys.stdin:
    if (child := os.fork()) == 0:
        killed_before(int(line))
    os.waitpid(child, 0)
"""


def test_killed_at_every_step(sealed: Keyring, keys_dir: Path, token: Token, tmp_path: Path) -> None:
    """Whatever was done, every key that stays opens, also by the copy; and what is run again completes it."""
    copy = tmp_path / "safe"
    sealed.add_copy(copy, silent)
    first, second, *rest = DAYS[:3]
    for key_id in DAYS[3:]:
        sealed.destroy(key_id)
    sealed.replace_master(silent)
    kept = {key_id: sealed.get(key_id) for key_id in rest}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, keys_dir, token.library, token.label, first],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    where: list[str] = []
    while "nowhere" not in where:
        sealed.ensure([first, second])
        old, master = Path(shutil.copytree(keys_dir, tmp_path / f"old-{len(where)}")), sealed.master()
        print(len(where), file=driver.stdin, flush=True)
        where.append(driver.stdout.readline().strip())
        ring = Keyring.open(keys_dir, token=token)
        assert {key_id: ring.get(key_id) for key_id in rest} == kept, where
        # what is left to do is known
        assert first in ring.ids() or ring.must_replace_master() or ring.master() != master, where
        saved = tmp_path / f"saved-{len(where)}"
        shutil.copytree(copy, saved / "ring")
        for path in (saved / "ring").glob("*root*"):
            path.rename(saved / path.name)
        assert {key_id: Keyring.open(saved, token=token).get(key_id) for key_id in rest} == kept, where
        # the next purge; what it destroys may have been wrapped under the master key that was begun with
        ring.destroy(first)
        ring.destroy(second)
        ring.replace_master(silent)
        assert keys_of(ring) == kept, where
        assert (ring.verify(), ring.verify_copies(), ring.must_replace_master()) == ([], [], False), where
        dead(old, token)
        dead(saved, token)
        assert sealed.master() in masters(token)
    driver.communicate()
    assert {"seal", "destroy", "rename", "replace", "unlink", "fsync"} <= {*where}
    assert len(where) > 30


def test_a_wrong_pin_is_given_once(
    sealed: Keyring, keys_dir: Path, token: Token, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token locks itself after a few: a service that is restarted over and over must not do that."""
    assert sealed.verify() == []
    (credentials / "gateway-pin").write_text("1234")
    with pytest.raises(KeyringError, match="says that the PIN is wrong"):
        Keyring.open(keys_dir, token=token)
    for pin in ("1234", PIN):
        (credentials / "gateway-pin").write_text(pin)
        with pytest.raises(KeyringError, match="the credential is not tried"):
            Keyring.open(keys_dir, token=token)
    # a person takes it on; after the right one, the credential is tried again
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(KeyringError, match="says that the PIN is wrong"):
        Keyring.open(keys_dir, token=token, ask=lambda _: "4321")
    words: list[str] = []
    ring = Keyring.open(keys_dir, token=token, ask=lambda what: words.append(what) or PIN)
    assert words == [f'the PIN of the token "{token.label}"']
    ring.destroy(DAYS[0])
    assert ring.replace_master(silent)  # the person is not asked again
    assert len(words) == 1
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert Keyring.open(keys_dir, token=token).verify() == []


def test_nobody_to_ask_for_the_pin(
    sealed: Keyring, keys_dir: Path, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without terminal and credential the error says what to hand over."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(KeyringError, match="gateway-pin"):
        Keyring.open(keys_dir, token=token)
    assert sealed.get(DAYS[0])  # what is open goes on


@pytest.mark.parametrize(
    ("library", "label", "reason"),
    [
        ("/usr/lib/none.so", None, r"/usr/lib/none.so does not load .*\[keys.pkcs11\] library"),
        (None, "another", r'the token "another" is not there'),
    ],
)
def test_a_library_or_token_that_is_not_there(
    sealed: Keyring, keys_dir: Path, token: Token, library: str | None, label: str | None, reason: str
) -> None:
    """The error names it and the setting."""
    wrong = Token(library=Path(library or token.library), label=label or token.label)
    with pytest.raises(KeyringError, match=reason):
        Keyring.open(keys_dir, token=wrong)


def test_a_token_that_is_taken_out(
    sealed: Keyring, keys_dir: Path, token: Token, taken_out: Callable[[Token], AbstractContextManager[None]]
) -> None:
    """The keyring goes on, also with a destruction; what needs the token waits for it, and is done when it is back."""
    before = keys_of(sealed)
    old = Path(shutil.copytree(keys_dir, keys_dir.with_name("old")))
    with taken_out(token):
        sealed.ensure(["until-2027-06-01"])
        assert sealed.destroy(DAYS[0])
        for _ in range(2):
            with pytest.raises(KeyringError, match="is not there: put it in"):
                sealed.replace_master(silent)
            assert sealed.must_replace_master()
        assert sealed.get(DAYS[1]) == before[DAYS[1]]
        assert "is not there" in sealed.verify()[-1]
    assert sealed.replace_master(silent)
    assert not sealed.must_replace_master()
    dead(old, token)
    assert sealed.verify() == []


def test_a_disk_that_is_full(
    sealed: Keyring, keys_dir: Path, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is ours, at whatever step; nothing is lost, no master key is left over, and it is completed later."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = keys_of(sealed)
    with monkeypatch.context() as patch:
        patch.setattr("gateway.vault.keyring.place_file", full)
        with pytest.raises(KeyringError, match=r"nothing was destroyed.*No space"):
            sealed.destroy(DAYS[0])
    assert keys_of(sealed) == before
    sealed.destroy(DAYS[0])
    for where, masters_then in (
        ("gateway.vault.root.place_file", 1),
        ("gateway.vault.keyring.place_file", 2),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, full)
            with pytest.raises(KeyringError, match=r"can't be replaced.*No space"):
                sealed.replace_master(silent)
        assert len(masters(token)) == masters_then
        assert sealed.must_replace_master()
    sealed.replace_master(silent)
    del before[DAYS[0]]
    assert keys_of(Keyring.open(keys_dir, token=token)) == before
    assert masters(token) == [sealed.master()]


def test_a_copy_that_is_away_is_dead_until_it_is_back(
    sealed: Keyring, keys_dir: Path, token: Token, tmp_path: Path
) -> None:
    """It stops no destruction, and the destroyed key in it counts as gone; back, it gets every key anew."""
    copy, away = tmp_path / "safe", tmp_path / "away"
    sealed.add_copy(copy, silent)
    assert (copy / "root.pkcs11").read_bytes() == (keys_dir / "root.pkcs11").read_bytes()
    copy.rename(away)
    sealed.destroy(DAYS[0])
    assert sealed.unconfirmed(DAYS[0]) == ["copy-1"]
    sealed.replace_master(silent)
    assert sealed.unconfirmed(DAYS[0]) == []
    stolen = tmp_path / "stolen"
    shutil.copytree(away, stolen / "ring")
    (stolen / "ring" / "root.pkcs11").rename(stolen / "root.pkcs11")
    dead(stolen, token)
    sealed.ensure(DAYS[1:])
    away.rename(copy)
    assert any("has not the root key" in problem for problem in sealed.verify_copies())
    sealed.ensure(DAYS[1:])
    assert sealed.verify_copies() == [f"copy-1 still has {DAYS[0]}, which is destroyed here"]
    sealed.destroy(DAYS[0])
    sealed.replace_master(silent)
    assert sealed.verify_copies() == []
    # what the copy holds is enough to go on with, and the token
    saved = tmp_path / "saved"
    shutil.copytree(copy, saved / "ring")
    (saved / "ring" / "root.pkcs11").rename(saved / "root.pkcs11")
    assert keys_of(Keyring.open(saved, token=token)) == keys_of(sealed)
    sealed.rotate_root(Provider.FILE, silent, silent)
    assert not (copy / "root.pkcs11").exists()


OTHER = """
import sys
from pathlib import Path
from gateway.vault.keyring import Keyring
from gateway.vault.pkcs11 import Token

ring = Keyring.open(Path(sys.argv[1]), token=Token(library=Path(sys.argv[2]), label=sys.argv[3]))
ring.destroy(sys.argv[4])
assert ring.replace_master(lambda *_: None)
"""


def test_another_process_replaces_the_master_key(sealed: Keyring, keys_dir: Path, token: Token) -> None:
    """`gateway retention run` beside the daemon: it reads the root key again, by itself."""
    before = keys_of(sealed)
    command = [sys.executable, "-c", OTHER, keys_dir, token.library, token.label, DAYS[0]]
    subprocess.run(command, check=True, timeout=60)
    del before[DAYS[0]]
    assert keys_of(sealed) == before
    assert masters(token) == [sealed.master()]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"master": "00", "nonce": "x", "sealed": "x", "commitment": "eA=="}', b"[1]", b"\xff"],
)
def test_a_damaged_file_is_named(keys_dir: Path, keyring: Keyring, token: Token, content: bytes) -> None:
    """Whatever lies in it, the error is ours, and no token is asked."""
    (keys_dir / "root.key").unlink()
    create_file(keys_dir / "root.pkcs11", content)
    with pytest.raises(KeyringError, match="damaged"):
        Keyring.open(keys_dir, token=token)


def test_a_root_key_that_is_altered_does_not_open(sealed: Keyring, keys_dir: Path, token: Token) -> None:
    """It is sealed with its master key's id as associated data; the token refuses every other byte."""
    path = keys_dir / "root.pkcs11"
    known = json.loads(path.read_bytes())
    for name in ("sealed", "nonce"):
        altered = bytearray(b64decode(known[name]))
        altered[0] ^= 1
        path.write_text(json.dumps(known | {name: b64encode(altered).decode()}))
        with pytest.raises(KeyringError, match="does not open the root key"):
            Keyring.open(keys_dir, token=token)
    assert sealed.get(DAYS[0])
