"""Real clients: OpenSSH's sftp, and for sessions by the thousand asyncssh in processes of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.servers import Server

OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR")


def sftp(server: Server, key: Path, lines: Sequence[str], *, cipher: str = "") -> subprocess.Popen[str]:
    """OpenSSH's sftp with these commands, begun."""
    words = [word for option in OPTIONS for word in ("-o", option)]
    if cipher:
        words += ["-c", cipher]
    process = subprocess.Popen(
        [
            "sftp",
            "-F",
            "/dev/null",
            *words,
            "-P",
            str(server.port),
            "-i",
            str(key),
            "-b",
            "-",
            f"{server.user}@127.0.0.1",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("".join(f"{line}\n" for line in lines))
    process.stdin.close()
    process.stdin = None
    return process


def finish(*processes: subprocess.Popen[str]) -> None:
    """Wait for clients; RuntimeError when one failed."""
    for process in processes:
        _, told = process.communicate()
        if process.returncode:
            raise RuntimeError(f"sftp ended with {process.returncode}: {told.strip()}")
