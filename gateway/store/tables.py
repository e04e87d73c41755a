"""The tables of what is exchanged, and of who comes and goes (the others: `retention_tables.py`). Classes describe; queries go through SQLAlchemy Core on `__table__`.

In the clear: random ids, partner, codes, month, amount, dates (spec 4, promise 1). Everything that
names or locates a person is sealed (`*_sealed`, `sealed`) or a keyed token. Instants are aware UTC.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchState
from gateway.domain.request import RequestState
from gateway.domain.signal import SignalState


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """A column that holds one of these words."""
    # not IN: SQLite makes a table of its list for each row that is stored, which is a sixth of what a signal costs
    listed = " OR ".join(f"{column} = '{value}'" for value in values)
    return CheckConstraint(listed, name=f"{column}_listed")


class Delivery(SQLModel, table=True):
    """An inbound file, from OPEN to its tombstone.

    `received_at` is CLOSE, or RENAME of a staged file: the order (`arrival`) and the term of its signals run
    from it; `closed_at` is CLOSE: the term of the file itself (`raw`) runs from it. `name_token` finds a
    file by the name its partner gave it, under the index key `name_key`; `content_digest` finds the same
    bytes again, under `content_key`. `client_*` is what SETSTAT said: echoed, never obeyed. `is_trial`: its partner
    was on trial when it was received, and nothing of it counts.
    `feedback_count` are its accepted rows of feedback, `answer_count` the signals they answer, each row by row.
    `listed_count` are its rows that list a resident, `ended_count` those that end an exclusion.
    `request_count` are its accepted rows of requests.
    `purged_rows` counts its rows that went, `purged_signals` those of them that were in force: each was the
    last of its signal (spec 1, Conservation).
    """

    __tablename__ = "delivery"
    __table_args__ = (
        one_of("state", DeliveryState),
        Index("delivery_queue", "state", "partner_id", "arrival"),
        # OPEN knows none of the three: an index that it need not touch costs it nothing
        Index("delivery_arrival", "arrival", unique=True, sqlite_where=text("arrival IS NOT NULL")),
        Index("delivery_name", "partner_id", "name_token", sqlite_where=text("name_token IS NOT NULL")),
        Index(
            "delivery_digest", "partner_id", "content_digest", sqlite_where=text("content_digest IS NOT NULL")
        ),
    )

    id: str = Field(primary_key=True)
    partner_id: str
    state: str
    kind: str | None = None
    opened_at: datetime
    closed_at: datetime | None = None
    received_at: datetime | None = None
    arrival: int | None = None
    claimed_at: datetime | None = None
    processed_at: datetime | None = None
    attempts: int = 0
    key_fingerprint: str = ""
    name_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    name_token: bytes | None = Field(default=None, sa_type=LargeBinary)
    name_key: str | None = None
    client_mode: int | None = None
    client_modified: int | None = None
    client_accessed: int | None = None
    is_hidden: bool = False
    blob: str | None = None
    #: the process that received it
    process: str = ""
    size_bytes: int = 0
    sealed_bytes: int = 0
    sealed_sha256: bytes | None = Field(default=None, sa_type=LargeBinary)
    sha256_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    content_digest: bytes | None = Field(default=None, sa_type=LargeBinary)
    content_key: str | None = None
    refusal: str | None = None
    reason: str | None = None
    row_count: int = 0
    new_count: int = 0
    changed_count: int = 0
    withdrawn_count: int = 0
    rejected_count: int = 0
    duplicate_count: int = 0
    accepted_count: int = 0
    feedback_count: int = 0
    answer_count: int = 0
    listed_count: int = 0
    ended_count: int = 0
    request_count: int = 0
    every_row_dated: bool = False
    is_trial: bool = False
    raw_due_on: date | None = None
    raw_gone_at: datetime | None = None
    purged_at: datetime | None = None
    purged_rows: int = 0
    purged_signals: int = 0


class DataKeyRow(SQLModel, table=True):
    """A wrapped data key: one object, one due day and, for rows, one municipality (spec 4, Keys)."""

    __tablename__ = "data_key"
    __table_args__ = (
        # two while what a compromised version protected is sealed again
        UniqueConstraint("object_id", "municipality", "due_on", "key_version"),
        Index("data_key_of", "key_id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    object_id: str
    partner_id: str
    municipality: str = ""
    due_on: date
    key_id: str
    key_version: int = 1
    wrapped: bytes = Field(sa_type=LargeBinary)
    commitment: bytes = Field(sa_type=LargeBinary)


class SignalRow(SQLModel, table=True):
    """One version of a signal. The version in force has `in_force`; W makes a new row.

    Rows that a delivery stages are not in force before its last transaction: nobody sees them until then.

    `number` is the signaalnummer. `received_at` is the receipt of this version (its term runs from it);
    `first_received_at`, `first_arrival` and `first_line` are those of the first version (order, rank,
    deadline). `place_*` are random numbers that stand for a key (spec 4, Rows and index). `content_token`
    tells whether a row is the same again, under the index key `content_key`. D41 rows have no `sealed`.
    `passed_on_at` is when its melding first went out with it, `reported_before` whether that was D11. `is_erased`:
    a request to destroy ended it, so that it waits for no approval.
    """

    __tablename__ = "signal"
    __table_args__ = (
        one_of("state", SignalState),
        Index("signal_number", "number"),
        Index("signal_s1", "place_s1"),
        Index("signal_k1", "place_k1", "month"),
        Index("signal_a1", "place_a1", "month"),
        Index("signal_a2", "place_a2", "month"),
        Index("signal_person", "place_person", "month"),
        Index("signal_melding", "melding_id"),
        Index("signal_delivery", "delivery_id", "data_key_id"),
        Index("signal_due", "due_on"),
        # few: what waits, and what ended before it went out; a list of residents is held against it
        Index("signal_unpublished", "municipality", sqlite_where=text("passed_on_at IS NULL")),
        # few: D30, D40
        Index("signal_contents_due", "contents_due_on", sqlite_where=text("contents_due_on < due_on")),
    )

    id: int | None = Field(default=None, primary_key=True)
    number: str
    delivery_id: str
    data_key_id: int | None = None
    line: int
    creditor: str
    municipality: str
    month: str
    state: str
    in_force: bool = False
    sector: str
    signal_type: str
    is_crisis: bool
    warm_handover: bool
    amount_cents: int
    signalled_on: date
    since: date
    supply_ends_on: date | None = None
    received_at: datetime
    first_received_at: datetime
    first_arrival: int
    first_line: int
    place_s1: int = Field(sa_type=BigInteger)
    place_k1: int = Field(sa_type=BigInteger)
    place_a1: int = Field(sa_type=BigInteger)
    place_a2: int = Field(sa_type=BigInteger)
    place_p1: int | None = Field(default=None, sa_type=BigInteger)
    place_as: int | None = Field(default=None, sa_type=BigInteger)
    place_person: int = Field(sa_type=BigInteger)
    content_token: bytes = Field(sa_type=LargeBinary)
    content_key: str
    melding_id: str | None = None
    passed_on_at: datetime | None = None
    reported_before: bool = False
    due_on: date
    contents_due_on: date
    is_erased: bool = False
    sealed: bytes | None = Field(default=None, sa_type=LargeBinary)


class AnswerRow(SQLModel, table=True):
    """What a municipality answered on one signal (spec 2, Feedback file): ids, codes and days only.

    It counts while its delivery is PROCESSED: before that it is staged. `arrival` and `line` are its order of
    receipt. `partner_id` is who answered, for `municipality`. `due_on` is that of the signal,
    `is_erased` as for it.
    """

    __tablename__ = "answer"
    __table_args__ = (
        Index("answer_signal", "signal_number"),
        Index("answer_delivery", "delivery_id"),
        Index("answer_due", "due_on"),
    )

    id: int | None = Field(default=None, primary_key=True)
    delivery_id: str
    arrival: int
    line: int
    signal_number: str
    melding_id: str
    municipality: str
    partner_id: str
    outcome: str
    on: date
    contact: str | None = None
    reached: bool | None = None
    consents: bool
    suspend_until: date | None = None
    due_on: date
    is_erased: bool = False


class ExclusionRow(SQLModel, table=True):
    """A resident whom a municipality lists, by a file of `kind` exclusions or known_residents; all else is sealed.

    Rows that a delivery stages are not in force before its last transaction; one that was replaced or ended no longer
    is. There are no tokens: the few rows of a municipality are opened in memory (spec 4, Rows and index). `until` is
    the last day, inclusive; after `due_on` the row goes. `is_erased` as for a signal.
    """

    __tablename__ = "exclusion"
    __table_args__ = (
        Index("exclusion_municipality", "municipality", "kind"),
        Index("exclusion_delivery", "delivery_id"),
        Index("exclusion_due", "due_on"),
    )

    id: int | None = Field(default=None, primary_key=True)
    delivery_id: str
    data_key_id: int
    line: int
    kind: str
    partner_id: str
    municipality: str
    in_force: bool = False
    until: date
    due_on: date
    is_erased: bool = False
    sealed: bytes = Field(sa_type=LargeBinary)


class RequestRow(SQLModel, table=True):
    """A municipality's request about a person: ids, codes and times only.

    Whom it is about stands in the received file, at `line`: that is kept until the request is carried out. `number` is
    the municipality's own, `verzoek_id`. `parties` are those on whose certificates an erasure comes, `deliveries` those
    in which it found the person, `backups_until` the last day on which a backup can be opened, `held_at` when a legal
    hold first kept something of it. The row stays until its term: its number is used up.
    """

    __tablename__ = "request"
    __table_args__ = (
        one_of("state", RequestState),
        UniqueConstraint("partner_id", "number"),
        Index("request_state", "state", "due_at"),
        Index("request_delivery", "delivery_id"),
    )

    id: str = Field(primary_key=True)
    partner_id: str
    number: str
    ask: str
    state: str
    delivery_id: str
    line: int
    received_at: datetime
    due_at: datetime
    done_at: datetime | None = None
    parties: str = ""
    deliveries: str = ""
    backups_until: date | None = None
    held_at: datetime | None = None


class IndexToken(SQLModel, table=True):
    """A keyed token and the place it leads to; gone with its index key."""

    __tablename__ = "index_token"
    __table_args__ = {"sqlite_with_rowid": False}

    key_id: str = Field(primary_key=True)
    level: str = Field(primary_key=True)
    token: bytes = Field(sa_type=LargeBinary, primary_key=True)
    place: int = Field(sa_type=BigInteger)


class GroupingRow(SQLModel, table=True):
    """The key by which a municipality's month is grouped: a change takes effect from the next month."""

    __tablename__ = "grouping"

    municipality: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    level: str


