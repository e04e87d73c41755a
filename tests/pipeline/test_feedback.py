"""Feedback: who may answer what, and what the creditors hear of it."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.domain.feedback import FeedbackCode, FeedbackPolicy, HelpAccepted, Outcome
from gateway.domain.partner import Partner, Role
from gateway.pipeline import feedback as feedback_steps
from gateway.pipeline import intake as intake_steps
from gateway.pipeline.feedback import tell_silence
from gateway.pipeline.statement import send_statements
from gateway.store import answers
from gateway.store.tables import AnswerRow, AuditEntry, Delivery


def told(world, creditor):
    """What a creditor was told since the last look: `signaal_id`, code, suspension."""
    return sorted(
        (row["signaal_id"], row["code"], row["opschorten_tot"]) for row in world._fresh(creditor, "feedback")
    )


def answer(line, outcome, on=None, *, by="signaalnummer", **values):
    """A row of a feedback file on a published line."""
    column = (
        "status" if outcome in {"Opgepakt", "Nog niet opgepakt", "Hulp geaccepteerd"} else "eindresultaat"
    )
    row = {by: line[by], "status": "", "eindresultaat": "", "datum": str(on or "2026-11-03")}
    return row | {column: outcome} | values


def rejected(receipt):
    """Line, column and code of each row that a receipt rejects."""
    return [(each["regel"], each["kolom"], each["code"]) for each in receipt["afgekeurd"]]


def publish_lines(world):
    """Published lines by amount."""
    return {line["bedrag"]: line for line in world.publish()}


@pytest.fixture
def match(world, row):
    """A melding of two creditors about one person, published; its lines."""
    world.send("woonservice", row("w1", bedrag="100,00"))
    world.send("dezorgkas", row("z1", sector="Zorg", bedrag="200,00"))
    lines = publish_lines(world)
    return lines["100,00"], lines["200,00"]


def test_an_answer_on_a_signal_reaches_its_creditor(world, match):
    """The municipality gets its receipt, the creditor of that signal its terugkoppeling, the other nothing."""
    receipt = world.send("gemeente", answer(match[0], "Hulp geaccepteerd", toestemming_terugkoppeling="J"))
    assert receipt["resultaat"] == "verwerkt"
    assert receipt["sommen"] == {"regels": 1, "terugkoppelingen": 1, "afgekeurd": 0}
    (dispatch,) = world.dispatches("woonservice", "feedback")
    assert (dispatch["name"], dispatch["box"]) == ("terugkoppeling_2026-11-03_1.csv", "returns")
    (found,) = world._fresh("woonservice", "feedback")
    assert found == {
        "signaal_id": "w1",
        "klantnummer": "k-w1",
        "code": "HULP_GEACCEPTEERD",
        "omschrijving": "hulp geaccepteerd",
        "gemeentecode": "GM1731",
        "datum": "2026-11-03",
        "opschorten": "J",
        "opschorten_tot": "2026-12-01",
    }
    assert told(world, "dezorgkas") == []


def test_an_answer_on_a_melding_reaches_all_of_it(world, match):
    """One row, every signal of the melding; each creditor reads of its own only."""
    receipt = world.send("gemeente", answer(match[0], "Opgepakt", by="melding_id"))
    assert receipt["sommen"]["terugkoppelingen"] == 1
    assert told(world, "woonservice") == [("w1", "OPGEPAKT", "")]
    assert told(world, "dezorgkas") == [("z1", "OPGEPAKT", "")]
    (delivery,) = [each for each in world.rows(Delivery) if each["kind"] == "feedback"]
    assert (delivery["feedback_count"], delivery["answer_count"], delivery["new_count"]) == (1, 2, 0)
    for stored in world.rows(AnswerRow):
        assert stored["due_on"] == date(2027, 5, 3)


def test_a_melding_of_several_persons_is_answered_by_signal(world, row):
    """V18 by `melding_id`; by `signaalnummer` each can be answered."""
    world.send("woonservice", row("w1", bedrag="100,00"))
    world.send("dezorgkas", row("z1", sector="Zorg", bedrag="200,00", achternaam="Visser"))
    lines = publish_lines(world)
    receipt = world.send("gemeente", answer(lines["100,00"], "Opgepakt", by="melding_id"))
    assert rejected(receipt) == [(2, "melding_id", "V18")]
    assert world.send("gemeente", answer(lines["100,00"], "Opgepakt"))["afgekeurd"] == []
    assert (told(world, "woonservice"), told(world, "dezorgkas")) == ([("w1", "OPGEPAKT", "")], [])


def test_who_may_not_answer(world, match, row):
    """V16: another municipality's, unknown, withdrawn, not published yet; and after a change of partner the former."""
    world.send("vitens", row("v1", sector="Water", huisnummer=20, bedrag="300,00"))
    gone = publish_lines(world)["300,00"]
    world.send("vitens", {"signaal_id": "v1", "mutatie": "I"})
    unknown = match[0] | {"signaalnummer": "S0000000000ZZ", "melding_id": "M1731202611-0000ZZZZ"}
    receipt = world.send(
        "gemeente",
        answer(gone, "Opgepakt"),
        answer(unknown, "Opgepakt"),
        answer(match[0], "Opgepakt"),
    )
    assert rejected(receipt) == [(2, "signaalnummer", "V16"), (3, "signaalnummer", "V16")]
    receipt = world.send("gemeente", answer(unknown, "Opgepakt", by="melding_id"))
    assert rejected(receipt) == [(2, "melding_id", "V16")]
    other = Partner(id="sdd", name="SDD", role=Role.MUNICIPALITY)
    world.configure(partners={**world.context.partners, "sdd": other})
    for by in ("signaalnummer", "melding_id"):
        receipt = world.send("sdd", answer(match[0], "Inwoner heeft al een ander lopend traject", by=by))
        assert rejected(receipt) == [(2, by, "V16")]
    assert told(world, "woonservice") == [("w1", "OPGEPAKT", "")]


