"""Workbooks, read by a process of their own: real exports, and files made to harm."""

import subprocess
import sys
from datetime import date

import pytest

from gateway.domain.partner import Partner, Role
from gateway.domain.signal import RowError, Signal
from gateway.errors import DeliveryError, ReaderError
from gateway.files.signalfile import read_signals
from gateway.files.table import Limits
from gateway.pipeline import workbook as reader

HEADER = [
    "Signaal ID",
    "Sector",
    "Klant\nnummer",
    "Achternaam",
    "Postcode",
    "Huisnummer",
    "Bedrag",
    "Ontstaansdatum",
    "Sociaal incasso",
]
CREDITOR = Partner(id="dewoning", name="De Woning", role=Role.CREDITOR, sectors=("Huur",))
RECEIVED_ON = date(2026, 11, 22)


def read(data, **limits):
    """All rows of a file, which is read in small pieces."""
    chunks = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    file = read_signals(lambda: iter(chunks), CREDITOR, RECEIVED_ON, Limits(**limits), reader.read_table)
    return [row for batch in file.batches for row in batch.rows]


def refusal(data, **limits):
    """The F code with which a file is refused, and what it says."""
    with pytest.raises(DeliveryError) as refused:
        read(data, **limits)
    return refused.value.code, refused.value.detail


@pytest.fixture
def processes(monkeypatch):
    """Every process that a test starts."""
    started, start = [], subprocess.Popen

    def note(*args, **options):
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", note)
    return started


def test_a_real_export(workbook, processes):
    """A title, a coloured void, numbers and days as cells, a note beside the table, a total: the rows, by sheet row."""
    rows = [
        ["Overzicht achterstanden", None, None],
        [],
        HEADER,
        ["HV-1", "Huur", 42, "Müller", "1234 AB", 12.0, 850.3000000000001, date(2026, 8, 1), True],
        [1002, "Huur", "0042", "=Jansen", "1234AB", "12a", "1.234,56", "01-08-2026", "J", "", "let op"],
        [],
        ["HV-3", "Huur", 1e17, "Bos", 1234, date(2026, 3, 12), 850, 46235, "J"],
        ["Totaal", "", "", "", "", "", 2084.86],
        *[[None] * 9] * 2000,
    ]
    first, second, third = read(workbook(rows))
    assert isinstance(first, Signal)
    assert isinstance(second, Signal)
    assert (first.line, first.customer_number, first.surname, first.house_number) == (4, "42", "Müller", 12)
    assert (first.amount_cents, first.arrears_since) == (85_030, date(2026, 8, 1))
    assert (second.line, second.signal_id, second.customer_number, second.house_letter) == (
        5,
        "1002",
        "0042",
        "A",
    )
    assert (second.amount_cents, second.surname) == (123_456, "=Jansen")
    assert {error.column: (error.line, error.code) for error in third} == {
        "klantnummer": (7, "V10"),
        "postcode": (7, "V02"),
        "huisnummer": (7, "V03"),
        "ontstaansdatum": (7, "V05"),
    }
    assert [process.returncode is not None for process in processes] == [True]


def test_a_csv_file_needs_no_process(processes):
    """The kind is decided by content."""
    text = "signaal_id;mutatie\nHV-1;I\n"
    assert [row.signal_id for row in read(text.encode())] == ["HV-1"]
    assert processes == []


def test_a_cell_in_the_last_corner(workbook, repack, processes):
    """A cell at XFD1048576 asks for half a terabyte: the process dies, the file is F01, we live."""
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>'
    )
    code, detail = refusal(repack(workbook([HEADER]), {"xl/worksheets/sheet1.xml": sheet.encode()}))
    assert (code, "losse cellen" in detail) == ("F01", True)
    assert [process.returncode for process in processes] == [-6]


