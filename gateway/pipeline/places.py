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
from gateway.vault.ids import random_place
from gateway.vault.index import Indexer
from gateway.vault.key_ids import index_id

#: Scope (municipality, or creditor) -> the places of its keys.
Found = dict[str, dict[Parts, int]]


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
        others = (live for live in indexer.live_months() if live <= this_month and live != month)
        self._months = [month, *others]
        #: level -> token -> place
        self._fresh: dict[Level, dict[bytes, int]] = defaultdict(dict)

    def find(
        self,
        conn: Connection,
        level: Level,
        wanted: Mapping[str, Iterable[Parts]],
        former: Mapping[str, Sequence[Former]] | None = None,
    ) -> Found:
        """The places of keys by scope: a new one where no live token leads to one, in a former scope neither.

        Args:
            conn: reads them.
            level: of the keys.
            wanted: scope -> its keys.
            former: scope -> the municipalities that merged into it.
        """
        found: Found = {within: {} for within in wanted}
        missing = {within: list(dict.fromkeys(keys)) for within, keys in wanted.items()}
        untold: list[tuple[bytes, str, Parts]] = []
        for month in self._months:
            told = self._look(conn, level, month, missing, found)
            if month == self._months[0]:
                untold = told
            missing = defaultdict(list)
            for _, within, key in told:
                missing[within].append(key)
            if not told:
                break
        for within, keys in missing.items():
            at = found[within]
            for earlier in former[within] if former else ():
                at |= self._in_former(conn, level, earlier, [key for key in keys if key not in at])
            at |= {key: random_place() for key in keys if key not in at}
        self._fresh[level].update((token, found[within][key]) for token, within, key in untold)
        return found

    def _look(
        self, conn: Connection, level: Level, month: str, wanted: Mapping[str, Sequence[Parts]], found: Found
    ) -> list[tuple[bytes, str, Parts]]:
        """Note the places that a month's tokens lead to; the tokens that lead nowhere, with scope and key."""
        tokens = self._indexer.tokens_within(month, level, wanted)
        known = places.find(conn, index_id(month), level, (each for many in tokens.values() for each in many))
        untold = []
        for within, many in tokens.items():
            at = found[within]
            for key, token in zip(wanted[within], many, strict=True):
                place = known.get(token)
                if place is None:
                    untold.append((token, within, key))
                else:
                    at[key] = place
        return untold

    def _in_former(
        self, conn: Connection, level: Level, former: Former, keys: Iterable[Parts]
    ) -> dict[Parts, int]:
        """The places that keys had within a municipality that is part of this one by now."""
        was = {former.as_it_was(key): key for key in keys}
        found: Found = {former.within: {}}
        missing = list(was)
        for month in self._months:
            told = self._look(conn, level, month, {former.within: missing}, found)
            missing = [key for _, _, key in told]
        return {was[key]: place for key, place in found[former.within].items()}

    def keep(self, conn: Connection) -> None:
        """Store the tokens found or made since the last call under the month's key."""
        for level, tokens in self._fresh.items():
            places.keep(conn, index_id(self._months[0]), level, tokens)
        self._fresh.clear()
