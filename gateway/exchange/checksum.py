"""`sha256sum` and `md5sum` as commands over SSH, for a partner's own files: rclone compares with them.

No shell reads the command: its words are names in the partner's boxes, and nothing else. What is asked of
coreutils' output is kept: format, escapes, messages, exit status. A digest collects nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway import logs
from gateway.domain.partner import Box
from gateway.errors import VaultError
from gateway.exchange import download, inbox, reading_room
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.protocol import Refused, Status
from gateway.exchange.tree import Below, File, Folder, Root, resolve
from gateway.vault.objects import dispatched_file, received_file
from gateway.vault.stream import SealedReader

_log = logs.get("exchange")

#: Program -> digest. MD5 because rclone asks for it first; it tells a damaged file, and proves nothing.
PROGRAMS: Mapping[str, str] = {"sha256sum": "sha256", "md5sum": "md5"}
#: Names in one command.
MOST_NAMES = 64
#: The longest command that is looked at, in characters.
MOST_COMMAND_CHARACTERS = 8_192
#: Seconds that a program without a name waits for the end of its input.
INPUT_TIMEOUT_S = 10

_NO_FILE, _IS_FOLDER, _DAMAGED = "No such file or directory", "Is a directory", "Input/output error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program and the names that it is given; none: the digest of its input."""

    program: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command says, and its exit status."""

    out: str
    err: str
    status: int


def parse(command: str) -> Command | None:
    """The command, quoted as for a POSIX shell; None when it is any other than these, or has options."""
    if len(command) > MOST_COMMAND_CHARACTERS:
        return None
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation without an end
        return None
    program, names = (words[0], words[1:]) if words else ("", [])
    if program not in PROGRAMS or len(names) > MOST_NAMES:
        return None
    if names and names[0] == "--":
        del names[0]
    elif any(name.startswith("-") for name in names):
        return None
    return Command(program=program, names=tuple(names))


def line(digest: str, name: str) -> str:
    r"""A line of output: a name with `\`, newline or carriage return is escaped, and the line says so."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"


async def run(
    exchange: Exchange, visit: Visit, command: str, has_no_input: Callable[[], Awaitable[bool]]
) -> Outcome | None:
    """Carry out a command; None: it is refused.

    Args:
        exchange: what the session works with.
        visit: whose files are meant.
        command: as the client sent it.
        has_no_input: waits for the end of the command's input; False when there is some.
    """
    asked = parse(command)
    if asked is None:
        return None
    if not asked.names:  # rclone tries a program with nothing before it trusts it
        nothing = hashlib.new(PROGRAMS[asked.program], usedforsecurity=False).hexdigest()
        return Outcome(out=line(nothing, "-"), err="", status=0) if await has_no_input() else None
    out, err = [], []
    for name in asked.names:
        try:
            async with exchange.hashing:
                digest = await asyncio.to_thread(_digest, exchange, visit, PROGRAMS[asked.program], name)
            out.append(line(digest, name))
        except Refused as refusal:
            text = _NO_FILE if refusal.status is Status.NO_SUCH_FILE else refusal.text
            err.append(f"{asked.program}: {shlex.quote(name)}: {text}\n")
    _log.info(
        "checksum.ended",
        session_id=visit.session_id,
        partner_id=visit.partner.id,
        kind=asked.program,
        count=len(out),
    )
    return Outcome(out="".join(out), err="".join(err), status=1 if err else 0)


def _digest(exchange: Exchange, visit: Visit, algorithm: str, name: str) -> str:
    """The digest of a partner's own file, in hex. Blocking: runs in a thread. Raises Refused."""
    match resolve(visit.partner.role, name.encode()):
        case File(Box.INBOX, file_name):
            return _of_received(exchange, visit, algorithm, file_name)
        case File(box, file_name):
            return _of_dispatch(exchange, visit, algorithm, box, file_name)
        case Below(path):
            document = reading_room.document(exchange, visit, path)
            if document is not None:
                return hashlib.new(algorithm, document.data, usedforsecurity=False).hexdigest()
            reading_room.listing(exchange, visit, path)  # raises when it is no folder either
            raise Refused(Status.FAILURE, _IS_FOLDER)
        case Root() | Folder():
            raise Refused(Status.FAILURE, _IS_FOLDER)
        case _:
            raise Refused(Status.NO_SUCH_FILE)


def _of_received(exchange: Exchange, visit: Visit, algorithm: str, name: str) -> str:
    file = inbox.newest(exchange, visit, name)
    if file is None or file.blob is None or file.raw_gone_at is not None:
        raise Refused(Status.NO_SUCH_FILE)
    associated = received_file(partner=visit.partner.id, delivery=file.id)
    try:
        return _of_blob(exchange, visit, algorithm, (file.id, file.blob), associated)
    except VaultError as exc:
        _log.error("blob.damaged", delivery_id=file.id, partner_id=visit.partner.id, error=str(exc))
        raise Refused(Status.FAILURE, _DAMAGED) from exc


def _of_dispatch(exchange: Exchange, visit: Visit, algorithm: str, box: Box, name: str) -> str:
    file = download.find(exchange, visit, box, name)
    if file is None:
        raise Refused(Status.NO_SUCH_FILE)
    associated = dispatched_file(
        partner=file.partner_id, delivery=file.delivery_id, dispatch=file.id, kind=file.kind
    )
    try:
        return _of_blob(exchange, visit, algorithm, (file.id, file.blob), associated)
    except VaultError as exc:
        _log.error("blob.damaged", dispatch_id=file.id, partner_id=visit.partner.id, error=str(exc))
        raise Refused(Status.FAILURE, _DAMAGED) from exc


def _of_blob(
    exchange: Exchange, visit: Visit, algorithm: str, stored: tuple[str, str], associated: bytes
) -> str:
    """Every segment is authenticated; the digest is told when all were."""
    object_id, blob_name = stored
    with exchange.store.read() as conn:
        key = inbox.data_key(exchange, conn, visit.partner.id, object_id)
    if key is None:
        raise Refused(Status.NO_SUCH_FILE)
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with exchange.blobs.open(blob_name) as blob:
        for piece in SealedReader(key.file_key(object_id), associated, blob.read_at, blob.size).chunks():
            digest.update(piece)
    return digest.hexdigest()
