"""Room on the disk: when files are received, and when the reserve is let go and held again."""

from __future__ import annotations

from dataclasses import dataclass

#: With less left than this, rows and audit entries may find no room: the database grows by so much between two looks.
LITTLE_BYTES = 4 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a look at the disk found, in bytes.

    `reserve_bytes` are kept back for rows, audit entries and purges; while `is_held` they are taken on the
    disk, and no part of `free_bytes`. `file_bytes` is the largest file that is received.
    """

    free_bytes: int
    is_held: bool
    reserve_bytes: int
    file_bytes: int

    @property
    def takes_files(self) -> bool:
        """Whether a file of the largest size fits without the reserve."""
        return self.free_bytes >= self.file_bytes + (0 if self.is_held else self.reserve_bytes)

    @property
    def must_release(self) -> bool:
        """Whether the reserve is needed now."""
        return self.is_held and self.free_bytes < LITTLE_BYTES

    @property
    def may_hold(self) -> bool:
        """Whether the reserve can be made again, and not be needed at the next look."""
        return not self.is_held and self.free_bytes >= self.reserve_bytes + 2 * LITTLE_BYTES
