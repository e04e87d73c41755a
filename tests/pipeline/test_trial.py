"""Partners on trial: validated and receipted, never matched, gone after a day (spec 1, Partners, `mode`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from gateway.domain.delivery import DeliveryState
from gateway.domain.partner import Mode
from gateway.pipeline.erasure import carry_out
from gateway.pipeline.ledger import check
from gateway.store.tables import (
    AnswerRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    IndexToken,
    MeldingRow,
    RequestRow,
    SignalRow,
)


def set_mode(world, partner_id, mode):
    """Put a partner in a mode."""
    partners = world.context.partners
    world.configure(partners={**partners, partner_id: replace(partners[partner_id], mode=mode)})


def codes(receipt, what="afgekeurd"):
    """Line and code of each remark."""
    return [(each["regel"], each["code"]) for each in receipt[what]]


@pytest.fixture
def trial(world):
    """`woonservice` is on trial."""
    set_mode(world, "woonservice", Mode.TRIAL)
    return world


def test_a_file_on_trial_is_answered_and_has_no_effect(trial, row):
    """Its receipt says what is wrong; no signal, melding, token or status comes of it."""
    receipt = trial.send(
        "woonservice",
        row("a", dagen_achterstand=5),
        row("b", gemeentecode="GM0303"),
        row("c", postcode="9999ZZ"),
        row("d", bedrag="-1"),
        row("a"),
        row("a", mutatie="W"),
        row("b", mutatie="I"),
        row("b", mutatie="W"),
        row("z", mutatie="I"),
    )
    assert receipt["sommen"] == {
        "regels": 9,
        "signalen": 3,
        "wijzigingen": 1,
        "intrekkingen": 1,
        "afgekeurd": 4,
        "dubbel": 0,
    }
    assert codes(receipt) == [(5, "V04"), (6, "V13"), (9, "V14"), (10, "V14")]
    assert sorted(codes(receipt, "waarschuwingen")) == [(2, "W02"), (3, "W03")]
    assert trial.publish() == trial.publish_now() == []
    assert trial.told("woonservice") == []
    for table in (SignalRow, MeldingRow, IndexToken):
        assert trial.rows(table) == []
    assert {each["kind"] for each in trial.rows(Dispatch)} == {"receipt"}


def test_it_is_gone_after_a_day(trial, row):
    """File and receipt are held until the end of the next day; a tombstone is left."""
    trial.send("woonservice", row("a"))
    trial.send("woonservice", content=b"none;of;our;columns\n1;2;3;4\n")
    assert {each["due_on"] for each in trial.rows(Dispatch)} == {date(2026, 11, 4)}
    trial.go_to(date(2026, 11, 4), hour=23)
    trial.purge()
    assert {each["state"] for each in trial.rows(Dispatch)} == {"ready"}
    trial.go_to(date(2026, 11, 5), hour=3)
    trial.purge()
    assert {each["state"] for each in trial.rows(Dispatch)} == {"purged"}
    assert {each["state"] for each in trial.rows(Delivery)} == {DeliveryState.PURGED}


def test_the_same_file_counts_once_it_is_for_real(trial, row, csv_file):
    """No F08 after a trial: the first real one is new; a trial after it is tried all the same."""
    content = csv_file(row("a"))
    for _ in range(2):
        assert trial.send("woonservice", content=content)["resultaat"] == "verwerkt"
    set_mode(trial, "woonservice", Mode.LIVE)
    assert trial.send("woonservice", content=content)["sommen"]["signalen"] == 1
    assert len(trial.publish()) == 1
    assert trial.send("woonservice", content=content)["resultaat"] == "geweigerd"
    set_mode(trial, "woonservice", Mode.TRIAL)
    assert trial.send("woonservice", content=content)["sommen"]["signalen"] == 1
    assert trial.publish() == []


def test_what_counts_is_the_mode_at_receipt(trial, row):
    """A file that was received on trial stays a trial, however late it is processed; and the other way round."""
    waiting = trial.put("woonservice", row("a"))
    set_mode(trial, "woonservice", Mode.LIVE)
    real = trial.put("woonservice", row("b"))
    set_mode(trial, "woonservice", Mode.TRIAL)
    trial.work()
    assert trial.receipt(waiting)["sommen"]["signalen"] == trial.receipt(real)["sommen"]["signalen"] == 1
    assert [line["klantnummer"] for line in trial.publish()] == ["k-b"]


def test_automatic_ids_on_trial(trial, row):
    """A row without an id is known by what its id would be made of."""
    partner = trial.context.partners["woonservice"]
    trial.configure(
        partners={
            **trial.context.partners,
            "woonservice": replace(partner, defaults={"signaal_id": "auto"}),
        }
    )
    rows = [row("x", klantnummer=number) for number in ("k1", "k2", "k1")]
    for each in rows:
        del each["signaal_id"]
    receipt = trial.send("woonservice", *rows)
    assert (receipt["sommen"]["signalen"], codes(receipt)) == (2, [(4, "V13")])


def test_a_municipality_on_trial_answers_nothing(world, row):
    """Its rows are looked at, and leave no answer and no word to a creditor, though it holds the melding."""
    world.send("woonservice", row("a"))
    (line,) = world.publish()
    set_mode(world, "gemeente", Mode.TRIAL)
    answer = {"signaalnummer": line["signaalnummer"], "status": "Opgepakt", "datum": "2026-11-03"}
    receipt = world.send("gemeente", answer)
    assert receipt["sommen"]["terugkoppelingen"] == 1
    assert (world.rows(AnswerRow), world._fresh("woonservice", "feedback")) == ([], [])
    assert world.dispatches("gemeente", "receipt")[-1]["due_on"] == date(2026, 11, 4)
    assert check(world.context).differences == ()
    world.send("woonservice", row("b", huisnummer="20"))
    excluded = {
        "postcode": "7938PL",
        "huisnummer": "20",
        "achternaam": "Bakker",
        "uitsluiten_tot": "2026-12-31",
    }
    assert world.send("gemeente", excluded)["sommen"]["uitsluitingen"] == 1
    assert world.rows(ExclusionRow) == []
    assert world.told("woonservice") == [("a", "D10")]
    assert check(world.context).differences == ()
    set_mode(world, "gemeente", Mode.LIVE)
    world.send("gemeente", answer)
    assert len(world.rows(AnswerRow)) == 1


def test_a_request_on_trial_is_checked_and_not_answered(world, row):
    """Its receipt says what is wrong; no page, no request, nothing erased; its number is not used up."""
    world.send("woonservice", row("a"))
    world.publish()
    set_mode(world, "gemeente", Mode.TRIAL)
    about = {"achternaam": "Bakker", "geboortedatum": "1980-05-01", "mutatie": "N"}
    rows = [
        {"avg_verzoek": "INZAGE", "verzoek_id": "1", **about},
        {"avg_verzoek": "WISSEN", "verzoek_id": "2", **about},
        {"avg_verzoek": "INZAGE", "verzoek_id": "3", **about, "geboortedatum": "?"},
    ]
    receipt = world.send("gemeente", *rows)
    assert receipt["sommen"] == {"regels": 3, "verzoeken": 2, "afgekeurd": 1}
    assert world.rows(RequestRow) == world.dispatches("gemeente", "access") == []
    world.clock.step(timedelta(hours=24))
    assert carry_out(world.context) == 0
    assert len(world.rows(SignalRow)) == 1
    set_mode(world, "gemeente", Mode.LIVE)
    assert world.send("gemeente", *rows)["sommen"]["verzoeken"] == 2
    assert len(world.rows(RequestRow)) == 2
    assert len(world.dispatches("gemeente", "access")) == 1
