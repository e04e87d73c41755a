"""The purge with the root key in a token: after it no older copy of anything can be opened (promise 2, SoftHSM2)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import KeyringError
from gateway.retention import ring
from gateway.retention.versions import By, retire, rewrap
from gateway.store import data_keys
from gateway.store.engine import Store
from gateway.vault.datakey import WrappedKey, unwrap
from gateway.vault.keyring import Keyring
from gateway.vault.pkcs11 import Token
from gateway.vault.root import Provider

#: The class of `conftest.py`.
World = Any

#: Of the received file.
DUE = date(2026, 12, 6)
DAY = timedelta(days=1)


def silent(*_: object) -> None:
    """Nobody who wants to know."""


@pytest.fixture
def sealed(world: World, token: Token) -> World:
    """A home whose root key lies in a token."""
    world.keyring = Keyring.open(world.home / "keys", token=token)
    world.keyring.rotate_root(Provider.PKCS11, silent, silent)
    return world


@pytest.fixture
def backup(sealed: World, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of the whole home, keys and all."""

    def copy() -> Path:
        sealed.store.close()
        target = tmp_path / f"backup-{len(list(tmp_path.glob('backup-*')))}"
        return Path(shutil.copytree(sealed.home, target))

    return copy


def openable(home: Path, token: Token) -> set[str]:
    """The objects in a copy of a home whose data keys its own keyring opens, with the token as it is now."""
    keyring = Keyring.open(home / "keys", token=token)
    with closing(Store(home / "data" / "gateway.db")) as store, store.read() as conn:
        stored = data_keys.by_id(conn, range(100)).values()
    for key in stored:
        wrapped = WrappedKey(
            key_id=key.key_id, key_version=key.key_version, wrapped=key.wrapped, commitment=key.commitment
        )
        unwrap(keyring, wrapped, partner=key.partner_id, object_id=key.object_id)
    return {key.object_id for key in stored}


def certificates(world: World) -> list[dict[str, Any]]:
    """What stands on the certificates, the oldest first."""
    return [json.loads(row["as_json"]) for row in world.certificates()]


def test_every_backup_is_dead_after_the_purge(
    sealed: World, token: Token, backup: Callable[[], Path]
) -> None:
    """A copy of keys/ and data/ together: it opens before, with the token; afterwards nothing, also not what stays."""
    gone = sealed.deliver(signals=0)
    sealed.go_to(date(2026, 12, 1))
    stays = sealed.deliver()
    sealed.go_to(DUE)
    old = backup()
    assert openable(old, token) == {gone, stays}
    sealed.go_to(DUE + DAY)
    report = sealed.purge()
    assert (report.errors, "until-2026-12-06" in report.keys) == ((), True)
    with pytest.raises(KeyringError, match="holds no master key"):
        openable(old, token)
    # the gateway goes on: what stays is read, and received; and its backup of today opens what stays
    proofs = {row["id"] for row in sealed.proofs()}
    assert openable(backup(), token) - proofs == {stays}
    assert sealed.keyring.verify() == []
    later = sealed.deliver()
    assert later in openable(backup(), token)


def test_the_certificate_tells_that_the_master_key_was_replaced(sealed: World) -> None:
    """The way, its id, what is not covered; the audit log has the old id and the new one."""
    sealed.deliver()
    before = sealed.keyring.master()
    sealed.go_to(DUE + DAY)
    sealed.purge()
    told = certificates(sealed)[-1]
    assert told["status"] == "volledig"
    assert f"(kenmerk {sealed.keyring.master()})" in told["wijze"]["sleutels"]
    assert not [what for what in told["niet_omvat"] if "waarin ook de map keys/" in what]
    assert [what for what in told["niet_omvat"] if "HSM" in what]
    text = sealed.certificates()[-1]["as_text"].decode()
    assert sealed.keyring.master() in text
    entry = json.loads(sealed.audit("root_key.rotated")[-1])
    assert entry["detail"] == {
        "keys": len(sealed.keyring.ids()) - 1,  # the certificate's own came after
        "master": sealed.keyring.master(),
        "provider": "pkcs11",
        "replaced": before,
    }


