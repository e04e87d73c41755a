"""Index tokens and the places they lead to (spec 4, Rows and index)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TypeVar

from sqlalchemy import Connection, Table, func, select

from gateway.store.tables import IndexToken

_TOKEN: Table = IndexToken.__table__  # type: ignore[attr-defined]
T = TypeVar("T")
#: Values in one IN list; far below SQLite's limit on bound values.
CHUNK = 900

# Text, as a token costs less than building a statement for it.
_FIND = "SELECT token, place FROM index_token WHERE key_id = ? AND level = ? AND token IN"
_KEEP = "INSERT INTO index_token (key_id, level, token, place) SELECT ?, ?, column1, column2 FROM (VALUES"
#: Tokens that one statement stores: it takes half as long as one for each.
_KEPT_AT_ONCE = 100


def find(conn: Connection, key_id: str, level: str, tokens: Iterable[bytes]) -> dict[bytes, int]:
    """The places that tokens of one index key and level lead to; unknown tokens are left out."""
    found: dict[bytes, int] = {}
    for chunk in chunks(tokens, CHUNK):
        marks = ",".join("?" * len(chunk))
        rows = conn.exec_driver_sql(f"{_FIND} ({marks})", (key_id, level, *chunk))
        found.update(rows.cursor.fetchall())
    return found


def keep(conn: Connection, key_id: str, level: str, places: Mapping[bytes, int]) -> None:
    """Store tokens with their places; those that are there stay as they are."""
    # in the order of the table: neighbours share a page
    for chunk in chunks(sorted(places.items()), _KEPT_AT_ONCE):
        marks = ",".join(["(?, ?)"] * len(chunk))
        # WHERE: else SQLite takes ON for that of a join
        conn.exec_driver_sql(
            f"{_KEEP} {marks}) WHERE true ON CONFLICT DO NOTHING", (key_id, level, *chain(*chunk))
        )


def count_by_key(conn: Connection) -> dict[str, int]:
    """Index key -> how many tokens were made with it."""
    query = select(_TOKEN.c.key_id, func.count()).group_by(_TOKEN.c.key_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Values in lists of at most `size`."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
