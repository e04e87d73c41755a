"""Limits that a child process sets on itself: what it works on never reaches a disk, and it is the first to go."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

#: linux/prctl.h: whether a core may be dumped, also into a program that ignores RLIMIT_CORE (core(5)).
_PR_SET_DUMPABLE = 4


def confine() -> None:
    """No core dump, which would hold the plaintext, no file written, few opened."""
    # when the machine, or the daemon's share of it, has no memory left, this process is the one to go
    Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
