"""An invented country: municipalities, creditors and residents, and a gateway's parts without a network.

Files are put in as the exchange leaves them. `grow` brings live signals in by a short way: the rows, tokens and
sealed contents that intake makes of a file, without reading one; they are published by the real step.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from hashlib import blake2b
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select

from gateway.audit.checkpoint import create_signing_key, load_signing_key
from gateway.audit.sequencer import Sequencer
from gateway.clock import AMSTERDAM, SteppedClock, local_day, month_of
from gateway.domain.delivery import DeliveryState, Kind
from gateway.domain.partner import Partner, Role
from gateway.domain.policy import Policy
from gateway.domain.retention import Terms, raw_due, signal_due
from gateway.domain.signal import SignalState, SignalType
from gateway.files.table import Limits
from gateway.matching import keys
from gateway.matching.keys import Level, Parts
from gateway.matching.publication import fingerprint
from gateway.pipeline import match, snapshot
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import post
from gateway.pipeline.sealing import store_key
from gateway.pipeline.worker import step
from gateway.retention.keys import ensure_keys
from gateway.retention.notary import Notary
from gateway.retention.purge import PurgeReport, purge
from gateway.store import Connection, meldingen, outgoing, places, reference, shares, signals
from gateway.store.engine import Store
from gateway.store.tables import DataKeyRow, Delivery
from gateway.vault import objects
from gateway.vault.blobs import BlobFolder
from gateway.vault.datakey import DataKey, wrap
from gateway.vault.ids import new_id
from gateway.vault.index import Indexer
from gateway.vault.key_ids import index_id, until_id
from gateway.vault.keyring import Keyring
from gateway.vault.rows import RowSealer
from gateway.vault.stream import Sealer

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DATA_KEY: Table = DataKeyRow.__table__  # type: ignore[attr-defined]

MUNICIPALITIES = tuple(f"GM{1000 + number}" for number in range(342))
CREDITORS = tuple(f"schuldeiser-{number:03}" for number in range(400))
SECTORS = ("Huur", "Energie", "Water", "Zorg")
#: Who serves all of them: what is measured is the work, not how many partners it is for.
SERVER = "gemeenten"
#: Of a month's signals, so many are about a resident of whom another creditor reports too.
_RESIDENTS = 0.8
#: Creditors by size fall off like this: the largest brings a quarter of a month.
_FALL = 1.2
_SURNAMES = ("Jansen", "de Vries", "Bakker", "Visser", "Smit", "Meijer", "Mulder", "Bos", "Vos", "Dekker")
_LETTERS = "ABCDEFGHJKLMNPRTUVWXZ"


@dataclass(frozen=True, slots=True)
class Debtor:
    """Customer `number` of a creditor: a resident who is in arrears."""

    creditor: int
    number: int
    resident: int

    @property
    def municipality(self) -> str:
        """Where the resident lives."""
        return MUNICIPALITIES[self.resident % len(MUNICIPALITIES)]

    @property
    def postcode(self) -> str:
        """Ten house numbers to a postcode."""
        block = self.resident // len(MUNICIPALITIES) // 10 % len(_LETTERS) ** 2
        first, second = divmod(block, len(_LETTERS))
        return f"{1000 + self.resident % len(MUNICIPALITIES)}{_LETTERS[first]}{_LETTERS[second]}"

    @property
    def house_number(self) -> int:
        """Residents have an address of their own."""
        block, door = divmod(self.resident // len(MUNICIPALITIES), 10)
        return 1 + door + 10 * (block // len(_LETTERS) ** 2)

    @property
    def surname(self) -> str:
        """Ten names."""
        return _SURNAMES[self.resident % 10]

    @property
    def born_on(self) -> date:
        """Of age."""
        return date(1940, 1, 1) + timedelta(days=self.resident % 20_000)

    @property
    def sector(self) -> str:
        """Of the creditor."""
        return SECTORS[self.creditor % len(SECTORS)]

    @property
    def customer(self) -> str:
        """The creditor's own number."""
        return f"K{self.number:07}"

    def signal_id(self, month: str) -> str:
        """The creditor's own number of this month's signal."""
        return f"{month}-{self.customer}"

    @property
    def cents(self) -> int:
        """What is owed."""
        return 10_000 + self.resident * 37 % 200_000

    def row(self, month: str) -> dict[str, str]:
        """A row of a signal file."""
        return {
            "signaal_id": self.signal_id(month),
            "sector": self.sector,
            "klantnummer": self.customer,
            "voorletters": "A.B.",
            "achternaam": self.surname,
            "geboortedatum": self.born_on.isoformat(),
            "straatnaam": "Dorpsstraat",
            "huisnummer": str(self.house_number),
            "postcode": self.postcode,
            "woonplaats": "Dorp",
            "bedrag": f"{self.cents // 100},{self.cents % 100:02}",
            "dagen_achterstand": "60",
            "sociaal_incasso": "J",
        }


