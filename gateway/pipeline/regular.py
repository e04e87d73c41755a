"""Files that are made at set times: each once for its period, whatever happens meanwhile.

What is made last is in the transaction that lists the file. So a run that was cut off, or tried again, goes on with
those that are missing; a time that was missed is made up for by the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway import logs
from gateway.audit.log import record
from gateway.domain.dispatch import DispatchKind
from gateway.errors import GatewayError
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile, store_files
from gateway.store import Connection, outgoing

_log = logs.get("regular")


@dataclass(frozen=True, slots=True, kw_only=True)
class Regular:
    """A partner's file of a period, a number that grows. `seal` gives the file and what belongs to it, or nothing."""

    kind: DispatchKind
    partner_id: str
    municipality: str = ""
    period: int
    seal: Callable[[Connection], Sequence[OutgoingFile]]

    @property
    def counter(self) -> str:
        """The counter that holds the last period it was made for."""
        return "/".join(filter(None, (self.kind, self.partner_id, self.municipality)))


def send_each(context: Context, files: Iterable[Regular]) -> int:
    """Make and list what was not made for its period; how many.

    One at a time: intake and publication go on in between. One that can't be made stops no other; its error is raised
    in the end, so that the schedule comes again.
    """
    sent, failure = 0, None
    for each in files:
        try:
            sent += _send(context, each)
        except Exception as exc:  # noqa: BLE001 - it is raised when the others are done
            failure = failure or exc
            _log.error(
                "regular.failed",
                kind=each.kind,
                partner_id=each.partner_id,
                municipality=each.municipality,
                error_type=type(exc).__name__,
                # our own errors bear no personal data; others may quote what they choked on
                error=str(exc) if isinstance(exc, GatewayError) else "",
            )
    if failure is not None:
        raise failure
    return sent


def _send(context: Context, regular: Regular) -> bool:
    """Make and list one; False when it was made, or there was nothing to tell."""
    with context.store.exclusive():
        with context.store.read() as conn:
            if outgoing.last_number(conn, regular.counter) >= regular.period:
                return False
            files = regular.seal(conn)
        now = context.clock.now()
        with context.store.write() as conn:
            outgoing.use_number(conn, regular.counter, regular.period)
            store_files(context, conn, files, now)
            if files:
                _record(context, conn, files[0], now)
    if not files:
        return False
    _log.info(
        "regular.listed",
        kind=regular.kind,
        dispatch_id=files[0].id,
        partner_id=regular.partner_id,
        municipality=regular.municipality,
        size=files[0].size_bytes,
    )
    return True


def _record(context: Context, conn: Connection, file: OutgoingFile, now: datetime) -> None:
    detail: dict[str, int | str] = {"partner": file.partner_id, "signals": sum(file.contents.values())}
    if file.municipality:
        detail["municipality"] = file.municipality
    record(
        conn,
        action=f"{file.kind}.listed",
        object_id=file.id,
        origin="schedule",
        actor="gateway",
        at=now,
        node=context.node,
        detail=detail,
    )
