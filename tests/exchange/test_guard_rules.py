"""The rules of the guard: scores, networks and the pace of a session, as functions of values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.guard import (
    LEAST_BYTES,
    Ending,
    GuardTerms,
    Pace,
    Refusal,
    Standing,
    ending,
    faded,
    is_closed_out,
    is_within,
    paced,
    penalised,
    refusal,
    source_of,
)
from gateway.domain.partner import Partner, Role

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
TERMS = GuardTerms()

MOMENTS = st.lists(st.integers(0, 200_000), max_size=30)
KINDS_OF_TERMS = st.builds(
    GuardTerms,
    refusals=st.integers(1, 20),
    penalty=st.integers(1, 600).map(lambda s: timedelta(seconds=s)),
    longest_penalty=st.integers(600, 200_000).map(lambda s: timedelta(seconds=s)),
    half_life=st.integers(60, 100_000).map(lambda s: timedelta(seconds=s)),
)


def after(seconds: list[int], terms: GuardTerms) -> Standing | None:
    """The standing after a refusal at each of these seconds."""
    found = None
    for at in sorted(seconds):
        found = penalised(found, 1, NOW + timedelta(seconds=at), terms)
    return found


@given(MOMENTS, MOMENTS, KINDS_OF_TERMS, st.integers(0, 400_000))
def test_a_penalty_never_shrinks_as_refusals_grow(some, more, terms, later):
    """Whoever was refused at more moments is closed out at least as long, and has at least as much against it."""
    less, worse = after(some, terms), after(some + more, terms)
    at = NOW + timedelta(seconds=max([*some, *more, 0]) + later)
    assert faded(worse, at, terms) >= faded(less, at, terms) - 1e-9
    assert is_closed_out(worse, at, terms) or not is_closed_out(less, at, terms)


@given(MOMENTS, KINDS_OF_TERMS)
def test_no_penalty_is_longer_than_the_longest(seconds, terms):
    """Nor is anyone closed out below the number of refusals."""
    found = after(seconds, terms)
    if found is not None:
        last = NOW + timedelta(seconds=max(seconds))
        assert found.until - last <= terms.longest_penalty
    if len(seconds) < terms.refusals:
        assert not is_closed_out(found, NOW + timedelta(seconds=max([*seconds, 0])), terms)


def test_each_further_refusal_doubles_the_penalty():
    """Nine are nothing, the tenth is a minute, then two, four …, at most a day; then it fades."""
    found, spans = None, []
    for number in range(24):
        now = NOW + timedelta(seconds=number)
        found = penalised(found, 1, now, TERMS)
        spans.append((found.until - now) / timedelta(minutes=1))
    assert spans == [0] * 9 + [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] + [1440] * 4
    assert faded(found, found.until, TERMS) == found.score
    assert faded(found, found.until + TERMS.half_life, TERMS) == found.score / 2
    assert not is_closed_out(found, found.until, TERMS)
    again = penalised(found, 1, found.until + timedelta(days=1), TERMS)
    assert not is_closed_out(again, found.until + timedelta(days=1), TERMS)


def test_coming_back_when_a_penalty_ends_doubles_it_too():
    """What was scored fades only from the end of the penalty on: waiting it out buys nothing."""
    found = penalised(None, 10, NOW, TERMS)
    assert found.until == NOW + timedelta(minutes=1)
    for minutes in (2, 4, 8, 16):
        now = found.until
        found = penalised(found, 1, now, TERMS)
        assert found.until - now == timedelta(minutes=minutes)


def test_a_clock_that_is_set_back_closes_nobody_out():
    """A standing of a year ahead is no penalty; one of an hour ahead is."""
    assert not is_closed_out(Standing(12, NOW + timedelta(days=365)), NOW, TERMS)
    assert is_closed_out(Standing(12, NOW + timedelta(hours=1)), NOW, TERMS)


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1), st.integers(0, 127))
def test_ipv6_counts_by_its_64(number, low, bit):
    """The holder of a /64 is one source whatever address he takes; the neighbour is another."""
    other = (number >> 64 << 64) | low
    assert source_of(str(IPv6Address(other))) == source_of(str(IPv6Address(number))) or number >> 32 == 0xFFFF
    flipped = number ^ (1 << bit)
    if number >> 32 != 0xFFFF != flipped >> 32:
        same = source_of(str(IPv6Address(flipped))) == source_of(str(IPv6Address(number)))
        assert same is (bit < 64)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_sources(address, source):
    """IPv4 stands for itself, also when it comes as IPv6; a source's name is its own source."""
    assert source_of(address) == source
    assert source_of(source) == source


