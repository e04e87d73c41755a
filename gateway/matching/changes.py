"""The life of a `signaal_id`, decided row by row in line order (spec 3, Words; spec 2, V09, V13, V14).

One row, together with what is known of its `signaal_id`, gives one outcome. A row that is rejected for another
reason never comes here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from gateway.domain.signal import Mutation, SignalState


class Outcome(StrEnum):
    """What a row does to its `signaal_id`."""

    #: a signal begins; it may supersede others
    NEW = "new"
    #: the version in force is replaced; the signal keeps its first receipt and its signaalnummer
    CHANGE = "change"
    #: the signal ends: D52
    WITHDRAW = "withdraw"
    #: nothing changes: D50
    UNCHANGED = "unchanged"
    #: refused, V09: the id was used, with other content; or is withdrawn or superseded
    USED = "used"
    #: refused, V13: an earlier N of this file counts
    TWICE = "twice"
    #: refused, V14: W or I on what is unknown, withdrawn, superseded or purged
    UNKNOWN = "unknown"

    @property
    def code(self) -> str:
        """The wire's code of a row that changes nothing; empty when it changes something."""
        return _CODES.get(self, "")

    @property
    def is_rejected(self) -> bool:
        """Whether the row is counted as rejected; an unchanged one is a duplicate (spec 1, Conservation)."""
        return self in _REJECTED


_CODES = {Outcome.UNCHANGED: "D50", Outcome.USED: "V09", Outcome.TWICE: "V13", Outcome.UNKNOWN: "V14"}
_REJECTED = frozenset({Outcome.USED, Outcome.TWICE, Outcome.UNKNOWN})

#: Nothing of these is in force, and no W, I or N (but one of an automatic id) can change that.
ENDED = frozenset({SignalState.WITHDRAWN, SignalState.SUPERSEDED})

#: Their contents are waited for or not kept: the same row again is another try, not a duplicate.
NEVER_ROUTED = frozenset({SignalState.NOT_ROUTABLE, SignalState.NOT_CONNECTED})


def decide(
    mutation: Mutation,
    state: SignalState | None,
    *,
    same_content: bool,
    is_auto: bool = False,
    already_new: bool = False,
) -> Outcome:
    """What one row does.

    Args:
        mutation: what the row asks for.
        state: of its `signaal_id` after the rows above it; None when the id is unknown or purged, held, or overdue.
        same_content: whether an N bears the same content, as sent, as the version in force.
        is_auto: whether the id was made for the partner (`defaults.signaal_id = "auto"`).
        already_new: whether an N of this id higher in this file was not rejected.
    """
    if mutation is not Mutation.NEW:
        if state is None or state in ENDED:
            return Outcome.UNKNOWN
        return Outcome.CHANGE if mutation is Mutation.CHANGE else Outcome.WITHDRAW
    if already_new:
        return Outcome.TWICE
    if state is None:
        return Outcome.NEW
    if state in ENDED:
        return Outcome.NEW if is_auto and state is SignalState.WITHDRAWN else Outcome.USED
    if same_content:
        return Outcome.CHANGE if state in NEVER_ROUTED else Outcome.UNCHANGED
    return Outcome.CHANGE if is_auto else Outcome.USED


def signalled_on(stated: date | None, *, replaced: date | None, received_on: date) -> date:
    """The `signaaldatum` of an accepted row: as stated, else the replaced version's, else the day of receipt."""
    return stated or replaced or received_on


class Claim(NamedTuple):
    """What an in-force signal and a newer one are compared by.

    `signal_id` is anything that tells two ids of one creditor apart, `contract` the place of K1, `address` the
    place of A2, `month` `YYYY-MM`.
    """

    signal_id: Hashable
    contract: Hashable
    signal_type: str
    address: Hashable
    month: str


def superseded(newer: Claim, in_force: Iterable[Claim]) -> list[Claim]:
    """Which signals a row that is `Outcome.NEW` supersedes (D51): the same debt under another id.

    `in_force` holds signals accepted before it, earlier received or higher in its file, neither withdrawn nor
    superseded; excluded ones count. A change never supersedes, also an N that acts as one.
    """
    return [older for older in in_force if older[1:] == newer[1:] and older[0] != newer[0]]
