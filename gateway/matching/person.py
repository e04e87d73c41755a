"""Whether a row is about the person that a request names (spec 2, Request file; spec 3, Keys).

As exclusions are: P1 is equal, or there is no date of birth and surname and exact address are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gateway.domain.request import Subject
from gateway.matching import keys
from gateway.matching.keys import Parts


class Identity(NamedTuple):
    """The keys by which a person is known: P1 and AS, None where a part is missing."""

    person: Parts | None
    address_surname: Parts | None


def identity(subject: Subject) -> Identity:
    """The keys of a person, from what is known of it."""
    name, number = subject.surname, subject.house_number
    by_surname = None
    if subject.postcode and number:
        by_surname = keys.address_surname(
            subject.postcode, number, subject.house_letter, subject.house_number_suffix, name
        )
    return Identity(keys.person(name, subject.born_on), by_surname)


def is_about(asked: Identity, found: Identity) -> bool:
    """Whether what was found is about who is asked for.

    Without a date of birth in the request every one of that name at the address is: whoever asks so must see to it
    that they are one person (`persons`).
    """
    if asked.person is not None and found.person is not None:
        return asked.person == found.person
    return asked.address_surname is not None and asked.address_surname == found.address_surname


def persons(found: Iterable[object]) -> int:
    """How many persons these P1s (or places of P1) stand for at least; None says nothing."""
    return len({each for each in found if each is not None})