def test_networks():
    """A partner without networks comes from anywhere; else only from one of them, in whatever form."""
    anywhere = Partner(id="p", name="P", role=Role.CREDITOR)
    assert anywhere.may_come_from("unknown")
    networks = (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32"))
    bound = Partner(id="p", name="P", role=Role.CREDITOR, allowed_networks=networks)
    for address in ("203.0.113.200", "::ffff:203.0.113.1", "2001:db8:ffff::1"):
        assert bound.may_come_from(address)
    for address in ("203.0.114.1", "2001:db9::1", "::ffff:10.0.0.1", "unknown", ""):
        assert not bound.may_come_from(address)
    assert not is_within("127.0.0.1", ())


@given(
    st.booleans(),
    st.none()
    | st.builds(Standing, st.floats(0, 99), st.integers(-99, 99).map(lambda m: NOW + timedelta(minutes=m))),
    st.integers(0, 300),
    st.integers(0, 20),
)
def test_who_is_turned_away(is_safe, standing, waiting, waiting_here):
    """A safe address neither for its standing nor for its number; anyone when the house is full."""
    found = refusal(
        TERMS, is_safe=is_safe, standing=standing, now=NOW, waiting=waiting, waiting_here=waiting_here
    )
    if is_safe:
        assert found is (Refusal.FULL if waiting >= TERMS.connections else None)
    elif is_closed_out(standing, NOW, TERMS):
        assert found is Refusal.PENALISED
    elif found is None:
        assert waiting < TERMS.connections
        assert waiting_here < TERMS.connections_per_address
    else:
        assert waiting >= TERMS.connections or waiting_here >= TERMS.connections_per_address


@given(st.lists(st.tuples(st.integers(0, 3 * LEAST_BYTES), st.booleans()), max_size=300))
def test_what_moves_goes_on_and_what_stands_still_ends(looks):
    """Looked at every second, a session ends exactly when the last `stall`, or `idle`, of it moved too little."""
    terms = GuardTerms(stall=timedelta(seconds=20), idle=timedelta(seconds=40))
    pace, moved, since, counted = Pace(0, 0.0), 0, 0, 0
    before = False
    for second, (count, is_open) in enumerate(looks, 1):
        moved += count
        pace = paced(pace, moved, float(second), is_open=is_open)
        if is_open != before or moved - counted >= (LEAST_BYTES if is_open else 1):
            since, counted, before = second, moved, is_open
        still = second - since
        expected = (
            (Ending.STALLED if still >= 20 else None) if is_open else (Ending.IDLE if still >= 40 else None)
        )
        assert ending(pace, float(second), terms) is expected


def test_one_byte_now_and_then_is_no_movement():
    """An open file that gets a byte every second is stalled; a listing every minute is no idle session."""
    terms, pace = GuardTerms(), Pace(0, 0.0)
    for second in range(1, 125):
        pace = paced(pace, second, float(second), is_open=True)
    assert ending(pace, 121.0, terms) is Ending.STALLED
    pace = Pace(0, 0.0)
    for second in range(0, 3600, 60):
        pace = paced(pace, second + 1, float(second), is_open=False)
        assert ending(pace, float(second + 59), terms) is None
