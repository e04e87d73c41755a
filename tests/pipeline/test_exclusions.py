"""Exclusions: what they keep out, what replaces and ends them, and when they go."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from hashlib import sha256

import pytest

from gateway.domain.partner import Partner, Role
from gateway.domain.policy import Publish
from gateway.matching import exclusion
from gateway.pipeline import excluding as excluding_steps
from gateway.pipeline import intake as intake_steps
from gateway.pipeline import listing
from gateway.pipeline.exclusions import known_residents, levels_of
from gateway.pipeline.reroute import reroute
from gateway.store import exclusions, reference, signals
from gateway.store.retention_tables import Destruction, PurgeRun
from gateway.store.tables import AuditEntry, DataKeyRow, Delivery, ExclusionRow, SignalRow

UNTIL = date(2027, 3, 31)


def listed(until=UNTIL, *, column="uitsluiten_tot", **values):
    """A row about the resident of `make_row`; every value can be given, None leaves a column out."""
    row = {
        "postcode": "7938PL",
        "huisnummer": "18",
        "achternaam": "Bakker",
        "geboortedatum": "1980-05-01",
        column: str(until),
    } | values
    return {name: str(value) for name, value in row.items() if value is not None}


def known(until=date(2027, 4, 30), **values):
    """A row of a known-residents file."""
    return listed(until, column="bekend_tot", **values)


def states(world):
    """How many signals in force are in each state."""
    return Counter(held["state"] for held in world.rows(SignalRow) if held["in_force"])


def rejected(receipt):
    """Line, column and code of each row that a receipt rejects."""
    return [(each["regel"], each["kolom"], each["code"]) for each in receipt["afgekeurd"]]


def test_an_excluded_signal_is_in_no_melding(world, row):
    """Its creditor hears D30 at once and no reason; its contents go the next day, its row at the normal term."""
    receipt = world.send("gemeente", listed(reden="IN_TRAJECT"))
    assert receipt["resultaat"] == "verwerkt"
    assert receipt["sommen"] == {"regels": 1, "uitsluitingen": 1, "beeindigingen": 0, "afgekeurd": 0}
    receipt = world.send("woonservice", row("a"), row("b", achternaam="Smit"))
    assert (receipt["sommen"]["signalen"], receipt["afgekeurd"]) == (2, [])
    assert world.told("woonservice") == [("a", "D30")]
    assert states(world) == {"excluded": 1, "waiting": 1}
    assert [line["achternaam"] for line in world.publish()] == ["Smit"]
    excluded, other = world.rows(SignalRow)
    assert excluded["melding_id"] is None
    assert excluded["contents_due_on"] == world.today + timedelta(days=1)
    assert excluded["due_on"] == other["due_on"] == date(2027, 5, 3)
    world.go_to(date(2026, 11, 5), hour=3)
    world.purge()
    excluded, other = world.rows(SignalRow)
    assert (excluded["sealed"], excluded["data_key_id"]) == (None, None)
    assert other["sealed"]
    keys = [key["due_on"] for key in world.rows(DataKeyRow) if key["municipality"]]
    assert date(2026, 11, 4) not in keys


def test_the_same_again_and_withdrawn(world, row):
    """N with the same content is D50, also once the contents are gone; I withdraws it."""
    world.send("gemeente", listed())
    world.send("woonservice", row("a"))
    world.go_to(date(2026, 11, 5), hour=3)
    world.purge()
    world.send("woonservice", row("a"), row("b", achternaam="Smit"))
    world.send("woonservice", {"signaal_id": "a", "mutatie": "I"})
    assert world.told("woonservice") == [("a", "D30"), ("a", "D50"), ("a", "D52")]
    assert states(world) == {"withdrawn": 1, "waiting": 1}


def test_a_newer_signal_supersedes_an_excluded_one(world, row):
    """Also when nothing is left to name the older one by."""
    world.send("gemeente", listed())
    world.send("woonservice", row("a", klantnummer="k"))
    world.send("woonservice", row("b", klantnummer="k"))
    assert world.told("woonservice") == [("a", "D30"), ("a", "D51"), ("b", "D30")]
    world.go_to(date(2026, 11, 6), hour=3)
    world.purge()
    world.send("woonservice", row("c", klantnummer="k"))
    assert world.told("woonservice") == [("c", "D30")]
    assert states(world) == {"superseded": 2, "excluded": 1}


def test_a_change_is_judged_afresh(world, row):
    """Into the exclusion and out of it: the melding lapses, and comes back under its number."""
    world.send("woonservice", row("a"))
    (line,) = world.publish()
    world.send("gemeente", listed())
    assert world.told("woonservice") == [("a", "D10")]  # a published one stays
    assert states(world) == {"passed_on": 1}
    world.send("woonservice", row("a", mutatie="W", bedrag="700,00"))
    assert [each["klasse"] for each in world.publish()] == ["VERVALLEN"]
    world.send("woonservice", row("a", mutatie="W", geboortedatum="1981-05-01"))
    (again,) = world.publish()
    assert (again["klasse"], again["signaalnummer"]) == ("ENKELVOUDIG", line["signaalnummer"])
    assert world.told("woonservice") == [("a", "D10"), ("a", "D30")]


def test_a_crisis_is_never_excluded(world, row):
    """By `crisissignaal`, by the end of supply, and when a W makes it one."""
    world.send("gemeente", listed())
    world.send("woonservice", row("a", crisissignaal="J"), row("b"))
    world.send("woonservice", row("b", mutatie="W", crisissignaal="J"))
    assert states(world)["excluded"] == 0
    assert world.told("woonservice")[0] == ("a", "D10")


def test_it_holds_for_signals_that_wait(world, row):
    """Not yet published, they leave their melding with the exclusion's own transaction; the others stay."""
    world.send("woonservice", row("published"))
    world.publish()
    world.send(
        "woonservice", row("w1"), row("w2", achternaam="Smit"), row("w3", huisnummer="22", crisissignaal="J")
    )
    world.send(
        "dezorgkas", row("z1", sector="Zorg", geboortedatum=""), row("z2", sector="Zorg", huisnummer="20")
    )
    world.told("woonservice")
    before = {held["number"]: held for held in world.rows(SignalRow)}
    world.send("gemeente", listed())
    assert world.told("woonservice") == [("w1", "D30")]
    assert world.told("dezorgkas") == [("z1", "D30"), ("z2", "D30")]
    excluded = [held for held in world.rows(SignalRow) if held["state"] == "excluded"]
    assert len(excluded) == 3
    for held in excluded:
        assert held["melding_id"] is None
        assert held["contents_due_on"] == world.today + timedelta(days=1)
        # sealed anew for that day: the key of the old one would outlive it
        assert held["data_key_id"] != before[held["number"]]["data_key_id"]
        (key,) = [key for key in world.rows(DataKeyRow) if key["id"] == held["data_key_id"]]
        assert key["due_on"] == held["contents_due_on"]
    klassen = {line["achternaam"]: line["klasse"] for line in world.publish()}
    assert klassen == {"Smit": "ENKELVOUDIG", "Bakker": "ENKELVOUDIG"}
    (entry,) = [entry for entry in map(dict, world.rows(AuditEntry)) if b"signals.excluded" in _bytes(entry)]
    assert b'"signals":3' in _bytes(entry)
    world.go_to(date(2026, 11, 5), hour=3)
    world.purge()
    assert [held["sealed"] for held in world.rows(SignalRow) if held["state"] == "excluded"] == [None] * 3


