"""The reserve: a file that does nothing but take room, so that there is some when the disk is full.

Let go, its room is for rows, audit entries and purges; files are received again when it is held again.
"""

from __future__ import annotations

import os
from pathlib import Path

from gateway.errors import VaultError

#: Room for the journal of the database (8 MB, more while somebody reads) and for what a night's purge writes.
RESERVE_BYTES = 32 * 1024**2


class Reserve:
    """The reserve of one home, at `path`; several processes may look at it and let it go."""

    def __init__(self, path: Path, *, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self.size = size

    def __repr__(self) -> str:
        return f"Reserve({str(self._path)!r})"

    @property
    def is_held(self) -> bool:
        """Whether all of it is there."""
        try:
            return self._path.stat().st_size >= self.size
        except FileNotFoundError:
            return False

    def free_bytes(self) -> int:
        """What the gateway may still write on this disk, beside the reserve; 0 where no file can be added."""
        found = os.statvfs(self._path.parent)
        # file systems that make room for files as they come tell 0 of both
        return 0 if found.f_files and not found.f_favail else found.f_bavail * found.f_frsize

    def hold(self) -> None:
        """Take the room. VaultError when the disk has it not; nothing is left behind then."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self.size)
            finally:
                os.close(fd)
        except OSError as exc:
            self.release()
            raise VaultError(f"the reserve can't be made: {exc.strerror}") from exc

    def release(self) -> bool:
        """Let the room go; True when there was some. A disk that can't be written to keeps it: False."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
