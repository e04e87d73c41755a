"""`python -m tests.conformance`: our SFTP session over real files, for public test suites. Loopback only."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

import asyncssh

from gateway import logs
from gateway.domain.guard import GuardTerms
from gateway.domain.partner import Partner, Role
from gateway.exchange.context import Visit
from gateway.exchange.keys import create_host_key
from gateway.exchange.algorithms import MODERN, SIGNATURES
from gateway.exchange.session import SFTPSession, Traffic
from tests.conformance.files import RealTree


def visit(client: str) -> Visit:
    """Whose session it is: nobody's."""
    tester = Partner(id="tester", name="Tester", role=Role.CREDITOR)
    return Visit(partner=tester, fingerprint="", address="127.0.0.1", client=client, session_id="S0")


class Door(asyncssh.SSHServer):
    """Whoever holds the key of the server itself comes in, under any user name."""

    def __init__(self, key: asyncssh.SSHKey, root: str, traffic: Traffic) -> None:
        self._key, self._root, self._traffic = key, root, traffic

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key.public_data == self._key.public_data

    def session_requested(self) -> Any:
        client = self._connection.get_extra_info("client_version", "")
        session = SFTPSession(
            RealTree(self._root), visit(client), self._traffic, lambda _session: None, GuardTerms()
        )
        return self._connection.create_server_channel(encoding=None), session


async def over_ssh(host: str, port: int, key_file: Path, root: str) -> None:
    """Serve until the process is ended."""
    if not key_file.exists():
        create_host_key(key_file)
    key, traffic = asyncssh.read_private_key(key_file), Traffic()
    acceptor = await asyncssh.listen(
        host,
        port,
        server_factory=lambda: Door(key, root, traffic),
        server_host_keys=[key],
        config=[],
        kex_algs=MODERN.kex,
        encryption_algs=MODERN.ciphers,
        mac_algs=MODERN.macs,
        signature_algs=SIGNATURES,
        compression_algs=None,
        password_auth=False,
        kbdint_auth=False,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        encoding=None,
    )
    public = key.export_public_key("openssh").decode().strip()
    print(f"[{host}]:{acceptor.get_port()} {public}", flush=True)  # a line of known_hosts
    await acceptor.wait_closed()


class Pipe:
    """The channel of a session whose client is at the other end of standard input and output."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.may_read.set()

    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.may_read.clear()

    def resume_reading(self) -> None:
        self.may_read.set()

    def exit(self, status: int) -> None:
        """The process ends by itself."""

    def get_connection(self) -> Pipe:
        return self

    def disconnect(self, _code: int, reason: str) -> None:
        sys.exit(reason)


async def over_stdio(root: str, *, is_read_only: bool) -> None:
    """One session on standard input and output, as `sftp-server` has it."""
    start = "/" + os.path.relpath(Path.cwd(), root) if Path.cwd().is_relative_to(root) else "/"
    pipe: Any = Pipe()
    session = SFTPSession(
        RealTree(root, start, is_read_only), visit("stdio"), Traffic(), lambda _session: None, GuardTerms()
    )
    session.connection_made(pipe)
    session.subsystem_requested("sftp")
    session.session_started()
    while data := await asyncio.to_thread(os.read, 0, 1 << 16):  # a client may give one socket for both
        session.data_received(data, None)
        await pipe.may_read.wait()
    session.eof_received()
    await session.wait_ended()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="what the client sees as /")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, which is printed")
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="host key and login key, made if it is not there"
    )
    parser.add_argument("--stdio", action="store_true", help="one session on standard input and output")
    parser.add_argument(
        "-R", dest="is_read_only", action="store_true", help="with --stdio: nothing is written"
    )
    options, _ = parser.parse_known_args()  # what a suite passes to sftp-server is not for us
    logs.set_up(level="ERROR")
    root = str(options.root.resolve(strict=True))
    if options.stdio:
        asyncio.run(over_stdio(root, is_read_only=options.is_read_only))
        return
    if not ipaddress.ip_address(options.host).is_loopback:
        parser.error(
            f"--host {options.host}: only a loopback address: everything can be read and written here"
        )
    if options.key is None:
        parser.error("--key FILE is needed")
    asyncio.run(over_ssh(options.host, options.port, options.key, root))


if __name__ == "__main__":
    main()
