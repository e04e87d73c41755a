"""A real listener on a free loopback port, over a real store and vault in the test's own folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest
from sqlalchemy import insert, select, update

from gateway.clock import SteppedClock
from gateway.domain.dispatch import DispatchKind
from gateway.domain.partner import Partner, PartnerKey, Role
from gateway.exchange.context import Exchange
from gateway.exchange.keys import create_host_key, parse_public_key
from gateway.exchange.listener import Listener, listen
from gateway.store import data_keys
from gateway.store.engine import Store
from gateway.store.tables import AuditEntry, Delivery, Dispatch
from gateway.vault.blobs import BlobFolder
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.ids import new_id
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring, index_id, until_id
from gateway.vault.objects import dispatched_file, open_digest, open_name, received_file
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

    def digest(self, row: dict) -> bytes:
        key = self.key_of(row["partner_id"], row["id"])
        assert key
        return open_digest(key.row_key(), row["id"], row["sha256_sealed"])

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


def _partner(house: House, partner_id: str, role: Role, **values: object) -> Partner:
    line, fingerprint = new_key(house, partner_id)
    return Partner(
        id=partner_id,
        name=partner_id.title(),
        role=role,
        keys=(PartnerKey(public_key=line, fingerprint=fingerprint),),
        **values,
    )


def new_key(house: House, name: str, algorithm: str = "ssh-ed25519", **options: object) -> tuple[str, str]:
    """Make a key pair of a partner; the public line and the fingerprint."""
    key = asyncssh.generate_private_key(algorithm, **options)
    path = house.path / f"{name}.key"
    path.write_bytes(key.export_private_key("openssh"))
    path.chmod(0o600)
    house.keys[name] = path
    return parse_public_key(key.export_public_key("openssh").decode())


def make_house(path: Path) -> House:
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
    house.listener = await listen(house.exchange, host="127.0.0.1", port=0, host_keys=[host_key])
    public = (house.path / "host_key.pub").read_text()
    (house.path / "known_hosts").write_text(f"[127.0.0.1]:{house.port} {public}")
    try:
        yield house
    finally:
        await house.listener.close()


@pytest.fixture
def quiet_house(tmp_path: Path) -> Iterator[House]:
    """A gateway without a listener."""
    house = make_house(tmp_path)
    yield house
    house.exchange.store.close()


@pytest.fixture
async def house(quiet_house: House) -> AsyncIterator[House]:
    """A gateway that listens."""
    async with opened(quiet_house) as house:
        yield house


def limited(house: House, **values: object) -> None:
    """Change the exchange's terms before its listener opens."""
    house.exchange = replace(house.exchange, **values)
