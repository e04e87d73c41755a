"""A real listener on a free loopback port, over a real store and vault in the test's own folder."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest
import uvloop
from sqlalchemy import insert, select, update

from gateway.clock import SteppedClock
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Partner, PartnerKey, Role
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.conversation import Conversation
from gateway.exchange.keys import create_host_key, parse_public_key
from gateway.exchange.listener import Listener, listen
from gateway.exchange.session import SFTPSession, Traffic
from gateway.store import data_keys
from gateway.store.engine import Store
from gateway.store.tables import AuditEntry, Delivery, Dispatch
from gateway.vault.blobs import BlobFolder
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.ids import new_id
from gateway.vault.index import Indexer
from gateway.vault.key_ids import index_id, until_id
from gateway.vault.keyring import Keyring
from gateway.vault.objects import dispatched_file, open_name, received_file
from gateway.vault.stream import SealedReader, Sealer

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@dataclass
class Finished:
    """How a client ended."""

    status: int
    out: str
    err: str


@dataclass
class House:
    """The gateway's parts, and what a test wants to know of them."""

    path: Path
    exchange: Exchange
    clock: SteppedClock
    wakes: list[int]
    partners: dict[str, Partner]
    listener: Listener | None = None
    keys: dict[str, Path] = field(default_factory=dict)

    @property
    def port(self) -> int:
        assert self.listener
        return self.listener.port

    def rows(self) -> list[dict]:
        """Every delivery, in order of OPEN."""
        table = Delivery.__table__
        with self.exchange.store.read() as conn:
            return [dict(row) for row in conn.execute(select(table).order_by(table.c.opened_at)).mappings()]

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]

    def dispatch(self, dispatch_id: str) -> dict:
        table = Dispatch.__table__
        with self.exchange.store.read() as conn:
            return dict(conn.execute(select(table).where(table.c.id == dispatch_id)).mappings().one())

    def set_dispatch(self, dispatch_id: str, **values: object) -> None:
        table = Dispatch.__table__
        with self.exchange.store.write() as conn:
            conn.execute(update(table).where(table.c.id == dispatch_id).values(**values))

    def actions(self) -> list[str]:
        """The actions of the audit log, in order."""
        table = AuditEntry.__table__
        with self.exchange.store.read() as conn:
            entries = conn.execute(select(table.c.entry).order_by(table.c.id)).scalars()
            return [text.split('"action":"')[1].split('"')[0] for text in map(bytes.decode, entries)]

    def key_of(self, partner: str, object_id: str) -> DataKey | None:
        with self.exchange.store.read() as conn:
            stored = data_keys.of_object(conn, object_id)
        if stored is None:
            return None
        wrapped = WrappedKey(
            key_id=stored.key_id,
            key_version=stored.key_version,
            wrapped=stored.wrapped,
            commitment=stored.commitment,
        )
        return unwrap(self.exchange.keyring, wrapped, partner=partner, object_id=object_id)

    def received(self, row: dict) -> bytes:
        """The plaintext of a delivery."""
        key = self.key_of(row["partner_id"], row["id"])
        assert key
        associated = received_file(partner=row["partner_id"], delivery=row["id"])
        with self.exchange.blobs.open(row["blob"]) as blob:
            reader = SealedReader(key.file_key(row["id"]), associated, blob.read_at, blob.size)
            return b"".join(reader.chunks())

    def name(self, row: dict) -> str:
        key = self.key_of(row["partner_id"], row["id"])
        assert key
        return open_name(key.row_key(), row["id"], row["name_sealed"])

    def blob_files(self) -> list[str]:
        return sorted(path.name for path in (self.path / "blobs").iterdir())

    def place(self, partner: str, box: str, name: str, content: bytes, **values: object) -> str:
        """Put a sealed dispatch into a partner's box; its id."""
        exchange, dispatch_id = self.exchange, new_id("U", 16)
        key, kind = DataKey.generate(), DispatchKind.MELDINGEN
        writer = exchange.blobs.create()
        associated = dispatched_file(partner=partner, delivery=None, dispatch=dispatch_id, kind=kind)
        sealer = Sealer(key.file_key(dispatch_id), associated, writer.write)
        sealer.write(content)
        sealer.finish()
        writer.commit()
        due_on = date(2027, 5, 22)
        wrapped = wrap(exchange.keyring, until_id(due_on), key, partner=partner, object_id=dispatch_id)
        with exchange.store.write() as conn:
            data_keys.add(
                conn,
                object_id=dispatch_id,
                partner_id=partner,
                due_on=due_on,
                key_id=wrapped.key_id,
                key_version=wrapped.key_version,
                wrapped=wrapped.wrapped,
                commitment=wrapped.commitment,
            )
            row = {
                "id": dispatch_id,
                "partner_id": partner,
                "box": box,
                "name": name,
                "kind": kind,
                "state": "ready",
                "blob": writer.name,
                "size_bytes": len(content),
                "sealed_bytes": sealer.sealed_bytes,
                "sealed_sha256": sealer.sha256(),
                "created_at": NOW,
                "due_on": due_on,
            }
            conn.execute(insert(Dispatch.__table__).values(**row | values))
        return dispatch_id

    def new_key(self, name: str, algorithm: str = "ssh-ed25519", **options: object) -> tuple[str, str]:
        """Make a key pair of a partner; the public line and the fingerprint."""
        key = asyncssh.generate_private_key(algorithm, **options)
        path = self.path / f"{name}.key"
        path.write_bytes(key.export_private_key("openssh"))
        path.chmod(0o600)
        self.keys[name] = path
        return parse_public_key(key.export_public_key("openssh").decode())

    def ssh_options(self, user: str, key: str | None = None) -> list[str]:
        options = {
            "Port": self.port,
            "User": user,
            "IdentityFile": self.keys[key or user],
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.path / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "ConnectTimeout": 10,
        }
        return [
            "-F",
            "/dev/null",
            *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        ]

    async def run(self, *command: str | Path, stdin: str = "") -> Finished:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            cwd=self.path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        return Finished(process.returncode or 0, out.decode(), err.decode())

    async def sftp(self, user: str, *commands: str, key: str | None = None) -> Finished:
        """OpenSSH's sftp in batch mode."""
        batch = "\n".join(commands) + "\n"
        return await self.run("sftp", *self.ssh_options(user, key), "-b", "-", "127.0.0.1", stdin=batch)

    def file(self, name: str, content: bytes) -> Path:
        """A file on the partner's side."""
        path = self.path / "partner" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    @asynccontextmanager
    async def raw(self, user: str, key: str | None = None) -> AsyncIterator[Raw]:
        """A session of raw packets, after INIT."""
        async with self.connect(user, key) as connection:
            writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None)
            raw = Raw(writer, reader)
            await raw.init()
            yield raw

    @asynccontextmanager
    async def without_network(self, user: str) -> AsyncIterator[Raw]:
        """A session of raw packets in this process: the real session, with a buffer for a channel."""
        partner = self.partners[user]
        visit = Visit(partner=partner, fingerprint="", address="127.0.0.1", client="test", session_id="S1")
        channel = Buffer()
        session = SFTPSession(
            Conversation(self.exchange, visit), visit, Traffic(), lambda _session: None, self.exchange.guard
        )
        session.connection_made(channel)
        assert session.subsystem_requested("sftp")
        session.session_started()
        raw = Raw(Sender(lambda data: session.data_received(data, None)), channel.replies)
        await raw.init()
        try:
            yield raw
        finally:
            session.eof_received()
            await session.wait_ended()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so: what the far end does has no other signal here."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def connect(
        self, user: str, key: str | None = None, **options: object
    ) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """An asyncssh client connection."""
        async with asyncssh.connect(
            "127.0.0.1",
            self.port,
            username=user,
            client_keys=[str(self.keys[key or user])],
            known_hosts=str(self.path / "known_hosts"),
            agent_path=None,
            config=[],
            **options,
        ) as connection:
            yield connection


