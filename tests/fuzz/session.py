"""Coverage-guided fuzzing of a session: `python tests/fuzz/session.py -dict=tests/fuzz/session.dict -max_total_time=300 CORPUS`.

Not part of the tests: it goes on for as long as it is told to. Needs the extra `fuzz` (atheris). The input is what a
partner that is logged in sends on its channel: the first byte says in which pieces, the rest is cut into
packets, each with a whole number before it, so that the fuzzer needn't find lengths. The real session, inbox,
vault and database work on it, in a folder that goes afterwards. It ends at the first input after which something
went wrong that was not refused, or a delivery was left open.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway.exchange"]):
    from gateway.exchange import session as sessions
    from gateway.exchange.context import Exchange, Visit
    from gateway.exchange.conversation import Conversation
    from gateway.exchange.session import SFTPSession, Traffic

from sqlalchemy import func, select

from gateway import logs
from gateway.clock import SteppedClock
from gateway.domain.partner import Partner, Role
from gateway.store.engine import Store
from gateway.store.tables import Delivery
from gateway.vault.blobs import BlobFolder
from gateway.vault.index import Indexer
from gateway.vault.key_ids import index_id, until_id
from gateway.vault.keyring import Keyring

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
#: The requests that the first byte of a piece stands for.
KINDS = [*range(1, 21), 200]


class Channel:
    """A channel that takes what is written."""

    def write(self, data: bytes) -> None:
        """Taken."""

    def exit(self, _status: int) -> None:
        """The session is over."""

    def disconnect(self, _code: int, _reason: str) -> None:
        """The session is over, and the connection with it."""

    def get_connection(self) -> Channel:
        return self

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing to hold back."""

    def resume_reading(self) -> None:
        """Nothing to let go."""


def house(folder: Path) -> Exchange:
    """A gateway without a listener."""
    keyring = Keyring.create(folder / "keys")
    keyring.ensure([until_id(date(2026, 12, 6)), index_id("2026-11"), index_id("2026-10")])
    return Exchange(
        store=Store.create(folder / "gateway.db"),
        keyring=keyring,
        blobs=BlobFolder(folder / "blobs"),
        indexer=Indexer(keyring),
        clock=SteppedClock(NOW),
        partners={},
        node="fuzz",
        on_arrival=lambda: None,
    )


def packets(data: bytes) -> bytes:
    """The stream that an input stands for: pieces between pairs of 0xff, each with its length, kind and number."""
    stream = bytearray()
    for piece in data.split(b"\xff\xff"):
        if piece:
            body = bytes([KINDS[piece[0] % len(KINDS)]]) + b"\0\0\0\x01" + piece[1:]
            stream += struct.pack(">I", len(body)) + body
    return bytes(stream)


async def serve(exchange: Exchange, role: Role, stream: bytes, step: int) -> None:
    """One session from its first byte to its end."""
    partner = Partner(id="fuzz", name="Fuzz", role=role)
    visit = Visit(partner=partner, fingerprint="x", address="127.0.0.1", client="fuzz", session_id="S1")
    session = SFTPSession(
        Conversation(exchange, visit), visit, Traffic(), lambda _session: None, exchange.guard
    )
    session.connection_made(Channel())  # type: ignore[arg-type]
    session.subsystem_requested("sftp")
    session.session_started()
    for at in range(0, len(stream), step):
        session.data_received(stream[at : at + step], None)
    session.eof_received()
    await asyncio.wait_for(session.wait_ended(), 20)


def main() -> None:
    """Fuzz until the command line's limits."""
    logs.set_up(level="CRITICAL")
    roles = list(Role)
    with tempfile.TemporaryDirectory() as folder:
        exchange = house(Path(folder))
        loop = asyncio.new_event_loop()

        def never(_session: SFTPSession, exc: Exception) -> str:
            raise SystemError("a request ended in an error that is nobody's") from exc

        sessions.SFTPSession._report = never  # type: ignore[method-assign]

        def one(data: bytes) -> None:
            if len(data) < 2:
                return
            stream = packets(data[2:]) if data[0] & 1 else data[2:]
            loop.run_until_complete(serve(exchange, roles[data[1] % 3], stream, 1 + (data[0] >> 1) * 16))
            with exchange.store.read() as conn:
                table = Delivery.__table__
                open_ones = conn.execute(
                    select(func.count()).select_from(table).where(table.c.state == "receiving")
                ).scalar()
            if open_ones:
                raise AssertionError("a delivery is RECEIVING, and nobody sends it")

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
