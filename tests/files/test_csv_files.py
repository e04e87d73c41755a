"""From bytes to rows: encodings, delimiters, quotes, limits, and files that are not what they should be."""

import random
import tracemalloc
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.partner import Partner, Role
from gateway.domain.signal import RowError, Signal
from gateway.errors import DeliveryError
from gateway.files.csvfile import read_table
from gateway.files.signalfile import read_signals
from gateway.files.table import Limits

HEADER = "signaal_id;sector;klantnummer;achternaam;postcode;huisnummer;bedrag;ontstaansdatum;sociaal_incasso"
LINE = "HV-{};Huur;K1;{};1234AB;12;850;2026-08-01;J"


def refusal(read_file, data, **options):
    """The F code and detail with which a file is refused."""
    with pytest.raises(DeliveryError) as refused:
        read_file(data, **options)
    return refused.value.code, refused.value.detail


def surnames(read_file, data):
    """The surnames of a file of good rows."""
    return [row.surname for row in read_file(data)[0] if isinstance(row, Signal)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings(read_file, encoding, end):
    """Each encoding is found, with either line end."""
    text = end.join(
        [HEADER, LINE.format(1, "Müller"), LINE.format(2, "Łukasz" if encoding != "cp1252" else "Ñuñez"), ""]
    )
    assert surnames(read_file, text.encode(encoding))[0] == "Müller"
    assert len(surnames(read_file, text.encode(encoding))) == 2


def test_big_endian_utf_16(read_file):
    """The byte order mark decides."""
    data = b"\xfe\xff" + f"{HEADER}\n{LINE.format(1, 'Müller')}\n".encode("utf-16-be")
    assert surnames(read_file, data) == ["Müller"]


def test_one_late_byte_makes_the_whole_file_windows_1252(read_file):
    """Rows far above the byte that is not UTF-8 are read as Windows-1252 too."""
    lines = [LINE.format(n, "Müller") for n in range(3000)]
    data = "\r\n".join([HEADER, *lines, ""]).encode("cp1252")
    chunks = [data[i : i + 1024] for i in range(0, len(data), 1024)]
    assert surnames(read_file, chunks) == ["Müller"] * 3000
    first_in_utf8 = (
        f"{HEADER}\n{LINE.format(1, 'Mü')}\n".encode() + LINE.format(2, "Mü").encode("cp1252") + b"\n"
    )
    assert surnames(read_file, first_in_utf8) == ["MÃ¼", "Mü"]


def test_a_byte_that_windows_1252_lacks_costs_its_row(read_file):
    """It can't be read, so that the name isn't one."""
    data = f"{HEADER}\n{LINE.format(1, 'Mller')}\n{LINE.format(2, 'Jansen')}\n".encode().replace(
        b"Mller", b"M\x81ller"
    )
    rows, _ = read_file(data)
    assert rows[0] == (RowError(line=2, signal_id="HV-1", column="achternaam", code="V10"),)
    assert isinstance(rows[1], Signal)


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_delimiters(read_file, delimiter):
    """Found from the header, whatever stands in the rows."""
    text = f"{HEADER}\n{LINE.format(1, 'Jansen')}\n".replace(";", delimiter)
    assert surnames(read_file, text) == ["Jansen"]


def test_quotes(read_file):
    """RFC 4180: a quoted field may hold delimiters, quotes and line ends; an ignored column may too."""
    text = (
        f"{HEADER};opmerking\r\n"
        'HV-1;Huur;"K;1";"O""Neil";1234AB;12;"850";2026-08-01;J;"een\r\n\r\ntwee ""drie"";"\r\n'
        "HV-2;Huur;K2;Jansen;1234AB;12;850;2026-08-01;J;\r\n"
    )
    rows, warnings = read_file(text)
    assert [(row.customer_number, row.surname, row.line) for row in rows] == [
        ("K;1", 'O"Neil', 2),
        ("K2", "Jansen", 5),
    ]
    assert [(w.line, w.column, w.code) for w in warnings] == [(0, "opmerking", "W04")]


def test_a_quote_gone_astray_costs_one_line(read_file):
    """Reading begins anew on the next line, not at the next quote somewhere far below."""
    lines = [LINE.format(n, "Jansen") for n in range(4000)]
    lines[10] = LINE.format(10, '"Jansen')
    lines[2000] = LINE.format(2000, '"Jan"sen')
    rows, _ = read_file("\n".join([HEADER, *lines, ""]))
    assert len(rows) == 4000
    bad = [row for row in rows if not isinstance(row, Signal)]
    assert bad == [(RowError(line=n, signal_id="", column="", code="V10"),) for n in (12, 2002)]


def test_a_quote_open_at_the_end_is_f09(read_file):
    """The file was cut off inside a field."""
    assert refusal(read_file, f'{HEADER}\n{LINE.format(1, "Jansen")}\nHV-2;Huur;K1;"Jan')[0] == "F09"


def test_half_a_last_line_is_f09(read_file):
    """But a last line without line end that is whole counts."""
    whole = f"{HEADER}\n{LINE.format(1, 'Jansen')}\n{LINE.format(2, 'Pietersen')}"
    assert surnames(read_file, whole) == ["Jansen", "Pietersen"]
    assert refusal(read_file, whole[:-20])[0] == "F09"
    assert refusal(read_file, whole.encode("utf-16")[:-1])[0] == "F09"
    cut_within_a_letter = f"{HEADER}\n{LINE.format(1, 'Müller')}\n{LINE.format(2, 'Mü')}".encode()
    assert refusal(read_file, cut_within_a_letter[: cut_within_a_letter.rindex(b"\xbc")])[0] == "F09"


def test_a_short_line_elsewhere_is_a_row_with_empty_cells(read_file):
    """Only the last line can be cut off."""
    rows, _ = read_file(
        f"{HEADER}\nHV-1;Huur;K1;Jansen;1234AB;12;850;2026-08-01\n{LINE.format(2, 'Jansen')}\n"
    )
    assert rows[0] == (RowError(line=2, signal_id="HV-1", column="sociaal_incasso", code="V01"),)
    assert isinstance(rows[1], Signal)


def test_a_line_with_too_many_fields_is_v10(read_file):
    """Its values stand in the wrong columns; empty surplus fields do no harm."""
    text = f"{HEADER}\n{LINE.format(1, 'Jan;sen')}\n{LINE.format(2, 'Jansen')};;\n"
    rows, _ = read_file(text)
    assert rows[0] == (RowError(line=2, signal_id="", column="", code="V10"),)
    assert isinstance(rows[1], Signal)


def test_empty_lines_are_skipped(read_file):
    """Also those of nothing but delimiters, which spreadsheets leave behind."""
    rows, _ = read_file(
        f"\n\n{HEADER}\n\n{LINE.format(1, 'Jansen')}\n;;;;;;;;\n  \n{LINE.format(2, 'Jansen')}\n\n\n"
    )
    assert [row.line for row in rows] == [5, 8]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xef\xbb\xbf", b"\r\n \n", b"\xff\xfe", HEADER.encode(), f"{HEADER}\r\n;;;\r\n\r\n".encode()],
)
def test_f04_empty(read_file, data):
    """Nothing, or nothing but a header."""
    assert refusal(read_file, data)[0] == "F04"


