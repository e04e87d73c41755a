"""Whatever interrupts the pipeline, the outcome is the same (spec 1, States and Conservation)."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest

from gateway.domain.delivery import DeliveryState
from gateway.pipeline import intake as intake_steps
from gateway.pipeline import publish as publish_steps
from gateway.pipeline import rows, staging
from gateway.pipeline.worker import step
from gateway.store import meldingen, signals
from gateway.store.tables import DataKeyRow, Delivery, Dispatch, MeldingRow, SignalRow


class Cut(Exception):
    """The worker ends here."""


def cut(*_args, **_options):
    """Ends the worker."""
    raise Cut


@pytest.fixture(params=[1, 2, 1_000], ids="batches of {}".format)
def batches(request, monkeypatch):
    """Files are staged in so many rows at a time."""
    monkeypatch.setattr(rows, "BATCH_ROWS", request.param)
    return request.param


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (meldingen, "add"),
        (signals, "stage"),
        (meldingen, "touch_ids"),
        (signals, "show"),
        (meldingen, "mark_urgent"),
        (intake_steps, "record"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_intake_is_repeated_from_the_start(world, row, monkeypatch, batches, place, name):
    """Cut anywhere in its intake, a file is processed once: same sums, one signal each, no row left over."""
    world.send("woonservice", row("old"), row("gone"))
    world.publish()
    world.put(
        "woonservice", row("a"), row("old", mutatie="W"), row("gone", mutatie="I"), row("b", bedrag="0")
    )
    with monkeypatch.context() as patch:
        patch.setattr(place, name, cut)
        world.work()
        states = {held["number"]: held["state"] for held in world.rows(SignalRow) if held["in_force"]}
        assert Counter(states.values()) == {"passed_on": 2}
        assert world.new_lines() == []
        assert world.told("woonservice") == [("gone", "D10"), ("old", "D10")]
    world.clock.step(timedelta(minutes=2))
    world.work()
    found = [value for name, value in world.receipt("L0002")["sommen"].items() if name != "regels"]
    assert found == [1, 1, 1, 1, 0]
    in_force = Counter(held["state"] for held in world.rows(SignalRow) if held["in_force"])
    world.publish()
    assert len(world.rows(SignalRow)) == 4
    assert in_force.total() == 3
    assert len(world.dispatches("woonservice", "receipt")) == 4
    assert world.told("woonservice") == [("a", "D10"), ("gone", "D52")]
    keys = Counter(key["object_id"] for key in world.rows(DataKeyRow))
    assert keys["L0002"] == 2  # the file's and its rows'


def test_what_is_stored_in_parts_is_found_again(world, row, monkeypatch):
    """Cut off behind the meldingen that it begins, a file joins them at the next try: none is left without signals."""
    monkeypatch.setattr(staging, "_STAGE_ROWS", 1)
    world.put("woonservice", row("a"), row("b", huisnummer=26))
    with monkeypatch.context() as patch:
        patch.setattr(signals, "stage", cut)
        world.work()
    begun = {melding["id"] for melding in world.rows(MeldingRow)}
    assert len(begun) == 2
    assert not world.rows(SignalRow)
    world.clock.step(timedelta(minutes=2))
    world.work()
    assert {melding["id"] for melding in world.rows(MeldingRow)} == begun
    assert {signal["melding_id"] for signal in world.rows(SignalRow)} == begun


def test_a_short_batch_is_stored_by_one_transaction(world, row, monkeypatch):
    """It holds the database for a moment only: its claim, its rows, and what shows them."""
    world.send("woonservice", row("z"))  # what a month begins with
    world.put("woonservice", row("a"), row("b", huisnummer=26))
    commits = []
    keep = world.context.store.write
    monkeypatch.setattr(world.context.store, "write", lambda **how: (commits.append(how), keep(**how))[1])
    assert step(world.context)
    assert commits == [{"is_durable": False}, {"is_durable": False}, {}]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (publish_steps, "part_of"),
        (publish_steps, "status_file"),
        (meldingen, "mark_published"),
        (signals, "mark_passed_on"),
        (publish_steps, "record_all"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_publication_is_made_once(world, row, monkeypatch, place, name):
    """Cut anywhere in it, a publication comes whole at the next look, under the first number."""
    world.send("woonservice", row("a"))
    world.clock.step(timedelta(seconds=5))
    with monkeypatch.context() as patch:
        patch.setattr(place, name, cut)
        world.work()
    assert not world.dispatches("gemeente", "meldingen")
    world.work()
    assert [each["name"] for each in world.dispatches("gemeente", "meldingen")] == [
        "meldingen_GM1731_2026-11_1.csv"
    ]
    assert world.told("woonservice") == [("a", "D10")]
    assert [melding["version"] for melding in world.rows(MeldingRow)] == [1]


def test_a_file_that_is_refused_halfway_leaves_nothing(world, row, csv_file, monkeypatch, batches):
    """F09 on the last line: what was staged before it is gone, and nothing is published."""
    content = csv_file(row("a"), row("b"), row("c")).removesuffix(b"\r\n").rsplit(b";", 5)[0]
    receipt = world.send("woonservice", content=content)
    assert receipt["weigering"]["code"] == "F09"
    assert not world.rows(SignalRow)
    assert world.publish() == []
    assert [key["municipality"] for key in world.rows(DataKeyRow) if key["object_id"] == "L0001"] == [""]


def test_batches_make_no_difference(world, row, batches):
    """Rows that speak of each other across batches: V13, superseding, W, I and auto meldingen as in one."""
    receipt = world.send(
        "woonservice",
        row("a", klantnummer="k"),
        row("b", klantnummer="k"),
        row("a", mutatie="W", klantnummer="k"),
        row("c"),
        row("c", mutatie="W", bedrag="1,00"),
        row("c"),
        row("d"),
        row("d", mutatie="I"),
    )
    assert [entry["code"] for entry in receipt["afgekeurd"]] == ["V14", "V13"]
    lines = world.publish()
    assert len({line["melding_id"] for line in lines}) == 1
    assert sorted((line["klantnummer"], line["bedrag"]) for line in lines) == [
        ("k", "600,00"),
        ("k-c", "1,00"),
    ]
    assert world.told("woonservice") == [("a", "D51"), ("b", "D10"), ("c", "D10"), ("d", "D52")]


def test_every_signal_is_in_one_state_and_one_melding(world, row):
    """Sums over all receipts equal what is held: each waiting or passed-on signal in one current melding."""
    rows = [row(f"s{n}", huisnummer=("18", "20")[n % 2]) for n in range(6)]
    receipts = [
        world.send(
            "woonservice", *rows, row("x", postcode="9999ZZ"), row("y", postcode="1011AB", huisnummer="1")
        ),
        world.send("woonservice", rows[0], row("s1", mutatie="I"), row("s2", mutatie="W", huisnummer="20")),
        world.send("woonservice", row("s9", klantnummer="k-s3", huisnummer="20"), row("s1", mutatie="W")),
    ]
    world.publish()
    new = sum(receipt["sommen"]["signalen"] for receipt in receipts)
    held = [each for each in world.rows(SignalRow) if each["in_force"]]
    assert len(held) == new == 9
    assert Counter(each["state"] for each in held) == {
        "passed_on": 5,
        "withdrawn": 1,
        "superseded": 1,
        "not_routable": 1,
        "not_connected": 1,
    }
    ids = {melding["id"] for melding in world.rows(MeldingRow) if melding["klasse"] != "VERVALLEN"}
    assert {each["melding_id"] for each in held if each["state"] == "passed_on"} == ids


def test_a_file_that_waited_past_a_term(world, row):
    """Tried again after three weeks: the contents of a D40 are due, and go tonight; the file is not stuck."""
    partners = world.context.partners
    world.configure(partners={name: each for name, each in partners.items() if name != "woonservice"})
    world.put("woonservice", row("a"), row("b", postcode="9999ZZ"))
    world.work()
    for day in range(1, 22):
        world.go_to(date(2026, 11, 3) + timedelta(days=day), hour=3)
        world.purge()
    world.configure(partners=partners)
    world.work()
    assert world.receipt("L0001")["sommen"]["signalen"] == 2
    assert [each["contents_due_on"] for each in world.rows(SignalRow)] == [date(2027, 5, 3), world.today]


def test_a_damaged_row_does_not_refuse_another_file(world, row):
    """When what a file withdraws can't be opened, that is ours to solve: the file is not called damaged."""
    world.send("woonservice", row("a"))
    with world.context.store.write() as conn:
        conn.exec_driver_sql("UPDATE signal SET sealed = zeroblob(100)")
    world.put("woonservice", row("a", mutatie="I"))
    world.work()
    waiting = world.rows(Delivery)[-1]
    assert (waiting["state"], waiting["refusal"]) == (DeliveryState.ARRIVED, None)
    assert len([each for each in world.rows(Dispatch) if each["delivery_id"] == "L0002"]) == 0
