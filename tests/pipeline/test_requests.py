"""Requests about persons: what a municipality gets to see, and what is gone a day after it asked so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest

from gateway.domain.delivery import DeliveryState
from gateway.domain.partner import Partner, Role
from gateway.domain.policy import Route
from gateway.matching.municipality import Successor
from gateway.pipeline import erasure
from gateway.pipeline.erasure import carry_out
from gateway.retention import purge as purge_steps
from gateway.store.tables import (
    AnswerRow,
    AuditEntry,
    DataKeyRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    IndexToken,
    MeldingRow,
    RequestRow,
    SignalRow,
)

BORN = "1980-05-01"


def ask(number, what="INZAGE", **values):
    """A row of a request file: by surname and date of birth."""
    row = {"avg_verzoek": what, "verzoek_id": number, "achternaam": "Bakker", "geboortedatum": BORN}
    return row | {"postcode": "", "huisnummer": "", "mutatie": "N"} | values


def page(world, number, partner="gemeente"):
    """The answer to an INZAGE."""
    (found,) = [
        each for each in world.dispatches(partner, "access") if each["name"] == f"inzage_{number}.html"
    ]
    return world.read(found).decode()


def rejected(receipt):
    """Line, column and code of each row that a receipt rejects."""
    return [(each["regel"], each["kolom"], each["code"]) for each in receipt["afgekeurd"]]


def erase(world):
    """Let the 24 hours pass, and do what the schedule does then."""
    world.clock.step(timedelta(hours=24))
    world.make_keys()
    assert carry_out(world.context) >= 1
    world.purge()


@pytest.fixture
def worklist(sheet):
    """The customers in a partner's worklist as it is listed."""

    def customers(world, partner="gemeente"):
        files = world.dispatches(partner, "worklist")
        (file,) = [each for each in files if each["state"] in ("ready", "collected")]
        return {each["klantnummer"] for each in sheet(world.read(file), "Signalen")}

    return customers


@pytest.fixture
def town(world, row):
    """Two creditors about Bakker and one about Visser, published; Bakker's first signal was answered."""
    world.send("woonservice", row("w1"), row("w2", achternaam="Visser", huisnummer=20, bedrag="444,00"))
    world.send("dezorgkas", row("z1", sector="Zorg", bedrag="123,45", geboortedatum=""))
    lines = {line["klantnummer"]: line for line in world.publish()}
    answer = {"signaalnummer": lines["k-w1"]["signaalnummer"], "status": "Opgepakt", "datum": "2026-11-03"}
    world.send("gemeente", answer)
    world.lines = lines
    return world


# -- INZAGE ----------------------------------------------------------------------------------------


def test_all_that_is_held_is_told(town, row):
    """Signals of every creditor, answers, files; by date of birth only what bears it, by address too what has none."""
    receipt = town.send("gemeente", ask("1"), ask("2", postcode="7938PL", huisnummer="18"))
    assert receipt["sommen"] == {"regels": 2, "verzoeken": 2, "afgekeurd": 0}
    first, second = page(town, "1"), page(town, "2")
    for text in ("Woonservice", "€ 600,00", "k-w1", "01-05-1980", "Opgepakt", "doorgezet aan de gemeente"):
        assert text in first
    assert "Dezorgkas" not in first
    assert "123,45" not in first
    assert "€ 123,45" in second
    assert "Dezorgkas" in second
    for text in ("Visser", "444,00", "k-w2"):
        assert text not in first + second
    manifest = json.loads(town.read(town.dispatches("gemeente", "manifest")[-1]))
    assert (manifest["name"], manifest["rows"]) == ("inzage_2.html", 2)


def test_versions_that_ended_and_what_was_rejected_are_told(town, row):
    """A replaced version and a withdrawn signal while they are held, and the row that was no signal."""
    town.send(
        "woonservice", row("w1", mutatie="W", bedrag="700,00"), row("w3", sociaal_incasso="N", bedrag="5,55")
    )
    town.send("woonservice", {"signaal_id": "w1", "mutatie": "I"})
    town.send("gemeente", ask("1"))
    told = page(town, "1")
    assert "€ 600,00" in told
    assert "€ 700,00" in told
    assert "eerdere versie" in told
    assert "ingetrokken" in told
    assert "regel 3: geen signaal geworden" in told
    assert "5,55" in told


