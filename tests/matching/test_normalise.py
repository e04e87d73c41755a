"""How names and addresses are written before they are compared."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.matching import normalise


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("van der Groß", "gross"),
        ("GROSS", "gross"),
        ("Y\u0131lmaz", "yilmaz"),
        ("Renée-de Vries", "renee"),
        ("Rene\u0301e", "renee"),
        ("El-Amrani", "amrani"),
        ("el amrani", "amrani"),
        ("El Idrissi", "idrissi"),
        ("Jansen-van den Berg", "jansen"),
        ("Jansen \u2013 de Wit", "jansen"),
        ("'t Hart", "hart"),
        ("\u2019t Hart", "hart"),
        ("'s-Gravesande", "gravesande"),
        ("v.d. Berg", "berg"),
        ("vd Berg", "berg"),
        ("van-der-Berg", "berg"),
        ("-de Boer", "boer"),
        ("van -Berg", "berg"),
        ("van\u00a0den\tBerg", "berg"),
        ("De la Fuente", "fuente"),
        ("Vandenberg", "vandenberg"),
        ("D'Hondt", "dhondt"),
        ("Denkers", "denkers"),
        ("Berg van den", "bergvanden"),
    ],
)
def test_surname(written: str, compared: str) -> None:
    """Marks, capitals, leading particles and the second half of a double name say nothing."""
    assert normalise.surname(written) == compared


@pytest.mark.parametrize(
    ("written", "compared"), [("de", "de"), ("van der", "der"), ("El-", "el"), ("de -", "de")]
)
def test_the_last_word_is_never_dropped(written: str, compared: str) -> None:
    """Somebody who is called De keeps his name."""
    assert normalise.surname(written) == compared


@pytest.mark.parametrize("written", ["", " ", "-", "- -", "123", "?", "1-Jansen"])
def test_no_letter_left(written: str) -> None:
    """A name without a letter, also before its first hyphen, is no name."""
    assert normalise.surname(written) == ""


@pytest.mark.parametrize("particle", normalise.PARTICLES)
def test_every_particle_is_dropped(particle: str) -> None:
    """Each particle of the list goes, with a space or a hyphen behind it, alone or behind another."""
    for written in (f"{particle} Bakker", f"{particle.upper()}-Bakker", f"van {particle} Bakker"):
        assert normalise.surname(written) == "bakker"


@given(st.text(max_size=40))
def test_surname_is_idempotent(text: str) -> None:
    """Normalising a normalised name changes nothing, and it holds nothing but a-z."""
    once = normalise.surname(text)
    assert normalise.surname(once) == once
    assert re.fullmatch("[a-z]*", once)


@given(st.lists(st.sampled_from([*normalise.PARTICLES, "-", " ", "bakker", "ali"]), max_size=8).map(" ".join))
def test_surname_of_particles_is_idempotent(text: str) -> None:
    """Also among names made of nothing but particles."""
    once = normalise.surname(text)
    assert normalise.surname(once) == once


def test_a_long_hostile_name_is_quick() -> None:
    """The pattern does not explode on a field as long as a file may hold."""
    assert normalise.surname("van-- " * 400 + "!") == ""


def test_addresses() -> None:
    """Postcodes lose white space; letters and additions keep A-Z and 0-9 only; empty is a value."""
    assert normalise.postcode(" 7938 pl ") == "7938PL"
    assert normalise.letter("b") == "B"
    assert normalise.addition("-2 hs.") == "2HS"
    assert normalise.letter("") == normalise.addition("--") == ""


@given(st.text(max_size=10))
def test_additions_are_idempotent(text: str) -> None:
    """Normalising a normalised addition changes nothing."""
    once = normalise.addition(text)
    assert normalise.addition(once) == once
    assert re.fullmatch("[A-Z0-9]*", once)
