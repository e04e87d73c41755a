"""Signals without a municipality (D40), looked at again: as if it had been known when they came (spec 3)."""

from __future__ import annotations

import json
from datetime import date

import pytest
from sqlalchemy import update

from gateway.domain.policy import Publish
from gateway.pipeline import reroute as reroute_steps
from gateway.pipeline.ledger import check
from gateway.pipeline.reroute import preview, reroute
from gateway.store import reference
from gateway.store.tables import (
    AuditEntry,
    DataKeyRow,
    Delivery,
    DeliveryShare,
    Dispatch,
    MeldingRow,
    SignalRow,
)

NOWHERE = {"postcode": "9999ZZ", "huisnummer": "1"}
#: In the finer table it lies in a municipality that nobody serves.
UNSERVED = {"postcode": "9999ZZ", "huisnummer": "2"}
FINER = (
    ("7938PL", 18, "GM1731"),
    ("9999ZZ", 1, "GM1731"),
    ("9999ZZ", 2, "GM0363"),
    ("9999ZZ", 3, "GM0303"),
)


def load_finer(world):
    """The table that tells of 9999ZZ."""
    reference.load(world.context.reference, FINER)


def by_amount(world, *columns):
    """Some columns of each signal in force, by amount in euro."""
    return {
        row["amount_cents"] // 100: tuple(row[name] for name in columns)
        for row in world.rows(SignalRow)
        if row["in_force"]
    }


def test_it_becomes_active_where_it_belongs(world, row):
    """Nothing before; then in the melding of its neighbour, whole, with D10 and all that it said."""
    whole = {
        "voorletters": "J.",
        "voorvoegsel": "van der",
        "achternaam": "Berg",
        "straatnaam": "Dorpsstraat",
        "huisletter": "a",
        "huisnummertoevoeging": "bis",
        "woonplaats": "Beilen",
        "telefoonnummer": "0612345678",
        "emailadres": "j@example.org",
        "product": "Flat",
        "warme_overdracht": "J",
        "dagen_achterstand": "",
        "ontstaansdatum": "2026-09-01",
    }
    world.send("woonservice", row("w1", **NOWHERE, **whole))
    assert world.told("woonservice") == [("w1", "D40")]
    load_finer(world)
    world.send("dezorgkas", row("z1", sector="Zorg", **NOWHERE))
    (alone,) = world.publish()
    found = reroute(world.context, actor="beheer")
    assert (found.routed, found.not_connected, found.left) == ({"GM1731": 1}, {}, 0)
    shares = {(each["municipality"], each["signals"]) for each in world.rows(DeliveryShare)}
    assert shares == {("", 0), ("GM1731", 1)}
    lines = {line["partner"]: line for line in world.publish()}
    line = lines["woonservice"]
    assert {line["melding_id"], lines["dezorgkas"]["melding_id"]} == {alone["melding_id"]}
    assert (line["versie"], line["klasse"], line["matchregels"]) == ("2", "MATCH", "MEERVOUDIG")
    told = {name: line[name] for name in whole} | {"huisletter": line["huisletter"].lower()}
    assert told == whole | {"dagen_achterstand": line["dagen_achterstand"]}
    assert (line["klantnummer"], line["geboortedatum"], line["bedrag"]) == ("k-w1", "1980-05-01", "600,00")
    assert world.told("woonservice") == [("w1", "D10")]
    assert reroute(world.context, actor="beheer").routed == {}


#: What becomes of one debt, file by file: signaal_id, amount in euro (each once), and what else the row says.
HISTORIES = (
    ([("later", 1, {})], [("supersedes", 2, {})]),
    ([("higher", 3, {}), ("lower", 4, {})],),
    ([("one", 5, {})], [("two", 6, {})], [("three", 7, {})]),
    ([("product", 8, {})], [("another", 9, {"product": "Gas"})]),
    ([("was", 10, {})], [("changes", 11, {"klantnummer": "x"})], [("changes", 12, {"mutatie": "W"})]),
    ([("crisis", 13, {"crisissignaal": "J"})],),
    ([("withdrawn", 14, {})], [("withdrawn", 14, {"mutatie": "I"})]),
    ([("changed", 15, {})], [("changed", 16, {"mutatie": "W"})]),
    ([("neighbour", 17, {}), ("downstairs", 18, {"achternaam": "Smit", "huisletter": "B"})],),
)


