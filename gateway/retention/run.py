"""One run of the purge at work: its short transactions, its counts, its errors, its audit entries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol, TypeVar

from gateway import logs
from gateway.audit.log import record
from gateway.clock import Clock
from gateway.domain.retention import Terms
from gateway.errors import KeyringError, VaultError
from gateway.retention.notary import Notary
from gateway.store import Connection, registers
from gateway.store.engine import Store
from gateway.store.retention import RecordRefused, writing
from gateway.vault.blobs import BlobFolder
from gateway.vault.keyring import Keyring

#: Records in one transaction: it lasts 5 to 20 ms, so that a CLOSE never waits long (spec 1, States: 50 ms).
BATCH = 100

_log = logs.get("retention")
T = TypeVar("T")


class Progress(Protocol):
    """Told how far a step of the purge is."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """`done` of `total` records of a step are through; (0, 0) when the step is done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One record that could not be purged; `reason` bears no personal data."""

    step: str
    object_id: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Run:
    """A run of the purge; made by `start`, under the exclusive lock of the store."""

    id: int
    store: Store
    keyring: Keyring
    blobs: BlobFolder
    clock: Clock
    today: date
    terms: Terms
    notary: Notary
    node: str
    actor: str
    origin: str
    progress: Progress | None
    failures: list[Failure] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        store: Store,
        keyring: Keyring,
        blobs: BlobFolder,
        clock: Clock,
        today: date,
        *,
        terms: Terms,
        notary: Notary,
        node: str,
        actor: str,
        origin: str,
        progress: Progress | None,
    ) -> Run:
        """Begin a run, or go on with one that was interrupted."""
        with writing(store) as conn:
            run_id, resumed = registers.open_run(conn, today, clock.now())
            run = cls(
                id=run_id,
                store=store,
                keyring=keyring,
                blobs=blobs,
                clock=clock,
                today=today,
                terms=terms,
                notary=notary,
                node=node,
                actor=actor,
                origin=origin,
                progress=progress,
            )
            action = "purge.resumed" if resumed else "purge.started"
            run.note(conn, action, run.object_id, {"due_before": today.isoformat()})
        return run

    @property
    def object_id(self) -> str:
        """What the audit log calls this run."""
        return f"purge-{self.id}"

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self.clock.now()

    @contextmanager
    def transaction(self, **counts: int) -> Iterator[Connection]:
        """A short transaction that also counts what it does.

        Then a rest of the same length: who waits to write meanwhile (a CLOSE) gets a turn.
        """
        began = time.perf_counter()
        with writing(self.store) as conn:
            yield conn
            registers.count(conn, self.id, counts)
        time.sleep(time.perf_counter() - began)

    def note(
        self,
        conn: Connection,
        action: str,
        object_id: str,
        detail: Mapping[str, int | str] | None = None,
        *,
        result: str = "ok",
    ) -> None:
        """An audit entry in the transaction of what it records."""
        record(
            conn,
            action=action,
            object_id=object_id,
            result=result,
            origin=self.origin,
            actor=self.actor,
            at=self.now,
            node=self.node,
            detail=detail,
        )

    def each(
        self, step: str, records: Sequence[T], do: Callable[[list[T]], None], name: Callable[[T], str] = str
    ) -> None:
        """Do something to all records, a batch at a time; a record at which it fails stops no other.

        Args:
            step: for errors and progress.
            records: what to do it to.
            do: works on a batch; must be idempotent.
            name: the id of a record, for errors.
        """
        for start in range(0, len(records), BATCH):
            batch = list(records[start : start + BATCH])
            self._attempt(step, batch, do, name)
            self._tell(step, start + len(batch), len(records))

    def fail(self, step: str, object_id: str, reason: str) -> None:
        """Something could not be done: counted, in the audit log and the report; the purge goes on."""
        self.failures.append(Failure(step=step, object_id=object_id, reason=reason))
        with self.transaction(errors=1) as conn:
            self.note(conn, "purge.failed", object_id, {"step": step}, result="failed")
        _log.error("purge.failed", operation=step, reason=f"{object_id}: {reason}")

    def finish_step(self, name: str) -> None:
        """A step is done, on record."""
        with writing(self.store) as conn:
            registers.mark_step(conn, self.id, name)
        self._tell(name, 0, 0)

    def finish(self) -> registers.Run:
        """The run is done: its counts."""
        with writing(self.store) as conn:
            counts = registers.run(conn, self.id).counts
            registers.mark_step(conn, self.id, "finished", self.now)
            result = "failed" if counts["errors"] else "ok"
            self.note(conn, "purge.finished", self.object_id, _nonzero(counts), result=result)
            return registers.run(conn, self.id)

    def _attempt(
        self, step: str, batch: list[T], do: Callable[[list[T]], None], name: Callable[[T], str]
    ) -> None:
        try:
            do(batch)
        except (VaultError, KeyringError, RecordRefused) as exc:
            if len(batch) == 1:
                self.fail(step, name(batch[0]), str(exc))
            else:
                for one in batch:
                    self._attempt(step, [one], do, name)

    def _tell(self, step: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(step, done, total)


def _nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number}
