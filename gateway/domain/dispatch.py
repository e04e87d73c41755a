"""A dispatch: an outgoing file in a partner's outbox, returns or audit box (spec 1, States)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from gateway.domain.partner import Box


class DispatchState(StrEnum):
    """Where a dispatch is."""

    #: being rendered: nobody sees it
    STAGED = "staged"
    READY = "ready"
    #: read whole by the partner; still listed
    COLLECTED = "collected"
    #: its day is over and its destruction waits for approval: nobody sees it
    BLOCKED = "blocked"
    #: a newer one took its place
    REPLACED = "replaced"
    PURGING = "purging"
    PURGED = "purged"


#: States in which a dispatch is listed and can be read.
LISTED = (DispatchState.READY, DispatchState.COLLECTED)


class DispatchKind(StrEnum):
    """What an outgoing file is."""

    MELDINGEN = "meldingen"
    #: `werklijst_…`: a month as it stands, for people; each replaces the one before
    WORKLIST = "worklist"
    MANIFEST = "manifest"
    RECEIPT = "receipt"
    SIGNAL_STATUS = "signal_status"
    #: `terugkoppeling_…`: what municipalities answered on a creditor's signals
    FEEDBACK = "feedback"
    #: `stand_…`: every live signal of a creditor with its last codes
    STATEMENT = "statement"
    #: `termijnen_…`: what a municipality must do by when
    DEADLINES = "deadlines"
    #: `aanleveroverzicht_…`: what creditors delivered to a municipality in a month
    DELIVERY_REPORT = "delivery_report"
    #: a note to a creditor whose file was withdrawn
    WITHDRAWAL = "withdrawal"
    #: `inzage_<verzoek_id>.html`: what is held on a person, for its municipality
    ACCESS = "access"
    #: `wissen_<verzoek_id>.txt`: what a legal hold keeps of a request to destroy
    ERASURE = "erasure"
    #: `vernietigd_<date>.csv`: what went of a creditor's deliveries
    DESTROYED = "destroyed"
    #: `niet_hersteld_<date>.csv`: deliveries that a restored backup does not know
    NOT_RESTORED = "not_restored"
    #: `goedkeuring_<nr>.txt`: what a municipality is asked to approve
    APPROVAL = "approval"
    #: `verklaring_<nr>`: a certificate of destruction or its signature
    CERTIFICATE = "certificate"


#: What proves a destruction: it is handed out, and goes, without a proof of its own.
PROOFS = (DispatchKind.DESTROYED, DispatchKind.CERTIFICATE)


#: The kinds of outgoing file that a partner gets in an unbroken row, and what their numbers are called.
NUMBERED: Mapping[DispatchKind, str] = {
    DispatchKind.MELDINGEN: "meldingen",
    DispatchKind.SIGNAL_STATUS: "signaalstatus",
    DispatchKind.FEEDBACK: "terugkoppeling",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A file for a partner's box. `belongs_to` is the name of the letter that it comes and goes with."""

    partner_id: str
    box: Box
    name: str
    kind: DispatchKind
    content: bytes
    due_on: date
    municipality: str = ""
    belongs_to: str | None = None