def test_a_crisis_that_looked_back_goes_out_at_once(world, row):
    """A crisis whose earlier month is excluded says so without waiting for `when`, like any change of a crisis."""
    world.policy(publish=Publish(when="0 7 1 * *"))
    world.send("dezorgkas", row("z1", sector="Zorg", signaaldatum="2026-10-20", klantnummer="z"))
    world.send("woonservice", row("w1", achternaam="Visser", crisissignaal="J"))
    world.work()
    (line,) = world.new_lines()
    assert (line["matchregels"], line["opeenvolgend"], line["versie"]) == ("CRISIS", "J", "1")
    world.send("gemeente", listed())
    world.work()
    (line,) = world.new_lines()
    assert (line["matchregels"], line["opeenvolgend"], line["versie"]) == ("CRISIS", "N", "2")


def _bytes(entry):
    value = next(each for name, each in entry.items() if name in {"canonical", "entry", "content", "body"})
    return value if isinstance(value, bytes) else value.encode()


def test_a_rerouted_signal_is_judged_too(world, row):
    """D40 until its municipality is known, then D30; its contents go in the night, and it still supersedes."""
    elsewhere = {"postcode": "9999ZZ", "huisnummer": "1", "klantnummer": "k"}
    world.send("woonservice", row("a", **elsewhere), row("b", **elsewhere))
    world.send("gemeente", listed())
    reference.load(world.context.reference, (("7938PL", 18, "GM1731"), ("9999ZZ", 1, "GM1731")))
    world.told("woonservice")
    reroute(world.context, actor="beheer")
    assert world.told("woonservice") == [("a", "D51"), ("b", "D30")]
    assert states(world) == {"superseded": 1, "excluded": 1}
    assert world.publish() == []
    world.go_to(date(2026, 11, 5), hour=3)
    world.purge()
    assert [held["sealed"] for held in world.rows(SignalRow) if held["state"] == "excluded"] == [None]


