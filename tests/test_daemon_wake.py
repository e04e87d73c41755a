"""A touched file wakes the daemon: what another process did is seen without waiting for the next look."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from gateway.daemon import Daemon
from gateway.gateway import open_gateway
from gateway.pipeline import worker


async def test_a_touched_file_wakes_the_worker(bare_home, monkeypatch):
    """`Gateway.wake()`, in whatever process, makes the worker look at once."""
    looks = asyncio.Queue()
    loop = asyncio.get_running_loop()
    look = worker.step
    monkeypatch.setattr(worker, "LOOK_EVERY_S", 3600.0)
    monkeypatch.setattr(
        worker,
        "step",
        lambda context, **told: loop.call_soon_threadsafe(looks.put_nowait, 1) and look(context, **told),
    )
    gateway = open_gateway(bare_home.root)
    beside = open_gateway(bare_home.root)
    daemon = Daemon(gateway)
    await daemon.start(host="127.0.0.1", port=0)
    try:
        # its look at the start; then it sleeps for an hour
        await asyncio.wait_for(looks.get(), 20)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(looks.get(), 0.5)
        beside.wake()
        await asyncio.wait_for(looks.get(), 20)
    finally:
        await daemon.stop()
        gateway.close()
        beside.close()
        structlog.reset_defaults()