class Buffer:
    """A channel without a network: what the session writes can be read."""

    def __init__(self) -> None:
        self.replies = asyncio.StreamReader()

    def write(self, data: bytes) -> None:
        self.replies.feed_data(data)

    def is_closing(self) -> bool:
        return False

    def exit(self, _status: int) -> None:
        self.replies.feed_eof()


@dataclass
class Sender:
    """A client's end of a channel without a network."""

    write: Callable[[bytes], None]


@dataclass
class Reply:
    """A reply: its kind, and what follows the request id."""

    kind: int
    body: bytes

    @property
    def status(self) -> int:
        """The code of a STATUS reply; 0 for a reply that carries something."""
        return struct.unpack(">I", self.body[:4])[0] if self.kind == STATUS else 0

    @property
    def text(self) -> str:
        (length,) = struct.unpack(">I", self.body[4:8])
        return self.body[8 : 8 + length].decode()

    @property
    def string(self) -> bytes:
        """The handle or data that it carries."""
        (length,) = struct.unpack(">I", self.body[:4])
        return self.body[4 : 4 + length]

    @property
    def size(self) -> int:
        """The size in an ATTRS reply."""
        return struct.unpack(">Q", self.body[4:12])[0]

    @property
    def names(self) -> list[bytes]:
        """The names in a NAME reply."""
        (count,) = struct.unpack(">I", self.body[:4])
        at, found = 4, []
        for _ in range(count):
            (length,) = struct.unpack(">I", self.body[at : at + 4])
            found.append(self.body[at + 4 : at + 4 + length])
            at += 4 + length
            (length,) = struct.unpack(">I", self.body[at : at + 4])
            at += 4 + length
            (flags,) = struct.unpack(">I", self.body[at : at + 4])
            at += 4 + (8 if flags & 1 else 0) + (4 if flags & 4 else 0) + (8 if flags & 8 else 0)
        return found


