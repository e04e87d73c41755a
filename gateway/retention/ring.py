"""The keyring as a whole: what each key protects, whether all of it fits, and its root key (spec 4, Keys)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.retention import KEYS_AHEAD_DAYS, Terms, index_due, key_days
from gateway.domain.ring_key import KeyState, key_state
from gateway.errors import CommandError, KeyringError, VaultError
from gateway.store import data_keys, early, key_versions, places, registers, retention
from gateway.store.early import Protected
from gateway.store.engine import Store
from gateway.vault.datakey import WrappedKey, unwrap
from gateway.vault.key_ids import day_of, month_of
from gateway.vault.keyring import Keyring, Progress
from gateway.vault.root import Provider

_log = logs.get("retention")

#: Data keys looked at in one snapshot.
_BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One key as it stands: `data_keys` are wrapped under it, `tokens` were made with it.

    `versions` are those in the keyring, the newest last. `compromised_at` is None unless it is in that state.
    """

    id: str
    state: KeyState
    made_at: datetime | None
    destroyed_at: datetime | None
    data_keys: int
    tokens: int
    versions: list[int]
    compromised_at: datetime | None

    @property
    def kind(self) -> str:
        """`until`, `index` or `hold`."""
        return self.id.partition("-")[0]


def standings(store: Store, keyring: Keyring, now: datetime, terms: Terms) -> list[Standing]:
    """Every key that is in the keyring or ever was, by id."""
    today = local_day(now)
    last_needed = key_days(today, terms)[-1] - timedelta(days=KEYS_AHEAD_DAYS)
    there = keyring.all_versions()
    with store.read() as conn:
        known = {key.id: key for key in registers.keys(conn)}
        registered = key_versions.all_keys(conn)
        wrapped = data_keys.count_by_key(conn)
        tokens = places.count_by_key(conn)
    found = []
    for key_id in sorted({*there, *known}):
        key, versions = known.get(key_id), registered.get(key_id)
        is_compromised = versions is not None and versions.is_compromised
        protects = wrapped.get(key_id, 0) + tokens.get(key_id, 0)
        state = key_state(
            day=day_of(key_id),
            month=month_of(key_id),
            protects=protects,
            is_destroyed=key_id not in there and key is not None and key.destroyed_at is not None,
            is_compromised=is_compromised,
            today=today,
            last_needed=last_needed,
        )
        found.append(
            Standing(
                id=key_id,
                state=state,
                made_at=None if key is None else key.made_at,
                destroyed_at=None if key is None else key.destroyed_at,
                data_keys=wrapped.get(key_id, 0),
                tokens=tokens.get(key_id, 0),
                versions=there.get(key_id, []),
                compromised_at=versions.compromised_at if is_compromised and versions is not None else None,
            )
        )
    return found


def problems(store: Store, keyring: Keyring, progress: Progress) -> Iterator[str]:
    """One sentence for each thing that does not fit: key files, copies, and every wrapped data key.

    A data key must open under the key that the database names, for its partner and object, and have the
    commitment that is stored beside it; but for those whose key was destroyed before its day, on record.
    """
    yield from keyring.verify()
    yield from keyring.verify_copies()
    there = keyring.all_versions()
    with store.read() as conn:
        missing = [key_id for key_id in registers.live_keys(conn) if key_id not in there]
        known = key_versions.all_keys(conn)
        total = data_keys.count(conn)
    for key_id in missing:
        yield f"{key_id} is not in the keyring, and its destruction is not on record"
    for key_id, versions in known.items():
        if key_id in there and versions.version not in there[key_id]:
            yield f"version {versions.version} of {key_id}, which is in force, is not in the keyring"
    done, last = 0, 0
    while True:
        with store.read() as conn:
            batch = data_keys.after(conn, last, _BATCH)
        if not batch:
            return
        for stored in batch:
            registered = known.get(stored.key_id)
            if registered is not None and stored.key_version < registered.destroyed_before:
                continue
            key = WrappedKey(
                key_id=stored.key_id,
                key_version=stored.key_version,
                wrapped=stored.wrapped,
                commitment=stored.commitment,
            )
            try:
                unwrap(keyring, key, partner=stored.partner_id, object_id=stored.object_id)
            except (KeyringError, VaultError) as exc:
                yield f"the data key of {stored.object_id}: {exc}"
        last, done = batch[-1].id, done + len(batch)
        progress(done, max(done, total))


def replace_master(
    store: Store, keyring: Keyring, now: datetime, *, node: str, origin: str, actor: str
) -> bool:
    """Replace the master key in the token when keys were destroyed, so that older copies of the keyring open nothing.

    Nothing is done where the root key is not sealed in a token. The audit entry is there before the old master key
    is destroyed: an interruption may write it twice, and leaves it out never. Raises KeyringError; what is left to do
    is done at the next call.
    """
    replaced = keyring.master() or ""

    def told(count: int, master: str) -> None:
        nonlocal replaced
        with store.write() as conn:
            record(
                conn,
                action="root_key.rotated",
                object_id="root",
                origin=origin,
                actor=actor,
                at=now,
                node=node,
                detail={
                    "keys": count,
                    "provider": str(Provider.PKCS11),
                    "master": master,
                    "replaced": replaced,
                },
            )
        replaced = master

    return keyring.replace_master(told)