def test_a_row_with_the_same_fields_replaces_the_end_date(world, row):
    """Earlier or later, with names and additions written otherwise; the old row goes in the night."""
    world.send("gemeente", listed(date(2026, 11, 30), huisletter="a", achternaam="de Groß"))
    world.send("gemeente", listed(date(2026, 11, 4), huisletter="A", achternaam="GROSS"))
    assert [(held["until"], held["in_force"], held["due_on"]) for held in world.rows(ExclusionRow)] == [
        (date(2026, 11, 30), False, date(2026, 11, 3)),
        (date(2026, 11, 4), True, date(2027, 1, 5)),
    ]
    world.go_to(date(2026, 11, 5))
    world.purge()
    assert [held["until"] for held in world.rows(ExclusionRow)] == [date(2026, 11, 4)]
    world.send(
        "woonservice", row("a", achternaam="Gross"), row("b", achternaam="Gross", signaaldatum="2026-11-04")
    )
    assert world.told("woonservice") == [("b", "D30")]
    # other person fields: another exclusion beside it
    world.send("gemeente", listed(achternaam="Gross", huisletter="A", geboortedatum=None))
    assert [held["in_force"] for held in world.rows(ExclusionRow)] == [True, True]


def test_an_exclusion_is_ended_for_later_signals(world, row):
    """`mutatie` I with the same fields, with no word of a date; what was excluded stays so."""
    world.send("gemeente", listed())
    world.send("woonservice", row("a"))
    receipt = world.send("gemeente", listed("", mutatie="I"), listed("", mutatie="I"))
    assert receipt["sommen"] == {"regels": 2, "uitsluitingen": 0, "beeindigingen": 1, "afgekeurd": 1}
    assert rejected(receipt) == [(3, "postcode", "V16")]
    world.send("woonservice", row("b"))
    assert world.told("woonservice") == [("a", "D30")]
    assert states(world) == {"excluded": 1, "waiting": 1}
    world.go_to(date(2026, 11, 4))
    world.purge()
    assert world.rows(ExclusionRow) == []


def test_rows_of_one_file_apply_in_line_order(world, row, monkeypatch):
    """In batches of one as in a single one: listed, replaced, ended and listed again."""
    monkeypatch.setattr(listing, "BATCH_ROWS", 1)
    receipt = world.send(
        "gemeente",
        listed(date(2026, 11, 20)) | {"mutatie": "N"},
        listed("", mutatie="I"),
        listed(date(2026, 12, 1)) | {"mutatie": ""},
        listed(date(2026, 12, 2)) | {"mutatie": "n"},
    )
    assert receipt["sommen"] == {"regels": 4, "uitsluitingen": 3, "beeindigingen": 1, "afgekeurd": 0}
    assert [held["until"] for held in world.rows(ExclusionRow) if held["in_force"]] == [date(2026, 12, 2)]


def test_the_same_file_again_is_processed(world, row):
    """It replaces itself: one row in force, no F08."""
    for _ in range(2):
        assert world.send("gemeente", listed())["resultaat"] == "verwerkt"
    assert [held["in_force"] for held in world.rows(ExclusionRow)] == [False, True]
    world.send("woonservice", row("a"))
    assert world.told("woonservice") == [("a", "D30")]


def test_only_addresses_of_its_own_municipalities(world, row):
    """V16 for another's, for one that nobody knows, and where two of its own may be meant."""
    receipt = world.send(
        "gemeente",
        listed(postcode="1011AB", huisnummer="1"),
        listed(postcode="1234AB"),
        listed(postcode="9999ZZ"),
        listed(postcode="8251 aa", huisnummer="1"),
    )
    assert rejected(receipt) == [(line, "postcode", "V16") for line in (2, 3, 4)]
    assert [held["municipality"] for held in world.rows(ExclusionRow)] == ["GM0303"]
    # a person is excluded in that municipality only
    world.send("woonservice", row("a"), row("b", postcode="8251AA", huisnummer="1"))
    assert world.told("woonservice") == [("b", "D30")]