def test_as_if_it_had_been_known(world, row, tmp_path):
    """Whenever the finer table comes, signals and meldingen are the same in the end."""
    addresses = [("9999ZZ", number, "GM1731") for number in range(1, len(HISTORIES) + 1)]
    outcomes = []
    for loaded_before in (0, 1, 3):
        world = world.create(tmp_path / f"{loaded_before}")
        world.policy(publish=Publish(when="0 7 15 * *"))
        for turn in range(4):
            if turn == loaded_before:
                reference.load(world.context.reference, addresses)
            rows = [
                row(
                    name.replace(" ", "-"),
                    **{"klantnummer": number, **NOWHERE, "huisnummer": number, "bedrag": euro, **values},
                )
                for number, history in enumerate(HISTORIES, start=1)
                for name, euro, values in (history[turn] if turn < len(history) else ())
            ]
            if rows:
                world.send("woonservice", *rows)
        found = reroute(world.context, actor="beheer")
        assert (found.left, bool(found.routed)) == (0, loaded_before > 0)
        assert check(world.context).differences == ()
        lines = {line["bedrag"]: (line["klasse"], line["matchregels"]) for line in world.publish_now()}
        told = sorted(
            (line["signaal_id"], line["code"], line["gemeentecode"])
            for line in world._fresh("woonservice", "signal_status")
            if line["code"] in {"D10", "D51"}
        )
        outcomes.append((by_amount(world, "state"), lines, told))
    assert outcomes[1] == outcomes[0]
    assert outcomes[2] == outcomes[0]


def test_whom_it_ends_and_who_ends_it(world, row):
    """Newer than what came before it: that is told D51. Older than what came since, withdrawn or not: itself is."""
    near = {"postcode": "9999ZZ", "huisnummer": "1", "klantnummer": "k"}
    world.send("woonservice", row("a1", **near, bedrag="1"))
    load_finer(world)
    world.send("woonservice", row("b", **near, bedrag="2"))
    world.send("woonservice", row("b", mutatie="I"))
    world.publish()
    world.told("woonservice")
    reroute(world.context, actor="beheer")
    assert by_amount(world, "state") == {1: ("superseded",), 2: ("withdrawn",)}
    (told,) = world._fresh("woonservice", "signal_status")
    assert (told["signaal_id"], told["code"], told["gemeentecode"]) == ("a1", "D51", "GM1731")
    assert world.publish() == []


def test_a_municipality_that_nobody_serves(world, row):
    """D41: told, and nothing is left of what it said; the same row again is another try."""
    sent = row("w1", **UNSERVED, klantnummer="k", crisissignaal="J")
    world.send("woonservice", sent)
    load_finer(world)
    world.told("woonservice")
    found = reroute(world.context, actor="beheer")
    assert (found.routed, found.not_connected) == ({}, {"GM0363": 1})
    (kept,) = world.rows(SignalRow)
    assert (kept["state"], kept["municipality"]) == ("not_connected", "GM0363")
    assert (kept["sealed"], kept["data_key_id"], kept["amount_cents"], kept["is_crisis"]) == (
        None,
        None,
        0,
        False,
    )
    assert "-" not in {key["municipality"] for key in world.rows(DataKeyRow)}
    (told,) = world._fresh("woonservice", "signal_status")
    assert (told["signaal_id"], told["klantnummer"], told["code"], told["gemeentecode"]) == (
        "w1",
        "k",
        "D41",
        "GM0363",
    )
    assert world.publish() == []
    world.configure(served_by={**world.context.served_by, "GM0363": "gemeente"})
    assert reroute(world.context, actor="beheer").routed == {}
    receipt = world.send("woonservice", sent)
    assert receipt["sommen"]["wijzigingen"] == 1
    assert [line["gemeentecode"] for line in world.publish()] == ["GM0363"]


def test_the_key_of_its_municipality_and_day(world, row):
    """Sealed under the key that this delivery's rows there have already; held for the whole term from then on."""
    world.send("woonservice", row("w1"), row("w2", **NOWHERE), row("w3", postcode="9999ZZ", huisnummer="3"))
    world.send("dezorgkas", row("z1", sector="Zorg", postcode="9999ZZ", huisnummer="9"))
    load_finer(world)
    world.policy("GM0303", signals_months=2)
    reroute(world.context, actor="beheer")
    keys = {(key["object_id"], key["municipality"]): key for key in world.rows(DataKeyRow)}
    rows = {row["line"]: row for row in world.rows(SignalRow) if row["delivery_id"] == "L0001"}
    assert {at for at in keys if at[0] == "L0001"} == {
        ("L0001", ""),
        ("L0001", "GM1731"),
        ("L0001", "GM0303"),
    }
    assert rows[3]["data_key_id"] == rows[2]["data_key_id"] == keys["L0001", "GM1731"]["id"]
    assert (
        rows[4]["due_on"]
        == rows[4]["contents_due_on"]
        == keys["L0001", "GM0303"]["due_on"]
        == date(2027, 1, 3)
    )
    assert ("L0002", "-") in keys
    world.go_to(date(2026, 11, 25))
    world.purge()
    assert len(world.publish()) == 3
    world.go_to(date(2027, 5, 4))
    world.purge()
    assert world.rows(SignalRow) == []