def test_a_signal_that_was_not_published_is_nobody_s_yet(world, match, row):
    """It joined a published melding, and waits: an answer on the melding is not about it."""
    world.send("vitens", row("v1", sector="Water", bedrag="300,00"))
    world.send("gemeente", answer(match[0], "Opgepakt", by="melding_id"))
    assert told(world, "woonservice") == [("w1", "OPGEPAKT", "")]
    world.publish()
    assert told(world, "vitens") == []


def test_the_latest_answer_counts(world, match):
    """An older one changes nothing, the same again says nothing, a newer one is told."""
    world.go_to(date(2026, 11, 20))
    world.send("gemeente", answer(match[0], "Opgepakt", "2026-11-10"))
    world.send("gemeente", answer(match[0], "Niet opgepakt: andere reden", "2026-11-09"))
    world.send("gemeente", answer(match[0], "Opgepakt", "2026-11-11"))
    assert told(world, "woonservice") == [("w1", "OPGEPAKT", "")]
    world.send(
        "gemeente",
        answer(match[0], "Inwoner is overleden", "2026-11-12"),
        answer(match[0], "Inwoner heeft zelf al betaald/betalingsregeling getroffen", "2026-11-12"),
    )
    assert told(world, "woonservice") == [("w1", "AFGEROND", "")]


def test_the_policy_decides_what_is_told(world, match):
    """`help_accepted` and `tell` of the municipality of the signal."""
    world.policy(
        feedback=FeedbackPolicy(help_accepted=HelpAccepted.AGREEMENT, tell=(FeedbackCode.NOT_REACHED,))
    )
    world.send(
        "gemeente",
        answer(match[0], "Vervolghulp en/of verwijzing", opschorten_tot="2027-01-31"),
        answer(match[1], "Geen reactie na eerder contact"),
    )
    assert told(world, "woonservice") == [("w1", "HULP_GEACCEPTEERD", "2027-01-31")]
    assert told(world, "dezorgkas") == [("z1", "NIET_BEREIKT", "")]