def test_a_night_without_a_destruction_replaces_nothing(sealed: World) -> None:
    """Once a purge, and only when keys went."""
    sealed.purge()
    before = sealed.keyring.master()
    sealed.purge()
    assert sealed.keyring.master() == before
    sealed.go_to(date(2026, 11, 25))
    assert len(sealed.purge().keys) == 3
    assert sealed.keyring.master() != before
    assert len(sealed.audit("root_key.rotated")) == 1


def test_a_token_that_is_away_makes_it_incomplete(
    sealed: World,
    token: Token,
    backup: Callable[[], Path],
    taken_out: Callable[[Token], AbstractContextManager[None]],
) -> None:
    """The keys go all the same; the certificate says what is not done yet, and the next purge does it."""
    sealed.deliver()
    sealed.go_to(DUE + DAY)
    old = backup()
    with taken_out(token):
        report = sealed.purge()
    assert [(error.step, error.object_id) for error in report.errors] == [("master", "root")]
    assert "is not there" in report.errors[0].reason
    assert "until-2026-12-06" in report.keys
    told = certificates(sealed)[-1]
    assert told["status"] == "onvolledig"
    assert "hoofdsleutel in de HSM is nog niet vervangen" in " ".join(told["redenen"])
    assert "HSM" not in told["wijze"]["sleutels"]
    assert openable(old, token)
    assert sealed.purge().errors == ()
    with pytest.raises(KeyringError, match="holds no master key"):
        openable(old, token)


def test_a_copy_that_is_away_leaves_the_certificate_whole(sealed: World, tmp_path: Path) -> None:
    """What it holds opens nothing any more: that is confirmed by the token, not by the copy."""
    sealed.keyring.add_copy(tmp_path / "safe", silent)
    sealed.deliver()
    (tmp_path / "safe").rename(tmp_path / "away")
    sealed.go_to(DUE + DAY)
    sealed.purge()
    told = certificates(sealed)[-1]
    assert (told["status"], told["redenen"]) == ("volledig", [])
    results = {each["kopie"]: each["resultaat"] for key in told["sleutels"] for each in key["kopieen"]}
    assert results == {"keys": "vernietigd", "copy-1": "vernietigd"}


def test_a_purge_that_was_cut_off_is_completed(
    sealed: World, token: Token, backup: Callable[[], Path]
) -> None:
    """Between the destruction of the keys and the new master key: the next one replaces it."""

    class Cut(Exception):
        pass

    def cut(step: str, _done: int, _total: int) -> None:
        if step == "keys":
            raise Cut

    sealed.deliver()
    sealed.go_to(DUE + DAY)
    old = backup()
    with pytest.raises(Cut):
        sealed.purge(progress=cut)
    assert sealed.keyring.must_replace_master()
    assert sealed.purge().errors == ()
    with pytest.raises(KeyringError, match="holds no master key"):
        openable(old, token)
    assert certificates(sealed)[-1]["status"] == "volledig"


def test_a_key_that_is_destroyed_by_command(sealed: World, token: Token, backup: Callable[[], Path]) -> None:
    """`gateway keys destroy`: the master key is replaced with it, on record."""
    sealed.go_to(date(2026, 11, 25))
    old = backup()
    unconfirmed = ring.destroy(
        sealed.store, sealed.keyring, "until-2026-11-22", sealed.now, sealed.terms, node="test", actor="jan"
    )
    assert unconfirmed == []
    with pytest.raises(KeyringError, match="holds no master key"):
        openable(old, token)
    assert '"actor":"jan"' in sealed.audit("root_key.rotated")[-1]


def test_an_older_version_is_retired(sealed: World, token: Token, backup: Callable[[], Path]) -> None:
    """A key that leaked, or was renewed: with its older version the copies of the keyring of before go too."""
    delivery = sealed.deliver(signals=0)
    by = By(actor="jan", node="test", now=sealed.now)
    rewrap(sealed.store, sealed.keyring, "until-2026-12-06", sealed.terms, by=by, progress=silent)
    old = backup()
    assert openable(old, token) == {delivery}
    assert retire(sealed.store, sealed.keyring, "until-2026-12-06", by) == []
    with pytest.raises(KeyringError, match="holds no master key"):
        openable(old, token)
    assert openable(backup(), token) == {delivery}
    assert sealed.keyring.verify() == []
