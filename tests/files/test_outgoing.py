"""The files that go out: meldingen with manifest, signaalstatus, their cells and names."""

import csv
import io
import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import __version__
from gateway.domain.codes import StatusCode
from gateway.domain.melding import Klasse, Rule
from gateway.domain.signal import SignalType
from gateway.files.cells import FORMULA_STARTS, guard, render_csv
from gateway.files.manifest import render_manifest
from gateway.files.names import manifest_name, meldingen_name, receipt_names, status_name
from gateway.files.outbox import OutboxMelding, OutboxRow, OutboxSignal, render_meldingen
from gateway.files.status import StatusRow, render_status

#: Literally as in the specification, document 2.
COLUMNS = [
    "melding_id",
    "versie",
    "gemeentecode",
    "maand",
    "klasse",
    "matchregels",
    "rang",
    "voorstel_actie",
    "aantal_signalen",
    "aantal_partners",
    "aantal_sectoren",
    "totaalbedrag",
    "opeenvolgend",
    "gaten_dichten",
    "meerdere_adressen",
    "uiterlijk_aanbod",
    "signaalnummer",
    "partner",
    "partnernaam",
    "sector",
    "product",
    "signaaltype",
    "crisissignaal",
    "signaaldatum",
    "ontvangen_op",
    "bedrag",
    "ontstaansdatum",
    "dagen_achterstand",
    "herhaald",
    "warme_overdracht",
    "klantnummer",
    "voorletters",
    "voorvoegsel",
    "achternaam",
    "geboortedatum",
    "straatnaam",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "postcode",
    "woonplaats",
    "telefoonnummer",
    "emailadres",
    "datum_einde_levering",
    "terugkoppelen_voor",
    "afronden_voor",
    "gateway_bewaart_tot",
]

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
    sector_count=1,
    total_cents=123_405,
    consecutive=True,
    bridging=False,
    several_addresses=False,
    offer_by=date(2026, 12, 20),
)
SIGNAL = OutboxSignal(
    number="S0123456789AB",
    partner_id="dewoning",
    partner_name="De Woning; Assen",
    sector="Huur",
    product="",
    signal_type=SignalType.EARLY_SIGNAL,
    is_crisis=False,
    signalled_on=date(2026, 11, 20),
    received_on=date(2026, 11, 22),
    amount_cents=85_005,
    arrears_since=date(2026, 8, 1),
    days_in_arrears=None,
    repeated=True,
    warm_handover=False,
    customer_number="-1",
    initials="J.",
    infix="van der",
    surname='O"Neil',
    born_on=None,
    street="Kerkstraat",
    house_number=12,
    house_letter="A",
    house_number_suffix="",
    postcode="9411AB",
    city="Beilen",
    phone="+49301234567",
    email="",
    supply_ends_on=None,
    feedback_by=date(2026, 12, 6),
    finish_by=date(2026, 12, 20),
    held_until=date(2027, 5, 22),
)


def table(chunks) -> list[dict[str, str]]:
    """A file of ours as a spreadsheet reads it."""
    return list(csv.DictReader(io.StringIO(b"".join(chunks).decode("utf-8-sig"), newline=""), delimiter=";"))


def test_meldingen():
    """One line for each signal: BOM, `;`, CRLF, decimal comma, ISO dates, J/N, the columns of the specification."""
    data = b"".join(render_meldingen([OutboxRow(melding=MELDING, signal=SIGNAL)]))
    assert data.startswith(b"\xef\xbb\xbfmelding_id;versie;")
    assert data.endswith(b"\r\n")
    assert data.count(b"\n") == data.count(b"\r\n") == 2
    (line,) = table([data])
    assert list(line) == COLUMNS
    assert {name: value for name, value in line.items() if value} == {
        "melding_id": "M1731202611-0A1B2C3D",
        "versie": "2",
        "gemeentecode": "GM1731",
        "maand": "2026-11",
        "klasse": "MATCH",
        "matchregels": "MEERVOUDIG+CRISIS",
        "rang": "1",
        "voorstel_actie": "Huisbezoek",
        "aantal_signalen": "2",
        "aantal_partners": "2",
        "aantal_sectoren": "1",
        "totaalbedrag": "1234,05",
        "opeenvolgend": "J",
        "gaten_dichten": "N",
        "meerdere_adressen": "N",
        "uiterlijk_aanbod": "2026-12-20",
        "signaalnummer": "S0123456789AB",
        "partner": "dewoning",
        "partnernaam": "De Woning; Assen",
        "sector": "Huur",
        "signaaltype": "VROEGSIGNAAL",
        "crisissignaal": "N",
        "signaaldatum": "2026-11-20",
        "ontvangen_op": "2026-11-22",
        "bedrag": "850,05",
        "ontstaansdatum": "2026-08-01",
        "herhaald": "J",
        "warme_overdracht": "N",
        "klantnummer": "'-1",
        "voorletters": "J.",
        "voorvoegsel": "van der",
        "achternaam": 'O"Neil',
        "straatnaam": "Kerkstraat",
        "huisnummer": "12",
        "huisletter": "A",
        "postcode": "9411AB",
        "woonplaats": "Beilen",
        "telefoonnummer": "'+49301234567",
        "terugkoppelen_voor": "2026-12-06",
        "afronden_voor": "2026-12-20",
        "gateway_bewaart_tot": "2027-05-22",
    }