def test_contents_that_are_gone(world, row):
    """After 14 days there is nothing to look at, whether the purge came by or not."""
    world.send("woonservice", row("w1", **NOWHERE))
    load_finer(world)
    world.go_to(date(2026, 11, 18))
    for purged in (False, True):
        if purged:
            world.purge()
        found = reroute(world.context, actor="beheer")
        assert (found.routed, found.left, found.gone) == ({}, 0, 1)
    assert by_amount(world, "state") == {600: ("not_routable",)}


def test_a_kill_between_batches(world, row, monkeypatch):
    """What was not reached is done by the next run; nothing is done twice."""
    monkeypatch.setattr(reroute_steps, "_BATCH", 1)
    world.send("woonservice", *(row(f"w{n}", **NOWHERE, bedrag=f"{n}") for n in (1, 2, 3)))
    world.send("woonservice", row("w4", **UNSERVED, bedrag="4"))
    load_finer(world)
    world.told("woonservice")
    real, calls = reroute_steps.record, []

    def cut(*args, **values):
        calls.append(values)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*args, **values)

    with monkeypatch.context() as patch:
        patch.setattr(reroute_steps, "record", cut)
        with pytest.raises(KeyboardInterrupt):
            reroute(world.context, actor="beheer")
    assert sorted(state for (state,) in by_amount(world, "state").values()) == [
        *["not_routable"] * 3,
        "waiting",
    ]
    found = reroute(world.context, actor="beheer")
    assert (found.routed, found.not_connected) == ({"GM1731": 2}, {"GM0363": 1})
    entries = [json.loads(each["entry"]) for each in world.rows(AuditEntry)]
    details = [
        (each["object"], each["actor"], each["detail"])
        for each in entries
        if each["action"] == "signals.rerouted"
    ]
    assert details == [
        *[("L0001", "beheer", {"routed": 1, "not_connected": 0})] * 3,
        ("L0002", "beheer", {"routed": 0, "not_connected": 1}),
    ]
    assert len(world.publish()) == 3
    assert world.told("woonservice") == [("w1", "D10"), ("w2", "D10"), ("w3", "D10"), ("w4", "D41")]


def test_a_look_beforehand(world, row):
    """The same counts, and not a row is touched."""
    world.send(
        "woonservice",
        row("w1", **NOWHERE),
        row("w2", **UNSERVED),
        row("w3", postcode="9999ZZ", huisnummer="7"),
    )
    assert preview(world.context).left == 3
    load_finer(world)
    before = [world.rows(table) for table in (SignalRow, DataKeyRow, Dispatch, MeldingRow, AuditEntry)]
    found = preview(world.context)
    assert [
        world.rows(table) for table in (SignalRow, DataKeyRow, Dispatch, MeldingRow, AuditEntry)
    ] == before
    assert found == reroute(world.context, actor="beheer")
    assert (found.routed, found.not_connected, found.left) == ({"GM1731": 1}, {"GM0363": 1}, 1)


def test_a_damaged_row_stops_no_other(world, row):
    """It is told of and stays; the others are moved."""
    world.send("woonservice", row("w1", **NOWHERE, bedrag="1"), row("w2", **NOWHERE, bedrag="2"))
    with world.context.store.write() as conn:
        table = SignalRow.__table__
        conn.execute(update(table).where(table.c.line == 2).values(sealed=b"\0" * 400))
    load_finer(world)
    found = reroute(world.context, actor="beheer")
    assert (found.routed, found.unreadable) == ({"GM1731": 1}, 1)
    assert by_amount(world, "state") == {1: ("not_routable",), 2: ("waiting",)}


def test_a_later_month_that_looked_back(world, row):
    """What was published meanwhile is made again: `herhaald` and `opeenvolgend` now know of it."""
    world.go_to(date(2026, 10, 29))
    world.send("woonservice", row("w1", **NOWHERE, klantnummer="k"))
    world.go_to(date(2026, 11, 3))
    load_finer(world)
    world.send("woonservice", row("w2", **NOWHERE, klantnummer="k"))
    (line,) = world.publish()
    assert (line["herhaald"], line["opeenvolgend"]) == ("N", "N")
    reroute(world.context, actor="beheer")
    lines = {line["maand"]: line for line in world.publish()}
    assert (lines["2026-11"]["herhaald"], lines["2026-11"]["opeenvolgend"]) == ("J", "J")
    assert lines["2026-10"]["versie"] == "1"


def test_intake_waits_for_it(world, row, monkeypatch):
    """It holds what intake, publication and purge hold, so a melding gets all its signals at once."""
    world.send("woonservice", row("w1", **NOWHERE))
    load_finer(world)
    held = []

    class Watched(type(world.context.store)):
        def exclusive(self):
            held.append(self)
            return super().exclusive()

    monkeypatch.setattr(world.context.store, "__class__", Watched)
    preview(world.context)
    assert held == []
    reroute(world.context, actor="beheer")
    assert len(held) == 1
    assert world.rows(Delivery)[0]["state"] == "processed"
