"""The SSH listener: pinned algorithms, public keys only, nothing but SFTP sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncssh

from gateway import logs
from gateway.exchange.context import Exchange
from gateway.exchange.guard import LOOK_S, Guard
from gateway.exchange.login import Login
from gateway.exchange.session import Traffic

_log = logs.get("exchange")

# reference/security.md 7.1: ssh-audit finds no failure with these and an Ed25519 host key.
KEX = ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org")
CIPHERS = (
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
)
MACS = (
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    # curl with libssh2 before 1.11, Debian 12's, knows no others; to ssh-audit a warning, no failure
    "hmac-sha2-512",
    "hmac-sha2-256",
)
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

#: A peer that answers none of three questions, half a minute apart, is gone.
KEEPALIVE_S, KEEPALIVE_COUNT = 30, 3


#: Seconds that open files have to come to their CLOSE when the gateway stops.
GRACE_S = 10


class Listener:
    """An open listener: its port, and how to close it."""

    def __init__(self, acceptor: asyncssh.SSHAcceptor, traffic: Traffic, guard: Guard) -> None:
        self._acceptor, self._traffic, self._guard = acceptor, traffic, guard
        self._watches = [asyncio.create_task(guard.watch()), asyncio.create_task(_watch(traffic))]
        for watch in self._watches:
            watch.add_done_callback(_tell)
        #: the port that was asked for, or the free one that was found
        self.port: int = acceptor.get_port()

    async def close(self) -> None:
        """Accept nobody, let files that are open come to their CLOSE for a while, end every session.

        A CLOSE under way is carried through and answered; what is not closed in time is not received.
        """
        self._acceptor.close()
        await self._end_sessions(at_once=False)
        await self._end_sessions(at_once=True)
        for connection in list(self._traffic.connections):
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "The gateway stops")
        await self._acceptor.wait_closed()
        for watch in self._watches:
            watch.cancel()
        await asyncio.wait(self._watches)
        await self._guard.look()

    async def _end_sessions(self, *, at_once: bool) -> None:
        sessions = list(self._traffic.sessions)
        for session in sessions:
            session.stop(at_once=at_once)
        ends = [asyncio.ensure_future(session.wait_ended()) for session in sessions]
        if ends:
            await asyncio.wait(ends, timeout=None if at_once else GRACE_S)


async def listen(
    exchange: Callable[[], Exchange], *, host: str, port: int, host_keys: Sequence[Path]
) -> Listener:
    """Listen for partners.

    Args:
        exchange: what sessions work with, asked at each connection: it goes on with that to its end.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        host_keys: files with private host keys, Ed25519.

    Raises:
        OSError: the port is taken, or a key can't be read.
    """
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # its lines quote commands and names
    traffic, guard = Traffic(), Guard(exchange)
    await guard.look()  # who was closed out before the start still is
    acceptor = await asyncssh.listen(
        host,
        port,
        server_factory=lambda: Login(exchange(), traffic, guard),
        server_host_keys=[str(path) for path in host_keys],
        server_version="gateway",
        config=[],
        kex_algs=KEX,
        encryption_algs=CIPHERS,
        mac_algs=MACS,
        compression_algs=None,
        signature_algs=SIGNATURES,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        gss_kex=False,
        gss_auth=False,
        x509_trusted_certs=None,
        allow_pty=False,
        line_editor=False,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        encoding=None,
        login_timeout=None,  # Login has one that follows the settings
        keepalive_interval=KEEPALIVE_S,
        keepalive_count_max=KEEPALIVE_COUNT,
    )
    return Listener(acceptor, traffic, guard)


async def _watch(traffic: Traffic) -> None:
    """End sessions that stand still, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        for session in list(traffic.sessions):
            session.look(LOOK_S)


def _tell(watch: asyncio.Task[None]) -> None:
    """A watch that ends by itself leaves the door unguarded: that must be seen."""
    if not watch.cancelled() and (exc := watch.exception()) is not None:
        _log.error("guard.failed", error_type=type(exc).__name__)
