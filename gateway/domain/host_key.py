"""The gateway's own host keys: which one it shows when, which it announces, and when an old one goes.

A new key is announced beside the old one (`hostkeys-00@openssh.com`, OpenSSH PROTOCOL 2.5) before it is used, and
the old one is announced a while longer: a client that learns keys misses neither turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from gateway.clock import local_day

#: How long a new key is announced before it is used: most clients learn no keys, their owners do.
ANNOUNCED_FOR = timedelta(days=30)
#: How long an old key is announced after the new one is used.
KEPT_FOR = timedelta(days=30)


class HostKeyKind(StrEnum):
    """What a host key signs with; the value is its name in SSH."""

    ED25519 = "ssh-ed25519"
    #: only for the legacy listener
    ECDSA = "ecdsa-sha2-nistp256"


class HostKeyState(StrEnum):
    """What becomes of a host key at an instant."""

    #: announced, and not used yet
    ANNOUNCED = "announced"
    #: what the gateway proves to be itself with
    IN_USE = "in use"
    #: still announced, after another took its place
    REPLACED = "replaced"
    #: gone from the disk
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A host key and its days; the private half lies in `file`, a name under `keys/`, until it is retired.

    `public_key` is an OpenSSH line without comment. A key without `active_from` was there from the beginning,
    one without `retire_at` has no successor.
    """

    file: str
    kind: HostKeyKind
    public_key: str
    fingerprint: str
    announced_at: datetime | None = None
    active_from: datetime | None = None
    retire_at: datetime | None = None

    def is_retired(self, now: datetime) -> bool:
        """Whether its day has come."""
        return self.retire_at is not None and self.retire_at <= now

    def is_active(self, now: datetime) -> bool:
        """Whether it may be shown; of those that may the newest is."""
        return not self.is_retired(now) and (self.active_from is None or self.active_from <= now)


def in_use(keys: Iterable[HostKey], kind: HostKeyKind, now: datetime) -> HostKey | None:
    """The key of a kind that the gateway shows at `now`."""
    active = [key for key in keys if key.kind is kind and key.is_active(now)]
    return active[-1] if active else None


def announced(keys: Iterable[HostKey], kinds: Iterable[HostKeyKind], now: datetime) -> tuple[HostKey, ...]:
    """The keys of some kinds that are announced at `now`: of each kind the one in use comes first."""
    known = tuple(keys)
    found: list[HostKey] = []
    for kind in kinds:
        first = in_use(known, kind, now)
        others = [key for key in known if key.kind is kind and not key.is_retired(now) and key is not first]
        found += [first, *others] if first else others
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the calendar has in store for a host key on a day in the Netherlands."""

    on: date
    fingerprint: str
    what: str


def turns(keys: Iterable[HostKey], now: datetime) -> list[Turn]:
    """What is to come, the next first: keys that come into use, and old ones that go."""
    found = []
    for key in keys:
        if key.active_from is not None and key.active_from > now:
            found.append(
                Turn(on=local_day(key.active_from), fingerprint=key.fingerprint, what="comes into use")
            )
        if key.retire_at is not None and key.retire_at > now:
            found.append(Turn(on=local_day(key.retire_at), fingerprint=key.fingerprint, what="is retired"))
    return sorted(found, key=lambda turn: turn.on)


def state(key: HostKey, keys: Iterable[HostKey], now: datetime) -> HostKeyState:
    """What a key is at `now`, among all keys."""
    if key.is_retired(now):
        return HostKeyState.RETIRED
    if not key.is_active(now):
        return HostKeyState.ANNOUNCED
    return HostKeyState.IN_USE if in_use(keys, key.kind, now) == key else HostKeyState.REPLACED
