"""Whatever partners send in whatever order, however it is grouped, killed and repeated: what they read is what the
plain model of spec 3 says (`plain.py`), and the ledger adds up after each step.

A few examples in the suite; `GATEWAY_EXAMPLES=2000 pytest tests/model` runs as many others as it says.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.pipeline import worker


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"model_{name}", Path(__file__).parent / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


plain, towns = _load("plain"), _load("town")

EXAMPLES = int(os.environ.get("GATEWAY_EXAMPLES", "0"))
#: The same examples each time in the suite, others each time when asked for a number of them.
SETTINGS = settings(
    max_examples=EXAMPLES or 6,
    stateful_step_count=14,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
#: Everything that was received on the first day is still held then.
LAST_DAY = date(2027, 3, 25)

#: Postcode, house number, letter as sent -> what they come to. The first are drawn most.
PLACES = {
    ("7938PL", "18", ""): {"A1": 18, "A2": "18", "municipalities": ["GM1731"]},
    ("7938 pl", "18", "a"): {"A1": 18, "A2": "18A", "municipalities": ["GM1731"]},
    ("7938PL", "18A", ""): {"A1": 18, "A2": "18A", "municipalities": ["GM1731"]},
    ("7938PL", "20", ""): {"A1": 20, "A2": "20", "municipalities": ["GM1731"]},
    ("7938PL", "22", ""): {"A1": 22, "A2": "22", "municipalities": ["GM1731"]},
    ("8251AA", "1", ""): {"A1": 1, "A2": "1", "municipalities": ["GM0303"]},
    ("1011AB", "1", ""): {"A1": 2, "A2": "2", "municipalities": ["GM0363"]},
    ("9999ZZ", "1", ""): {"A1": 3, "A2": "3", "municipalities": ["GM0303", "GM1731"]},
}
#: Surname and date of birth as sent -> the surname normalised.
PERSONS = {
    ("Bakker", "1980-05-01"): {"name": "bakker"},
    ("de BAKKER-Smit", "1980-05-01"): {"name": "bakker"},
    ("Bakker", ""): {"name": "bakker"},
    ("Visser", "1990-02-02"): {"name": "visser"},
    ("123", "1990-02-02"): {"name": ""},
}
OUTCOMES = sorted(plain.ANSWERS)


def often(first: list[Any], rest: list[Any]) -> st.SearchStrategy[Any]:
    """Mostly one of the first."""
    return st.sampled_from([*first * (3 * max(len(rest), 1) // len(first) + 1), *rest])


POLICIES = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["address", "address_exact", "person"]),
        "distinct_by": st.sampled_from(["creditor", "sector"]),
        "min_distinct": often([2], [3]),
        "consecutive_months": st.sampled_from([0, 2, 3]),
        "consecutive_by": st.sampled_from(["same_creditor", "different_sector", "any"]),
        "bridging": st.booleans(),
        "always_sectors": st.sampled_from([[], ["Huur"], ["Huur", "Zorg"]]),
        "always_crisis": st.booleans(),
        "lookback_months": st.sampled_from([6, 1, 2]),
        "min_amount": st.sampled_from([{}, {"Huur": 5_000}, {"Energie": 5_000, "Zorg": 25_001}]),
        "order": st.sampled_from(
            [
                [
                    "crisis",
                    "total_over:500",
                    "many_creditors:2",
                    "total_if_many_creditors:2",
                    "multiple",
                    "total",
                ],
                ["crisis", "creditors", "bridging", "total"],
                ["total_if_many_creditors:1", "sector:Zorg,Huur"],
                ["warm_handover", "consecutive", "sectors"],
                ["oldest"],
                ["total_over:500"],
            ]
        ),
        "visit_capacity": st.sampled_from([1, 0, 2]),
        "visit_over": st.sampled_from([500, 100]),
        "visit_fill": st.booleans(),
        "deadline_from": st.sampled_from(["receipt", "publication"]),
        "on_arrival": often([False], [True]),
        "help_accepted": st.sampled_from(["consent", "agreement", "never"]),
        "tell": st.sampled_from([[], ["GEEN_HULP"], ["GEEN_HULP", "NIET_BEREIKT"]]),
    }
)
ROW = {
    "mutatie": "",
    "place": ("7938PL", "18", ""),
    "person": ("Bakker", "1980-05-01"),
    "product": "",
    "days": None,
    "crisissignaal": "",
    "ends": False,
    "warme_overdracht": "",
    "ontstaansdatum": "",
    "dagen_achterstand": "60",
    "gemeentecode": "",
    "again": None,
    "renamed": False,
}
#: Rows of which only what differs from `ROW` is told.
ROWS = st.fixed_dictionaries(
    {
        "signaal_id": st.sampled_from([f"s{n}" for n in range(1, 13)]),
        "mutatie": often(["", "N"], ["W", "I"]),
        "place": often(list(PLACES)[:5], list(PLACES)[5:]),
        "person": often(list(PERSONS)[:1], list(PERSONS)[1:]),
        "klantnummer": st.sampled_from(["k1", "k2"]),
        "sector": st.sampled_from(towns.SECTORS),
        "product": often([""], ["Gas"]),
        "bedrag": often(["500,00", "500,01", "250,00", "250,01", "50,00", "49,99", "600,00"] * 3, ["0,00"]),
        "days": often([None, 0], [1, 3, 10, 30, 35, 45, 62, 63]),
        "crisissignaal": often([""], ["J"]),
        "ends": often([False], [True]),
        "warme_overdracht": often([""], ["J"]),
        "ontstaansdatum": often([""], ["2026-07-01"]),
        "dagen_achterstand": st.sampled_from(["60", "90"]),
        "gemeentecode": often([""], ["GM1731", "GM0303"]),
        # an earlier row of the same creditor once more, as it was but for what the new row asks for
        "again": often([None], [0, 0, 1, 2]),
        "renamed": often([False], [True]),
    }
).map(lambda drawn: {name: each for name, each in drawn.items() if ROW.get(name, ...) != each})
FILES = st.tuples(
    st.sampled_from(towns.CREDITORS), st.lists(ROWS, min_size=1, max_size=5), often([False], [True])
)
#: At which transaction of the work, before it, in it or after it; mostly nowhere.
KILLS = st.one_of(
    st.just([]),
    st.just([]),
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["before", "inside", "after"])), max_size=2),
)
ANSWER_ROWS = st.fixed_dictionaries(
    {
        "at": st.integers(0, 20),
        "by": often(["signaalnummer"], ["melding_id"]),
        "outcome": st.sampled_from(OUTCOMES),
        "days": st.sampled_from([0, 1, 2]),
        "consents": st.booleans(),
        "until": often([False], [True]),
    }
)
#: Nobody's name: the whole address.
EVERYBODY = ("", "")
EXCLUSION_ROWS = st.fixed_dictionaries(
    {
        "mutatie": often(["N"], ["I"]),
        "place": st.sampled_from([*list(PLACES)[:2], *list(PLACES)[3:6]]),
        "person": st.sampled_from([("Bakker", "1980-05-01"), ("Bakker", ""), EVERYBODY]),
        "days": st.sampled_from([100, 0, 10, 200, 400]),
    }
)


class Sent:
    """What was sent, and waits to be processed: facts of the model, and files of the product."""

    def __init__(self, town: Any) -> None:
        self.town = town
        self.queue: list[dict[str, Any]] = []
        self.rows: dict[str, list[dict[str, str]]] = {name: [] for name in towns.CREDITORS}
        self.files: dict[str, list[tuple[date, dict[str, Any]]]] = {name: [] for name in towns.CREDITORS}
        self._numbers = count(1)

    def signals(self, creditor: str, drawn: list[dict[str, Any]], *, same: bool) -> None:
        """A creditor's file; `same`: the bytes of its last one once more."""
        today = plain.day(self.town.now)
        before = [each for sent_on, each in self.files[creditor] if today - sent_on < timedelta(days=13)]
        if same and before:
            rows, content = before[-1]["rows"], before[-1]["bytes"]
        else:
            rows = [self._row(creditor, each, today) for each in drawn]
            self.rows[creditor] += [row for row in rows if row.get("mutatie") != "I"]
            # a column that nobody reads, so that the bytes are others
            number = str(next(self._numbers))
            content = towns.make_file([{**row, "volgnummer": number} for row in rows])
        fact = {
            "kind": "signals",
            "id": self.town.world.put(creditor, content=content),
            "creditor": creditor,
            "rows": rows,
            "bytes": content,
            "places": PLACES,
            "persons": PERSONS,
            "received_at": self.town.now,
        }
        self.files[creditor].append((today, fact))
        self.queue.append(fact)

    def _row(self, creditor: str, drawn: dict[str, Any], today: date) -> dict[str, str]:
        drawn = {**ROW, **drawn}
        mutation, earlier = drawn["mutatie"], self.rows[creditor]
        if mutation in ("W", "I") and earlier:  # mostly of what was sent before
            at = int(drawn["signaal_id"][1:]) - 1
            drawn["signaal_id"] = earlier[-1 - at % len(earlier)]["signaal_id"]
        if mutation == "I":
            return {"signaal_id": drawn["signaal_id"], "mutatie": "I"}
        if drawn["again"] is not None and earlier:
            row = {**earlier[-1 - drawn["again"] % len(earlier)], "mutatie": mutation}
            if drawn["renamed"]:
                row["signaal_id"] = row["woonplaats"] = drawn["signaal_id"]
            return row
        postcode, number, letter = drawn["place"]
        surname, born_on = drawn["person"]
        ends = drawn["ends"] and drawn["sector"] == "Energie"
        names = ("signaal_id", "mutatie", "klantnummer", "sector", "product", "bedrag", "crisissignaal")
        names += ("warme_overdracht", "ontstaansdatum", "dagen_achterstand")
        return {
            **{name: drawn[name] for name in names},
            "postcode": postcode,
            "huisnummer": number,
            "huisletter": letter,
            "achternaam": surname,
            "geboortedatum": born_on,
            "woonplaats": drawn["signaal_id"],
            "sociaal_incasso": "J",
            "gemeentecode": drawn["gemeentecode"] if postcode == "9999ZZ" else "",
            "signaaldatum": "" if drawn["days"] is None else str(today - timedelta(days=drawn["days"])),
            "signaaltype": "EINDELEVERING" if ends else "",
            "datum_einde_levering": str(today + timedelta(days=2)) if ends else "",
        }

    def exclusions(self, drawn: list[dict[str, Any]]) -> None:
        """A municipality's file: whom it wants no signals about."""
        today, sent, rows = plain.day(self.town.now), [], []
        for each in drawn:
            postcode, number, letter = each["place"]
            surname, born_on = each["person"]
            until = today + timedelta(days=each["days"])
            sent.append(
                {
                    "postcode": postcode,
                    "huisnummer": number,
                    "huisletter": letter,
                    "achternaam": surname,
                    "geboortedatum": born_on,
                    "uitsluiten_tot": str(until),
                    "reden": "GEEN_HULP_GEWENST",
                    "mutatie": each["mutatie"],
                }
            )
            place = PLACES[each["place"]]
            name = PERSONS[each["person"]]["name"] if surname else ""
            rows.append(
                {
                    "mutatie": each["mutatie"],
                    "municipality": place["municipalities"][0],
                    "A2": place["A2"],
                    "name": name,
                    "born_on": born_on,
                    "until": until,
                }
            )
        fact = {"kind": "exclusions", "rows": rows, "received_at": self.town.now}
        fact["id"] = self.town.world.put("gemeente", content=towns.make_file(sent))
        self.queue.append(fact)

    def answers(self, rows: list[dict[str, Any]], numbers: dict[Any, str], ids: dict[Any, str]) -> None:
        """A municipality's file."""
        fact = {"kind": "feedback", "rows": rows}
        fact["id"] = self.town.world.put(
            "gemeente", content=towns.make_file([_wire(each, numbers, ids) for each in rows])
        )
        self.queue.append(fact)


