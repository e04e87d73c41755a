"""Who is kept out, and for how long: scores of addresses, networks, the pace of a session. Pure.

A source scores a point for each refusal. From `refusals` points on it is closed out, and each further
point doubles the time; when the time is over, what it scored counts half after each `half_life`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import ceil, log2

Network = IPv4Network | IPv6Network

#: What the holder of one line is given: whoever has one address of it has them all.
_IPV6_PREFIX = 64
#: After so many half-lives nothing is left of a score that is worth keeping.
_HALF_LIVES_KEPT = 8
#: In each `stall` at least so many bytes must pass: one now and then would hold a file open for ever.
LEAST_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardTerms:
    """What visitors are granted (`[guard]` in gateway.toml)."""

    #: time to log in within
    login: timedelta = timedelta(seconds=30)
    #: connections that have not logged in, at a time
    connections: int = 200
    #: of them from one source
    connections_per_address: int = 10
    #: a session in which no file is open
    idle: timedelta = timedelta(minutes=10)
    #: a session whose open file does not move
    stall: timedelta = timedelta(minutes=2)
    #: points from which a source is closed out
    refusals: int = 10
    #: the first penalty
    penalty: timedelta = timedelta(minutes=1)
    longest_penalty: timedelta = timedelta(hours=24)
    half_life: timedelta = timedelta(hours=1)
    #: never penalised, and not counted per address: a monitor, a proxy, an office
    safe_networks: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class Refusal(StrEnum):
    """Why a connection is closed before its first byte."""

    PENALISED = "penalised"
    ADDRESS_FULL = "too many from this address"
    FULL = "too many"


class Ending(StrEnum):
    """Why a session is ended that still has its peer."""

    IDLE = "idle"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a source scored. It is closed out until `until`; from then on the score fades."""

    score: float
    until: datetime


@dataclass(frozen=True, slots=True)
class Pace:
    """How far a session had come when it last moved: bytes both ways, and the second since its beginning."""

    moved: int
    at_s: float
    is_open: bool = False


def source_of(address: str) -> str:
    """What an address is counted as: IPv4 itself, IPv6 its /64; what is no address stands for itself."""
    found = _parsed(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), _IPV6_PREFIX), strict=False))
    return address if found is None else str(found)


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address lies in one of the networks; what is no address lies in none."""
    found = _parsed(address)
    return found is not None and any(found in network for network in networks)


def faded(standing: Standing | None, now: datetime, terms: GuardTerms) -> float:
    """What is left of a score at `now`."""
    if standing is None:
        return 0.0
    over = max(timedelta(0), now - standing.until)
    half_lives: float = over / terms.half_life
    return standing.score * float(0.5 ** min(half_lives, 1000))


def penalised(before: Standing | None, points: int, now: datetime, terms: GuardTerms) -> Standing:
    """The standing after `points` more refusals. However many came before, none makes it better."""
    most = terms.refusals + ceil(log2(terms.longest_penalty / terms.penalty))
    score = min(faded(before, now, terms) + points, most)
    until = now + _penalty(score, terms)
    return Standing(score, until if before is None else max(before.until, until))


def is_closed_out(standing: Standing | None, now: datetime, terms: GuardTerms) -> bool:
    """Whether a source is closed out at `now`; no clock that was set back makes a penalty longer than the longest."""
    return standing is not None and now < standing.until <= now + terms.longest_penalty


def forgotten_before(now: datetime, terms: GuardTerms) -> datetime:
    """A standing whose `until` came before this is worth nothing any more."""
    return now - _HALF_LIVES_KEPT * terms.half_life


def refusal(
    terms: GuardTerms,
    *,
    is_safe: bool,
    standing: Standing | None,
    now: datetime,
    waiting: int,
    waiting_here: int,
) -> Refusal | None:
    """Whether a connection is closed at once.

    Args:
        terms: what visitors are granted.
        is_safe: whether it comes from a safe network.
        standing: that of its source.
        now: the present.
        waiting: connections that have not logged in.
        waiting_here: those of the same source.
    """
    if not is_safe and is_closed_out(standing, now, terms):
        return Refusal.PENALISED
    if not is_safe and waiting_here >= terms.connections_per_address:
        return Refusal.ADDRESS_FULL
    return Refusal.FULL if waiting >= terms.connections else None


def paced(before: Pace, moved: int, at_s: float, *, is_open: bool) -> Pace:
    """The pace after a look at a session that has moved `moved` bytes in all and has, or has not, a file open."""
    least = LEAST_BYTES if is_open else 1
    if is_open == before.is_open and moved < before.moved + least:
        return before
    return Pace(moved, at_s, is_open)


def ending(pace: Pace, at_s: float, terms: GuardTerms) -> Ending | None:
    """Whether a session has stood still for too long."""
    still_s = at_s - pace.at_s
    if pace.is_open:
        return Ending.STALLED if still_s >= terms.stall.total_seconds() else None
    return Ending.IDLE if still_s >= terms.idle.total_seconds() else None


@lru_cache(maxsize=1024)  # of one connection it is asked several times
def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """An address, one of IPv4 that was written as IPv6 as what it is."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


def _penalty(score: float, terms: GuardTerms) -> timedelta:
    # ten within a minute are ten, although the first has faded a little
    further = ceil(score) - terms.refusals
    return min(terms.penalty * 2**further, terms.longest_penalty) if further >= 0 else timedelta(0)
