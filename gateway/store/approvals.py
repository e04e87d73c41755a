"""Requests for approval and who signed them. Each function works in the caller's transaction."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, or_, select, update

from gateway.clock import local_day
from gateway.domain.approval import Approval, ApprovalState, Signature, Subject, open_until
from gateway.domain.dispatch import DispatchState
from gateway.files.approval import render_request
from gateway.store.going import is_held
from gateway.store.retention_tables import ApprovalRow, ApprovalSignatureRow
from gateway.store.tables import AnswerRow, Dispatch, ExclusionRow, SignalRow

_APPROVAL: Table = ApprovalRow.__table__  # type: ignore[attr-defined]
_SIGNATURE: Table = ApprovalSignatureRow.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_ANSWER: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]

_COLUMNS = [_APPROVAL.c[name] for name in Approval.__slots__ if name != "signatures"]


def ask(
    conn: Connection,
    subject: Subject,
    *,
    object_id: str,
    detail: Mapping[str, str | int],
    now: datetime,
    actor: str,
) -> str:
    """Ask two people to approve something; the number of the request. One that is open already stays as it is.

    The audit entry is the caller's: `gateway.retention.approvals.ask` makes both.

    Args:
        conn: a writing transaction.
        subject: what is asked.
        object_id: of what: a municipality and month, a hold, a key.
        detail: what the text says of it, by the names of `gateway.files.approval`. `municipality` is whose it
            is: its partner gets the text and may sign. `through` (BATCH) and `until` (STANDING) are ISO days.
        now: aware instant.
        actor: who asks.

    Raises:
        ValueError: the text can't say that.
    """
    asked = select(_APPROVAL.c.number).where(
        _APPROVAL.c.subject == subject,
        _APPROVAL.c.object_id == object_id,
        _APPROVAL.c.state == ApprovalState.OPEN,
    )
    known: str | None = conn.execute(asked).scalar()
    if known is not None:
        return known
    number = _next_number(conn, local_day(now).year)
    last = detail.get("through") or detail.get("until")
    through = None if last is None else date.fromisoformat(str(last))
    conn.execute(
        insert(_APPROVAL).values(
            number=number,
            subject=subject,
            object_id=object_id,
            municipality=str(detail.get("municipality", "")),
            detail=json.dumps(dict(detail), ensure_ascii=False),
            through=through,
            text=render_request(
                number=number, mark=secrets.token_hex(8), subject=subject, detail=detail, asked_at=now
            ),
            state=ApprovalState.OPEN,
            asked_at=now,
            asked_by=actor,
            open_until=open_until(subject, local_day(now), through),
        )
    )
    return number


def get(conn: Connection, number: str) -> Approval | None:
    """A request by its number."""
    found = _found(conn, _APPROVAL.c.number == number)
    return found[0] if found else None


def listed(
    conn: Connection,
    *,
    states: Collection[ApprovalState] = (ApprovalState.OPEN,),
    subjects: Collection[Subject] = tuple(Subject),
) -> list[Approval]:
    """Requests in these states and of these subjects, oldest first."""
    return _found(conn, _APPROVAL.c.state.in_(states), _APPROVAL.c.subject.in_(subjects))


def given(conn: Connection, *, clock_after: datetime | None) -> list[Approval]:
    """What two people each approved and a certificate may name; of the clock only what is newer than that."""
    found = listed(conn, states=(ApprovalState.APPROVED, ApprovalState.DONE))
    return [
        each
        for each in found
        if each.subject is not Subject.CLOCK
        or clock_after is None
        or (each.ended_at is not None and each.ended_at > clock_after)
    ]


def sign(conn: Connection, number: str, signature: Signature, *, origin: str) -> None:
    """Keep a signature that was found good."""
    conn.execute(
        insert(_SIGNATURE).values(
            number=number,
            fingerprint=signature.fingerprint,
            principal=signature.principal,
            at=signature.at,
            armour=signature.armour,
            origin=origin,
        )
    )


def advance(conn: Connection, number: str, before: ApprovalState, after: ApprovalState, at: datetime) -> bool:
    """A request goes from a state to another; False: it was not in it any more."""
    done = conn.execute(
        update(_APPROVAL)
        .where(_APPROVAL.c.number == number, _APPROVAL.c.state == before)
        .values(state=after, ended_at=at)
    )
    return done.rowcount == 1


def mark_posted(conn: Connection, number: str, at: datetime) -> None:
    """The text of a request lies in the outbox of the municipality's partner."""
    conn.execute(update(_APPROVAL).where(_APPROVAL.c.number == number).values(posted_at=at))