class PolicyRow(SQLModel, table=True):
    """The policy that a municipality's month was published under last, as JSON, and the partner that served it."""

    __tablename__ = "policy"

    municipality: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    policy: str
    server: str


class MeldingRow(SQLModel, table=True):
    """A melding. `touched_at` is set while it must be looked at again.

    `is_lost` says that the file it was published in went before it was collected: it is published again.

    `published` is the content of the last publication as a JSON array (counts, flags, dates; no personal data):
    ranks are made from it. `crisis_at` is the first publication with rule CRISIS. `due_on` is the latest
    due day of any signal it ever held: an emptied melding comes back under its id until then.
    """

    __tablename__ = "melding"
    __table_args__ = (
        UniqueConstraint("municipality", "month", "level", "place"),
        # few, looked for at every step of the worker: without it each look reads all meldingen
        Index(
            "melding_touched",
            "municipality",
            "touched_at",
            "is_urgent",
            sqlite_where=text("touched_at IS NOT NULL"),
        ),
        # fewer still, looked for before each file, however much else waits
        Index(
            "melding_urgent",
            *("is_urgent", "municipality", "touched_at"),
            sqlite_where=text("touched_at IS NOT NULL AND is_urgent = 1"),
        ),
        # the whole of what `touch` asks for: by place alone SQLite prefers to walk a municipality's months
        Index("melding_place", "place", "municipality", "month"),
    )

    id: str = Field(primary_key=True)
    municipality: str
    month: str
    level: str
    place: int = Field(sa_type=BigInteger)
    created_at: datetime
    touched_at: datetime | None = None
    is_urgent: bool = False
    is_lost: bool = False
    version: int = 0
    partner_id: str | None = None
    klasse: str | None = None
    fingerprint: str | None = None
    published: str | None = None
    first_published_at: datetime | None = None
    published_at: datetime | None = None
    crisis_at: datetime | None = None
    due_on: date


