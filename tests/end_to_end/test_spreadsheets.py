"""XLSX through SFTP: read as a CSV file would be, and hostile ones answered while others go on."""

from __future__ import annotations

from datetime import date

SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    "</sheetData></worksheet>"
)


def table(*rows):
    """Rows that are dicts as a sheet with a title and a total."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [
        ["Achterstanden november 2026"],
        columns,
        *([row.get(name, "") for name in columns] for row in rows),
        ["Totaal", *[""] * (len(columns) - 1)],
    ]


async def test_a_workbook(town, signal, workbook):
    """The municipality reads what the sheet says; the receipt speaks of its rows."""
    rows = [
        signal("w1", bedrag=850.0, ontstaansdatum=date(2026, 8, 1)),
        signal("w2", huisnummer=date(2026, 3, 12)),
        signal("w3", huisnummer=26, achternaam="=1+1"),
    ]
    # the name says something else: content decides
    await town.put("woonservice", "signalen.csv", workbook(table(*rows)))
    await town.settle()
    boxes = await town.collect("woonservice")
    (error,) = boxes.receipt["afgekeurd"]
    assert (error["regel"], error["signaal_id"], error["kolom"], error["code"]) == (
        4,
        "w2",
        "huisnummer",
        "V03",
    )
    assert boxes.receipt["sommen"]["signalen"] == 2
    assert boxes.statuses == [("w1", "D10"), ("w3", "D10")]
    lines = (await town.collect("middendrenthe")).lines
    assert [(line["bedrag"], line["ontstaansdatum"]) for line in lines if line["huisnummer"] != "26"] == [
        ("850,00", "2026-08-01")
    ]
    # what a spreadsheet would run is text where the municipality opens it
    assert [line["achternaam"] for line in lines if line["huisnummer"] == "26"] == ["'=1+1"]


async def test_hostile_workbooks(town, signal, workbook, repack, csv_file):
    """Each is refused with its code; other partners and later files are served; no file of plaintext is left."""
    book = workbook(table(signal("w1")))
    hostile = {
        "hoek.xlsx": (repack(book, {"xl/worksheets/sheet1.xml": SHEET.encode()}), "F01"),
        "bom.xlsx": (repack(book, {"xl/media/a.xml": bytes(4 * 1024**2)}), "F06"),
        "macro.xlsx": (repack(book, {"xl/vbaProject.bin": b"x"}), "F07"),
        "lachen.xlsx": (
            repack(book, {"xl/sharedStrings.xml": b"<!DOCTYPE x [<!ENTITY a 'b'>]><sst/>"}),
            "F07",
        ),
        "bsn.xlsx": (workbook(table(signal("w1", BSN="123456782"))), "F03"),
    }
    for name, (content, _) in hostile.items():
        await town.put("woonservice", name, content)
    await town.put("dezorgkas", "goed.csv", csv_file(signal("z1", sector="Zorg")))
    await town.put("woonservice", "goed.xlsx", workbook(table(signal("w9", huisnummer=26))))
    await town.settle()
    boxes = await town.collect("woonservice")
    codes = {each["bestand"]["naam"]: (each["weigering"] or {}).get("code") for each in boxes.receipts}
    assert codes == {**{name: code for name, (_, code) in hostile.items()}, "goed.xlsx": None}
    assert boxes.statuses == [("w9", "D10")]
    assert (await town.collect("dezorgkas")).statuses == [("z1", "D10")]
    town.check_blobs()
