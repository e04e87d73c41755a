"""A dispatch: an outgoing file in a partner's outbox, returns or audit box (spec 1, States)."""

from __future__ import annotations

from enum import StrEnum


class DispatchState(StrEnum):
    """Where a dispatch is."""

    #: being rendered: nobody sees it
    STAGED = "staged"
    READY = "ready"
    #: read whole by the partner; still listed
    COLLECTED = "collected"
    #: a newer one took its place
    REPLACED = "replaced"
    PURGING = "purging"
    PURGED = "purged"


#: States in which a dispatch is listed and can be read.
LISTED = (DispatchState.READY, DispatchState.COLLECTED)


class DispatchKind(StrEnum):
    """What an outgoing file is."""

    MELDINGEN = "meldingen"
    MANIFEST = "manifest"
    RECEIPT = "receipt"
    SIGNAL_STATUS = "signal_status"
    #: a note to a creditor whose file was withdrawn
    WITHDRAWAL = "withdrawal"
