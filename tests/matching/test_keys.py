"""What signals are compared by."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from gateway.domain.policy import Grouping
from gateway.domain.signal import SignalType
from gateway.matching import keys
from gateway.matching.keys import Level, Levels

BORN = date(1980, 5, 1)


def levels(**changed: Any) -> Levels:
    """The keys of one resident, unless told otherwise."""
    values: dict[str, Any] = {
        "postcode": "7938PL",
        "number": 18,
        "letter": "A",
        "addition": "2",
        "surname": "van der Groß",
        "born_on": BORN,
    }
    return keys.levels(**(values | changed))


def test_levels_are_the_single_keys() -> None:
    """All levels at once are what each function gives alone."""
    of = levels()
    assert of.address == keys.address("7938 pl", 18) == ("7938PL", "18")
    assert of.address_exact == keys.address_exact("7938PL", 18, "a", "-2") == ("7938PL", "18", "A", "2")
    assert of.person == keys.person("GROSS", BORN) == ("gross", "1980-05-01")
    assert of.address_surname == keys.address_surname("7938PL", 18, "A", "2", "Groß")


def test_letter_and_addition_are_told_apart() -> None:
    """18 A and 18 with addition A are two addresses; empty is a value."""
    assert levels(letter="A", addition="").address_exact != levels(letter="", addition="A").address_exact


def test_no_person_without_name_or_birth() -> None:
    """Without a letter there is no P1 and no AS; without a date of birth no P1."""
    nameless = levels(surname="?")
    assert nameless.person is None
    assert nameless.address_surname is None
    assert keys.person("?", BORN) is None
    assert keys.address_surname("7938PL", 18, "", "", "?") is None
    undated = levels(born_on=None)
    assert undated.person is None
    assert undated.address_surname is not None
    assert keys.person("Groß", None) is None


@pytest.mark.parametrize(
    ("grouping", "of", "level"),
    [
        (Grouping.ADDRESS, levels(), Level.ADDRESS),
        (Grouping.ADDRESS_EXACT, levels(), Level.ADDRESS_EXACT),
        (Grouping.PERSON, levels(), Level.PERSON),
        (Grouping.PERSON, levels(born_on=None), Level.ADDRESS_SURNAME),
        (Grouping.PERSON, levels(surname="?"), Level.ADDRESS_EXACT),
    ],
)
def test_grouping_level(grouping: Grouping, of: Levels, level: Level) -> None:
    """`person` is P1, else AS, else A2."""
    assert keys.grouping_level(grouping, of) is level


def test_contract_and_signal_are_as_written() -> None:
    """K1 and S1 are compared literally: an empty product is a value."""
    assert keys.contract("wmd", "GM1731", "k-1", "Water", "") == ("wmd", "GM1731", "k-1", "Water", "")
    assert keys.signal("wmd", "a.1") == ("wmd", "a.1")


def test_auto_signal_follows_address_and_month() -> None:
    """An automatic id is another one in another month, at another front door, or for another product."""

    def made(**changed: Any) -> keys.Parts:
        values: dict[str, Any] = {
            "customer_number": "k1",
            "sector": "Energie",
            "signal_type": SignalType.EARLY_SIGNAL,
            "product": "Gas",
            "exact": levels().address_exact,
            "month": "2026-11",
        }
        return keys.auto_signal(**(values | changed))

    others = [
        made(month="2026-12"),
        made(exact=levels(letter="B").address_exact),
        made(product="Warmte"),
        made(signal_type=SignalType.END_OF_SUPPLY),
    ]
    assert made() == made()
    assert made() not in others
