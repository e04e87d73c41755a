"""Threads that open and close uploads: they wait for the disk, and an event loop may not.

`asyncio.to_thread` takes more than twice the time for a call: a context is copied, and two futures tell each other of the
result. A small file has two such calls.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

T = TypeVar("T")

#: Calls under way at a time: those that close share syncs and commits. More wait.
MOST_THREADS = 32

_calls: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]]] = SimpleQueue()
_lock = Lock()
#: threads that wait for a call, less the calls that wait for a thread; and all threads
_free = _started = 0


def _begin_anew() -> None:
    """In a process that was forked: it has none of the threads."""
    global _calls, _lock, _free, _started  # noqa: PLW0603
    _calls, _lock = SimpleQueue(), Lock()
    _free = _started = 0


os.register_at_fork(after_in_child=_begin_anew)


def in_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """What a call that blocks returns or raises; begun in the order asked for."""
    global _free, _started  # noqa: PLW0603
    found: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    with _lock:
        _free -= 1
        if _free < 0 and _started < MOST_THREADS:
            _started += 1
            Thread(target=_work, name=f"upload-{_started}", daemon=True).start()
    _calls.put((call, found))
    return found


def _work() -> None:
    global _free  # noqa: PLW0603
    while True:
        with _lock:
            _free += 1
        call, found = _calls.get()
        tell: Callable[[Any], None]
        try:
            result, tell = call(), found.set_result
        except BaseException as exc:  # noqa: BLE001  # whoever awaits it gets it
            result, tell = exc, found.set_exception
        with suppress(RuntimeError):  # its loop has ended, and with it whoever waited
            found.get_loop().call_soon_threadsafe(_tell, found, tell, result)
        del call, found, tell, result


def _tell(found: asyncio.Future[Any], tell: Callable[[Any], None], result: object) -> None:
    if not found.done():
        tell(result)
