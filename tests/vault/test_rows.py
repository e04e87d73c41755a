"""A sealed row opens in its own place only, and its length tells little."""

from __future__ import annotations

import json
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BlobDamaged
from gateway.vault.derive import length_prefixed
from gateway.vault.rows import RowSealer

PLACE = {"table": "signal", "object_id": "K1", "row": "S1"}
FIELDS = {"naam": "Van der Préz-Özdemir", "huisnummer": 12, "geboortedatum": None, "telefoon": "0612345678"}

values = st.none() | st.booleans() | st.integers() | st.text(max_size=80)


@pytest.fixture(scope="module")
def sealer() -> RowSealer:
    """A sealer under a random row key."""
    return RowSealer(os.urandom(32))


@given(fields=st.dictionaries(st.text(max_size=20), values, max_size=12))
def test_any_row_comes_back(sealer: RowSealer, fields: dict[str, object]) -> None:
    """Text of any script, numbers, absent values."""
    assert sealer.open(sealer.seal(fields, **PLACE), **PLACE) == fields


@pytest.mark.parametrize(
    "other",
    [{"table": "rejected_row"}, {"object_id": "K2"}, {"row": "S2"}, {"row": 1}, {"schema": 2}],
)
def test_a_row_moved_elsewhere_is_refused(sealer: RowSealer, other: dict[str, object]) -> None:
    """Swapping the sealed fields of two rows in the database shows."""
    with pytest.raises(BlobDamaged):
        sealer.open(sealer.seal(FIELDS, **PLACE), **{**PLACE, **other})


def test_every_altered_byte_is_refused(sealer: RowSealer) -> None:
    """Nonce, text and tag."""
    sealed = sealer.seal(FIELDS, **PLACE)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 0x80
        with pytest.raises(BlobDamaged):
            sealer.open(bytes(changed), **PLACE)


@pytest.mark.parametrize("length", [0, 5, 12, 27])
def test_a_cut_row_is_refused(sealer: RowSealer, length: int) -> None:
    """Whatever is left of it."""
    with pytest.raises(BlobDamaged):
        sealer.open(sealer.seal(FIELDS, **PLACE)[:length], **PLACE)


def test_another_row_key_is_refused(sealer: RowSealer) -> None:
    """Rows of another municipality or due day have another key."""
    with pytest.raises(BlobDamaged):
        RowSealer(os.urandom(32)).open(sealer.seal(FIELDS, **PLACE), **PLACE)


@given(name=st.text(alphabet="abcdefgh é", max_size=200))
def test_length_is_padded_to_64_bytes(sealer: RowSealer, name: str) -> None:
    """nonce12 + a multiple of 64 + tag16, and never less than the contents."""
    sealed = sealer.seal({"naam": name}, **PLACE)
    padded = len(sealed) - 12 - 16
    assert padded % 64 == 0
    assert (
        0 <= padded - len(json.dumps({"naam": name}, ensure_ascii=False, separators=(",", ":")).encode()) < 64
    )


def test_the_same_row_seals_differently_each_time(sealer: RowSealer) -> None:
    """An update draws a new nonce, and equal rows don't look equal."""
    sealed = {sealer.seal(FIELDS, **PLACE) for _ in range(100)}
    assert len({row[:12] for row in sealed}) == 100


def test_what_has_no_fixed_form_is_refused(sealer: RowSealer) -> None:
    """Dates and money are written as text and cents by the caller, who knows their form."""
    with pytest.raises(TypeError):
        sealer.seal({"bedrag": object()}, **PLACE)


@given(fields=st.dictionaries(st.text(max_size=20), values | st.lists(values, max_size=2), max_size=12))
def test_the_text_is_canonical_json(fields: dict[str, object]) -> None:
    """Sorted, without white space, as UTF-8; the same whichever way it was written."""
    key = os.urandom(32)
    sealed = RowSealer(key).seal(fields, **PLACE)
    text = AESGCM(key).decrypt(sealed[:12], sealed[12:], length_prefixed(*PLACE.values(), "1"))
    canonical = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert text.rstrip(b" ").decode() == canonical
