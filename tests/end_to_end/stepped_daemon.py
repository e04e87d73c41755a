"""A daemon in a process of its own, whose clock another process moves, so that a test can kill it.

    python stepped_daemon.py HOME AT        AT is an ISO instant

It says its port when it is ready; then each line of standard input is an instant to move to, and is answered with `ok`.
Keys are made ahead on each new day, as the daemon does every night; nothing else is done at set times, so that nothing
is let go of.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path

from gateway import logs
from gateway.clock import SteppedClock, local_day
from gateway.daemon import Daemon
from gateway.gateway import open_gateway


async def main(home: Path, at: datetime) -> None:
    """Run until standard input ends."""
    logs.set_up(json=True, level="ERROR")
    clock = SteppedClock(at)
    gateway = open_gateway(home, clock)
    daemon = Daemon(gateway)
    daemon.schedule.jobs = ()
    await daemon.start(host="127.0.0.1", port=0)
    sys.stdout.write(f"{daemon.port}\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        before = local_day(clock.now())
        clock.set(datetime.fromisoformat(line.strip()))
        if local_day(clock.now()) != before:
            await asyncio.to_thread(gateway.make_keys)
        sys.stdout.write("ok\n")
        sys.stdout.flush()
    await daemon.stop()
    gateway.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])))
