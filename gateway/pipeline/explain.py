"""One melding explained: its signals, its rules, its rank, its deadline, its publications (spec 3, last lines).

Columns in the clear say it all: ids, codes, months, amounts and dates. Nothing sealed is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.melding import ActiveSignal, MeldingContent
from gateway.domain.policy import Matching, Policy
from gateway.errors import CommandError
from gateway.matching.deadline import OfferDeadline, explain_offer
from gateway.matching.explain import Ground, Ranking, changed, explain_rank, explain_rules
from gateway.matching.rank import places
from gateway.matching.rules import counting, lookback
from gateway.pipeline import match, snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.policies import policy_hash, policy_of
from gateway.store import Connection, meldingen, signals
from gateway.store.meldingen import Melding
from gateway.store.signals import Known

_log = logs.get("explain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A melding as it stands, under the policy in force, and as it was last published."""

    melding: Melding
    policy: Policy
    #: the policy's rules, with the key that the month began with
    matching: Matching
    #: None: no active signal is left in it
    content: MeldingContent | None
    #: None: never, or as VERVALLEN
    published: MeldingContent | None
    #: the hash of the policy of its last publication
    published_under: str | None
    #: the fields of `published` that are different now
    changed: tuple[str, ...]
    #: its active signals, oldest receipt first
    signals: Sequence[ActiveSignal]
    #: signals that are in it no more, and are still held
    ended: Sequence[Known]
    #: row id -> signaalnummer, of every signal that is named here
    numbers: Mapping[int, str]
    grounds: Sequence[Ground]
    #: row ids of its signals below the least amount of their sector: they count for no rule but CRISIS
    left_out: frozenset[int]
    #: the look-back months in which its key has a signal: `opeenvolgend`
    months_before: Sequence[str]
    #: row id -> highest amount of the same contract in the look-back months, in euro cents: `herhaald`
    amounts_before: Mapping[int, int]
    addresses: int
    #: None: it is no match
    ranking: Ranking | None
    action: str
    deadline: OfferDeadline | None

    @property
    def is_waiting(self) -> bool:
        """Whether the next publication looks at it."""
        return self.melding.touched_at is not None


def explain(context: Context, melding_id: str, *, actor: str, origin: str) -> Explained:
    """Explain a melding; the audit log tells who asked.

    Its rank is the one among what is published, itself included as it stands now.

    Raises:
        CommandError: no melding has this id.
    """
    now = context.clock.now()
    with context.store.read() as conn:
        melding = meldingen.get(conn, melding_id)
        if melding is None:
            raise CommandError(
                f"no melding {melding_id!r} is held: its id stands in the column melding_id of the files in the "
                "municipality's /outbox, until its last signal is purged"
            )
        explained = _explained(conn, context, melding, now)
    with context.store.write() as conn:
        record(
            conn,
            action="melding.explained",
            object_id=melding.id,
            origin=origin,
            actor=actor,
            at=now,
            node=context.node,
            detail={
                "municipality": melding.municipality,
                "month": melding.month,
                "policy": policy_hash(explained.policy),
            },
        )
    _log.info("melding.explained", melding_id=melding.id, municipality=melding.municipality)
    return explained


def _explained(conn: Connection, context: Context, melding: Melding, now: datetime) -> Explained:
    today, predecessors = local_day(now), context.predecessors(melding.municipality)
    policy = policy_of(context, conn, melding.municipality, melding.month)
    (group,) = match.groups(match.look_up(conn, [melding], today), policy, [melding], predecessors)
    content, matching = group.content(policy), group.matching(policy)
    grounds = explain_rules(melding.month, group.signals, group.earlier, matching) if content else ()
    refs = {signal.ref for signal in group.signals}
    named = refs | {signal.ref for ground in grounds for signal in ground.signals}
    published = snapshot.load(melding.published) if melding.published else None
    standing = _standing(conn, melding, content)
    place = places(standing, policy).get(melding.id)
    return Explained(
        melding=melding,
        policy=policy,
        matching=matching,
        content=content,
        published=published,
        published_under=(
            meldingen.policy_hash_of(conn, melding.municipality, melding.published_at)
            if melding.published_at
            else None
        ),
        changed=changed(published, content) if published and content else (),
        signals=sorted(group.signals, key=lambda signal: (signal.received_at, signal.ref)),
        ended=[known for known in signals.of_melding(conn, melding.id) if known.id not in refs],
        numbers=signals.numbers(conn, named),
        grounds=grounds,
        left_out=frozenset(refs - {signal.ref for signal in counting(group.signals, matching)}),
        months_before=[month for month in lookback(melding.month, matching) if group.earlier.get(month)],
        amounts_before={
            signal.ref: group.repeats[signal.contract]
            for signal in group.signals
            if signal.contract in group.repeats
        },
        addresses=len({signal.address for signal in group.signals}),
        ranking=explain_rank(standing, melding.id, policy),
        action=place.action if place else "",
        deadline=_deadline(melding, content, policy, now) if content else None,
    )


def _standing(
    conn: Connection, melding: Melding, content: MeldingContent | None
) -> dict[str, MeldingContent]:
    """The month as the worklist has it, this melding in it as it stands."""
    standing = {
        other.id: snapshot.load(other.published)
        for other in meldingen.published(conn, melding.municipality, melding.month)
        if other.published and other.id != melding.id
    }
    return standing | ({melding.id: content} if content else {})


def _deadline(melding: Melding, content: MeldingContent, policy: Policy, now: datetime) -> OfferDeadline:
    """That of its last publication, or of one now when it waits for its first."""
    return explain_offer(
        content,
        policy.actions.deadline_from,
        today=local_day(now),
        first_published_on=local_day(melding.first_published_at) if melding.first_published_at else None,
        crisis_published_on=local_day(melding.crisis_at) if melding.crisis_at else None,
    )