STATUS = 101
NO_ATTRIBUTES = bytes(4)


def text(value: str | bytes) -> bytes:
    """A string of the protocol."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(raw)) + raw


class Raw:
    """A client that sends the packets it is told to, well-formed or not."""

    def __init__(
        self, writer: asyncssh.SSHWriter | Sender, reader: asyncssh.SSHReader | asyncio.StreamReader
    ) -> None:
        self.writer, self.reader = writer, reader
        self.number = 0

    def send(self, kind: int, *parts: bytes) -> None:
        self.number += 1
        body = bytes([kind]) + struct.pack(">I", self.number) + b"".join(parts)
        self.writer.write(struct.pack(">I", len(body)) + body)

    async def reply(self) -> Reply:
        (length,) = struct.unpack(">I", await self.reader.readexactly(4))
        packet = await self.reader.readexactly(length)
        return Reply(packet[0], packet[5:])

    async def ask(self, kind: int, *parts: bytes) -> Reply:
        self.send(kind, *parts)
        return await self.reply()

    async def init(self, version: int = 3) -> bytes:
        self.writer.write(struct.pack(">IBI", 5, 1, version))
        (length,) = struct.unpack(">I", await self.reader.readexactly(4))
        return await self.reader.readexactly(length)

    async def open(self, path: str | bytes, flags: int = 0x1A, attributes: bytes = NO_ATTRIBUTES) -> Reply:
        """OPEN; for writing, creating and truncating unless `flags` says otherwise."""
        return await self.ask(3, text(path), struct.pack(">I", flags), attributes)

    async def write(self, handle: bytes, offset: int, data: bytes) -> Reply:
        return await self.ask(6, text(handle), struct.pack(">Q", offset), text(data))

    async def read(self, handle: bytes, offset: int, length: int) -> Reply:
        return await self.ask(5, text(handle), struct.pack(">QI", offset, length))

    async def close(self, handle: bytes) -> Reply:
        return await self.ask(4, text(handle))

    async def stat(self, path: str | bytes) -> Reply:
        return await self.ask(17, text(path))

    async def put(self, path: str | bytes, data: bytes) -> Reply:
        """OPEN, WRITE, CLOSE; the reply to CLOSE."""
        handle = (await self.open(path)).string
        await self.write(handle, 0, data)
        return await self.close(handle)

    async def ls(self, path: str) -> list[str]:
        """OPENDIR, READDIR until it ends, CLOSE; names without the dots."""
        handle = (await self.ask(11, text(path))).string
        found: list[bytes] = []
        while (reply := await self.ask(12, text(handle))).kind != STATUS:
            found += reply.names
        await self.close(handle)
        return [name.decode() for name in found if name not in {b".", b".."}]

    async def rename(self, old: str, new: str) -> Reply:
        return await self.ask(18, text(old), text(new))

    async def remove(self, path: str) -> Reply:
        return await self.ask(13, text(path))


def _partner(house: House, partner_id: str, role: Role, **values: object) -> Partner:
    line, fingerprint = house.new_key(partner_id)
    return Partner(
        id=partner_id,
        name=partner_id.title(),
        role=role,
        keys=(PartnerKey(public_key=line, fingerprint=fingerprint),),
        **values,
    )


def new_house(path: Path) -> House:
    """A gateway without a listener."""
    clock, wakes, partners = SteppedClock(NOW), [], {}
    store = Store.create(path / "gateway.db")
    keyring = Keyring.create(path / "keys")
    today = NOW.date()
    keyring.ensure([until_id(today + timedelta(days=days)) for days in range(-1, 40)])
    keyring.ensure([until_id(date(2027, 5, 22)), index_id("2026-11"), index_id("2026-12")])
    exchange = Exchange(
        store=store,
        keyring=keyring,
        blobs=BlobFolder(path / "blobs"),
        indexer=Indexer(keyring),
        clock=clock,
        partners=partners,
        node="node1",
        on_arrival=lambda: wakes.append(1),
    )
    house = House(path=path, exchange=exchange, clock=clock, wakes=wakes, partners=partners)
    partners["woonbron"] = _partner(house, "woonbron", Role.CREDITOR)
    partners["vitens"] = _partner(house, "vitens", Role.CREDITOR)
    partners["assen"] = _partner(house, "assen", Role.MUNICIPALITY, serves=("GM0106",))
    partners["accountant"] = _partner(house, "accountant", Role.AUDITOR, scope=None)
    return house


@asynccontextmanager
async def opened(house: House) -> AsyncIterator[House]:
    """The house with its listener open."""
    host_key = house.path / "host_key"
    if not host_key.exists():
        create_host_key(host_key)
    house.listener = await listen(lambda: house.exchange, host="127.0.0.1", port=0, host_keys=[host_key])
    public = (house.path / "host_key.pub").read_text()
    (house.path / "known_hosts").write_text(f"[127.0.0.1]:{house.port} {public}")
    try:
        yield house
    finally:
        await house.listener.close()


if os.environ.get("EVENT_LOOP") == "uvloop":

    def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        """The event loop of an exchange process; without EVENT_LOOP=uvloop asyncio's, in which the demo runs it too."""
        return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def quiet_house(tmp_path: Path) -> Iterator[House]:
    """A gateway without a listener."""
    house = new_house(tmp_path)
    yield house
    house.exchange.store.close()


@pytest.fixture
async def house(quiet_house: House) -> AsyncIterator[House]:
    """A gateway that listens."""
    async with opened(quiet_house) as house:
        yield house


@pytest.fixture
def listening() -> Callable[[House], AbstractAsyncContextManager[House]]:
    """Opens the listener of a house whose terms a test has changed."""
    return opened


@pytest.fixture(scope="session")
def make_house() -> Callable[[Path], House]:
    """Makes a gateway without a listener in a folder."""
    return new_house
