"""The clock is looked at before anything is destroyed by it: back, or far ahead, and nothing is (spec 4, Clock)."""

from __future__ import annotations

from datetime import datetime

from gateway import logs
from gateway.clock import AMSTERDAM
from gateway.domain.approval import Subject
from gateway.domain.heartbeat import Heartbeat, Pace, beat, believe, pace
from gateway.errors import ClockRefused
from gateway.retention.approvals import ask, drop_others_of_clock, jump_id
from gateway.store import Connection, heartbeat
from gateway.store.engine import Store

_log = logs.get("retention")


def look(store: Store, now: datetime, *, node: str) -> Heartbeat:
    """Note the time; a jump ahead is asked about, once. What is noted then."""
    asked = None
    with store.write() as conn:
        last = heartbeat.last(conn)
        noted = beat(last, now)
        if noted != last:
            heartbeat.note(conn, noted)
        if last is not None and noted.jumped_to != last.jumped_to:
            drop_others_of_clock(
                conn, None if noted.jumped_to is None else jump_id(noted.jumped_to), now, node
            )
            asked = None if noted.jumped_to is None else _ask(conn, noted, noted.jumped_to, now, node)
    if asked is not None:
        _log.error("clock.jumped", approval=asked, reason=_said(noted, now))
    return noted


def check(store: Store, now: datetime, *, node: str) -> None:
    """Let nothing be destroyed by a clock that can't be believed.

    Raises:
        ClockRefused: it went back, or jumped ahead and two people did not approve that; the text says what to do.
    """
    noted = look(store, now, node=node)
    if reason := refusal(noted, now):
        _log.error("clock.refused", reason=_said(noted, now))
        raise ClockRefused(reason)


def accept(store: Store, object_id: str) -> None:
    """Two people said that a jump of the clock is right: the time since is believed.

    Raises:
        ClockRefused: the clock jumped again meanwhile.
    """
    with store.write() as conn:
        last = heartbeat.last(conn)
        if last is None or last.jumped_to is None:
            return
        if jump_id(last.jumped_to) != object_id:
            raise ClockRefused("the clock jumped again since this was asked: approve the newer request")
        heartbeat.note(conn, believe(last))


def refusal(last: Heartbeat | None, now: datetime) -> str:
    """Why nothing is destroyed now, and what to do; empty when the clock can be believed."""
    if last is None:
        return ""
    match pace(last, now):
        case Pace.STEADY:
            return ""
        case Pace.BACK:
            return (
                f"{_said(last, now)}: nothing is destroyed by a clock that went back; set it right and keep it so: "
                "timedatectl set-ntp true"
            )
        case Pace.AHEAD:
            return (
                f"{_said(last, now)}: nothing is destroyed until the clock is set right, or two people of "
                "config/approvers say that it is: gateway retention approve"
            )


def _said(last: Heartbeat, now: datetime) -> str:
    return f"the clock says {_moment(now)}, and the last heartbeat was at {_moment(last.at)}"


def _ask(conn: Connection, noted: Heartbeat, jumped_to: datetime, now: datetime, node: str) -> str:
    return ask(
        conn,
        Subject.CLOCK,
        object_id=jump_id(jumped_to),
        detail={"last_at": _moment(noted.at), "now_at": _moment(jumped_to)},
        now=now,
        actor="gateway",
        node=node,
        origin="schedule",
    )


def _moment(at: datetime) -> str:
    return f"{at.astimezone(AMSTERDAM):%Y-%m-%d %H:%M}"
