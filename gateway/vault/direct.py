"""Large blobs past the page cache: written to the disk in a thread while the next part is sealed.

The page cache would copy each byte, and have all of it still to write when CLOSE waits for it. Here the disk reads
ciphertext from where it was sealed, and what a sync at the end finds left to do is little (ADR 27).
"""

from __future__ import annotations

import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore

from gateway.vault.durable import write_all
from gateway.vault.stream import SEGMENT_BYTES

#: Bytes in one write; each blob that is written so has two such buffers.
WRITE_BYTES = 1 << 20
#: Blobs that are written so at once in a process; others go through the page cache.
MOST_AT_ONCE = 8


class Lanes:
    """The threads of one folder of blobs, and how many blobs may have one."""

    def __init__(self) -> None:
        self._free = BoundedSemaphore(MOST_AT_ONCE)
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="blobs")

    def take(self, path: str, offset: int) -> Lane | None:
        """A lane that goes on with a file at `offset`; None: there is none free, or its file system has no such way."""
        if not self._free.acquire(blocking=False):
            return None
        try:
            fd = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self._free.release()
            return None
        os.lseek(fd, offset, os.SEEK_SET)
        return Lane(self, fd, offset)

    def write(self, fd: int, data: memoryview) -> Future[None]:
        """Write in a thread."""
        return self._threads.submit(write_all, fd, data)

    def give_back(self) -> None:
        """One more is free."""
        self._free.release()


class Lane:
    """The way of one blob to the disk: a buffer to seal into, while the other is written.

    Args:
        lanes: where it is from, and goes back to.
        fd: the file, opened with O_DIRECT; it is closed with the lane.
        offset: where in the file the first segment goes: a multiple of `SEGMENT_BYTES`.
    """

    def __init__(self, lanes: Lanes, fd: int, offset: int) -> None:
        self._lanes, self._fd = lanes, fd
        # memory that begins with a page, as O_DIRECT demands
        self._filling, self._other = (memoryview(mmap.mmap(-1, WRITE_BYTES)) for _ in range(2))
        self._filled = 0
        self._writing: Future[None] | None = None
        #: where in the file what is in the buffer begins
        self.offset = offset

    @property
    def room(self) -> memoryview:
        """Where the next segment is sealed."""
        return self._filling[self._filled : self._filled + SEGMENT_BYTES]

    def take(self, count: int) -> None:
        """So many bytes of `room` are ciphertext. Waits while the disk is slower. Raises OSError: it takes no more."""
        self._filled += count
        if self._filled == WRITE_BYTES:
            self._wait()
            self._writing = self._lanes.write(self._fd, self._filling)
            self._filling, self._other = self._other, self._filling
            self._filled, self.offset = 0, self.offset + WRITE_BYTES

    def rest(self) -> memoryview:
        """What is in the buffer and belongs at `offset`, when all before it is written. Raises OSError."""
        self._wait()
        return self._filling[: self._filled]

    def close(self) -> None:
        """Give the lane back, whatever became of what was written."""
        try:
            self._wait()
        except OSError:
            pass
        finally:
            os.close(self._fd)
            self._lanes.give_back()

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
