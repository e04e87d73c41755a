"""Legal holds: asked for, placed and lifted by two people, and the keys of what stays past its day (spec 4).

A hold never shortens anything, and touches only the keys of the deliveries that it covers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from gateway import logs
from gateway.audit.log import record
from gateway.clock import Clock, local_day
from gateway.domain.approval import Subject
from gateway.domain.delivery import DeliveryState
from gateway.domain.hold import problems
from gateway.errors import CommandError, Overtaken
from gateway.files.formats import looks_like_bsn
from gateway.retention.approvals import ask as ask_two
from gateway.store import Connection, holds, persons, registers
from gateway.store.data_keys import StoredKey
from gateway.store.engine import Store
from gateway.store.holds import Hold, Misplaced
from gateway.store.retention import writing
from gateway.vault.datakey import WrappedKey, unwrap, wrap
from gateway.vault.ids import new_id
from gateway.vault.key_ids import hold_key_id, until_id
from gateway.vault.keyring import Keyring

#: What was received whole, and is not going yet.
_HOLDABLE = (
    DeliveryState.ARRIVED,
    DeliveryState.PROCESSING,
    DeliveryState.PROCESSED,
    DeliveryState.FAILED,
    DeliveryState.REJECTED,
)
#: Data keys wrapped again in one transaction.
_BATCH = 100

_log = logs.get("retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for approval that was made: its number, and the hold that it is about."""

    number: str
    hold_id: str


# Asking --------------------------------------------------------------------------------------------------


def ask(
    store: Store,
    deliveries: Collection[str],
    *,
    grounds: str,
    authority: str,
    reference: str,
    review_on: date,
    now: datetime,
    node: str,
    actor: str,
) -> Asked:
    """Ask two approvers to keep deliveries past their day; nothing else changes.

    Args:
        store: the database.
        deliveries: ids of what is to be kept, whole.
        grounds: a word of `gateway.domain.hold.Grounds`.
        authority: the organisation on whose account it is kept.
        reference: its case number.
        review_on: the day by which somebody looks whether it is needed still.
        now: aware instant.
        node: this node, for the audit log.
        actor: who asks, for the audit log.

    Raises:
        CommandError: something of it can't be; all that is wrong is told.
    """
    digits = re.findall(r"\d+", reference)
    wrong = list(
        problems(
            grounds=grounds,
            authority=authority,
            reference=reference,
            review_on=review_on,
            today=local_day(now),
            looks_like_bsn=any(map(looks_like_bsn, digits)),
        )
    )
    with store.exclusive(), store.write() as conn:
        wrong += _not_holdable(conn, deliveries)
        if wrong:
            raise CommandError(f"nothing was asked: {'; '.join(wrong)}")
        hold_id = new_id("H", 10)
        holds.add(
            conn,
            hold_id,
            grounds=grounds,
            authority=authority,
            reference=reference,
            review_on=review_on,
            deliveries=deliveries,
            at=now,
        )
        number = _request(conn, Subject.HOLD, _known(conn, hold_id), now=now, node=node, actor=actor)
    return Asked(number=number, hold_id=hold_id)


def ask_lift(store: Store, hold_id: str, *, now: datetime, node: str, actor: str) -> Asked:
    """Ask two approvers to lift a hold; until they do it stays in force. Raises CommandError when it is not."""
    with store.exclusive(), store.write() as conn:
        hold = _known(conn, hold_id)
        if not hold.is_in_force:
            raise CommandError(f"{hold_id} is not in force: nothing is kept by it")
        holds.ask_lift(conn, hold_id, now)
        number = _request(conn, Subject.LIFT, hold, now=now, node=node, actor=actor)
    return Asked(number=number, hold_id=hold_id)


def _request(conn: Connection, subject: Subject, hold: Hold, *, now: datetime, node: str, actor: str) -> str:
    number = ask_two(
        conn,
        subject,
        object_id=hold.id,
        detail={
            "hold": hold.id,
            "grounds": hold.grounds,
            "authority": hold.authority,
            "reference": hold.reference,
            "review_on": hold.review_on.isoformat(),
            "deliveries": " ".join(hold.deliveries),
        },
        now=now,
        actor=actor,
        node=node,
        origin="cli",
    )
    record(
        conn,
        action="hold.asked" if subject is Subject.HOLD else "hold.lift_asked",
        object_id=hold.id,
        origin="cli",
        actor=actor,
        at=now,
        node=node,
        detail={"request": number, "deliveries": len(hold.deliveries)},
    )
    return number


def _not_holdable(conn: Connection, deliveries: Collection[str]) -> list[str]:
    states = holds.states(conn, deliveries)
    wrong = [] if deliveries else ["name a delivery"]
    for each in sorted(set(deliveries)):
        if each not in states:
            wrong.append(f"there is no delivery {each}; see: gateway deliveries list")
        elif states[each] not in _HOLDABLE:
            wrong.append(f"{each} is {states[each]}: nothing of it can be kept any more")
    return wrong


# Carrying out what two people approved -------------------------------------------------------------------


