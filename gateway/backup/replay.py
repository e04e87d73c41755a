"""After a restore, before anyone comes in (spec 4, Retention): nothing that was let go comes back, no number twice.

    begin       the audit log continues from `log/`; numbers that others saw go on 1000 higher
    holds       what is kept past its day has its keys again
    unopenable  what no key of the ring opens is overdue, whatever its day
    removals    what was erased, withdrawn or excluded since the backup is so again
    lists       partners are told which of their deliveries the backup does not know
    purge       all of that goes
    finish      `data.restored`

`gateway restore` leaves a mark; a `data/` that was put back by hand is told by `log/`, which has more. A replay that was
killed goes on where it was: what is done is on record with the transaction that did it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256

from gateway import logs
from gateway.audit import removals as removal_files
from gateway.audit.continuation import entries_between, older, take_in
from gateway.audit.log import record
from gateway.audit.loss import check_not_lost
from gateway.audit.mark import drop_mark, read_mark
from gateway.clock import local_day
from gateway.domain.certificate import LIST_DAYS
from gateway.domain.dispatch import DispatchKind, Letter
from gateway.domain.partner import Box, Role
from gateway.errors import KeyMissing, VaultError
from gateway.files.manifest import render_manifest
from gateway.files.names import manifest_name, not_restored_name
from gateway.files.not_restored import Lost, render_not_restored
from gateway.gateway import Gateway
from gateway.pipeline.context import Context
from gateway.pipeline.erasure import erase_again, publish_marked
from gateway.pipeline.outgoing import post
from gateway.pipeline.removing import RemovalKind, remove_again
from gateway.pipeline.sealing import open_key
from gateway.pipeline.staging import drop_staged
from gateway.retention.hold_records import KIND as HOLD
from gateway.retention.hold_records import hold_row, stored_keys
from gateway.store import Connection, audit, heartbeat, removals, restored, retention
from gateway.store.data_keys import StoredKey
from gateway.store.restored import Replay
from gateway.vault.key_ids import day_of
from gateway.vault.removal import OWNER

_log = logs.get("backup")

#: What a received file came to in the log, when nobody needs to send it again.
_ENDED = {"delivery.aborted", "delivery.rejected", "delivery.withdrawn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a replay did. `purged` are the counts of its purge, `errors` what of it failed: the next one tries again."""

    taken_in: int
    unopenable: int
    removals: int
    lists: int
    purged: int
    errors: int


def replay(gateway: Gateway, *, actor: str = "gateway", origin: str = "schedule") -> Report | None:
    """Do what a restored database needs; None when none was restored. For who keeps every daemon away.

    Raises:
        AuditError: the audit log was lost: nothing was done.
        VaultError: a record of the list of removals was altered.
    """
    with gateway.store.exclusive():
        under_way = _begin(gateway)
        if under_way is None:
            return None
        context = gateway.pipeline()
        _hold_again(gateway, under_way)
        _end_unopenable(gateway, context, under_way, actor, origin)
        gateway.make_keys(origin=origin)
        _remove_again(gateway, context, under_way)
        _tell(gateway, context, under_way)
    purged = gateway.purge(origin=origin, actor=actor)
    report = _finish(gateway, len(purged.errors), sum(purged.counts.values()), actor, origin)
    gateway.sign()
    _log.info(
        "data.restored",
        rows=report.taken_in,
        keys=report.unopenable,
        count=report.removals,
        errors=report.errors,
    )
    return report


# Begin ---------------------------------------------------------------------------------------------------


def _begin(gateway: Gateway) -> Replay | None:
    """The replay to go on with, or a new one: its beginning is one transaction."""
    home, key, now = gateway.home, gateway.signer.public_key, gateway.clock.now()
    mark = read_mark(home.data)
    with gateway.store.read() as conn:
        found = older(conn, home.log, key)
        if found is None:
            check_not_lost(conn, home.log, key, is_restored=bool(mark))
        unknown = removal_files.unknown(removals.known(conn), home.log)
        under_way = restored.under_way(conn)
        last = audit.last_checkpoint(conn)
    goes_on = under_way is not None and found is None and mark in {"", under_way.mark}
    if not goes_on:
        if not (found or mark or unknown):
            return None
        with gateway.store.write() as conn:
            taken = 0 if found is None else take_in(conn, home.log, key, found, now)
            # that of the backup is as old as the backup: the clock did not jump
            heartbeat.forget(conn)
            restored.pass_over(conn, _series(gateway), local_day(now).year)
            size = found.size if found else last.size if last else 0
            restored.begin(conn, mark=mark, log_size=size, taken_in=taken, at=now)
            under_way = restored.under_way(conn)
    drop_mark(home.data)
    return under_way


