"""Tokens are equal for equal input of one month, level and scope, and die with the month's key."""

from __future__ import annotations

import hmac
from hashlib import blake2b, sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeyMissing
from gateway.vault.ids import CROCKFORD, crockford, new_id, random_place
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring

PARTS = ("1731AB", "12", "A")


@pytest.fixture
def indexer(keyring: Keyring) -> Indexer:
    """Index keys of three months, and a day's key that is none."""
    keyring.ensure(["index-2026-09", "index-2026-11", "index-2026-10", "until-2027-05-22"])
    return Indexer(keyring)


def test_live_months_are_newest_first(indexer: Indexer) -> None:
    """The order in which a signal is looked up."""
    assert indexer.live_months() == ["2026-11", "2026-10", "2026-09"]


def test_equal_input_gives_equal_tokens_in_every_process(indexer: Indexer, keys_dir: Path) -> None:
    """16 bytes that depend on the keyring and the input alone."""
    token = indexer.token("2026-11", "A2", "GM1731", PARTS)
    assert len(token) == 16
    assert Indexer(Keyring.open(keys_dir)).token("2026-11", "A2", "GM1731", list(PARTS)) == token


@pytest.mark.parametrize(
    ("month", "level", "scope", "parts"),
    [
        ("2026-10", "A2", "GM1731", PARTS),
        ("2026-11", "A1", "GM1731", PARTS),
        ("2026-11", "A2", "GM0109", PARTS),
        ("2026-11", "A2", "GM1731", ("1731AB", "12", "B")),
        ("2026-11", "A2", "GM1731", ("1731AB1", "2", "A")),
        ("2026-11", "A2", "GM1731", ("1731AB", "12", "A", "")),
        ("2026-11", "A2", "GM1731", ("1731AB12A",)),
    ],
)
def test_month_level_scope_and_each_part_count(
    indexer: Indexer, month: str, level: str, scope: str, parts: tuple[str, ...]
) -> None:
    """Nothing can be joined across them, and no two keys run together."""
    assert indexer.token(month, level, scope, parts) != indexer.token("2026-11", "A2", "GM1731", PARTS)


def test_the_token_has_the_documented_form(indexer: Indexer, keyring: Keyring) -> None:
    """Keyed BLAKE2b, 16 bytes, key = HKDF-Expand(index key, "gw/v1/index/" level "/" scope), input lp of each part."""
    info = b"gw/v1/index/A2/GM1731\x01"
    key = hmac.new(keyring.get("index-2026-11"), info, sha256).digest()
    expected = blake2b(b"\x00\x061731AB\x00\x0212\x00\x01A", key=key, digest_size=16).digest()
    assert indexer.token("2026-11", "A2", "GM1731", PARTS) == expected


def test_a_batch_gives_the_same_tokens_in_order(indexer: Indexer) -> None:
    """The hot path is the same function."""
    many = [("1731AB", str(number), "") for number in range(50)]
    batch = indexer.tokens("2026-11", "A2", "GM1731", many)
    assert batch == [indexer.token("2026-11", "A2", "GM1731", parts) for parts in many]
    assert len(set(batch)) == 50


def test_no_token_is_made_under_a_destroyed_key(indexer: Indexer, keys_dir: Path) -> None:
    """Also not from what this process derived before another one destroyed the key."""
    indexer.token("2026-09", "A2", "GM1731", PARTS)
    Keyring.open(keys_dir).destroy("index-2026-09")
    with pytest.raises(KeyMissing):
        indexer.token("2026-09", "A2", "GM1731", PARTS)
    assert indexer.live_months() == ["2026-11", "2026-10"]


def test_a_content_token_is_bound_to_its_creditor(indexer: Indexer) -> None:
    """The same signal of two creditors is two signals."""
    token = indexer.content_token("2026-11", "eneco", b"contents")
    assert token == indexer.content_token("2026-11", "eneco", b"contents")
    assert token != indexer.content_token("2026-11", "vitens", b"contents")
    assert token != indexer.content_token("2026-10", "eneco", b"contents")
    assert len(token) == 16


def test_a_place_is_62_random_bits() -> None:
    """It fits a signed 64-bit column, and doesn't repeat."""
    places = [random_place() for _ in range(1000)]
    assert len(set(places)) == 1000
    assert all(0 <= place < 1 << 62 for place in places)
    assert max(places).bit_length() == 62


@given(st.binary(max_size=40))
def test_crockford_tells_bytes_apart(data: bytes) -> None:
    """Five bits a character: 16 bytes are 26 characters, and they can be turned back."""
    text = crockford(data)
    assert len(text) == -(-len(data) * 8 // 5)
    assert set(text) <= set(CROCKFORD)
    number = 0
    for character in text:
        number = number * 32 + CROCKFORD.index(character)
    assert (number >> (len(text) * 5 - len(data) * 8)).to_bytes(len(data), "big") == data


def test_ids_are_random_crockford() -> None:
    """A prefix and so many characters that nobody mistakes for one another."""
    ids = {new_id("S", 12) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 13 and one[0] == "S" and set(one[1:]) <= set(CROCKFORD) for one in ids)
    assert {character for one in ids for character in one[1:]} == set(CROCKFORD)
