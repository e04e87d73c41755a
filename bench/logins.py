"""Logins by libssh2, many at a time in one process: a client that costs a quarter of what the server does.

asyncssh as the client needs as much of the processors as the servers that are compared, and OpenSSH's own five times as
much: whatever the server, what is measured then is mostly the client.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from ssh2.error_codes import LIBSSH2_ERROR_EAGAIN
from ssh2.exceptions import SSH2Error
from ssh2.session import LIBSSH2_SESSION_BLOCK_OUTBOUND, Session

from bench.servers import Server


def log_in(server: Server, key: Path, number: int, *, at_once: int) -> None:
    """Log in so many times, ask for a path, and leave; RuntimeError when one is refused."""
    secret = key.read_bytes()
    left = iter(range(number))
    with selectors.DefaultSelector() as selector:
        going = sum(_go_on(selector, _visit(server, secret)) for _ in zip(range(at_once), left, strict=False))
        while going:
            for found, _ in selector.select():
                selector.unregister(found.fileobj)
                if not _go_on(selector, found.data):
                    going -= 1
                    if next(left, None) is not None:
                        going += _go_on(selector, _visit(server, secret))


#: What a visit waits for: its socket, and whether that can be read or written.
_Waits = Generator[tuple[socket.socket, int], None, None]


def _go_on(selector: selectors.BaseSelector, visit: _Waits) -> bool:
    """Let a visit go on until it waits; False when it is over."""
    waits = next(visit, None)
    if waits is not None:
        selector.register(*waits, visit)
    return waits is not None


def _visit(server: Server, secret: bytes) -> _Waits:
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setblocking(False)
        session = Session()
        session.set_blocking(False)

        def done(step: Callable[[], Any]) -> Generator[tuple[socket.socket, int], None, Any]:
            while (found := step()) == LIBSSH2_ERROR_EAGAIN:
                is_writing = session.block_directions() & LIBSSH2_SESSION_BLOCK_OUTBOUND
                yield line, selectors.EVENT_WRITE if is_writing else selectors.EVENT_READ
            return found

        try:
            yield from done(lambda: session.handshake(line))
            yield from done(lambda: session.userauth_publickey_frommemory(server.user, secret))
            channel = yield from done(session.sftp_init)
            yield from done(lambda: channel.realpath("."))
            yield from done(session.disconnect)
        except SSH2Error as exc:
            raise RuntimeError(f"libssh2 at {server.name}: {type(exc).__name__} {exc}") from exc
