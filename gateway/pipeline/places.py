"""From keys to places: tokens under every live index key, newest first; unknown ones get a new place.

A place is a random number. Matching joins on places, so no name or address is compared, and when an index
key is destroyed nothing leads from a name to a place any more (spec 4, Rows and index).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway.matching.keys import Level, Parts
from gateway.store import Connection, places
from gateway.vault.ids import random_place
from gateway.vault.index import Indexer
from gateway.vault.key_ids import index_id

#: Which level and scope (municipality, or creditor) a key belongs to.
Scope = tuple[Level, str]


class Former(NamedTuple):
    """A municipality that merged into the scope's, and how it wrote a key."""

    within: str
    as_it_was: Callable[[Parts], Parts]


class Places:
    """Finds the places of keys in one transaction; remembers which tokens must be stored.

    Only for the holder of `Store.exclusive()`: two finders at once would give one key two places.

    Args:
        indexer: makes the tokens.
        month: of receipt, `YYYY-MM`: every key found or made gets a token under its key.
        this_month: the present one. What waited since an earlier month looks under later keys too: whoever came
            after it may have been processed before it.
    """

    def __init__(self, indexer: Indexer, month: str, this_month: str) -> None:
        self._indexer = indexer
        others = (live for live in indexer.live_months() if live <= this_month and live != month)
        self._months = [month, *others]
        self._fresh: dict[Scope, dict[bytes, int]] = {}

    def find(
        self, conn: Connection, scope: Scope, keys: Iterable[Parts], former: Iterable[Former] = ()
    ) -> dict[Parts, int]:
        """The place of each key, a new one where no live token leads to one, in a former scope neither."""
        missing = list(dict.fromkeys(keys))
        level, within = scope
        found: dict[Parts, int] = {}
        untold: dict[Parts, bytes] = {}
        for month in self._months:
            tokens = dict(zip(missing, self._indexer.tokens(month, level, within, missing), strict=True))
            known = places.find(conn, index_id(month), level, tokens.values())
            found.update((key, known[token]) for key, token in tokens.items() if token in known)
            missing = [key for key, token in tokens.items() if token not in known]
            if month == self._months[0]:
                untold = {key: tokens[key] for key in missing}
            if not missing:
                break
        for earlier in former:
            found.update(self._in_former(conn, level, earlier, missing))
            missing = [key for key in missing if key not in found]
        found.update((key, random_place()) for key in missing)
        self._fresh.setdefault(scope, {}).update((token, found[key]) for key, token in untold.items())
        return found

    def _in_former(
        self, conn: Connection, level: Level, former: Former, keys: Iterable[Parts]
    ) -> dict[Parts, int]:
        """The places that keys had within a municipality that is part of this one by now."""
        found: dict[Parts, int] = {}
        missing = {key: former.as_it_was(key) for key in keys}
        for month in self._months:
            parts = list(missing.values())
            tokens = self._indexer.tokens(month, level, former.within, parts) if parts else ()
            by_key = dict(zip(missing, tokens, strict=True))
            known = places.find(conn, index_id(month), level, by_key.values())
            found.update((key, known[token]) for key, token in by_key.items() if token in known)
            missing = {key: was for key, was in missing.items() if key not in found}
        return found

    def keep(self, conn: Connection) -> None:
        """Store the tokens found or made since the last call under the month's key."""
        for (level, _), tokens in self._fresh.items():
            places.keep(conn, index_id(self._months[0]), level, tokens)
        self._fresh.clear()