def _wire(row: dict[str, Any], numbers: dict[Any, str], ids: dict[Any, str]) -> dict[str, str]:
    is_status = row["outcome"] in ("Nog niet opgepakt", "Opgepakt", "Hulp geaccepteerd")
    return {
        "signaalnummer": numbers.get(row["signal"], "S0000000000ZZ") if row["signal"] else "",
        "melding_id": ids[row["melding"]] if row["melding"] else "",
        "status": row["outcome"] if is_status else "",
        "eindresultaat": "" if is_status else row["outcome"],
        "datum": str(row["datum"]),
        "toestemming_terugkoppeling": "J" if row["consents"] else "",
        "opschorten_tot": str(row["until"] or ""),
    }


class Machine(RuleBasedStateMachine):
    """One gateway and its model."""

    template: Path

    @initialize(policy=POLICIES)
    def begin(self, policy: dict[str, Any]) -> None:
        """A new home under some policy."""
        self.policy = policy
        self.town = towns.Town(self.template, policy)
        self.sent = Sent(self.town)
        self.facts: list[dict[str, Any]] = []
        #: what municipalities read: the id of each melding, the number of each signal
        self.ids: dict[Any, str] = {}
        self.numbers: dict[Any, str] = {}
        self.is_right = True
        #: how much of what the model says was compared
        self.compared = {"statuses": 0, "feedback": 0, **dict.fromkeys(plain.SERVED, 0)}

    # -- what happens ------------------------------------------------------------------------------

    @rule(files=st.lists(FILES, min_size=1, max_size=3), kills=KILLS, waits=often([False], [True]))
    def deliver(self, files: list[Any], kills: list[Any], waits: bool) -> None:
        """Creditors send files; they are processed together, now or later."""
        for creditor, rows, same in files:
            self.sent.signals(creditor, rows, same=same)
        if not waits:
            self._process(kills)

    @rule(files=st.lists(FILES, min_size=1, max_size=3), kills=KILLS)
    def deliver_for_publication(self, files: list[Any], kills: list[Any]) -> None:
        """The same, and GM1731 publishes."""
        self.deliver(files, kills, False)
        self.publish("GM1731", kills)

    @precondition(lambda self: self.sent.queue)
    @rule(kills=KILLS)
    def process(self, kills: list[Any]) -> None:
        """What waits is processed."""
        self._process(kills)

    @rule(municipality=st.sampled_from(["GM1731", "GM0303"]), kills=KILLS)
    def publish(self, municipality: str, kills: list[Any]) -> None:
        """`gateway publish`."""
        self.town.until_done(lambda: self.town.publish(municipality), kills)
        self.facts.append({"kind": "publish", "municipality": municipality, "at": self.town.now})
        self._compare()

    @rule(
        days=st.sampled_from([1, 4, 11, 25, 31]),
        hour=st.sampled_from([9, 0, 23]),
        night=often([False], [True]),
        morning=often([False], [True]),
        kills=KILLS,
    )
    def wait(self, days: int, hour: int, night: bool, morning: bool, kills: list[Any]) -> None:
        """Days pass, with or without a purge, and with or without word of what nothing was heard of."""
        day = plain.day(self.town.now) + timedelta(days=days)
        if day <= LAST_DAY:
            self.town.go_to(day, hour)
            if night:
                self.town.world.purge()
                self.facts.append({"kind": "night", "at": self.town.now})
        if morning:
            self.town.until_done(self.town.morning, kills)
            self.facts.append({"kind": "morning", "at": self.town.now})
            self._compare()

    @precondition(lambda self: self.numbers)
    @rule(rows=st.lists(ANSWER_ROWS, min_size=1, max_size=3), kills=KILLS, waits=often([False], [True]))
    def answer(self, rows: list[Any], kills: list[Any], waits: bool) -> None:
        """The municipality answers on what it read, or on what it never read."""
        today = plain.day(self.town.now)
        signals, read = [*self.numbers, ("nobody", "s1")], list(self.ids)
        self.sent.answers(
            [
                {
                    "signal": signals[row["at"] % len(signals)] if row["by"] == "signaalnummer" else None,
                    "melding": read[row["at"] % len(read)] if row["by"] == "melding_id" else None,
                    "outcome": row["outcome"],
                    "datum": today - timedelta(days=row["days"]),
                    "consents": row["consents"],
                    "until": today + timedelta(days=9) if row["until"] else None,
                }
                for row in rows
            ],
            self.numbers,
            self.ids,
        )
        if not waits:
            self._process(kills)

    @rule(rows=st.lists(EXCLUSION_ROWS, min_size=1, max_size=3), kills=KILLS, waits=often([False], [True]))
    def exclude(self, rows: list[Any], kills: list[Any], waits: bool) -> None:
        """The municipality says whom it wants no signals about, for how long, and whom again."""
        self.sent.exclusions(rows)
        if not waits:
            self._process(kills)

    def _process(self, kills: list[Any]) -> None:
        self.town.until_done(self.town.process, kills)
        for fact in self.sent.queue:
            self.facts.append({**fact, "at": self.town.now})
        self.sent.queue.clear()
        if self.policy["on_arrival"]:
            for municipality in plain.SERVED:
                self.facts.append({"kind": "publish", "municipality": municipality, "at": self.town.now})
        self._compare()

    # -- what is read --------------------------------------------------------------------------------

    def _compare(self) -> None:
        """What partners read since the last look is what the model says."""
        self.is_right = False
        fresh = self.town.fresh()
        if fresh["files"]:
            self._learn(fresh["files"], plain.replay(self.facts, self.policy, self.ids))
        said = plain.replay(self.facts, self.policy, self.ids)
        for name in ("statuses", "feedback"):
            new = said[name][self.compared[name] :]
            self.compared[name] = len(said[name])
            read, expected = Counter(fresh[name]), Counter(new)
            assert read == expected, (name, "only read", read - expected, "only said", expected - read)
        for delivery_id, receipt in fresh["receipts"].items():
            expected = _receipt(said["receipts"][delivery_id])
            assert receipt == expected, (delivery_id, receipt, expected)
        for municipality, files in self._by_municipality(fresh["files"]).items():
            expected = [each for each in said["files"] if each["municipality"] == municipality]
            expected = expected[self.compared[municipality] :]
            self.compared[municipality] += len(expected)
            assert [each[0]["maand"] for each in files] == [each["month"] for each in expected]
            for lines, file in zip(files, expected, strict=True):
                named = {self.ids[key]: melding for key, melding in file["meldingen"].items()}
                read = towns.meldingen(lines)
                assert read == named, _differ(read, named)
                ranks = [each["rang"] for each in read.values() if each.get("rang")]
                assert ranks == sorted(ranks)
        self.is_right = True

    def _learn(self, files: list[Any], said: dict[str, Any]) -> None:
        """Which id each melding of the model has, and which number each signal; neither ever changes."""
        for municipality, found in self._by_municipality(files).items():
            expected = [each for each in said["files"] if each["municipality"] == municipality]
            for lines, file in zip(found, expected[self.compared[municipality] :], strict=False):
                for melding_id, melding in towns.meldingen(lines).items():
                    members = melding.get("signalen", {}).keys()
                    for key, each in file["meldingen"].items():
                        if members and each.get("signalen", {}).keys() == members:
                            assert self.ids.setdefault(key, melding_id) == melding_id
                            assert melding_id.startswith(f"M{key[0][2:]}{key[1].replace('-', '')}-")
        for lines in files:
            for line in lines:
                if line["signaalnummer"]:
                    name = (line["partner"], line["woonplaats"])
                    assert self.numbers.setdefault(name, line["signaalnummer"]) == line["signaalnummer"]
        assert len(set(self.ids.values())) == len(self.ids)
        assert len(set(self.numbers.values())) == len(self.numbers)

    def _by_municipality(self, files: list[Any]) -> dict[str, list[Any]]:
        return {code: [each for each in files if each[0]["gemeentecode"] == code] for code in plain.SERVED}

    @invariant()
    def adds_up(self) -> None:
        """`gateway ledger check` finds nothing."""
        if hasattr(self, "town"):
            assert self.town.differences() == ()

    def teardown(self) -> None:
        """All that waits is processed and published."""
        if hasattr(self, "town"):
            try:
                if self.is_right:
                    self._process([])
                    for municipality in plain.SERVED:
                        self.publish(municipality, [])
                    self.adds_up()
            finally:
                self.town.close()


