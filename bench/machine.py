"""The machine that was measured on, in words that name no place."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path


def describe() -> dict[str, object]:
    """Processor, memory, kernel, versions of what was measured, and how busy it was before."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = next(
        int(line.split()[1]) // 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal")
    )
    return {
        "processors": os.cpu_count(),
        "model": model,
        "memory_mib": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_before": os.getloadavg()[0],
        "versions": {
            **{name: version(name) for name in ("asyncssh", "cryptography", "uvloop", "duckdb")},
            "openssh": _first_line("ssh", "-V"),
            "rclone": _first_line("/usr/bin/rclone", "version"),
        },
    }


def noise() -> float:
    """How much longer the same fixed work takes at its slowest than at the median of nine: 0 on a quiet machine."""
    took = []
    for _ in range(9):
        began = time.perf_counter()
        sum(range(5_000_000))
        took.append(time.perf_counter() - began)
    return round(max(took) / statistics.median(took) - 1, 3)


def _first_line(*command: str) -> str:
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return (told.stdout or told.stderr).partition("\n")[0].strip()