def _series(gateway: Gateway) -> Iterator[str]:
    """The numbered files that each partner may have got since the backup, also for the first time."""
    for partner in gateway.settings.partners.values():
        if partner.role is Role.MUNICIPALITY:
            yield f"meldingen/{partner.id}"
        elif partner.role is Role.CREDITOR:
            yield f"signaalstatus/{partner.id}"
            yield f"terugkoppeling/{partner.id}"


# What stays ----------------------------------------------------------------------------------------------


def _hold_again(gateway: Gateway, replay: Replay) -> None:
    """Holds as they were last, with the data keys that no day's key wraps any more: else they could not be opened."""
    found, _ = _unknown(gateway)
    for each in found:
        if each.fields["kind"] == HOLD:
            with gateway.store.write() as conn:
                if each.fields["hold"] is not None:
                    restored.put_hold(conn, hold_row(each.fields), each.fields["deliveries"])
                for key in stored_keys(each.fields):
                    restored.put_key(conn, key)
                _adopt(replay, each, conn)
    with gateway.store.write() as conn:
        restored.lift_without_key(conn, gateway.keyring.ids(), gateway.clock.now())


def _unknown(gateway: Gateway) -> tuple[list[removal_files.Removal], list[str]]:
    """The records of the list that the database does not know, and the ids of those whose day is over."""
    with gateway.store.read() as conn:
        unknown = removal_files.unknown(removals.known(conn), gateway.home.log)
    return removal_files.read(gateway.keyring, unknown, gateway.home.log)


# What goes -----------------------------------------------------------------------------------------------


def _end_unopenable(gateway: Gateway, context: Context, replay: Replay, actor: str, origin: str) -> None:
    """Whatever no key of the ring opens is overdue: before the keys to come are made under names of lost ones."""
    now = gateway.clock.now()
    with gateway.store.read() as conn:
        dead = {
            (stored.key_id, stored.key_version)
            for stored in restored.wrapping(conn)
            if not _opens(context, stored)
        }
        unprocessable = restored.unprocessable(conn, dead)
        tokens = set(restored.token_keys(conn)) - set(gateway.keyring.ids())
    for delivery_id, state in unprocessable:
        drop_staged(context, delivery_id)
        with gateway.store.write() as conn:
            restored.refuse(conn, delivery_id, state, now)
            record(
                conn,
                action="delivery.rejected",
                object_id=delivery_id,
                result="unreadable",
                origin=origin,
                actor=actor,
                at=now,
                node=gateway.node,
            )
    with gateway.store.write() as conn:
        for key_id in tokens:
            restored.drop_tokens(conn, key_id)
            retention.forget_month(conn, key_id)
        fresh = restored.end_unopenable(conn, dead, local_day(now) - timedelta(days=1), now)
        # an earlier try counted them too
        restored.count(conn, replay, unopenable=fresh - replay.unopenable)


def _opens(context: Context, stored: StoredKey) -> bool:
    try:
        open_key(context, stored)
    except KeyMissing:
        return False
    except VaultError:
        # altered, which `gateway keys verify` tells: its key is there
        return True
    return True


def _remove_again(gateway: Gateway, context: Context, replay: Replay) -> None:
    """Each record of the list that the database does not know, in the order in which things were removed."""
    found, over = _unknown(gateway)
    for each in found:
        adopt = partial(_adopt, replay, each)
        if each.fields["kind"] == RemovalKind.ERASURE:
            erase_again(context, each.fields, adopt)
        else:
            remove_again(context, each.fields, adopt)
    # also what an earlier try marked: before the files that it replaces are gone
    publish_marked(context)
    removal_files.drop(over, gateway.home.log)