def replace_master_after(
    store: Store, keyring: Keyring, key_id: str, now: datetime, *, node: str, actor: str
) -> None:
    """As `replace_master`, after a command destroyed a key. What fails is told, and left to the next purge or start.

    It raises nothing: what was destroyed is destroyed, and who took it for undone would do it again, to what came since.
    """
    try:
        replace_master(store, keyring, now, node=node, origin="cli", actor=actor)
    except KeyringError as exc:
        _log.error("master.left", key=key_id, error=str(exc))


def rotate_root(
    store: Store,
    keyring: Keyring,
    provider: Provider,
    now: datetime,
    *,
    node: str,
    actor: str,
    progress: Progress,
) -> int:
    """Put another root key in the place of the present one; how many keys were wrapped again.

    The audit entry is there before the old root key is destroyed: an interruption may write it twice, and
    leaves it out never. Raises KeyringError; then the old root key is there still.
    """

    def told(count: int) -> None:
        with store.write() as conn:
            record(
                conn,
                action="root_key.rotated",
                object_id="root",
                origin="cli",
                actor=actor,
                at=now,
                node=node,
                detail={"keys": count, "provider": str(provider)},
            )

    return keyring.rotate_root(provider, told, progress)


def destroy(
    store: Store,
    keyring: Keyring,
    key_id: str,
    now: datetime,
    terms: Terms,
    *,
    node: str,
    actor: str,
    approved: bool = False,
) -> list[str]:
    """Destroy a key whose day is over, as the purge does; the copies in which that could not be confirmed.

    Args:
        store: the database; its exclusive lock is held throughout.
        keyring: the keys.
        key_id: which one.
        now: the present instant.
        terms: until when an index key serves.
        node: this node, for the audit log.
        actor: who destroys, for the audit log.
        approved: two approvers agreed to destroy it before its day, with all that it protects: `at_stake`. That
            is overdue from then on, and goes with the next purge. A new version is there for what comes in.

    Raises:
        CommandError: its day is not over, or something is protected by it still; or it is approved, and a file
            that it protects waits to be processed.
        KeyringError: there is no such key, or it can't be destroyed.
    """
    today = local_day(now)
    with store.exclusive():
        if key_id not in {*keyring.ids(), *keyring.ids_in_copies()}:
            raise KeyringError(f"{key_id} is not in the keyring: gateway keys status --json names all")
        last = last_day(key_id, terms)
        if approved:
            return _destroy_early(store, keyring, key_id, now, node=node, actor=actor)
        if last is None:
            raise CommandError(f"{key_id} has no day: its hold must be lifted, which takes it away")
        if last >= today:
            raise CommandError(
                f"{key_id} serves until the end of {last}, and nothing was changed: destroying it earlier takes "
                "two approvers"
            )
        with store.read() as conn:
            if retention.is_key_used(conn, key_id) or retention.token_count(conn, [key_id]):
                raise CommandError(
                    f"{key_id} protects something still, and nothing was changed: gateway retention run lets go of it"
                )
        keyring.destroy(key_id)
        unconfirmed = keyring.unconfirmed(key_id)
        with store.write() as conn:
            registers.mark_destroyed(conn, key_id, now)
            record(
                conn,
                action="key.destroyed",
                object_id=key_id,
                result="unconfirmed" if unconfirmed else "ok",
                origin="cli",
                actor=actor,
                at=now,
                node=node,
            )
        replace_master_after(store, keyring, key_id, now, node=node, actor=actor)
        return keyring.unconfirmed(key_id)


def at_stake(store: Store, key_id: str) -> Protected:
    """What nobody could open any more if a key were destroyed now."""
    with store.read() as conn:
        return early.protected(conn, key_id)


def _destroy_early(
    store: Store, keyring: Keyring, key_id: str, now: datetime, *, node: str, actor: str
) -> list[str]:
    _check_nothing_waits(at_stake(store, key_id), key_id)
    before = keyring.newest(key_id) + 1
    keyring.renew({key_id: before})
    by: dict[str, Any] = {"object_id": key_id, "origin": "cli", "actor": actor, "at": now, "node": node}
    with store.write() as conn:
        # once more, where no CLOSE can come between
        lost = early.protected(conn, key_id)
        _check_nothing_waits(lost, key_id)
        early.end(conn, key_id, local_day(now) - timedelta(days=1))
        key_versions.advance(conn, key_id, before, now)
        record(conn, action="key.ended", **by, detail=asdict(lost) | {"before_version": before})
    keyring.destroy(key_id, before=before)
    unconfirmed = keyring.unconfirmed(key_id, before=before)
    with store.write() as conn:
        key_versions.mark_destroyed(conn, key_id, before)
        result = "unconfirmed" if unconfirmed else "ok"
        record(conn, action="key.destroyed", **by, result=result, detail={"before_version": before})
    _log.warning("key.destroyed", key=key_id, count=lost.signals + lost.listed + lost.files + lost.dispatches)
    replace_master_after(store, keyring, key_id, now, node=node, actor=actor)
    return keyring.unconfirmed(key_id, before=before)


def _check_nothing_waits(lost: Protected, key_id: str) -> None:
    if lost.waiting:
        raise CommandError(
            f"{lost.waiting:,} received files under {key_id} wait to be processed, and nothing was destroyed: see "
            "gateway deliveries list"
        )


def last_day(key_id: str, terms: Terms) -> date | None:
    """The last day on which a key serves; None for that of a hold."""
    month = month_of(key_id)
    return day_of(key_id) if month is None else index_due(month, terms)
