"""Threads that open and close uploads: results, errors, as many at once as may be, and loops that end before them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from gateway.exchange.threads import MOST_THREADS, in_thread


async def test_what_a_call_returns_or_raises():
    """In another thread; and a thread outlives what it raised."""
    assert await in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)
    assert await in_thread(lambda: "on") == "on"


async def test_as_many_at_once_as_may_be():
    """They wait for each other: with fewer threads, none would come through. Those beyond wait, and come too."""
    all_there = threading.Barrier(MOST_THREADS)
    calls = [in_thread(lambda: all_there.wait(20) >= 0) for _ in range(MOST_THREADS)]
    more = [in_thread(lambda number=number: number) for number in range(5)]
    assert all(await asyncio.gather(*calls))
    assert await asyncio.gather(*more) == list(range(5))
    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("upload-")}
    assert len(names) == MOST_THREADS


async def test_a_call_that_is_not_waited_for_any_more():
    """It is carried through in silence, and the next one gets its thread."""
    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    begun, go_on = threading.Event(), threading.Event()
    call = in_thread(lambda: begun.set() or go_on.wait(20))
    await in_thread(lambda: begun.wait(20))
    call.cancel()
    go_on.set()
    assert await in_thread(lambda: "next") == "next"
    assert call.cancelled()
    # the thread of the first one is among them: what it had to tell, it has told
    all_there = threading.Barrier(MOST_THREADS)
    await asyncio.gather(*(in_thread(lambda: all_there.wait(20)) for _ in range(MOST_THREADS)))
    assert errors == []


def test_a_loop_that_ends_first():
    """Its call ends in silence, and other loops are served."""
    begun, go_on = threading.Event(), threading.Event()

    async def leave():
        in_thread(lambda: begun.set() or go_on.wait(20))
        await in_thread(lambda: begun.wait(20))

    asyncio.run(leave())
    go_on.set()

    async def come():
        return await asyncio.gather(*(in_thread(lambda: "served") for _ in range(MOST_THREADS)))

    assert asyncio.run(come()) == ["served"] * MOST_THREADS


def test_a_process_that_was_forked_has_threads_of_its_own():
    """Those of its parent are not there: a call would wait for them for ever."""

    async def call() -> int:
        return await in_thread(lambda: 7)

    assert asyncio.run(call()) == 7
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        os._exit(asyncio.run(call()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
