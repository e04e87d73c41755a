"""When meldingen go out, under which version, rank and deadline (spec 3, Publication and Rank)."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from gateway.clock import AMSTERDAM
from gateway.domain.policy import Actions, DeadlineFrom, Publish
from gateway.pipeline import publish as publish_steps
from gateway.pipeline import worker
from gateway.pipeline.policies import policy_hash
from gateway.store.meldingen import Touched
from gateway.store.tables import MeldingRow, Publication

MONTHLY = Publish(when="0 7 15 * *")


def zorg(row, signal_id, **values):
    """A row of another creditor."""
    return row(signal_id, sector="Zorg", **values)


def test_an_emptied_melding_comes_back_under_its_id(world, row):
    """VERVALLEN once, then nothing; when it fills again it is the next version of the same melding."""
    world.send("woonservice", row("a"))
    (first,) = world.publish()
    world.send("woonservice", row("a", mutatie="I"))
    (lapsed,) = world.publish()
    assert (lapsed["melding_id"], lapsed["versie"], lapsed["klasse"]) == (
        first["melding_id"],
        "2",
        "VERVALLEN",
    )
    assert not lapsed["signaalnummer"]
    assert world.publish_now() == []
    world.send("dezorgkas", zorg(row, "b"))
    (again,) = world.publish()
    assert (again["melding_id"], again["versie"], again["klasse"]) == (
        first["melding_id"],
        "3",
        "ENKELVOUDIG",
    )


def test_what_came_and_went_before_publication_was_never_there(world, row):
    """N and I before the publication: no file, no D10, one D52."""
    world.send("woonservice", row("a"))
    world.send("woonservice", row("a", mutatie="I"))
    assert world.publish() == []
    assert world.told("woonservice") == [("a", "D52")]
    assert not world.rows(Publication)


def test_nothing_new_publishes_nothing(world, row):
    """D50 and a publication by hand change no version."""
    world.send("woonservice", row("a"), row("b"))
    world.publish()
    world.send("woonservice", row("a"))
    assert world.publish() == []
    assert world.publish_now() == []


def test_settling(world, row):
    """What arrives within `settle_s` goes out together; not before it is over."""
    world.send("woonservice", row("a"))
    world.clock.step(timedelta(seconds=3))
    world.send("dezorgkas", zorg(row, "b"))
    assert world.new_lines() == []
    assert worker.pending(world.context)
    world.clock.step(timedelta(seconds=1))
    world.work()
    assert {line["versie"] for line in world.new_lines()} == {"1"}
    assert not worker.pending(world.context)


def test_a_cron_line_waits_in_the_netherlands(world, row):
    """`0 7 15 * *` is seven in the morning of the fifteenth in the Netherlands, for what waits since whenever."""
    world.policy(publish=MONTHLY)
    world.send("woonservice", row("a"))
    for moment in (
        datetime(2026, 11, 15, 6, 59, tzinfo=AMSTERDAM),
        datetime(2026, 11, 15, 7, 0, tzinfo=AMSTERDAM),
    ):
        assert world.new_lines() == []
        world.clock.set(moment)
        world.make_keys()
        world.work()
    assert len(world.new_lines()) == 1


def test_a_crisis_ranks_among_what_is_published(world, row):
    """A crisis goes out at once, alone with its address's signals, and first; what waits has no rank yet."""
    world.policy(publish=MONTHLY)
    world.send("woonservice", row("a"), row("b", huisnummer="20", bedrag="9000,00"))
    world.send("dezorgkas", zorg(row, "c", huisnummer="20", bedrag="9000,00"))
    assert world.new_lines() == []
    world.send("dezorgkas", zorg(row, "d", crisissignaal="J", bedrag="1,00"))
    lines = world.new_lines()
    assert [line["klantnummer"] for line in lines] == ["k-a", "k-d"]
    assert {(line["rang"], line["matchregels"]) for line in lines} == {("1", "MEERVOUDIG+CRISIS")}
    rest = world.publish_now()
    assert {(line["huisnummer"], line["rang"]) for line in rest} == {("20", "2")}


