"""The worker: takes deliveries from the queue, publishes what is due, sleeps until it is woken.

The rows are the queue: a wake-up only says "look", and the worker also looks at its start and every few
seconds (spec 1, Trigger).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from gateway import logs
from gateway.audit.log import record
from gateway.cron import next_time
from gateway.domain.delivery import DeliveryState
from gateway.errors import GatewayError
from gateway.pipeline import scanner
from gateway.pipeline.context import Context
from gateway.pipeline.intake import process
from gateway.pipeline.publish import Published, publish, publish_together
from gateway.pipeline.refusal import refuse_first
from gateway.pipeline.renderer import Renderer
from gateway.pipeline.worklist import due_worklists, list_worklist, make_worklist, render_month
from gateway.store import meldingen, queue
from gateway.store.meldingen import Touched
from gateway.store.queue import Claimed
from gateway.store.worklists import Due

_log = logs.get("worker")

#: How long the worker sleeps at most.
LOOK_EVERY_S = 2.0
_SOON_S = 0.2
#: Meldingen that are published at a time, of a whole number of municipalities: some 40 MiB.
_TOGETHER = 5_000


class Worker:
    """Runs the pipeline in a thread of its own, and beside it one that makes worklists.

    Intake goes on while a worklist is rendered, by a process of its own; only when nothing waits is the next one begun,
    so that publications in a row make one.

    Args:
        context: the gateway, asked before each step: its configuration may change.
    """

    def __init__(self, context: Callable[[], Context]) -> None:
        self._context = context
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._scanner_answers = True
        #: whether something else is done, or looked for: the next worklist waits
        self._busy = False
        self._quiet = threading.Event()
        self._lists = threading.Thread(target=self._make_lists, name="worklists", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()
        self._lists.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the step at hand and end."""
        self._stop.set()
        self._wake.set()
        self._quiet.set()
        self._thread.join()
        self._lists.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            pause = LOOK_EVERY_S
            self._busy = True
            try:
                while not self._stop.is_set() and self._step(self._context()):
                    pass
                if pending(self._context()):
                    pause = _SOON_S
            except Exception as exc:  # noqa: BLE001 - the worker outlives whatever a step raises
                _log.error("worker.failed", error_type=type(exc).__name__, error=_safe(exc))
            self._busy = False
            self._quiet.set()
            self._wake.wait(pause)

    def _step(self, context: Context) -> bool:
        """One step; files wait while the scanner doesn't answer, which is told once."""
        there = context.scanner is None or scanner.answers(context.scanner)
        if there is not self._scanner_answers:
            self._scanner_answers = there
            if there:
                _log.info("scanner.returned")
            else:
                _log.error("scanner.missed", reason="files wait until clamd answers at [scanner] clamd")
        return step(context, takes_files=there, makes_worklists=False)

    def _make_lists(self) -> None:
        renderer = Renderer()
        try:
            while not self._stop.is_set():
                self._quiet.wait()
                self._quiet.clear()
                try:
                    self._make_due(renderer)
                except Exception as exc:  # noqa: BLE001 - as the other thread
                    _log.error("worker.failed", error_type=type(exc).__name__, error=_safe(exc))
        finally:
            renderer.close()

    def _make_due(self, renderer: Renderer) -> None:
        """All that is due, until something else is to be done: what comes of that is in the same worklist."""
        context = self._context()
        for due in due_worklists(context):
            if self._stop.is_set() or self._busy:
                return
            _make_worklist(context, due, renderer)


def step(context: Context, *, takes_files: bool = True, makes_worklists: bool = True) -> bool:
    """Do one thing that is due, crisis first, then deliveries, publications, worklists; whether there was one."""
    with context.store.exclusive():
        _release(context)
        if _publish_due(context, only_urgent=True):
            return True
        if takes_files and refuse_first(context):
            return True
        if takes_files and (delivery := _claim(context)) is not None:
            try:
                if process(context, delivery):
                    # of what was refused nothing was kept that could go
                    context.write_removals()
            except Exception as exc:  # noqa: BLE001 - whatever it is, the delivery must not be lost
                _log.error(
                    "delivery.crashed",
                    delivery_id=delivery.id,
                    partner_id=delivery.partner_id,
                    attempts=delivery.attempts,
                    error_type=type(exc).__name__,
                    error=_safe(exc),
                )
                _release(context)
            return True
        if _publish_due(context):
            return True
        # one worklist at a time: deliveries go between two
        return makes_worklists and any(_make_worklist(context, due) for due in due_worklists(context))


def _claim(context: Context) -> Claimed | None:
    # a power cut gives it back, as any other end of ours does
    with context.store.write(is_durable=False) as conn:
        return queue.claim_next(conn, context.clock.now())


def _publish_due(context: Context, *, only_urgent: bool = False) -> bool:
    """Publish wherever it is due; whether it went through somewhere. One municipality's error stops no other."""
    done = False
    for municipalities in _batches(_due(context, only_urgent=only_urgent)):
        if len(municipalities) > 1 and _publish_together(context, municipalities, only_urgent=only_urgent):
            done = True
            continue
        for municipality in municipalities:
            done |= _publish_alone(context, municipality, only_urgent=only_urgent)
    return done


