"""Entries of the audit log: who did what to which object, with what result (spec 4, Audit log).

An entry is written in the transaction of the change it records: both are there, or neither. Fields
follow BIO2 8.15.01. No personal data, no secret, no file name: objects are named by their random ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.store import Connection
from gateway.store.audit import insert_entries

#: What a code in `detail`, an action or a result looks like: no blanks, so no sentence and no name.
_CODE = re.compile(r"[A-Za-z0-9._:%+/-]{1,80}")

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. `at` is aware; `detail` holds counts and codes only."""

    action: str
    object_id: str
    origin: str
    actor: str
    at: datetime
    node: str
    result: str = "ok"
    detail: Mapping[str, int | str] = field(default_factory=dict)

    def canonical(self) -> bytes:
        """The entry as canonical JSON (RFC 8785): what the tree is built over.

        ValueError for a value that is no code: free text could carry what an audit log must not.
        """
        codes = [self.action, self.object_id, self.result, self.origin, self.actor, self.node]
        codes += [*self.detail, *(value for value in self.detail.values() if isinstance(value, str))]
        if not all(_CODE.fullmatch(code) for code in codes):
            raise ValueError("an audit entry holds ids, codes and counts only")
        if self.at.tzinfo is None:
            raise ValueError("the time of an audit entry is aware")
        fields: dict[str, object] = {
            "action": self.action,
            "actor": self.actor,
            "node": self.node,
            "object": self.object_id,
            "origin": self.origin,
            "result": self.result,
            "time": self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        if self.detail:
            fields["detail"] = dict(self.detail)
        return _encode(fields).encode()


def record(
    conn: Connection,
    *,
    action: str,
    object_id: str,
    result: str = "ok",
    origin: str,
    actor: str,
    at: datetime,
    node: str,
    detail: Mapping[str, int | str] | None = None,
) -> None:
    """Add one entry to the caller's transaction.

    Args:
        conn: a writing transaction: that of the change.
        action: what happened, as `noun.past_participle`.
        object_id: the random id of what it happened to; never a file name.
        result: `ok`, or the code of the refusal or error.
        origin: where it came from: an address, `cli`, `schedule`.
        actor: the id of the partner or administrator, or the process.
        at: aware instant.
        node: the id of this node.
        detail: counts and codes.
    """
    entry = Entry(
        action=action,
        object_id=object_id,
        result=result,
        origin=origin,
        actor=actor,
        at=at,
        node=node,
        detail=detail or {},
    )
    record_all(conn, (entry,))


def record_all(conn: Connection, entries: Iterable[Entry]) -> None:
    """Add many entries to the caller's transaction, in their order, with one statement."""
    insert_entries(conn, [(entry.at, entry.canonical()) for entry in entries])