def place(
    store: Store,
    keyring: Keyring,
    hold_id: str,
    approvers: Sequence[str],
    *,
    clock: Clock,
    node: str,
    actor: str = "gateway",
    origin: str = "cli",
) -> None:
    """Two people approved a hold: what it covers stays, and gets the hold's own key at once.

    Takes the store's exclusive lock. What of its deliveries went meanwhile is not brought back. An interruption
    leaves it asked for, or in force; then the purge moves the keys before a day's key goes.

    Raises:
        CommandError: there is no such hold.
        Overtaken: all that it covers has gone.
    """
    with store.exclusive():
        with store.read() as conn:
            hold = _known(conn, hold_id)
            gone = _not_holdable(conn, hold.deliveries)
        if hold.placed_at is None:
            if len(gone) == len(hold.deliveries):
                raise Overtaken(f"{hold_id} was not placed: {'; '.join(gone)}")
            now = clock.now()
            keyring.ensure([hold_key_id(hold_id)])
            with writing(store) as conn:
                registers.register_keys(conn, [hold_key_id(hold_id)], now)
                holds.place(conn, hold_id, approvers, now)
                _record(conn, "hold.placed", hold, now=now, node=node, actor=actor, origin=origin)
        _settle(store, keyring, clock)


def lift(
    store: Store,
    keyring: Keyring,
    hold_id: str,
    approvers: Sequence[str],
    *,
    clock: Clock,
    node: str,
    actor: str = "gateway",
    origin: str = "cli",
) -> None:
    """Two people lifted a hold: what is overdue goes with the next purge, and so does the hold's key.

    Takes the store's exclusive lock. What has time left is wrapped under the key of its day again. What another
    hold covers stays. Raises CommandError when it is not in force.
    """
    with store.exclusive():
        with store.read() as conn:
            hold = _known(conn, hold_id)
        if hold.placed_at is None:
            raise CommandError(f"{hold_id} was never placed: there is nothing to lift")
        if hold.lifted_at is None:
            now = clock.now()
            with writing(store) as conn:
                holds.lift(conn, hold_id, approvers, now)
                # an answer to INZAGE would tell of it when it has gone
                persons.end_outgoing(conn, holds.answers_on(conn, hold_id, local_day(now)))
                _record(conn, "hold.lifted", hold, now=now, node=node, actor=actor, origin=origin)
        _settle(store, keyring, clock)


def _record(
    conn: Connection, action: str, hold: Hold, *, now: datetime, node: str, actor: str, origin: str
) -> None:
    record(
        conn,
        action=action,
        object_id=hold.id,
        origin=origin,
        actor=actor,
        at=now,
        node=node,
        detail={
            "deliveries": len(hold.deliveries),
            "grounds": hold.grounds,
            "review": hold.review_on.isoformat(),
        },
    )


def _known(conn: Connection, hold_id: str) -> Hold:
    hold = holds.hold(conn, hold_id)
    if hold is None:
        raise CommandError(f"there is no hold {hold_id}; see: gateway retention hold list")
    return hold


# The keys ------------------------------------------------------------------------------------------------


def rewrap(store: Store, keyring: Keyring, batch: Sequence[Misplaced], now: datetime) -> list[str]:
    """Wrap data keys under the key they belong under, in one transaction; the ids of those keys.

    Raises KeyringError or VaultError when one of them can't be opened; then none was changed.
    """
    keys = sorted({key_of(one) for one in batch})
    with writing(store) as conn:
        registers.register_keys(conn, keys, now)
        for one in batch:
            # inside: a version that is retired meanwhile wraps nothing any more
            wrapped = wrapped_again(keyring, one.stored, key_of(one))
            holds.rewrap(
                conn,
                one.stored.id,
                key_id=wrapped.key_id,
                key_version=wrapped.key_version,
                wrapped=wrapped.wrapped,
            )
    return keys


def key_of(misplaced: Misplaced) -> str:
    """The key of the keyring under which a data key belongs."""
    hold_id = misplaced.hold_id
    return until_id(misplaced.stored.due_on) if hold_id is None else hold_key_id(hold_id)


def wrapped_again(keyring: Keyring, stored: StoredKey, key_id: str) -> WrappedKey:
    """A data key under another key of the keyring; what it seals stays as it is."""
    old = WrappedKey(
        key_id=stored.key_id,
        key_version=stored.key_version,
        wrapped=stored.wrapped,
        commitment=stored.commitment,
    )
    data_key = unwrap(keyring, old, partner=stored.partner_id, object_id=stored.object_id)
    return wrap(keyring, key_id, data_key, partner=stored.partner_id, object_id=stored.object_id)


def _settle(store: Store, keyring: Keyring, clock: Clock) -> None:
    """Every data key under the key it belongs under, in short transactions."""
    with store.read() as conn:
        found = holds.misplaced(conn, local_day(clock.now()))
    keyring.ensure(sorted({key_of(one) for one in found}))
    for start in range(0, len(found), _BATCH):
        rewrap(store, keyring, found[start : start + _BATCH], clock.now())


def warn_of_reviews(store: Store, today: date) -> list[Hold]:
    """The holds whose review is over, each in the log; they stay in force."""
    with store.read() as conn:
        late = [each for each in holds.held(conn) if each.review_on < today]
    for each in late:
        _log.error(
            "hold.unreviewed", hold=each.id, due=each.review_on.isoformat(), count=len(each.deliveries)
        )
    return late
