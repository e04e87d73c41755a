"""What a certificate of destruction says (verklaring van vernietiging, Archiefbesluit 1995 art. 8; spec 4).

Ids, codes, counts, days and digests: no personal data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from gateway.domain.approval import Approval, ApprovalMode
from gateway.domain.hold import HeldOut
from gateway.domain.request import Erasure

#: How long a certificate is kept, in calendar months: 7 years (spec 4, Retention).
CERTIFICATE_MONTHS = 84
#: How long a creditor's list of what was destroyed is kept, in days (spec 4, Retention).
LIST_DAYS = 30


class Kind(StrEnum):
    """What of an object goes."""

    #: the received file itself
    FILE = "bestand"
    #: rows of signals, with their contents
    ROWS = "signalen"
    #: what a municipality answered on signals
    ANSWERS = "terugkoppelingen"
    #: residents whom a municipality lists
    EXCLUSIONS = "uitsluitingen"
    KNOWN_RESIDENTS = "bekende inwoners"
    #: sealed contents of rows that stay a while themselves (D30, D40)
    CONTENTS = "inhoud"
    #: an outgoing file
    DISPATCH = "uitgaand"

    @property
    def is_rows(self) -> bool:
        """Whether rows are counted of it, not files."""
        return self in {Kind.ROWS, Kind.ANSWERS, Kind.EXCLUSIONS, Kind.KNOWN_RESIDENTS, Kind.CONTENTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """`[mandate]` of a municipality: who ordered the destruction, and who must approve it besides.

    Nothing is on file while `reference` is empty.
    """

    reference: str = ""
    given_on: date | None = None
    #: the last day on which it holds
    until: date | None = None
    approval: ApprovalMode = ApprovalMode.MANDATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroyed:
    """What was destroyed of one delivery or outgoing file under one data key.

    `received_at` is when an outgoing file was made. `sealed_bytes` and `sha256` are of the ciphertext of the file
    (of signals: of the file that they came in). `key` is the commitment of its data key, empty where there was
    none; `key_destroyed` is False while that key serves rows that stay.
    """

    kind: Kind
    object_id: str
    partner_id: str
    received_at: datetime | None
    due_on: date
    rows: int
    sealed_bytes: int
    sha256: bytes
    key: bytes
    key_destroyed: bool
    never_collected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionFigures:
    """How the database was compacted; sizes in bytes. `reason` is empty when it was, wholly."""

    bytes_before: int
    bytes_after: int
    wal_bytes: int
    seconds: float
    busy: bool
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the checkpoint returned busy = 0 and the WAL is empty."""
        return not self.reason and not self.busy and self.wal_bytes == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """Where the log tells of the destruction: the entry's place, and the checkpoint that covers it."""

    index: int
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate: what one run of the purge destroyed for one party.

    `party` is a municipality code, or the id of a partner when it was only that partner's. `due_before` is the day
    of the run. `keys` are the keys of the keyring that went with it; `copies` the places that held them.
    `unconfirmed` has the (key, copy) of which the destruction could not be confirmed.
    `problems` are the reasons for which it is incomplete, `erasures` the requests for which something went early,
    `approvals` what two people each approved of it, `held` what was left out. `public_key` is the OpenSSH line of the
    signer.
    """

    number: str
    run_id: int
    made_at: datetime
    began_at: datetime
    due_before: date
    party: str
    party_name: str
    is_municipality: bool
    mandate: Mandate
    policy_version: str
    items: tuple[Destroyed, ...]
    keys: tuple[str, ...]
    copies: tuple[str, ...]
    unconfirmed: frozenset[tuple[str, str]] = frozenset()
    compaction: CompactionFigures
    problems: tuple[str, ...]
    erasures: tuple[Erasure, ...]
    approvals: tuple[Approval, ...]
    held: tuple[HeldOut, ...] = ()
    log: LogPlace
    node: str
    version: str
    public_key: str

    @property
    def is_complete(self) -> bool:
        """Whether everything is confirmed; else it says `onvolledig`."""
        return not self.problems
