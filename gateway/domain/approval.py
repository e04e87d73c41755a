"""What takes two people: requests for approval, who may approve, and when enough have (spec 4, Approvals)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import combinations

#: In what namespace an approval is signed: `ssh-keygen -Y sign -n retention@gateway`.
NAMESPACE = "retention@gateway"
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


class ApprovalState(StrEnum):
    """Where a request for approval is."""

    OPEN = "open"
    #: two people signed, and what they approved is in force or carried out
    APPROVED = "approved"
    #: taken back, or overtaken by another
    DROPPED = "dropped"
    #: not signed by two in time
    EXPIRED = "expired"


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


def is_approved(signatures: Collection[Signature]) -> bool:
    """Whether two different people signed: other names and other keys."""
    return any(
        one.principal != other.principal and one.fingerprint != other.fingerprint
        for one, other in combinations(signatures, 2)
    )


def open_until(subject: Subject, asked_on: date, through: date | None) -> date | None:
    """The last day on which a request can be signed; None: as long as it is not overtaken."""
    if subject in {Subject.HOLD, Subject.LIFT, Subject.KEY}:
        return asked_on + timedelta(days=OPEN_DAYS)
    return through if subject is Subject.STANDING else None