def _adopt(replay: Replay, each: removal_files.Removal, conn: Connection) -> None:
    """The row of a record whose file lies in `log/`, with the transaction that carries it out again."""
    at, due_on = datetime.fromisoformat(each.fields["at"]), day_of(each.kept.key_id)
    assert due_on is not None
    # that of a hold is made anew with the next checkpoint, and this one goes then
    about = f"adopted:{each.kept.id}" if each.fields["kind"] == HOLD else ""
    removals.add(conn, each.kept, owner=OWNER, due_on=due_on, at=at, about=about, is_written=True)
    restored.count(conn, replay, removals=1)


# Who is told ---------------------------------------------------------------------------------------------


def _tell(gateway: Gateway, context: Context, replay: Replay) -> None:
    """A list for each partner whose deliveries the backup does not know; together with what says that it was made."""
    if replay.lists is not None:
        return
    now = gateway.clock.now()
    with gateway.store.read() as conn:
        lost = _lost(gateway, conn, replay)
        letters = [letter for each in lost for letter in _letters(gateway, conn, each, lost[each], now)]
    store_letters = post(context, letters)
    with gateway.store.write() as conn:
        store_letters(conn, now)
        restored.tell(conn, replay, len(lost))


def _lost(gateway: Gateway, conn: Connection, replay: Replay) -> dict[str, list[Lost]]:
    """Partner -> what it must send again: received after the backup, or in it and past opening."""
    received: dict[str, Lost] = {}
    sizes: dict[str, int] = {}
    for entry in entries_between(conn, replay.log_size, replay.log_size + replay.taken_in):
        action, delivery_id = entry["action"], entry["object"]
        size = entry.get("detail", {}).get("bytes")
        if size is not None:
            sizes[delivery_id] = size
        if action == "delivery.arrived":
            received[delivery_id] = Lost(
                delivery_id=delivery_id,
                partner_id=entry["actor"],
                received_at=datetime.fromisoformat(entry["time"]),
                size_bytes=sizes.get(delivery_id),
            )
        elif action in _ENDED:
            received.pop(delivery_id, None)
    there = restored.known_deliveries(conn, received)
    found = [each for each in received.values() if each.delivery_id not in there]
    found += [Lost(**each) for each in restored.refused(conn)]
    lists: dict[str, list[Lost]] = {}
    for each in found:
        if each.partner_id in gateway.settings.partners:
            lists.setdefault(each.partner_id, []).append(each)
    return dict(sorted(lists.items()))


def _letters(
    gateway: Gateway, conn: Connection, partner_id: str, lost: list[Lost], now: datetime
) -> Iterator[Letter]:
    """A partner's list; a municipality finds it in its outbox, where every file has a manifest."""
    partner, today = gateway.settings.partners[partner_id], local_day(now)
    name = not_restored_name(today, restored.lists_made(conn, partner_id, not_restored_name(today, 1)) + 1)
    content, due_on = b"".join(render_not_restored(lost)), today + timedelta(days=LIST_DAYS)
    is_municipality = partner.role is Role.MUNICIPALITY
    box = Box.OUTBOX if is_municipality else Box.RETURNS
    yield Letter(
        partner_id=partner_id,
        box=box,
        name=name,
        kind=DispatchKind.NOT_RESTORED,
        content=content,
        due_on=due_on,
    )
    if is_municipality:
        yield Letter(
            partner_id=partner_id,
            box=box,
            name=manifest_name(name),
            kind=DispatchKind.MANIFEST,
            content=render_manifest(
                name=name,
                size=len(content),
                sha256=sha256(content).hexdigest(),
                rows=len(lost),
                municipality="",
                created_at=now,
                expires_on=due_on,
            ),
            due_on=due_on,
            belongs_to=name,
        )


def _finish(gateway: Gateway, errors: int, purged: int, actor: str, origin: str) -> Report:
    now = gateway.clock.now()
    with gateway.store.write() as conn:
        done = restored.under_way(conn)
        assert done is not None
        report = Report(
            taken_in=done.taken_in,
            unopenable=done.unopenable,
            removals=done.removals,
            lists=done.lists or 0,
            purged=purged,
            errors=errors,
        )
        restored.finish(conn, done, now)
        record(
            conn,
            action="data.restored",
            object_id=f"restore-{done.id}",
            result="failed" if errors else "ok",
            origin=origin,
            actor=actor,
            at=now,
            node=gateway.node,
            detail={
                "entries": report.taken_in,
                "lists": report.lists,
                "purged": report.purged,
                "removals": report.removals,
                "unopenable": report.unopenable,
            },
        )
    return report
