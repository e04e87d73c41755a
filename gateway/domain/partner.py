"""A partner: one organisation with one account (spec 1, Partners)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gateway.domain.guard import Network, is_within

#: Names of files that are not final: renaming one of them to another name commits it (spec 1, Uploads).
TEMPORARY_NAMES = ("*.filepart", "*.part", "*.partial", "*.tmp", ".*")


class Role(StrEnum):
    """What a partner is to the exchange; decides its boxes."""

    #: signaalpartner (Wgs): landlord, health insurer, energy or water company
    CREDITOR = "creditor"
    #: gemeente, or an organisation that acts for several
    MUNICIPALITY = "municipality"
    #: controller, FG, accountant
    AUDITOR = "auditor"


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

    def is_valid(self, now: datetime) -> bool:
        """Whether the key may sign at `now`: from `valid_from` up to, not including, `valid_until`."""
        return (self.valid_from is None or self.valid_from <= now) and (
            self.valid_until is None or now < self.valid_until
        )


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

    def may_come_from(self, address: str) -> bool:
        """Whether it may connect from an address."""
        return not self.allowed_networks or is_within(address, self.allowed_networks)
