"""Under which policy a month's meldingen are made: another takes effect from the current month on (spec 3, Policy)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from gateway.clock import local_day, month_of
from gateway.domain.policy import Policy
from gateway.pipeline.context import Context
from gateway.store import Connection, meldingen
from gateway.store.meldingen import PolicyOfMonth

_POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)


def policy_hash(policy: Policy) -> str:
    """Names the policy that was in force; two that say the same have the same hash."""
    return hashlib.sha256(_said(policy).encode()).hexdigest()[:16]


def policy_of(context: Context, conn: Connection, municipality: str, month: str) -> Policy:
    """The policy of a municipality's month: as it is, for an earlier month as it was at its last publication."""
    return policies_of(context, conn, (municipality,), month)[municipality]


def policies_of(
    context: Context, conn: Connection, municipalities: Collection[str], month: str
) -> dict[str, Policy]:
    """The policy of each municipality's month, as `policy_of`."""
    is_over = month < month_of(local_day(context.clock.now()))
    before = meldingen.policies_of(conn, municipalities, month) if is_over else {}
    return {
        code: _read(before[code].policy) if code in before else context.policy(code)
        for code in municipalities
    }


def take_up(context: Context, servers: Mapping[str, str], now: datetime) -> None:
    """Policies take effect: where one is another than before, what there is of this month on is looked at again, once.

    Args:
        context: the gateway.
        servers: municipality -> the partner that serves it; another one is another policy.
        now: the moment of the publication.
    """
    month = month_of(local_day(now))
    there = {code: PolicyOfMonth(_said(context.policy(code)), server) for code, server in servers.items()}
    with context.store.read() as conn:
        before = meldingen.policies_of(conn, servers, month)
    others = {code: policy for code, policy in there.items() if before.get(code) != policy}
    if not others:
        return
    with context.store.write() as conn:
        meldingen.use_policies(conn, month, others)
        meldingen.touch_from(conn, others, month, now)


def keep(context: Context, conn: Connection, month: str, servers: Mapping[str, str]) -> None:
    """An earlier month that nothing was published of before has the policy of today from now on.

    Args:
        context: the gateway.
        conn: the transaction of the publication.
        month: `YYYY-MM`.
        servers: municipality -> the partner that serves it.
    """
    there = meldingen.policies_of(conn, servers, month)
    fresh = {
        code: PolicyOfMonth(_said(context.policy(code)), server)
        for code, server in servers.items()
        if code not in there
    }
    meldingen.use_policies(conn, month, fresh)


@lru_cache(maxsize=1024)
def _read(said: str) -> Policy:
    """Many files ask for the same few: municipalities' months."""
    return _POLICY.validate_json(said)


def _said(policy: Policy) -> str:
    return json.dumps(policy, default=_fields, sort_keys=True)


def _fields(part: Any) -> dict[str, Any]:
    """A part of a policy by the names of its fields."""
    return {field.name: getattr(part, field.name) for field in fields(part)}