def test_only_within_the_municipality_that_asks(town, row):
    """The same person in a municipality that another partner serves is not told; nor is its rejected row."""
    other = Partner(id="zuid", name="Zuid", role=Role.MUNICIPALITY, serves=("GM0303",))
    partners = {**town.context.partners, "zuid": other}
    partners["gemeente"] = replace(partners["gemeente"], serves=("GM1731",))
    town.configure(partners=partners, served_by={"GM1731": "gemeente", "GM0303": "zuid"})
    there = {"postcode": "8251AA", "huisnummer": 1}
    town.send("vitens", row("v1", sector="Water", bedrag="77,77", **there))
    town.send("vitens", row("v2", sector="Water", bedrag="88,88", sociaal_incasso="N", **there))
    town.send("vitens", row("v3", sector="Water", bedrag="99,99", postcode="1"))
    town.send("gemeente", ask("1"))
    town.send("zuid", ask("1"))
    mine, theirs = page(town, "1"), page(town, "1", "zuid")
    assert "€ 600,00" in mine
    assert not any(text in mine for text in ("77,77", "88,88", "99,99", "Vitens"))
    assert "€ 77,77" in theirs
    assert "88,88" in theirs
    assert not any(text in theirs for text in ("600,00", "99,99", "Woonservice", "k-w1"))


def test_nothing_held_is_told_too(town):
    """The page says so; what it says is escaped."""
    town.send("gemeente", ask("9", achternaam="O'Brien <b>"))
    assert "Er wordt niets over u bewaard" in page(town, "9")
    assert "<b>" not in page(town, "9")


def test_what_is_overdue_is_found_by_opening(town):
    """Its index key is gone before its row is."""
    town.go_to(date(2027, 5, 10))
    town.context.keyring.destroy("index-2026-11")
    town.send("gemeente", ask("1"))
    assert "€ 600,00" in page(town, "1")
    (file,) = town.dispatches("gemeente", "access")
    assert file["due_on"] == town.today


def test_a_name_of_two_people_needs_a_date_of_birth(town, row):
    """Father and son at one address: nobody sees the other's."""
    town.send("vitens", row("v1", sector="Water", geboortedatum="2004-01-01"))
    address = {"postcode": "7938PL", "huisnummer": "18"}
    receipt = town.send("gemeente", ask("1", geboortedatum="", **address))
    assert rejected(receipt) == [(2, "geboortedatum", "V01")]
    town.send("gemeente", ask("2", **address))
    assert "Vitens" not in page(town, "2")


def test_the_answer_goes_with_the_first_of_what_it_tells(town):
    """Never later than the signals."""
    town.go_to(date(2026, 11, 20))
    town.send("gemeente", ask("1"))
    (file,) = town.dispatches("gemeente", "access")
    assert file["due_on"] == min(row["due_on"] for row in town.rows(SignalRow))


def test_numbers_are_used_once(town):
    """A second N, in one file or later; I on what is unknown, answered or taken back."""
    receipt = town.send(
        "gemeente",
        ask("1"),
        ask("1"),
        ask("2", "WISSEN"),
        ask("2", mutatie="I"),
        ask("2", mutatie="I"),
        ask("1", mutatie="I"),
        ask("3", mutatie="I"),
    )
    assert rejected(receipt) == [
        (3, "verzoek_id", "V13"),
        (6, "verzoek_id", "V16"),
        (7, "verzoek_id", "V16"),
        (8, "verzoek_id", "V16"),
    ]
    assert rejected(town.send("gemeente", ask("2"))) == [(2, "verzoek_id", "V09")]


# -- WISSEN ----------------------------------------------------------------------------------------


def test_nothing_goes_before_its_24_hours(town):
    """And nothing when it was taken back in time."""
    town.send("gemeente", ask("1", "WISSEN"))
    town.clock.step(timedelta(hours=23, minutes=59))
    assert carry_out(town.context) == 0
    town.send("gemeente", ask("1", mutatie="I"))
    town.clock.step(timedelta(days=1))
    assert carry_out(town.context) == 0
    assert [row["state"] for row in town.rows(RequestRow)] == ["withdrawn"]
    assert len(town.rows(SignalRow)) == 3