def test_a_postcode_of_two_municipalities_is_that_of_the_sender(world, row):
    """Where only one of them is its own."""
    partner = Partner(id="gemeente", name="Gemeente", role=Role.MUNICIPALITY, serves=("GM1731",))
    world.configure(
        partners={**world.context.partners, "gemeente": partner}, served_by={"GM1731": "gemeente"}
    )
    world.send("gemeente", listed(postcode="9999ZZ"))
    assert [held["municipality"] for held in world.rows(ExclusionRow)] == ["GM1731"]


def test_an_exclusion_goes_62_days_after_its_last_day(world, row):
    """With its data key and the key of its day, on a certificate; the delivery ends with it."""
    delivery_id = world.put(
        "gemeente", listed(date(2026, 11, 10)), listed(date(2027, 11, 3), huisnummer="20")
    )
    world.work()
    far = "until-2028-01-04"
    assert world.context.keyring.has(far)
    first, second = world.rows(ExclusionRow)
    assert (first["due_on"], second["due_on"]) == (date(2027, 1, 11), date(2028, 1, 4))
    keys = {key["due_on"]: key["id"] for key in world.rows(DataKeyRow) if key["municipality"]}
    assert (keys[first["due_on"]], keys[second["due_on"]]) == (first["data_key_id"], second["data_key_id"])
    world.go_to(date(2027, 1, 11))
    world.purge()
    assert len(world.rows(ExclusionRow)) == 2
    world.go_to(date(2027, 1, 12))
    world.purge()
    assert [held["id"] for held in world.rows(ExclusionRow)] == [second["id"]]
    assert not world.context.keyring.has("until-2027-01-11")
    destroyed = [each for each in world.rows(Destruction) if each["kind"] == "uitsluitingen"]
    assert [(each["party"], each["object_id"], each["rows"]) for each in destroyed] == [
        ("GM1731", delivery_id, 1)
    ]
    assert destroyed[0]["certificate"]
    world.go_to(date(2028, 1, 5))
    world.purge()
    assert world.rows(ExclusionRow) == []
    assert not world.context.keyring.has(far)
    (delivery,) = [each for each in world.rows(Delivery) if each["id"] == delivery_id]
    assert (delivery["state"], delivery["purged_rows"]) == ("purged", 2)
    assert sum(run["exclusions"] for run in world.rows(PurgeRun)) == 2
    assert not any(run["errors"] for run in world.rows(PurgeRun))


def test_nothing_readable_of_whom_it_lists(world, row):
    """Name and address are sealed."""
    world.send("gemeente", listed(achternaam="Wonderbaarlijk"))
    held = world.rows(ExclusionRow)[0]
    assert b"onderbaar" not in held["sealed"]
    database = world.context.reference.parent / "gateway.db"
    content = b"".join(path.read_bytes() for path in database.parent.glob("gateway.db*"))
    assert b"onderbaar" not in content
    assert b"7938PL" not in content


# -- known residents -------------------------------------------------------------------------------


def levels(**values):
    """How a resident is compared."""
    contents = {"postcode": "7938PL", "huisnummer": 18, "achternaam": "Bakker", "geboortedatum": "1980-05-01"}
    return levels_of(contents | values)


def is_known(world, on=None, code="GM1731", **values):
    """Whether a municipality knows a resident on a day."""
    with world.context.store.read() as conn:
        index = known_residents(world.context, conn, code, world.today)
    return exclusion.is_listed(index, levels(**values), on or world.today)


def test_known_residents_need_a_ground(world):
    """F11 while no policy states one, and of the whole file when one of its municipalities does not."""
    receipt = world.send("gemeente", known())
    assert receipt["weigering"] == {
        "code": "F11",
        "omschrijving": "onbekend soort bestand",
        "toelichting": "bekende inwoners: geen grondslag vastgelegd voor GM0303, GM1731",
    }
    world.policy(known_residents_basis="Beleidsplan 2026, par. 4")
    receipt = world.send("gemeente", known(), known(postcode="8251AA", huisnummer="1"))
    assert receipt["weigering"]["toelichting"] == "bekende inwoners: geen grondslag vastgelegd voor GM0303"
    assert world.rows(ExclusionRow) == []
    receipt = world.send("gemeente", known())
    assert receipt["sommen"] == {"regels": 1, "bekende_inwoners": 1, "afgekeurd": 0}
    assert is_known(world)
    # the ground is withdrawn: nobody is looked for any more
    world.policy(known_residents_basis="")
    assert not is_known(world)


