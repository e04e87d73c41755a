"""What all tests share: how many of them run at a time, and a home without partners."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.audit.checkpoint import create_signing_key
from gateway.exchange.keys import create_host_key
from gateway.settings import Home
from gateway.store.engine import Store
from gateway.vault.keyring import Keyring


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: tests wait for daemons and clients a good part of their time."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture
def bare_home(tmp_path: Path) -> Home:
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