def test_the_same_file_again_and_a_file_of_another_kind(world, match):
    """Processed again, and nothing new is told; F11 for a signal file of a municipality."""
    rows = answer(match[0], "Opgepakt")
    for _ in range(2):
        assert world.send("gemeente", rows)["sommen"]["terugkoppelingen"] == 1
    assert world.send("gemeente", {"postcode": "7938PL", "huisnummer": "1"})["weigering"]["code"] == "F11"
    assert told(world, "woonservice") == [("w1", "OPGEPAKT", "")]


class Cut(Exception):
    """The worker ends here."""


def cut(*_args, **_options):
    """Ends the worker."""
    raise Cut


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (answers, "stage"),
        (feedback_steps, "seal_file"),
        (feedback_steps, "store_files"),
        (intake_steps, "record"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_feedback_is_taken_once(world, match, monkeypatch, place, name):
    """Cut anywhere, nothing of it counts; then it is taken whole, and told once under the first number."""
    monkeypatch.setattr(feedback_steps, "BATCH_ROWS", 1)
    world.put("gemeente", answer(match[0], "Opgepakt"), answer(match[1], "Opgepakt"))
    with monkeypatch.context() as patch:
        patch.setattr(place, name, cut)
        world.work()
    assert told(world, "woonservice") == []
    world.clock.step(timedelta(minutes=2))
    world.work()
    assert len(world.rows(AnswerRow)) == 2
    assert told(world, "woonservice") == [("w1", "OPGEPAKT", "")]
    assert [each["name"] for each in world.dispatches("dezorgkas", "feedback")] == [
        "terugkoppeling_2026-11-03_1.csv"
    ]


def test_silence_is_told_on_day_14_and_28(world, match):
    """Once each; not of what was answered. "Nog niet opgepakt" is no answer."""
    world.send("gemeente", answer(match[0], "Nog niet opgepakt"), answer(match[1], "Opgepakt"))
    assert told(world, "dezorgkas") == [("z1", "OPGEPAKT", "")]
    found = {}
    for day in range(1, 31):
        world.go_to(date(2026, 11, 3) + timedelta(days=day))
        for _ in range(2):
            tell_silence(world.context)
        found[day] = told(world, "woonservice")
    assert {day: lines for day, lines in found.items() if lines} == {
        14: [("w1", "NOG_GEEN_TERUGKOPPELING", "")],
        28: [("w1", "NOG_GEEN_TERUGKOPPELING", "")],
    }
    assert told(world, "dezorgkas") == []


def test_days_that_were_missed_are_made_up_for(world, match, monkeypatch):
    """A gateway that stood still tells once what it missed; one that was cut off tells it at the next try."""
    world.go_to(date(2026, 11, 10))
    tell_silence(world.context)
    world.go_to(date(2026, 12, 20))
    with monkeypatch.context() as patch:
        patch.setattr(feedback_steps, "record", cut)
        with pytest.raises(Cut):
            tell_silence(world.context)
    assert told(world, "woonservice") == []
    assert tell_silence(world.context) == 2
    assert tell_silence(world.context) == 0
    assert told(world, "woonservice") == [("w1", "NOG_GEEN_TERUGKOPPELING", "")]


def test_answers_go_with_their_signals(world, match):
    """On the certificate, out of the database; the delivery leaves its tombstone, and the ledger adds up."""
    world.go_to(date(2026, 12, 15))
    world.send("gemeente", answer(match[0], "Opgepakt", by="melding_id"))
    world.go_to(date(2027, 1, 20))
    world.purge()
    assert len(world.rows(AnswerRow)) == 2
    (delivery,) = [each for each in world.rows(Delivery) if each["kind"] == "feedback"]
    assert delivery["state"] == "processed"
    world.go_to(date(2027, 5, 4))
    world.purge()
    assert world.rows(AnswerRow) == []
    (delivery,) = [each for each in world.rows(Delivery) if each["kind"] == "feedback"]
    assert (delivery["state"], delivery["purged_rows"]) == ("purged", 2)
    told = [
        json.loads(world.read(each)) for each in world.dispatches("gemeente", "certificate") if _is_json(each)
    ]
    (item,) = [item for each in told for item in each["vernietigd"] if item["soort"] == "terugkoppelingen"]
    assert (item["id"], item["signalen"], item["vervallen_na"]) == (delivery["id"], 2, "2027-05-03")


def _is_json(dispatch):
    return dispatch["name"].endswith(".json")


def test_the_log_holds_counts_only(world, match):
    """No id of a signal or customer, no outcome."""
    world.send("gemeente", answer(match[0], "Inwoner is overleden"))
    entry = world.rows(AuditEntry)[-1]["entry"].decode()
    assert '"feedback":1' in entry
    for word in (match[0]["signaalnummer"], "w1", "overleden", "signalen.csv"):
        assert word not in entry


# -- a creditor never learns of another ------------------------------------------------------------

OUTCOMES = st.sampled_from([each.value for each in Outcome])
SECTORS = {"dezorgkas": "Zorg", "stroomhuis": "Energie", "vitens": "Water"}
#: What is answered on woonservice's signal of a household, and what others report of it: crisis, cents, answer.
HOUSEHOLDS = st.lists(
    st.tuples(
        OUTCOMES,
        st.dictionaries(
            st.sampled_from(sorted(SECTORS)), st.tuples(st.booleans(), st.integers(1, 99_999), OUTCOMES)
        ),
    ),
    min_size=8,
    max_size=12,
)


@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(households=HOUSEHOLDS, help_accepted=st.sampled_from(HelpAccepted))
def test_a_creditor_never_learns_of_another(world, row, tmp_path_factory, households, help_accepted):
    """All that a creditor reads is the same, line by line, whether others report its residents or strangers."""
    policy = FeedbackPolicy(help_accepted=help_accepted, tell=(FeedbackCode.NO_HELP,))
    near, far = (
        _returns(type(world).create(tmp_path_factory.mktemp("w") / "home"), row, policy, households, street)
        for street in ("7938PL", "7938ZZ")
    )
    assert near == far
    assert len(near) > len(households)


def _returns(world, row, policy, households, street):
    """Every line of every file in woonservice's /returns, after a month in which all was answered."""
    world.policy(feedback=policy)
    outcomes = {}
    reports = {creditor: [] for creditor in ("woonservice", *SECTORS)}
    for number, (outcome, others) in enumerate(households, start=100):
        reports["woonservice"].append(row(f"w{number}", huisnummer=number))
        outcomes[f"k-w{number}"] = outcome
        for creditor, (is_crisis, cents, answered) in others.items():
            name = f"{creditor}{number}"
            outcomes[f"k-{name}"] = answered
            reports[creditor].append(
                row(
                    name,
                    sector=SECTORS[creditor],
                    postcode=street,
                    huisnummer=number,
                    bedrag=f"{cents // 100},{cents % 100:02}",
                    crisissignaal="J" if is_crisis else "N",
                )
            )
    for creditor, rows in reports.items():
        if rows:
            world.send(creditor, *rows)
    lines = {line["klantnummer"]: line for line in world.publish()}
    lines |= {line["klantnummer"]: line for line in world.new_lines()}
    world.send("gemeente", *(answer(lines[key], outcome) for key, outcome in outcomes.items()))
    for days in (14, 28):
        world.go_to(date(2026, 11, 3) + timedelta(days=days))
        tell_silence(world.context)
    world.go_to(date(2026, 12, 1))
    send_statements(world.context)
    assert len(world.dispatches("woonservice", "statement")) == 1
    found = [
        each
        for kind in ("receipt", "signal_status", "feedback", "statement")
        for each in world.dispatches("woonservice", kind)
    ]
    # a crisis goes out at once, its melding with it: that may spread a creditor's lines over more files
    return {line for each in found for line in world.read(each).splitlines()}
