"""A municipality's policy: how its signals are matched, ranked and published (spec 3, Policy)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.feedback import FeedbackPolicy
from gateway.domain.melding import Klasse


class Grouping(StrEnum):
    """The key by which signals become meldingen."""

    ADDRESS = "address"
    ADDRESS_EXACT = "address_exact"
    PERSON = "person"


class DistinctBy(StrEnum):
    """What must differ for a match in one month."""

    CREDITOR = "creditor"
    SECTOR = "sector"


class ConsecutiveBy(StrEnum):
    """What must recur for a match over months."""

    SAME_CREDITOR = "same_creditor"
    DIFFERENT_SECTOR = "different_sector"
    ANY = "any"


class DeadlineFrom(StrEnum):
    """From when the four weeks of Wgs art. 4(1) run."""

    RECEIPT = "receipt"
    PUBLICATION = "publication"


#: The order of RIS and Midden-Drenthe's plan; the default.
DEFAULT_ORDER = (
    "crisis",
    "total_over:500",
    "many_creditors:2",
    "total_if_many_creditors:2",
    "multiple",
    "total",
)

#: W02: days from ontstaansdatum to signaaldatum that a sector's signals have (DDAS); None: no upper end.
DEFAULT_ARREARS_DAYS: Mapping[str, tuple[int, int | None]] = {
    "Huur": (30, None),
    "Energie": (30, None),
    "Water": (30, None),
    "Zorg": (30, 100),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """`[matching]`."""

    key: Grouping = Grouping.ADDRESS
    distinct_by: DistinctBy = DistinctBy.CREDITOR
    min_distinct: int = 2
    #: 0 switches the rule off; else 2 to 6
    consecutive_months: int = 0
    consecutive_by: ConsecutiveBy = ConsecutiveBy.SAME_CREDITOR
    bridging: bool = False
    always_sectors: tuple[str, ...] = ()
    always_crisis: bool = True
    lookback_months: int = 6
    #: per sector: a lower signal is passed on but does not count for the rules
    min_amount_cents: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """`[actions]`."""

    #: places a month
    visit_capacity: int = 20
    visit_over_cents: int = 50_000
    visit_fill: bool = False
    visit: str = "Huisbezoek"
    match: str = "Brief"
    single: str = "Brief"
    deadline_from: DeadlineFrom = DeadlineFrom.RECEIPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """`[publish]`. `when` is `arrival` or a cron line, Europe/Amsterdam."""

    when: str = "arrival"
    settle_s: float = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`[[route]]`: to whom a melding goes of which all that is stated holds; one that states nothing takes all."""

    #: partner id, role municipality
    to: str
    #: whether the resident is in the list of known residents
    known: bool | None = None
    #: euro cents, strictly more
    total_over_cents: int | None = None
    klasse: Klasse | None = None
    #: one of its signals has one of these
    sectors: tuple[str, ...] = ()
    #: four digits, or four digits and two letters; one of its signals lies in one of these
    postcodes: tuple[str, ...] = ()

    @property
    def takes_all(self) -> bool:
        """Whether nothing goes past it."""
        return self == Route(to=self.to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One municipality's policy; every part has a working default. `code` is `GM` + four digits."""

    code: str
    name: str = ""
    matching: Matching = field(default_factory=Matching)
    order: tuple[str, ...] = DEFAULT_ORDER
    actions: Actions = field(default_factory=Actions)
    publish: Publish = field(default_factory=Publish)
    feedback: FeedbackPolicy = field(default_factory=FeedbackPolicy)
    #: the first that holds; none: the partner that serves the municipality
    routes: tuple[Route, ...] = ()
    #: on what ground known residents are looked for; empty: they are not (Wgs art. 7c(2))
    known_residents_basis: str = ""
    arrears_days: Mapping[str, tuple[int, int | None]] = field(
        default_factory=lambda: dict(DEFAULT_ARREARS_DAYS)
    )
    #: months that contents are held; a municipality may shorten the gateway's term
    signals_months: int = 6
