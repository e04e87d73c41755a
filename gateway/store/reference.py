"""Postcode and house number to municipality: CBS's table in a file of its own.

It holds no personal data and changes once a year, so it stays out of the database that is backed up and
compacted every night.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

_BATCH = 300


def load(path: Path, rows: Iterable[tuple[str, int, str]]) -> int:
    """Replace the table by rows of (postcode, house number, municipality code); how many there are.

    The new table is made beside the old one and takes its place in one step.
    """
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode=OFF")
        conn.execute("PRAGMA synchronous=OFF")
        conn.execute(
            "CREATE TABLE address (postcode TEXT, number INTEGER, municipality TEXT, "
            "PRIMARY KEY (postcode, number)) WITHOUT ROWID"
        )
        conn.execute("BEGIN")
        conn.executemany("INSERT OR REPLACE INTO address VALUES (?, ?, ?)", rows)
        conn.execute("COMMIT")
        count: int = conn.execute("SELECT count(*) FROM address").fetchone()[0]
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    fresh.replace(path)
    return count


def find(path: Path, addresses: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The municipality of each address that the table holds; none when no table was loaded."""
    wanted = list(set(addresses))
    found: dict[tuple[str, int], str] = {}
    if not path.exists():
        return found
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        for start in range(0, len(wanted), _BATCH):
            part = wanted[start : start + _BATCH]
            marks = ",".join(["(?,?)"] * len(part))
            rows = conn.execute(
                f"SELECT postcode, number, municipality FROM address WHERE (postcode, number) IN (VALUES {marks})",  # noqa: S608
                [value for address in part for value in address],
            )
            found.update(((postcode, number), municipality) for postcode, number, municipality in rows)
    return found
