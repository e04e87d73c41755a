"""What a process of the gateway does beside its part."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway import child

MIB = 1 << 20


def resident() -> int:
    """Memory of this process that is its own and in use, in bytes (proc(5), statm)."""
    _, pages, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (pages - shared) * os.sysconf("SC_PAGESIZE")


async def test_memory_that_is_free_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what lies between pieces that stay, which the C library would keep."""
    monkeypatch.setattr(child, "_GIVE_BACK_S", 0.01)
    pieces = [bytes(8_000) for _ in range(8_000)]
    # one in a hundred stays, so that no end of the heap is free
    stays = pieces[::100]
    full = resident()
    del pieces
    assert full - resident() < 16 * MIB
    giving_back = asyncio.create_task(child.give_back_memory())
    async with asyncio.timeout(30):
        while full - resident() < 40 * MIB:  # noqa: ASYNC110  # another thread decides
            await asyncio.sleep(0.01)
    giving_back.cancel()
    assert len(stays) == 80
