"""New versions of the keys of the keyring: data keys move to them, and the older ones are retired (spec 4, Keys).

No data is encrypted again: only the data keys, a few dozen bytes each, are wrapped anew (promise 3). Each step
ends on disk and may be repeated: what was interrupted is simply run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from gateway.audit.log import record
from gateway.domain.retention import Terms
from gateway.domain.ring_key import KeyState
from gateway.errors import CommandError, KeyringError
from gateway.retention.ring import replace_master_after, standings
from gateway.store import Connection, data_keys, key_versions, registers
from gateway.store.data_keys import StoredKey
from gateway.store.engine import Store
from gateway.vault.datakey import WrappedKey, unwrap, wrap
from gateway.vault.key_ids import month_of
from gateway.vault.keyring import Keyring, Progress

#: Data keys in one transaction: a few dozen milliseconds.
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who does it, where and when, for the audit log."""

    actor: str
    node: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrapped:
    """`keys` got a new version, and `data_keys` were wrapped again under them.

    `is_resumed`: it went on with what was interrupted, and did nothing beyond that; what was moved then is not counted.
    """

    keys: int
    data_keys: int
    is_resumed: bool


def rewrap(
    store: Store, keyring: Keyring, key_id: str | None, terms: Terms, *, by: By, progress: Progress
) -> Rewrapped:
    """Give a key a new version, and wrap the data keys again under it; without an id every key in use.

    A try that was interrupted is gone on with: no key gets a version twice for it.

    Raises:
        CommandError: an index key: its tokens are made with it.
        KeyringError: there is no such key, a copy can't be reached, or a data key doesn't open.
    """
    if away := keyring.copies_away():
        raise KeyringError(
            f"{away[0]} can't be reached, and would lack the new versions: bring it back first"
        )
    wanted, is_resumed = _wanted(store, keyring, key_id, terms, by.now)
    with store.write() as conn:
        registers.register_keys(conn, wanted, by.now)
        key_versions.want(conn, wanted)
    keyring.renew(wanted)
    put_in_force(store, wanted, by)
    with store.read() as conn:
        total = sum(key_versions.older(conn, each, version) for each, version in wanted.items())
    done = 0
    for each, version in wanted.items():
        while moved := _move(store, keyring, each, version):
            done += moved
            progress(done, max(done, total))
        with store.write() as conn:
            key_versions.finish(conn, each)
            count = data_keys.count_by_key(conn).get(each, 0)
            note(conn, "key.rewrapped", each, by, {"version": version, "data_keys": count})
    return Rewrapped(keys=len(wanted), data_keys=done, is_resumed=is_resumed)


def put_in_force(store: Store, versions: Mapping[str, int], by: By) -> None:
    """From here on nothing is stored under an older version of these keys."""
    with store.write() as conn:
        for key_id, version in versions.items():
            if key_versions.advance(conn, key_id, version, by.now):
                note(conn, "key.renewed", key_id, by, {"version": version})


def retire(store: Store, keyring: Keyring, key_id: str, by: By) -> list[str]:
    """Destroy the older versions of a key; the copies in which that could not be confirmed.

    Raises:
        CommandError: a data key is wrapped under one of them still, or there is none.
        KeyringError: there is no such key, or it can't be destroyed.
    """
    with store.write() as conn:  # whoever stores a data key now is done, or sees the version in force
        known = key_versions.of_key(conn, key_id)
        left = key_versions.older(conn, key_id, known.version)
    if not keyring.versions(key_id):
        raise KeyringError(f"{key_id} is not in the keyring: gateway keys status --json names all")
    if left:
        raise CommandError(
            f"{left:,} data keys are wrapped under older versions of {key_id}, and nothing was changed: "
            f"{_mover(known)} moves them"
        )
    keyring.get(key_id, known.version)  # what takes their place opens
    if (
        known.destroyed_before >= known.version
        and keyring.versions(key_id)[0] == known.version
        and not keyring.unconfirmed(key_id, before=known.version)
    ):
        raise CommandError(f"{key_id} has no older version: version {known.version} is the only one")
    return destroy_older(store, keyring, key_id, known.version, by)