@pytest.mark.parametrize(
    "data",
    [
        b"dit is geen CSV-bestand\n",
        b"signaal_id\x00;sector\x00\n",
        HEADER.encode("utf-16-le"),
        b"\xff\xfe" + b"a\x00;\x00" * 10 + b"\x00\xd8\x00\xd8",
        b"x;" * 40_000,
        b'signaal_id;"sector"x;klantnummer\n1;2;3\n',
        random.Random(1).randbytes(5000).replace(b"\n", b""),
    ],
)
def test_f01_not_a_table(read_file, data):
    """No text, no delimiter, or a first line without end."""
    assert refusal(read_file, data)[0] == "F01"


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04\x14\x00\x06",
        b"\xd0\xcf\x11\xe0\xa1\xb1",
        b"%PDF-1.7\n",
        b'{"signalen": []}',
        b"<?xml version='1.0'?>",
        b"\x1f\x8b\x08",
    ],
)
def test_f11_surely_something_else(read_file, data):
    """Known by how it begins, not by its name."""
    assert refusal(read_file, data)[0] == "F11"


def test_f11_from_a_municipality(read_file):
    """A municipality sends no signal files."""
    assert refusal(read_file, f"{HEADER}\n{LINE.format(1, 'Jansen')}\n", role=Role.MUNICIPALITY)[0] == "F11"
    assert refusal(read_file, b"melding_id;status\nM1;Opgepakt\n", role=Role.MUNICIPALITY)[0] == "F11"


