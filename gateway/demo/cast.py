"""Who takes part in the demo: six real municipalities, and eleven creditors that do not exist."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from gateway.clock import add_months


class Spelling(Enum):
    """How a creditor's own system writes a surname such as `van der Meer`."""

    #: particle in a column of its own
    APART = "apart"
    #: particle before the name, in one column
    TOGETHER = "together"
    #: the same, in capitals
    CAPITALS = "capitals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Creditor:
    """A creditor and the habits of its system; no two send the same kind of file."""

    id: str
    name: str
    sector: str
    #: days of the month on which it sends its signals, and later what changed in them
    days: tuple[int, int]
    #: where it has customers; empty: everywhere
    works_in: tuple[str, ...] = ()
    delimiter: str = ";"
    encoding: str = "utf-8"
    date_format: str = "%Y-%m-%d"
    decimal_sign: str = ","
    spelling: Spelling = Spelling.APART
    #: its own header for our `klantnummer`; `[columns]` in its file under config/ maps it
    customer_column: str = "klantnummer"
    customer_digits: int = 7
    #: a column of free text in its files: dropped unread (W04)
    has_remarks: bool = False
    #: uploads under a temporary name and renames when all of it is there
    renames: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Municipality:
    """A municipality: the preset it begins with, and how many signals a month it sees (reference: volumes)."""

    code: str
    name: str
    preset: str
    monthly: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A partner that serves municipalities."""

    id: str
    name: str
    serves: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """A partner that looks at whether all goes as it should."""

    id: str
    name: str


#: The three months in which signals come in.
MONTHS = (date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1))


def months_until(day: date) -> tuple[date, ...]:
    """The last three months of which the signals themselves, not yet their changes, were sent before a day."""
    last = (day - timedelta(days=14)).replace(day=1)
    return tuple(add_months(last, back) for back in (-2, -1, 0))


MUNICIPALITIES = (
    Municipality(code="GM1731", name="Midden-Drenthe", preset="midden-drenthe", monthly=168),
    Municipality(code="GM0303", name="Dronten", preset="vps", monthly=250),
    Municipality(code="GM1949", name="Waadhoeke", preset="nwf", monthly=270),
    Municipality(code="GM0072", name="Harlingen", preset="nwf", monthly=100),
    Municipality(code="GM0093", name="Terschelling", preset="nwf", monthly=30),
    Municipality(code="GM0096", name="Vlieland", preset="nwf", monthly=10),
)

COLLECTORS = (
    Collector(id="gemeente-midden-drenthe", name="Gemeente Midden-Drenthe", serves=("GM1731",)),
    Collector(id="gemeente-dronten", name="Gemeente Dronten", serves=("GM0303",)),
    Collector(
        id="dienst-noordwest", name="Dienst Noordwest", serves=("GM1949", "GM0072", "GM0093", "GM0096")
    ),
)

#: Only where somebody looks around.
AUDITOR = Auditor(id="toezicht", name="Bureau Toezicht")

CREDITORS = (
    Creditor(
        id="veenrand",
        name="Veenrand Wonen",
        sector="Huur",
        days=(5, 21),
        works_in=("GM1731",),
        customer_column="Debiteurnummer",
    ),
    Creditor(
        id="terphuis",
        name="Wonen Terphuis",
        sector="Huur",
        days=(5, 21),
        works_in=("GM1949", "GM0072"),
        encoding="cp1252",
        date_format="%d-%m-%Y",
    ),
    Creditor(
        id="eilandhuis",
        name="Eilandhuis",
        sector="Huur",
        days=(5, 21),
        works_in=("GM0093", "GM0096"),
        encoding="utf-16",
        delimiter="\t",
        spelling=Spelling.TOGETHER,
    ),
    Creditor(
        id="polderdak",
        name="Polderdak",
        sector="Huur",
        days=(5, 21),
        works_in=("GM0303",),
        has_remarks=True,
    ),
    Creditor(id="noordster", name="Noordster Zorg", sector="Zorg", days=(5, 21), customer_digits=9),
    Creditor(
        id="zilverlinde",
        name="Zilverlinde Polis",
        sector="Zorg",
        days=(5, 21),
        delimiter=",",
        decimal_sign=".",
        spelling=Spelling.CAPITALS,
    ),
    Creditor(id="onderling-best", name="Onderling Best", sector="Zorg", days=(5, 21), renames=True),
    Creditor(
        id="zonnedauw",
        name="Zonnedauw Energie",
        sector="Energie",
        days=(5, 21),
        spelling=Spelling.TOGETHER,
        date_format="%Y%m%d",
    ),
    Creditor(
        id="turfvuur",
        name="Turfvuur Warmte",
        sector="Energie",
        days=(5, 21),
        encoding="utf-8-sig",
        renames=True,
    ),
    Creditor(id="duinlicht", name="Duinlicht Stroom", sector="Energie", days=(5, 21), date_format="%d/%m/%Y"),
    Creditor(
        id="bron-en-noord",
        name="Bron & Noord",
        sector="Water",
        days=(5, 21),
        spelling=Spelling.CAPITALS,
    ),
)
