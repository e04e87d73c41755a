"""The purge: everything whose day is over goes (spec 4, Retention).

    with the lock that intake and publication take too:
      rewrap      unprocessed files get the key of today instead of the one that goes
      hold        what a legal hold covers, or what waits for approval, gets a key of its own: it stays
      block       what goes is taken out of sight: PURGING
    figures     what goes is written down, for certificates and lists
      blobs       sealed bytes are removed, and seen to be absent
      rows        sealed contents, rows, meldingen; index tokens of a month that nobody needs
      data keys   wrapped keys
      keys        the keys of the days and months that are over, of holds that were lifted: the destruction itself
      tombstones  PURGED: id, partner, counts, dates, digest of the ciphertext
      compact     the database is written anew and its journal emptied, while CLOSE waits
    verify      nothing that was due is left
    certify     signed certificates, and lists for the creditors
    requests    requests to destroy that this run carried out are done

Each step finds its work by the due day in the row, is idempotent and ends on disk in short transactions, so
a run that was killed is simply run again. An error at one record stops none of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from gateway import logs
from gateway.clock import Clock, local_day
from gateway.domain.retention import Terms
from gateway.retention import figures, steps
from gateway.retention.certify import certify
from gateway.retention.notary import Notary
from gateway.retention.run import Failure, Progress, Run
from gateway.store import registers, retention
from gateway.store.engine import Store
from gateway.vault.blobs import BlobFolder
from gateway.vault.keyring import Keyring

_log = logs.get("retention")


STEPS: Sequence[tuple[str, Callable[[Run], None]]] = (
    ("rewrap", steps.rewrap_unprocessed),
    ("hold", steps.hold),
    ("block", steps.block),
    ("figures", figures.write_down),
    ("blobs", steps.remove_blobs),
    ("rows", steps.purge_rows),
    ("tokens", steps.purge_tokens),
    ("data_keys", steps.purge_data_keys),
    ("keys", steps.destroy_keys),
    ("tombstones", steps.leave_tombstones),
    ("compact", figures.compact_database),
    ("verify", steps.verify),
    ("certify", certify),
    ("requests", steps.finish_requests),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeReport:
    """What a purge did, or would do. `counts` by the names in `gateway.store.registers.COUNTS`.

    `run_id` is None when nothing was changed (`would_go`). `keys` are the ids of the keys that went.
    """

    due_before: date
    run_id: int | None
    counts: Mapping[str, int]
    keys: tuple[str, ...]
    errors: tuple[Failure, ...]

    @property
    def is_dry_run(self) -> bool:
        """Whether it only counted."""
        return self.run_id is None


def purge(
    store: Store,
    keyring: Keyring,
    blobs: BlobFolder,
    clock: Clock,
    *,
    terms: Terms,
    notary: Notary,
    node: str,
    actor: str = "gateway",
    origin: str = "schedule",
    progress: Progress | None = None,
) -> PurgeReport:
    """Let everything go whose due day is before today (Europe/Amsterdam).

    Args:
        store: the database; its exclusive lock is held throughout.
        keyring: the keys.
        blobs: the sealed bytes.
        clock: the day at the start decides.
        terms: when a month's index key goes.
        notary: what certificates are made with.
        node: this node, for the audit log.
        actor: who purges, for the audit log.
        origin: `schedule` or `cli`, for the audit log.
        progress: told the step, how much of it is done and how much there is; may raise to stop the purge,
            which the next one then completes.

    Returns:
        What went; errors at single records are in it, reported and in the audit log.

    Raises:
        StoreError: the database can't be used; what is left goes with the next purge.
    """
    began, today = time.monotonic(), local_day(clock.now())
    with retention.own_errors(), store.exclusive():
        run = Run.start(
            store,
            keyring,
            blobs,
            clock,
            today,
            terms=terms,
            notary=notary,
            node=node,
            actor=actor,
            origin=origin,
            progress=progress,
        )
        for name, step in STEPS:
            step(run)
            run.finish_step(name)
        done = run.finish()
    _log.info(
        "purge.finished",
        due=today.isoformat(),
        purged=done.counts["deliveries"],
        rows=done.counts["signals"],
        keys=done.counts["keys"],
        errors=done.counts["errors"],
        duration_ms=round((time.monotonic() - began) * 1000),
    )
    return PurgeReport(
        due_before=today,
        run_id=run.id,
        counts=done.counts,
        keys=tuple(run.destroyed),
        errors=tuple(run.failures),
    )


def would_go(store: Store, keyring: Keyring, today: date, terms: Terms) -> PurgeReport:
    """What the purge of a day would do, from one snapshot; nothing is changed."""
    with store.read() as conn:
        raws = retention.raws_going(conn, today)
        dispatches = retention.dispatches_going(conn, today)
        keys = steps.due_keys(conn, keyring, today, terms)
        counts = {
            "rewrapped": len(retention.unprocessed_due(conn, today)),
            "raws": len(raws),
            "deliveries": len(retention.deliveries_ending(conn, today)),
            "dispatches": len(dispatches),
            "signals": len(retention.rows_going(conn, today)),
            "answers": len(retention.answers_going(conn, today)),
            "exclusions": len(retention.exclusions_going(conn, today)),
            "contents": len(retention.contents_going(conn, today)),
            "meldingen": len(retention.meldingen_going(conn, today)),
            "tokens": retention.token_count(conn, keys),
            "blobs": sum(held.blob is not None for held in (*raws, *dispatches)),
            "data_keys": len(retention.data_keys_going(conn, today)),
            "keys": len(keys),
            "errors": 0,
        }
    assert counts.keys() == set(registers.COUNTS)
    return PurgeReport(due_before=today, run_id=None, counts=counts, keys=tuple(keys), errors=())
