"""The ledger: it adds up whatever came, went and was purged, and each check can fail and names what differs."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from gateway.clock import add_months
from gateway.domain.ledger import CLAIMS, MOST_IDS, Check, DeliveryFigures, Figures, Found, differences
from gateway.pipeline.ledger import check
from gateway.store.tables import Delivery, MeldingRow, SignalRow


@pytest.fixture
def busy(world, row, csv_file):
    """A gateway in which everything happened that makes a row: N, W, I, D40, D41, D50, D51, rejected, refused."""
    world.send("woonservice", row("w1", klantnummer="k"), row("w2", huisnummer=20), row("w3", sector="?"))
    world.send(
        "dezorgkas", row("z1", sector="Zorg"), row("z2", sector="Zorg", postcode="8251AA", huisnummer=1)
    )
    world.publish()
    world.send(
        "woonservice",
        row("w1", klantnummer="k", mutatie="W", bedrag="700,00"),
        row("w2", mutatie="I"),
        row("w4", klantnummer="k"),
        row("w5", postcode="9999ZZ", huisnummer=1),
        row("w6", postcode="1011AB", huisnummer=1),
    )
    world.send("dezorgkas", row("z1", sector="Zorg"), row("z3", sector="Zorg", huisnummer=22))
    world.put("dezorgkas", content=b"")
    world.publish()
    world.send("vitens", row("v1", sector="Water"))
    world.put("stroomhuis", row("s1", sector="Energie"))
    return world


def test_it_adds_up(busy):
    """New signals are those held, in one state each, and those purged."""
    found = check(busy.context)
    assert found.differences == ()
    assert found.deliveries == {"processed": 5, "rejected": 1, "arrived": 1}
    assert (found.rows, found.new, found.purged) == (13, 9, 0)
    assert found.signals == {
        "passed_on": 4,
        "waiting": 1,
        "withdrawn": 1,
        "superseded": 1,
        "not_routable": 1,
        "not_connected": 1,
    }


def test_it_adds_up_after_the_purge(busy):
    """A version that was replaced is no signal that went; a signal that went is counted as purged, once."""
    busy.work()
    busy.publish()
    night = date(2026, 11, 4)
    busy.go_to(night)
    busy.purge()
    found = check(busy.context)
    assert (found.new, sum(found.signals.values()), found.purged, found.differences) == (10, 10, 0, ())
    assert sum(row["purged_rows"] for row in busy.rows(Delivery)) == 1
    busy.go_to(add_months(night, 6))
    busy.purge()
    found = check(busy.context)
    assert (found.new, found.signals, found.purged, found.differences) == (10, {}, 10, ())
    assert busy.rows(SignalRow) == busy.rows(MeldingRow) == []


def test_it_adds_up_after_the_tombstones(busy, row):
    """What not even a tombstone is left of still counts; a tombstone that is taken away earlier is missed."""
    busy.work()
    busy.publish()
    night = date(2026, 11, 4)
    busy.go_to(add_months(night, 6))
    busy.purge()
    before = check(busy.context)
    busy.go_to(add_months(night, 12))
    busy.send("woonservice", row("later"))
    busy.publish()
    busy.go_to(add_months(night, 6 + 84) + timedelta(days=1))
    busy.purge()
    found = check(busy.context)
    assert (found.new, found.purged, found.differences) == (before.new + 1, before.purged + 1, ())
    (left,) = busy.rows(Delivery)
    with busy.context.store.write() as conn:
        conn.execute(text("DELETE FROM delivery"))
        conn.execute(text("UPDATE forgotten SET value = value - 1 WHERE name = 'arrivals'"))
        conn.execute(text("UPDATE forgotten SET value = value - 1 WHERE name = 'new/woonservice'"))
    signals, arrivals = check(busy.context).differences
    assert (signals.check, arrivals.check) == (Check.SIGNALS, Check.ARRIVALS)
    assert arrivals.ids[0] == f"arrival {left['arrival']}"
    assert arrivals.ids[1].endswith("are not there, 6 were let go")
    busy.is_damaged = True


#: What a tamperer, a bug or a bad restore does, and the checks that must tell.
DAMAGES = {
    "a sum is another": (
        "UPDATE delivery SET rejected_count = 0 WHERE id = 'L0001'",
        {Check.ROWS},
    ),
    "a refused file counts": (
        "UPDATE delivery SET row_count = 1, duplicate_count = 1 WHERE state = 'rejected'",
        {Check.ROWS},
    ),
    "a signal is gone": ("DELETE FROM signal WHERE state = 'not_routable'", {Check.VERSIONS, Check.SIGNALS}),
    "a signal is there twice": (
        "INSERT INTO signal SELECT 999, 'S0', delivery_id, data_key_id, line, creditor, municipality, month, state, "
        "in_force, sector, signal_type, is_crisis, warm_handover, amount_cents, signalled_on, since, supply_ends_on, "
        "received_at, first_received_at, first_arrival, first_line, place_s1, place_k1, place_a1, place_a2, place_p1, "
        "place_as, place_person, content_token, content_key, melding_id, passed_on_at, "
        "reported_before, due_on, contents_due_on, is_erased, "
        "sealed FROM signal WHERE state = 'waiting'",
        {Check.VERSIONS, Check.SIGNALS, Check.UNIQUE},
    ),
    "a purged signal was not counted": (
        "UPDATE delivery SET new_count = new_count + 1, row_count = row_count + 1, purged_rows = 1 WHERE id = 'L0002'",
        {Check.SIGNALS},
    ),
    "a state that there is not": (
        "UPDATE signal SET state = 'lost' WHERE state = 'not_connected'",
        {Check.STATES},
    ),
    "of another creditor": (
        "UPDATE signal SET creditor = 'vitens' WHERE state = 'withdrawn'",
        {Check.SIGNALS, Check.OWNERS},
    ),
    "of no delivery": (
        "UPDATE signal SET delivery_id = 'L9999' WHERE state = 'withdrawn'",
        {Check.OWNERS, Check.CONTENTS, Check.VERSIONS},
    ),
    "no version is in force": (
        "UPDATE signal SET in_force = 0 WHERE state = 'withdrawn'",
        {Check.SIGNALS, Check.IN_FORCE},
    ),
    "two versions are in force": (
        "UPDATE signal SET in_force = 1, state = 'withdrawn', due_on = '2027-05-01' WHERE in_force = 0",
        {Check.SIGNALS, Check.IN_FORCE, Check.UNIQUE},
    ),
    "a melding is gone": (
        "DELETE FROM melding WHERE id = (SELECT melding_id FROM signal WHERE state = 'waiting')",
        {Check.MELDING},
    ),
    "another place": (
        "UPDATE melding SET place = place + 1 WHERE municipality = 'GM0303'",
        {Check.MELDING},
    ),
    "another key": ("UPDATE grouping SET level = 'person' WHERE municipality = 'GM0303'", {Check.MELDING}),
    "nobody will look": ("UPDATE melding SET touched_at = NULL", {Check.WAITING}),
    "waits for ever": (
        "UPDATE signal SET state = 'waiting' WHERE municipality = 'GM0303'",
        {Check.WAITING},
    ),
    "passed on without a time": (
        "UPDATE signal SET passed_on_at = NULL WHERE municipality = 'GM0303'",
        {Check.WAITING},
    ),
    "in no publication": (
        "UPDATE melding SET published = json_set(published, '$[2]', json_array(1)) WHERE municipality = 'GM0303'",
        {Check.PUBLISHED, Check.VERSION},
    ),
    "published and withdrawn": (
        "UPDATE signal SET state = 'withdrawn' WHERE municipality = 'GM0303'",
        {Check.PUBLISHED},
    ),
    "another amount": ("UPDATE signal SET amount_cents = 1 WHERE municipality = 'GM0303'", {Check.FIGURES}),
    "another class": ("UPDATE melding SET klasse = 'MATCH' WHERE municipality = 'GM0303'", {Check.VERSION}),
    "never published": ("UPDATE melding SET version = 0 WHERE municipality = 'GM0303'", {Check.VERSION}),
    "another fingerprint": (
        "UPDATE melding SET fingerprint = 'lapsed' WHERE municipality = 'GM0303'",
        {Check.VERSION},
    ),
    "no trace": ("DELETE FROM dispatch_content", {Check.TRACED}),
    "no blob": (
        "UPDATE delivery SET blob = '0123456789abcdef0123456789abcdef' WHERE id = 'L0001'",
        {Check.BLOBS, Check.ORPHANS},
    ),
    "a blob of another size": ("UPDATE dispatch SET sealed_bytes = 1 WHERE kind = 'manifest'", {Check.BLOBS}),
    "a blob of nobody": (
        "UPDATE delivery SET raw_gone_at = received_at, blob = NULL WHERE id = 'L0001'",
        {Check.ORPHANS},
    ),
    "no wrapped key": ("DELETE FROM data_key WHERE object_id = 'L0001' AND municipality = ''", {Check.KEYS}),
    "no key for what lies ready": (
        "DELETE FROM data_key WHERE object_id IN (SELECT id FROM dispatch)",
        {Check.KEYS},
    ),
    "no key in the keyring": ("UPDATE data_key SET key_id = 'until-2020-01-01'", {Check.KEYS}),
    "no key of rows": (
        "DELETE FROM data_key WHERE object_id = 'L0002' AND municipality = 'GM0303'",
        {Check.CONTENTS},
    ),
    "no contents": (
        "UPDATE signal SET sealed = NULL, data_key_id = NULL WHERE municipality = 'GM0303'",
        {Check.CONTENTS},
    ),
    "no receipt": ("UPDATE dispatch SET delivery_id = NULL WHERE delivery_id = 'L0001'", {Check.RECEIPTS}),
    "no receipt of a refused file": (
        "DELETE FROM dispatch WHERE kind = 'receipt' AND name LIKE '%.csv' AND delivery_id = 'L0005'",
        {Check.RECEIPTS, Check.ORPHANS},
    ),
    "a delivery is gone": ("DELETE FROM delivery WHERE state = 'arrived'", {Check.ARRIVALS, Check.ORPHANS}),
    "an outgoing file is gone": (
        "DELETE FROM dispatch WHERE kind = 'signal_status' AND partner_id = 'dezorgkas'",
        {Check.NUMBERS, Check.ORPHANS},
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_check_can_fail(busy, damage):
    """What was damaged is told, by the checks that are about it, and by no other."""
    busy.is_damaged = True
    statement, told = DAMAGES[damage]
    with busy.context.store.write() as conn:
        conn.execute(text("PRAGMA ignore_check_constraints = ON"))
        changed = conn.execute(text(statement))
        assert changed.rowcount
    found = check(busy.context).differences
    assert {each.check for each in found} == told
    assert all(each.count >= len(each.ids) > 0 for each in found)
    assert all(each.claim and each.remedy for each in found)


def test_every_check_is_made_to_fail():
    """No check is left out above."""
    assert set().union(*(told for _, told in DAMAGES.values())) == set(Check) == set(CLAIMS)


def test_what_is_staged_is_nobodys(busy, row, monkeypatch):
    """Half-way a file nothing differs: what is staged is in no sum, and a blob without a row is named."""
    busy.is_damaged = True
    monkeypatch.setattr("gateway.pipeline.rows.receipt", lambda *_: 1 / 0)
    busy.put("woonservice", row("w7"))
    busy.work()
    assert any(not each["in_force"] and each["state"] == "waiting" for each in busy.rows(SignalRow))
    assert {each.check for each in check(busy.context).differences} <= {Check.ORPHANS}


def test_the_first_of_many_are_named():
    """Ten thousand of a kind are counted, and twenty of them named."""
    many = [
        DeliveryFigures(id=f"L{n}", partner_id="p", state="processed", rows=1, receipts=2)
        for n in range(10_000)
    ]
    (told,) = differences(Figures(deliveries=many))
    assert (told.check, told.count, len(told.ids)) == (Check.ROWS, 10_000, MOST_IDS)
    assert told.ids[0] == "L0: 1 rows, 0 accounted for"


def test_differences_come_in_the_order_of_the_checks():
    """However they were found."""
    found = [Found(check=each, count=1, ids=("x",)) for each in reversed(Check)]
    assert [each.check for each in differences(Figures(deliveries=[], found=found))] == list(Check)