def destroy_older(store: Store, keyring: Keyring, key_id: str, before: int, by: By) -> list[str]:
    """Destroy the versions of a key `before` one, here and in every copy; those where that is not confirmed."""
    keyring.destroy(key_id, before=before)
    unconfirmed = keyring.unconfirmed(key_id, before=before)
    with store.write() as conn:
        key_versions.mark_destroyed(conn, key_id, before)
        result = "unconfirmed" if unconfirmed else "ok"
        note(conn, "key.retired", key_id, by, {"before_version": before}, result=result)
    replace_master_after(store, keyring, key_id, by.now, node=by.node, actor=by.actor)
    return keyring.unconfirmed(key_id, before=before)


def note(
    conn: Connection,
    action: str,
    key_id: str,
    by: By,
    detail: Mapping[str, int | str],
    *,
    result: str = "ok",
) -> None:
    """An audit entry in the transaction of what it records."""
    record(
        conn,
        action=action,
        object_id=key_id,
        result=result,
        origin="cli",
        actor=by.actor,
        at=by.now,
        node=by.node,
        detail=detail,
    )


@contextmanager
def short_transaction(store: Store) -> Iterator[Connection]:
    """A short transaction, then a rest of the same length: who waits to write meanwhile (a CLOSE) gets a turn."""
    began = time.perf_counter()
    with store.write() as conn:
        yield conn
    time.sleep(time.perf_counter() - began)


def wrapped_of(stored: StoredKey) -> WrappedKey:
    """A stored data key as the vault knows it."""
    return WrappedKey(
        key_id=stored.key_id,
        key_version=stored.key_version,
        wrapped=stored.wrapped,
        commitment=stored.commitment,
    )


def _wanted(
    store: Store, keyring: Keyring, key_id: str | None, terms: Terms, now: datetime
) -> tuple[dict[str, int], bool]:
    """The keys to rewrap, with their new versions; whether it is what an interrupted try left."""
    if key_id is not None and month_of(key_id) is not None:
        raise CommandError(
            f"{key_id} wraps nothing, and nothing was changed: index tokens are made with it. If somebody may have it: "
            f"gateway keys compromise {key_id}"
        )
    if key_id is not None and not keyring.versions(key_id):
        raise KeyringError(f"{key_id} is not in the keyring: gateway keys status --json names all")
    chosen = [
        key
        for key in standings(store, keyring, now, terms)
        if key.id == key_id
        or (key_id is None and key.kind != "index" and key.state in {KeyState.ACTIVE, KeyState.DEACTIVATED})
    ]
    if compromised := [key.id for key in chosen if key.state is KeyState.COMPROMISED]:
        raise CommandError(
            f"{compromised[0]} is compromised, and nothing was changed: gateway keys compromise {compromised[0]} "
            "seals again what it protected"
        )
    with store.read() as conn:
        under_way = {each.id: each.wanted_version for each in key_versions.all_keys(conn).values()}
    left = {key.id: version for key in chosen if (version := under_way.get(key.id)) is not None}
    return left or {key.id: keyring.newest(key.id) + 1 for key in chosen}, bool(left)


def _move(store: Store, keyring: Keyring, key_id: str, version: int) -> int:
    """Wrap some data keys again under the version in force; how many, 0 when none is left under an older one."""
    with short_transaction(store) as conn:
        ids = key_versions.older_ids(conn, key_id, version, BATCH)
        for stored in data_keys.by_id(conn, ids).values():
            about = {"partner": stored.partner_id, "object_id": stored.object_id}
            fresh = wrap(keyring, key_id, unwrap(keyring, wrapped_of(stored), **about), **about)
            key_versions.rewrap(conn, stored.id, version=fresh.key_version, wrapped=fresh.wrapped)
    return len(ids)


def _mover(known: key_versions.Versions) -> str:
    return f"gateway keys {'compromise' if known.is_compromised else 'rewrap'} {known.id}"
