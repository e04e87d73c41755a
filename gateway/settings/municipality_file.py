"""`config/municipalities/<code>.toml`: one municipality's policy (spec 3, Policy of a municipality)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.cron import check_line
from gateway.domain.approval import ApprovalMode
from gateway.domain.certificate import Mandate
from gateway.domain.feedback import TELLABLE, FeedbackCode, FeedbackPolicy, HelpAccepted
from gateway.domain.melding import Klasse
from gateway.domain.policy import (
    DEFAULT_ARREARS_DAYS,
    DEFAULT_ORDER,
    Actions,
    ConsecutiveBy,
    DeadlineFrom,
    DistinctBy,
    Grouping,
    Matching,
    Policy,
    Publish,
    Route,
)
from gateway.matching.municipality import Successor
from gateway.matching.rank import check_order
from gateway.settings.fields import (
    Cents,
    Day,
    Flag,
    GemeenteCode,
    Months,
    Postcode,
    Sector,
    Table,
    Whole,
    Words,
)


def _check_consecutive(value: int) -> int:
    if value not in (0, 2, 3, 4, 5, 6):
        raise ValueError(f"must be 0 (the rule is off) or 2 to 6, not {value}")
    return value


def _check_names(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        check_order(name)
    if repeated := {name for name in value if value.count(name) > 1}:
        raise ValueError(f"stands twice: {', '.join(sorted(repeated))}")
    return value


def _check_tell(value: tuple[FeedbackCode, ...]) -> tuple[FeedbackCode, ...]:
    if wrong := [code.value for code in value if code not in TELLABLE]:
        raise ValueError(f"{', '.join(wrong)} can't be listed: only {' and '.join(TELLABLE)} can")
    return value


def _check_some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("names none, so nothing would ever go there: name some, or take it out")
    return value


def _check_when(value: str) -> str:
    return value if value == "arrival" else check_line(value)


def _check_reference(value: str) -> str:
    if len(value) > 200 or not value.isprintable() or value != value.strip():
        raise ValueError("write at most 200 printable characters without white space around them")
    return value


def _read_window(value: Any) -> tuple[int, int | None]:
    numbers = value if isinstance(value, list) else []
    whole = all(type(number) is int for number in numbers)
    if whole and len(numbers) == 1 and numbers[0] >= 0:
        return numbers[0], None
    if whole and len(numbers) == 2 and 0 <= numbers[0] <= numbers[1]:
        return numbers[0], numbers[1]
    raise ValueError("write [from] or [from, to] in whole days, such as [30] or [30, 100]")


class MatchingTable(Table):
    """`[matching]`."""

    key: Grouping = Grouping.ADDRESS
    distinct_by: DistinctBy = DistinctBy.CREDITOR
    min_distinct: Annotated[Whole, Field(ge=1, le=20)] = 2
    consecutive_months: Annotated[Whole, AfterValidator(_check_consecutive)] = 0
    consecutive_by: ConsecutiveBy = ConsecutiveBy.SAME_CREDITOR
    bridging: Flag = False
    always_sectors: tuple[Sector, ...] = ()
    always_crisis: Flag = True
    lookback_months: Annotated[Whole, Field(ge=0, le=12)] = 6
    min_amount: Mapping[Sector, Cents] = {}

    def value(self) -> Matching:
        """The table as a value of the domain."""
        return Matching(
            key=self.key,
            distinct_by=self.distinct_by,
            min_distinct=self.min_distinct,
            consecutive_months=self.consecutive_months,
            consecutive_by=self.consecutive_by,
            bridging=self.bridging,
            always_sectors=self.always_sectors,
            always_crisis=self.always_crisis,
            lookback_months=self.lookback_months,
            min_amount_cents=dict(self.min_amount),
        )


class RankingTable(Table):
    """`[ranking]`."""

    order: Annotated[tuple[str, ...], AfterValidator(_check_names)] = DEFAULT_ORDER


class ActionsTable(Table):
    """`[actions]`."""

    visit_capacity: Annotated[Whole, Field(ge=0)] = 20
    visit_over: Cents = 50_000
    visit_fill: Flag = False
    visit: Words = "Huisbezoek"
    match: Words = "Brief"
    single: Words = "Brief"
    deadline_from: DeadlineFrom = DeadlineFrom.RECEIPT

    def value(self) -> Actions:
        """The table as a value of the domain."""
        return Actions(
            visit_capacity=self.visit_capacity,
            visit_over_cents=self.visit_over,
            visit_fill=self.visit_fill,
            visit=self.visit,
            match=self.match,
            single=self.single,
            deadline_from=self.deadline_from,
        )


class PublishTable(Table):
    """`[publish]`."""

    when: Annotated[str, AfterValidator(_check_when)] = "arrival"
    settle_s: Annotated[float, Field(ge=0, le=3600)] = 5


class FeedbackTable(Table):
    """`[feedback]`: what creditors may know of a municipality's answers."""

    help_accepted: HelpAccepted = HelpAccepted.CONSENT
    tell: Annotated[tuple[FeedbackCode, ...], AfterValidator(_check_tell)] = ()

    def value(self) -> FeedbackPolicy:
        """The table as a value of the domain."""
        return FeedbackPolicy(help_accepted=self.help_accepted, tell=self.tell)


