"""Worklists: a month as it stands after each publication, and feedback when they come back filled in."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import date, timedelta

import pytest

from gateway.domain.partner import Partner, Role
from gateway.domain.policy import Publish, Route
from gateway.files.personfile import mentions
from gateway.files.table import Limits
from gateway.pipeline import worker
from gateway.pipeline import worklist as steps
from gateway.pipeline.workbook import read_municipal_table
from gateway.pipeline.worker import pending
from gateway.store.retention_tables import Destruction
from gateway.store.tables import AnswerRow, AuditEntry, Dispatch, DispatchContent, WorklistRow


def listed(world, partner="gemeente", name="werklijst_GM1731_2026-11.xlsx"):
    """The worklist that lies ready, and its manifest."""
    found = [
        row
        for row in world.rows(Dispatch)
        if row["partner_id"] == partner and row["state"] in {"ready", "collected"}
    ]
    (file,) = [row for row in found if row["name"] == name]
    (manifest,) = [row for row in found if row["name"] == f"{name}.manifest.json"]
    assert manifest["parent_id"] == file["id"]
    return file, json.loads(world.read(manifest))


@pytest.fixture
def meldingen(world, sheet):
    """Reads the lines of the worklist that lies ready."""

    def read(partner="gemeente", sheet_name="Meldingen"):
        return sheet(world.read(listed(world, partner)[0]), sheet_name)

    return read


@pytest.fixture
def match(world, row):
    """A melding of two creditors about one person and one of a single, published."""
    world.send("woonservice", row("w1", bedrag="100,00"), row("w2", huisnummer=20, bedrag="50,00"))
    world.send("dezorgkas", row("z1", sector="Zorg", bedrag="200,00"))
    return {line["klantnummer"]: line for line in world.publish()}


def test_it_follows_each_publication(world, row, match, meldingen):
    """The whole month, by rank; a newer one has the name of the one before it, which is out of sight."""
    first, manifest = listed(world)
    data = world.read(first)
    assert (manifest["name"], manifest["bytes"], manifest["rows"]) == (first["name"], len(data), 3)
    assert (first["box"], first["municipality"]) == ("outbox", "GM1731")
    assert [(line["melding_id"], line.get("rang")) for line in meldingen()] == [
        (match["k-w1"]["melding_id"], 1),
        (match["k-w2"]["melding_id"], None),
    ]
    contents = [each for each in world.rows(DispatchContent) if each["dispatch_id"] == first["id"]]
    assert {each["delivery_id"]: each["signal_count"] for each in contents} == {"L0001": 2, "L0002": 1}
    world.send("vitens", row("v1", sector="Water", huisnummer=20, bedrag="900,00"))
    world.publish()
    assert [(line["rang"], line["totaalbedrag"], line["versie"]) for line in meldingen()] == [
        (1, 950, 2),
        (2, 300, 1),
    ]
    states = [each["state"] for each in world.dispatches("gemeente", "worklist")]
    assert states == ["replaced", "ready"]
    assert [each["version"] for each in world.rows(WorklistRow)] == [2]
    made = [
        entry
        for entry in (json.loads(each["entry"]) for each in world.rows(AuditEntry))
        if entry["action"] == "worklist.published"
    ]
    assert [entry["object"] for entry in made] == [
        each["id"] for each in world.dispatches("gemeente", "worklist")
    ]


def test_it_alone_holds_to_the_capacity(world, row, meldingen):
    """One visit a month: a CSV was a snapshot, in the worklist the place has gone to the higher total."""
    world.policy(actions=replace(world.context.policy("GM1731").actions, visit_capacity=1))
    for number, house, amount in ((1, 18, "600,00"), (2, 20, "900,00")):
        world.send("woonservice", row(f"w{number}", huisnummer=house, bedrag=amount))
        world.send("vitens", row(f"v{number}", sector="Water", huisnummer=house))
        assert {line["voorstel_actie"] for line in world.publish()} == {"Huisbezoek"}
    assert [(line["rang"], line["totaalbedrag"], line["voorstel_actie"]) for line in meldingen()] == [
        (1, 1500, "Huisbezoek"),
        (2, 1200, "Brief"),
    ]


def test_each_partner_has_its_own(world, row, meldingen):
    """What goes to another partner is in its list; they share ranks and places, so that both are made anew."""
    policy = world.context.policy("GM1731")
    world.policy(
        actions=replace(policy.actions, visit_capacity=1, visit_over_cents=0),
        routes=(Route(to="sdd", sectors=("Energie",)),),
    )
    other = Partner(id="sdd", name="SDD", role=Role.MUNICIPALITY)
    world.configure(partners={**world.context.partners, "sdd": other})
    world.send("woonservice", row("w1", bedrag="100,00"))
    world.send("dezorgkas", row("z1", sector="Zorg", bedrag="200,00"))
    world.publish()
    assert [(line["rang"], line["voorstel_actie"]) for line in meldingen()] == [(1, "Huisbezoek")]
    world.send("woonservice", row("w3", huisnummer=22, bedrag="700,00"))
    world.send("stroomhuis", row("e3", sector="Energie", huisnummer=22))
    world.publish()
    assert [(line["rang"], line["voorstel_actie"]) for line in meldingen("sdd")] == [(1, "Huisbezoek")]
    assert [(line["rang"], line["voorstel_actie"]) for line in meldingen()] == [(2, "Brief")]


def test_a_list_for_each_municipality_and_month(world, row, sheet):
    """Two municipalities of one partner, two months: three lists."""
    world.send("woonservice", row("w1"), row("w2", postcode="8251AA", huisnummer=1))
    world.send("woonservice", row("w3", huisnummer=20, signaaldatum="2026-10-20"))
    world.publish()
    names = sorted(each["name"] for each in world.dispatches("gemeente", "worklist"))
    assert names == [
        "werklijst_GM0303_2026-11.xlsx",
        "werklijst_GM1731_2026-10.xlsx",
        "werklijst_GM1731_2026-11.xlsx",
    ]
    for name in names:
        (line,) = sheet(world.read(listed(world, name=name)[0]), "Signalen")
        assert line["signaalnummer"]


class Cut(Exception):
    """The worker ends here."""


def cut(*_args, **_options):
    """Ends the worker."""
    raise Cut


@pytest.mark.parametrize("name", ["render_worklist", "seal_file", "store_files", "record"])
def test_it_is_made_at_the_next_look(world, row, monkeypatch, meldingen, name):
    """Cut anywhere, the CSV is out all the same, the list is still due, and there is one in the end."""
    world.send("woonservice", row("w1"))
    with monkeypatch.context() as patch:
        patch.setattr(steps, name, cut)
        assert [line["klantnummer"] for line in world.publish()] == ["k-w1"]
        assert world.dispatches("gemeente", "worklist") == []
        assert pending(world.context)
    world.work()
    assert len(meldingen()) == 1
    assert not pending(world.context)


def test_what_is_published_while_it_is_asked_for_is_not_over(world, row, monkeypatch):
    """`gateway wait --idle` beside a running pipeline: between its questions a publication may leave a worklist."""
    world.send("woonservice", row("w1"))
    world.clock.step(timedelta(seconds=6))
    asked = worker.due_worklists

    def published_meanwhile(context):
        found = asked(context)
        worker.step(context, makes_worklists=False)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(worker, "due_worklists", published_meanwhile)
        assert pending(world.context)
    world.work()
    assert not pending(world.context)


def test_who_publishes_by_hand_gets_it_too(world, row, meldingen):
    """`gateway publish` and `partner leave` need no daemon for it."""
    world.policy(publish=Publish(when="0 7 1 1 *"))
    world.send("woonservice", row("w1"))
    world.publish_now()
    assert len(meldingen()) == 1


def test_what_was_withdrawn_is_in_it_no_more(world, row, match, meldingen):
    """A withdrawn signal goes with the publication that says so; a month without any has an empty list."""
    world.send("woonservice", {"signaal_id": "w2", "mutatie": "I"})
    world.publish()
    assert [line["aantal_signalen"] for line in meldingen()] == [2]
    world.send("woonservice", {"signaal_id": "w1", "mutatie": "I"})
    world.send("dezorgkas", {"signaal_id": "z1", "mutatie": "I"})
    world.publish()
    assert (meldingen(), meldingen(sheet_name="Signalen")) == ([], [])


def test_it_goes_with_its_earliest_signal(world, row, match, meldingen):
    """A replaced list goes with the next purge, and is no loss; the last one on the day of its first signal."""
    world.go_to(date(2026, 11, 20))
    world.send("woonservice", row("w9", huisnummer=22))
    world.publish()
    first, last = world.dispatches("gemeente", "worklist")
    assert (last["due_on"], listed(world)[1]["expires"]) == (date(2027, 5, 3), "2027-05-03")
    world.purge()
    assert [each["state"] for each in world.dispatches("gemeente", "worklist")] == ["purged", "ready"]
    assert first["blob"] not in world.context.blobs.names()
    lost = {each["object_id"]: each["never_collected"] for each in world.rows(Destruction)}
    assert lost[first["id"]] == 0
    assert len(meldingen()) == 3
    world.go_to(date(2027, 5, 4))
    world.purge()
    assert [each["state"] for each in world.dispatches("gemeente", "worklist")] == ["purged", "purged"]
    lost = {each["object_id"]: each["never_collected"] for each in world.rows(Destruction)}
    assert lost[last["id"]] == 1


def test_what_is_overdue_is_in_it_no_more(world, row, match, meldingen):
    """Also when no purge ran: the rest of the month is published again, without it."""
    world.go_to(date(2026, 11, 20))
    world.send(
        "woonservice", row("w8", huisnummer=22, bedrag="80,00"), row("w9", huisnummer=20, bedrag="90,00")
    )
    world.publish()
    assert [line["totaalbedrag"] for line in meldingen()] == [300, 140, 80]
    world.go_to(date(2027, 5, 4))
    world.send("woonservice", {"signaal_id": "w8", "mutatie": "I"})
    world.publish()
    (line,) = meldingen(sheet_name="Signalen")
    assert (line["klantnummer"], line["bedrag"]) == ("k-w9", 90)


# -- filled in ---------------------------------------------------------------------------------------------


def told(world, creditor):
    """What a creditor was told since the last look."""
    return sorted((row["signaal_id"], row["code"]) for row in world._fresh(creditor, "feedback"))


def rejected(receipt):
    """Line, column and code of each row that a receipt rejects."""
    return [(each["regel"], each["kolom"], each["code"]) for each in receipt["afgekeurd"]]


ON = {"datum": "03-11-2026"}


def test_it_is_read_as_feedback(world, match, fill_in, meldingen):
    """Signalen goes before Meldingen, whatever their days; lines without an answer count for nothing."""
    data = world.read(listed(world)[0])
    data = fill_in(data, "Meldingen", {2: {"status": "Opgepakt", "contactsoort": "Brief", **ON}})
    (at,) = [
        number
        for number, line in enumerate(meldingen(sheet_name="Signalen"), start=2)
        if line["klantnummer"] == "k-z1"
    ]
    answer = {"eindresultaat": "Inwoner is overleden", "datum": "2026-11-02"}
    receipt = world.send("gemeente", content=fill_in(data, "Signalen", {at: answer}))
    assert receipt["sommen"] == {"regels": 2, "terugkoppelingen": 2, "afgekeurd": 0, "overgeslagen": 3}
    assert receipt["waarschuwingen"] == []
    assert told(world, "woonservice") == [("w1", "OPGEPAKT")]
    assert told(world, "dezorgkas") == [("z1", "NIET_OPGEPAKT")]
    assert len(world.rows(AnswerRow)) == 2


def test_it_comes_back_again_and_again(world, row, match, fill_in, meldingen):
    """As it was made it says nothing; what was told is told once; the next list shows it, its answers are empty."""
    empty = world.read(listed(world)[0])
    assert world.send("gemeente", content=empty)["sommen"]["overgeslagen"] == 5
    filled = fill_in(empty, "Meldingen", {2: {"status": "Opgepakt", **ON}})
    world.send("gemeente", content=filled)
    world.send("gemeente", content=fill_in(filled, "Meldingen", {3: {"status": "Nog niet opgepakt", **ON}}))
    assert told(world, "woonservice") == [("w1", "OPGEPAKT")]
    assert told(world, "dezorgkas") == [("z1", "OPGEPAKT")]
    world.send("vitens", row("v1", sector="Water", bedrag="300,00"))
    world.publish()
    first, second = meldingen()
    assert (first["laatste_antwoord"], first["laatste_datum"]) == ("deels: zie Signalen", date(2026, 11, 3))
    assert second["laatste_antwoord"] == "Nog niet opgepakt"
    assert not {"status", "eindresultaat", "datum"} & {*first, *second}
    answers = {line["klantnummer"]: line.get("laatste_antwoord") for line in meldingen(sheet_name="Signalen")}
    assert answers == {
        "k-w1": "Opgepakt",
        "k-z1": "Opgepakt",
        "k-v1": None,
        "k-w2": "Nog niet opgepakt",
    }
    before = len(world.rows(AnswerRow))
    world.send("gemeente", content=world.read(listed(world)[0]))
    assert len(world.rows(AnswerRow)) == before


def test_what_is_wrong_names_its_sheet(world, row, fill_in):
    """V18 for several persons, V15, V05, V01; a line of Signalen that is wrong keeps Meldingen off its signal."""
    world.send("woonservice", row("w1", bedrag="100,00"), row("w2", huisnummer=20))
    world.send("dezorgkas", row("z1", sector="Zorg", achternaam="Visser", bedrag="200,00"))
    world.publish()
    data = world.read(listed(world)[0])
    data = fill_in(data, "Meldingen", {2: {"status": "Opgepakt", **ON}, 3: {"status": "Opgepakt", **ON}})
    data = fill_in(
        data,
        "Signalen",
        {2: {"status": "Bezig", "datum": "31-02-2026"}, 4: {"eindresultaat": "Inwoner is overleden"}},
    )
    receipt = world.send("gemeente", content=data)
    assert rejected(receipt) == [
        (2, "Signalen!status", "V15"),
        (2, "Signalen!datum", "V05"),
        (2, "Meldingen!melding_id", "V18"),
        (4, "Signalen!datum", "V01"),
    ]
    assert receipt["sommen"] == {"regels": 4, "terugkoppelingen": 1, "afgekeurd": 3, "overgeslagen": 1}
    assert told(world, "woonservice") == told(world, "dezorgkas") == []


def test_a_list_that_is_out_of_date(world, row, match, fill_in):
    """V16 for what was withdrawn or went to another partner since; the rest is taken."""
    data = world.read(listed(world)[0])
    world.send("woonservice", {"signaal_id": "w2", "mutatie": "I"})
    world.publish()
    lines = {2: {"status": "Opgepakt", **ON}, 3: {"status": "Opgepakt", **ON}}
    data = fill_in(data, "Meldingen", lines)
    assert rejected(world.send("gemeente", content=data)) == [(3, "Meldingen!melding_id", "V16")]
    assert told(world, "woonservice") == [("w1", "OPGEPAKT")]
    other = Partner(id="sdd", name="SDD", role=Role.MUNICIPALITY)
    world.configure(partners={**world.context.partners, "sdd": other})
    receipt = world.send("sdd", content=data)
    assert rejected(receipt) == [(2, "Meldingen!melding_id", "V16"), (3, "Meldingen!melding_id", "V16")]


def test_how_it_is_recognised(world, match, fill_in, repack):
    """By its property, or by both its sheets; what a clerk adds gets a remark, a forbidden column refuses it."""
    data = world.read(listed(world)[0])
    answered = fill_in(data, "Meldingen", {2: {"status": "Opgepakt", **ON}})
    bare = repack(answered, {"docProps/custom.xml": b"<broken"})
    receipt = world.send("gemeente", content=bare)
    assert receipt["sommen"]["overgeslagen"] == 4
    renamed = repack(answered, {"xl/workbook.xml": rename(answered, "Signalen", "Oud")})
    receipt = world.send("gemeente", content=renamed)
    assert receipt["sommen"] == {"regels": 1, "terugkoppelingen": 1, "afgekeurd": 0, "overgeslagen": 1}
    for name, code in (("kamer", "W04"), ("bsn", "F03")):
        changed = replace_header(answered, repack, "klasse", name)
        receipt = world.send("gemeente", content=changed)
        if code == "F03":
            assert receipt["weigering"]["code"] == code
        else:
            assert [(each["kolom"], each["code"]) for each in receipt["waarschuwingen"]] == [
                (f"Meldingen!{name}", code)
            ]


def test_a_creditor_s_workbook_is_a_signal_file(world, match, fill_in):
    """Whatever its sheets are called: its first one is read, and is none."""
    receipt = world.send("woonservice", content=world.read(listed(world)[0]))
    assert receipt["weigering"]["code"] == "F02"


def test_who_stands_in_it_is_found(world, match):
    """A request for erasure must find each person in a list that came back: both sheets are looked through."""
    data = world.read(listed(world)[0])
    found = list(mentions(lambda: [data], world.context.partners["gemeente"], Limits(), read_municipal_table))
    assert {each.signal_number for each in found} - {""} == {line["signaalnummer"] for line in match.values()}
    assert {each.subject.surname for each in found if each.signal_number} == {"Bakker"}


def rename(data, old, new):
    """The list of sheets of a workbook with another name in it."""
    return part(data, "xl/workbook.xml").replace(f'name="{old}"'.encode(), f'name="{new}"'.encode())


def replace_header(data, repack, old, new):
    """A workbook with another name in the header."""
    texts = part(data, "xl/sharedStrings.xml").replace(f">{old}<".encode(), f">{new}<".encode())
    return repack(data, {"xl/sharedStrings.xml": texts})


def part(data, name):
    """A part of a workbook."""
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        return package.read(name)
