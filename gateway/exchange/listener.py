"""The SSH listener: pinned algorithms, public keys only, nothing but SFTP sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from socket import socket

import asyncssh

from gateway import logs
from gateway.domain.partner import Partner
from gateway.exchange import transport
from gateway.exchange.algorithms import LEGACY, MODERN, SIGNATURES, Profile
from gateway.exchange.context import Exchange
from gateway.exchange.guard import LOOK_S, Guard
from gateway.exchange.login import Login, signer
from gateway.exchange.session import Traffic
from gateway.exchange.sockets import BACKLOG, bind

#: A peer that answers none of three questions, half a minute apart, is gone.
KEEPALIVE_S, KEEPALIVE_COUNT = 30, 3
#: Seconds that open files have to come to their CLOSE when the gateway stops.
GRACE_S = 10

_log = logs.get("exchange")


class Listener:
    """An open listener, and the one for products of yesterday where there is one: ports, and how to close them."""

    def __init__(
        self,
        acceptors: Sequence[asyncssh.SSHAcceptor],
        legacy: Sequence[asyncssh.SSHAcceptor],
        traffic: Traffic,
        guard: Guard,
    ) -> None:
        self._own, self._legacy, self._traffic, self._guard = acceptors, legacy, traffic, guard
        self._watches = [asyncio.create_task(guard.watch()), asyncio.create_task(_watch(traffic))]
        for watch in self._watches:
            watch.add_done_callback(_tell)
        #: the port that was asked for, or the free one that was found
        self.port: int = acceptors[0].get_port()
        #: the same of the legacy listener; None where there is none
        self.legacy_port: int | None = legacy[0].get_port() if legacy else None

    def show_host_keys(self, host_keys: Sequence[Path], legacy: Sequence[Path] = ()) -> None:
        """From the next connection on, prove and announce these keys; the second are for the legacy listener."""
        for acceptor in self._own:
            acceptor.update(server_host_keys=[str(path) for path in host_keys])
        for acceptor in self._legacy:
            acceptor.update(server_host_keys=[str(path) for path in legacy])

    def cut_ended(self, partners: Mapping[str, Partner], now: datetime) -> int:
        """End every connection whose key is its partner's no more, or has expired; how many there were.

        A file under way is ABORTED (spec 1, Partners).
        """
        ended = [
            (connection, visit)
            for connection, visit in self._traffic.visits.items()
            if signer(partners, visit.partner.id, visit.fingerprint, now) is None
        ]
        for connection, visit in ended:
            _log.info(
                "session.revoked",
                session_id=visit.session_id,
                partner_id=visit.partner.id,
                fingerprint=visit.fingerprint,
            )
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "This key is not valid any more")
        return len(ended)

    async def close(self) -> None:
        """Accept nobody, let files that are open come to their CLOSE for a while, end every session.

        A CLOSE under way is carried through and answered; what is not closed in time is not received.
        """
        for acceptor in self._acceptors():
            acceptor.close()
        await self._end_sessions(at_once=False)
        await self._end_sessions(at_once=True)
        for connection in list(self._traffic.connections):
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "The gateway stops")
        for acceptor in self._acceptors():
            await acceptor.wait_closed()
        for watch in self._watches:
            watch.cancel()
        await asyncio.wait(self._watches)
        await self._guard.look()
        await self._traffic.key_uses.settle()

    def _acceptors(self) -> list[asyncssh.SSHAcceptor]:
        return [*self._own, *self._legacy]

    async def _end_sessions(self, *, at_once: bool) -> None:
        sessions = list(self._traffic.sessions)
        for session in sessions:
            session.stop(at_once=at_once)
        ends = [asyncio.ensure_future(session.wait_ended()) for session in sessions]
        if ends:
            await asyncio.wait(ends, timeout=None if at_once else GRACE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where to listen, and the files with private host keys: the first of each kind is proved, all are announced."""

    host: str
    #: TCP port; 0 takes a free one
    port: int
    host_keys: Sequence[Path]
    #: bound to it already, by `sockets.bind`; none: they are bound when it is opened
    sockets: Sequence[socket] = ()


async def listen(
    exchange: Callable[[], Exchange],
    *,
    host: str,
    port: int,
    host_keys: Sequence[Path],
    sockets: Sequence[socket] = (),
    legacy: Door | None = None,
) -> Listener:
    """Listen for partners.

    Args:
        exchange: what sessions work with, asked at each connection: it goes on with that to its end.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        host_keys: files with private host keys: the first is proved, all are announced.
        sockets: bound to that address already; none: they are bound here.
        legacy: a second door, for products that know no algorithm of the first.

    Raises:
        OSError: a port is taken, or a key can't be read.
    """
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # its lines quote commands and names
    traffic, guard = Traffic(), Guard(exchange)
    await guard.look()  # who was closed out before the start still is
    door = Door(host=host, port=port, host_keys=host_keys, sockets=sockets)
    acceptors = await _accept(exchange, traffic, guard, MODERN, door)
    second: list[asyncssh.SSHAcceptor] = []
    try:
        if legacy is not None:
            second = await _accept(exchange, traffic, guard, LEGACY, legacy)
    except OSError:
        for acceptor in acceptors:
            acceptor.close()
        raise
    return Listener(acceptors, second, traffic, guard)


async def _accept(
    exchange: Callable[[], Exchange], traffic: Traffic, guard: Guard, profile: Profile, door: Door
) -> list[asyncssh.SSHAcceptor]:
    options = await asyncssh.SSHServerConnectionOptions.construct(
        server_factory=lambda: Login(exchange(), traffic, guard),
        server_host_keys=[str(path) for path in door.host_keys],
        # hostkeys-00@openssh.com: clients that can, learn the next key while this one vouches for it
        send_server_host_keys=True,
        server_version="gateway",
        config=[],
        kex_algs=profile.kex,
        encryption_algs=profile.ciphers,
        mac_algs=profile.macs,
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
    sockets = door.sockets or bind(door.host, door.port, 1)[0]
    if asyncssh.__version__ == transport.ASYNCSSH:
        return [await transport.listen(each, options) for each in sockets]
    _log.warning("transport.replaced", reason=f"asyncssh {asyncssh.__version__}, not {transport.ASYNCSSH}")
    return [await asyncssh.listen(sock=each, backlog=BACKLOG, options=options) for each in sockets]


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
