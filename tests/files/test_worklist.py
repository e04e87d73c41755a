"""The worklist as a file: what stands in it, how it looks, what can be chosen in it."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from datetime import UTC, date, datetime

import pytest
from python_calamine import CalamineWorkbook

from gateway.domain.feedback import OF_ONE_PERSON, Answer, Contact, Feedback, Outcome
from gateway.domain.melding import Klasse, Rule
from gateway.domain.policy import Actions, ConsecutiveBy, DistinctBy, Grouping, Matching, Policy
from gateway.domain.signal import SignalType
from gateway.files import policywords
from gateway.files.columns import WORKLIST_MELDING_COLUMNS, WORKLIST_SIGNAL_COLUMNS
from gateway.files.feedbackfile import parse_feedback
from gateway.files.layout import recognise_feedback
from gateway.files.outbox import OutboxMelding, OutboxSignal
from gateway.files.table import Row, fold
from gateway.files.worklist import Worklist, WorklistMelding, WorklistSignal, render_worklist
from gateway.matching.rank import check_order

MELDING = OutboxMelding(
    melding_id="M1731202611-0A1B2C3D",
    version=2,
    municipality="GM1731",
    month="2026-11",
    klasse=Klasse.MATCH,
    rules=(Rule.MULTIPLE, Rule.CRISIS),
    rank=1,
    action="Huisbezoek",
    signal_count=2,
    creditor_count=2,
    sector_count=2,
    total_cents=123_456,
    several_addresses=True,
    offer_by=date(2026, 12, 1),
)
SIGNAL = OutboxSignal(
    number="S0123456789AB",
    partner_id="dewoning",
    partner_name="De Woning",
    sector="Huur",
    product="",
    signal_type=SignalType.EARLY_SIGNAL,
    is_crisis=True,
    signalled_on=date(2026, 11, 2),
    received_on=date(2026, 11, 3),
    amount_cents=85_005,
    arrears_since=date(2026, 8, 1),
    days_in_arrears=None,
    repeated=False,
    warm_handover=True,
    customer_number="0042",
    initials="A.",
    infix="van der",
    surname="Berg",
    born_on=date(1980, 5, 1),
    street="Dorpsstraat",
    house_number=12,
    house_letter="A",
    house_number_suffix="3",
    postcode="1234AB",
    city="Beilen",
    phone="0612345678",
    email="",
    supply_ends_on=None,
    feedback_by=date(2026, 11, 17),
    finish_by=date(2026, 12, 1),
    held_until=date(2027, 5, 3),
)
OTHER = SIGNAL._replace(number="S0123456789AC", initials="", infix="", surname="Ö", house_letter="")


def make(*meldingen, policy=None, **values):
    """A worklist of these meldingen."""
    return Worklist(
        **{
            "policy": policy or Policy(code="GM1731", name="Midden-Drenthe"),
            "partner_name": "Gemeente",
            "month": "2026-11",
            "version": 3,
            "made_at": datetime(2026, 11, 3, 8, 5, tzinfo=UTC),
            "expires_on": date(2027, 5, 3),
            "level": Grouping.ADDRESS,
            "meldingen": meldingen,
        }
        | values
    )


def line(*signals, melding=MELDING):
    """A melding with signals, each alone or with its answer."""
    pairs = [(each, None) if isinstance(each, OutboxSignal) else each for each in signals]
    return WorklistMelding(
        melding=melding, signals=[WorklistSignal(signal=signal, answer=answer) for signal, answer in pairs]
    )


def answer(outcome, on=date(2026, 11, 10)):
    """An answer that stands."""
    return Answer(outcome=outcome, on=on)


def part(data, name):
    """A part of a workbook as text."""
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        return package.read(name).decode()


@pytest.fixture(scope="module")
def one():
    """A list of one melding of two signals."""
    return render_worklist(make(line(SIGNAL, OTHER)))


def test_a_door_stands_once(sheet):
    """Also when one of its creditors doesn't know the street."""
    unnamed = SIGNAL._replace(number="S0123456789AD", street="")
    elsewhere = SIGNAL._replace(number="S0123456789AE", street="", postcode="1234AC")
    (told,) = sheet(render_worklist(make(line(unnamed, SIGNAL, elsewhere))), "Meldingen")
    assert told["adres"] == "Dorpsstraat 12A-3; 12A-3"


