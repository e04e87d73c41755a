"""Lists of what is held and what was destroyed: a creditor's, and the auditor's (spec 2, spec 4). No personal data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

from gateway.domain.certificate import Kind
from gateway.files.cells import day, number, render_csv

DESTROYED_COLUMNS = ("delivery_id", "ontvangen_op", "vernietigd_op", "aantal")
REGISTER_COLUMNS = (
    "id",
    "soort",
    "partner",
    "gemeentecode",
    "ontvangen_op",
    "bewaard_tot_en_met",
    "aantal",
    "vernietigd_op",
    "verklaring",
    "bewaring",
)
HOLD_COLUMNS = (
    "bewaring",
    "grondslag",
    "instantie",
    "kenmerk",
    "geplaatst_op",
    "heroverwegen_voor",
    "opgeheven_op",
    "aanleveringen",
    "onderdelen",
)
NOTICE_COLUMNS = (
    "vervalt_na",
    "id",
    "soort",
    "partner",
    "gemeentecode",
    "ontvangen_op",
    "aantal",
)
GROUND_COLUMNS = ("gemeentecode", "grondslag", "sha256")
KEY_COLUMNS = ("sleutel", "gemaakt_op", "vernietigd_op")


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyedRow:
    """Signals of a delivery that were destroyed together."""

    delivery_id: str
    received_on: date | None
    destroyed_on: date
    signal_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterRow:
    """What is or was held of an object; `signal_count` None: it is a file. Not destroyed: no day, no certificate.

    `hold_id` names what keeps it past its day.
    """

    object_id: str
    kind: Kind
    partner_id: str
    municipality: str
    received_on: date | None
    due_on: date | None
    signal_count: int | None = None
    destroyed_on: date | None = None
    certificate: str = ""
    hold_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLine:
    """A legal hold, or what waits for approval (no authority, no days): `objects` are kept past their day by it now."""

    hold_id: str
    grounds: str
    objects: int
    authority: str = ""
    reference: str = ""
    placed_on: date | None = None
    review_on: date | None = None
    lifted_on: date | None = None
    deliveries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """A key of the keyring."""

    key_id: str
    made_on: date
    destroyed_on: date | None


def render_destroyed(rows: Iterable[DestroyedRow]) -> Iterator[bytes]:
    """`vernietigd_<date>.csv` for a creditor."""
    return render_csv(
        DESTROYED_COLUMNS,
        (
            (row.delivery_id, day(row.received_on), day(row.destroyed_on), str(row.signal_count))
            for row in rows
        ),
    )


def render_register(rows: Iterable[RegisterRow]) -> Iterator[bytes]:
    """`bewaarregister_<YYYY-MM>.csv`: what was received or made in a month, until when it is held, when it went."""
    return render_csv(
        REGISTER_COLUMNS,
        (
            (
                row.object_id,
                row.kind.value,
                row.partner_id,
                row.municipality,
                day(row.received_on),
                day(row.due_on),
                number(row.signal_count),
                day(row.destroyed_on),
                row.certificate,
                row.hold_id,
            )
            for row in rows
        ),
    )


def render_notice(rows: Iterable[RegisterRow]) -> Iterator[bytes]:
    """`aankondiging.csv`: what will go, so that somebody can object."""
    return render_csv(
        NOTICE_COLUMNS,
        (
            (
                day(row.due_on),
                row.object_id,
                row.kind.value,
                row.partner_id,
                row.municipality,
                day(row.received_on),
                number(row.signal_count),
            )
            for row in rows
        ),
    )


def render_holds(rows: Iterable[HoldLine]) -> Iterator[bytes]:
    """`bewaringen.csv`: legal holds and what waits for approval; one that was lifted stays in the list."""
    return render_csv(
        HOLD_COLUMNS,
        (
            (
                row.hold_id,
                row.grounds,
                row.authority,
                row.reference,
                day(row.placed_on),
                day(row.review_on),
                day(row.lifted_on),
                " ".join(row.deliveries),
                str(row.objects),
            )
            for row in rows
        ),
    )


def render_keys(rows: Iterable[KeyLine]) -> Iterator[bytes]:
    """`sleutelregister_<YYYY-MM>.csv`: keys made in a month, and when they were destroyed."""
    return render_csv(KEY_COLUMNS, ((row.key_id, day(row.made_on), day(row.destroyed_on)) for row in rows))


def render_grounds(grounds: Mapping[str, str]) -> Iterator[bytes]:
    """`grondslagen.csv`: on what ground municipalities have known residents looked for, by code.

    The digest is that in the log's entries on their files: it tells whether the text was the same then.
    """
    return render_csv(
        GROUND_COLUMNS,
        ((code, text, sha256(text.encode()).hexdigest()) for code, text in sorted(grounds.items())),
    )
