"""The receipt: what became of an upload, for people and for programs."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from gateway.domain.codes import FILE_ERRORS, ROW_ERRORS, WARNINGS
from gateway.domain.signal import RowError, RowWarning
from gateway.files.receipt import Duplicate, Receipt, Sums, render_receipt_csv, render_receipt_json

PROCESSED = Receipt(
    delivery_id="D1",
    name="=huur nov.csv",
    size=1234,
    sha256="ab" * 32,
    received_at=datetime(2026, 11, 22, 9, 30, 1, 5, tzinfo=UTC),
    sums=Sums(signals=3, changes=2, withdrawals=1, rejected=1, duplicates=1),
    rejected=[
        RowError(line=9, signal_id="HV-9", column="postcode", code="V02"),
        RowError(line=9, signal_id="HV-9", column="bedrag", code="V04"),
    ],
    warnings=[
        RowWarning(line=0, signal_id="", column="Saldo", code="W04"),
        RowWarning(line=3, signal_id="HV-3", column="klantnummer", code="W01"),
    ],
    duplicates=[Duplicate(line=5, signal_id="HV-5")],
)
REFUSED = Receipt(
    delivery_id="D2",
    name="x.csv",
    size=0,
    sha256="cd" * 32,
    received_at=datetime(2026, 7, 1, tzinfo=UTC),
    file_code="F02",
    file_detail="postcode",
)


def lines(receipt: Receipt) -> list[list[str]]:
    """The CSV as a spreadsheet reads it."""
    text = b"".join(render_receipt_csv(receipt)).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=";", strict=True))


def test_csv_is_one_table():
    """First the file, then its sums, then the rows in line order."""
    assert lines(PROCESSED) == [
        ["soort", "regel", "signaal_id", "kolom", "code", "omschrijving", "gegeven"],
        ["bestand", "", "", "naam", "", "naam van het bestand", "'=huur nov.csv"],
        ["bestand", "", "", "bytes", "", "grootte in bytes", "1234"],
        ["bestand", "", "", "sha256", "", "SHA-256 van de inhoud", "ab" * 32],
        ["bestand", "", "", "ontvangen_op", "", "tijdstip van ontvangst", "2026-11-22T10:30:01+01:00"],
        ["bestand", "", "", "resultaat", "", "wat er met het bestand gebeurde", "verwerkt"],
        ["som", "", "", "regels", "", "gegevensregels in het bestand", "8"],
        ["som", "", "", "signalen", "", "nieuwe signalen", "3"],
        ["som", "", "", "wijzigingen", "", "wijzigingen", "2"],
        ["som", "", "", "intrekkingen", "", "intrekkingen", "1"],
        ["som", "", "", "afgekeurd", "", "afgekeurde regels", "1"],
        ["som", "", "", "dubbel", "", "ongewijzigd opnieuw aangeleverde regels", "1"],
        ["waarschuwing", "", "", "Saldo", "W04", "kolom genegeerd", ""],
        ["waarschuwing", "3", "HV-3", "klantnummer", "W01", "klantnummer lijkt op een BSN", ""],
        ["dubbel", "5", "HV-5", "", "D50", "ongewijzigd opnieuw aangeleverd", ""],
        ["afgekeurd", "9", "HV-9", "postcode", "V02", "postcode ongeldig", ""],
        ["afgekeurd", "9", "HV-9", "bedrag", "V04", "bedrag ongeldig of dubbelzinnig", ""],
    ]


def test_csv_of_a_refused_file():
    """The F code with its sentence and what it is about; all sums are 0."""
    table = lines(REFUSED)
    assert ["bestand", "", "", "resultaat", "", "wat er met het bestand gebeurde", "geweigerd"] in table
    assert ["geweigerd", "", "", "", "F02", "verplichte kolom ontbreekt", "postcode"] in table
    assert [row[6] for row in table if row[0] == "som"] == ["0"] * 6


def test_json_has_the_same_facts():
    """The shape that the module's docstring gives."""
    data = b"".join(render_receipt_json(PROCESSED))
    assert json.loads(data) == {
        "versie": 1,
        "delivery_id": "D1",
        "bestand": {
            "naam": "=huur nov.csv",
            "bytes": 1234,
            "sha256": "ab" * 32,
            "ontvangen_op": "2026-11-22T10:30:01+01:00",
        },
        "resultaat": "verwerkt",
        "weigering": None,
        "sommen": {
            "regels": 8,
            "signalen": 3,
            "wijzigingen": 2,
            "intrekkingen": 1,
            "afgekeurd": 1,
            "dubbel": 1,
        },
        "afgekeurd": [
            {
                "regel": 9,
                "signaal_id": "HV-9",
                "kolom": "postcode",
                "code": "V02",
                "omschrijving": "postcode ongeldig",
            },
            {
                "regel": 9,
                "signaal_id": "HV-9",
                "kolom": "bedrag",
                "code": "V04",
                "omschrijving": "bedrag ongeldig of dubbelzinnig",
            },
        ],
        "waarschuwingen": [
            {
                "regel": 0,
                "signaal_id": "",
                "kolom": "Saldo",
                "code": "W04",
                "omschrijving": "kolom genegeerd",
                "toelichting": "",
            },
            {
                "regel": 3,
                "signaal_id": "HV-3",
                "kolom": "klantnummer",
                "code": "W01",
                "omschrijving": "klantnummer lijkt op een BSN",
                "toelichting": "",
            },
        ],
        "dubbel": [
            {
                "regel": 5,
                "signaal_id": "HV-5",
                "kolom": "",
                "code": "D50",
                "omschrijving": "ongewijzigd opnieuw aangeleverd",
            }
        ],
    }
    assert data.count(b"\n") > 12, "an entry a line"


