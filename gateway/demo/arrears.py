"""Who falls behind with which bill in which month: what creditors will report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from gateway.demo.cast import CREDITORS, MONTHS, MUNICIPALITIES, Creditor
from gateway.demo.residents import Resident, invent


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrear:
    """A resident's arrear with one creditor, as it stands in one month."""

    resident: Resident
    creditor: Creditor
    #: the first day of it
    month: date
    cents: int
    #: the first bill that was not paid
    since: date
    is_crisis: bool


#: How money trouble goes, with how many of a hundred households it goes so. Each pair is a month, counted from
#: the household's first, and a bill, counted in the order in which its bills stay unpaid. Half of all stays with
#: one signal; one in ten has several in a month; four in ten come back (Divosa, monitor 2023).
_COURSES = (
    (48, ((0, 0),)),
    (13, ((0, 0), (0, 1))),
    (3, ((0, 0), (0, 1), (0, 2))),
    (10, ((0, 0), (1, 0))),
    (9, ((0, 0), (1, 0), (2, 0))),
    (8, ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1))),
    (9, ((0, 0), (1, 1))),
)

#: A month's bill in euro, from and to.
_BILLS = {"Huur": (410, 780), "Zorg": (118, 190), "Energie": (95, 290), "Water": (28, 75)}


def invent_arrears(random: Random, months: Sequence[date] = MONTHS) -> list[Arrear]:
    """All arrears of some months (their first days), by municipality: as many a month as it really sees."""
    found: list[Arrear] = []
    for municipality in MUNICIPALITIES:
        counts = dict.fromkeys(months, 0)
        for at, month in enumerate(months):
            while counts[month] < municipality.monthly:
                for arrear in _household(random, invent(random, municipality.code), months[at:]):
                    counts[arrear.month] += 1
                    found.append(arrear)
    return found


def _household(random: Random, resident: Resident, months: Sequence[date]) -> list[Arrear]:
    """The arrears of one household from its first month on; `months` begin with that one."""
    course = random.choices([steps for _, steps in _COURSES], [share for share, _ in _COURSES])[0]
    creditors = [_BY_ID[creditor_id] for creditor_id in resident.customer_numbers]
    bills = [random.randint(*_BILLS[creditor.sector]) * 100 + random.randrange(100) for creditor in creditors]
    behind = [random.randint(35, 62) for _ in creditors]
    return [
        Arrear(
            resident=resident,
            creditor=creditors[bill],
            month=months[month],
            cents=bills[bill] * (month + 1) + random.randrange(2_000),
            since=months[0] + timedelta(days=creditors[bill].days[0] - behind[bill]),
            is_crisis=creditors[bill].sector == "Huur" and random.random() < 0.006,
        )
        for month, bill in course
        if month < len(months) and bill < len(creditors)
    ]


_BY_ID = {creditor.id: creditor for creditor in CREDITORS}
