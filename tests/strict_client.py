"""OpenSSH as a partner that trusts no key it does not know: in a folder with its `key` and `known_hosts`."""

from __future__ import annotations

import asyncio
from pathlib import Path


async def sftp(folder: Path, user: str, port: int) -> str:
    """OpenSSH, which trusts its own known_hosts and nothing else, and learns keys where it may; what it said."""
    options = {
        "Port": port,
        "User": user,
        "IdentityFile": folder / "key",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "yes",
        "UserKnownHostsFile": folder / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    process = await asyncio.create_subprocess_exec(
        "sftp", "-F", "/dev/null", *words, "-b", "-", "127.0.0.1",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(b"ls\n")
    assert (process.returncode == 0) is (b"inbox" in out)
    return out.decode() + err.decode()


def known(folder: Path) -> set[str]:
    """The public keys that the client trusts."""
    lines = (folder / "known_hosts").read_text().splitlines()
    return {" ".join(line.split()[1:3]) for line in lines}
