"""The machine that was measured on, in words that name no place."""

from __future__ import annotations

import os
import platform
import subprocess
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
        "load_before": os.getloadavg()[0],
        "versions": {
            **{name: version(name) for name in ("asyncssh", "cryptography")},
            "openssh": _first_line("ssh", "-V"),
            "rclone": _first_line("/usr/bin/rclone", "version"),
        },
    }


def _first_line(*command: str) -> str:
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return (told.stdout or told.stderr).partition("\n")[0].strip()
