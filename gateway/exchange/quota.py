"""What a partner may send on a day (Europe/Amsterdam): files and their bytes are counted when a file ends.

What comes in and is given up is counted too: a partner could send without end otherwise. Each function
works in the caller's transaction.
"""

from __future__ import annotations

from gateway import logs
from gateway.clock import local_day
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.protocol import Refused, Status
from gateway.store import Connection, guard
from gateway.store.guard import Use

_log = logs.get("exchange")

_TOMORROW = "the count starts anew at midnight, Dutch time"


def left(conn: Connection, exchange: Exchange, visit: Visit) -> int:
    """OPEN: the bytes that are left today. Nothing is counted.

    Raises:
        Refused: what the partner may send today is used up.
    """
    used, limits = used_today(conn, exchange, visit), visit.partner.limits
    if used.files >= limits.files_per_day:
        raise _too_many(visit)
    if used.bytes >= limits.bytes_per_day:
        raise full(visit)
    return limits.bytes_per_day - used.bytes


def receive(conn: Connection, exchange: Exchange, visit: Visit, size: int) -> None:
    """CLOSE: count a file that is received, and its bytes.

    Raises:
        Refused: with it the partner would have sent more than it may today; the caller undoes what was counted.
    """
    used = _add(conn, exchange, visit, size)
    if used.files > visit.partner.limits.files_per_day:
        raise _too_many(visit)
    if used.bytes > visit.partner.limits.bytes_per_day:
        raise full(visit)


def used_today(conn: Connection, exchange: Exchange, visit: Visit) -> Use:
    """What the partner has sent today."""
    return guard.used(conn, visit.partner.id, local_day(exchange.clock.now()))


def give_up(conn: Connection, exchange: Exchange, visit: Visit, size: int) -> None:
    """Count a file that is given up, and its bytes."""
    _add(conn, exchange, visit, size)


def full(visit: Visit) -> Refused:
    """The refusal of bytes beyond those of a day."""
    most = visit.partner.limits.bytes_per_day
    return _refused(
        visit, "bytes", f"Not taken: with it more than {most} bytes would be sent today; {_TOMORROW}"
    )


def _add(conn: Connection, exchange: Exchange, visit: Visit, size: int) -> Use:
    return guard.add_use(conn, visit.partner.id, local_day(exchange.clock.now()), Use(files=1, bytes=size))


def _too_many(visit: Visit) -> Refused:
    most = visit.partner.limits.files_per_day
    return _refused(
        visit, "files", f"Not taken: {most} files were sent today, and that is the most; {_TOMORROW}"
    )


def _refused(visit: Visit, reason: str, text: str) -> Refused:
    _log.warning("quota.reached", partner_id=visit.partner.id, session_id=visit.session_id, reason=reason)
    return Refused(Status.FAILURE, text)