def test_f02_names_what_is_missing(read_file):
    """A creditor's table is always a signal file; the detail names our columns, never the file's."""
    code, detail = refusal(read_file, "signaal_id;sector;achternaam;huisnummer;bedrag;Geheim\n1;2;3;4;5;6\n")
    assert code == "F02"
    assert detail == "klantnummer, postcode, sociaal_incasso, ontstaansdatum of dagen_achterstand"
    assert refusal(read_file, "melding_id;status\nM1;Opgepakt\n")[0] == "F02"


@pytest.mark.parametrize(
    "name",
    [
        "bsn",
        "BSN",
        "Burger Service Nummer",
        "sofi-nummer",
        "IBAN",
        "rekening_nummer",
        "Nationaliteit",
        "diagnose",
    ],
)
def test_f03_a_forbidden_column(read_file, name):
    """However it is spelt, and also when the partner maps it to one of ours."""
    data = f"{HEADER};{name}\n{LINE.format(1, 'Jansen')};x\n"
    assert refusal(read_file, data)[0] == "F03"
    assert refusal(read_file, data, columns={name: "product"})[0] == "F03"
    assert "Jansen" not in refusal(read_file, data)[1]


def test_f03_leaves_rows_unread(creditor):
    """A column that is forbidden refuses the file before any row."""
    data = f"{HEADER};bsn\n".encode()
    with pytest.raises(DeliveryError, match="F03"):
        read_signals(lambda: iter([data]), creditor, date(2026, 11, 22))


def test_f05_too_many_rows(read_file):
    """As many as allowed are read; one more refuses the file."""
    lines = [LINE.format(n, "Jansen") for n in range(11)]
    limits = Limits(rows=10)
    assert len(read_file("\n".join([HEADER, *lines[:10], "", ""]), limits=limits)[0]) == 10
    assert refusal(read_file, "\n".join([HEADER, *lines]), limits=limits) == ("F05", "meer dan 10 regels")


def test_f06_too_many_bytes_or_columns(read_file):
    """Bytes are counted before anything is read."""
    text = f"{HEADER}\n{LINE.format(1, 'Jansen')}\n"
    assert surnames(lambda data: read_file(data, limits=Limits(file_bytes=len(text))), text) == ["Jansen"]
    assert refusal(read_file, text, limits=Limits(file_bytes=len(text) - 1))[0] == "F06"
    wide = ";".join([*HEADER.split(";"), *(f"extra{n}" for n in range(191))])
    assert len(read_file(f"{wide}\n{LINE.format(1, 'Jansen')}\n")[1]) == 191
    assert refusal(read_file, f"{wide};extra\n{LINE.format(1, 'Jansen')}\n")[0] == "F06"