def test_a_withdrawal_that_came_in_time_is_read_first(town):
    """It lies in the queue when the 24 hours are over."""
    town.send("gemeente", ask("1", "WISSEN"))
    town.clock.step(timedelta(hours=23))
    town.put("gemeente", ask("1", mutatie="I"))
    town.clock.step(timedelta(hours=2))
    assert carry_out(town.context) == 0
    town.work()
    assert carry_out(town.context) == 0
    assert [row["state"] for row in town.rows(RequestRow)] == ["withdrawn"]


def test_all_that_names_the_person_goes(town):
    """Rows, answers, the file of meldingen, received files, tokens and keys; the other creditor's stay."""
    seen = {line["klantnummer"]: line for line in town.lines.values()}
    before = {row["line"]: row for row in town.rows(SignalRow) if row["creditor"] == "woonservice"}
    blobs = {row["id"]: row["blob"] for row in town.rows(Delivery)}
    (old,) = town.dispatches("gemeente", "meldingen")
    town.send("gemeente", ask("1"))
    town.send("gemeente", ask("2", "WISSEN"))
    erase(town)
    rows = {row["line"]: row for row in town.rows(SignalRow) if row["creditor"] == "woonservice"}
    assert set(rows) == {3}
    assert town.rows(AnswerRow) == []
    raw, folder = (town.context.store.path, town.context.reference.parent / "vault")
    everything = raw.read_bytes() + raw.with_name(raw.name + "-wal").read_bytes()
    assert before[2]["sealed"] not in everything
    assert rows[3]["sealed"] in everything
    places = {row["place"] for row in town.rows(IndexToken)}
    assert not places & {before[2]["place_p1"], before[2]["place_k1"], before[2]["place_s1"]}
    assert before[3]["place_p1"] in places
    gone = [row["id"] for row in town.rows(Delivery) if row["blob"] is None]
    kinds = {row["id"]: row["kind"] for row in town.rows(Delivery)}
    # both request files name the person, the feedback file its signal
    assert sorted(kinds[each] for each in gone) == ["feedback", "requests", "requests", "signals"]
    assert not any((folder / blobs[each]).exists() for each in gone if each in blobs)
    assert not any(row["object_id"] in gone and not row["municipality"] for row in town.rows(DataKeyRow))
    assert {row["state"] for row in town.dispatches("gemeente", "access")} == {"purged"}
    assert [row["state"] for row in town.rows(Dispatch) if row["id"] == old["id"]] == ["purged"]
    # the melding keeps the signal without a date of birth; the other resident's comes again with the lost file
    lines = {line["klantnummer"]: line for line in town.new_lines()}
    assert {key: line["versie"] for key, line in lines.items()} == {"k-z1": "2", "k-w2": "2"}
    assert lines["k-z1"]["melding_id"] == seen["k-w1"]["melding_id"]
    assert ("w1", "D52") not in town.told("woonservice")


def test_the_last_signal_lapses_its_melding(town, row):
    """VERVALLEN goes out at once, whatever `when` says; what others wait for does not."""
    town.policy(publish=replace(town.context.policy("GM1731").publish, when="0 7 15 * *"))
    for each in town.dispatches("gemeente", "meldingen"):
        collect(town, each)
    town.send("gemeente", ask("1", "WISSEN", achternaam="Visser"))
    town.send("vitens", row("v1", sector="Water", huisnummer=22))
    town.new_lines()
    erase(town)
    (line,) = town.new_lines()
    assert (line["klasse"], line["versie"], line["signaalnummer"]) == ("VERVALLEN", "2", "")
    assert line["melding_id"] == town.lines["k-w2"]["melding_id"]


def collect(world, dispatch):
    """The partner has read the file."""
    from gateway.store import dispatches

    with world.context.store.write() as conn:
        dispatches.collect(conn, dispatch["id"], world.clock.now())


