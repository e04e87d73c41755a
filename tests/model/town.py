"""The product as the model's counterpart: files in, what partners read out, killed and started again on demand."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from gateway.clock import AMSTERDAM, SteppedClock
from gateway.domain.feedback import FeedbackCode, FeedbackPolicy, HelpAccepted
from gateway.domain.partner import Partner, Role
from gateway.domain.policy import (
    Actions,
    ConsecutiveBy,
    DeadlineFrom,
    DistinctBy,
    Grouping,
    Matching,
    Policy,
    Publish,
)
from gateway.pipeline.feedback import tell_silence
from gateway.pipeline.ledger import check
from gateway.pipeline.worker import publish_now
from gateway.store.engine import Store
from gateway.store.tables import Dispatch
from gateway.vault.blobs import BlobFolder
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring

CREDITORS = ("amstel", "bouw", "cura")
SECTORS = ("Huur", "Energie", "Zorg")
MUNICIPALITIES = ("GM0303", "GM1731")
#: Later than any example lasts: only who asks publishes.
NEVER = "0 4 1 6 *"


def _world() -> Any:
    """The world of the pipeline's tests."""
    path = Path(__file__).parent.parent / "pipeline" / "conftest.py"
    spec = importlib.util.spec_from_file_location("pipeline_world", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


pipeline = _world()


class Killed(BaseException):
    """The process ends here: nothing that catches errors sees it."""


def policy_of(drawn: Mapping[str, Any], municipality: str) -> Policy:
    """The model's policy as the product has it."""
    return Policy(
        code=municipality,
        matching=Matching(
            key=Grouping(drawn["key"]),
            distinct_by=DistinctBy(drawn["distinct_by"]),
            min_distinct=drawn["min_distinct"],
            consecutive_months=drawn["consecutive_months"],
            consecutive_by=ConsecutiveBy(drawn["consecutive_by"]),
            bridging=drawn["bridging"],
            always_sectors=tuple(drawn["always_sectors"]),
            always_crisis=drawn["always_crisis"],
            lookback_months=drawn["lookback_months"],
            min_amount_cents=drawn["min_amount"],
        ),
        order=tuple(drawn["order"]),
        actions=Actions(
            visit_capacity=drawn["visit_capacity"],
            visit_over_cents=drawn["visit_over"] * 100,
            visit_fill=drawn["visit_fill"],
            match="Brief M",
            single="Brief S",
            deadline_from=DeadlineFrom(drawn["deadline_from"]),
        ),
        publish=Publish(when="arrival", settle_s=0) if drawn["on_arrival"] else Publish(when=NEVER),
        feedback=FeedbackPolicy(
            help_accepted=HelpAccepted(drawn["help_accepted"]),
            tell=tuple(FeedbackCode(code) for code in drawn["tell"]),
        ),
    )


@cache
def _store(path: Path) -> Store:
    """One for every home at this path: what it learned of SQL is kept, a connection never is."""
    return Store(path)


class Town:
    """A gateway in a home of its own."""

    def __init__(self, template: Path, drawn: Mapping[str, Any]) -> None:
        self.home, self._drawn = template.with_name("home"), drawn
        shutil.copytree(template, self.home)
        clock = SteppedClock(pipeline.NOW)
        self.world = pipeline.World(self._context(clock), clock)
        self._read: set[str] = set()
        #: how often it was killed
        self.kills = 0

    def _context(self, clock: SteppedClock) -> Any:
        keyring = Keyring.open(self.home / "keys")
        partners = {
            name: Partner(id=name, name=name.title(), role=Role.CREDITOR, sectors=SECTORS)
            for name in CREDITORS
        }
        partners["gemeente"] = Partner(
            id="gemeente", name="Gemeente", role=Role.MUNICIPALITY, serves=MUNICIPALITIES
        )
        return pipeline.Context(
            store=_store(self.home / "gateway.db"),
            keyring=keyring,
            indexer=Indexer(keyring),
            blobs=BlobFolder(self.home / "vault"),
            clock=clock,
            partners=partners,
            policies={code: policy_of(self._drawn, code) for code in MUNICIPALITIES},
            served_by=dict.fromkeys(MUNICIPALITIES, "gemeente"),
            terms=pipeline.Terms(),
            limits=pipeline.Limits(),
            reference=self.home / "reference.db",
            pc4=pipeline.PC4,
            node="test",
        )

    def close(self) -> None:
        """Let go of the home and remove it."""
        self.world.context.store.close()
        shutil.rmtree(self.home)

    @property
    def now(self) -> datetime:
        """What the clock says."""
        return self.world.clock.now()

    def go_to(self, day: date, hour: int) -> None:
        """Step to an hour of a later day; keys are made ahead as every night."""
        self.world.clock.set(datetime(day.year, day.month, day.day, hour, 20, tzinfo=AMSTERDAM))
        self.world.make_keys()

    # -- what is done, and how it is killed ----------------------------------------------------------

    def until_done(self, work: Callable[[], object], kills: list[tuple[int, str]]) -> None:
        """Do some work, killed at some transactions of it; each time all is opened again and the work repeated."""
        for at, where in kills:
            try:
                with self._killed(at, where):
                    work()
                return
            except Killed:
                self._start_again()
        work()

    def process(self) -> None:
        """What the worker does until nothing is due."""
        self.world.work()

    def publish(self, municipality: str) -> None:
        """`gateway publish`."""
        publish_now(self.world.context, (municipality,))

    def morning(self) -> None:
        """NOG_GEEN_TERUGKOPPELING."""
        tell_silence(self.world.context)

    @contextmanager
    def _killed(self, at: int, where: str) -> Iterator[None]:
        store, count = self.world.context.store, 0
        real = store.write

        @contextmanager
        def write(**words: bool) -> Iterator[Any]:
            nonlocal count
            count += 1
            dies = count == at
            if dies and where == "before":
                raise Killed
            with real(**words) as conn:
                yield conn
                if dies and where == "inside":
                    raise Killed
            if dies:
                raise Killed

        store.write = write
        try:
            yield
        finally:
            del store.write

    def _start_again(self) -> None:
        """What a start does: everything is opened anew, and what the try left is swept."""
        self.kills += 1
        self.world.context.store.close()
        self.world.context = self._context(self.world.clock)
        self.world.sweep()
        self.world.clock.step(timedelta(seconds=61))  # what crashed rests a while

    def differences(self) -> tuple[Any, ...]:
        """`gateway ledger check`."""
        return check(self.world.context).differences

    # -- what partners read ---------------------------------------------------------------------------

    def fresh(self) -> dict[str, Any]:
        """What came since the last look: receipts by delivery, statuses, feedback, files of meldingen."""
        found: dict[str, Any] = {"receipts": {}, "statuses": [], "feedback": [], "files": []}
        for dispatch in sorted(self.world.rows(Dispatch), key=_in_order):
            if dispatch["id"] in self._read:
                continue
            self._read.add(dispatch["id"])
            partner, kind = dispatch["partner_id"], dispatch["kind"]
            if kind == "receipt" and dispatch["name"].endswith(".json"):
                receipt = json.loads(self.world.read(dispatch))
                found["receipts"][dispatch["delivery_id"]] = _receipt(receipt)
            elif kind == "signal_status":
                found["statuses"] += [_status(partner, line) for line in self._lines(dispatch)]
            elif kind == "feedback":
                found["feedback"] += [_feedback(partner, line) for line in self._lines(dispatch)]
            elif kind == "meldingen":
                assert partner == "gemeente"
                found["files"].append(self._lines(dispatch))
        return found

    def _lines(self, dispatch: Mapping[str, Any]) -> list[dict[str, str]]:
        text = io.StringIO(self.world.read(dispatch).decode("utf-8-sig"), newline="")
        return list(csv.DictReader(text, delimiter=";"))


def _in_order(dispatch: Mapping[str, Any]) -> tuple[Any, ...]:
    """By time, and files of one moment by their number."""
    number = dispatch["name"].partition(".")[0].rpartition("_")[2]
    return dispatch["created_at"], int(number) if number.isdecimal() else 0


def _receipt(receipt: Mapping[str, Any]) -> dict[str, Any]:
    sums = receipt["sommen"] or {}
    assert sum(count for name, count in sums.items() if name != "regels") == sums.get("regels", 0)
    return {
        "refused": (receipt["weigering"] or {}).get("code", ""),
        "rejected": sorted((each["regel"], each["code"]) for each in receipt["afgekeurd"]),
        "duplicates": sorted(each["regel"] for each in receipt["dubbel"]),
        "sums": [sums.get(name, 0) for name in ("signalen", "wijzigingen", "intrekkingen")],
    }


def _status(partner: str, line: Mapping[str, str]) -> tuple[Any, ...]:
    return partner, line["signaal_id"], line["code"], line["gemeentecode"], date.fromisoformat(line["datum"])


def _feedback(partner: str, line: Mapping[str, str]) -> tuple[Any, ...]:
    until = line["opschorten_tot"]
    assert line["opschorten"] == ("J" if until else "N")
    return (
        partner,
        line["signaal_id"],
        line["code"],
        line["omschrijving"],
        date.fromisoformat(until) if until else None,
        line["gemeentecode"],
        date.fromisoformat(line["datum"]),
    )


def meldingen(lines: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """The meldingen of a file by id, in the order of its lines, in the model's words."""
    by_id: dict[str, list[dict[str, str]]] = defaultdict(list)
    for line in lines:
        by_id[line["melding_id"]].append(line)
    return {melding_id: _melding(some) for melding_id, some in by_id.items()}


def _melding(lines: list[dict[str, str]]) -> dict[str, Any]:
    first = lines[0]
    if first["klasse"] == "VERVALLEN":
        assert len(lines) == 1
        filled = {name for name, text in first.items() if text}
        assert filled == {"melding_id", "versie", "gemeentecode", "maand", "klasse"}
        return {"versie": int(first["versie"]), "klasse": "VERVALLEN"}
    alike = list(first)[: list(first).index("signaalnummer")]
    assert all(line[name] == first[name] for line in lines for name in alike)
    return {
        **{name: first[name] for name in ("klasse", "matchregels", "voorstel_actie")},
        **{
            name: int(first[name])
            for name in ("versie", "aantal_signalen", "aantal_partners", "aantal_sectoren")
        },
        **{name: first[name] == "J" for name in ("opeenvolgend", "gaten_dichten", "meerdere_adressen")},
        **{
            name: date.fromisoformat(first[name])
            for name in ("uiterlijk_aanbod", "terugkoppelen_voor", "afronden_voor")
        },
        "totaalbedrag": int(first["totaalbedrag"].replace(",", "")),
        "rang": int(first["rang"]) if first["rang"] else None,
        # woonplaats bears the signaal_id, which no municipality reads
        "signalen": {(line["partner"], line["woonplaats"]): _signal(line) for line in lines},
    }


def _signal(line: Mapping[str, str]) -> dict[str, Any]:
    return {
        **{name: line[name] for name in ("sector", "product", "klantnummer", "signaaltype")},
        **{name: line[name] == "J" for name in ("herhaald", "crisissignaal", "warme_overdracht")},
        **{name: date.fromisoformat(line[name]) for name in ("signaaldatum", "ontvangen_op")},
        "bedrag": int(line["bedrag"].replace(",", "")),
    }


def make_template(folder: Path) -> Path:
    """A home that others are copied from."""
    world = pipeline.World.create(folder / "template")
    world.context.store.close()
    return folder / "template"


def make_file(rows: list[dict[str, str]]) -> bytes:
    """A file of these rows."""
    content: bytes = pipeline.make_file(*rows)
    return content
