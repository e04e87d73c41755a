"""How long what is held (spec 4, Retention)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`[retention]` of `config/gateway.toml`; calendar months and days from receipt."""

    signals_months: int = 6
    raw_days: int = 14
    dispatches_months: int = 6
    excluded_days: int = 1
    not_routable_days: int = 14
