"""Whom a municipality wants no signals about."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from gateway.matching import exclusion, keys
from gateway.matching.exclusion import Exclusion

UNTIL = date(2026, 11, 30)
BORN = date(1980, 5, 1)
PERSON = {"surname": "de Boer", "born_on": BORN}
NAME = {"surname": "de Boer"}


def is_excluded(*rows: dict[str, Any], day: date = UNTIL, is_crisis: bool = False, **signal: Any) -> bool:
    """Whether a signal about De Boer, born in 1980, at 7938PL 18 falls under the rows, at that address too."""
    given = exclusion.gather(
        Exclusion(**({"postcode": "7938PL", "house_number": 18, "until": UNTIL} | row)) for row in rows
    )
    about: dict[str, Any] = {
        "postcode": "7938PL",
        "number": 18,
        "letter": "",
        "addition": "",
        "surname": "Boer",
        "born_on": BORN,
    }
    return exclusion.is_excluded(
        given, keys.levels(**(about | signal)), signalled_on=day, is_crisis=is_crisis
    )


def test_a_person_is_excluded_wherever_he_lives() -> None:
    """With surname and date of birth the signal's P1 decides."""
    assert is_excluded(PERSON, postcode="7938PM", number=3)
    assert not is_excluded(PERSON, born_on=date(1981, 5, 1))
    assert not is_excluded(PERSON, surname="Smit")


def test_a_signal_without_birth_date_counts_at_the_address_only() -> None:
    """With surname and date of birth, a signal that has none is compared by A2 and surname."""
    assert is_excluded(PERSON, born_on=None)
    assert not is_excluded(PERSON, born_on=None, letter="A")
    assert not is_excluded(PERSON, born_on=None, surname="Smit")


def test_a_name_counts_at_the_address_only() -> None:
    """With surname only, A2 and surname decide, whatever the signal's date of birth."""
    assert is_excluded(NAME)
    assert is_excluded(NAME, born_on=None)
    assert not is_excluded(NAME, number=20)
    assert not is_excluded(NAME, surname="Smit")


def test_an_address_excludes_everybody_there() -> None:
    """With neither, A2 decides: not the neighbour at 18 A."""
    assert is_excluded({}, surname="Smit")
    assert is_excluded({}, surname="?")
    assert not is_excluded({}, letter="A")


@pytest.mark.parametrize("row", [{"surname": "?"}, {"surname": "?", "born_on": BORN}, {"born_on": BORN}])
def test_a_name_without_letters_excludes_nobody(row: dict[str, Any]) -> None:
    """It does not turn into an exclusion of the whole address."""
    assert not is_excluded(row)
    assert not is_excluded(row, surname="?")


def test_until_is_inclusive() -> None:
    """The last day counts, compared with signaaldatum; of two rows the longer one decides."""
    assert is_excluded(PERSON, day=UNTIL)
    assert not is_excluded(PERSON, day=date(2026, 12, 1))
    longer = PERSON | {"until": date(2026, 12, 31)}
    assert is_excluded(longer, PERSON, day=date(2026, 12, 1))


@pytest.mark.parametrize("row", [PERSON, NAME, {}])
def test_a_crisis_is_never_excluded(row: dict[str, Any]) -> None:
    """A threatened eviction goes through."""
    assert not is_excluded(row, is_crisis=True)
