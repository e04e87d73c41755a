"""What partners get at set times: stand, termijnen, aanleveroverzicht (spec 2)."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import delete, update

from gateway.domain.feedback import FeedbackCode, FeedbackPolicy, HelpAccepted
from gateway.domain.partner import Partner, Role
from gateway.domain.policy import Publish
from gateway.errors import BlobDamaged
from gateway.pipeline import deadlines as deadline_steps
from gateway.pipeline import intake as intake_steps
from gateway.pipeline import regular as regular_steps
from gateway.pipeline import statement as statement_steps
from gateway.pipeline.deadlines import send_deadlines
from gateway.pipeline.delivery_report import send_delivery_reports
from gateway.pipeline.feedback import tell_silence
from gateway.pipeline.statement import send_statements
from gateway.pipeline.withdrawal import withdraw
from gateway.store.tables import AnswerRow, AuditEntry, DeliveryShare, DispatchContent, SignalRow

FIRST = date(2026, 12, 1)


class Cut(BaseException):
    """The process is killed."""


def cut(*_, **__):
    """Here."""
    raise Cut


def lines(world, partner_id, kind):
    """The lines of a partner's newest file of a kind."""
    text = world.read(world.dispatches(partner_id, kind)[-1]).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=";"))


def names(world, partner_id, kind):
    """The names of a partner's files of a kind."""
    return [each["name"] for each in world.dispatches(partner_id, kind)]


def statement(world, creditor="woonservice"):
    """A creditor's newest stand: the columns that follow `klantnummer`, by `signaal_id`."""
    return {row["signaal_id"]: tuple(row.values())[2:] for row in lines(world, creditor, "statement")}


def answer(world, line, outcome, on="2026-11-03", **values):
    """The municipality answers."""
    values = {"toestemming_terugkoppeling": "", "opschorten_tot": ""} | values
    column = (
        "status" if outcome in {"Opgepakt", "Nog niet opgepakt", "Hulp geaccepteerd"} else "eindresultaat"
    )
    row = {"signaalnummer": line["signaalnummer"], "status": "", "eindresultaat": "", "datum": on}
    return world.send("gemeente", row | {column: outcome} | values)


def published(world):
    """Published lines by customer number."""
    return {line["klantnummer"]: line for line in world.publish()}


# -- stand -----------------------------------------------------------------------------------------

NOTHING = ("", "", "", "", "")
DONE = ("D10", "doorgezet aan de gemeente", "GM1731", "2026-11-03")


