"""Connections that have not logged in, of all processes together: each counts its own in memory that all see.

A cap that each process kept by itself would be as many caps as there are processes, and a share of it would turn away
who happens to come to one process often. A process writes only its own row, so that nobody waits for a lock; what
two let in at the same moment may pass a cap by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from mmap import mmap

#: Places of a row: the first has the count of all, the others those of sources; two that share one count together.
_PLACES = 1 << 16
_COUNT_BYTES = 4


class Waiting:
    """The count that one process keeps, and those of the others.

    Args:
        rows: of every process, its own among them.
        own: which one that is.
    """

    def __init__(self, rows: Sequence[memoryview], own: int) -> None:
        self._rows, self._own = rows, rows[own]

    def total(self) -> int:
        """How many wait, at all processes."""
        return sum(row[0] for row in self._rows)

    def of(self, source: str) -> int:
        """How many of them are from a source."""
        place = _place(source)
        return sum(row[place] for row in self._rows)

    def add(self, source: str) -> None:
        """One more waits at this process."""
        self._own[0] += 1
        self._own[_place(source)] += 1

    def remove(self, source: str) -> None:
        """One that was added waits no more."""
        self._own[0] -= 1
        self._own[_place(source)] -= 1

    def clear(self) -> None:
        """Nobody waits at this process any more: it has ended."""
        self._own[:] = memoryview(bytes(_PLACES * _COUNT_BYTES)).cast("I")


def waiting(processes: int) -> list[Waiting]:
    """A count for each process; to be made before they are."""
    size = _PLACES * _COUNT_BYTES
    memory = memoryview(mmap(-1, processes * size))
    rows = [memory[at * size :][:size].cast("I") for at in range(processes)]
    return [Waiting(rows, own) for own in range(processes)]


def _place(source: str) -> int:
    # salted anew at each start, and the same in all that are forked from it: nobody can choose whose place to share
    return 1 + hash(source) % (_PLACES - 1)
