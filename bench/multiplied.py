"""A home with the same signals many times: as many live ones as a country has, in a minute instead of twenty.

The first of each is as it was taken in. The others are rows of the same files, under data keys that are there: their
contents open as those of the first do. Each has a number, tokens and places of its own, and belongs to a melding of its
own. So tables, indices and their depth are those of so many signals, while deliveries and data keys stay those of the
first: fewer than a country has.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from gateway.settings import Home
from gateway.store.engine import Store

#: Places have 62 bits; another copy's are as far apart as those of different addresses.
_APART, _BITS = 2_654_435_761 * 1_000_003, (1 << 62) - 1
_PLACES = ("place_s1", "place_k1", "place_a1", "place_a2", "place_p1", "place_as", "place_person")
#: Table -> column -> what stands there in copy `c`, from 1; the first, 0, stays as it was. Rows lie in their order of
#: receipt, tokens in that of their table.
_DIFFERENT: Mapping[str, Mapping[str, str]] = {
    "signal": {
        "number": "'S' || hex(randomblob(6))",
        "content_token": "randomblob(16)",
        "melding_id": "melding_id || '-' || c",
        **{name: f"({name} + c * {_APART}) & {_BITS}" for name in _PLACES},
    },
    "melding": {"id": "id || '-' || c", "place": f"(place + c * {_APART}) & {_BITS}"},
    "index_token": {"token": "randomblob(16)", "place": f"(place + c * {_APART}) & {_BITS}"},
}
_ORDER = {"signal": "1", "melding": "c", "index_token": "1, 2, 3"}


def multiply(home: Path, to: Path, copies: int) -> Path:
    """Make a home that has each signal of another, which nobody has open, so many times; the new one."""
    shutil.copytree(home, to)
    if copies == 1:
        return to
    database = Home(root=to).db
    database.unlink()
    Store.create(database).close()
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        # what is made here can be made again
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-500000", "temp_store=MEMORY"):
            conn.execute(f"PRAGMA {pragma}")
        conn.execute("ATTACH ? AS first", (str(Home(root=home).db),))
        conn.execute(
            "CREATE TEMP TABLE copy AS SELECT value AS c FROM json_each(?)",
            (f"[{','.join(map(str, range(copies)))}]",),
        )
        conn.execute("BEGIN")
        # made anew when all rows are there, as compaction does it every night
        indices = conn.execute(
            "SELECT name, sql FROM main.sqlite_schema WHERE type = 'index' AND sql <> ''"
        ).fetchall()
        for name, _ in indices:
            conn.execute(f"DROP INDEX main.{name}")
        tables = conn.execute("SELECT name FROM first.sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = [row[1] for row in conn.execute(f"PRAGMA first.table_info({table})")]
            conn.execute(_insert(table, columns, copies))
        for _, sql in indices:
            conn.execute(sql)
        conn.execute("COMMIT")
        conn.execute("PRAGMA journal_mode=WAL")
    return to


def _insert(table: str, columns: list[str], copies: int) -> str:
    quoted = [f'"{name}"' for name in columns]
    into = f"INSERT INTO main.{table} ({', '.join(quoted)})"
    if table not in _DIFFERENT:
        return f"{into} SELECT {', '.join(quoted)} FROM first.{table}"  # noqa: S608 - names of our own tables
    values = {name: f"iif(c, {value}, {name})" for name, value in _DIFFERENT[table].items()}
    if table == "signal":
        values["id"] = f"(id - 1) * {copies} + c + 1"
    chosen = ", ".join(values.get(name, f'"{name}"') for name in columns)
    return f"{into} SELECT {chosen} FROM first.{table}, temp.copy ORDER BY {_ORDER[table]}"  # noqa: S608 - as above
