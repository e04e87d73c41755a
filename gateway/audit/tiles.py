"""The log as tiles (https://c2sp.org/tlog-tiles): bundles of 256 hashes or entries, as files anyone can check.

    checkpoint                      the signed checkpoint
    tile/<L>/<N>[.p/<W>]            256 (or W) hashes of level L
    tile/entries/<N>[.p/<W>]        the entries themselves, each after its length (u16)

A hash of level L is the root over 256^L entries. Full tiles never change; bundles of entries go after the log's
term (`gateway.audit.prune`), hashes never do.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.audit.merkle import root_of
from gateway.store import Connection
from gateway.store import audit as rows

WIDTH = 256
ENTRIES = "entries"

_LEVEL = re.compile(r"0|[1-9]\d?")
_WIDTH = re.compile(r"[1-9]\d{0,2}")
_GROUP, _LAST_GROUP, _PARTIAL = re.compile(r"x\d{3}"), re.compile(r"\d{3}"), re.compile(r"(\d{3})\.p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A tile. `level` None: a bundle of entries; `width` 1 to 256."""

    level: int | None
    number: int
    width: int

    @property
    def span(self) -> int:
        """Entries under each of its hashes."""
        return int(WIDTH ** (self.level or 0))

    @property
    def first(self) -> int:
        """The first entry that it covers."""
        return self.number * WIDTH * self.span

    @property
    def end(self) -> int:
        """The first entry after those that it covers."""
        return self.first + self.width * self.span

    def path(self) -> tuple[str, ...]:
        """Where it lies, from the root of the log."""
        groups = [f"{self.number % 1000:03}"]
        rest = self.number // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03}")
            rest //= 1000
        level = ENTRIES if self.level is None else str(self.level)
        if self.width == WIDTH:
            return ("tile", level, *groups)
        return ("tile", level, *groups[:-1], f"{groups[-1]}.p", str(self.width))


def tiles_of(size: int, since: int = 0, *, held_from: int = 0) -> Iterator[Tile]:
    """The tiles of a log of `size` entries that a log of `since` entries did not have, lowest level first.

    Entries before `held_from` are in none.
    """
    yield from _of_level(None, size, max(since, held_from))
    level = 0
    while size >= WIDTH**level:
        yield from _of_level(level, size, since)
        level += 1


def find(path: Sequence[str], size: int, *, held_from: int = 0) -> Tile | None:
    """The tile that lies at `path` in a log of `size` entries, which holds the contents from `held_from` on.

    A partial tile that grew since is still there: who took an earlier checkpoint may need it.
    """
    if len(path) < 3 or path[0] != "tile" or not (path[1] == ENTRIES or _LEVEL.fullmatch(path[1])):
        return None
    level, groups, width = (None if path[1] == ENTRIES else int(path[1])), list(path[2:]), WIDTH
    if partial := _PARTIAL.fullmatch(groups[-2]) if len(groups) > 1 else None:
        if not _WIDTH.fullmatch(groups[-1]) or int(groups[-1]) >= WIDTH:
            return None
        width, groups = int(groups[-1]), [*groups[:-2], partial[1]]
    if not (_LAST_GROUP.fullmatch(groups[-1]) and all(map(_GROUP.fullmatch, groups[:-1]))):
        return None
    number = int("".join(group[-3:] for group in groups))
    tile = Tile(level=level, number=number, width=width)
    is_held = tile.level is not None or tile.first >= held_from
    there = tile.path() == tuple(path) and tile.end <= size and is_held
    return tile if there else None


def render(conn: Connection, tile: Tile) -> bytes:
    """The bytes of a tile, from the numbered entries."""
    if tile.level is None:
        return b"".join(
            struct.pack(">H", len(entry)) + entry for entry in rows.entries(conn, tile.first, tile.end)
        )
    leaves = rows.leaf_hashes(conn, tile.end, tile.first)
    if tile.level == 0:
        return b"".join(leaves)
    return b"".join(root_of(next(leaves) for _ in range(tile.span)) for _ in range(tile.width))


def _of_level(level: int | None, size: int, since: int) -> Iterator[Tile]:
    span = WIDTH ** (level or 0)
    hashes = size // span
    for number in range(since // span // WIDTH, -(-hashes // WIDTH)):
        tile = Tile(level=level, number=number, width=min(WIDTH, hashes - number * WIDTH))
        if tile.end > since:
            yield tile