def test_json_of_a_refused_file():
    """Lists are empty and the refusal is told."""
    receipt = json.loads(b"".join(render_receipt_json(REFUSED)))
    assert receipt["resultaat"] == "geweigerd"
    assert receipt["weigering"] == {
        "code": "F02",
        "omschrijving": "verplichte kolom ontbreekt",
        "toelichting": "postcode",
    }
    assert receipt["bestand"]["ontvangen_op"] == "2026-07-01T02:00:00+02:00"
    assert set(receipt["sommen"].values()) == {0}
    assert receipt["afgekeurd"] == receipt["waarschuwingen"] == receipt["dubbel"] == []


@pytest.mark.parametrize("receipt", [PROCESSED, REFUSED])
def test_a_key_that_ends_soon_is_told(receipt):
    """Both forms warn of it, beside what they tell without; without one there is no word of keys."""
    warned = replace(receipt, ending_keys=[(date(2026, 12, 20), "SHA256:abc")])
    added = [line for line in lines(warned) if line not in lines(receipt)]
    assert added == [
        [
            "sleutel",
            "",
            "",
            "",
            "",
            "uw SSH-sleutel verloopt; geef op tijd een nieuwe op",
            "2026-12-20 SHA256:abc",
        ]
    ]
    told, before = (json.loads(b"".join(render_receipt_json(each))) for each in (warned, receipt))
    assert told == before | {"sleutels": [{"vingerafdruk": "SHA256:abc", "laatste_dag": "2026-12-20"}]}
    assert "sleutels" not in before


def test_a_refused_file_has_no_rows():
    """It counts none and tells of none."""
    with pytest.raises(ValueError, match="no rows"):
        Receipt(
            delivery_id="D",
            name="x",
            size=1,
            sha256="",
            received_at=REFUSED.received_at,
            sums=Sums(signals=1),
            file_code="F09",
        )


@pytest.mark.parametrize("code", FILE_ERRORS)
def test_every_refusal_has_its_sentence(code):
    """No F code leaves a partner guessing."""
    receipt = Receipt(
        delivery_id="D", name="x", size=1, sha256="", received_at=REFUSED.received_at, file_code=code
    )
    assert FILE_ERRORS[code] in b"".join(render_receipt_csv(receipt)).decode()


def test_every_row_code_has_its_sentence():
    """All V and W codes can be rendered."""
    receipt = Receipt(
        delivery_id="D",
        name="x",
        size=1,
        sha256="",
        received_at=REFUSED.received_at,
        sums=Sums(rejected=len(ROW_ERRORS)),
        rejected=[
            RowError(line=n, signal_id="", column="", code=code) for n, code in enumerate(ROW_ERRORS, 2)
        ],
        warnings=[RowWarning(line=0, signal_id="", column="", code=code) for code in WARNINGS],
    )
    text = b"".join(render_receipt_csv(receipt)).decode()
    assert all(sentence in text for sentence in [*WARNINGS.values()])
    assert all(f";{code};" in text for code in ROW_ERRORS)