def test_a_melding_is_repeated_on_each_of_its_lines():
    """And a next one has its own cells."""
    other = MELDING._replace(melding_id="M1731202611-ZZZZZZZZ", klasse=Klasse.SINGLE, rules=(), rank=None)
    lines = table(render_meldingen([OutboxRow(melding=m, signal=SIGNAL) for m in (MELDING, MELDING, other)]))
    assert [(line["melding_id"][-2:], line["klasse"], line["rang"]) for line in lines] == [
        ("3D", "MATCH", "1"),
        ("3D", "MATCH", "1"),
        ("ZZ", "ENKELVOUDIG", ""),
    ]


def test_a_lapsed_melding_is_one_line_without_signal():
    """VERVALLEN tells which melding is gone and no more."""
    lapsed = OutboxMelding(
        melding_id="M1731202611-0A1B2C3D",
        version=3,
        municipality="GM1731",
        month="2026-11",
        klasse=Klasse.LAPSED,
    )
    (line,) = table(render_meldingen([OutboxRow(melding=lapsed, signal=None)]))
    assert list(line.values()) == ["M1731202611-0A1B2C3D", "3", "GM1731", "2026-11", "VERVALLEN"] + [""] * 42


def test_a_big_file_comes_in_chunks():
    """So that memory stays bounded whatever the number of lines."""
    chunks = list(render_meldingen(OutboxRow(melding=MELDING, signal=SIGNAL) for _ in range(2000)))
    assert len(chunks) > 5
    assert max(map(len, chunks)) < 100_000
    assert len(table(chunks)) == 2000


def test_manifest():
    """All that is needed to check the file that it goes with."""
    data = render_manifest(
        name="meldingen_GM1731_2026-11_1.csv",
        size=10,
        sha256="ab",
        rows=1,
        municipality="GM1731",
        created_at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        expires_on=date(2027, 5, 22),
    )
    assert json.loads(data) == {
        "name": "meldingen_GM1731_2026-11_1.csv",
        "bytes": 10,
        "sha256": "ab",
        "rows": 1,
        "gemeentecode": "GM1731",
        "created": "2026-11-22T09:30:00Z",
        "expires": "2027-05-22",
        "gateway": __version__,
    }


def test_signaalstatus():
    """Six columns, in the order of the specification; nothing of anybody else."""
    row = StatusRow(
        signal_id="=cmd",
        customer_number="K1",
        code=StatusCode.PASSED_ON_AGAIN,
        municipality="GM1731",
        on=date(2026, 11, 22),
    )
    assert b"".join(render_status([row])).decode("utf-8-sig") == (
        "signaal_id;klantnummer;code;omschrijving;gemeentecode;datum\r\n"
        "'=cmd;K1;D11;doorgezet aan de gemeente; door u eerder gemeld;GM1731;2026-11-22\r\n".replace(
            "doorgezet aan de gemeente; door u eerder gemeld",
            '"doorgezet aan de gemeente; door u eerder gemeld"',
        )
    )


def test_names():
    """As partners' scripts expect them."""
    assert meldingen_name("GM1731", "2026-11", 3) == "meldingen_GM1731_2026-11_3.csv"
    assert manifest_name("meldingen_GM1731_2026-11_3.csv") == "meldingen_GM1731_2026-11_3.csv.manifest.json"
    assert receipt_names("D01J") == ("ontvangst_D01J.csv", "ontvangst_D01J.json")
    assert status_name(date(2026, 11, 22), 1) == "signaalstatus_2026-11-22_1.csv"


@pytest.mark.parametrize("part", ["../x", "a b", "é", "x" * 200, "a/b", "a\n"])
def test_no_other_characters_in_a_name(part):
    """A name never holds a path, a space or a line end."""
    with pytest.raises(ValueError, match="a dispatch's name"):
        receipt_names(part)


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_formulas_are_disarmed(start):
    """What a spreadsheet would run gets a leading quote; all else is left alone."""
    assert guard(f"{start}1+1") == f"'{start}1+1"
    assert guard(f"1{start}") == f"1{start}"
    assert guard("") == ""


@given(st.lists(st.lists(st.text('a;"=-\t\r\n＠', max_size=3), min_size=1, max_size=4), max_size=9))  # noqa: RUF001
def test_a_line_that_is_joined_is_what_the_csv_module_writes(rows):
    """The module is left out where nothing is quoted or guarded: that changes no byte."""
    expected = io.StringIO()
    writer = csv.writer(expected, delimiter=";", lineterminator="\r\n")
    writer.writerows([["a", "b"], *([guard(cell) for cell in row] for row in rows)])
    assert b"".join(render_csv(("a", "b"), rows)).decode("utf-8-sig") == expected.getvalue()


@given(st.lists(st.lists(st.text(max_size=8), min_size=3, max_size=3), max_size=5))
def test_cells_come_back_as_written_and_none_is_a_formula(rows):
    """Whatever the text: quotes, delimiters, line ends."""
    data = b"".join(
        render_csv(("a", "b", "c"), ([c.encode("utf-8", "replace").decode() for c in row] for row in rows))
    )
    read = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=";", strict=True))[1:]
    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [c.encode("utf-8", "replace").decode().removeprefix("'") for c in row] for row in rows
    ]
    assert not any(cell[:1] in FORMULA_STARTS for row in read for cell in row if cell)
