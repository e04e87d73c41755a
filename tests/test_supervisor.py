"""`gateway serve` as processes: each may be killed, all agree, and they end with the one that started them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import asyncssh
import pytest

from gateway.domain.delivery import DeliveryState
from gateway.running import running
from gateway.settings import Home
from gateway.store import guard

sys.path.append(str(Path(__file__).parent))
from served import CSV, MANY, OTHER, Served, is_there, serving  # beside this file


@pytest.fixture
async def served(bare_home: Home) -> AsyncIterator[Served]:
    """Two exchange processes, one creditor."""
    async with serving(bare_home) as found:
        yield found


async def open_files(served: Served) -> list[tuple[asyncssh.SFTPClient, asyncssh.SFTPClientFile]]:
    """A file under way on each of many connections, some of them to each process."""
    clients = [await served.connect() for _ in range(MANY)]
    files = [await client.open(f"inbox/{number}.csv", "wb") for number, client in enumerate(clients)]
    for file in files:
        await file.write(CSV)
    # all of them, so that each is given up by its row
    await served.until(lambda: [state for state, _ in served.rows().values()].count("receiving") == MANY)
    assert len(served.processes("receiving")) == 2
    return list(zip(clients, files, strict=True))


async def test_all_processes_agree(served):
    """Connections come to both; a partner's sessions are counted in both; a change of the configuration holds in both."""
    open_now = [client for client, _ in await open_files(served)]

    async def is_refused() -> bool:
        try:
            await served.connect()
        except asyncssh.Error:
            return True
        await served.hang_up()
        return False

    # one more is within the limit: with it the partner has all of its sessions, whichever process has them
    open_now.append(await served.connect())
    async with asyncio.timeout(60):
        while not await is_refused():
            pass
    assert served.events("session.refused")

    # another partner is let in by both
    served.add_partner("dezorgkas", OTHER)
    await served.until(lambda: (told := running(served.home)) is not None and told.generation == 2)
    others = [await served.connect("dezorgkas", OTHER) for _ in range(MANY)]
    assert await others[0].listdir("inbox") == [".", ".."]

    # a key that is gone ends its sessions in both, and what they were sending
    (served.home.config / "partners/woonservice.toml").unlink()
    await served.until(lambda: served.processes("aborted") and not served.processes("receiving"))
    assert len(served.processes("aborted")) == 2
    assert len(served.events("session.revoked")) == len(open_now)
    assert len(served.events("config.loaded")) == 3, "told once, not by each process"
    while served.connections:
        await served.hang_up()
    assert served.stop() == 0


async def test_an_exchange_process_is_killed(served):
    """What it was receiving is given up at once, what the other one is receiving goes on; another takes its place."""
    files = await open_files(served)
    # as a kill leaves them before their row
    blobs = served.opened.blobs
    rowless = {process: blobs.create(process) for process in served.processes("receiving")}
    for writer in rowless.values():
        writer.write(b"x")
    victim = served.pids("exchange")[0]
    os.kill(victim, signal.SIGKILL)
    await served.until(lambda: len(served.processes("receiving")) == 1)
    (alive,) = served.processes("receiving")
    (dead,) = rowless.keys() - {alive}
    await served.until(lambda: not blobs.begun_by(dead))
    assert blobs.begun_by(alive) == [rowless.pop(alive).name]
    (ended,) = served.events("process.ended")
    assert (ended["kind"], ended["pid"], ended["reason"]) == ("exchange", victim, "SIGKILL")
    whole = 0
    for _, file in files:
        # asyncssh says nothing of a CLOSE on a lost connection
        with suppress(asyncssh.Error, OSError):
            await file.stat()
            await file.close()
            whole += 1
    states = [state for state, _ in served.rows().values()]
    assert 0 < whole < MANY
    assert states.count("aborted") == MANY - whole
    await served.until(lambda: sum(state == "processed" for state, _ in served.rows().values()) >= 1)
    assert not served.processes("receiving")
    with served.opened.store.read() as conn:
        now = served.opened.clock.now()
        assert guard.sessions(conn, now).get("woonservice", 0) <= MANY, "those of the dead count no more"
    # its place is taken, and connections that come to it are served
    await served.until(lambda: len(served.pids("exchange")) == 2)
    while served.connections:
        await served.hang_up()
    for _ in range(MANY):
        await served.connect()
        await served.hang_up()
    assert served.stop() == 0


async def test_pipeline_and_scheduler_are_killed(served):
    """Others take their places: what was being processed is processed, and times and changes are minded again."""
    with served.opened.store.exclusive():
        # the pipeline waits for this lock, so that it is killed before it has done anything
        client = await served.connect()
        async with client.open("inbox/a.csv", "wb") as file:
            await file.write(CSV)
        for part in ("pipeline", "scheduler"):
            (victim,) = served.pids(part)
            os.kill(victim, signal.SIGKILL)
            await served.until(lambda part=part: served.events("process.ended", kind=part))
    await served.until(lambda: served.processes("processed"))
    await served.until(lambda: len(served.events("process.started", kind="scheduler")) == 2)
    served.add_partner("dezorgkas", OTHER)
    await served.until(lambda: (told := running(served.home)) is not None and told.generation == 2)
    await served.connect("dezorgkas", OTHER)
    while served.connections:
        await served.hang_up()
    assert served.stop() == 0


