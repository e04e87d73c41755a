"""How values are written on the wire (spec 2, Reading): text in, value out, None when it is not one.

All take text that is stripped, printable and not empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

#: A signal is at most 9,999,999.99 euro.
MOST_CENTS = 999_999_999
#: Dates before this year are typing errors.
FIRST_YEAR = 1900
#: RFC 5321 section 4.5.3.1: a path of 256 with its brackets.
LONGEST_EMAIL = 254

_PLAIN_AMOUNT = re.compile(r"(?:€ ?)?([0-9]{1,7})(?:[.,]([0-9]{1,2}))?")
_GROUPED_AMOUNT = re.compile(
    r"(?:€ ?)?(?:([1-9][0-9]{0,2}(?:\.[0-9]{3})+),([0-9]{1,2})|([1-9][0-9]{0,2}(?:,[0-9]{3})+)\.([0-9]{1,2}))"
)
_DUTCH_DATE = re.compile(r"([0-9]{2})([-/])([0-9]{2})\2([0-9]{4})")
_COMPACT_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
#: A day as databases and worksheets write it: a midnight without a zone.
_MIDNIGHT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]00:00(?::00(?:\.0{1,9})?)?")
#: What programs that count in fractions write behind a whole number.
_WHOLE = re.compile(r"([0-9]+)\.0")
_POSTCODE = re.compile(r"([1-9][0-9]{3}) ?([A-Za-z]{2})")
_HOUSE = re.compile(
    r"([0-9]{1,5})(?![0-9])(?:[ -]*([A-Za-z])(?![A-Za-z]))?(?:[ /-]*([0-9A-Za-z](?:[0-9A-Za-z /-]{0,2}[0-9A-Za-z])?))?"
)
_PHONE_MARKS = re.compile(r"[ ().\-/]")
_DUTCH_PHONE = re.compile(r"0[1-9][0-9]{8}")
_PHONE_WITHOUT_ZERO = re.compile(r"[1-9][0-9]{8}")
_PHONE_WITHOUT_PLUS = re.compile(r"31[1-9][0-9]{8}")
_FOREIGN_PHONE = re.compile(r"(?:\+|00)[1-9][0-9]{6,14}")
#: The HTML standard's, with at least one dot in the domain.
_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])"
)
_MUNICIPALITY = re.compile(r"(?:GM)?([0-9]{4})|([0-9]{2,3})", re.IGNORECASE)
_YES_NO: Mapping[str, bool] = {
    **dict.fromkeys(("j", "ja", "true", "1"), True),
    **dict.fromkeys(("n", "nee", "false", "0"), False),
}
#: Letters that no postcode has, for what they stand for.
_NO_POSTCODE = frozenset({"SA", "SD", "SS"})


class HouseNumber(NamedTuple):
    """A house number as some systems write it in one field."""

    number: int
    letter: str
    suffix: str


def read_amount(text: str) -> int | None:
    """Euro cents, above 0. `1.234` and `1,234` are not read: nobody can tell thousands from decimals."""
    if plain := _PLAIN_AMOUNT.fullmatch(text):
        euros, decimals = plain.groups()
    elif grouped := _GROUPED_AMOUNT.fullmatch(text):
        euros, decimals = (part for part in grouped.groups() if part is not None)
        euros = euros.replace(".", "").replace(",", "")
    else:
        return None
    cents = int(euros) * 100 + int((decimals or "").ljust(2, "0"))
    return cents if 0 < cents <= MOST_CENTS else None


def read_date(text: str) -> date | None:
    """A day: `2026-11-22`, `22-11-2026`, `22/11/2026`, `20261122` or `2026-11-22 00:00:00`."""
    if len(text) > 10 and (midnight := _MIDNIGHT.fullmatch(text)):
        text = midnight[1]
    if len(text) == 10 and text[4] == text[7] == "-":
        iso = text
    elif dutch := _DUTCH_DATE.fullmatch(text):
        iso = f"{dutch[4]}-{dutch[3]}-{dutch[1]}"
    elif compact := _COMPACT_DATE.fullmatch(text):
        iso = "-".join(compact.groups())
    else:
        return None
    try:
        day = date.fromisoformat(iso)
    except ValueError:
        return None
    return day if day.year >= FIRST_YEAR else None


def read_yes_no(text: str) -> bool | None:
    """`J`/`N`, `ja`/`nee`, `true`/`false`, `1`/`0`, in any case."""
    return _YES_NO.get(text.lower())


def read_postcode(text: str) -> str | None:
    """Four digits and two letters, as `1234AB`."""
    match = _POSTCODE.fullmatch(text)
    if match is None or (letters := match[2].upper()) in _NO_POSTCODE:
        return None
    return match[1] + letters


def read_house_number(text: str) -> HouseNumber | None:
    """1-99999 with what is written behind it: `12`, `12a`, `12-3`, `12a-3`, `12 bis`; `12.0` is 12."""
    text = _without_fraction(text)
    if text.isascii() and text.isdigit():
        number, letter, suffix = text, "", ""
    elif match := _HOUSE.fullmatch(text):
        number, letter, suffix = match[1], (match[2] or "").upper(), match[3] or ""
    else:
        return None
    if len(number) > 5 or int(number) == 0:
        return None
    return HouseNumber(int(number), letter, suffix)


def read_phone(text: str) -> str | None:
    """Ten Dutch digits (`+31 6…` and `0031 6…` become `06…`), or a foreign number with its country.

    Nine digits lost the zero in front, and eleven from 31 the plus: a spreadsheet took them for a number.
    """
    number = _PHONE_MARKS.sub("", text)
    if _PHONE_WITHOUT_ZERO.fullmatch(number):
        number = "0" + number
    elif _PHONE_WITHOUT_PLUS.fullmatch(number):
        number = "+" + number
    for country in ("+31", "0031"):
        if number.startswith(country):
            number = "0" + number.removeprefix(country).removeprefix("0")
    if _DUTCH_PHONE.fullmatch(number) or _FOREIGN_PHONE.fullmatch(number):
        return number
    return None


def read_email(text: str) -> str | None:
    """An e-mail address, as written."""
    return text if len(text) <= LONGEST_EMAIL and _EMAIL.fullmatch(text) else None


def read_municipality(text: str) -> str | None:
    """`GM1731` or `1731`, as `GM1731`; `34` is GM0034 whose zeros a spreadsheet took away."""
    match = _MUNICIPALITY.fullmatch(text)
    return f"GM{match[1] or match[2]:0>4}" if match else None


def read_days(text: str) -> int | None:
    """An age of 0-9999 days."""
    text = _without_fraction(text)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else None


def is_midnight(text: str) -> bool:
    """Whether text is a day with a time of 00:00: no name and no number of a customer."""
    return len(text) > 10 and _MIDNIGHT.fullmatch(text) is not None


def _without_fraction(text: str) -> str:
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


def looks_like_bsn(text: str) -> bool:
    """Whether nine digits pass the BSN's test: 9, 8, … 2 and -1 times the digits add up to a multiple of 11.

    One in eleven numbers does by chance: this is worth a warning and no more.
    """
    if len(text) != 9 or not (text.isascii() and text.isdigit()) or text == "000000000":
        return False
    digits = [int(c) for c in text]
    return (sum(d * w for d, w in zip(digits, range(9, 1, -1), strict=False)) - digits[8]) % 11 == 0
