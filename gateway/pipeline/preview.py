"""What another policy would have made of the same month (spec 3, last lines). Nothing is published.

Both policies are given the signals of the month that are active now, published or not, as if all of it were
published at this moment. Places are stored for every key, so another key groups them too, with the months
before. Nothing sealed is opened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.melding import MeldingContent
from gateway.domain.policy import Grouping, Policy
from gateway.matching.compare import Comparison, Month, compare, month_under, name_groups
from gateway.pipeline import match
from gateway.pipeline.context import Context
from gateway.pipeline.policies import policy_hash, policy_of
from gateway.store import Connection, meldingen, signals
from gateway.store.signals import Placed

_log = logs.get("preview")


class _Spot(NamedTuple):
    """Where a melding is, or would be."""

    month: str
    level: Grouping
    place: int = 0


class Preview(NamedTuple):
    """A month under the policy in force and under another, with the key by which each groups it."""

    comparison: Comparison
    own_key: Grouping
    other_key: Grouping


def preview(
    context: Context, municipality: str, month: str, other: Policy, *, actor: str, origin: str
) -> Preview:
    """Compare the policy in force with `other`; the audit log tells who looked.

    Args:
        context: the gateway.
        municipality: its code.
        month: `YYYY-MM`.
        other: the policy to try; its key counts for this month too, though in force it would from the next on.
        actor: who looks, for the audit log.
        origin: where the order came from.
    """
    now = context.clock.now()
    today, predecessors = local_day(now), context.predecessors(municipality)
    with context.store.read() as conn:
        policy = policy_of(context, conn, municipality, month)
        key = meldingen.level_of(conn, municipality, month) or policy.matching.key
        placed = signals.of_month(conn, municipality, month, today)
        comparison = compare(
            _month(conn, policy, _Spot(month, key), placed, today, predecessors=predecessors),
            _month(conn, other, _Spot(month, other.matching.key), placed, today, predecessors=predecessors),
        )
    with context.store.write() as conn:
        record(
            conn,
            action="policy.previewed",
            object_id=municipality,
            origin=origin,
            actor=actor,
            at=now,
            node=context.node,
            detail={"month": month, "policy": policy_hash(policy), "other": policy_hash(other)},
        )
    _log.info("policy.previewed", municipality=municipality, count=comparison.own.counts.meldingen)
    return Preview(comparison, key, other.matching.key)


def _month(
    conn: Connection,
    policy: Policy,
    of: _Spot,
    placed: Sequence[Placed],
    today: date,
    *,
    predecessors: Sequence[str],
) -> Month:
    """The signals of `of.month` grouped by `of.level`, each group named by the meldingen that they are in."""
    found: dict[int, list[int]] = defaultdict(list)
    for signal in placed:
        found[signal.place(of.level)].append(signal.id)
    names = name_groups(list(found.values()), {signal.id: signal.melding_id for signal in placed})
    spots = [of._replace(place=place) for place in found]
    neighbours = match.look_up(conn, spots, today)
    contents: dict[str, MeldingContent] = {}
    for name, group in zip(names, match.groups(neighbours, policy, spots, predecessors), strict=True):
        content = group.content(policy)
        assert content is not None
        contents[name] = content
    return month_under(policy, contents)