def test_a_statement_has_every_live_signal_with_its_last_codes(world, row):
    """D10, D11, waiting, D40; answers as they were told; without what ended or can't be named any more."""
    world.configure(
        partners={**world.context.partners, "stil": Partner(id="stil", name="Stil", role=Role.CREDITOR)}
    )
    world.policy(feedback=FeedbackPolicy(tell=(FeedbackCode.NO_HELP,)))
    world.send(
        "woonservice",
        *(row(name, huisnummer=number) for number, name in enumerate("abcdefg", start=100)),
        row("i", huisnummer=110),
        row("weg", postcode="1011AB", huisnummer=1),
    )
    found = published(world)
    answer(world, found["k-b"], "Opgepakt", "2026-11-02")
    answer(world, found["k-b"], "Nog niet opgepakt")
    answer(world, found["k-c"], "Hulp geaccepteerd", toestemming_terugkoppeling="J")
    answer(world, found["k-d"], "Inwoner is overleden")
    answer(world, found["k-e"], "Inwoner regelt het zelf/hoeft geen hulp vanuit vroegsignalering")
    world.send("woonservice", row("i", mutatie="I"))
    world.send("woonservice", row("g2", klantnummer="k-g", huisnummer=106))
    world.go_to(date(2026, 11, 30))
    tell_silence(world.context)
    world.send("woonservice", row("f", huisnummer=105, mutatie="W", bedrag="700,00"))
    world.send("woonservice", row("nul", postcode="9999ZZ", huisnummer=1))
    world.publish()
    world.send(
        "woonservice", row("again", klantnummer="k-a", huisnummer=100, signaaldatum="2026-11-30", product="x")
    )
    world.go_to(FIRST, hour=6)
    world.send("woonservice", row("next", klantnummer="k-a", huisnummer=100))
    world.publish()
    world.policy(publish=Publish(when="0 7 15 * *"))
    world.send("woonservice", row("late", huisnummer=120))
    assert send_statements(world.context) == 1
    silent = ("NOG_GEEN_TERUGKOPPELING", "nog geen terugkoppeling van de gemeente", "2026-11-17", "N", "")
    assert statement(world) == {
        "a": DONE + silent,
        "b": (*DONE, "OPGEPAKT", "opgepakt", "2026-11-02", "N", ""),
        "c": (*DONE, "HULP_GEACCEPTEERD", "hulp geaccepteerd", "2026-11-03", "J", "2026-12-01"),
        "d": (*DONE, "NIET_OPGEPAKT", "inwoner is overleden", "2026-11-03", "N", ""),
        "e": (*DONE, "GEEN_HULP", "inwoner regelt het zelf of hoeft geen hulp", "2026-11-03", "N", ""),
        "f": DONE + silent,
        "g2": (*DONE[:3], "2026-11-30", *NOTHING),
        "nul": ("D40", "niet te routeren", "", "2026-11-30", *NOTHING),
        "again": (*DONE[:3], "2026-12-01", *NOTHING),
        "next": ("D11", "doorgezet aan de gemeente; door u eerder gemeld", "GM1731", "2026-12-01", *NOTHING),
        "late": ("", "aangenomen; nog niet doorgezet", "GM1731", "", *NOTHING),
    }
    assert [
        row["klantnummer"] for row in lines(world, "woonservice", "statement") if row["signaal_id"] == "a"
    ] == ["k-a"]
    assert names(world, "woonservice", "statement") == ["stand_2026-12.csv"]
    assert names(world, "stil", "statement") == []


def test_a_changed_signal_stands_once_with_what_was_told(world, row):
    """On the day of a W the old version is still there; until the next publication the new one bears the old code."""
    world.send("woonservice", row("a"))
    world.publish()
    world.go_to(FIRST)
    world.send("woonservice", row("b", klantnummer="k-a"))
    world.publish()
    world.policy(publish=Publish(when="0 7 15 * *"))
    world.send("woonservice", row("b", klantnummer="k-a", mutatie="W", bedrag="700,00"))
    send_statements(world.context)
    found = [(line["signaal_id"], line["code"]) for line in lines(world, "woonservice", "statement")]
    assert found == [("a", "D10"), ("b", "D11")]


def test_a_statement_is_on_record_and_goes_with_its_first_signal(world, row):
    """How many signals of which delivery, in the trace and in the log, and the due day of the earliest; no id of one."""
    world.send("woonservice", row("a"), row("b", huisnummer=20))
    world.go_to(date(2026, 11, 20))
    world.send("woonservice", row("c", huisnummer=22))
    world.publish()
    world.go_to(FIRST)
    send_statements(world.context)
    (file,) = world.dispatches("woonservice", "statement")
    told = {
        each["delivery_id"]: each["signal_count"]
        for each in world.rows(DispatchContent)
        if each["dispatch_id"] == file["id"]
    }
    assert told == {"L0001": 2, "L0002": 1}
    assert (file["due_on"], file["box"]) == (date(2027, 5, 3), "returns")
    entry = json.loads(world.rows(AuditEntry)[-1]["entry"])
    assert (entry["action"], entry["object"]) == ("statement.listed", file["id"])
    assert entry["detail"] == {"partner": "woonservice", "signals": 3}