def test_its_signaal_id_is_as_purged(town, row):
    """W and I are V14; a new one is a new signal."""
    town.send("gemeente", ask("1", "WISSEN"))
    erase(town)
    changed = row("w1", mutatie="W", bedrag="1,00")
    receipt = town.send("woonservice", changed, {"signaal_id": "w1", "mutatie": "I"})
    assert [each[2] for each in rejected(receipt)] == ["V14", "V14"]
    assert town.send("woonservice", row("w1"))["sommen"]["signalen"] == 1


def test_the_certificate_names_the_request(town, row):
    """Its number, its ground and until when backups can be opened; the creditor's too."""
    there = {"postcode": "8251AA", "huisnummer": 1, "achternaam": "Jansen"}
    both = town.put("vitens", row("v1", sector="Water"), row("v2", sector="Water", **there))
    town.work()
    town.send("gemeente", ask("77-1", "WISSEN"))
    last = max(row["due_on"] for row in town.rows(Dispatch))
    erase(town)
    (request,) = town.rows(RequestRow)
    assert (request["state"], request["backups_until"]) == ("done", last)
    told = [
        json.loads(town.read(each))
        for each in town.dispatches("gemeente", "certificate")
        if each["name"].endswith(".json")
    ]
    assert {each["soort"] for made in told for each in made["vernietigd"]} == {
        "bestand",
        "signalen",
        "terugkoppelingen",
        "uitgaand",
    }
    for made in told:
        (named,) = made["verzoeken"]
        assert (named["verzoek_id"], named["grondslag"]) == ("77-1", "AVG, artikel 17")
        assert named["in_reservekopieen_tot_en_met"] == last.isoformat()
    (text, *_) = [
        town.read(each).decode()
        for each in town.dispatches("gemeente", "certificate")
        if each["name"].endswith(".txt")
    ]
    assert "verzoek 77-1 (AVG, artikel 17)" in text
    # the log has neither name nor number
    log = b"".join(each["entry"] for each in town.rows(AuditEntry)).decode()
    for action in ("request.carried_out", "request.finished"):
        assert action in log
    for word in ("Bakker", "77-1", town.lines["k-w1"]["signaalnummer"], BORN):
        assert word not in log
    # the last row under a data key takes that with it; another municipality's stays
    held = {key["municipality"] for key in town.rows(DataKeyRow) if key["object_id"] == both}
    assert held == {"GM0303"}
    # the request file is a tombstone
    (file,) = [each for each in town.rows(Delivery) if each["id"] == request["delivery_id"]]
    assert file["state"] == DeliveryState.PURGED


def test_a_row_that_was_rejected_takes_its_file_with_it(town, row):
    """It is in no row: the received file is read for it."""
    bad = town.put(
        "vitens", row("v1", sector="Water", achternaam="Smit", sociaal_incasso="N", huisnummer="x")
    )
    good = town.put("vitens", row("v2", sector="Water", achternaam="Jansen"))
    town.work()
    town.send("gemeente", ask("1", "WISSEN", achternaam="Smit"))
    erase(town)
    state = {each["id"]: each for each in town.rows(Delivery)}
    assert state[bad]["blob"] is None
    assert state[good]["blob"] is not None


def test_a_request_that_waits_keeps_its_file(town):
    """Another request about the same person is carried out first: the file of the later one is still read."""
    town.send("gemeente", ask("1", "WISSEN"))
    town.clock.step(timedelta(hours=12))
    town.send("gemeente", ask("2", "WISSEN"), ask("3", "WISSEN", achternaam="Visser"))
    town.clock.step(timedelta(hours=12))
    assert carry_out(town.context) == 1
    town.purge()
    assert {row["number"]: row["state"] for row in town.rows(RequestRow)} == {
        "1": "done",
        "2": "waiting",
        "3": "waiting",
    }
    erase(town)
    assert {row["state"] for row in town.rows(RequestRow)} == {"done"}
    assert [row["creditor"] for row in town.rows(SignalRow)] == ["dezorgkas"]


