"""The pipeline on real parts, without a network: deliveries are put in as the exchange leaves them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import insert, select

from gateway.audit.checkpoint import create_signing_key, load_signing_key
from gateway.audit.sequencer import Sequencer
from gateway.clock import AMSTERDAM, SteppedClock, local_day
from gateway.domain.delivery import DeliveryState
from gateway.domain.partner import Mode, Partner, Role
from gateway.domain.retention import TRIAL_DAYS, Terms, raw_due
from gateway.files.table import Limits
from gateway.pipeline.context import Context
from gateway.pipeline.ledger import check
from gateway.pipeline.outgoing import post
from gateway.pipeline.sealing import open_key, store_key
from gateway.pipeline.worker import publish_now, step
from gateway.retention.keys import ensure_keys
from gateway.retention.notary import Notary
from gateway.retention.purge import purge
from gateway.settings.gemeenten import gemeente_names
from gateway.store import blobs as known_blobs
from gateway.store import data_keys, outgoing, reference
from gateway.store.engine import Store
from gateway.store.tables import Delivery, Dispatch
from gateway.vault import objects
from gateway.vault.blobs import BlobFolder
from gateway.vault.datakey import DataKey
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring
from gateway.vault.stream import SealedReader, Sealer

NOW = datetime(2026, 11, 3, 9, 0, tzinfo=AMSTERDAM)

#: Postcode, house number, municipality; `1011AB` lies in one that nobody serves, `9999ZZ` is not in the table.
ADDRESSES = (
    ("7938PL", 18, "GM1731"),
    ("7938PL", 20, "GM1731"),
    ("7938PL", 22, "GM1731"),
    ("8251AA", 1, "GM0303"),
    ("1011AB", 1, "GM0363"),
)
PC4 = {"7938": ("GM1731",), "8251": ("GM0303",), "1011": ("GM0363",), "9999": ("GM1731", "GM0303")}

_CREDITORS = {"woonservice": "Huur", "dezorgkas": "Zorg", "stroomhuis": "Energie", "vitens": "Water"}


def make_row(signal_id: str, **values: object) -> dict[str, str]:
    """A row of a signal file; every value can be given."""
    row = {
        "signaal_id": signal_id,
        "sector": "Huur",
        "klantnummer": f"k-{signal_id}",
        "achternaam": "Bakker",
        "geboortedatum": "1980-05-01",
        "postcode": "7938PL",
        "huisnummer": "18",
        "bedrag": "600,00",
        "dagen_achterstand": "60",
        "sociaal_incasso": "J",
    }
    return row | {name: str(value) for name, value in values.items()}


def make_file(*rows: Mapping[str, str]) -> bytes:
    """A signal file; its header has every column that a row has."""
    header = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, header, delimiter=";", lineterminator="\r\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@dataclass
class World:
    """A gateway's stores, keys and configuration; the test moves its clock."""

    context: Context
    clock: SteppedClock
    taken: int = 0
    seen: set[str] = field(default_factory=set)
    #: the test damaged it on purpose: its ledger need not add up
    is_damaged: bool = False

    @classmethod
    def create(cls, home: Path) -> World:
        """An empty home whose municipality `gemeente` serves GM1731 and GM0303."""
        home.mkdir()
        clock = SteppedClock(NOW)
        keyring = Keyring.create(home / "keys")
        create_signing_key(home / "keys")
        (home / "log").mkdir()
        reference.load(home / "reference.db", ADDRESSES)
        partners = {
            name: Partner(id=name, name=name.title(), role=Role.CREDITOR, sectors=(sector,))
            for name, sector in _CREDITORS.items()
        }
        partners["gemeente"] = Partner(
            id="gemeente", name="Gemeente", role=Role.MUNICIPALITY, serves=("GM1731", "GM0303")
        )
        context = Context(
            store=Store.create(home / "gateway.db"),
            keyring=keyring,
            indexer=Indexer(keyring),
            blobs=BlobFolder(home / "vault"),
            clock=clock,
            partners=partners,
            policies={},
            served_by={"GM1731": "gemeente", "GM0303": "gemeente"},
            terms=Terms(),
            limits=Limits(),
            reference=home / "reference.db",
            pc4=PC4,
            node="test",
        )
        world = cls(context, clock)
        world.make_keys()
        return world

    # -- configuration and time ------------------------------------------------------------------

    def configure(self, **changes: Any) -> None:
        """Another configuration from now on."""
        self.context = replace(self.context, **changes)

    def policy(self, code: str = "GM1731", **changes: Any) -> None:
        """Another policy of a municipality from now on."""
        changed = replace(self.context.policy(code), **changes)
        self.configure(policies={**self.context.policies, code: changed})

    def matching(self, **changes: Any) -> None:
        """Other rules of GM1731 from now on."""
        before = self.context.policy("GM1731")
        self.policy(matching=replace(before.matching, **changes))

    def go_to(self, day: date, hour: int = 9) -> None:
        """Step to an hour of a day; keys are made ahead as the daemon does every night."""
        self.clock.set(datetime(day.year, day.month, day.day, hour, tzinfo=AMSTERDAM))
        self.make_keys()

    def make_keys(self) -> None:
        """Make keys ahead."""
        context = self.context
        ensure_keys(context.store, context.keyring, self.clock.now(), context.terms, node="test")

    def purge(self) -> None:
        """The purge of this night."""
        context = self.context
        signer = load_signing_key(context.reference.parent / "keys")
        notary = Notary(
            signer=signer,
            sequencer=Sequencer(signer),
            log_dir=context.reference.parent / "log",
            partners=context.partners,
            served_by=context.served_by,
            names=gemeente_names(),
            policy_versions={},
            mandates={},
            post=partial(post, context),
        )
        purge(
            context.store,
            context.keyring,
            context.blobs,
            context.clock,
            terms=context.terms,
            notary=notary,
            node="test",
        )

    def sweep(self) -> None:
        """What a start does with the blobs that an interrupted try left."""
        with self.context.store.read() as conn:
            used = known_blobs.in_use(conn)
        self.context.blobs.sweep(used.__contains__, older_than=timedelta(0))

    # -- files in --------------------------------------------------------------------------------

    def put(self, partner_id: str, *rows: Mapping[str, str], content: bytes | None = None) -> str:
        """A file is received: it waits in the queue."""
        content = make_file(*rows) if content is None else content
        self.clock.step(timedelta(seconds=1))
        self.taken += 1
        delivery_id, data_key, now = f"L{self.taken:04}", DataKey.generate(), self.clock.now()
        partner = self.context.partners.get(partner_id)
        is_trial = partner is not None and partner.mode is Mode.TRIAL
        due_on = local_day(now) + timedelta(days=TRIAL_DAYS) if is_trial else raw_due(now, self.context.terms)
        blob = self.context.blobs.create()
        sealer = Sealer(
            data_key.file_key(delivery_id),
            objects.received_file(partner=partner_id, delivery=delivery_id),
            blob.write,
            is_hashed=False,
        )
        sealer.write(content)
        sealer.finish()
        blob.commit()
        with self.context.store.write() as conn:
            conn.execute(
                insert(Delivery.__table__).values(
                    id=delivery_id,
                    partner_id=partner_id,
                    state=DeliveryState.ARRIVED,
                    opened_at=now,
                    closed_at=now,
                    received_at=now,
                    arrival=self.taken,
                    blob=blob.name,
                    size_bytes=len(content),
                    sealed_bytes=sealer.sealed_bytes,
                    name_sealed=objects.seal_name(data_key.row_key(), delivery_id, "signalen.csv"),
                    raw_due_on=due_on,
                    is_trial=is_trial,
                )
            )
            outgoing.use_number(conn, "arrival", self.taken)
            store_key(
                self.context, conn, data_key, object_id=delivery_id, partner_id=partner_id, due_on=due_on
            )
        return delivery_id

    def work(self) -> None:
        """Do all that is due at this moment."""
        while step(self.context):
            pass

    def send(self, partner_id: str, *rows: Mapping[str, str], content: bytes | None = None) -> dict[str, Any]:
        """A file is received and processed; its receipt."""
        delivery_id = self.put(partner_id, *rows, content=content)
        self.work()
        return self.receipt(delivery_id)

    def publish(self) -> list[dict[str, str]]:
        """Let the seconds of `settle_s` pass; what came into the outbox since the last look."""
        self.clock.step(timedelta(seconds=5))
        self.work()
        return self.new_lines()

    def publish_now(self) -> list[dict[str, str]]:
        """Publish GM1731 whatever `when` says; what came into the outbox since the last look."""
        publish_now(self.context, ("GM1731",))
        return self.new_lines()

    # -- files out -------------------------------------------------------------------------------

    def dispatches(self, partner_id: str, kind: str) -> list[dict[str, Any]]:
        """A partner's files of a kind, oldest first."""
        rows = self.rows(Dispatch)
        return [row for row in rows if row["partner_id"] == partner_id and row["kind"] == kind]

    def read(self, dispatch: Mapping[str, Any]) -> bytes:
        """What is in an outgoing file."""
        with self.context.store.read() as conn:
            stored = data_keys.of_object(conn, dispatch["id"])
        assert stored
        place = objects.dispatched_file(
            partner=dispatch["partner_id"],
            delivery=dispatch["delivery_id"],
            dispatch=dispatch["id"],
            kind=dispatch["kind"],
        )
        key = open_key(self.context, stored).file_key(dispatch["id"])
        with self.context.blobs.open(dispatch["blob"]) as blob:
            return b"".join(SealedReader(key, place, blob.read_at, blob.size).chunks())

    def receipt(self, delivery_id: str) -> dict[str, Any]:
        """The receipt of a delivery, as programs read it."""
        (found,) = [
            row
            for row in self.rows(Dispatch)
            if row["delivery_id"] == delivery_id and row["name"].endswith(".json")
        ]
        receipt: dict[str, Any] = json.loads(self.read(found))
        return receipt

    def _fresh(self, partner_id: str, kind: str) -> list[dict[str, str]]:
        found = []
        for dispatch in self.dispatches(partner_id, kind):
            if dispatch["id"] not in self.seen:
                self.seen.add(dispatch["id"])
                text = io.StringIO(self.read(dispatch).decode("utf-8-sig"), newline="")
                found += list(csv.DictReader(text, delimiter=";"))
        return found

    def new_lines(self) -> list[dict[str, str]]:
        """The lines that came into the outbox since the last look."""
        return self._fresh("gemeente", "meldingen")

    def told(self, creditor: str) -> list[tuple[str, str]]:
        """`signaal_id` and code of what a creditor was told since the last look, sorted."""
        return sorted((row["signaal_id"], row["code"]) for row in self._fresh(creditor, "signal_status"))

    # -- the database ----------------------------------------------------------------------------

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """Every row of a table, in the order in which they were made."""
        with self.context.store.read() as conn:
            query = select(table.__table__).order_by(*_order(table))
            return [dict(row) for row in conn.execute(query).mappings()]

    @property
    def today(self) -> date:
        """The present day."""
        return local_day(self.clock.now())


def _order(table: Any) -> tuple[Any, ...]:
    columns = table.__table__.c
    return (
        (columns.created_at, columns.name)
        if "name" in columns and "created_at" in columns
        else tuple(table.__table__.primary_key)
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty gateway on 3 November 2026, nine in the morning; at the end its ledger adds up."""
    world = World.create(tmp_path / "home")
    yield world
    if not world.is_damaged:
        world.sweep()
        assert check(world.context).differences == ()


@pytest.fixture(scope="session")
def new_world() -> Callable[[Path], World]:
    """Makes empty gateways, for tests that share one."""
    return World.create


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, str]]:
    """Makes rows."""
    return make_row


@pytest.fixture
def csv_file() -> Callable[..., bytes]:
    """Makes files."""
    return make_file


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    """A verb of the command line writes its process's logs to the screen of its test, which is gone by now."""
    structlog.reset_defaults()