def test_regular_files_are_made_once(world, row, monkeypatch):
    """Again is nothing; one that was cut off is made at the next try, one that can't be made stops no other."""
    for creditor, sector in (("dezorgkas", "Zorg"), ("woonservice", "Huur"), ("vitens", "Water")):
        world.send(creditor, row("a", sector=sector))
    world.publish()
    world.go_to(FIRST)
    calls = Counter()

    def cut_at_the_second(*args, **named):
        calls["record"] += 1
        if calls["record"] == 2:
            raise Cut
        record(*args, **named)

    record = regular_steps.record
    with monkeypatch.context() as patch:
        patch.setattr(regular_steps, "record", cut_at_the_second)
        with pytest.raises(Cut):
            send_statements(world.context)
    assert sum(len(names(world, each, "statement")) for each in ("dezorgkas", "woonservice", "vitens")) == 1
    number = next(each["id"] for each in world.rows(SignalRow) if each["creditor"] == "dezorgkas")
    with world.context.store.write() as conn:
        sealed = next(each["sealed"] for each in world.rows(SignalRow) if each["id"] == number)
        table = SignalRow.__table__
        conn.execute(update(table).where(table.c.id == number).values(sealed=sealed[:-1] + b"?"))
    with pytest.raises(BlobDamaged):
        send_statements(world.context)
    assert [len(names(world, each, "statement")) for each in ("dezorgkas", "woonservice", "vitens")] == [
        0,
        1,
        1,
    ]
    with world.context.store.write() as conn:
        conn.execute(update(table).where(table.c.id == number).values(sealed=sealed))
    assert [send_statements(world.context) for _ in range(2)] == [1, 0]
    world.go_to(date(2027, 1, 2))
    assert send_statements(world.context) == 3
    assert names(world, "dezorgkas", "statement") == ["stand_2026-12.csv", "stand_2027-01.csv"]


def test_a_statement_is_opened_some_rows_at_a_time(world, row, monkeypatch):
    """Many signals in several batches are all there, in order, once; few are at hand at a time."""
    monkeypatch.setattr(statement_steps, "BATCH_ROWS", 7)
    asked = []
    of_signals = statement_steps.answers.of_signals

    def counted(conn, numbers):
        numbers = list(numbers)
        asked.append(len(numbers))
        return of_signals(conn, numbers)

    world.send("woonservice", *(row(f"w{n:02}", huisnummer=n) for n in range(1, 31)))
    world.publish()
    world.go_to(FIRST)
    monkeypatch.setattr(statement_steps.answers, "of_signals", counted)
    send_statements(world.context)
    assert [row["signaal_id"] for row in lines(world, "woonservice", "statement")] == [
        f"w{n:02}" for n in range(1, 31)
    ]
    assert asked == [7, 7, 7, 7, 2]


def test_what_an_answer_tells_is_up_to_who_gave_it(world, row):
    """A signal that moved: its first municipality allowed nothing, so the second one's leave opens nothing of it."""
    world.policy(feedback=FeedbackPolicy(help_accepted=HelpAccepted.NEVER))
    world.policy("GM0303", feedback=FeedbackPolicy(help_accepted=HelpAccepted.AGREEMENT))
    world.send("woonservice", row("a"))
    found = published(world)
    answer(world, found["k-a"], "Hulp geaccepteerd")
    world.send("woonservice", row("a", mutatie="W", postcode="8251AA", huisnummer=1))
    moved = published(world)
    world.go_to(FIRST)
    send_statements(world.context)
    assert statement(world)["a"] == (
        "D10",
        DONE[1],
        "GM0303",
        "2026-11-03",
        "OPGEPAKT",
        "opgepakt",
        "2026-11-03",
        "N",
        "",
    )
    send_deadlines(world.context)
    assert [(line["gemeentecode"], line["status"]) for line in lines(world, "gemeente", "deadlines")] == [
        ("GM0303", "")
    ]
    # an earlier day: what the first one said still counts, and tells nothing new
    answer(world, moved["k-a"], "Opgepakt", "2026-11-01")
    assert [each["name"] for each in world.dispatches("woonservice", "feedback")] == [
        "terugkoppeling_2026-11-03_1.csv"
    ]