def test_a_crisis_that_is_over_waits_as_others(world, row):
    """Only rule CRISIS goes out at once: without `always_crisis`, or when a W took it back, a melding waits."""
    world.policy(publish=MONTHLY)
    world.matching(always_crisis=False)
    world.send("woonservice", row("a", crisissignaal="J"))
    assert world.new_lines() == []
    world.matching(always_crisis=True)
    world.send("woonservice", row("a", mutatie="W", crisissignaal="N"))
    assert world.new_lines() == []
    assert [line["crisissignaal"] for line in world.publish_now()] == ["N"]


def test_the_deadline_of_a_crisis(world, row):
    """Three working days from its publication; a crisis that ended does not count for the next one."""
    world.send("woonservice", row("a"))
    assert world.publish()[0]["uiterlijk_aanbod"] == "2026-12-01"
    world.go_to(date(2026, 11, 5))
    world.send("woonservice", row("a", mutatie="W", crisissignaal="J"))
    # Thursday; Friday, Monday, Tuesday
    assert world.new_lines()[0]["uiterlijk_aanbod"] == "2026-11-10"
    world.go_to(date(2026, 11, 9))
    world.send("woonservice", row("a", mutatie="W", crisissignaal="J", bedrag="700,00"))
    assert world.new_lines()[0]["uiterlijk_aanbod"] == "2026-11-10"
    world.send("woonservice", row("a", mutatie="W", bedrag="700,00"))
    assert world.publish()[0]["uiterlijk_aanbod"] == "2026-12-01"
    world.go_to(date(2026, 11, 19))
    world.send("woonservice", row("a", mutatie="W", crisissignaal="J", bedrag="800,00"))
    assert world.new_lines()[0]["uiterlijk_aanbod"] == "2026-11-24"


def test_the_deadline_from_publication(world, row):
    """`deadline_from = "publication"` counts from the first publication, also for later versions."""
    world.policy(actions=Actions(deadline_from=DeadlineFrom.PUBLICATION), publish=MONTHLY)
    world.send("woonservice", row("a"))
    world.go_to(date(2026, 11, 10))
    assert world.publish_now()[0]["uiterlijk_aanbod"] == "2026-12-08"
    world.go_to(date(2026, 11, 20))
    world.send("dezorgkas", zorg(row, "b"))
    assert world.publish_now()[0]["uiterlijk_aanbod"] == "2026-12-08"


def test_a_rank_is_a_snapshot(world, row):
    """A melding that is not published again does not change because another takes its rank."""
    world.send("woonservice", row("a"))
    world.send("dezorgkas", zorg(row, "b"))
    assert {line["rang"] for line in world.publish()} == {"1"}
    world.send("woonservice", row("c", huisnummer="20", bedrag="9000,00"))
    world.send("dezorgkas", zorg(row, "d", huisnummer="20"))
    lines = world.publish()
    assert {(line["huisnummer"], line["rang"]) for line in lines} == {("20", "1")}
    world.send("woonservice", row("a", mutatie="W", bedrag="601,00"))
    assert {line["rang"] for line in world.publish()} == {"2"}


def test_a_publication_names_its_policy(world, row):
    """Two policies that say the same have one hash, another has another."""
    world.matching(min_amount_cents={"Huur": 1, "Zorg": 2})
    policy = world.context.policy("GM1731")
    world.matching(min_amount_cents={"Zorg": 2, "Huur": 1})
    assert policy_hash(world.context.policy("GM1731")) == policy_hash(policy)
    world.matching(min_amount_cents={"Zorg": 2})
    assert policy_hash(world.context.policy("GM1731")) != policy_hash(policy)
    world.send("woonservice", row("a"))
    world.publish()
    assert [each["policy_hash"] for each in world.rows(Publication)] == [
        policy_hash(world.context.policy("GM1731"))
    ]