def file_of(rows: Iterable[Mapping[str, str]]) -> bytes:
    """A signal file."""
    text = io.StringIO()
    listed = list(rows)
    writer = csv.DictWriter(text, list(listed[0]), delimiter=";", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue().encode()


def debtors(month: int, creditor: int, signals_a_month: int) -> list[Debtor]:
    """Whom a creditor reports in a month: half of them were reported in the month before too."""
    count = sizes(signals_a_month)[creditor]
    residents = int(signals_a_month * _RESIDENTS)
    first = month * (count // 2)
    return [
        Debtor(creditor, number, (creditor * 7_919 + number) % residents)
        for number in range(first, first + count)
    ]


def sizes(signals_a_month: int) -> list[int]:
    """How many signals each creditor brings; together as many as asked for."""
    weights = [(number + 1) ** -_FALL for number in range(len(CREDITORS))]
    edges = [0.0]
    for weight in weights:
        edges.append(edges[-1] + weight)
    marks = [round(edge / edges[-1] * signals_a_month) for edge in edges]
    return [after - before for before, after in pairwise(marks)]


@dataclass
class Gateway:
    """The stores, keys and configuration of a gateway that serves the whole country; its clock is moved by hand."""

    home: Path
    context: Context
    clock: SteppedClock
    taken: int = 0
    #: melding of a municipality and a place, of the month that grows
    _meldingen: dict[tuple[str, int], str] = field(default_factory=dict)
    _grouped: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def create(cls, home: Path, at: datetime) -> Gateway:
        """An empty one."""
        home.mkdir(parents=True)
        Keyring.create(home / "keys")
        create_signing_key(home / "keys")
        (home / "log").mkdir()
        reference.load(home / "reference.db", (("1000AA", 1, MUNICIPALITIES[0]),))
        Store.create(home / "gateway.db").close()
        return cls.open(home, at)

    @classmethod
    def open(cls, home: Path, at: datetime) -> Gateway:
        """One that was made before."""
        clock, keyring = SteppedClock(at), Keyring.open(home / "keys")
        partners = {
            name: Partner(
                id=name, name=name.title(), role=Role.CREDITOR, sectors=(SECTORS[number % len(SECTORS)],)
            )
            for number, name in enumerate(CREDITORS)
        }
        partners[SERVER] = Partner(id=SERVER, name=SERVER, role=Role.MUNICIPALITY, serves=MUNICIPALITIES)
        context = Context(
            store=Store(home / "gateway.db"),
            keyring=keyring,
            indexer=Indexer(keyring),
            blobs=BlobFolder(home / "vault"),
            clock=clock,
            partners=partners,
            policies={code: Policy(code=code) for code in MUNICIPALITIES},
            served_by=dict.fromkeys(MUNICIPALITIES, SERVER),
            terms=Terms(),
            limits=Limits(),
            reference=home / "reference.db",
            pc4={str(1000 + number): (code,) for number, code in enumerate(MUNICIPALITIES)},
            node="bench",
        )
        with context.store.read() as conn:
            taken = outgoing.last_number(conn, "arrival")
        made = cls(home, context, clock, taken)
        made.go_to(at)
        return made

    def close(self) -> None:
        """Let go of the database."""
        self.context.store.close()

    def go_to(self, at: datetime) -> None:
        """Step to a moment; keys are made ahead as the daemon does every night."""
        self.clock.set(at)
        ensure_keys(
            self.context.store, self.context.keyring, self.clock.now(), self.context.terms, node="bench"
        )

    @property
    def today(self) -> date:
        """The present day."""
        return local_day(self.clock.now())

    def put(self, creditor: str, content: bytes) -> str:
        """A file is received: it waits in the queue."""
        self.clock.step(timedelta(seconds=1))
        delivery_id, data_key, now = new_id("L", 16), DataKey.generate(), self.clock.now()
        blob = self.context.blobs.create()
        place = objects.received_file(partner=creditor, delivery=delivery_id)
        sealer = Sealer(data_key.file_key(delivery_id), place, blob.write)
        sealer.write(content)
        sealer.finish()
        blob.commit()
        with self.context.store.write() as conn:
            self._add_delivery(
                conn,
                delivery_id,
                creditor,
                data_key,
                state=DeliveryState.ARRIVED,
                blob=blob.name,
                size_bytes=len(content),
                sealed_bytes=sealer.sealed_bytes,
                sealed_sha256=sealer.sha256(),
            )
            due_on = raw_due(now, self.context.terms)
            store_key(self.context, conn, data_key, object_id=delivery_id, partner_id=creditor, due_on=due_on)
        return delivery_id

    def work(self) -> None:
        """Do all that is due at this moment."""
        while step(self.context):
            pass

    def purge(self) -> PurgeReport:
        """The purge of this night."""
        context, signer = self.context, load_signing_key(self.home / "keys")
        notary = Notary(
            signer=signer,
            sequencer=Sequencer(signer),
            log_dir=self.home / "log",
            partners=context.partners,
            served_by=context.served_by,
            names=dict(zip(MUNICIPALITIES, MUNICIPALITIES, strict=True)),
            policy_versions={},
            mandates={},
            post=partial(post, context),
        )
        return purge(
            context.store,
            context.keyring,
            context.blobs,
            context.clock,
            terms=context.terms,
            notary=notary,
            node="bench",
        )

    # -- the short way ---------------------------------------------------------------------------

    def grow(self, months: Sequence[str], signals_a_month: int) -> Iterator[str]:
        """Months of signals, received over their working days and published; tells of each month."""
        for number, month in enumerate(months):
            days = working_days(month)
            self._meldingen.clear()
            for index, day in enumerate(days):
                self.go_to(day)
                with self.context.store.write() as conn:
                    for creditor, name in islice(enumerate(CREDITORS), index, None, len(days)):
                        if found := debtors(number, creditor, signals_a_month):
                            self._deliver(conn, name, month, found)
            self._publish()
            yield month

    def _deliver(self, conn: Connection, creditor: str, month: str, found: Sequence[Debtor]) -> None:
        """One file, as if it had been taken in; its own sealed bytes are gone already."""
        self.clock.step(timedelta(seconds=1))
        now, delivery_id = self.clock.now(), new_id("L", 16)
        due_on = signal_due(now, self.context.terms.signals_months)
        shared: Counter[str] = Counter(each.municipality for each in found)
        row_keys: dict[str, tuple[int, RowSealer]] = {}
        self._add_delivery(
            conn,
            delivery_id,
            creditor,
            None,
            state=DeliveryState.PROCESSED,
            kind=Kind.SIGNALS,
            processed_at=now,
            raw_gone_at=now,
            row_count=len(found),
            new_count=len(found),
            accepted_count=len(found),
        )
        shares.add(conn, delivery_id, shared)
        next_key = conn.execute(select(func.coalesce(func.max(_DATA_KEY.c.id), 0))).scalar_one() + 1
        stored = []
        for key_id, code in enumerate(shared, start=next_key):
            if (code, month) not in self._grouped:
                self._grouped.add((code, month))
                meldingen.settle_groupings(conn, {(code, month): self.context.policy(code).matching.key})
            data_key = DataKey.generate()
            row_keys[code] = key_id, RowSealer(data_key.row_key())
            wrapped = wrap(
                self.context.keyring, until_id(due_on), data_key, partner=creditor, object_id=delivery_id
            )
            stored.append(
                asdict(wrapped)
                | {
                    "id": key_id,
                    "object_id": delivery_id,
                    "partner_id": creditor,
                    "municipality": code,
                    "due_on": due_on,
                }
            )
        conn.execute(insert(_DATA_KEY), stored)
        today = self.today
        tokens: dict[Level, dict[bytes, int]] = defaultdict(dict)
        rows: list[dict[str, Any]] = []
        fresh: list[dict[str, Any]] = []

        def place(level: Level, scope: str, parts: Parts) -> int:
            token = self.context.indexer.token(month, level, scope, parts)
            digest = blake2b(repr((level, scope, parts)).encode(), digest_size=8).digest()
            return tokens[level].setdefault(token, int.from_bytes(digest) >> 2)

        next_id = signals.next_id(conn)
        for line, debtor in enumerate(found, start=2):
            code, row = debtor.municipality, debtor.row(month)
            levels = keys.levels(
                postcode=debtor.postcode,
                number=debtor.house_number,
                letter="",
                addition="",
                surname=debtor.surname,
                born_on=debtor.born_on,
            )
            assert levels.person is not None
            assert levels.address_surname is not None
            a1 = place(Level.ADDRESS, code, levels.address)
            person = place(Level.PERSON, code, levels.person)
            melding_id = self._meldingen.get((code, a1))
            if melding_id is None:
                digits = code.removeprefix("GM") + month.replace("-", "")
                melding_id = self._meldingen[code, a1] = new_id(f"M{digits}-", 8)
                fresh.append(
                    {
                        "id": melding_id,
                        "municipality": code,
                        "month": month,
                        "level": self.context.policy(code).matching.key,
                        "place": a1,
                        "created_at": now,
                        "touched_at": now,
                        "due_on": due_on,
                    }
                )
            key_id, sealer = row_keys[code]
            contents = {name: row[name] for name in _SEALED} | {
                "huisnummer": debtor.house_number,
                "dagen_achterstand": 60,
            }
            contract = keys.contract(creditor, code, debtor.customer, debtor.sector, "")
            signal = keys.signal(creditor, debtor.signal_id(month))
            rows.append(
                {
                    "id": next_id + len(rows),
                    "number": new_id("S", 12),
                    "delivery_id": delivery_id,
                    "data_key_id": key_id,
                    "line": line,
                    "creditor": creditor,
                    "municipality": code,
                    "month": month,
                    "state": SignalState.WAITING,
                    "in_force": True,
                    "sector": debtor.sector,
                    "signal_type": SignalType.EARLY_SIGNAL,
                    "is_crisis": False,
                    "warm_handover": False,
                    "amount_cents": debtor.cents,
                    "signalled_on": today,
                    "since": today - timedelta(days=60),
                    "supply_ends_on": None,
                    "received_at": now,
                    "first_received_at": now,
                    "first_arrival": self.taken,
                    "first_line": line,
                    "place_s1": place(Level.SIGNAL, creditor, signal),
                    "place_k1": place(Level.CONTRACT, code, contract),
                    "place_a1": a1,
                    "place_a2": place(Level.ADDRESS_EXACT, code, levels.address_exact),
                    "place_p1": person,
                    "place_as": place(Level.ADDRESS_SURNAME, code, levels.address_surname),
                    "place_person": person,
                    "content_token": self.context.indexer.content_token(month, creditor, repr(row).encode()),
                    "content_key": index_id(month),
                    "melding_id": melding_id,
                    "due_on": due_on,
                    "contents_due_on": due_on,
                    "sealed": sealer.seal(contents, table=objects.SIGNAL, object_id=delivery_id, row=line),
                }
            )
        for level, known in tokens.items():
            places.keep(conn, index_id(month), level, known)
        meldingen.add(conn, fresh)
        signals.stage(conn, rows)

    def _publish(self) -> None:
        """What the step of publication remembers, without its files."""
        now = self.clock.now()
        with self.context.store.read() as conn:
            found = [
                (group.melding, content)
                for code, policy in self.context.policies.items()
                for group in match.groups(
                    conn, policy, meldingen.touched(conn, code, only_urgent=False), self.today
                )
                if (content := group.content(policy)) is not None
            ]
        with self.context.store.write() as conn:
            meldingen.mark_published(
                conn,
                [
                    {
                        "id": melding.id,
                        "version": melding.version + 1,
                        "partner_id": SERVER,
                        "klasse": content.klasse,
                        "fingerprint": fingerprint(content),
                        "published": snapshot.dump(content),
                        "first_published_at": melding.first_published_at or now,
                        "published_at": now,
                        "crisis_at": None,
                    }
                    for melding, content in found
                ],
            )
            refs = [ref for _, content in found for ref in content.refs]
            signals.mark_passed_on(conn, refs, now, reported_before=())

    def _add_delivery(
        self, conn: Connection, delivery_id: str, creditor: str, data_key: DataKey | None, **values: Any
    ) -> None:
        self.taken += 1
        now = self.clock.now()
        sealed = objects.seal_name(data_key.row_key(), delivery_id, "signalen.csv") if data_key else None
        conn.execute(
            insert(_DELIVERY).values(
                id=delivery_id,
                partner_id=creditor,
                opened_at=now,
                closed_at=now,
                received_at=now,
                arrival=self.taken,
                name_sealed=sealed,
                raw_due_on=raw_due(now, self.context.terms),
                **values,
            )
        )
        outgoing.use_number(conn, "arrival", self.taken)


#: What intake seals of a row, under the wire's names.
_SEALED = (
    "signaal_id",
    "klantnummer",
    "voorletters",
    "achternaam",
    "geboortedatum",
    "straatnaam",
    "postcode",
    "woonplaats",
)


def working_days(month: str) -> list[datetime]:
    """Nine o'clock of each day from Monday to Friday."""
    day = datetime.fromisoformat(f"{month}-01T09:00").replace(tzinfo=AMSTERDAM)
    days = []
    while month_of(day.date()) == month:
        if day.weekday() < 5:
            days.append(day)
        day += timedelta(days=1)
    return days
