"""A process of a gateway, from its fork to its end: one part, and a line to the supervisor."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
from collections.abc import Callable, Sequence
from socket import socket

import uvloop

from gateway import logs
from gateway.daemon import Daemon, Part
from gateway.errors import GatewayError
from gateway.gateway import Gateway
from gateway.link import Link, Message

_log = logs.get("daemon")

#: linux/prctl.h: the signal that comes when the parent ends, in whatever way.
_PR_SET_PDEATHSIG = 1
#: How far the processes that nobody waits for step back; they hold the database for a moment at a time only.
_NICE = 5
#: New objects between two looks for garbage where partners connect: each session leaves hundreds that only this finds.
_LOOK_FOR_GARBAGE = 10_000
#: How often memory that is free goes back to the system, in seconds.
_GIVE_BACK_S = 10.0


def live(
    gateway: Gateway,
    part: Part,
    link: Link,
    *,
    sockets: tuple[Sequence[socket], Sequence[socket]],
    door: tuple[str, int],
    parent: int,
) -> int:
    """Be that part until the supervisor says otherwise; the exit status. For a process that was just forked."""
    _end_with(parent)
    if part is Part.EXCHANGE:
        gc.set_threshold(_LOOK_FOR_GARBAGE, *gc.get_threshold()[1:])
    else:
        # who waits for an answer comes first
        os.nice(_NICE)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGINT):
        # sent to all of the group: the supervisor ends us in order. Not ignored: programs that we start would inherit that
        signal.signal(number, _leave_it)
    try:
        # uvloop moves more bytes in the same time; the others' loops have nothing to move
        factory: Callable[[], asyncio.AbstractEventLoop] | None = (
            uvloop.new_event_loop if part is Part.EXCHANGE else None
        )
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_run(Daemon(gateway, [part], link=link, sockets=sockets), part, link, door))
        gateway.close()
    except Exception as exc:  # noqa: BLE001  # whatever it is, the supervisor starts another, or gives up
        error = str(exc) if isinstance(exc, GatewayError) else ""
        _log.error("process.failed", kind=part, pid=os.getpid(), error_type=type(exc).__name__, error=error)
        return exc.exit_code if isinstance(exc, GatewayError) else 1
    return 0


async def _run(daemon: Daemon, part: Part, link: Link, door: tuple[str, int]) -> None:
    stopping, tasks = asyncio.Event(), set[asyncio.Task[None]]()

    def obey(message: Message) -> None:
        if message.kind == "stop":
            stopping.set()
        elif message.kind == "look":
            daemon.look()
        elif message.kind == "config" and message.settings is not None:
            daemon.go_on_with(message.settings, message.values["generation"])
        elif message.kind == "ended":
            tasks.add(asyncio.create_task(daemon.give_up_for(message.values["process"])))

    await daemon.start(host=door[0], port=door[1])
    link.attend(obey)
    if part is Part.PIPELINE:
        link.attend_wakes(daemon.worker.wake)
    alive = asyncio.create_task(link.stay_alive())
    giving_back = asyncio.create_task(give_back_memory())
    await stopping.wait()
    await daemon.stop()
    await asyncio.gather(*tasks)
    alive.cancel()
    giving_back.cancel()


async def give_back_memory() -> None:
    """Now and then, until cancelled: glibc keeps what sessions have freed, in pieces between what stays (malloc_trim(3)).

    Another C library may have nothing of the kind, and no need of it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(_GIVE_BACK_S)
        await asyncio.to_thread(trim, 0)


def _end_with(parent: int) -> None:
    """Be killed when the parent is no more: nobody would look after us, and the next gateway must be alone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _leave_it(_number: int, _frame: object) -> None:
    """The supervisor got it too."""
