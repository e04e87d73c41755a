"""Index tokens and the places they lead to (spec 4, Rows and index)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects.sqlite import insert

from gateway.store.tables import IndexToken

_TOKEN: Table = IndexToken.__table__  # type: ignore[attr-defined]
T = TypeVar("T")
#: Values in one IN list; far below SQLite's limit on bound values.
CHUNK = 900


def find(conn: Connection, key_id: str, level: str, tokens: Iterable[bytes]) -> dict[bytes, int]:
    """The places that tokens of one index key and level lead to; unknown tokens are left out."""
    found: dict[bytes, int] = {}
    for chunk in chunks(tokens, CHUNK):
        query = select(_TOKEN.c.token, _TOKEN.c.place).where(
            _TOKEN.c.key_id == key_id, _TOKEN.c.level == level, _TOKEN.c.token.in_(chunk)
        )
        found.update((token, place) for token, place in conn.execute(query))
    return found


def keep(conn: Connection, key_id: str, level: str, places: Mapping[bytes, int]) -> None:
    """Store tokens with their places; those that are there stay as they are."""
    if places:
        conn.execute(
            insert(_TOKEN).on_conflict_do_nothing(),
            [
                {"key_id": key_id, "level": level, "token": token, "place": place}
                for token, place in places.items()
            ],
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