def test_the_auditor_sees_the_ground(world):
    """An entry for each municipality of a file: the digest of its text, and how many residents."""
    world.policy(known_residents_basis="Beleidsplan 2026, par. 4")
    world.send("gemeente", known(), known(huisnummer="20"))
    (entry,) = [_bytes(each) for each in world.rows(AuditEntry) if b"known_residents" in _bytes(each)]
    assert sha256(b"Beleidsplan 2026, par. 4").hexdigest().encode() in entry
    assert b'"residents":2' in entry
    assert b"GM1731" in entry


def test_each_file_replaces_the_last(world):
    """Of its sender, in the municipalities that it names; the old rows go in the night, the last at its date."""
    for code in ("GM1731", "GM0303"):
        world.policy(code, known_residents_basis="Beleidsplan 2026")
    world.send("gemeente", known(), known(postcode="8251AA", huisnummer="1"))
    world.send("gemeente", known(date(2026, 11, 20), achternaam="Smit"))
    assert not is_known(world)
    assert is_known(world, achternaam="Smit")
    assert not is_known(world, on=date(2026, 11, 21), achternaam="Smit")
    assert is_known(world, code="GM0303")
    world.go_to(date(2026, 11, 4))
    world.purge()
    assert [held["municipality"] for held in world.rows(ExclusionRow)] == ["GM0303", "GM1731"]
    world.go_to(date(2026, 11, 21))
    world.purge()
    assert [held["municipality"] for held in world.rows(ExclusionRow)] == ["GM0303"]
    kinds = Counter(each["kind"] for each in world.rows(Destruction) if each["party"].startswith("GM"))
    assert kinds["bekende inwoners"] == 2


def test_a_known_resident_is_not_excluded(world, row):
    """Nor an excluded one known: the files do not touch each other."""
    world.policy(known_residents_basis="Beleidsplan 2026")
    world.send("gemeente", known())
    world.send("gemeente", listed(achternaam="Smit"))
    world.send("woonservice", row("a"), row("b", achternaam="Smit"))
    assert world.told("woonservice") == [("b", "D30")]
    assert is_known(world)
    assert not is_known(world, achternaam="Smit")
    world.send("gemeente", known(achternaam="Visser"))
    world.send("woonservice", row("c", achternaam="Smit"))
    assert world.told("woonservice") == [("c", "D30")]


# -- interrupted -----------------------------------------------------------------------------------


class Cut(Exception):
    """The worker ends here."""


def cut(*_args, **_options):
    """Ends the worker."""
    raise Cut


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (exclusions, "stage"),
        (listing, "receipt"),
        (excluding_steps, "status_file"),
        (exclusions, "show"),
        (signals, "exclude"),
        (excluding_steps, "record"),
        (intake_steps, "record"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_file_is_processed_once(world, row, monkeypatch, place, name):
    """Cut anywhere in it, nothing of it counts; then it does once, with no row and no key left over."""
    monkeypatch.setattr(listing, "BATCH_ROWS", 1)
    world.send("gemeente", listed(date(2026, 12, 1)), listed(date(2026, 12, 1), huisnummer="20"))
    world.send("woonservice", row("a", achternaam="Smit", huisnummer="22"))
    world.put("gemeente", listed(achternaam="Smit"), listed(huisnummer="22", achternaam="Smit"), listed())
    with monkeypatch.context() as patch:
        patch.setattr(place, name, cut)
        world.work()
        assert [(held["until"], held["in_force"]) for held in world.rows(ExclusionRow)][:2] == [
            (date(2026, 12, 1), True)
        ] * 2
        assert not any(held["in_force"] for held in world.rows(ExclusionRow)[2:])
        assert states(world) == {"waiting": 1}
        assert world.told("woonservice") == []
    world.clock.step(timedelta(minutes=2))
    world.work()
    assert world.receipt("L0003")["sommen"] == {
        "regels": 3,
        "uitsluitingen": 3,
        "beeindigingen": 0,
        "afgekeurd": 0,
    }
    assert [held["in_force"] for held in world.rows(ExclusionRow)] == [False, True, True, True, True]
    assert states(world) == {"excluded": 1}
    assert world.told("woonservice") == [("a", "D30")]
    assert Counter(key["object_id"] for key in world.rows(DataKeyRow))["L0003"] == 2
    assert len(world.dispatches("gemeente", "receipt")) == 4
    assert world.publish() == []