def test_an_answer_that_is_gone_is_not_taken_for_silence(world, row):
    """A W lengthens the term of a signal, not that of an answer on its older version."""
    world.send("woonservice", row("a"))
    found = published(world)
    answer(world, found["k-a"], "Opgepakt")
    world.go_to(date(2027, 2, 1))
    world.send("woonservice", row("a", mutatie="W", bedrag="700,00"))
    world.publish()
    found = []
    for day in (date(2027, 5, 1), date(2027, 6, 1)):
        world.go_to(day)
        tell_silence(world.context)
        send_statements(world.context)
        found += [line["terugkoppeling"] for line in lines(world, "woonservice", "statement")]
        # as the purge does when they are due, without the work of half a year
        world.is_damaged = True
        with world.context.store.write() as conn:
            conn.execute(delete(AnswerRow.__table__).where(AnswerRow.__table__.c.due_on < date(2027, 6, 1)))
    assert found == ["OPGEPAKT", ""]


# -- termijnen -------------------------------------------------------------------------------------


def deadlines(world):
    """The newest termijnen: customer is unknown there, so by signal number."""
    return {line["signaalnummer"]: line for line in lines(world, "gemeente", "deadlines")}


def test_deadlines_of_what_is_open(world, row):
    """Every signal without an end result; the first deadline not met, days to it, the most urgent melding first."""
    world.send(
        "woonservice", *(row(name, huisnummer=number) for number, name in enumerate("abcdef", start=100))
    )
    found = published(world)
    answer(world, found["k-b"], "Nog niet opgepakt")
    answer(world, found["k-c"], "Opgepakt", "2026-11-03")
    answer(world, found["k-d"], "Hulp geaccepteerd")
    answer(world, found["k-e"], "Inwoner is overleden")
    world.send("woonservice", row("f", mutatie="I"))
    world.go_to(date(2026, 11, 16))
    world.send("dezorgkas", row("z", sector="Zorg", huisnummer=200, crisissignaal="J"))
    (crisis,) = [line for line in world.new_lines() if line["klasse"] == "MATCH"]
    world.go_to(date(2026, 11, 23))
    assert send_deadlines(world.context) == 1
    told = deadlines(world)
    first = {"gemeentecode": "GM1731", "sector": "Huur", "klasse": "ENKELVOUDIG"} | {
        "terugkoppelen_voor": "2026-11-17",
        "uiterlijk_aanbod": "2026-12-01",
        "afronden_voor": "2026-12-01",
    }
    assert told == {
        found[customer]["signaalnummer"]: first
        | {
            "melding_id": found[customer]["melding_id"],
            "signaalnummer": found[customer]["signaalnummer"],
            "status": status,
            "datum": "2026-11-03" if status else "",
            "eerstvolgende_termijn": column,
            "eerstvolgende_datum": first[column],
            "dagen_over": days if days[0] != "-" else "",
            "dagen_te_laat": days[1:] if days[0] == "-" else "",
        }
        for customer, status, column, days in (
            ("k-a", "", "terugkoppelen_voor", "-6"),
            ("k-b", "Nog niet opgepakt", "terugkoppelen_voor", "-6"),
            ("k-c", "Opgepakt", "uiterlijk_aanbod", "8"),
            ("k-d", "Hulp geaccepteerd", "afronden_voor", "8"),
        )
    } | {
        crisis["signaalnummer"]: {
            "gemeentecode": "GM1731",
            "melding_id": crisis["melding_id"],
            "signaalnummer": crisis["signaalnummer"],
            "klasse": "MATCH",
            "sector": "Zorg",
            "status": "",
            "datum": "",
            "terugkoppelen_voor": crisis["terugkoppelen_voor"],
            "uiterlijk_aanbod": crisis["uiterlijk_aanbod"],
            "afronden_voor": crisis["afronden_voor"],
            "eerstvolgende_termijn": "uiterlijk_aanbod",
            "eerstvolgende_datum": "2026-11-19",
            "dagen_over": "",
            "dagen_te_laat": "4",
        }
    }
    ordered = [(line["dagen_te_laat"], line["dagen_over"]) for line in lines(world, "gemeente", "deadlines")]
    assert ordered == [("6", ""), ("6", ""), ("4", ""), ("", "8"), ("", "8")]


