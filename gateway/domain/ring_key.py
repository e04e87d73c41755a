"""The states of a key of the keyring, after NIST SP 800-57 part 1 rev. 5, section 7 (spec 4, Keys)."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from gateway.clock import month_of


class KeyState(StrEnum):
    """What a key may be used for."""

    #: made ahead: nothing is protected by it, and nothing that comes in today will be
    PRE_ACTIVE = "pre-active"
    #: protects what comes in
    ACTIVE = "active"
    #: opens or finds what it protected before, and protects nothing new
    DEACTIVATED = "deactivated"
    #: somebody may know it: what it protected is being sealed again, and then it is destroyed
    COMPROMISED = "compromised"
    #: gone for good
    DESTROYED = "destroyed"


def key_state(
    *,
    day: date | None,
    month: str | None,
    protects: int,
    is_destroyed: bool,
    is_compromised: bool = False,
    today: date,
    last_needed: date,
) -> KeyState:
    """The state of a key on a day.

    Args:
        day: the due day of an `until-` key.
        month: the month (`YYYY-MM`) of an `index-` key; a key without day and month is of a hold.
        protects: how many data keys it wraps, or index tokens it made.
        is_destroyed: whether its destruction is on record.
        is_compromised: whether somebody may know a version of it that is not destroyed yet.
        today: the day, Europe/Amsterdam.
        last_needed: the last due day that something received today can get.
    """
    if is_destroyed:
        return KeyState.DESTROYED
    if is_compromised:
        return KeyState.COMPROMISED
    if day is not None:
        if day < today:
            return KeyState.DEACTIVATED
        return KeyState.PRE_ACTIVE if day > last_needed and not protects else KeyState.ACTIVE
    if month is not None and month != month_of(today):
        return KeyState.PRE_ACTIVE if month > month_of(today) else KeyState.DEACTIVATED
    return KeyState.ACTIVE
