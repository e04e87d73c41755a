"""What takes two people: requests for approval, who may approve, and when enough have (spec 4, Approvals)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from itertools import combinations

from gateway.clock import add_months, month_of, shift_month

#: In what namespace an approval is signed: `ssh-keygen -Y sign -n retention@gateway`.
NAMESPACE = "retention@gateway"
#: How long a standing approval holds, in calendar months.
STANDING_MONTHS = 12
#: After so many days nobody can sign any more what was asked for one occasion.
OPEN_DAYS = 30


class Subject(StrEnum):
    """What is asked; the values are the wire's words."""

    #: destruction of what is due in a month, for a municipality that approves each
    BATCH = "vernietiging"
    #: destruction on its day, from now until a day, for a municipality that approves once
    STANDING = "doorlopende-vernietiging"
    #: to keep deliveries longer than their term
    HOLD = "bewaring"
    #: to keep them no longer
    LIFT = "opheffing"
    #: to destroy a key before its day
    KEY = "sleutel"
    #: that the clock, which jumped, is right
    CLOCK = "klok"


class ApprovalMode(StrEnum):
    """Who gives leave for destruction on its day: `[mandate] approval` of a municipality."""

    #: the mandate itself, and nobody again
    MANDATE = "mandate"
    #: two people, for a time
    STANDING = "standing"
    #: two people, each month
    PER_BATCH = "per_batch"


class ApprovalState(StrEnum):
    """Where a request for approval is."""

    OPEN = "open"
    #: two people signed: what they approved is in force, or is carried out next
    APPROVED = "approved"
    #: carried out
    DONE = "done"
    #: taken back, or overtaken by another
    DROPPED = "dropped"
    #: not signed by two in time
    EXPIRED = "expired"


#: What is in force once it is approved; the rest is carried out, once.
LASTING = frozenset({Subject.BATCH, Subject.STANDING})
#: What the approvers of a municipality are asked.
ASKED: Mapping[ApprovalMode, Subject] = {
    ApprovalMode.STANDING: Subject.STANDING,
    ApprovalMode.PER_BATCH: Subject.BATCH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A line of `config/approvers`: who may approve, with which key, from and until when.

    `principal` is a function or a staff number, as it stands on certificates; `public_key` is the OpenSSH line
    without comment.
    """

    principal: str
    public_key: str
    fingerprint: str
    valid_after: datetime | None = None
    valid_before: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether a signature with this key counts now."""
        return (self.valid_after is None or self.valid_after <= now) and (
            self.valid_before is None or now < self.valid_before
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who signed a request, with which key, when, and the armoured signature itself."""

    principal: str
    fingerprint: str
    at: datetime
    armour: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A request for approval, with the signatures that it has.

    `text` are the exact bytes that are signed. `detail` is what it says of its subject, `municipality` whose it
    is, empty where it is of none. `through` is the last day for which it gives leave: of BATCH the last due day, of
    STANDING the last day on which it holds. `open_until` is the last day on which it can be signed.
    """

    number: str
    subject: Subject
    object_id: str
    municipality: str
    detail: Mapping[str, str | int]
    through: date | None
    text: bytes
    state: ApprovalState
    asked_at: datetime
    asked_by: str
    open_until: date | None
    ended_at: datetime | None
    posted_at: datetime | None
    signatures: tuple[Signature, ...] = ()


def approvers_digest(approvers: Iterable[Approver]) -> str:
    """Names a set of approvers in the log: who knows their keys sees whether others were named since."""
    keys = "\n".join(sorted(each.fingerprint for each in approvers))
    return sha256(keys.encode()).hexdigest()


def is_approved(signatures: Collection[Signature]) -> bool:
    """Whether two different people signed: other names and other keys."""
    return any(
        one.principal != other.principal and one.fingerprint != other.fingerprint
        for one, other in combinations(signatures, 2)
    )


def approved_through(
    mode: ApprovalMode, approvals: Iterable[Approval], municipality: str, today: date
) -> date | None:
    """The last due day that a municipality's approvers gave leave for; None: nothing of it waits for them.

    Args:
        mode: of the municipality.
        approvals: those that were approved, of whatever municipality and subject.
        municipality: its code.
        today: Europe/Amsterdam.
    """
    if mode is ApprovalMode.MANDATE:
        return None
    subject = ASKED[mode]
    last = max(
        (
            each.through
            for each in approvals
            if (each.subject, each.municipality) == (subject, municipality) and each.through is not None
        ),
        default=date.min,
    )
    return None if mode is ApprovalMode.STANDING and today <= last else last


def gave_leave(
    mode: ApprovalMode, approvals: Iterable[Approval], municipality: str, due_days: Collection[date]
) -> list[Approval]:
    """By which approvals what was due on these days of a municipality was destroyed; by number.

    Of several that cover a day it is the one that reaches least far.
    """
    subject = ASKED.get(mode)
    own = sorted(
        (each.through, each.number, each)
        for each in approvals
        if each.through is not None and (each.subject, each.municipality) == (subject, municipality)
    )
    covering = (next((each for last, _, each in own if last >= day), None) for day in due_days)
    found = {each.number: each for each in covering if each is not None}
    return [found[number] for number in sorted(found)]


def months_to_ask(through: date, today: date, notice_days: int) -> list[str]:
    """The months (`YYYY-MM`) of due days that are to be approved one by one, so long ahead, and are not wholly yet."""
    last = month_of(today + timedelta(days=notice_days))
    months = [month_of(today)]
    while months[-1] < last:
        months.append(shift_month(months[-1], 1))
    return [month for month in months if through < last_day(month)]


def standing_to_ask(through: date, today: date, notice_days: int, mandate_until: date | None) -> date | None:
    """Until when a standing approval is asked for that follows on one that ends `through`; None: none is yet.

    It holds for a year, and no longer than the mandate that it rests on.
    """
    if through > today + timedelta(days=notice_days):
        return None
    until = add_months(max(through, today), STANDING_MONTHS)
    until = until if mandate_until is None or mandate_until < today else min(until, mandate_until)
    return until if until > through else None


def last_day(month: str) -> date:
    """The last day of a month (`YYYY-MM`)."""
    return date.fromisoformat(f"{shift_month(month, 1)}-01") - timedelta(days=1)


def open_until(subject: Subject, asked_on: date, through: date | None) -> date | None:
    """The last day on which a request can be signed; None: as long as it is not overtaken."""
    if subject in {Subject.HOLD, Subject.LIFT, Subject.KEY}:
        return asked_on + timedelta(days=OPEN_DAYS)
    return through if subject is Subject.STANDING else None