async def test_the_supervisor_is_killed(served):
    """No process outlives it; a new gateway starts at once, and gives up what the old ones were receiving."""
    await open_files(served)
    pids = [pid for part in ("exchange", "pipeline", "scheduler") for pid in served.pids(part)]
    assert len(pids) == 4
    served.stop(signal.SIGKILL)
    await served.start()
    assert not any(map(is_there, pids))
    assert [state for state, _ in served.rows().values()] == [DeliveryState.ABORTED] * MANY
    assert served.stop() == 0


async def test_sigterm_lets_both_end(served):
    """Nobody comes in any more; each file that is open comes to its CLOSE, in both processes."""
    files = await open_files(served)
    told = running(served.home)
    assert told
    served.daemon.terminate()

    async def is_closed() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", told.port)
        except ConnectionError:
            return True
        writer.close()
        return False

    async with asyncio.timeout(60):
        while not await is_closed():
            pass
    for _, file in files:
        await file.close()
    assert await asyncio.to_thread(served.daemon.wait, 60) == 0
    states = {state for state, _ in served.rows().values()}
    assert states <= {"arrived", "processed", "processing"}
    assert len(served.rows()) == MANY
    assert served.events("gateway.stopped")
    assert not served.events("process.ended")


def pauses_s(served: Served, part: str) -> list[float]:
    """How long nobody was in a part's place each time, in seconds."""
    ended = [datetime.fromisoformat(each["timestamp"]) for each in served.events("process.ended", kind=part)]
    started = [
        datetime.fromisoformat(each["timestamp"]) for each in served.events("process.started", kind=part)
    ]
    # the newest starts, one behind each end
    return [(at - before).total_seconds() for before, at in zip(ended, started[-len(ended) :], strict=True)]


async def test_a_process_that_stands_still_is_replaced(bare_home):
    """It is told of, killed, and another takes its place; the others go on meanwhile."""
    async with serving(bare_home, is_impatient=True) as served:
        still = {part: served.pids(part)[0] for part in ("exchange", "pipeline", "scheduler")}
        for pid in still.values():
            os.kill(pid, signal.SIGSTOP)
        for part, pid in still.items():
            await served.until(
                lambda part=part, pid=pid: served.events(
                    "process.ended", kind=part, pid=pid, reason="SIGKILL"
                )
            )
            assert served.events("process.stalled", kind=part, pid=pid)
        # all of them do what they are there for
        await served.until(lambda: len(served.pids("exchange")) == 2)
        for number in range(MANY):
            client = await served.connect()
            async with client.open(f"inbox/{number}.csv", "wb") as file:
                await file.write(CSV)
            await served.hang_up()
        assert len({process for _, process in served.rows().values()}) == 2
        await served.until(lambda: served.processes("processed"))
        served.add_partner("dezorgkas", OTHER)
        await served.until(lambda: (told := running(served.home)) is not None and told.generation == 2)
        assert served.stop() == 0


async def test_a_process_that_ends_again_and_again_is_started_ever_later(bare_home):
    """The pauses grow up to the longest, and as long as it gets as far as being ready it is never given up."""
    async with serving(bare_home, is_impatient=True) as served:
        for number in range(6):
            client = await served.connect()
            async with client.open(f"inbox/{number}.csv", "wb") as file:
                await file.write(CSV)
            await served.hang_up()
            # it was ready: it has done something
            await served.until(
                lambda number=number: (
                    len(served.rows()) == number + 1
                    and {state for state, _ in served.rows().values()} == {"processed"}
                )
            )
            (victim,) = served.pids("pipeline")
            os.kill(victim, signal.SIGKILL)
            await served.until(
                lambda number=number: len(served.events("process.started", kind="pipeline")) == number + 2
            )
        assert len(pauses_s(served, "pipeline")) == 6
        for pause, least in zip(pauses_s(served, "pipeline"), (0.1, 0.2, 0.4, 0.4, 0.4, 0.4), strict=True):
            assert pause >= least - 0.02
        assert served.stop() == 0


async def test_a_process_that_can_t_be_started_ends_all(bare_home):
    """Five times in a row, ever later; then the others end in order, and the exit says that something is wrong."""
    async with serving(bare_home, is_impatient=True) as served:
        served.home.host_key.rename(served.home.host_key.with_name("elsewhere"))
        os.kill(served.pids("exchange")[0], signal.SIGKILL)
        assert await asyncio.to_thread(served.daemon.wait, 60) == 1
        failed = served.events("process.failed", kind="exchange")
        assert len(failed) == 5
        assert all("host_ed25519" in each["error"] for each in failed)
        assert len(served.events("process.ended", kind="exchange")) == 6, "the one that was killed, and five"
        assert not served.events("process.ended", kind="pipeline")
        assert served.events("gateway.stopped")
        assert "the exchange process can't be started: the log says why" in served.logs[-1].read_text()
        # and when it is mended
        served.home.host_key.with_name("elsewhere").rename(served.home.host_key)
        await served.start()
        await served.connect()
        assert served.stop() == 0