def _publish_together(context: Context, municipalities: Sequence[str], *, only_urgent: bool) -> bool:
    """Publish several; whether they went through: if not, each must be tried alone."""
    try:
        publish_together(context, municipalities, only_urgent=only_urgent)
    except Exception as exc:  # noqa: BLE001 - whose error it is, each alone tells
        _log.warning("batch.divided", count=len(municipalities), error_type=type(exc).__name__)
        return False
    return True


def _batches(due: Iterable[Touched]) -> Iterator[list[str]]:
    """Municipalities that publish together, by how much waits in each."""
    batch: list[str] = []
    count = 0
    for each in due:
        if batch and count + each.count > _TOGETHER:
            yield batch
            batch, count = [], 0
        batch.append(each.municipality)
        count += each.count
    if batch:
        yield batch


def _publish_alone(context: Context, municipality: str, *, only_urgent: bool) -> bool:
    """Publish one municipality; whether it went through."""
    try:
        publish(context, municipality, only_urgent=only_urgent)
    except Exception as exc:  # noqa: BLE001 - it waits, and is tried again at the next look
        _log.error(
            "publication.failed",
            municipality=municipality,
            error_type=type(exc).__name__,
            error=_safe(exc),
        )
        return False
    return True


def _make_worklist(context: Context, due: Due, renderer: Renderer | None = None) -> bool:
    """Make a worklist that is due; whether it could be made. With a renderer intake goes on meanwhile."""
    try:
        if renderer is None:
            return make_worklist(context, due)
        made = render_month(context, due, renderer.render)
        with context.store.exclusive():
            return list_worklist(context, made)
    except Exception as exc:  # noqa: BLE001 - it stays due, and is tried again at the next look
        _log.error(
            "worklist.failed",
            municipality=due.municipality,
            partner_id=due.partner_id,
            error_type=type(exc).__name__,
            error=_safe(exc),
        )
        return False


def publish_now(
    context: Context, municipalities: Sequence[str], *, actor: str = "gateway", origin: str = "pipeline"
) -> list[Published]:
    """Publish whatever waits in these municipalities, whatever `when` and `settle_s` say, and make their worklists.

    Returns:
        What each partner got of the meldingen.
    """
    with context.store.exclusive():
        published = [
            part for each in municipalities for part in publish(context, each, actor=actor, origin=origin)
        ]
        for due in due_worklists(context):
            if due.municipality in municipalities:
                _make_worklist(context, due)
        return published


def due_municipalities(context: Context, *, only_urgent: bool = False) -> list[str]:
    """Served municipalities that must publish now."""
    return [each.municipality for each in _due(context, only_urgent=only_urgent)]


def _due(context: Context, *, only_urgent: bool) -> list[Touched]:
    """What waits in served municipalities that must publish now."""
    with context.store.read() as conn:
        touched = meldingen.waiting(conn, only_urgent=only_urgent)
    now = context.clock.now()
    served = [each for each in touched if context.server_of(each.municipality)]
    return [each for each in served if due_at(context, each) <= now]


def due_at(context: Context, touched: Touched) -> datetime:
    """When what waits in a municipality must be out: `when` as arrival (after `settle_s`) or a cron line."""
    policy = context.policy(touched.municipality).publish
    if touched.urgent:
        return touched.since
    if policy.when == "arrival":
        return touched.since + timedelta(seconds=policy.settle_s)
    return next_time(policy.when, touched.since)


def pending(context: Context) -> bool:
    """Whether something is under way: deliveries to process, worklists to make, or meldingen that need no further
    waiting than `settle_s` (spec 1: `gateway wait --idle`).
    """
    with context.store.read() as conn:
        if queue.waiting_count(conn):
            return True
        touched = meldingen.waiting(conn)
    now = context.clock.now()
    if any(
        context.policy(each.municipality).publish.when == "arrival" or due_at(context, each) <= now
        for each in touched
        if context.server_of(each.municipality)
    ):
        return True
    # asked last: a publication that goes on meanwhile leaves its worklists
    return bool(due_worklists(context))


def _release(context: Context) -> None:
    """Give back what a crash left in processing; five crashes make it FAILED, and an alarm."""
    with context.store.read() as conn:
        if not queue.has_abandoned(conn):
            return
    now = context.clock.now()
    with context.store.write() as conn:
        for delivery_id, state in queue.release_abandoned(conn):
            if state is DeliveryState.FAILED:
                _log.error(
                    "delivery.failed", delivery_id=delivery_id, reason="gateway deliveries retry or reject"
                )
                record(
                    conn,
                    action="delivery.failed",
                    object_id=delivery_id,
                    result="crashed",
                    origin="pipeline",
                    actor="gateway",
                    at=now,
                    node=context.node,
                )


def _safe(exc: BaseException) -> str:
    """Our own errors bear no personal data; others may quote what they choked on."""
    return str(exc) if isinstance(exc, GatewayError) else ""
