"""`python -m bench.work HOME RESULT`: a pipeline process without a door, that does all that waits and says what it took.

Its own process: what others did before has no part in its memory.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.home import open_country
from bench.measure import peak_bytes, tree, tree_cpu_s
from gateway import logs
from gateway.pipeline.context import Context
from gateway.pipeline.worker import step


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What work took: seconds from the first claim to the last publication, and until worklists were made too."""

    seconds: float
    with_worklists_s: float
    cpu_s: float
    #: of the largest process, at its highest
    peak_mib: float


def work(home: Path, *, worklists: bool = False) -> Done:
    """Do all that waits in a home, in another process; RuntimeError when that fails."""
    result = home.with_suffix(".done")
    words = [
        sys.executable,
        "-m",
        "bench.work",
        str(home),
        str(result),
        *(["worklists"] if worklists else []),
    ]
    with home.with_suffix(".work.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        peak, over = [0], threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, over))
        watcher.start()
        process.wait()
        over.set()
        watcher.join()
    if process.returncode:
        told = home.with_suffix(".work.log").read_text(errors="replace").splitlines()
        raise RuntimeError(f"the pipeline ended with {process.returncode}: {' '.join(told[-1:])}")
    return Done(**{**json.loads(result.read_text()), "peak_mib": peak[0] / (1 << 20)})


def main() -> None:
    """Work until nothing waits."""
    home, result, worklists = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["worklists"]
    logs.set_up()
    # as the command line does (gateway/cli/app.py)
    gc.set_threshold(50_000, 20, 20)
    gateway = open_country(home)
    context = gateway.pipeline()
    began, cpu = time.perf_counter(), tree_cpu_s(os.getpid())
    do_all(context)
    seconds = time.perf_counter() - began
    while worklists and step(context):
        pass
    with_worklists, cpu = time.perf_counter() - began, tree_cpu_s(os.getpid()) - cpu
    gateway.close()
    done = Done(seconds=seconds, with_worklists_s=with_worklists, cpu_s=cpu, peak_mib=0)
    result.write_text(json.dumps(asdict(done)))


def do_all(context: Context) -> None:
    """Take in and publish all that waits; worklists come after."""
    while step(context, makes_worklists=False):
        pass


def _watch(pid: int, peak: list[int], over: threading.Event) -> None:
    while not over.wait(0.05):
        peak[0] = max(peak[0], *map(peak_bytes, tree(pid)))


if __name__ == "__main__":
    main()
