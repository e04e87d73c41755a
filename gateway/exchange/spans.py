"""Which parts of a file have been seen, when they come in any order. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from gateway.exchange.protocol import Refused, Status

#: Separate spans that are kept apart: clients have at most some hundred requests under way.
MOST_SPANS = 1_024
#: How far ahead of the first missing byte a WRITE may be, in bytes (spec 1, The boxes).
WINDOW_BYTES = 8 * 1024 * 1024


class Spans:
    """Disjoint half-open spans of offsets, in order; those that touch are one."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, start: int, end: int) -> None:
        """Add a span that is not empty."""
        first = bisect_left(self._ends, start)
        after = bisect_right(self._starts, end)
        if first < after:
            start = min(start, self._starts[first])
            end = max(end, self._ends[after - 1])
        self._starts[first:after] = [start]
        self._ends[first:after] = [end]

    def reach(self, start: int) -> int:
        """Up to where everything from `start` on has been seen; `start` when nothing has."""
        index = bisect_right(self._starts, start) - 1
        return max(start, self._ends[index]) if index >= 0 else start

    def drop_first(self) -> None:
        """Forget the first span."""
        del self._starts[0], self._ends[0]

    @property
    def end(self) -> int:
        """The end of the last span; 0 when there is none."""
        return self._ends[-1] if self._ends else 0


class ReorderWindow:
    """Bytes that came ahead of their turn, until those before them are there; a later write wins."""

    __slots__ = ("_buffer", "_spans", "_start")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._spans = Spans()
        self._start = 0

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def end(self) -> int:
        """The offset after the last byte held; 0 when none is."""
        return self._spans.end

    def put(self, offset: int, data: memoryview, *, start: int) -> bytes:
        """Hold `data`, and give what is in turn now: everything without a gap from `start` on.

        Args:
            offset: where `data` belongs, not below `start`.
            data: bytes, not empty.
            start: the first offset that has not been handed out; the same until bytes are.

        Raises:
            Refused: too far ahead, or in too many pieces.
        """
        if not self._spans:
            self._start = start
        end = offset + len(data)
        if end - start > WINDOW_BYTES or len(self._spans) >= MOST_SPANS:
            raise Refused(Status.FAILURE, "Written too far out of order: send the file again, in order")
        if len(self._buffer) < end - self._start:
            self._buffer.extend(bytes(end - self._start - len(self._buffer)))
        self._buffer[offset - self._start : end - self._start] = data
        self._spans.add(offset, end)
        reached = self._spans.reach(start)
        if reached == start:
            return b""
        ready = bytes(memoryview(self._buffer)[: reached - start])
        del self._buffer[: reached - start]
        self._spans.drop_first()
        self._start = reached
        return ready