class RouteTable(Table):
    """`[[route]]`: all that it states must hold; one that states nothing takes all."""

    to: str
    known: Flag | None = None
    total_over: Cents | None = None
    klasse: Literal["MATCH", "ENKELVOUDIG"] | None = None
    sectors: Annotated[tuple[Sector, ...], AfterValidator(_check_some)] = ()
    postcodes: Annotated[tuple[Postcode, ...], AfterValidator(_check_some)] = ()

    def value(self) -> Route:
        """The table as a value of the domain."""
        return Route(
            to=self.to,
            known=self.known,
            total_over_cents=self.total_over,
            klasse=None if self.klasse is None else Klasse(self.klasse),
            sectors=self.sectors,
            postcodes=self.postcodes,
        )


class KnownResidentsTable(Table):
    """`[known_residents]`: files of them are refused while the ground is not stated (spec 2)."""

    legal_basis: Annotated[str, AfterValidator(_check_reference)] = ""


class OwnRetentionTable(Table):
    """`[retention]`: only what a municipality may shorten."""

    signals: Months | None = None


class MandateTable(Table):
    """`[mandate]`: who ordered the destruction; printed on the certificate. Empty: not on file."""

    approval: ApprovalMode = ApprovalMode.MANDATE
    reference: Annotated[str, AfterValidator(_check_reference)] = ""
    date: Day = None
    until: Day = None

    def value(self) -> Mandate:
        """The table as a value of the domain."""
        return Mandate(reference=self.reference, given_on=self.date, until=self.until, approval=self.approval)


class MunicipalityFile(Table):
    """The whole file."""

    #: the municipality that took over, from a day on
    successor: GemeenteCode | None = None
    starts_on: Annotated[Day, Field(alias="from")] = None
    matching: MatchingTable = MatchingTable()
    ranking: RankingTable = RankingTable()
    actions: ActionsTable = ActionsTable()
    publish: PublishTable = PublishTable()
    feedback: FeedbackTable = FeedbackTable()
    route: tuple[RouteTable, ...] = ()
    known_residents: KnownResidentsTable = KnownResidentsTable()
    #: sector -> days of arrears outside which a signal gets W02
    arrears_days: Mapping[Sector, Annotated[tuple[int, int | None], BeforeValidator(_read_window)]] = {}
    retention: OwnRetentionTable = OwnRetentionTable()
    mandate: MandateTable = MandateTable()

    def policy(self, code: str, name: str, *, signals_months: int) -> Policy:
        """The policy of municipality `code`; `signals_months` is the gateway's term."""
        return Policy(
            code=code,
            name=name,
            matching=self.matching.value(),
            order=self.ranking.order,
            actions=self.actions.value(),
            publish=Publish(when=self.publish.when, settle_s=self.publish.settle_s),
            feedback=self.feedback.value(),
            routes=tuple(each.value() for each in self.route),
            known_residents_basis=self.known_residents.legal_basis,
            arrears_days={**DEFAULT_ARREARS_DAYS, **self.arrears_days},
            signals_months=self.retention.signals or signals_months,
        )

    def merger(self) -> Successor | None:
        """The municipality that took over; None unless it merged."""
        if self.successor is None or self.starts_on is None:
            return None
        return Successor(self.successor, self.starts_on)