def test_what_stands_on_the_sheets(one, sheet):
    """A line for each melding and signal; days and amounts are days and numbers, a customer number is text."""
    assert CalamineWorkbook.from_filelike(io.BytesIO(one)).sheet_names == [
        "Meldingen",
        "Signalen",
        "Toelichting",
    ]
    assert sheet(one, "Meldingen") == [
        {
            "rang": 1,
            "voorstel_actie": "Huisbezoek",
            "uiterlijk_aanbod": date(2026, 12, 1),
            "inwoners": "A. van der Berg; Ö",
            "adres": "Dorpsstraat 12A-3; Dorpsstraat 12-3",
            "postcode": "1234AB",
            "woonplaats": "Beilen",
            "totaalbedrag": 1234.56,
            "aantal_signalen": 2,
            "aantal_partners": 2,
            "klasse": "MATCH",
            "matchregels": "MEERVOUDIG+CRISIS",
            "aantal_sectoren": 2,
            "opeenvolgend": "N",
            "gaten_dichten": "N",
            "meerdere_adressen": "J",
            "melding_id": "M1731202611-0A1B2C3D",
            "versie": 2,
        }
    ]
    first, second = sheet(one, "Signalen")
    assert (first["signaalnummer"], second["signaalnummer"]) == (SIGNAL.number, OTHER.number)
    assert (first["klantnummer"], first["bedrag"], first["geboortedatum"]) == (
        "0042",
        850.05,
        date(1980, 5, 1),
    )
    assert (first["huisnummer"], first["huisletter"], first["huisnummertoevoeging"]) == (12, "A", "3")
    assert {"status", "eindresultaat", "laatste_antwoord", "product"}.isdisjoint(first)


def test_the_headers_are_the_wire_s(one):
    """Compared as the reader does, every column is there, in its order."""
    book = CalamineWorkbook.from_filelike(io.BytesIO(one))
    for name, columns in (("Meldingen", WORKLIST_MELDING_COLUMNS), ("Signalen", WORKLIST_SIGNAL_COLUMNS)):
        header = book.get_sheet_by_name(name).to_python()[0]
        assert [fold(str(each)) for each in header] == [fold(each) for each in columns]
        assert recognise_feedback(list(map(str, header)), of_worklist=True).ignored == ()


@pytest.mark.parametrize("text", ["=1+1", "+31", "-2", "@SUM(A1)", "\tx", "＝1", "http://x", "{=1}", "1e3"])  # noqa: RUF001
def test_text_stays_text(text, sheet):
    """Nothing that came in is run, followed or counted with, wherever it stands."""
    data = render_worklist(make(line(SIGNAL._replace(surname=text, city=text, customer_number=text))))
    (found,) = sheet(data, "Signalen")
    assert (found["achternaam"], found["woonplaats"], found["klantnummer"]) == (text, text, text)
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        for name in ("sheet1", "sheet2", "sheet3"):
            content = package.read(f"xl/worksheets/{name}.xml")
            assert (b"<f>" in content, b"<hyperlink" in content) == (False, False), name


@pytest.mark.parametrize(
    "text", ["a & b", "<c r='A1'>", "</sheetData>", " voor en na ", "_x0041_", "x\u2028y", '"', "\ufffd"]
)
def test_text_comes_back_as_it_was(text, sheet):
    """What means something to XML, or would be lost in it, stands in the cell all the same."""
    data = render_worklist(make(line(SIGNAL._replace(surname=text, customer_number=text))))
    (found,) = sheet(data, "Signalen")
    assert (found["achternaam"], found["klantnummer"]) == (text, text)


def test_what_xml_does_not_take_is_escaped():
    """As a workbook does it (ECMA-376, 22.4.2.4): a character that would make the sheet unreadable."""
    data = render_worklist(make(line(SIGNAL._replace(surname="a\x01b\x0bc"))))
    assert ">a_x0001_b_x000B_c<" in part(data, "xl/worksheets/sheet2.xml")


@pytest.mark.parametrize("day", [date(1900, 1, 1), date(1900, 2, 28), date(1900, 3, 1), date(2026, 2, 28)])
def test_days_are_the_workbook_s(day, sheet):
    """Also those before the day that its calendar has and ours has not."""
    (found,) = sheet(render_worklist(make(line(SIGNAL._replace(born_on=day)))), "Signalen")
    assert found["geboortedatum"] == day


