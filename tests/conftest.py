"""What all tests share: how many of them run at a time."""

from __future__ import annotations

import os

import pytest


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: tests wait for daemons and clients a good part of their time."""
    return len(os.sched_getaffinity(0)) + 1