def test_a_sheet_that_takes_too_much_memory(workbook, repack, processes, monkeypatch):
    """What the machine could give, the limit of the process refuses: with more of it the same sheet is read."""
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="1048576"><c r="H1048576"><v>1</v></c></row></sheetData></worksheet>'
    )
    data = repack(workbook([["a"]]), {"xl/worksheets/sheet1.xml": sheet.encode()})
    limits = Limits(unpacked_bytes=1024**2)
    monkeypatch.setattr(reader, "_BASE_BYTES", 200 * 1024**2)
    with pytest.raises(DeliveryError, match="F01"):
        reader.read_table(lambda: [data], limits)
    assert processes[0].returncode == -6
    monkeypatch.setattr(reader, "_BASE_BYTES", 800 * 1024**2)
    table = reader.read_table(lambda: [data], limits)
    assert (table.header, list(table.rows)) == (("1",), [])


def test_a_sheet_that_takes_too_long(workbook, repack, processes, monkeypatch):
    """The processor's time is limited by the system, which ends the process (SIGKILL or SIGXCPU)."""
    monkeypatch.setattr(reader, "_CPU_S", 1)
    row = '<row r="{0}"><c r="A{0}"><v>{0}</v></c><c r="B{0}"><v>1</v></c></row>'
    body = "".join(row.format(number) for number in range(1, 600_000))
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        f"{body}</sheetData></worksheet>"
    )
    data = repack(workbook([["a"]]), {"xl/worksheets/sheet1.xml": sheet.encode()})
    with pytest.raises(DeliveryError, match="F01"):
        list(reader.read_table(lambda: [data], Limits()).rows)
    assert processes[0].returncode in {-9, -24}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"PK\x03\x04" + bytes(2000), "F01"),
        (b"PK\x05\x06" + bytes(18), "F11"),
        (b"\xd0\xcf\x11\xe0" + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "F07"),
        (b"\xd0\xcf\x11\xe0" + bytes(5000), "F11"),
        (b"%PDF-1.7", "F11"),
        (b"PK", "F01"),
        (b"", "F04"),
    ],
)
def test_what_begins_like_a_workbook(data, code):
    """Each kind has its code."""
    assert refusal(data)[0] == code


def test_what_is_refused_within_the_process(workbook, repack):
    """Macros (F07), an empty sheet (F04), too many rows (F05), columns (F06) and bytes (F06), a forbidden column (F03)."""
    book = workbook([HEADER, ["HV-1"], ["HV-2"]])
    assert refusal(repack(book, {"xl/vbaProject.bin": b"x"})) == ("F07", "macro's")
    assert refusal(workbook([[None]])) == ("F04", "")
    assert refusal(workbook([HEADER]))[0] == "F04"
    assert refusal(book, rows=1) == ("F05", "meer dan 1 regels")
    assert refusal(book, columns=8) == ("F06", "meer dan 8 kolommen")
    assert refusal(book, file_bytes=4000) == ("F06", "meer dan 4000 bytes")
    assert refusal(workbook([[*HEADER, "BSN"], ["HV-1"]])) == ("F03", "bsn")
    assert refusal(repack(book, {"xl/worksheets/sheet1.xml": b"<worksheet><sheetData><row"}))[0] in {
        "F01",
        "F04",
    }


def test_a_row_that_is_too_long(workbook):
    """V10 costs its row only, as in a CSV file."""
    rows = [HEADER, ["HV-1", "x" * 30_000, "y" * 30_000, "z" * 30_000], [*["HV-2"], "?"]]
    bad, other = read(workbook(rows))
    assert bad == (RowError(line=2, signal_id="", column="", code="V10"),)
    assert other[0].signal_id == "HV-2"


def test_a_reader_that_does_not_start(workbook, monkeypatch):
    """That is ours: no partner's file is refused for it."""
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(ReaderError, match="does not start"):
        read(workbook([HEADER]))


def test_the_process_ends_with_the_reading(workbook, processes):
    """Who stops half-way leaves no process behind."""
    data = workbook([HEADER, *([f"HV-{n}"] for n in range(30_000))])
    table = reader.read_table(lambda: [data], Limits())
    assert next(table.rows).line == 2
    assert processes[0].poll() is None
    del table
    assert processes[0].poll() is not None