def _differ(read: dict[str, Any], said: dict[str, Any]) -> list[Any]:
    """Melding, name, what was read, what the model says."""
    return [
        (melding_id, name, read.get(melding_id, {}).get(name), said.get(melding_id, {}).get(name))
        for melding_id in read.keys() | said.keys()
        for name in read.get(melding_id, {}).keys() | said.get(melding_id, {}).keys()
        if read.get(melding_id, {}).get(name) != said.get(melding_id, {}).get(name)
    ]


def _receipt(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "refused": said.get("refused", ""),
        "rejected": sorted(said["rejected"]),
        "duplicates": sorted(said.get("duplicates", [])),
        "sums": [said.get(name, 0) for name in ("new", "changed", "withdrawn")],
    }


@pytest.fixture(autouse=True)
def no_worklists(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model says nothing of them, and they take most of an example's time."""
    monkeypatch.setattr(worker, "due_worklists", lambda _: [])


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_machine(tmp_path: Path) -> None:
    """The product says what the model says."""
    Machine.template = towns.make_template(tmp_path)
    run_state_machine_as_test(Machine, settings=SETTINGS)


def _one_by_one(town: Any, sent: Sent, files: list[Any], kills: list[Any]) -> None:
    for creditor, row in files:
        sent.signals(creditor, [row], same=False)
        town.process()


def _all_at_once(town: Any, sent: Sent, files: list[Any], kills: list[Any]) -> None:
    for creditor, row in files:
        sent.signals(creditor, [row], same=False)
    town.process()


def _killed(town: Any, sent: Sent, files: list[Any], kills: list[Any]) -> None:
    for creditor, row in files:
        sent.signals(creditor, [row], same=False)
    town.until_done(town.process, kills)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A home that others are copied from."""
    made: Path = towns.make_template(tmp_path)
    return made


@settings(SETTINGS, max_examples=EXAMPLES // 10 or 2)
@given(
    policy=POLICIES,
    files=st.lists(st.tuples(st.sampled_from(towns.CREDITORS), ROWS), min_size=4, max_size=12),
    kills=st.lists(
        st.tuples(st.integers(1, 60), st.sampled_from(["before", "inside", "after"])), min_size=1, max_size=3
    ),
)
@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_grouping_and_interruption_change_nothing(
    template: Path, policy: dict[str, Any], files: list[Any], kills: list[Any]
) -> None:
    """One at a time, all at once or again after a kill: the same meldingen, ranks, statuses and receipts.

    Each file has one row, so that no two meldingen are of the same second and ids decide no rank.
    """
    read = []
    for way in (_one_by_one, _all_at_once, _killed):
        town = towns.Town(template, {**policy, "on_arrival": False})
        try:
            way(town, Sent(town), files, kills)
            for municipality in plain.SERVED:
                town.publish(municipality)
            fresh = town.fresh()
            assert town.differences() == ()
        finally:
            town.close()
        published = [
            (lines[0]["gemeentecode"], lines[0]["maand"], list(towns.meldingen(lines).values()))
            for lines in fresh["files"]
        ]
        read.append((published, Counter(fresh["statuses"]), fresh["receipts"]))
    assert read[0] == read[1] == read[2]
