"""What a partner may still send today, as statvfs@openssh.com tells it: its own limits, never the disk's. Pure."""

from __future__ import annotations

from gateway.exchange.protocol import Space
from gateway.exchange.tree import MOST_NAME_CHARACTERS

#: Bytes in which room is counted: `df` and its like show KiB.
BLOCK_BYTES = 1_024

#: What is told where nothing can be written.
NO_ROOM = Space(
    block_bytes=BLOCK_BYTES, blocks=0, free_blocks=0, is_read_only=True, most_name=MOST_NAME_CHARACTERS
)


def room(*, limit_bytes: int, used_bytes: int, limit_files: int, used_files: int) -> Space:
    """The room that a limit leaves.

    Args:
        limit_bytes: the most that is received.
        used_bytes: what of it has been used; more than the limit leaves nothing.
        limit_files: the most files that are received.
        used_files: what of them has been used.
    """
    return Space(
        block_bytes=BLOCK_BYTES,
        blocks=limit_bytes // BLOCK_BYTES,
        free_blocks=max(limit_bytes - used_bytes, 0) // BLOCK_BYTES,
        files=limit_files,
        free_files=max(limit_files - used_files, 0),
        most_name=MOST_NAME_CHARACTERS,
    )
