"""A partner: one organisation with one account (spec 1, Partners)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from gateway.clock import add_months, local_day
from gateway.domain.guard import Network, is_within

#: Names of files that are not final: renaming one of them to another name commits it (spec 1, Uploads).
TEMPORARY_NAMES = ("*.filepart", "*.part", "*.partial", "*.tmp", ".*")


#: How long before a key's end it is announced (spec 1, A partner's key).
KEY_NOTICE = timedelta(days=30)


class Role(StrEnum):
    """What a partner is to the exchange; decides its boxes."""

    #: signaalpartner (Wgs): landlord, health insurer, energy or water company
    CREDITOR = "creditor"
    #: gemeente, or an organisation that acts for several
    MUNICIPALITY = "municipality"
    #: controller, FG, accountant
    AUDITOR = "auditor"


class Mode(StrEnum):
    """Whether what a partner sends counts."""

    LIVE = "live"
    #: validated and receipted, never matched, gone after a day
    TRIAL = "proef"


class Box(StrEnum):
    """A folder of the virtual tree."""

    INBOX = "inbox"
    OUTBOX = "outbox"
    RETURNS = "returns"
    AUDIT = "audit"


#: The boxes of each role, in the order in which they are listed.
BOXES: Mapping[Role, tuple[Box, ...]] = {
    Role.CREDITOR: (Box.INBOX, Box.RETURNS),
    Role.MUNICIPALITY: (Box.INBOX, Box.OUTBOX, Box.RETURNS),
    Role.AUDITOR: (Box.AUDIT,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerKey:
    """A public key with its window. `public_key` is an OpenSSH line without comment."""

    public_key: str
    fingerprint: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    comment: str = ""

    @property
    def kind(self) -> str:
        """Its algorithm, by its name in SSH."""
        return self.public_key.split(maxsplit=1)[0]

    def is_valid(self, now: datetime) -> bool:
        """Whether the key may sign at `now`: from `valid_from` up to, not including, `valid_until`."""
        return (self.valid_from is None or self.valid_from <= now) and (
            self.valid_until is None or now < self.valid_until
        )

    @property
    def last_day(self) -> date | None:
        """The last day in the Netherlands on which it lets its partner in; None for a key without an end."""
        return None if self.valid_until is None else local_day(self.valid_until - timedelta(microseconds=1))

    def is_ending(self, now: datetime) -> bool:
        """Whether the key may sign at `now`, and not for long any more."""
        return self.is_valid(now) and self.valid_until is not None and self.valid_until <= now + KEY_NOTICE


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerLimits:
    """What one partner may have and send (`[limits]` in its file). A day is one of Europe/Amsterdam."""

    #: SFTP sessions at a time
    sessions: int = 32
    #: bytes that come in, received in the end or not
    bytes_per_day: int = 10 * 1024**3
    #: files that are opened for writing
    files_per_day: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """One organisation with one account; its SSH user name is its `id`."""

    id: str
    name: str
    role: Role
    contact: str = ""
    language: str = "nl"
    sectors: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    #: municipality codes an auditor sees; None: all
    scope: tuple[str, ...] | None = ()
    keys: tuple[PartnerKey, ...] = ()
    #: where it may come from; empty: anywhere
    allowed_networks: tuple[Network, ...] = ()
    limits: PartnerLimits = PartnerLimits()
    #: own header -> our column
    columns: Mapping[str, str] = field(default_factory=dict)
    #: our column -> constant for a column that its files lack
    defaults: Mapping[str, str] = field(default_factory=dict)
    temporary_names: tuple[str, ...] = TEMPORARY_NAMES
    #: the day of the month by which its signals are expected
    expected_by: int | None = None
    #: none of its keys lets it in
    is_disabled: bool = False
    mode: Mode = Mode.LIVE

    def ending_keys(self, now: datetime) -> tuple[PartnerKey, ...]:
        """Its keys that let it in at `now`, and not for long any more."""
        return () if self.is_disabled else tuple(key for key in self.keys if key.is_ending(now))

    def expected_in(self, month: str) -> date | None:
        """By which day of a month (`YYYY-MM`) its signals are expected: its last at the latest."""
        first = date.fromisoformat(f"{month}-01")
        last = add_months(first, 1) - timedelta(days=1)
        return None if self.expected_by is None else min(first + timedelta(days=self.expected_by - 1), last)

    def can_log_in(self, now: datetime) -> bool:
        """Whether there is a key that lets it in at `now`."""
        return not self.is_disabled and any(key.is_valid(now) for key in self.keys)

    def may_come_from(self, address: str) -> bool:
        """Whether it may connect from an address."""
        return not self.allowed_networks or is_within(address, self.allowed_networks)