def test_a_row_of_ten_megabytes_costs_itself_and_no_memory(read_file):
    """It is V10, its neighbours count, and what is held stays below two megabytes."""
    line = LINE.format(2, "x" * 10_000_000).encode()
    data = (
        f"{HEADER}\n{LINE.format(1, 'Jansen')}\n".encode()
        + line
        + b"\n"
        + LINE.format(3, "Jansen").encode()
        + b"\n"
    )
    chunks = [data[i : i + 65536] for i in range(0, len(data), 65536)]
    tracemalloc.start()
    rows, _ = read_file(chunks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert [row.line if isinstance(row, Signal) else row[0] for row in rows] == [
        2,
        RowError(line=3, signal_id="", column="", code="V10"),
        4,
    ]


def test_ten_megabytes_between_quotes_cost_one_line(read_file):
    """Also when the long field spans many lines."""
    field = '"' + "\n".join(["x" * 1000] * 100) + '"'
    rows, _ = read_file(f"{HEADER}\n{LINE.format(1, field)}\n{LINE.format(2, 'Jansen')}\n")
    assert rows[0] == (RowError(line=2, signal_id="", column="", code="V10"),)
    assert isinstance(rows[-1], Signal)
    assert rows[-1].line == 102


@pytest.mark.parametrize(("encoding", "letter"), [("utf-8", "é"), ("cp1252", "é"), ("utf-16", "é")])
def test_the_limit_of_a_line_is_in_bytes(read_file, encoding, letter):
    """Letters of two bytes fill a line sooner; the limit itself is allowed."""
    padding = 400
    text = f"{HEADER};opmerking\n{LINE.format(1, 'Jansen')};{letter * padding}\n"
    width = len(text.splitlines()[1].encode("utf-16-le" if encoding == "utf-16" else encoding))
    assert isinstance(read_file(text.encode(encoding), limits=Limits(line_bytes=width))[0][0], Signal)
    assert not isinstance(read_file(text.encode(encoding), limits=Limits(line_bytes=width - 1))[0][0], Signal)


def test_a_nul_byte_costs_its_row(read_file):
    """The reader of Python lets it pass; we don't."""
    rows, _ = read_file(f"{HEADER}\n{LINE.format(1, 'Jan' + chr(0) + 'sen')}\n{LINE.format(2, 'Jansen')}\n")
    assert rows[0] == (RowError(line=2, signal_id="HV-1", column="achternaam", code="V10"),)
    assert isinstance(rows[1], Signal)


def test_the_last_byte_may_be_a_windows_1252_letter(read_file):
    """After nothing but ASCII it is no half character; after letters of UTF-8 it is one, and the file is cut off."""
    data = b"signaal_id;sector;klantnummer;postcode;huisnummer;bedrag;ontstaansdatum;sociaal_incasso;achternaam\n"
    row = b"1;Huur;K;1234AB;1;5;2026-08-01;J;"
    assert surnames(read_file, data + row + b"Ren\xe9") == ["René"]
    assert refusal(read_file, data + row + "Renée\n".encode() + row + b"Ren\xc3")[0] == "F09"


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp", "Co", "Cn")), max_size=20)


@given(
    names=st.lists(TEXTS.map(lambda text: f"x{text}x".replace("\ufffd", "")), min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_chunking_gives_the_same_rows(names, sizes, encoding, end):
    """Where chunks begin and end means nothing, and each field comes back as it was written."""
    quoted = [f'{number};"{name.replace(chr(34), chr(34) * 2)}";z' for number, name in enumerate(names)]
    data = end.join(["a;b;c", *quoted, ""]).encode(encoding)
    chunks, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        chunks.append(data[at : at + size])
        at, turn = at + size, turn + 1
    rows = list(read_table(lambda: iter(chunks), Limits()).rows)
    assert [row.fields for row in rows] == [[str(n), name, "z"] for n, name in enumerate(names)]
    assert rows == list(read_table(lambda: iter([data]), Limits()).rows)


PARTNER = Partner(id="x", name="x", role=Role.CREDITOR, sectors=("Huur",))
PIECES = st.sampled_from(
    [
        b'"',
        b";",
        b",",
        b"\n",
        b"\r",
        b"\t",
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"J",
        b"HV-1",
        b"\xe9",
        HEADER.encode(),
        b"\n" + LINE.format(1, "x").encode() + b"\n",
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join)), st.booleans())
def test_nothing_but_a_refusal_is_ever_raised(data, has_header):
    """Whatever the bytes: a row for each data row, or a DeliveryError with an F code."""
    data = (HEADER.encode() + b"\n" if has_header else b"") + data
    try:
        found = read_signals(lambda: iter([data]), PARTNER, date(2026, 11, 22), Limits(line_bytes=300))
        codes = {"" for batch in found.batches if batch.rows}
    except DeliveryError as refused:
        codes = {refused.code}
    assert codes
    assert codes <= {"", "F01", "F02", "F03", "F04", "F06", "F09", "F11"}
