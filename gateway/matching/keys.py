"""What signals are compared by: the parts of each key (spec 3, Keys).

The parts are text, normalised here, so that two rows that mean the same give the same tuple. The vault makes
keyed tokens of them; nothing here is stored.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import NamedTuple

from gateway.domain.policy import Grouping
from gateway.domain.signal import SignalType
from gateway.matching import normalise

Parts = tuple[str, ...]


class Level(StrEnum):
    """The kinds of key."""

    #: A1
    ADDRESS = "address"
    #: A2
    ADDRESS_EXACT = "address_exact"
    #: P1
    PERSON = "person"
    #: AS: stands in for P1 when the date of birth is missing
    ADDRESS_SURNAME = "address_surname"
    #: K1: for `herhaald` and superseding
    CONTRACT = "contract"
    #: S1: for `mutatie` and uniqueness
    SIGNAL = "signal"
    #: what the `signaal_id` of a partner without ids is made of
    AUTO_SIGNAL = "auto_signal"


class Levels(NamedTuple):
    """The keys by which a signal can be grouped and excluded; all are always computed.

    `person` is None without a surname's letter or a date of birth, `address_surname` without a surname's letter.
    """

    address: Parts
    address_exact: Parts
    person: Parts | None
    address_surname: Parts | None


def levels(
    *, postcode: str, number: int, letter: str, addition: str, surname: str, born_on: date | None
) -> Levels:
    """A1, A2, P1 and AS of one row."""
    exact = address_exact(postcode, number, letter, addition)
    name = normalise.surname(surname)
    return Levels(
        exact[:2],
        exact,
        (name, born_on.isoformat()) if name and born_on else None,
        (*exact, name) if name else None,
    )


def address(postcode: str, number: int) -> Parts:
    """A1: postcode and house number."""
    return normalise.postcode(postcode), str(number)


def address_exact(postcode: str, number: int, letter: str, addition: str) -> Parts:
    """A2: A1, house letter and addition."""
    return (
        normalise.postcode(postcode),
        str(number),
        normalise.letter(letter),
        normalise.addition(addition),
    )


def person(surname: str, born_on: date | None) -> Parts | None:
    """P1: surname and date of birth; None when either says nothing."""
    name = normalise.surname(surname)
    return (name, born_on.isoformat()) if name and born_on else None


def address_surname(postcode: str, number: int, letter: str, addition: str, surname: str) -> Parts | None:
    """AS: A2 and surname; None when no letter of the surname is left."""
    name = normalise.surname(surname)
    return (*address_exact(postcode, number, letter, addition), name) if name else None


def contract(creditor: str, municipality: str, customer_number: str, sector: str, product: str) -> Parts:
    """K1: one contract of a creditor's customer in one municipality; all as written."""
    return creditor, municipality, customer_number, sector, product


def in_municipality(municipality: str, contract_key: Parts) -> Parts:
    """A K1 as it is in another municipality."""
    creditor, _, *rest = contract_key
    return (creditor, municipality, *rest)


def signal(creditor: str, signal_id: str) -> Parts:
    """S1: a creditor's own number of a signal, as written."""
    return creditor, signal_id


def auto_signal(
    *, customer_number: str, sector: str, signal_type: SignalType, product: str, exact: Parts, month: str
) -> Parts:
    """What a `signaal_id` is made of when the partner's files have none (spec 2, `signaal_id`).

    `exact` is A2, as `address_exact` gives it; `month` that of the signaaldatum, `YYYY-MM`.
    """
    return customer_number, sector, signal_type.value, product, *exact, month


def grouping_level(grouping: Grouping, of: Levels) -> Level:
    """The level that groups a signal under a policy: `person` is P1, else AS, else A2."""
    if grouping is Grouping.ADDRESS:
        return Level.ADDRESS
    if grouping is Grouping.PERSON:
        if of.person is not None:
            return Level.PERSON
        if of.address_surname is not None:
            return Level.ADDRESS_SURNAME
    return Level.ADDRESS_EXACT