@pytest.mark.parametrize("months", [6, 2])
def test_a_shorter_term_is_the_files_too(world, row, months):
    """A municipality that shortens `signals`: its rows, its file and what tells of its signals go with them."""
    world.policy(signals_months=months)
    world.policy(publish=MONTHLY)
    world.send("woonservice", row("a"))
    world.go_to(date(2026, 11, 20))
    (line,) = world.publish_now()
    due_on = date(2027, 11 + months - 12, 3) if months == 6 else date(2027, 1, 3)
    assert line["gateway_bewaart_tot"] == due_on.isoformat()
    for partner, kind in (
        ("gemeente", "meldingen"),
        ("gemeente", "manifest"),
        ("gemeente", "worklist"),
        ("woonservice", "signal_status"),
    ):
        assert {each["due_on"] for each in world.dispatches(partner, kind)} == {due_on}
    (melding,) = world.rows(MeldingRow)
    assert melding["due_on"] == due_on


def test_no_answer_outlives_the_signals_it_names(world, row):
    """A receipt with a D50 and a status with a D52 go with the old signal they name."""
    world.send("woonservice", row("a"), row("b"))
    world.publish()
    world.go_to(date(2026, 12, 10))
    again = world.put("woonservice", row("a"), row("c"))
    ended = world.put("woonservice", row("b", mutatie="I"))
    world.work()
    due = {each["delivery_id"]: each["due_on"] for each in world.dispatches("woonservice", "receipt")}
    assert due[again] == date(2027, 5, 3)
    assert due[ended] == date(2027, 6, 10)
    assert world.dispatches("woonservice", "signal_status")[-1]["due_on"] == date(2027, 5, 3)


def test_municipalities_that_are_due_at_once_go_together(world, row):
    """Each has a file of its own, under the numbers of the partner that serves both; the creditor hears of all in one."""
    world.send("woonservice", row("a"), row("b", postcode="8251AA", huisnummer="1"))
    before = len(world.dispatches("woonservice", "signal_status"))
    world.publish()
    assert sorted(each["name"] for each in world.dispatches("gemeente", "meldingen")) == [
        "meldingen_GM0303_2026-11_1.csv",
        "meldingen_GM1731_2026-11_2.csv",
    ]
    assert len(world.dispatches("woonservice", "signal_status")) == before + 1
    assert world.told("woonservice") == [("a", "D10"), ("b", "D10")]
    assert {each["at"] for each in world.rows(Publication)} == {world.clock.now()}
    world.send("woonservice", row("c"))
    world.publish()
    assert "meldingen_GM1731_2026-11_3.csv" in {
        each["name"] for each in world.dispatches("gemeente", "meldingen")
    }


def test_one_municipalitys_error_stops_no_other(world, row, monkeypatch, capsys):
    """What could not go together goes alone; what can't waits, is told of, and comes when it can."""
    world.send("woonservice", row("a"), row("b", postcode="8251AA", huisnummer="1"))
    look_at = publish_steps._look_at

    def damaged(conn, draft, *rest):
        if draft.code == "GM0303":
            raise RuntimeError("damaged")
        look_at(conn, draft, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(publish_steps, "_look_at", damaged)
        assert [each["klantnummer"] for each in world.publish()] == ["k-a"]
    told = capsys.readouterr().out
    assert "batch.divided" in told
    assert [line for line in told.splitlines() if "publication.failed" in line and "GM0303" in line]
    assert not [line for line in told.splitlines() if "publication.failed" in line and "GM1731" in line]
    assert [each["klantnummer"] for each in world.publish()] == ["k-b"]
    assert world.told("woonservice") == [("a", "D10"), ("b", "D10")]


def test_much_goes_in_several_batches(monkeypatch):
    """Whole municipalities, as many as stay within the bound; one that is beyond it alone goes alone."""
    now = datetime(2026, 11, 3, tzinfo=AMSTERDAM)
    due = [
        Touched(municipality=code, since=now, count=count, urgent=0)
        for code, count in (("GM0001", 9), ("GM0002", 2), ("GM0003", 3), ("GM0004", 1))
    ]
    monkeypatch.setattr(worker, "_TOGETHER", 5)
    assert list(worker._batches(due)) == [["GM0001"], ["GM0002", "GM0003"], ["GM0004"]]
    assert list(worker._batches([])) == []
