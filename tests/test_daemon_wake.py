"""A touched file wakes the daemon: what another process did is seen without waiting for the next look."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from gateway.audit.checkpoint import create_signing_key
from gateway.daemon import Daemon, open_gateway
from gateway.exchange.keys import create_host_key
from gateway.pipeline import worker
from gateway.settings import Home
from gateway.store.engine import Store
from gateway.vault.keyring import Keyring


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home without partners."""
    home = Home(root=tmp_path)
    for folder in (home.config, home.keys, home.vault, home.run, home.log):
        folder.mkdir(parents=True)
    home.gateway_file.touch()
    Keyring.create(home.keys)
    create_signing_key(home.keys)
    create_host_key(home.host_key)
    Store.create(home.db).close()
    return home


async def test_a_touched_file_wakes_the_worker(home, monkeypatch):
    """`Gateway.wake()`, in whatever process, makes the worker look at once."""
    looks = asyncio.Queue()
    loop = asyncio.get_running_loop()
    look = worker.step
    monkeypatch.setattr(worker, "LOOK_EVERY_S", 3600.0)
    monkeypatch.setattr(
        worker, "step", lambda context: loop.call_soon_threadsafe(looks.put_nowait, 1) and look(context)
    )
    gateway = open_gateway(home.root)
    beside = open_gateway(home.root)
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
