"""Generations of the configuration: which one is in force, for every process that looks (spec 1, Partners)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, insert, select

from gateway.store.tables import ConfigurationRow

_CONFIGURATION: Table = ConfigurationRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A configuration that was taken up: its running number, the digest of its files, and since when."""

    number: int
    digest: str
    since: datetime


def in_force(conn: Connection) -> Generation | None:
    """The newest generation; None before the first start."""
    newest = select(_CONFIGURATION).order_by(_CONFIGURATION.c.generation.desc()).limit(1)
    row = conn.execute(newest).one_or_none()
    return None if row is None else Generation(number=row.generation, digest=row.digest, since=row.since)


def take_up(conn: Connection, digest: str, now: datetime) -> tuple[Generation, bool]:
    """The generation of a configuration that was found good, and whether it is a new one.

    Processes that read the same files agree: the first of them makes the generation.
    """
    newest = in_force(conn)
    if newest is not None and newest.digest == digest:
        return newest, False
    number = 1 if newest is None else newest.number + 1
    conn.execute(insert(_CONFIGURATION).values(generation=number, digest=digest, since=now))
    return Generation(number=number, digest=digest, since=now), True
