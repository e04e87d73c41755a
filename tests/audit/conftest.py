"""A log on a real database, with its keys and its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.audit.checkpoint import Signer, create_signing_key, write_checkpoint
from gateway.audit.log import record
from gateway.audit.sequencer import Sequencer
from gateway.audit.verify import Report, verify
from gateway.store.engine import Store

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What a home folder holds of the audit log."""

    store: Store
    signer: Signer
    sequencer: Sequencer
    home: Path

    #: the instant of every entry and checkpoint
    now: datetime = NOW

    @property
    def folder(self) -> Path:
        """Where the newest note lies."""
        return self.home / "log"

    def add(self, *object_ids: str) -> None:
        """Record an entry for each object, in one transaction."""
        with self.store.write() as conn:
            for object_id in object_ids:
                record(
                    conn,
                    action="delivery.arrived",
                    object_id=object_id,
                    origin="127.0.0.1",
                    actor="eneco",
                    at=self.now,
                    node="node-1",
                    detail={"rows": 3},
                )

    def sequence(self) -> str:
        """Sequence and write the note, as the daemon does."""
        with self.store.write() as conn:
            note = self.sequencer.sequence(conn, self.now)
        write_checkpoint(self.folder, note)
        return note

    def tamper(self, sql: str, *values: object) -> None:
        """Change the database behind the gateway's back."""
        with self.store.write() as conn:
            conn.exec_driver_sql(sql, values)

    def verify(self, kept: str | None = None) -> Report:
        """Verify it all."""
        with self.store.read() as conn:
            return verify(conn, self.signer.public_key, self.folder, kept)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """An empty log."""
    for name in ("keys", "log", "data"):
        (tmp_path / name).mkdir()
    store = Store.create(tmp_path / "data" / "gateway.db")
    signer = create_signing_key(tmp_path / "keys")
    yield Log(store=store, signer=signer, sequencer=Sequencer(signer), home=tmp_path)
    store.close()
