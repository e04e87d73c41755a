"""Knocks at a gateway's own door: who answers there?"""

from __future__ import annotations

import asyncio

import asyncssh


async def answering_host_key(host: str, port: int, timeout_s: float) -> str:
    """The `SHA256:…` fingerprint of the host key that a server proves to hold at an address; nobody logs in.

    Raises:
        OSError: nobody answers there, or not with SSH, or not in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            key = await asyncssh.get_server_host_key(host, port, config=None)
    except (asyncssh.Error, TimeoutError) as exc:
        raise OSError(f"no answer over SSH ({type(exc).__name__})") from exc
    if key is None:
        raise OSError("it shows no host key")
    return key.get_fingerprint()