def test_the_file_of_a_request_outlives_its_day_while_it_waits(town):
    """A gateway that stood still for weeks purges first, and carries it out then."""
    town.send("gemeente", ask("1", "WISSEN"))
    town.clock.step(timedelta(days=20))
    town.make_keys()
    town.purge()
    assert carry_out(town.context) == 1
    town.purge()
    assert "k-w1" not in {row["number"] for row in town.rows(SignalRow)}
    assert [row["state"] for row in town.rows(RequestRow)] == ["done"]


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("place", ["touch", "_mark", "publish"])
def test_killed_while_it_marks(town, monkeypatch, place):
    """It is done again from the start, or goes on: once."""
    town.send("gemeente", ask("1", "WISSEN"))
    town.clock.step(timedelta(hours=24))

    def cut(*_args, **_options):
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(erasure, place, cut)
        with pytest.raises(Cut):
            carry_out(town.context)
    carry_out(town.context)
    town.purge()
    town.publish()
    assert {row["number"]: row["state"] for row in town.rows(RequestRow)} == {"1": "done"}
    assert sorted(row["creditor"] for row in town.rows(SignalRow)) == ["dezorgkas", "woonservice"]
    versions = {row["id"]: row["version"] for row in town.rows(MeldingRow)}
    assert set(versions.values()) == {2}


def test_killed_before_it_publishes(town, worklist, monkeypatch):
    """What it publishes does not wait for the municipality's time, nor does the worklist for what it publishes."""
    town.policy(publish=replace(town.context.policy("GM1731").publish, when="0 7 15 * *"))
    town.new_lines()
    town.send("gemeente", ask("1", "WISSEN"))
    town.clock.step(timedelta(hours=24))

    def cut(*_args, **_options):
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "publish", cut)
        with pytest.raises(Cut):
            carry_out(town.context)
    town.work()
    assert town.new_lines() == []
    assert worklist(town) == {"k-w2", "k-z1"}
    assert carry_out(town.context) == 0
    town.purge()
    assert {line["klantnummer"]: line["versie"] for line in town.new_lines()} == {"k-z1": "2", "k-w2": "2"}
    assert carry_out(town.context) == 0
    assert town.new_lines() == []


@pytest.mark.parametrize("step", ["rows", "certify", "requests"])
def test_killed_while_it_purges(town, monkeypatch, step):
    """The next run goes on; the certificate still names the request."""
    town.send("gemeente", ask("1", "WISSEN"))
    town.clock.step(timedelta(hours=24))
    carry_out(town.context)

    def cut(_run):
        raise Cut

    with monkeypatch.context() as patch:
        steps = [(name, cut if name == step else do) for name, do in purge_steps.STEPS]
        patch.setattr(purge_steps, "STEPS", steps)
        with pytest.raises(Cut):
            town.purge()
    town.purge()
    assert [row["state"] for row in town.rows(RequestRow)] == ["done"]
    made = [each for each in town.dispatches("gemeente", "certificate") if each["name"].endswith(".json")]
    assert made
    assert all(json.loads(town.read(each))["verzoeken"] for each in made)


# -- lists of excluded and known residents ---------------------------------------------------------


def listed(surname="Bakker", born_on=BORN, *, until="uitsluiten_tot", **values):
    """A row that lists somebody at the address of `make_row`."""
    row = {"postcode": "7938PL", "huisnummer": "18", "achternaam": surname, "geboortedatum": born_on}
    return row | {until: "2027-03-31"} | values


@pytest.fixture
def lists(town):
    """Bakker is excluded, was so by another row before, and is known; so is Visser; and a whole address."""
    town.policy(known_residents_basis="Wgs art. 7c")
    town.send("gemeente", listed(reden="ONTERECHT"))
    town.send(
        "gemeente",
        listed(reden="IN_TRAJECT"),
        listed("Visser"),
        listed("", "", huisnummer="22", uitsluiten_tot="2027-02-01"),
    )
    town.send("gemeente", listed(until="bekend_tot"), listed("Smit", until="bekend_tot"))
    assert len(town.rows(ExclusionRow)) == 6
    return town


