"""Invented residents at real addresses; the same seed gives the same residents, on any machine."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from random import Random
from typing import NamedTuple

from gateway.demo.cast import CREDITORS, Creditor

#: Of a hundred households, so many rent from a housing corporation.
TENANTS = 60


class Address(NamedTuple):
    """A real address, from the register of addresses and buildings (BAG, Kadaster)."""

    municipality: str
    postcode: str
    number: int
    letter: str
    suffix: str
    street: str
    city: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Somebody who does not exist."""

    address: Address
    initials: str
    infix: str
    surname: str
    born_on: date
    phone: str
    email: str
    #: creditor -> this resident's customer number there, in the order in which bills stay unpaid
    customer_numbers: Mapping[str, str]


@cache
def addresses() -> Mapping[str, Sequence[Address]]:
    """Municipality code -> its addresses."""
    found: dict[str, list[Address]] = defaultdict(list)
    packed = resources.files("gateway") / "data" / "addresses_six_municipalities.csv.gz"
    with packed.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8") as lines:
        rows = csv.reader(lines, delimiter=";")
        next(rows)
        for code, postcode, number, letter, suffix, street, city in rows:
            found[code].append(Address(code, postcode, int(number), letter, suffix, street, city))
    return found


def reference_table() -> Iterator[tuple[str, int, str]]:
    """The same addresses as the table that `gateway reference load` reads: postcode, number, municipality."""
    for code, known in addresses().items():
        for address in known:
            yield address.postcode, address.number, code


def invent(random: Random, municipality: str) -> Resident:
    """A resident at a random address of a municipality, with a supplier in each sector."""
    address = random.choice(addresses()[municipality])
    infix, surname = random.choice(_SURNAMES)
    first = random.choice(_INITIALS)
    return Resident(
        address=address,
        initials=f"{first}.{random.choice(_INITIALS)}." if random.random() < 0.5 else f"{first}.",
        infix=infix,
        surname=surname,
        born_on=date(1944, 1, 1) + timedelta(days=random.randrange(60 * 365)),
        phone=f"06000{random.randrange(100_000):05d}",
        email=f"{first.lower()}.{random.randrange(100_000, 999_999)}@example.org",
        customer_numbers={
            creditor.id: str(
                random.randrange(10 ** (creditor.customer_digits - 1), 10**creditor.customer_digits)
            )
            for creditor in _suppliers(random, municipality)
        },
    )


def _suppliers(random: Random, municipality: str) -> list[Creditor]:
    """One creditor a sector, in the order in which bills stay unpaid; who owns a house has no landlord."""
    by_sector: dict[str, list[Creditor]] = defaultdict(list)
    for creditor in CREDITORS:
        if not creditor.works_in or municipality in creditor.works_in:
            by_sector[creditor.sector].append(creditor)
    chosen = [
        random.choice(creditors)
        for sector, creditors in by_sector.items()
        if sector != "Huur" or random.randrange(100) < TENANTS
    ]
    return sorted(
        chosen, key=lambda creditor: random.random() ** (1 / _WEIGHTS[creditor.sector]), reverse=True
    )


#: Which bill stays unpaid first: health insurance is reported most (Divosa, monitor 2024).
_WEIGHTS = {"Zorg": 4, "Energie": 3, "Huur": 3, "Water": 2}

_INITIALS = "ABCDEFGHIJKLMNPRSTVWYZ"

#: Particle and surname, as heard in the north and in the polder.
_SURNAMES = tuple(
    (infix, surname)
    for infix, names in (
        ("", "Hoekstra Dijkstra Wiersma Zijlstra Hofstra Postma Feenstra Terpstra Bouwsma Sikkema"),
        ("", "Eleveld Oosting Hidding Kamerling Wanningen Schuring Bruulsema Nijenhuis Lanjouw Weggemans"),
        ("", "Janssen Pietersen Mulderij Kuipers Schoenmaker Brouwers Smeding Timmerman Kloosterman"),
        (
            "",
            "Y\u0131lmaz Öztürk Kowalczyk Nowakowski Bouazzaoui Müller Günther Fernández Lindström Tesfamariam",
        ),
        ("", "Ponsioen-Wolters Zaalberg-Rutten Daniëls Andriën Bonnée Böhmer Drontmans Flevoorder"),
        ("van der", "Meulen Veen Woude Heide Schaaf Wielen"),
        ("van", "Wijngaarden Oosterhout Ruinen Beilen Terwisscha Slochteren"),
        ("de", "Groot Vries Jonge Haan Boerema Lange"),
        ("ter", "Horst Braak Wal"),
        ("in 't", "Veld Hout"),
        ("op de", "Dijk Hoek"),
        ("'t", "Hart"),
    )
    for surname in names.split()
)
