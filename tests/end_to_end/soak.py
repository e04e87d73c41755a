"""Many short sessions against a gateway in a process of its own: does its memory stay flat? Not part of the suite.

    python tests/end_to_end/soak.py [SESSIONS] [AT_ONCE]

Each session logs in, uploads 2 KiB, lists its inbox, removes the file and leaves; every hundredth is OpenSSH's sftp, the
others asyncssh in processes of their own. At the end, AT_ONCE sessions are open at the same time and each uploads a
file. Prints the gateway's resident memory before, after every thousand, and at the end.
"""

# ruff: noqa: T201  # what it prints is what it is for

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncssh

CLIENTS = 2
OPEN_AT_ONCE = 4
FILE = b"x" * 2048


def gateway(home: Path, *words: str | Path) -> None:
    """A command of an administrator."""
    subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=home
    )


def rss_mb(pid: int) -> float:
    """Resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def connect(port: int, key: Path) -> asyncssh.connection._ACMWrapper:
    """A connection of the one partner."""
    return asyncssh.connect(
        "127.0.0.1",
        port,
        username="woonservice",
        client_keys=[str(key)],
        known_hosts=None,
        agent_path=None,
        config=[],
    )


async def session(port: int, key: Path, name: str, reached: asyncio.Barrier | None = None) -> None:
    """One session; with a barrier, it waits until all are open."""
    async with connect(port, key) as connection, connection.start_sftp_client() as sftp:
        if reached is not None:
            await reached.wait()
        async with sftp.open(f"inbox/{name}", "wb") as file:
            await file.write(FILE)
        if name not in await sftp.listdir("inbox"):
            raise AssertionError("what was received is not listed")
        await sftp.remove(f"inbox/{name}")


async def openssh(port: int, key: Path, name: str) -> None:
    """The same with OpenSSH."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR")
    words = [word for option in options for word in ("-o", option)]
    process = await asyncio.create_subprocess_exec(
        *("sftp", "-F", "/dev/null", *words, "-P", str(port), "-i", str(key), "-b", "-"),
        "woonservice@127.0.0.1",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    source = key.with_name("file")
    await process.communicate(f"put {source} inbox/{name}\nls inbox\nrm inbox/{name}\n".encode())
    if process.returncode:
        raise AssertionError(f"sftp ended with {process.returncode}")


def client(port: int, key: Path, number: int, todo: int) -> None:
    """A process that does its share of sessions, some at a time."""

    async def share() -> None:
        free = asyncio.Semaphore(OPEN_AT_ONCE)

        async def one(turn: int) -> None:
            async with free:
                do = openssh if turn % 100 == 0 else session
                await do(port, key, f"{number}-{turn}.csv")

        async with asyncio.TaskGroup() as group:
            for turn in range(todo):
                group.create_task(one(turn))

    asyncio.run(share())


def all_at_once(port: int, key: Path, pid: int, count: int) -> None:
    """Sessions that are all open before the first one uploads."""

    async def gathered() -> None:
        reached, logging_in = asyncio.Barrier(count + 1), asyncio.Semaphore(50)

        async def one(number: int) -> None:
            async with logging_in:
                connection = await connect(port, key)
            async with connection, connection.start_sftp_client() as sftp:
                await reached.wait()
                async with sftp.open(f"inbox/once-{number}.csv", "wb") as file:
                    await file.write(FILE)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
            await reached.wait()
            print(f"{count} sessions open: {rss_mb(pid):.1f} MB", flush=True)
            began = time.monotonic()
        print(
            f"{count} files received at once: {rss_mb(pid):.1f} MB, {time.monotonic() - began:.1f} s",
            flush=True,
        )

    asyncio.run(gathered())


def main(sessions: int, at_once: int) -> int:
    """The whole run, in a folder of its own."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        home, key = root / "home", root / "woonservice.key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        key.with_name("file").write_bytes(FILE)
        gateway(root, "init", home)
        told = ("--role", "creditor", "--sector", "Huur", "--key", f"{key}.pub")
        gateway(root, "--home", home, "partner", "add", "woonservice", *told)
        path = home / "config" / "partners" / "woonservice.toml"
        told = "[limits]\nsessions = 1000\nfiles_per_day = 1000000\n"
        path.write_text(path.read_text().replace("[limits]", told, 1))
        words = ("--home", str(home), "serve", "--host", "127.0.0.1", "--port", "0")
        status = home / "data" / "run" / "gateway.json"
        with (
            (root / "log").open("wb") as log,
            subprocess.Popen([sys.executable, "-m", "gateway", *words], stderr=log) as served,
        ):
            while not status.exists():
                if served.poll() is not None:
                    raise AssertionError((root / "log").read_text())
                time.sleep(0.05)
            port, began = json.loads(status.read_text())["port"], time.monotonic()
            print(f"before: {rss_mb(served.pid):.1f} MB", flush=True)
            for done in range(0, sessions, 1000):
                todo = min(1000, sessions - done)
                shares = [todo // CLIENTS + (number < todo % CLIENTS) for number in range(CLIENTS)]
                clients = [
                    multiprocessing.Process(target=client, args=(port, key, done + number, share))
                    for number, share in enumerate(shares)
                ]
                for each in clients:
                    each.start()
                for each in clients:
                    each.join()
                    if each.exitcode:
                        raise AssertionError("a client failed")
                spent = time.monotonic() - began
                print(f"{done + todo:,} sessions: {rss_mb(served.pid):.1f} MB, {spent:.0f} s", flush=True)
            if at_once:
                all_at_once(port, key, served.pid, at_once)
                time.sleep(2)
            print(f"after: {rss_mb(served.pid):.1f} MB", flush=True)
            served.terminate()
            failed = served.wait()
        print(f"errors in the log: {(root / 'log').read_text().count('error')}; exit {failed}", flush=True)
        return failed


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(numbers + [10_000, 500][len(numbers) :])))
