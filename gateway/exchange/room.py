"""Room for files: looked at before each is opened for writing, and every few seconds; told when it changes."""

from __future__ import annotations

from threading import Lock

from gateway import logs
from gateway.domain.room import Room
from gateway.errors import VaultError
from gateway.vault.reserve import Reserve

_log = logs.get("room")


class RoomWatch:
    """Looks at the disk, keeps the reserve, and tells in the log when files are refused and when no longer.

    Args:
        reserve: the reserve of this home.
        file_bytes: the largest file that is received.
    """

    def __init__(self, reserve: Reserve, file_bytes: int) -> None:
        self._reserve = reserve
        #: the largest file that is received; it may change while the gateway runs
        self.file_bytes = file_bytes
        #: what was told last; nothing yet
        self._told: tuple[bool, bool] = (True, True)
        self._lock = Lock()

    def look(self) -> Room:
        """What there is; the reserve is let go when it is needed and held again when there is room."""
        with self._lock:
            found, error = look_at(self._reserve, self.file_bytes), ""
            if found.must_release:
                self._reserve.release()
            elif found.may_hold:
                try:
                    self._reserve.hold()
                except VaultError as exc:  # another program was faster, or the disk can't be written to
                    error = str(exc)
            found = look_at(self._reserve, self.file_bytes)
            self._tell(found, error)
            return found

    def end(self) -> None:
        """The gateway stops: what is not written by it needs no reserve."""
        self._reserve.release()

    def _tell(self, found: Room, error: str) -> None:
        before, self._told = self._told, (found.takes_files, found.is_held)
        if before == self._told:
            return
        if not found.is_held:
            _log.error(
                "reserve.released",
                bytes=found.free_bytes,
                reason="the reserve is not there: make room",
                error=error,
            )
        elif not found.takes_files:
            _log.error("uploads.stopped", bytes=found.free_bytes, reason="no file is received: make room")
        else:
            _log.info("uploads.resumed", bytes=found.free_bytes)


def look_at(reserve: Reserve, file_bytes: int) -> Room:
    """What there is now; changes nothing."""
    return Room(
        free_bytes=reserve.free_bytes(),
        is_held=reserve.is_held,
        reserve_bytes=reserve.size,
        file_bytes=file_bytes,
    )