def test_deadlines_hold_no_personal_data(world, row):
    """Ids, codes and days only; a manifest comes and goes with the file, and the trace knows whose signals it names."""
    world.send("woonservice", row("a", telefoonnummer="0612345678", straatnaam="Brink"))
    world.publish()
    world.go_to(date(2026, 11, 9))
    send_deadlines(world.context)
    (file,) = world.dispatches("gemeente", "deadlines")
    text = world.read(file).decode()
    # lower case or longer than what random ids are made of
    for word in ("Bakker", "7938PL", "Brink", "0612345678", "k-a", "1980-05-01", "600,00", "woonservice"):
        assert word not in text
    (manifest,) = [
        each for each in world.dispatches("gemeente", "manifest") if each["parent_id"] == file["id"]
    ]
    told = json.loads(world.read(manifest))
    assert (file["name"], manifest["name"]) == (
        "termijnen_GM1731_2026-11-09.csv",
        "termijnen_GM1731_2026-11-09.csv.manifest.json",
    )
    assert (told["bytes"], told["rows"], told["gemeentecode"]) == (file["size_bytes"], 1, "GM1731")
    assert told["expires"] == "2027-05-03" == file["due_on"].isoformat() == manifest["due_on"].isoformat()
    contents = [each for each in world.rows(DispatchContent) if each["dispatch_id"] == file["id"]]
    assert [(each["delivery_id"], each["signal_count"]) for each in contents] == [("L0001", 1)]


def test_deadlines_go_to_who_holds_the_melding(world, row):
    """Each municipality in a file of its own; a partner that serves it no more is told nothing; nothing open, no file."""
    world.send("woonservice", row("a"), row("b", postcode="8251AA", huisnummer=1))
    found = published(world)
    world.go_to(date(2026, 11, 9))
    assert [send_deadlines(world.context) for _ in range(2)] == [2, 0]
    assert names(world, "gemeente", "deadlines") == [
        "termijnen_GM0303_2026-11-09.csv",
        "termijnen_GM1731_2026-11-09.csv",
    ]
    answer(world, found["k-a"], "Inwoner is overleden")
    world.go_to(date(2026, 11, 16))
    assert send_deadlines(world.context) == 1
    partners = dict(world.context.partners)
    partners["gemeente"] = replace(partners["gemeente"], serves=("GM1731",))
    partners["urk"] = Partner(id="urk", name="Urk", role=Role.MUNICIPALITY, serves=("GM0303",))
    world.configure(partners=partners, served_by={"GM1731": "gemeente", "GM0303": "urk"})
    world.go_to(date(2026, 11, 23))
    assert send_deadlines(world.context) == 0
    world.send("woonservice", row("b", mutatie="W", postcode="8251AA", huisnummer=1, bedrag="1,00"))
    world.publish()
    assert send_deadlines(world.context) == 1
    assert names(world, "urk", "deadlines") == ["termijnen_GM0303_2026-11-23.csv"]


def test_deadlines_of_many_meldingen_are_looked_up_some_at_a_time(world, row, monkeypatch):
    """The order holds over the chunks."""
    monkeypatch.setattr(deadline_steps, "CHUNK", 4)
    for day, numbers in ((3, range(1, 6)), (5, range(6, 11))):
        world.go_to(date(2026, 11, day))
        world.send("woonservice", *(row(f"w{n}", huisnummer=n) for n in numbers))
        world.publish()
    world.go_to(date(2026, 11, 9))
    send_deadlines(world.context)
    assert [line["dagen_over"] for line in lines(world, "gemeente", "deadlines")] == ["8"] * 5 + ["10"] * 5
    assert len(deadlines(world)) == 10


