"""The ledger recomputed over everything: database, vault and keyring (spec 1, Conservation)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.clock import local_day
from gateway.domain.ledger import Check, Difference, Figures, Found, differences
from gateway.domain.signal import SignalState
from gateway.matching.keys import Level
from gateway.matching.publication import fingerprint
from gateway.pipeline import snapshot
from gateway.pipeline.context import Context
from gateway.store import Connection, ledger, tombstones
from gateway.store import blobs as known_blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What was counted, and what does not add up.

    `signals` are those in force, by state; `purged` those of which nothing is held; `new` the sum of all files.
    """

    deliveries: Mapping[str, int]
    rows: int
    new: int
    signals: Mapping[str, int]
    purged: int
    blobs: int
    differences: tuple[Difference, ...]


def check(context: Context) -> Ledger:
    """Recompute everything in one snapshot; changes nothing.

    Only while the snapshot is taken do intake, publication and purge wait; a CLOSE never does.
    """
    with context.store.read() as conn:
        with context.store.exclusive():
            sizes = context.blobs.sizes()
            used = known_blobs.in_use(conn)
        figures = _figures(context, conn, _vault(context, conn, sizes, used))
    states = Counter[str]()
    for by_state in figures.in_force.values():
        states.update(by_state)
    return Ledger(
        deliveries=dict(Counter(each.state for each in figures.deliveries)),
        rows=sum(each.rows for each in figures.deliveries),
        new=sum((each.new for each in figures.deliveries), sum(figures.forgotten.new.values())),
        signals=dict(states),
        purged=sum(
            (each.purged_signals for each in figures.deliveries), sum(figures.forgotten.purged.values())
        ),
        blobs=len(used),
        differences=tuple(differences(figures)),
    )


def _figures(context: Context, conn: Connection, vault: list[Found]) -> Figures:
    today = local_day(context.clock.now())
    return Figures(
        deliveries=ledger.deliveries(conn),
        in_force=ledger.in_force(conn),
        states=frozenset(SignalState),
        arrivals=ledger.last_arrival(conn),
        numbers=ledger.numbers(conn),
        numbered=ledger.numbered(conn),
        forgotten=tombstones.forgotten(conn),
        found=[
            *(ledger.search(conn, each, today, Level.SIGNAL) for each in ledger.SEARCHED),
            _found(Check.VERSION, _altered(conn)),
            *vault,
        ],
    )


def _vault(context: Context, conn: Connection, sizes: Mapping[str, int], used: set[str]) -> list[Found]:
    """Sealed bytes and keys. An upload that is given up while we look is no orphan: it is looked for again."""
    blobs = ledger.blobs(conn)
    damaged = [
        f"{blob.owner}: {blob.name} {'has another size' if blob.name in sizes else 'is missing'}"
        for blob in blobs
        if sizes.get(blob.name) != blob.size
    ]
    orphans = sizes.keys() - used
    if orphans:
        orphans &= set(context.blobs.names())
    ring = set(context.keyring.ids())
    keys = [
        f"{owner}: {key_id}" for key_id, owner in ledger.wrapping_keys(conn).items() if key_id not in ring
    ]
    return [_found(Check.BLOBS, damaged), _found(Check.ORPHANS, sorted(orphans)), _found(Check.KEYS, keys)]


def _altered(conn: Connection) -> list[str]:
    """Meldingen whose fingerprint is not that of what was published."""
    return [
        each.melding_id
        for each in ledger.fingerprints(conn)
        if fingerprint(snapshot.load(each.published) if each.published else None) != each.fingerprint
    ]


def _found(check: Check, ids: list[str]) -> Found:
    return Found(check=check, count=len(ids), ids=tuple(ids))