def test_every_line_is_there(sheet):
    """More lines than are compressed at a time, in their order; the looks of the sheet reach the last one."""
    many = [SIGNAL._replace(number=f"S{number:012d}") for number in range(450)]
    data = render_worklist(make(*(line(each) for each in many)))
    assert [each["signaalnummer"] for each in sheet(data, "Signalen")] == [each.number for each in many]
    xml = part(data, "xl/worksheets/sheet2.xml")
    assert '<autoFilter ref="A1:AR451"/>' in xml
    assert re.search(r'<dataValidation [^>]*sqref="AH2:AH451"', xml)


@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        ((None, None), (None, None)),
        ((answer(Outcome.TAKEN_UP), None), ("deels: zie Signalen", date(2026, 11, 10))),
        (
            (answer(Outcome.TAKEN_UP), answer(Outcome.TAKEN_UP, date(2026, 11, 12))),
            ("Opgepakt", date(2026, 11, 12)),
        ),
        ((answer(Outcome.TAKEN_UP), answer(Outcome.PAID)), ("verschilt: zie Signalen", date(2026, 11, 10))),
    ],
)
def test_what_was_answered_is_shown(answers, shown, sheet):
    """On the signal its own answer, on the melding that of all of them, or where to look."""
    data = render_worklist(make(line((SIGNAL, answers[0]), (OTHER, answers[1]))))
    (melding,) = sheet(data, "Meldingen")
    assert (melding.get("laatste_antwoord"), melding.get("laatste_datum")) == shown
    found = [each.get("laatste_antwoord") for each in sheet(data, "Signalen")]
    assert found == [each and each.outcome.value for each in answers]


def lists(data, number):
    """The lists of a sheet, by the column that they are for."""
    texts = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_name("Toelichting").to_python()
    xml = part(data, f"xl/worksheets/sheet{number}.xml")
    found = {}
    for validation in re.findall(r"<dataValidation .*?</dataValidation>", xml):
        title = re.search(r'promptTitle="([^"]+)"', validation)[1]
        source = re.search(r"<formula1>(.*?)</formula1>", validation)[1].replace("&quot;", '"')
        if match := re.fullmatch(r"Toelichting!\$([A-C])\$(\d+):\$[A-C]\$(\d+)", source):
            column, first, last = "ABC".index(match[1]), int(match[2]), int(match[3])
            found[title] = [texts[row - 1][column] for row in range(first, last + 1)]
        elif source.startswith('"'):
            found[title] = source.strip('"').split(",")
        else:
            found[title] = source
    return found


def test_every_choice_is_accepted(one):
    """The lists are what the reader takes: all of it on Signalen, on Meldingen all that may be said of a melding."""
    of_melding, of_signal = lists(one, 1), lists(one, 2)
    assert of_signal["contactsoort"] == of_melding["contactsoort"] == [each.value for each in Contact]
    assert of_signal["bereikt"] == of_signal["toestemming terugkoppeling"] == ["J", "N"]
    for chosen, reference in ((of_signal, "signaalnummer"), (of_melding, "melding_id")):
        taken = set()
        for column in ("status", "eindresultaat"):
            layout = recognise_feedback([reference, column, "datum"])
            about = SIGNAL.number if reference == "signaalnummer" else MELDING.melding_id
            for value in chosen[column]:
                parsed = parse_feedback(Row(2, [about, value, "2026-11-03"]), layout, date(2026, 11, 3))
                assert isinstance(parsed, Feedback), value
                taken.add(parsed.outcome)
        assert taken == set(Outcome) - (OF_ONE_PERSON if reference == "melding_id" else set())
    assert of_signal["datum"] == "TODAY()"
    assert of_signal["opschorten tot"]


def test_how_it_looks(one):
    """Filters, a frozen header, coloured deadlines; on paper landscape A4, the header on each page, what it is."""
    book = part(one, "xl/workbook.xml")
    for number, name, pages, deadlines in ((1, "Meldingen", None, 1), (2, "Signalen", "3", 3)):
        xml = part(one, f"xl/worksheets/sheet{number}.xml")
        assert "<autoFilter ref=" in xml
        assert 'ySplit="1"' in xml
        assert 'state="frozen"' in xml
        assert len(re.findall(r"<cfRule type=\"expression\"", xml)) == 2 * deadlines
        assert 'paperSize="9"' in xml
        assert 'orientation="landscape"' in xml
        assert 'fitToHeight="0"' in xml
        assert (
            re.search(r'fitToWidth="(\d)"', xml) is None if pages is None else f'fitToWidth="{pages}"' in xml
        )
        assert re.search(rf'name="_xlnm.Print_Titles"[^>]*>[^<]*{name}!\$1:\$1', book)
        (footer,) = re.findall(r"<oddFooter>(.*?)</oddFooter>", xml)
        assert "Vertrouwelijk: persoonsgegevens. Vernietig uiterlijk 03-05-2027." in footer
        assert "Werklijst GM1731 2026-11, versie 3" in footer
        assert "pagina &amp;P van &amp;N" in footer