def test_where_a_municipality_lists_a_person_is_told(lists):
    """Both lists, with what they say of him; also the row that was replaced, until it goes; nobody else's."""
    lists.send("gemeente", ask("1"))
    told = page(lists, "1")
    assert told.count("Op de lijst van uitgesloten inwoners") == 2
    assert told.count("Op de lijst van bekende inwoners") == 1
    assert told.count("nee, vervangen of beëindigd") == 1
    # a known resident is held until his last day
    assert told.count("31-03-2027") == 4
    for text in ("in traject", "onterecht", "7938PL"):
        assert text in told
    for text in ("Smit", "Visser", "01-02-2027"):
        assert text not in told
    (file,) = lists.dispatches("gemeente", "access")
    # the replaced row goes tonight, and what tells of it too
    assert file["due_on"] == lists.today
    lists.purge()
    lists.go_to(date(2026, 11, 5))
    lists.purge()
    lists.send("gemeente", ask("2"))
    assert page(lists, "2").count("Op de lijst van") == 2


def test_who_is_only_on_a_list_is_told_so(lists):
    """No signal is needed, nor to be erased from it: the municipality's certificate names that request."""
    lists.send("gemeente", ask("1", achternaam="Smit"))
    told = page(lists, "1")
    assert "Er wordt niets over u bewaard" not in told
    assert "Op de lijst van bekende inwoners" in told
    assert "uitgesloten" not in told
    lists.send("gemeente", ask("2", "WISSEN", achternaam="Smit"))
    erase(lists)
    assert len(lists.rows(ExclusionRow)) == 4
    (made,) = [
        json.loads(lists.read(each))
        for each in lists.dispatches("gemeente", "certificate")
        if each["name"].endswith(".json") and "GM1731" in lists.read(each).decode()
    ]
    assert [each["verzoek_id"] for each in made["verzoeken"]] == ["2"]


def test_a_name_of_two_people_on_a_list_needs_a_date_of_birth(town, row):
    """Whom a list has is somebody else than the signal's; the same person counts once."""
    address = {"postcode": "7938PL", "huisnummer": "18", "geboortedatum": ""}
    town.send("gemeente", listed())
    assert rejected(town.send("gemeente", ask("1", **address))) == []
    assert "Op de lijst van uitgesloten inwoners" in page(town, "1")
    town.send("gemeente", ask("2", "WISSEN", **address))
    # his son is listed since: that one stays
    town.send("gemeente", listed(born_on="2004-01-01"))
    assert rejected(town.send("gemeente", ask("3", **address))) == [(2, "geboortedatum", "V01")]
    erase(town)
    assert len(town.rows(ExclusionRow)) == 1
    assert "k-w1" not in {line["klantnummer"] for line in town.new_lines()}


def test_a_listed_person_is_erased_from_the_lists(lists, row):
    """The rows go, their keys too, with the files that they came in; the certificate tells; others stay listed."""
    files = {each["id"]: each["kind"] for each in lists.rows(Delivery)}
    sealed = [each["sealed"] for each in lists.rows(ExclusionRow)]
    lists.send("gemeente", ask("1", "WISSEN"))
    lists.clock.step(timedelta(hours=24))
    lists.make_keys()
    carry_out(lists.context)
    # it takes part in nothing from then on
    lists.send("vitens", row("v1", sector="Water"))
    assert ("v1", "D30") not in lists.told("vitens")
    lists.purge()
    left = lists.rows(ExclusionRow)
    assert [each["sealed"] for each in left] == [sealed[2], sealed[3], sealed[5]]
    database = lists.context.store.path
    everything = database.read_bytes() + database.with_name(database.name + "-wal").read_bytes()
    assert not any(each in everything for each in (sealed[0], sealed[1], sealed[4]))
    gone = {each["id"] for each in lists.rows(Delivery) if each["blob"] is None}
    assert {kind for each, kind in files.items() if each in gone} >= {"exclusions", "known_residents"}
    told = [
        json.loads(lists.read(each))
        for each in lists.dispatches("gemeente", "certificate")
        if each["name"].endswith(".json")
    ]
    kinds = {each["soort"] for made in told if made["verzoeken"] for each in made["vernietigd"]}
    assert {"uitsluitingen", "bekende inwoners"} <= kinds
    # who else is listed still is
    lists.send("woonservice", row("w9", achternaam="Visser"))
    assert ("w9", "D30") in lists.told("woonservice")


