"""Which rules hold for a melding, its counts and its flags (spec 3, Rules).

G is the group's active signals that reach the sector's minimum amount; rules look at G, counts and `opeenvolgend`
at every active signal. A group is one municipality, one month, one key.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from gateway.clock import shift_month
from gateway.domain.melding import ActiveSignal, Klasse, MeldingContent, Rule
from gateway.domain.policy import ConsecutiveBy, DistinctBy, Grouping, Matching

Signals = Sequence[ActiveSignal]
#: Month (`YYYY-MM`) to the active signals with the same key in it.
Earlier = Mapping[str, Signals]


def evaluate(
    month: str,
    group: Signals,
    earlier: Earlier,
    repeats: Mapping[Hashable, int],
    matching: Matching,
) -> MeldingContent:
    """What the rules make of one melding; the order of signals makes no difference.

    Args:
        month: the melding's month, `YYYY-MM`.
        group: all its active signals, at least one.
        earlier: the active signals with the same key by month; `earlier_months` says which months matter, a month
            that is absent is empty, and any other is not looked at.
        repeats: per contract of the group the highest amount, in euro cents, of its active signals in the
            look-back months (`lookback`), in the same municipality but under any key.
        matching: the policy in force for this month.

    Raises:
        ValueError: the group is empty: an emptied melding has no content.
    """
    if not group:
        raise ValueError("a melding without signals has no content")
    bridged = _bridged(month, group, earlier, matching) if earlier else ()
    rules = tuple([rule for rule, found in _asked(month, group, earlier, bridged, matching) if found])
    # by column, a row for each signal: nothing is made for one
    refs, creditors, sectors, _, amounts, _, warm, addresses, _, signalled, received, since, _, ends = zip(
        *group, strict=True
    )
    repeated = (
        [signal.ref for signal in group if repeats.get(signal.contract, -1) >= signal.amount_cents]
        if repeats
        else ()
    )
    return MeldingContent(
        Klasse.MATCH if rules else Klasse.SINGLE,
        rules,
        tuple(sorted(refs)),
        len({*creditors}),
        sum(amounts),
        any(map(earlier.get, lookback(month, matching))) if earlier else False,
        bool(bridged),
        matching.key is Grouping.ADDRESS and len({*addresses}) > 1,
        frozenset(repeated),
        tuple(sorted({*sectors})),
        min(signalled),
        min(received),
        min(since),
        any(warm),
        min(filter(None, ends), default=None),
    )


def grounds(month: str, group: Signals, earlier: Earlier, matching: Matching) -> dict[Rule, Signals]:
    """The rules that the policy asks for, in the order of `matchregels`, each with the signals on which it holds.

    A rule that does not hold has none. `matchregels` are the rules that have any.
    """
    return dict(_asked(month, group, earlier, _bridged(month, group, earlier, matching), matching))


def counting(signals: Signals, matching: Matching) -> Signals:
    """G: the signals that reach the minimum amount of their sector."""
    least = matching.min_amount_cents
    if not least:
        return signals
    return [signal for signal in signals if signal.amount_cents >= least.get(signal.sector, 0)]


def kinds(signals: Signals, by: DistinctBy) -> set[str]:
    """The creditors or the sectors of signals."""
    by_sector = by is DistinctBy.SECTOR
    return {signal.sector if by_sector else signal.creditor for signal in signals}


def consecutive_months(month: str, matching: Matching) -> tuple[str, ...]:
    """The months over which `OPEENVOLGENDE_MAANDEN` looks, `month` first; none when the rule is off."""
    back = matching.consecutive_months - 1
    return (month, *_before(month, back)) if back >= 1 else ()


class Reported(Protocol):
    """What a contract came to in an earlier month."""

    @property
    def contract(self) -> Hashable:
        """The place of K1."""

    @property
    def amount_cents(self) -> int:
        """In euro cents."""


def highest_amounts(signals: Iterable[Reported]) -> dict[Hashable, int]:
    """Per contract the highest amount in euro cents: `repeats`, from the signals of the look-back months."""
    highest: dict[Hashable, int] = {}
    for signal in signals:
        highest[signal.contract] = max(signal.amount_cents, highest.get(signal.contract, 0))
    return highest


def lookback(month: str, matching: Matching) -> tuple[str, ...]:
    """The look-back months of `month`, nearest first: those of `opeenvolgend` and `herhaald`."""
    return _before(month, matching.lookback_months)


def earlier_months(month: str, matching: Matching) -> tuple[str, ...]:
    """The months before `month` that its meldingen depend on, nearest first."""
    return _before(month, _reach(matching))


def affected_months(month: str, matching: Matching) -> tuple[str, ...]:
    """The later months whose meldingen must be looked at again when a signal of `month` came, went or changed.

    These are the `lookback_months` months after it (`opeenvolgend`, `herhaald`), the `consecutive_months` - 1 after
    it, and at least the next one (`gaten_dichten` is shown whatever `bridging` says). In them only two kinds of
    melding can change: those with the signal's key, and, for `herhaald`, those that hold a signal of its contract
    under whatever key. No earlier month is affected. The melding of `month` itself always is.
    """
    return _after(month, _reach(matching))


def _reach(matching: Matching) -> int:
    return max(matching.lookback_months, matching.consecutive_months - 1, 1)


@lru_cache(maxsize=1024)
def _before(month: str, count: int) -> tuple[str, ...]:
    return tuple(shift_month(month, -back) for back in range(1, count + 1))


@lru_cache(maxsize=1024)
def _after(month: str, count: int) -> tuple[str, ...]:
    return tuple(shift_month(month, ahead) for ahead in range(1, count + 1))


def _asked(
    month: str, group: Signals, earlier: Earlier, bridged: Signals, matching: Matching
) -> list[tuple[Rule, Signals]]:
    counted = counting(group, matching)
    found: list[tuple[Rule, Signals]] = [(Rule.MULTIPLE, _multiple(counted, matching))]
    if matching.consecutive_months >= 2:
        past = [counting(earlier.get(each, ()), matching) for each in consecutive_months(month, matching)[1:]]
        found.append((Rule.CONSECUTIVE_MONTHS, _consecutive([counted, *past], matching.consecutive_by)))
    if matching.bridging:
        found.append((Rule.BRIDGING, bridged))
    if matching.always_sectors:
        found.append((Rule.ALWAYS, [each for each in counted if each.sector in matching.always_sectors]))
    if matching.always_crisis:
        found.append((Rule.CRISIS, [signal for signal in group if signal.is_crisis]))
    return found


def _multiple(counted: Signals, matching: Matching) -> Signals:
    return counted if len(kinds(counted, matching.distinct_by)) >= matching.min_distinct else ()


def _consecutive(months: Sequence[Signals], by: ConsecutiveBy) -> Signals:
    """The signals, over all `months`, of which the rule is made."""
    if not all(months):
        return ()
    together = [signal for signals in months for signal in signals]
    match by:
        case ConsecutiveBy.ANY:
            return together
        case ConsecutiveBy.DIFFERENT_SECTOR:
            return together if len({signal.sector for signal in together}) >= 2 else ()
        case ConsecutiveBy.SAME_CREDITOR:
            always = set.intersection(*({signal.creditor for signal in signals} for signals in months))
            return [signal for signal in together if signal.creditor in always]


def _bridged(month: str, group: Signals, earlier: Earlier, matching: Matching) -> Signals:
    """The signals of creditors that stopped and of those that began; empty unless there are both."""
    before = counting(earlier.get(_before(month, 1)[0], ()), matching)
    counted = counting(group, matching)
    if not before or not counted:
        return ()
    now, then = kinds(counted, DistinctBy.CREDITOR), kinds(before, DistinctBy.CREDITOR)
    if then <= now or now <= then:
        return ()
    return [signal for signal in (*before, *counted) if signal.creditor in now ^ then]