def test_deadlines_of_a_day_that_ends_meanwhile(world, row, monkeypatch):
    """They bear the day they were made for, and do not stand in the way of the next day's."""
    world.send("woonservice", row("w1"))
    world.publish()
    world.go_to(FIRST)

    def after_midnight(context, files):
        world.go_to(FIRST + timedelta(days=1))
        return send_each(context, files)

    send_each = deadline_steps.send_each
    with monkeypatch.context() as patch:
        patch.setattr(deadline_steps, "send_each", after_midnight)
        assert send_deadlines(world.context) == 1
    assert [send_deadlines(world.context) for _ in range(2)] == [1, 0]
    assert [name for name in names(world, "gemeente", "deadlines") if name.endswith(".csv")] == [
        "termijnen_GM1731_2026-12-01.csv",
        "termijnen_GM1731_2026-12-02.csv",
    ]


def test_deadlines_can_be_sent_back_filled_in(world, row, csv_file):
    """With an end result filled in they are a feedback file."""
    world.send("woonservice", row("a"), row("b", huisnummer=20))
    world.publish()
    world.go_to(date(2026, 11, 9))
    send_deadlines(world.context)
    filled = [
        line | {"status": "Opgepakt", "datum": "2026-11-09"} for line in lines(world, "gemeente", "deadlines")
    ]
    receipt = world.send("gemeente", content=csv_file(*filled))
    assert receipt["sommen"] == {"regels": 2, "terugkoppelingen": 2, "afgekeurd": 0}
    assert {row["code"] for row in lines(world, "woonservice", "feedback")} == {"OPGEPAKT"}


# -- aanleveroverzicht -----------------------------------------------------------------------------


def expect(world, **days):
    """From now on these creditors are expected by a day of the month."""
    partners = dict(world.context.partners)
    for name, day in days.items():
        partners[name] = replace(partners[name], expected_by=day)
    world.configure(partners=partners)


def report(world, municipality="GM1731"):
    """The newest aanleveroverzicht of a municipality, without its code."""
    found = [
        each
        for each in world.dispatches("gemeente", "delivery_report")
        if each["municipality"] == municipality
    ]
    text = world.read(found[-1]).decode("utf-8-sig")
    return [tuple(row)[1:] for row in list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))[1:]]


def test_what_creditors_delivered_in_a_month(world, row):
    """A line a file, new and changed signals of this municipality; rejected rows only where they can't be another's."""
    expect(world, woonservice=10, dezorgkas=31, stroomhuis=5)
    huur = [row("a"), row("b", huisnummer=20), row("x", bedrag="?"), row("y", postcode="8251")]
    world.send("woonservice", *huur)
    world.go_to(date(2026, 11, 12))
    world.send("woonservice", row("a", mutatie="W", bedrag="700,00"), row("b", mutatie="I"))
    world.send(
        "dezorgkas",
        row("z1", sector="Zorg"),
        row("z2", sector="Zorg", postcode="8251AA", huisnummer=1),
        row("z3", sector="Zorg", postcode="1011AB", huisnummer=1),
        row("z4", sector="Zorg", postcode="?"),
    )
    world.send("vitens", row("v1", sector="Water", postcode="?"))
    world.send("stroomhuis", content=b"bsn;naam\r\n1;x\r\n")
    world.publish()
    world.go_to(date(2026, 11, 13))
    world.purge()
    # the version that was replaced is gone: what was delivered stays
    assert len([each for each in world.rows(SignalRow) if each["delivery_id"] == "L0001"]) == 1
    world.go_to(FIRST)
    assert [send_delivery_reports(world.context) for _ in range(2)] == [2, 0]
    assert report(world) == [
        ("2026-11", "dezorgkas", "Dezorgkas", "2026-11-12", "1", "", "2026-11-30"),
        ("2026-11", "woonservice", "Woonservice", "2026-11-03", "2", "2", "2026-11-10"),
        ("2026-11", "woonservice", "Woonservice", "2026-11-12", "1", "0", "2026-11-10"),
    ]
    assert report(world, "GM0303") == [
        ("2026-11", "dezorgkas", "Dezorgkas", "2026-11-12", "1", "", "2026-11-30")
    ]
    assert "aanleveroverzicht_GM1731_2026-11.csv.manifest.json" in names(world, "gemeente", "manifest")