def test_another_municipalitys_list_is_not_told(lists):
    """A partner sees the lists of the municipalities that it serves, whoever sent them."""
    zuid = Partner(id="zuid", name="Zuid", role=Role.MUNICIPALITY, serves=("GM0303",))
    also = Partner(id="sdd", name="SDD", role=Role.MUNICIPALITY, serves=("GM1731",))
    lists.configure(partners={**lists.context.partners, "zuid": zuid, "sdd": also})
    for partner in ("zuid", "sdd"):
        lists.send(partner, ask("1"), ask("2", "WISSEN"))
    assert "Er wordt niets over u bewaard" in page(lists, "1", "zuid")
    assert page(lists, "1", "sdd").count("Op de lijst van") == 3


# -- worklists -------------------------------------------------------------------------------------


def test_worklists_are_made_anew(town, worklist):
    """Every one that names the person goes at once, also one that was replaced; the page tells of it."""
    town.work()
    assert worklist(town) == {"k-w1", "k-w2", "k-z1"}
    town.send("gemeente", ask("1"))
    assert "werklijst voor de gemeente" in page(town, "1")
    old = [each["id"] for each in town.dispatches("gemeente", "worklist")]
    town.send("gemeente", ask("2", "WISSEN"))
    erase(town)
    assert {each["state"] for each in town.rows(Dispatch) if each["id"] in old} == {"purged"}
    town.work()
    assert worklist(town) == {"k-w2", "k-z1"}
    assert {each["name"] for each in town.dispatches("gemeente", "worklist")} == {
        "werklijst_GM1731_2026-11.xlsx"
    }


def test_a_worklist_of_which_nothing_is_published_is_made_anew(town, row, worklist):
    """A name was corrected since: the earlier version goes, and every file that has the signal's number."""
    town.send("woonservice", row("w2", achternaam="Vissers", huisnummer=20, bedrag="444,00", mutatie="W"))
    town.publish()
    for each in town.dispatches("gemeente", "meldingen"):
        collect(town, each)
    town.send("gemeente", ask("1", "WISSEN", achternaam="Visser"))
    erase(town)
    assert town.new_lines() == []
    town.work()
    assert worklist(town) == {"k-w1", "k-w2", "k-z1"}
    assert all(each["in_force"] for each in town.rows(SignalRow))


# -- several partners ------------------------------------------------------------------------------


@pytest.fixture
def routed(world, row):
    """What is over 500 euro goes to sdd, which does not serve GM1731; Bakker's melding is there, Visser's too."""
    sdd = Partner(id="sdd", name="SDD", role=Role.MUNICIPALITY, serves=("GM0363",))
    served_by = {**world.context.served_by, "GM0363": "sdd"}
    world.configure(partners={**world.context.partners, "sdd": sdd}, served_by=served_by)
    world.policy(routes=(Route(to="sdd", total_over_cents=50_000),))
    world.send("woonservice", row("w1"), row("w2", achternaam="Visser", huisnummer=20, bedrag="900,00"))
    assert world.publish() == []
    world.lines = {line["klantnummer"]: line for line in world._fresh("sdd", "meldingen")}
    answer = {"signaalnummer": world.lines["k-w1"]["signaalnummer"], "status": "Opgepakt"}
    assert world.send("sdd", answer | {"datum": "2026-11-03"})["afgekeurd"] == []
    return world


def test_who_gets_meldingen_by_a_route_asks_nothing(routed):
    """A request is the municipality's: of the partner that serves it. The other sees nothing, and ends nothing."""
    routed.send("sdd", ask("1"), ask("2", "WISSEN"))
    told = page(routed, "1", "sdd")
    assert "Woonservice" not in told
    assert "600,00" not in told
    erase(routed)
    assert [each["line"] for each in routed.rows(SignalRow)] == [2, 3]
    assert len(routed.rows(AnswerRow)) == 1
    routed.send("gemeente", ask("3"))
    told = page(routed, "3")
    for text in ("€ 600,00", "Opgepakt", "SDD"):
        assert text in told