class DeliveryShare(SQLModel, table=True):
    """How many signals of a delivery, new and changed, were taken for a municipality (empty: D40 and D41).

    It stays with the tombstone.
    """

    __tablename__ = "delivery_share"
    __table_args__ = (Index("delivery_share_of", "municipality"), {"sqlite_with_rowid": False})

    delivery_id: str = Field(primary_key=True)
    municipality: str = Field(primary_key=True)
    signals: int


class Publication(SQLModel, table=True):
    """One publication of a municipality's meldingen to a partner, with the hash of the policy."""

    __tablename__ = "publication"

    id: str = Field(primary_key=True)
    municipality: str
    partner_id: str
    at: datetime
    policy_hash: str
    melding_count: int


#: SQLite uses the index of what is listed where a question says the same as it, word for word.
IS_LISTED = text("state IN ('ready', 'collected')")


class Dispatch(SQLModel, table=True):
    """An outgoing file. `parent_id`: the file whose manifest or second form this is."""

    __tablename__ = "dispatch"
    __table_args__ = (
        one_of("state", DispatchState),
        # a newer worklist has the name of the one that it replaces
        Index(
            "dispatch_listed",
            "partner_id",
            "box",
            "name",
            unique=True,
            sqlite_where=IS_LISTED,
        ),
        Index("dispatch_due", "due_on"),
    )

    id: str = Field(primary_key=True)
    partner_id: str
    box: str
    name: str
    kind: str
    state: str
    municipality: str = ""
    delivery_id: str | None = None
    parent_id: str | None = None
    blob: str
    size_bytes: int
    sealed_bytes: int
    sealed_sha256: bytes = Field(sa_type=LargeBinary)
    created_at: datetime
    collected_at: datetime | None = None
    removed_at: datetime | None = None
    due_on: date
    purged_at: datetime | None = None


