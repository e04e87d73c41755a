"""The tables of what is let go, kept or proved: keys, purges, certificates, holds, approvals, restores.

Random ids, codes, counts and days are in the clear; what people sign is kept as they signed it. Instants are aware UTC.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from gateway.domain.approval import ApprovalState, Subject
from gateway.store.tables import one_of


class ForgottenRow(SQLModel, table=True):
    """Sums over tombstones that went after their term, for the ledger (`gateway.domain.ledger.Forgotten`)."""

    __tablename__ = "forgotten"

    name: str = Field(primary_key=True)
    value: int


class KeyRow(SQLModel, table=True):
    """A key of the keyring as the register knows it; the key itself is never here.

    `version` and what follows it: `gateway.store.key_versions`.
    """

    __tablename__ = "key"

    id: str = Field(primary_key=True)
    version: int = 1
    wanted_version: int | None = None
    compromised_before: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    compromised_at: datetime | None = None
    destroyed_before: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    made_at: datetime
    destroyed_at: datetime | None = None
    #: the run of the purge that destroyed it
    destroyed_in: int | None = None


class PurgeRun(SQLModel, table=True):
    """One run of the purge; `step` is the last step done: a run that was killed goes on where it was.

    `raws` are received files, `deliveries` those of which only the tombstone is left, `contents` the sealed
    contents of rows that stay a while (D30, D40), `rewrapped` unprocessed files that were given another day.
    """

    __tablename__ = "purge_run"

    id: int | None = Field(default=None, primary_key=True)
    due_before: date
    started_at: datetime
    finished_at: datetime | None = None
    step: str = ""
    rewrapped: int = 0
    raws: int = 0
    deliveries: int = 0
    dispatches: int = 0
    signals: int = 0
    answers: int = 0
    exclusions: int = 0
    contents: int = 0
    meldingen: int = 0
    tokens: int = 0
    blobs: int = 0
    data_keys: int = 0
    keys: int = 0
    errors: int = 0


class Destruction(SQLModel, table=True):
    """What a run of the purge takes of one object under one data key, written down before it goes.

    Columns as `gateway.store.going.Going`. `party` is on whose certificate it comes: a municipality, or a
    partner. `destroyed_at` is set when it is seen to be gone, and then `certificate` is its number: that tells `sha256`
    and `key` from then on, which are empty here. No personal data: it stays as long as the certificate.
    """

    __tablename__ = "destruction"
    __table_args__ = (
        # few: what no certificate tells of yet
        Index(
            "destruction_noted",
            *("run_id", "kind", "object_id", "party", "due_on", "key"),
            unique=True,
            sqlite_where=text("certificate IS NULL"),
        ),
        Index("destruction_object", "object_id"),
        Index("destruction_due", "keep_until"),
    )

    id: int | None = Field(default=None, primary_key=True)
    run_id: int
    party: str
    kind: str
    object_id: str
    partner_id: str
    received_at: datetime | None = None
    due_on: date
    rows: int
    sealed_bytes: int
    sha256: bytes = Field(sa_type=LargeBinary)
    key: bytes = Field(sa_type=LargeBinary)
    key_goes: bool
    never_collected: bool
    destroyed_at: datetime | None = None
    certificate: str | None = None
    keep_until: date


class HoldRow(SQLModel, table=True):
    """A legal hold: its deliveries stay past their day, under a key of their own (spec 4, Retention).

    In force from `placed_at` until `lifted_at`; before the first it is asked for. `placed_by` and `lifted_by` are
    its approvers, each on a line. Grounds are a word of `gateway.domain.hold`; no personal data: the row stays.
    """

    __tablename__ = "hold"

    id: str = Field(primary_key=True)
    grounds: str
    authority: str
    reference: str
    review_on: date
    asked_at: datetime
    placed_at: datetime | None = None
    placed_by: str = ""
    lift_asked_at: datetime | None = None
    lifted_at: datetime | None = None
    lifted_by: str = ""


class HoldDelivery(SQLModel, table=True):
    """A delivery that a legal hold covers."""

    __tablename__ = "hold_delivery"
    __table_args__ = (Index("hold_delivery_of", "delivery_id"), {"sqlite_with_rowid": False})

    hold_id: str = Field(primary_key=True)
    delivery_id: str = Field(primary_key=True)


class WaitingRow(SQLModel, table=True):
    """A municipality whose destruction waits for approval: of what is due after `through`; absent: nothing waits."""

    __tablename__ = "waiting"

    municipality: str = Field(primary_key=True)
    through: date


class CompactionRow(SQLModel, table=True):
    """How the database was compacted after a run of the purge; `reason` is empty when it was, wholly."""

    __tablename__ = "compaction"

    run_id: int = Field(primary_key=True)
    at: datetime
    bytes_before: int
    bytes_after: int
    wal_bytes: int
    seconds: float
    busy: bool
    reason: str = ""


class CertificateRow(SQLModel, table=True):
    """A verklaring van vernietiging as it was signed: the exact bytes of both forms. No personal data.

    `packed` are both forms and their signatures, each of so many bytes, packed against those of the certificate `base`;
    empty: against nothing. A certificate and its `base` are forgotten together.
    """

    __tablename__ = "certificate"

    number: str = Field(primary_key=True)
    run_id: int
    party: str
    made_at: datetime
    is_complete: bool
    as_json_bytes: int
    json_signature_bytes: int
    as_text_bytes: int
    text_signature_bytes: int
    base: str
    packed: bytes = Field(sa_type=LargeBinary)
    keep_until: date


class ApprovalRow(SQLModel, table=True):
    """A request for approval by two people: the exact bytes that they sign, and what came of it. No personal data.

    Columns as `gateway.domain.approval.Approval`; `detail` is JSON.
    """

    __tablename__ = "approval"
    __table_args__ = (
        one_of("state", ApprovalState),
        one_of("subject", Subject),
        Index("approval_state", "state"),
    )

    number: str = Field(primary_key=True)
    subject: str
    object_id: str
    municipality: str
    detail: str
    through: date | None = None
    text: bytes = Field(sa_type=LargeBinary)
    state: str
    asked_at: datetime
    asked_by: str
    open_until: date | None = None
    ended_at: datetime | None = None
    posted_at: datetime | None = None


class ApprovalSignatureRow(SQLModel, table=True):
    """A signature under a request for approval; `origin` is where it came from: `cli`, or the id of a partner."""

    __tablename__ = "approval_signature"
    __table_args__ = {"sqlite_with_rowid": False}

    number: str = Field(primary_key=True)
    fingerprint: str = Field(primary_key=True)
    principal: str
    at: datetime
    armour: bytes = Field(sa_type=LargeBinary)
    origin: str


class HeartbeatRow(SQLModel, table=True):
    """The time that is believed; the only row. Columns as `gateway.domain.heartbeat.Heartbeat`."""

    __tablename__ = "heartbeat"

    id: int = Field(primary_key=True)
    at: datetime
    jumped_to: datetime | None = None
    seen_at: datetime | None = None


class RemovalRow(SQLModel, table=True):
    """An early removal as it is kept in `log/`, sealed under a data key of its own (`gateway.vault.removal`).

    It is in the transaction of the removal. `written` is the key and version under which the file in `log/` is
    wrapped, empty until it lies there. It goes once its data key is gone: no backup can be opened by then.
    `about` is the hold that it tells of and a digest of what it tells; empty for what is told once.
    """

    __tablename__ = "removal"
    __table_args__ = (Index("removal_about", "about"),)

    id: str = Field(primary_key=True)
    at: datetime
    sealed: bytes = Field(sa_type=LargeBinary)
    about: str = ""
    written: str = ""


class RestoreRow(SQLModel, table=True):
    """A replay after a restore: one that was killed goes on. `mark` is that of `gateway restore`, empty without one.

    `log_size` is how many entries of the log the restored database held by itself, `taken_in` how many it took in
    again from `log/`; `lists` is None until partners have their lists.
    """

    __tablename__ = "restore"

    id: int | None = Field(default=None, primary_key=True)
    mark: str
    began_at: datetime
    log_size: int
    taken_in: int
    unopenable: int = 0
    removals: int = 0
    lists: int | None = None
    finished_at: datetime | None = None
