"""What a file would give, before it is sent."""

from __future__ import annotations

import json
from datetime import date

import pytest
import xlsxwriter

HEADER = [
    "Signaal ID",
    "Sector",
    "Klantnummer",
    "Achternaam",
    "Postcode",
    "Huisnummer",
    "Bedrag",
    "Ontstaansdatum",
    "Opmerking",
]
GOOD = ["w1", "Huur", "123456782", "Janszoon", "9431AA", 12.0, 850.0, date(2026, 8, 1), "geheim"]
BAD = ["w2", "Huur", "K2", "Pietersma", "9431", date(2026, 3, 12), 850.0, date(2026, 8, 1), ""]


@pytest.fixture
def creditor(gateway, home, key_file):
    """A home with a creditor whose files lack `sociaal_incasso`."""
    gateway("init", home)
    gateway("partner", "add", "woonservice", "--role", "creditor", "--sector", "Huur", "--key", key_file("k"))
    path = home / "config/partners/woonservice.toml"
    path.write_text(path.read_text().replace("# sociaal_incasso", "sociaal_incasso"))
    return home


def everything(home):
    """All files of a home with what they hold, but the log."""
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and "log" not in path.parts}


@pytest.mark.parametrize("form", ["xlsx", "csv"])
def test_a_file_of_both_kinds(gateway, creditor, workbook, tmp_path, form):
    """Kind, columns, counts and codes by line, never a value; nothing of the home changes."""
    file = tmp_path / "test.dat"
    rows = [["Overzicht"], HEADER, GOOD, BAD, ["Totaal"]]
    if form == "xlsx":
        file.write_bytes(workbook(rows))
    else:
        file.write_text("\n".join(";".join(map(str, row)) for row in [*rows, []]))
    before = everything(creditor)
    tried = gateway("partner", "try", "woonservice", file, "--json")
    assert (tried.code, tried.err) == (0, "")
    told = json.loads(tried.out)
    assert (told["kind"], told["header_line"], told["delimiter"]) == (form, 2, "" if form == "xlsx" else ";")
    assert told["columns"]["ignored"] == ["Opmerking"]
    assert told["columns"]["from_defaults"] == ["sociaal_incasso"]
    assert told["counts"] == {"new": 1, "changed": 0, "withdrawn": 0, "rejected": 1}
    assert told["codes"] == {"V02": 1, "V03": 1, "W01": 1}
    assert told["refusal"] is None
    assert [(row["line"], row["outcome"], row["column"], row["code"]) for row in told["rows"]] == [
        (3, "new", "", ""),
        (3, "warning", "klantnummer", "W01"),
        (4, "rejected", "postcode", "V02"),
        (4, "rejected", "huisnummer", "V03"),
    ]
    shown = gateway("partner", "try", "woonservice", file, "--rows", "1")
    assert "1 new, 0 changed, 0 withdrawn, 1 rejected" in shown.out
    assert "postcode ongeldig" in shown.out
    for value in ("Janszoon", "Pietersma", "123456782", "9431", "geheim"):
        assert value not in tried.out + shown.out
    assert everything(creditor) == before


def test_a_file_that_would_be_refused(gateway, creditor, workbook, repack, tmp_path):
    """Exit code 1, the F code and its sentence; no row counts."""
    file = tmp_path / "test.xlsx"
    file.write_bytes(repack(workbook([HEADER, GOOD]), {"xl/vbaProject.bin": b"x"}))
    tried = gateway("partner", "try", "woonservice", file)
    assert tried.code == 1
    assert "would be refused: F07 versleuteld, macro's of koppelingen: macro's" in tried.out
    file.write_text(";".join(HEADER) + "\nw1;Huur;K1;Jansen;9431AA;12;850;2026-08-01;\nw2;Huur")
    told = json.loads(gateway("partner", "try", "woonservice", file, "--json").out)
    assert told["refusal"]["code"] == "F09"
    assert set(told["counts"].values()) == {0}


def test_what_can_not_be_tried(gateway, creditor, tmp_path):
    """An unknown partner, and a file that is not there."""
    assert gateway("partner", "try", "niemand", tmp_path / "x").code == 2
    absent = gateway("partner", "try", "woonservice", tmp_path / "x")
    assert absent.code == 1
    assert "No such file" in absent.err


@pytest.mark.parametrize(
    ("lines", "content", "counts", "codes"),
    [
        (
            [
                "postcode;huisnummer;uitsluiten_tot;mutatie",
                "7938PL;18;;I",
                "7938PL;18;;N",
                "7938PL;20;31-31-2026;",
            ],
            "exclusions",
            {"new": 0, "changed": 0, "withdrawn": 1, "rejected": 2},
            {"V05": 1, "V17": 1},
        ),
        (
            [
                "signaalnummer;status;datum",
                "S0123456789AB;Opgepakt;2026-01-05",
                "S0123456789AB;Bezig;2026-01-05",
            ],
            "feedback",
            {"new": 1, "changed": 0, "withdrawn": 0, "rejected": 1},
            {"V15": 1},
        ),
        (
            ["postcode;huisnummer", "7938PL;18"],
            None,
            dict.fromkeys(("new", "changed", "withdrawn", "rejected"), 0),
            {},
        ),
    ],
)
def test_a_file_of_a_municipality(gateway, home, key_file, tmp_path, lines, content, counts, codes):
    """Its kind follows from its columns; nothing of the home changes, and no value is shown."""
    gateway("init", home)
    gateway(
        "partner", "add", "gemeente", "--role", "municipality", "--serves", "GM1731", "--key", key_file("k")
    )
    file = tmp_path / "test.csv"
    file.write_text("\n".join([*lines, ""]))
    before = everything(home)
    tried = gateway("partner", "try", "gemeente", file, "--json")
    told = json.loads(tried.out)
    assert (told["content"], told["counts"], told["codes"]) == (content, counts, codes)
    assert (tried.code, told["refusal"] and told["refusal"]["code"]) == (
        (1, "F11") if content is None else (0, None)
    )
    assert "7938PL" not in tried.out
    shown = gateway("partner", "try", "gemeente", file)
    assert "7938PL" not in shown.out
    assert everything(home) == before


def test_a_worklist_that_was_filled_in(gateway, home, key_file, tmp_path):
    """Both its sheets are read, the empty lines count for nothing, and what is wrong names its sheet."""
    gateway("init", home)
    gateway(
        "partner", "add", "gemeente", "--role", "municipality", "--serves", "GM1731", "--key", key_file("k")
    )
    file = tmp_path / "werklijst.xlsx"
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    for name, column, about in (
        ("Meldingen", "melding id", "M1731202611-0A1B2C3D"),
        ("Signalen", "signaalnummer", "S0123456789AB"),
    ):
        sheet = book.add_worksheet(name)
        sheet.write_row(0, 0, [column, "status", "datum", "rang"])
        sheet.write_row(1, 0, [about, "Opgepakt", "2026-01-05", 1])
        sheet.write_row(2, 0, [about, "", "", 2])
        sheet.write_row(3, 0, [about, "Bezig", "2026-01-05", 3])
    book.close()
    told = json.loads(gateway("partner", "try", "gemeente", file, "--json").out)
    assert (told["content"], told["counts"]["new"], told["counts"]["rejected"]) == ("feedback", 2, 2)
    assert [row["column"] for row in told["rows"]] == ["", "Signalen!status", "", "Meldingen!status"]
    assert told["columns"]["ignored"] == []
