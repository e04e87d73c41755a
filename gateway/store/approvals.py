"""Requests for approval and who signed them. Each function works in the caller's transaction."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from gateway.clock import local_day
from gateway.domain.approval import Approval, ApprovalState, Signature, Subject, open_until
from gateway.files.approval import render_request
from gateway.store.tables import ApprovalRow, ApprovalSignatureRow

_APPROVAL: Table = ApprovalRow.__table__  # type: ignore[attr-defined]
_SIGNATURE: Table = ApprovalSignatureRow.__table__  # type: ignore[attr-defined]

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


def sign(conn: Connection, number: str, signature: Signature, *, origin: str) -> bool:
    """Keep a signature that was found good; False: this key or this person signed before."""
    known = select(_SIGNATURE.c.number).where(
        _SIGNATURE.c.number == number,
        (_SIGNATURE.c.fingerprint == signature.fingerprint) | (_SIGNATURE.c.principal == signature.principal),
    )
    if conn.execute(known).first() is not None:
        return False
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
    return True


def end(conn: Connection, number: str, state: ApprovalState, at: datetime) -> None:
    """A request is open no more."""
    conn.execute(
        update(_APPROVAL)
        .where(_APPROVAL.c.number == number, _APPROVAL.c.state == ApprovalState.OPEN)
        .values(state=state, ended_at=at)
    )


def mark_posted(conn: Connection, number: str, at: datetime) -> None:
    """The text of a request lies in the outbox of the municipality's partner."""
    conn.execute(update(_APPROVAL).where(_APPROVAL.c.number == number).values(posted_at=at))


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
