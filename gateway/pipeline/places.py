"""From keys to places: tokens under every live index key, newest first; unknown ones get a new place.

A place is a random number. Matching joins on places, so no name or address is compared, and when an index
key is destroyed nothing leads from a name to a place any more (spec 4, Rows and index).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from gateway.matching.keys import Level, Parts
from gateway.store import Connection, places
from gateway.vault.ids import random_places
from gateway.vault.index import Indexer
from gateway.vault.key_ids import index_id

#: A scope (municipality, or creditor) and a key within it.
Scoped = tuple[str, Parts]


class Former(NamedTuple):
    """A municipality that merged into a scope's, and how it wrote a key."""

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
        self._month = month
        self._others = [live for live in indexer.live_months() if live <= this_month and live != month]
        #: level -> token -> place
        self._fresh: dict[Level, dict[bytes, int]] = defaultdict(dict)
        #: what was given out since the last `keep`: nothing that is stored is at one of these
        self.made: set[int] = set()

    def find(
        self,
        conn: Connection,
        level: Level,
        wanted: Sequence[Scoped],
        former: Mapping[str, Sequence[Former]] | None = None,
    ) -> list[int]:
        """The places of keys, in their order: a new one where no live token leads to one, in a former scope neither.

        Args:
            conn: reads them.
            level: of the keys.
            wanted: the keys.
            former: scope -> the municipalities that merged into it.
        """
        tokens = self._indexer.tokens_within(self._month, level, wanted)
        found = places.find(conn, index_id(self._month), level, tokens)
        untold = {token: key for token, key in zip(tokens, wanted, strict=True) if token not in found}
        if untold:
            at = self._elsewhere(conn, level, list(untold.values()), former or {})
            fresh = dict(zip(untold, at, strict=True))
            self._fresh[level] |= fresh
            found |= fresh
        return [found[token] for token in tokens]

    def _elsewhere(
        self, conn: Connection, level: Level, keys: Sequence[Scoped], former: Mapping[str, Sequence[Former]]
    ) -> list[int]:
        """The places of keys that have no token under the month's key."""
        found = self._look(conn, level, keys, self._others)
        # of several municipalities that merged into one, the first that has a place counts
        for turn in range(max(map(len, former.values()), default=0)):
            was = {
                (scope, parts): (earlier.within, earlier.as_it_was(parts))
                for scope, parts in keys
                if (scope, parts) not in found
                for earlier in former.get(scope, ())[turn : turn + 1]
            }
            at = self._look(conn, level, list(was.values()), (self._month, *self._others))
            found |= {key: at[before] for key, before in was.items() if before in at}
        drawn = random_places(len(keys) - len(found))
        self.made.update(drawn)
        left = iter(drawn)
        return [found[key] if key in found else next(left) for key in keys]

    def _look(
        self, conn: Connection, level: Level, keys: Sequence[Scoped], months: Iterable[str]
    ) -> dict[Scoped, int]:
        """The places that tokens of these months lead to, the first month first."""
        found: dict[Scoped, int] = {}
        missing = keys
        for month in months:
            if not missing:
                break
            tokens = self._indexer.tokens_within(month, level, missing)
            known = places.find(conn, index_id(month), level, tokens)
            found.update(
                (key, known[token]) for key, token in zip(missing, tokens, strict=True) if token in known
            )
            missing = [key for key in missing if key not in found]
        return found

    def keep(self, conn: Connection) -> None:
        """Store the tokens found or made since the last call under the month's key."""
        for level, tokens in self._fresh.items():
            places.keep(conn, index_id(self._month), level, tokens)
        self._fresh.clear()
        self.made.clear()
