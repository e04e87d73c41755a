"""What others change under a running gateway: the wake file, and the configuration (spec 1, Trigger, Partners)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    EVENT_TYPE_CLOSED_NO_WRITE,
    EVENT_TYPE_OPENED,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from gateway.settings import Home

#: A configuration is read once nothing has changed in it for so many seconds: who copies ten files, or an
#: editor that writes aside and renames, is let finish.
SETTLED_S = 0.3
#: What reading does to a file is no change of it; our own reading would wake us for ever.
_READING = {EVENT_TYPE_OPENED, EVENT_TYPE_CLOSED_NO_WRITE}


class Watch:
    """Calls `on_wake`, in a thread, when the wake file is touched; `on_config`, in the event loop, when something
    below `config/` has changed and come to rest.
    """

    def __init__(self, home: Home, on_wake: Callable[[], None], on_config: Callable[[], None]) -> None:
        self._on_wake, self._on_config = on_wake, on_config
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # made here, not before: an observer holds one of the host's inotify instances from the start
        self._observer: BaseObserver = Observer()
        self._observer.schedule(_Handler(self._look), str(home.run))
        self._observer.schedule(_Handler(self._stir), str(home.config), recursive=True)
        self._observer.start()

    async def stop(self) -> None:
        """Look no more."""
        self._observer.stop()
        await asyncio.to_thread(self._observer.join)
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, path: Path) -> None:
        if path.name == "wake":
            self._on_wake()

    def _stir(self, _path: Path) -> None:
        self._loop.call_soon_threadsafe(self._wait)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(SETTLED_S, self._on_config)


class _Handler(FileSystemEventHandler):
    def __init__(self, on_change: Callable[[Path], None]) -> None:
        self._on_change = on_change

    def on_any_event(self, event: FileSystemEvent) -> None:
        """A file or folder was made, written, renamed or removed; or only read."""
        if event.event_type not in _READING:
            self._on_change(Path(str(event.src_path)))