def test_all_partners_lose_their_files(routed, worklist):
    """The holder that did not ask: its meldingen, and what it answered; the others of its file come again, there."""
    (old,) = routed.dispatches("sdd", "meldingen")
    feedback = next(each["id"] for each in routed.rows(Delivery) if each["kind"] == "feedback")
    routed.send("gemeente", ask("1", "WISSEN"))
    erase(routed)
    assert [each["state"] for each in routed.rows(Dispatch) if each["id"] == old["id"]] == ["purged"]
    assert next(each["blob"] for each in routed.rows(Delivery) if each["id"] == feedback) is None
    assert routed.rows(AnswerRow) == []
    assert routed.new_lines() == []
    routed.work()
    assert worklist(routed, "sdd") == {"k-w2"}
    lines = [
        (line["klasse"], line["versie"], line["klantnummer"]) for line in routed._fresh("sdd", "meldingen")
    ]
    assert sorted(lines) == [("ENKELVOUDIG", "2", "k-w2"), ("VERVALLEN", "2", "")]
    told = [each for each in routed.rows(Dispatch) if each["kind"] == "certificate"]
    # the holder's feedback file is on its own certificate, which names the request too
    assert {each["partner_id"] for each in told} == {"gemeente", "sdd"}
    for each in told:
        if each["name"].endswith(".json"):
            assert [named["verzoek_id"] for named in json.loads(routed.read(each))["verzoeken"]] == ["1"]


def test_a_lapse_that_was_lost_is_told_again(routed, row):
    """A melding moved; the file that tells its former holder so goes before it was read."""
    for each in routed.dispatches("sdd", "meldingen"):
        collect(routed, each)
    moved = row("w2", achternaam="Visser", huisnummer=20, bedrag="100,00", mutatie="W")
    routed.send("woonservice", moved, row("w1", bedrag="700,00", mutatie="W"))
    assert [(line["klantnummer"], line["versie"]) for line in routed.publish()] == [("k-w2", "3")]
    lines = {line["klasse"]: line["melding_id"] for line in routed._fresh("sdd", "meldingen")}
    assert lines["VERVALLEN"] == routed.lines["k-w2"]["melding_id"]
    for each in routed.dispatches("gemeente", "meldingen"):
        collect(routed, each)
    routed.send("gemeente", ask("1", "WISSEN"))
    erase(routed)
    again = {
        (line["melding_id"], line["klasse"], line["versie"]) for line in routed._fresh("sdd", "meldingen")
    }
    assert again == {
        (routed.lines["k-w1"]["melding_id"], "VERVALLEN", "3"),
        (routed.lines["k-w2"]["melding_id"], "VERVALLEN", "4"),
    }
    assert [(line["klantnummer"], line["versie"]) for line in routed.new_lines()] == [("k-w2", "5")]


def test_what_lapsed_for_good_is_told_again_where_it_was(routed, row):
    """Its last holder, not the partner that serves."""
    for each in routed.dispatches("sdd", "meldingen"):
        collect(routed, each)
    routed.send("woonservice", row("w2", mutatie="I"), row("w1", bedrag="700,00", mutatie="W"))
    routed.publish()
    routed._fresh("sdd", "meldingen")
    routed.send("gemeente", ask("1", "WISSEN"))
    erase(routed)
    assert routed.new_lines() == []
    again = [(line["klasse"], line["versie"]) for line in routed._fresh("sdd", "meldingen")]
    assert sorted(again) == [("VERVALLEN", "3"), ("VERVALLEN", "3")]


def test_after_a_merger_the_successor_answers(town):
    """What merged into a municipality is asked for there, and its melding lapses at who has it now."""
    zuid = Partner(id="zuid", name="Zuid", role=Role.MUNICIPALITY, serves=("GM0303",))
    partners = {name: each for name, each in town.context.partners.items() if name != "gemeente"}
    town.configure(
        partners={**partners, "zuid": zuid},
        served_by={"GM0303": "zuid"},
        successors={"GM1731": Successor(code="GM0303", starts_on=date(2026, 11, 4))},
    )
    town.send("zuid", ask("1"))
    assert "Er wordt niets over u bewaard" in page(town, "1", "zuid")
    town.go_to(date(2026, 11, 4))
    town.send("zuid", ask("2"), ask("3", "WISSEN"))
    assert "€ 600,00" in page(town, "2", "zuid")
    erase(town)
    assert sorted(each["creditor"] for each in town.rows(SignalRow)) == ["dezorgkas", "woonservice"]
    assert {line["klantnummer"] for line in town._fresh("zuid", "meldingen")} == {"k-z1", "k-w2"}
