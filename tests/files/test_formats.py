"""How values are written on the wire."""

from datetime import date

import pytest

from gateway.files import formats


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("850", 85_000),
        ("850,5", 85_050),
        ("1234.56", 123_456),
        ("1234,56", 123_456),
        ("1.234,56", 123_456),
        ("1,234.56", 123_456),
        ("€ 1.234,56", 123_456),
        ("€850", 85_000),
        ("1.234.567,89", 123_456_789),
        ("9.999.999,99", 999_999_999),
        ("0,01", 1),
    ],
)
def test_amounts(text, cents):
    """Each way of the specification gives euro cents."""
    assert formats.read_amount(text) == cents


@pytest.mark.parametrize("text", ["2026-11-22", "22-11-2026", "22/11/2026", "20261122"])
def test_dates(text):
    """Each way of the specification gives the day."""
    assert formats.read_date(text) == date(2026, 11, 22)


@pytest.mark.parametrize("text", ["22-11/2026", "\uff12026-11-22", "2026-11-22T10:00", "26-11-2022 "])
def test_no_dates(text):
    """What looks like a day is not one."""
    assert formats.read_date(text) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("J", True),
        ("ja", True),
        ("TRUE", True),
        ("1", True),
        ("n", False),
        ("Nee", False),
        ("false", False),
        ("0", False),
        ("y", None),
    ],
)
def test_yes_and_no(text, answer):
    """Four ways to say each, in any case."""
    assert formats.read_yes_no(text) is answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0612345678", "0612345678"),
        ("06-12 34 56 78", "0612345678"),
        ("+31 6 12345678", "0612345678"),
        ("0031 6 12345678", "0612345678"),
        ("+31 (0)6 12345678", "0612345678"),
        ("(038) 123 45 67", "0381234567"),
        ("+49 30 1234567", "+49301234567"),
        ("06 1234 567a", None),
        ("0012", None),
    ],
)
def test_phone_numbers(text, number):
    """Dutch ones lose their country."""
    assert formats.read_phone(text) == number


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("GM1731", "GM1731"),
        ("1731", "GM1731"),
        ("gm0034", "GM0034"),
        ("34", "GM0034"),
        ("GM 34", None),
        ("5", None),
    ],
)
def test_municipality_codes(text, code):
    """With or without GM; without it, a spreadsheet may have taken the zeros in front."""
    assert formats.read_municipality(text) == code


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("111222333", True),
        ("123456782", True),
        ("123456789", False),
        ("000000000", False),
        ("11122233", False),
        ("11122233a", False),
    ],
)
def test_the_test_of_a_bsn(text, answer):
    """Nine digits that weigh a multiple of eleven."""
    assert formats.looks_like_bsn(text) is answer