def test_what_it_says_of_itself(one):
    """The properties that tell it when it comes back; whose month it is."""
    found = dict(re.findall(r'name="(\w+)"><vt:\w+>([^<]+)<', part(one, "docProps/custom.xml")))
    assert found == {"gateway_werklijst": "1", "gemeentecode": "GM1731", "maand": "2026-11", "versie": "3"}


def explanation(worklist):
    """Subject and text of each line of the explanation."""
    book = CalamineWorkbook.from_filelike(io.BytesIO(render_worklist(worklist)))
    return {str(row[0]): str(row[1]) for row in book.get_sheet_by_name("Toelichting").to_python()}


def test_it_explains_itself():
    """When it was made, how much is in it, what the policy says, how it is sent back."""
    single = MELDING._replace(klasse=Klasse.SINGLE, rank=None, action="Brief")
    policy = Policy(
        code="GM1731",
        name="Midden-Drenthe",
        matching=Matching(
            distinct_by=DistinctBy.SECTOR,
            consecutive_months=3,
            consecutive_by=ConsecutiveBy.DIFFERENT_SECTOR,
            bridging=True,
            always_sectors=("Huur",),
            min_amount_cents={"Huur": 10_000},
        ),
        actions=Actions(visit_capacity=7, visit_fill=True, visit_over_cents=100_000),
    )
    found = explanation(
        make(line(SIGNAL, (OTHER, answer(Outcome.PAID))), line(SIGNAL, melding=single), policy=policy)
    )
    assert next(iter(found)) == "Werklijst vroegsignalering Midden-Drenthe (GM1731), november 2026"
    assert "03-11-2026 om 09:05, versie 3" in found["Gemaakt"]
    assert "2 meldingen: 1 MATCH, 1 ENKELVOUDIG. 3 signalen (Huur 3), samen € 2.550,15" in found["Aantallen"]
    assert "Beantwoord: 1 signalen" in found["Aantallen"]
    assert "verschillende sectoren" in found["MEERVOUDIG"]
    assert "3 opeenvolgende maanden" in found["OPEENVOLGENDE_MAANDEN"]
    assert found["ALTIJD_MATCH"].endswith("Huur")
    assert "Huur € 100,00" in found["Drempelbedrag"]
    assert (
        "de eerste 7 matches boven € 1.000,00: Huisbezoek, overgebleven plaatsen"
        in found["Voorgestelde actie"]
    )
    assert {"GATEN_DICHTEN", "CRISIS", "Invullen", "Terugsturen"} <= found.keys()


@pytest.mark.parametrize("level", Grouping)
def test_every_key_has_words(level):
    """What makes a melding is said for each key."""
    found = explanation(make(level=level))
    assert policywords.describe_grouping(level) in found["Melding"]


def test_every_order_has_words():
    """Whatever a municipality may rank by can be told."""
    order = (
        *("crisis", "creditors", "sectors", "total", "multiple", "consecutive", "bridging", "oldest"),
        *(
            "warm_handover",
            "total_over:500",
            "many_creditors:2",
            "total_if_many_creditors:2",
            "sector:Huur,Zorg",
        ),
    )
    assert [check_order(each) for each in order] == list(order)
    told = dict(policywords.describe(Policy(code="GM1731", order=order)))["Volgorde (rang)"]
    assert len(told.split("; dan ")) == len(order) + 1


def test_an_empty_month(sheet):
    """All was withdrawn: sheets with a header."""
    data = render_worklist(make())
    assert (sheet(data, "Meldingen"), sheet(data, "Signalen")) == ([], [])


def test_no_temporary_file(monkeypatch):
    """What stands in it is on no disk in plain text, not for a moment (spec 4, promise 1)."""

    def refuse(*_args, **_options):
        raise AssertionError("a temporary file")

    for name in ("mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert render_worklist(make(line(SIGNAL)))
