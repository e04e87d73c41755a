"""How long what is held: due days by calendar months, and the keys they need (spec 4, Retention).

A due day is the last day on which something is held: it goes at the end of that day. Days are
Europe/Amsterdam and run from what the gateway itself saw: times sent by a client play no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from gateway.clock import add_months, local_day, month_of, shift_month
from gateway.domain.signal import SignalState

#: How long the file of a partner on trial is held, in days, and what answers it (spec 1, Partners, `mode`).
TRIAL_DAYS = 1
#: Keys are made this many days further ahead than the longest term reaches (spec 4, Keys).
KEYS_AHEAD_DAYS = 14
#: Fewer days of keys than this ahead, and somebody must look today (spec 4, Keys).
FEW_KEY_DAYS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`[retention]` of `config/gateway.toml`; calendar months and days from receipt."""

    signals_months: int = 6
    raw_days: int = 14
    dispatches_months: int = 6
    excluded_days: int = 1
    not_routable_days: int = 14


def raw_due(closed_at: datetime, terms: Terms) -> date:
    """The due day of a received file itself, from its CLOSE."""
    return local_day(closed_at) + timedelta(days=terms.raw_days)


def signal_due(received_at: datetime, months: int) -> date:
    """The due day of a signal's row, `months` calendar months from the receipt of its version.

    The day is clamped: received on 31 August, a signal of six months is due on 28 or 29 February.
    """
    return add_months(local_day(received_at), months)


def contents_due(state: SignalState, received_at: datetime, due_on: date, terms: Terms) -> date:
    """The due day of a signal's sealed contents: its row's, or earlier for D30 and D40."""
    days = {
        SignalState.EXCLUDED: terms.excluded_days,
        SignalState.NOT_ROUTABLE: terms.not_routable_days,
    }.get(state)
    return due_on if days is None else min(due_on, local_day(received_at) + timedelta(days=days))


def dispatch_due(created_at: datetime, terms: Terms, earliest_signal_due: date | None = None) -> date:
    """The due day of an outgoing file: never later than that of the earliest signal in it."""
    own = add_months(local_day(created_at), terms.dispatches_months)
    return own if earliest_signal_due is None else min(own, earliest_signal_due)


def index_due(month: str, terms: Terms) -> date:
    """The last day on which a signal received in `month` (`YYYY-MM`) may still be held."""
    last = date.fromisoformat(f"{shift_month(month, 1)}-01") - timedelta(days=1)
    return add_months(last, terms.signals_months)


def key_days(today: date, terms: Terms) -> list[date]:
    """The days that need an `until-` key: from today to the longest term, counted also from 14 days on."""
    months = max(terms.signals_months, terms.dispatches_months)
    days = max(terms.raw_days, terms.excluded_days, terms.not_routable_days)
    later = today + timedelta(days=KEYS_AHEAD_DAYS)
    last = max(
        add_months(today, months) + timedelta(days=KEYS_AHEAD_DAYS),
        # months differ in length: the last day of grace may reach a few days further
        add_months(later, months),
        later + timedelta(days=days),
    )
    return [today + timedelta(days=n) for n in range((last - today).days + 1)]


def key_months(today: date) -> list[str]:
    """The months that need an `index-` key: this one and the next."""
    month = month_of(today)
    return [month, shift_month(month, 1)]
