"""One sync or one commit for all who wait for one: what costs the same for one caller as for many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Turn(Generic[T]):
    """One caller: what it brings, and how its round ended."""

    item: T
    is_done: bool = False
    error: BaseException | None = None
    #: of one that waits: set when its round is done, or when it is its turn to do the next one
    told: Event | None = None


class Together(Generic[T]):
    """Those who come while a round is under way share the next one, and one of them does it.

    Nobody waits for others to come: who is alone does its own at once, in its own thread.

    Args:
        do_all: does a round: all that was brought, in order of arrival. What it raises, all of them get.
    """

    def __init__(self, do_all: Callable[[list[T]], None]) -> None:
        self._do_all = do_all
        self._waiting: list[_Turn[T]] = []
        self._is_busy = False
        self._lock = Lock()

    def add(self, item: T) -> None:
        """Take part in a round that begins after this call; returns when it is done, raises what it raised."""
        turn = _Turn(item)
        with self._lock:
            self._waiting.append(turn)
            if self._is_busy:
                turn.told = Event()
            self._is_busy = True
        if turn.told is not None:
            turn.told.wait()
        if not turn.is_done:
            self._do_round()
        if turn.error is not None:
            raise turn.error

    def _do_round(self) -> None:
        with self._lock:
            turns, self._waiting = self._waiting, []
        error: BaseException | None = None
        try:
            self._do_all([turn.item for turn in turns])
        except BaseException as exc:  # noqa: BLE001  # each of them raises it
            error = exc
        with self._lock:
            self._is_busy = bool(self._waiting)
            _wake(self._waiting[:1])
        for turn in turns:
            turn.error, turn.is_done = error, True
        _wake(turns)


def _wake(turns: list[_Turn[T]]) -> None:
    for turn in turns:
        if turn.told is not None:
            turn.told.set()
