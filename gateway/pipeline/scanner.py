"""A virus scanner beside the gateway: clamd, on a socket of this machine (BIO2 8.07.04; spec 2, F10).

A received file is streamed to it, decrypted, before its first row is read. The gateway fails closed: while the scanner
doesn't answer, files wait in the queue. clamd's protocol is `man clamd`: a command ends with NUL, a stream is chunks of
u32be length || bytes and ends with a length of 0.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from gateway.errors import DeliveryError, ScannerError

#: How long it may take over one step: real signatures look long at a big archive.
STEP_S = 120.0
#: How long it may take to say that it is there.
ANSWER_S = 5.0
_MOST_REPLY = 4_096


def answers(path: Path) -> bool:
    """Whether the scanner is there and takes commands."""
    try:
        with _connect(path, ANSWER_S) as scanner:
            scanner.sendall(b"zPING\0")
            return _reply(scanner) == "PONG"
    except OSError:
        return False


def scan(path: Path, chunks: Iterable[bytes]) -> None:
    """Have a file looked at.

    Args:
        path: clamd's socket.
        chunks: the whole file.

    Raises:
        DeliveryError: F10, something was found.
        ScannerError: the scanner does not say that the file is clean.
    """
    try:
        with _connect(path, STEP_S) as scanner:
            scanner.sendall(b"zINSTREAM\0")
            for chunk in chunks:
                scanner.sendall(struct.pack(">I", len(chunk)) + chunk)
            scanner.sendall(struct.pack(">I", 0))
            reply = _reply(scanner)
    except OSError as exc:
        raise ScannerError(
            f"{path}: the virus scanner broke off: {exc.strerror or type(exc).__name__}"
        ) from exc
    if reply.endswith(" FOUND"):
        raise DeliveryError("F10")
    if reply != "stream: OK":
        raise ScannerError(
            f"{path}: the virus scanner did not look at the whole file; is StreamMaxLength in clamd.conf smaller "
            "than [limits] file?"
        )


def _connect(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _reply(scanner: socket.socket) -> str:
    reply = b""
    while b"\0" not in reply and len(reply) < _MOST_REPLY and (part := scanner.recv(_MOST_REPLY)):
        reply += part
    return reply.partition(b"\0")[0].decode("ascii", "replace")
