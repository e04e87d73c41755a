"""What the processes of a gateway and the one that supervises them tell each other, and the wake-up of the pipeline.

A line is a pair of sockets that was made before the process was (unix(7), SOCK_SEQPACKET): nobody else is on it. The
rows are what counts: whatever is told here only says that there is something to look at, but for the configuration,
of which all must take up the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gateway.exchange.waiting import Waiting
from gateway.settings import Settings

#: How often a process says that its event loop turns, in seconds.
ALIVE_EVERY_S = 10.0
#: The longest message; a configuration goes beside it, as a file in memory.
_MESSAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Standing:
    """How a process stands once it is ready: its configuration, and the host key that it shows to partners."""

    generation: int
    config: str
    #: empty where partners don't connect
    host_key: str


class Message(NamedTuple):
    """One message: what it is, its values, and a configuration if it brings one."""

    kind: str
    values: dict[str, Any]
    settings: Settings | None = None


def send(line: socket.socket, kind: str, settings: Settings | None = None, **values: Any) -> None:
    """Send one message.

    Raises:
        OSError: the other end is gone, or does not read and the line does not block.
    """
    text = json.dumps({"kind": kind, **values}).encode()
    if settings is None:
        line.send(text)
        return
    fd = os.memfd_create("configuration")
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            pickle.dump(settings, file)
        socket.send_fds(line, [text], [fd])
    finally:
        os.close(fd)


def receive(line: socket.socket) -> Message | None:
    """The next message; None when the other end is gone."""
    try:
        text, fds, _, _ = socket.recv_fds(line, _MESSAGE_BYTES, 1)
    except ConnectionResetError:
        return None
    if not text:
        return None
    values = json.loads(text)
    settings = None
    for fd in fds:
        with os.fdopen(fd, "rb") as file:
            # the file's place is that of the other end, which has written it
            file.seek(0)
            settings = pickle.load(file)  # noqa: S301  # made by this program, before it forked
    return Message(values.pop("kind"), values, settings)


class Link:
    """A process's end of its line.

    Args:
        line: to the supervisor.
        wakes: a pipe's end that the pipeline reads from, or that the others write to.
        process: what this process is called in what it writes down for the others.
        generation: that of the configuration it began with.
        waiting: where it counts connections that have not logged in, if partners connect to it.
    """

    def __init__(
        self,
        line: socket.socket,
        wakes: int,
        *,
        process: str,
        generation: int,
        waiting: Waiting | None = None,
    ) -> None:
        self._line, self._wakes = line, wakes
        self.process, self.generation, self.waiting = process, generation, waiting

    def wake(self) -> None:
        """There may be something for the pipeline; from whatever thread."""
        # a pipe that is full wakes it already
        with suppress(BlockingIOError):
            os.write(self._wakes, b"w")

    def stand(self, standing: Standing) -> None:
        """This process is ready, or goes on with something else."""
        send(self._line, "standing", **asdict(standing))

    def hand_on(self, settings: Settings, generation: int) -> None:
        """A configuration was put on record: every other process goes on with it."""
        send(self._line, "config", settings, generation=generation)

    def have_looked(self) -> None:
        """A command has changed something: the others look too."""
        send(self._line, "look")

    def attend(self, on_message: Callable[[Message], None]) -> None:
        """Call `on_message` in the event loop for whatever comes."""

        def read() -> None:
            message = receive(self._line)
            if message is None:
                # the supervisor is gone, and this process with it (child.py): nothing is finished any more
                asyncio.get_running_loop().remove_reader(self._line)
            else:
                on_message(message)

        asyncio.get_running_loop().add_reader(self._line, read)

    def attend_wakes(self, on_wake: Callable[[], None]) -> None:
        """Call `on_wake` in the event loop when there may be something for the pipeline."""

        def read() -> None:
            with suppress(BlockingIOError):
                os.read(self._wakes, 65_536)
            on_wake()

        asyncio.get_running_loop().add_reader(self._wakes, read)

    async def stay_alive(self) -> None:
        """Say that the event loop turns, until cancelled."""
        while True:
            send(self._line, "alive")
            await asyncio.sleep(ALIVE_EVERY_S)
