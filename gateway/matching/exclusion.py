"""Whom a municipality wants no signals about, for a time (spec 3, Exclusions)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from gateway.matching import keys
from gateway.matching.keys import Levels, Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """One row of an exclusion file; `until` is inclusive. Without a name the whole address is meant."""

    postcode: str
    house_number: int
    until: date
    house_letter: str = ""
    house_number_suffix: str = ""
    surname: str = ""
    born_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """The exclusions of one municipality, found by key; each until its last day."""

    #: P1: that person wherever he lives
    persons: Mapping[Parts, date]
    #: AS, of exclusions with a date of birth: holds for signals without one
    undated: Mapping[Parts, date]
    #: AS, of exclusions without a date of birth: holds for every signal of that name there
    names: Mapping[Parts, date]
    #: A2: everybody there
    addresses: Mapping[Parts, date]

    @property
    def is_empty(self) -> bool:
        """Whether nobody is meant."""
        return not (self.persons or self.names or self.addresses)


def gather(exclusions: Iterable[Exclusion]) -> Exclusions:
    """The exclusions in force of one municipality, arranged for `is_excluded`.

    A name without a letter, or a date of birth without a name, excludes nobody.
    """
    persons: dict[Parts, date] = {}
    undated: dict[Parts, date] = {}
    names: dict[Parts, date] = {}
    addresses: dict[Parts, date] = {}
    for exclusion in exclusions:
        of = keys.levels(
            postcode=exclusion.postcode,
            number=exclusion.house_number,
            letter=exclusion.house_letter,
            addition=exclusion.house_number_suffix,
            surname=exclusion.surname,
            born_on=exclusion.born_on,
        )
        if of.person and of.address_surname:
            _extend(persons, of.person, exclusion.until)
            _extend(undated, of.address_surname, exclusion.until)
        elif of.address_surname:
            _extend(names, of.address_surname, exclusion.until)
        elif not exclusion.surname and not exclusion.born_on:
            _extend(addresses, of.address_exact, exclusion.until)
    return Exclusions(persons=persons, undated=undated, names=names, addresses=addresses)


def is_excluded(exclusions: Exclusions, of: Levels, *, signalled_on: date, is_crisis: bool) -> bool:
    """Whether a signal is not passed on (D30). A crisis signal is never excluded."""
    return not is_crisis and is_listed(exclusions, of, signalled_on)


def is_listed(exclusions: Exclusions, of: Levels, on: date) -> bool:
    """Whether somebody is meant on a day; of known residents (spec 3, `known`) it says who is known."""
    return (
        _holds(exclusions.persons, of.person, on)
        or _holds(exclusions.names, of.address_surname, on)
        or _holds(exclusions.addresses, of.address_exact, on)
        or (of.person is None and _holds(exclusions.undated, of.address_surname, on))
    )


def _extend(until: dict[Parts, date], key: Parts, day: date) -> None:
    until[key] = max(day, until.get(key, day))


def _holds(until: Mapping[Parts, date], key: Parts | None, day: date) -> bool:
    return key is not None and key in until and day <= until[key]
