"""A data key opens for its own partner and object, with its own key, and nowhere else."""

from __future__ import annotations

import hmac
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import BlobDamaged, KeyMissing, WrongKey
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.keyring import Keyring

DAY, NEXT = "until-2027-05-22", "until-2027-05-23"


@pytest.fixture
def ring(keyring: Keyring) -> Keyring:
    """A keyring with the keys of two days."""
    keyring.ensure([DAY, NEXT])
    return keyring


@pytest.fixture
def data_key() -> DataKey:
    """A data key."""
    return DataKey.generate()


@pytest.fixture
def wrapped(ring: Keyring, data_key: DataKey) -> WrappedKey:
    """It, wrapped for one object of one partner."""
    return wrap(ring, DAY, data_key, partner="eneco", object_id="L1")


def test_a_wrapped_key_opens_again(ring: Keyring, data_key: DataKey, wrapped: WrappedKey) -> None:
    """It is the same key: the same file, row and commitment keys."""
    again = unwrap(ring, wrapped, partner="eneco", object_id="L1")
    assert again.file_key("L1") == data_key.file_key("L1")
    assert again.row_key() == data_key.row_key()
    assert again.commitment() == data_key.commitment() == wrapped.commitment


def test_rewrapping_changes_the_day_and_not_the_key(
    ring: Keyring, data_key: DataKey, wrapped: WrappedKey
) -> None:
    """Rotation re-encrypts no data and loses none; the old day's key may then go."""
    again = wrap(
        ring, NEXT, unwrap(ring, wrapped, partner="eneco", object_id="L1"), partner="eneco", object_id="L1"
    )
    ring.destroy(DAY)
    assert unwrap(ring, again, partner="eneco", object_id="L1").row_key() == data_key.row_key()
    with pytest.raises(KeyMissing):
        unwrap(ring, wrapped, partner="eneco", object_id="L1")


@pytest.mark.parametrize(("partner", "object_id"), [("vitens", "L1"), ("eneco", "L2"), ("enecoL", "1")])
def test_another_partner_or_object_is_refused(
    ring: Keyring, wrapped: WrappedKey, partner: str, object_id: str
) -> None:
    """A wrapped key copied to another row of the database opens nothing."""
    with pytest.raises(BlobDamaged):
        unwrap(ring, wrapped, partner=partner, object_id=object_id)


def test_another_day_is_refused(ring: Keyring, wrapped: WrappedKey) -> None:
    """Writing a later day into the row keeps nothing alive."""
    with pytest.raises(BlobDamaged):
        unwrap(ring, replace(wrapped, key_id=NEXT), partner="eneco", object_id="L1")


@pytest.mark.parametrize("at", [0, 11, 12, 40, -1])
def test_an_altered_wrapped_key_is_refused(ring: Keyring, wrapped: WrappedKey, at: int) -> None:
    """Nonce, key and tag are authenticated."""
    changed = bytearray(wrapped.wrapped)
    changed[at] ^= 1
    with pytest.raises(BlobDamaged):
        unwrap(ring, replace(wrapped, wrapped=bytes(changed)), partner="eneco", object_id="L1")


@pytest.mark.parametrize("length", [0, 11, 12, 27, 28, 59])
def test_a_cut_wrapped_key_is_refused(ring: Keyring, wrapped: WrappedKey, length: int) -> None:
    """Whatever is left of it."""
    with pytest.raises(BlobDamaged):
        unwrap(ring, replace(wrapped, wrapped=wrapped.wrapped[:length]), partner="eneco", object_id="L1")


def test_a_wrong_key_is_told_from_a_damaged_one(ring: Keyring, wrapped: WrappedKey) -> None:
    """A whole key whose commitment differs is another object's key, not damage."""
    other = DataKey.generate().commitment()
    with pytest.raises(WrongKey):
        unwrap(ring, replace(wrapped, commitment=other), partner="eneco", object_id="L1")


def test_a_version_that_is_not_here_is_missing(ring: Keyring, wrapped: WrappedKey) -> None:
    """The version is part of which key it is."""
    with pytest.raises(KeyMissing, match=r"\.v2 is not in"):
        unwrap(ring, replace(wrapped, key_version=2), partner="eneco", object_id="L1")


def test_wrapping_twice_gives_different_bytes(ring: Keyring, data_key: DataKey, wrapped: WrappedKey) -> None:
    """Each wrapping draws its nonce."""
    assert wrap(ring, DAY, data_key, partner="eneco", object_id="L1").wrapped != wrapped.wrapped


def test_a_wrapped_key_has_the_documented_form(ring: Keyring, data_key: DataKey, wrapped: WrappedKey) -> None:
    """nonce12 || AES-256-GCM, AAD lp("gw/v1/dek") || lp(key id) || lp(partner) || lp(object)."""
    place = b"\x00\x09gw/v1/dek\x00\x10until-2027-05-22\x00\x05eneco\x00\x02L1"
    secret = AESGCM(ring.get(DAY)).decrypt(wrapped.wrapped[:12], wrapped.wrapped[12:], place)
    assert DataKey(secret).commitment() == data_key.commitment()


def test_derived_keys_are_hkdf_expand() -> None:
    """RFC 5869 section 2.3 with SHA-256, one block: HMAC(key, info || 0x01)."""
    secret = bytes(range(32))
    key = DataKey(secret)

    def expand(info: bytes) -> bytes:
        return hmac.new(secret, info + b"\x01", sha256).digest()

    assert key.file_key("L1") == expand(b"gw/v1/fileL1")
    assert key.row_key() == expand(b"gw/v1/row")
    assert key.commitment() == expand(b"gw/v1/commit")


def test_no_secret_is_printed(data_key: DataKey, wrapped: WrappedKey) -> None:
    """A key in a log line or a traceback says nothing."""
    assert repr(data_key) == "DataKey(hidden)"
    assert wrapped.wrapped.hex() not in repr(wrapped)
    assert "wrapped=" not in repr(wrapped)