class WorklistRow(SQLModel, table=True):
    """The worklist of a partner, municipality and month: `version` is how often it was made.

    `is_due` is set by a publication, and taken back with the worklist that tells of it; `marked` counts how often it was
    set, so that a worklist that was overtaken while it was made is known.
    """

    __tablename__ = "worklist"
    __table_args__ = (Index("worklist_due", "is_due"), {"sqlite_with_rowid": False})

    partner_id: str = Field(primary_key=True)
    municipality: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    version: int = 0
    is_due: bool
    marked: int = 1


class DispatchContent(SQLModel, table=True):
    """Whose rows an outgoing file tells of: how many signals of a delivery. It stays while both tombstones do."""

    __tablename__ = "dispatch_content"
    __table_args__ = (Index("dispatch_content_of", "delivery_id"), {"sqlite_with_rowid": False})

    dispatch_id: str = Field(primary_key=True)
    delivery_id: str = Field(primary_key=True)
    signal_count: int


class Counter(SQLModel, table=True):
    """Running numbers: arrivals, and the `seq` of each partner's files."""

    __tablename__ = "counter"

    name: str = Field(primary_key=True)
    value: int


class PartnerKeyUse(SQLModel, table=True):
    """A key of a partner that somebody logged in with: fingerprint and times, no address."""

    __tablename__ = "partner_key_use"
    __table_args__ = {"sqlite_with_rowid": False}

    partner_id: str = Field(primary_key=True)
    fingerprint: str = Field(primary_key=True)
    first_used_at: datetime
    last_used_at: datetime


class PenaltyRow(SQLModel, table=True):
    """What a source scored (`gateway.domain.guard.Standing`): an IPv4 address, or an IPv6 network of 64 bits."""

    __tablename__ = "penalty"

    source: str = Field(primary_key=True)
    score: float
    until: datetime


class OpenSessions(SQLModel, table=True):
    """How many sessions of a partner one process has open. What a killed process left counts until `until`."""

    __tablename__ = "open_sessions"
    __table_args__ = {"sqlite_with_rowid": False}

    process: str = Field(primary_key=True)
    partner_id: str = Field(primary_key=True)
    sessions: int
    until: datetime


class DayUse(SQLModel, table=True):
    """What a partner sent on the last day it sent anything: files opened, bytes that came in."""

    __tablename__ = "day_use"

    partner_id: str = Field(primary_key=True)
    day: date
    files: int
    bytes: int = Field(sa_type=BigInteger)


class Schedule(SQLModel, table=True):
    """When a scheduled job ran last, so that a missed run is made up for after a restart."""

    __tablename__ = "schedule"

    job: str = Field(primary_key=True)
    last_run_at: datetime


class ConfigurationRow(SQLModel, table=True):
    """A generation of the configuration; `digest` is of its files, whose contents are not kept."""

    __tablename__ = "configuration"

    generation: int = Field(primary_key=True)
    digest: str
    since: datetime


class AuditEntry(SQLModel, table=True):
    """An entry of the audit log; `leaf_index` is given by the sequencer. `entry` is None after the log's term."""

    __tablename__ = "audit_entry"
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True)
    at: datetime
    entry: bytes | None = Field(default=None, sa_type=LargeBinary)
    leaf_index: int | None = Field(default=None, unique=True)
    leaf_hash: bytes | None = Field(default=None, sa_type=LargeBinary)


class AuditPruned(SQLModel, table=True):
    """The first entry whose contents are held, and since when: those before it went after the log's term."""

    __tablename__ = "audit_pruned"

    held_from: int = Field(primary_key=True)
    at: datetime


class AuditCheckpoint(SQLModel, table=True):
    """A signed checkpoint: size, root and the whole note."""

    __tablename__ = "audit_checkpoint"

    id: int | None = Field(default=None, primary_key=True)
    size: int
    root: bytes = Field(sa_type=LargeBinary)
    note: str
    at: datetime
