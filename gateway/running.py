"""The daemon that runs on a home, as `data/run/gateway.json` tells of it to whoever looks from beside."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TextIO

from gateway.errors import ConfigError
from gateway.settings import Home
from gateway.vault.durable import place_file

#: Held as long as a daemon runs.
_LOCK_FILE = "serve.lock"
#: Held as long as a process of it runs, if it was killed.
_PROCESSES_FILE = "processes.lock"
#: How long is waited for processes of a daemon that was killed, and how often is looked, in seconds.
_LEAVE_WITHIN_S, _LOOK_AGAIN_S = 10.0, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A daemon that is ready. `generation` numbers its configuration, `config` is that one's digest.

    `legacy_port` is None where there is no legacy listener.
    """

    port: int
    pid: int
    host_key: str
    generation: int = 0
    config: str = ""
    legacy_port: int | None = None


def tell(home: Home, daemon: Running) -> None:
    """Tell others of a daemon that is ready."""
    told = {name: value for name, value in asdict(daemon).items() if value is not None}
    place_file(home.status_file, (json.dumps(told) + "\n").encode(), mode=0o644)


def running(home: Home) -> Running | None:
    """The daemon that runs on a home and is ready; None when there is none, whatever a crash left."""
    try:
        status = Running(**json.loads(home.status_file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    # a pid may have been given to another process, a lock is not; looked at only beside the file, so that
    # nobody is in the way of a daemon that starts
    try:
        with (home.run / _LOCK_FILE).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return status
    except OSError:
        return None
    return None


@contextmanager
def only_one(home: Home) -> Iterator[TextIO]:
    """One daemon a home: a second would give the same number twice. What is yielded, processes that it forks close.

    What they keep is the second lock: those of a daemon that was killed must have gone before another looks at what
    they left, and the kernel takes a moment to kill them.

    Raises:
        ConfigError: there is one already.
    """
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home.run / _LOCK_FILE).open("w") as file, (home.run / _PROCESSES_FILE).open("w") as processes:
        end = time.monotonic() + _LEAVE_WITHIN_S
        is_only = _locked(file)
        while is_only and not _locked(processes):
            time.sleep(_LOOK_AGAIN_S)
            is_only = time.monotonic() < end
        if not is_only:
            raise ConfigError(f"a gateway runs on {home.root.resolve()} already; see: gateway status")
        yield file


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
