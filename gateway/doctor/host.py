"""The host: room on the disk, and what could carry memory onto it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.exchange.room import look_at
from gateway.pipeline.scanner import answers
from gateway.running import Running
from gateway.settings import Home
from gateway.vault.reserve import Reserve

#: With less than this free, somebody should look; with less than a tenth of it, uploads fail soon.
FEW_BYTES = 2 * 1000**3
#: Free places for files: a received file takes one in the vault, and some while it is written.
FEW_FILES = 10_000
#: A connection takes one, an open file another, and a partner may have hundreds open.
FEW_HANDLES = 4_096

_PROC = Path("/proc")


def look(home: Home, daemon: Running | None, file_bytes: int) -> Iterator[Finding]:
    """Disk, swap, core dumps and open files; of the process of the gateway where it runs."""
    yield _disk(home)
    if daemon is not None:
        yield _reserve(home, file_bytes)
    process = _PROC / (str(daemon.pid) if daemon else "self")
    if not process.is_dir():
        yield warn("memory", "can't be looked at here", "run gateway doctor on Linux, where the gateway runs")
        return
    limits = (process / "limits").read_text()
    yield _swap(process)
    yield _core(limits)
    yield _handles(limits)


def scanner(path: Path) -> Finding:
    """Whether the virus scanner answers: files wait while it doesn't."""
    if answers(path):
        return ok("virus scanner", f"answers at {path}")
    return fail("virus scanner", f"does not answer at {path}: files wait", "systemctl restart clamav-daemon")


def _disk(home: Home) -> Finding:
    """The fullest of the disks on which data/ and log/ lie."""
    folders = [folder for folder in (home.data, home.log, home.keys) if folder.is_dir()]
    folder = min(folders or [home.root], key=lambda each: shutil.disk_usage(each).free)
    room = shutil.disk_usage(folder)
    files_free = os.statvfs(folder).f_favail
    what = f"{room.free / 1000**3:,.1f} GB of {room.total / 1000**3:,.1f} GB free for {folder.name}/"
    remedy = "make room: logs and backups of others first; nothing in data/ may be removed by hand"
    if room.free < FEW_BYTES // 10:
        return fail("disk", what, remedy)
    if room.free < FEW_BYTES:
        return warn("disk", what, remedy)
    # file systems that make room for files as they come tell 0
    if 0 < files_free < FEW_FILES:
        return warn("disk", f"room for {files_free:,} more files for {folder.name}/", remedy)
    return ok("disk", what)


def _reserve(home: Home, file_bytes: int) -> Finding:
    """What the gateway that runs does about the room there is; `file_bytes` is its largest file."""
    room = look_at(Reserve(home.reserve), file_bytes)
    remedy = "make room: within seconds files are received again"
    if not room.is_held:
        return fail(
            "reserve", "let go: the disk is full, and only rows and audit entries are written", remedy
        )
    if not room.takes_files:
        return fail("reserve", "held, but no file of the largest size fits: none is received", remedy)
    return ok("reserve", f"{room.reserve_bytes / 1000**2:,.1f} MB are kept back for when the disk is full")


def _swap(process: Path) -> Finding:
    """Swap is harmless where there is none, where it is sealed or in memory, or where the gateway may not use it."""
    devices = [line.split()[0] for line in (_PROC / "swaps").read_text().splitlines()[1:]]
    plain = [device for device in devices if not _is_sealed(device)]
    if not devices:
        return ok("swap", "the host has none")
    if not plain:
        return ok("swap", "encrypted, or in memory")
    if _swap_limit(process) == "0":
        return ok("swap", "the host has it, and the gateway may not use it")
    return warn(
        "swap",
        f"keys and names may be written to {plain[0]}",
        "MemorySwapMax=0 in its unit, encrypted swap, or none: swapoff -a",
    )


def _is_sealed(device: str) -> bool:
    name = Path(device).resolve().name
    if name.startswith("zram"):
        return True
    try:
        return Path(f"/sys/block/{name}/dm/uuid").read_text().startswith("CRYPT-")
    except OSError:
        return False


def _swap_limit(process: Path) -> str:
    """`memory.swap.max` of the process's control group; empty where there is none."""
    found = re.search(r"^0::(/.*)$", (process / "cgroup").read_text(), re.MULTILINE)
    if found is None:
        return ""
    try:
        return Path(f"/sys/fs/cgroup{found[1]}/memory.swap.max").read_text().strip()
    except OSError:
        return ""


def _core(limits: str) -> Finding:
    """A core dump is the whole memory, on the disk."""
    if _limit(limits, "Max core file size") == "0":
        return ok("core dumps", "off")
    return warn(
        "core dumps", "a crash writes keys and names to the disk", "LimitCORE=0 in its unit, or: ulimit -c 0"
    )


def _handles(limits: str) -> Finding:
    allowed = _limit(limits, "Max open files")
    if allowed != "unlimited" and int(allowed) < FEW_HANDLES:
        return warn(
            "open files", f"{allowed} at a time", "LimitNOFILE=65536 in its unit, or: ulimit -n 65536"
        )
    return ok("open files", f"{allowed} at a time")


def _limit(limits: str, name: str) -> str:
    """The soft limit of a name in `/proc/PID/limits`."""
    found = re.search(rf"^{name} +(\S+)", limits, re.MULTILINE)
    return found[1] if found else "unlimited"