def test_rejected_rows_of_a_file_with_a_signal_for_nobody_are_nobodys(world, row):
    """D40 and D41: what was rejected beside them may have been for elsewhere too."""
    for elsewhere in ({"postcode": "1011AB", "huisnummer": "1"}, {"postcode": "9999ZZ"}):
        name = elsewhere["postcode"].lower()
        bad = row("x", bedrag="?")
        world.send("woonservice", row(f"a{name}", huisnummer=20), row(name, **elsewhere), bad)
    world.publish()
    world.go_to(FIRST)
    send_delivery_reports(world.context)
    assert [line[4:6] for line in report(world)] == [("1", ""), ("1", "")]
    # where they were for is not kept
    assert {each["municipality"] for each in world.rows(DeliveryShare)} == {"", "GM1731"}


def test_who_delivered_nothing_is_missed(world, row):
    """A creditor that had signals in the months before has a line without a day; files for others count nothing."""
    expect(world, woonservice=10)
    world.send("woonservice", row("a"))
    world.send("dezorgkas", row("z", sector="Zorg"))
    world.publish()
    world.go_to(date(2026, 12, 9))
    world.send("dezorgkas", row("z2", sector="Zorg", postcode="8251AA", huisnummer=1))
    world.go_to(date(2027, 1, 1))
    send_delivery_reports(world.context)
    assert report(world) == [
        ("2026-12", "dezorgkas", "Dezorgkas", "2026-12-09", "0", "", ""),
        ("2026-12", "woonservice", "Woonservice", "", "0", "", "2026-12-10"),
    ]


def test_reports_of_months_that_were_missed_are_made(world, row):
    """Each month once; no more than a signal is held."""
    world.send("woonservice", row("a"))
    world.publish()
    world.go_to(FIRST)
    send_delivery_reports(world.context)
    world.go_to(date(2026, 12, 2))
    world.send("woonservice", row("a", mutatie="W", bedrag="1,00"))
    withdraw(world.context, "L0002", "verkeerd", actor="test")
    world.publish()
    world.go_to(date(2027, 6, 10))
    assert send_delivery_reports(world.context) == 6
    files = {
        each["name"]: world.read(each).decode() for each in world.dispatches("gemeente", "delivery_report")
    }
    months = ("2026-11", "2026-12", *(f"2027-0{month}" for month in range(1, 6)))
    assert sorted(files) == [f"aanleveroverzicht_GM1731_{month}.csv" for month in months]
    assert ";2026-12-02;1;0;" in files["aanleveroverzicht_GM1731_2026-12.csv"]
    # nobody had a signal in the last months: nobody is missed
    world.go_to(date(2028, 1, 2))
    assert send_delivery_reports(world.context) == 0


def test_a_delivery_is_shared_out_once(world, row, monkeypatch):
    """Cut off and done again, it counts once."""
    world.put("woonservice", row("a"), row("b", huisnummer=20))
    with monkeypatch.context() as patch:
        patch.setattr(intake_steps, "record", cut)
        with pytest.raises(Cut):
            world.work()
    world.clock.step(timedelta(minutes=2))
    world.work()
    world.publish()
    world.go_to(FIRST)
    send_delivery_reports(world.context)
    assert [line[4] for line in report(world)] == ["2"]