def forget(conn: Connection, *, ended_before: datetime) -> None:
    """Requests that ended so long ago, and their signatures; what is in force stays."""
    old = select(_APPROVAL.c.number).where(
        _APPROVAL.c.ended_at < ended_before,
        or_(_APPROVAL.c.through.is_(None), _APPROVAL.c.through < local_day(ended_before)),
    )
    conn.execute(delete(_SIGNATURE).where(_SIGNATURE.c.number.in_(old)))
    conn.execute(delete(_APPROVAL).where(_APPROVAL.c.number.in_(old)))


def falling_due(
    conn: Connection, municipality: str, *, after: date = date.min, through: date
) -> dict[str, int]:
    """How much of a municipality is due on a day after `after` and up to and including `through`, and still here.

    By the names of a request's text: `signals`, `answers`, `exclusions`, `contents`, `dispatches`. What a legal
    hold covers is not counted.
    """

    def of(table: Table, due_on: Any, *conditions: Any) -> int:
        query = select(func.count()).where(
            table.c.municipality == municipality, due_on > after, due_on <= through, *conditions
        )
        return int(conn.execute(query).scalar_one())

    return {
        "signals": of(_SIGNAL, _SIGNAL.c.due_on, ~is_held(_SIGNAL.c.delivery_id)),
        "answers": of(_ANSWER, _ANSWER.c.due_on, ~is_held(_ANSWER.c.delivery_id)),
        "exclusions": of(_EXCLUSION, _EXCLUSION.c.due_on, ~is_held(_EXCLUSION.c.delivery_id)),
        "contents": of(
            _SIGNAL,
            _SIGNAL.c.contents_due_on,
            _SIGNAL.c.sealed.is_not(None),
            _SIGNAL.c.due_on > through,
            ~is_held(_SIGNAL.c.delivery_id),
        ),
        "dispatches": of(
            _DISPATCH,
            _DISPATCH.c.due_on,
            _DISPATCH.c.state.not_in((DispatchState.REPLACED, DispatchState.PURGING, DispatchState.PURGED)),
        ),
    }


def _next_number(conn: Connection, year: int) -> str:
    head = f"G-{year}-"
    query = select(func.max(_APPROVAL.c.number)).where(_APPROVAL.c.number.startswith(head))
    last: str | None = conn.execute(query).scalar_one()
    return f"{head}{(0 if last is None else int(last.removeprefix(head))) + 1:06}"


def _found(conn: Connection, *conditions: Any) -> list[Approval]:
    rows = conn.execute(select(*_COLUMNS).where(*conditions).order_by(_APPROVAL.c.number)).mappings().all()
    numbers = [row["number"] for row in rows]
    signatures: dict[str, list[Signature]] = {number: [] for number in numbers}
    query = select(_SIGNATURE).where(_SIGNATURE.c.number.in_(numbers)).order_by(_SIGNATURE.c.at)
    for row in conn.execute(query).mappings():
        signatures[row["number"]].append(Signature(**{name: row[name] for name in Signature.__slots__}))
    return [
        Approval(
            **{
                **row,
                "subject": Subject(row["subject"]),
                "state": ApprovalState(row["state"]),
                "detail": json.loads(row["detail"]),
                "signatures": tuple(signatures[row["number"]]),
            }
        )
        for row in rows
    ]
