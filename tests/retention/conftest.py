"""A gateway's stores with what a purge finds in them: real database, keyring, vault and audit log."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import insert, select, update

from gateway.audit.checkpoint import create_signing_key, load_signing_key
from gateway.audit.sequencer import Sequencer
from gateway.clock import AMSTERDAM, SteppedClock, local_day, month_of
from gateway.domain.certificate import Mandate
from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import PROOFS, DispatchState
from gateway.domain.partner import Partner, Role
from gateway.domain.retention import Terms, contents_due, raw_due, signal_due
from gateway.domain.signal import SignalState
from gateway.files.table import Limits
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import post
from gateway.retention.keys import ensure_keys
from gateway.retention.notary import Notary
from gateway.retention.purge import PurgeReport, purge, would_go
from gateway.store import blobs as known_blobs
from gateway.store import certificates, data_keys
from gateway.store.engine import Store
from gateway.store.tables import (
    AnswerRow,
    AuditEntry,
    DataKeyRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    IndexToken,
    MeldingRow,
    SignalRow,
)
from gateway.vault.blobs import BlobFolder
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.index import Indexer
from gateway.vault.key_ids import index_id, until_id
from gateway.vault.keyring import Keyring
from gateway.vault.objects import dispatched_file
from gateway.vault.rows import RowSealer
from gateway.vault.stream import SealedReader, Sealer, associated_data

PARTNER = "woonstichting"
PARTNERS = {
    PARTNER: Partner(id=PARTNER, name="Woonstichting", role=Role.CREDITOR, sectors=("Huur",)),
    "gemeente-md": Partner(
        id="gemeente-md", name="Gemeente Midden-Drenthe", role=Role.MUNICIPALITY, serves=("GM1731",)
    ),
}
TEXT = b"signaal_id;achternaam\r\nS-1;Geheimnaam\r\n"


@dataclass(kw_only=True)
class World:
    """A home's stores and a clock to step; the purge runs on them as in the daemon."""

    home: Path
    clock: SteppedClock
    store: Store
    keyring: Keyring
    blobs: BlobFolder
    terms: Terms = field(default_factory=Terms)
    mandates: dict[str, Mandate] = field(default_factory=dict)
    made: int = 0

    @classmethod
    def create(cls, home: Path, at: datetime, terms: Terms) -> World:
        """An empty home with its keys made ahead."""
        (home / "data").mkdir(parents=True)
        (home / "log").mkdir()
        world = cls(
            home=home,
            clock=SteppedClock(at),
            store=Store.create(home / "data" / "gateway.db"),
            keyring=Keyring.create(home / "keys"),
            blobs=BlobFolder(home / "data" / "vault"),
            terms=terms,
        )
        create_signing_key(home / "keys")
        world.ensure_keys()
        return world

    def copy(self, home: Path) -> World:
        """The same home once more, elsewhere; its database must be closed by the caller."""
        with self.store.write() as conn:
            conn.exec_driver_sql("SELECT 1")  # nobody writes while we copy
            shutil.copytree(self.home, home)
        return World(
            home=home,
            clock=SteppedClock(self.now),
            store=Store(home / "data" / "gateway.db"),
            keyring=Keyring.open(home / "keys"),
            blobs=BlobFolder(home / "data" / "vault"),
            terms=self.terms,
        )

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self.clock.now()

    @property
    def today(self) -> date:
        """The present day."""
        return local_day(self.now)

    def go_to(self, day: date) -> None:
        """Step to half past two in the night of `day`, with the daemon running: keys are made ahead daily."""
        self.clock.set(datetime(day.year, day.month, day.day, 2, 30, tzinfo=AMSTERDAM))
        self.ensure_keys()

    def ensure_keys(self) -> list[str]:
        """Make keys ahead."""
        return ensure_keys(self.store, self.keyring, self.now, self.terms, node="test")

    def purge(self, **options: Any) -> PurgeReport:
        """Run the purge."""
        return purge(
            self.store,
            self.keyring,
            self.blobs,
            self.clock,
            terms=self.terms,
            notary=self.notary(),
            node="test",
            **options,
        )

    def would_go(self) -> PurgeReport:
        """What a purge would do."""
        return would_go(self.store, self.keyring, self.today, self.terms)

    def notary(self) -> Notary:
        """What certificates are made with: one creditor, one municipality, as the daemon would have it."""
        context = Context(
            store=self.store,
            keyring=self.keyring,
            indexer=Indexer(self.keyring),
            blobs=self.blobs,
            clock=self.clock,
            partners=PARTNERS,
            policies={},
            served_by={"GM1731": "gemeente-md"},
            terms=self.terms,
            limits=Limits(),
            reference=self.home / "none",
            pc4={},
            node="test",
        )
        signer = load_signing_key(self.home / "keys")
        return Notary(
            signer=signer,
            sequencer=Sequencer(signer),
            log_dir=self.home / "log",
            partners=PARTNERS,
            served_by=context.served_by,
            names={"GM1731": "Midden-Drenthe", "GM0303": "Dronten"},
            policy_versions={"GM1731": "p1"},
            mandates=self.mandates,
            post=partial(post, context),
        )

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """Every row of a table."""
        with self.store.read() as conn:
            return [dict(row) for row in conn.execute(select(table.__table__)).mappings()]

    def certificates(self) -> list[dict[str, Any]]:
        """Every certificate as it was signed, by number."""
        with self.store.read() as conn:
            numbers = sorted(one.number for one in certificates.certificates(conn))
            return [asdict(certificates.certificate(conn, number)) for number in numbers]

    def row(self, table: Any, row_id: str) -> dict[str, Any]:
        """One row of a table."""
        return next(row for row in self.rows(table) if row["id"] == row_id)

    def sweep(self) -> None:
        """What a start does with the blobs that no row knows."""
        with self.store.read() as conn:
            used = known_blobs.in_use(conn)
        self.blobs.sweep(used.__contains__, older_than=timedelta(0))

    def proofs(self) -> list[dict[str, Any]]:
        """Certificates and lists that were handed out, with what belongs to them."""
        rows = self.rows(Dispatch)
        ids = {row["id"] for row in rows if row["kind"] in PROOFS}
        return [row for row in rows if row["id"] in ids or row["parent_id"] in ids]

    def letters(self, kind: str) -> dict[str, str]:
        """The contents of what was handed out of a kind, by partner and name."""
        return {
            f"{row['partner_id']}/{row['name']}": self.read(row).decode()
            for row in self.rows(Dispatch)
            if row["kind"] == kind and row["blob"]
        }

    def read(self, dispatch: dict[str, Any]) -> bytes:
        """The plaintext of an outgoing file, as its partner reads it."""
        with self.store.read() as conn:
            stored = data_keys.of_object(conn, dispatch["id"])
        assert stored is not None
        wrapped = WrappedKey(
            key_id=stored.key_id,
            key_version=stored.key_version,
            wrapped=stored.wrapped,
            commitment=stored.commitment,
        )
        key = unwrap(self.keyring, wrapped, partner=stored.partner_id, object_id=dispatch["id"])
        associated = dispatched_file(
            partner=stored.partner_id, delivery=None, dispatch=dispatch["id"], kind=dispatch["kind"]
        )
        with self.blobs.open(dispatch["blob"]) as blob:
            reader = SealedReader(key.file_key(dispatch["id"]), associated, blob.read_at, blob.size)
            return b"".join(reader.chunks())

    def held_blobs(self) -> list[str]:
        """The blobs that are held, but for those that prove a destruction."""
        return sorted({*self.blobs.names()} - {row["blob"] for row in self.proofs()})

    def held_keys(self) -> list[dict[str, Any]]:
        """The wrapped data keys that are held, but for those of what proves a destruction."""
        proofs = {row["id"] for row in self.proofs()}
        return [row for row in self.rows(DataKeyRow) if row["object_id"] not in proofs]

    def change(self, table: Any, row_id: Any, **values: Any) -> None:
        """Change one row."""
        columns = table.__table__.c
        with self.store.write() as conn:
            conn.execute(update(table.__table__).where(columns.id == row_id).values(**values))

    def audit(self, action: str) -> list[str]:
        """The audit entries of an action, as canonical JSON."""
        entries = [row["entry"].decode() for row in self.rows(AuditEntry) if row["entry"] is not None]
        return [entry for entry in entries if f'"action":"{action}"' in entry]

    def dump(self) -> dict[str, Any]:
        """Everything there is: the database as SQL, the files of vault and keyring as bytes."""
        with sqlite3.connect(self.home / "data" / "gateway.db") as db:
            sql = list(db.iterdump())
        db.close()
        files = {
            str(path.relative_to(self.home)): path.read_bytes()
            for folder in ("data/vault", "keys")
            for path in sorted((self.home / folder).rglob("*"))
            if path.is_file()
        }
        return {"sql": sql, "files": files}

    # -- what a purge finds ---------------------------------------------------------------------

    def deliver(
        self, state: DeliveryState = DeliveryState.PROCESSED, *, signals: int = 2, months: int | None = None
    ) -> str:
        """A delivery received now: sealed file, wrapped key, sealed name; processed: rows and tokens."""
        self.made += 1
        delivery_id = f"L{self.made:04}"
        data_key = DataKey.generate()
        blob, size, digest = self._seal(data_key, delivery_id)
        due_on = raw_due(self.now, self.terms)
        sealer = RowSealer(data_key.row_key())
        month = index_id(month_of(self.today))
        with self.store.write() as conn:
            self._keep_key(conn, data_key, delivery_id, due_on)
            conn.execute(
                insert(Delivery.__table__).values(
                    id=delivery_id,
                    partner_id=PARTNER,
                    state=state,
                    opened_at=self.now,
                    closed_at=self.now,
                    received_at=self.now,
                    arrival=self.made,
                    name_sealed=sealer.seal(
                        {"name": "Geheimnaam.csv"}, table="delivery", object_id=delivery_id, row="name"
                    ),
                    name_token=sha256(delivery_id.encode()).digest()[:16],
                    name_key=month,
                    sha256_sealed=b"sealed digest",
                    content_digest=sha256(delivery_id.encode()).digest(),
                    content_key=month,
                    client_modified=1,
                    key_fingerprint="SHA256:abc",
                    blob=blob,
                    size_bytes=len(TEXT),
                    sealed_bytes=size,
                    sealed_sha256=digest,
                    row_count=signals,
                    raw_due_on=due_on,
                )
            )
        for _ in range(signals if state is DeliveryState.PROCESSED else 0):
            self.signal(delivery_id, months=months)
        return delivery_id

    def signal(
        self,
        delivery_id: str,
        *,
        state: SignalState = SignalState.PASSED_ON,
        municipality: str = "GM1731",
        melding_id: str | None = None,
        months: int | None = None,
    ) -> int:
        """A row of a delivery with sealed contents under the key of their day, and a token."""
        self.made += 1
        due_on = signal_due(self.now, months or self.terms.signals_months)
        contents = contents_due(state, self.now, due_on, self.terms)
        month = month_of(self.today)
        with self.store.write() as conn:
            key_id, sealed = None, None
            if state is not SignalState.NOT_CONNECTED:
                key_id, data_key = self._row_key(conn, delivery_id, contents, municipality)
                sealed = RowSealer(data_key.row_key()).seal(
                    {"achternaam": "Geheimnaam"}, table="signal", object_id=delivery_id, row=self.made
                )
            conn.execute(
                insert(IndexToken.__table__).values(
                    key_id=index_id(month),
                    level="s1",
                    token=sha256(str(self.made).encode()).digest()[:16],
                    place=self.made,
                )
            )
            row_id: int = conn.execute(
                insert(SignalRow.__table__)
                .values(
                    number=f"S{self.made}",
                    delivery_id=delivery_id,
                    data_key_id=key_id,
                    line=self.made,
                    creditor=PARTNER,
                    municipality=municipality,
                    month=month,
                    state=state,
                    in_force=True,
                    sector="Huur",
                    signal_type="VROEGSIGNAAL",
                    is_crisis=False,
                    warm_handover=False,
                    amount_cents=12_345,
                    signalled_on=self.today,
                    since=self.today - timedelta(days=40),
                    received_at=self.now,
                    first_received_at=self.now,
                    first_arrival=1,
                    first_line=self.made,
                    **dict.fromkeys(
                        ("place_s1", "place_k1", "place_a1", "place_a2", "place_person"), self.made
                    ),
                    content_token=b"t" * 16,
                    content_key=index_id(month),
                    melding_id=melding_id,
                    due_on=due_on,
                    contents_due_on=contents,
                    sealed=sealed,
                )
                .returning(SignalRow.__table__.c.id)
            ).scalar_one()
        return row_id

    def answer(self, delivery_id: str, *, months: int | None = None) -> None:
        """What a municipality answered on a signal, in a delivery."""
        with self.store.write() as conn:
            conn.execute(
                insert(AnswerRow.__table__).values(
                    delivery_id=delivery_id,
                    arrival=1,
                    line=2,
                    signal_number="S1",
                    melding_id="M1",
                    municipality="GM1731",
                    partner_id=PARTNER,
                    outcome="Opgepakt",
                    on=self.today,
                    consents=False,
                    due_on=signal_due(self.now, months or self.terms.signals_months),
                )
            )

    def exclusion(self, delivery_id: str, *, months: int | None = None) -> None:
        """A resident whom a municipality lists, in a delivery."""
        due_on = signal_due(self.now, months or self.terms.signals_months)
        with self.store.write() as conn:
            conn.execute(
                insert(ExclusionRow.__table__).values(
                    delivery_id=delivery_id,
                    data_key_id=0,
                    line=2,
                    kind="exclusions",
                    partner_id=PARTNER,
                    municipality="GM1731",
                    in_force=True,
                    until=due_on,
                    due_on=due_on,
                    sealed=b"",
                )
            )

    def melding(self, *, months: int | None = None) -> str:
        """A melding whose signals are received now."""
        self.made += 1
        melding_id = f"M{self.made:04}"
        with self.store.write() as conn:
            conn.execute(
                insert(MeldingRow.__table__).values(
                    id=melding_id,
                    municipality="GM1731",
                    month=month_of(self.today),
                    level="address",
                    place=self.made,
                    created_at=self.now,
                    is_urgent=False,
                    version=1,
                    due_on=signal_due(self.now, months or self.terms.signals_months),
                )
            )
        return melding_id

    def dispatch(self, *, months: int | None = None, parent_id: str | None = None) -> str:
        """An outgoing file made now."""
        self.made += 1
        dispatch_id = f"U{self.made:04}"
        data_key = DataKey.generate()
        blob, size, digest = self._seal(data_key, dispatch_id)
        due_on = signal_due(self.now, months or self.terms.signals_months)
        with self.store.write() as conn:
            self._keep_key(conn, data_key, dispatch_id, due_on)
            conn.execute(
                insert(Dispatch.__table__).values(
                    id=dispatch_id,
                    partner_id="gemeente-md",
                    box="outbox",
                    name=f"meldingen_GM1731_2026-11_{self.made}.csv",
                    kind="meldingen",
                    state=DispatchState.READY,
                    municipality="GM1731",
                    parent_id=parent_id,
                    blob=blob,
                    size_bytes=len(TEXT),
                    sealed_bytes=size,
                    sealed_sha256=digest,
                    created_at=self.now,
                    due_on=due_on,
                )
            )
        return dispatch_id

    def _seal(self, data_key: DataKey, object_id: str) -> tuple[str, int, bytes]:
        writer = self.blobs.create()
        associated = associated_data(partner=PARTNER, delivery=object_id, object_id=object_id, kind="raw")
        sealer = Sealer(data_key.file_key(object_id), associated, writer.write)
        sealer.write(TEXT)
        sealer.finish()
        writer.commit()
        return writer.name, sealer.sealed_bytes, sealer.sha256()

    def _row_key(self, conn: Any, delivery_id: str, due_on: date, municipality: str) -> tuple[int, DataKey]:
        """The data key of a delivery's rows of one municipality and day."""
        for stored in data_keys.of_rows(conn, delivery_id):
            if (stored.municipality, stored.due_on) == (municipality, due_on):
                wrapped = WrappedKey(
                    key_id=stored.key_id,
                    key_version=stored.key_version,
                    wrapped=stored.wrapped,
                    commitment=stored.commitment,
                )
                return stored.id, unwrap(
                    self.keyring, wrapped, partner=stored.partner_id, object_id=delivery_id
                )
        data_key = DataKey.generate()
        return self._keep_key(conn, data_key, delivery_id, due_on, municipality), data_key

    def _keep_key(
        self, conn: Any, data_key: DataKey, object_id: str, due_on: date, municipality: str = ""
    ) -> int:
        wrapped = wrap(self.keyring, until_id(due_on), data_key, partner=PARTNER, object_id=object_id)
        key_id: int = conn.execute(
            insert(DataKeyRow.__table__)
            .values(
                object_id=object_id,
                partner_id=PARTNER,
                municipality=municipality,
                due_on=due_on,
                key_id=wrapped.key_id,
                key_version=wrapped.key_version,
                wrapped=wrapped.wrapped,
                commitment=wrapped.commitment,
            )
            .returning(DataKeyRow.__table__.c.id)
        ).scalar_one()
        return key_id


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[[str, datetime], World]]:
    """Makes homes; their databases are closed at the end."""
    made: list[World] = []

    def make(name: str, at: datetime, terms: Terms | None = None) -> World:
        made.append(World.create(tmp_path / name, at, terms or Terms()))
        return made[-1]

    yield make
    for world in made:
        world.store.close()


@pytest.fixture
def world(make_world: Callable[[str, datetime], World]) -> World:
    """A home at noon of 22 November 2026."""
    return make_world("home", datetime(2026, 11, 22, 12, tzinfo=AMSTERDAM))


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    """A verb of the command line chooses a level for its process: here for its test only."""
    structlog.reset_defaults()
