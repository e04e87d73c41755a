"""A delivery: an inbound file, from OPEN to its tombstone (spec 1, States)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gateway.errors import IllegalTransition


class DeliveryState(StrEnum):
    """Where a delivery is."""

    #: open for writing; its key exists in memory only
    RECEIVING = "receiving"
    #: closed under a temporary name; a RENAME makes it ARRIVED
    STAGED = "staged"
    #: received: OK was or is about to be said
    ARRIVED = "arrived"
    #: claimed by a worker
    PROCESSING = "processing"
    PROCESSED = "processed"
    #: refused as a file, with an F code; or by an administrator
    REJECTED = "rejected"
    #: five crashes while processing: a person must look
    FAILED = "failed"
    #: never received: connection lost, never closed, never renamed
    ABORTED = "aborted"
    PURGING = "purging"
    #: gone; this row is its tombstone
    PURGED = "purged"


class Kind(StrEnum):
    """What is in an inbound file, as its content says (spec 2)."""

    SIGNALS = "signals"
    FEEDBACK = "feedback"
    EXCLUSIONS = "exclusions"
    KNOWN_RESIDENTS = "known_residents"
    REQUESTS = "requests"
    #: under a request for approval
    SIGNATURE = "signature"


#: What may follow what; the table `delivery` repeats the states as a CHECK constraint.
TRANSITIONS: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.RECEIVING: frozenset({DeliveryState.STAGED, DeliveryState.ARRIVED, DeliveryState.ABORTED}),
    DeliveryState.STAGED: frozenset({DeliveryState.ARRIVED, DeliveryState.ABORTED}),
    DeliveryState.ARRIVED: frozenset({DeliveryState.PROCESSING}),
    DeliveryState.PROCESSING: frozenset(
        {
            DeliveryState.PROCESSED,
            DeliveryState.REJECTED,
            DeliveryState.ARRIVED,
            DeliveryState.FAILED,
        }
    ),
    DeliveryState.FAILED: frozenset({DeliveryState.ARRIVED, DeliveryState.REJECTED}),
    DeliveryState.PROCESSED: frozenset({DeliveryState.PURGING}),
    DeliveryState.REJECTED: frozenset({DeliveryState.PURGING}),
    DeliveryState.ABORTED: frozenset({DeliveryState.PURGING}),
    DeliveryState.PURGING: frozenset({DeliveryState.PURGED}),
    DeliveryState.PURGED: frozenset(),
}

#: Crashes while processing after which a delivery is FAILED.
MOST_ATTEMPTS = 5


def check_transition(before: DeliveryState, after: DeliveryState) -> None:
    """Raise IllegalTransition unless the table lists the change."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"a delivery can't go from {before} to {after}")
