"""Files as systems export them: titles, totals, empty lines, and what spreadsheets do to values."""

import pytest

from gateway.domain.signal import Signal
from gateway.errors import DeliveryError

HEADER = "signaal_id;sector;klantnummer;achternaam;postcode;huisnummer;bedrag;ontstaansdatum;sociaal_incasso"
LINE = "HV-{};Huur;K1;Jansen;1234AB;12;850;2026-08-01;J"


def lines_of(read_file, *lines, **partner):
    """Line and id of the rows of a file, which are all signals."""
    rows, _ = read_file("\r\n".join([*lines, ""]), **partner)
    assert all(isinstance(row, Signal) for row in rows), rows
    return [(row.line, row.signal_id) for row in rows]


@pytest.mark.parametrize(
    "title",
    [
        ["sep=;"],
        ["Overzicht achterstanden"],
        ["Overzicht achterstanden;;;;;;;;", "", "Sector;Huur", "Peildatum:;22-11-2026;;", ""],
        ["Overzicht, van alle, achterstanden, tot en met, november, 2026, per klant, en sector"],
        ['"Overzicht";"van ""alles"""', ";;;;;;;;"],
        [f"Regel {n}" for n in range(20)],
    ],
)
def test_a_title_above_the_header(read_file, title):
    """The header is the first line with most known names; lines keep the numbers that an editor shows."""
    at = len(title) + 2
    assert lines_of(read_file, *title, HEADER, LINE.format(1), LINE.format(2)) == [
        (at, "HV-1"),
        (at + 1, "HV-2"),
    ]


def test_names_over_two_lines(read_file):
    """A name with a line end in it, in quotes, as spreadsheets write it: the record is the header, not its second half."""
    header = HEADER.replace("klantnummer", '"klant\nnummer"').replace("huisnummer", '"huis\r\nnummer"')
    for title in ([], ["Titel;;"], ['"Titel dat niet sluit;;']):
        at = len(title) + 4
        assert lines_of(read_file, *title, header, LINE.format(1)) == [(at, "HV-1")]


def test_a_million_columns(read_file):
    """A header that is longer than a line may be is F01; one with more columns than the limit F06."""
    with pytest.raises(DeliveryError, match="F01 de eerste regel is langer"):
        read_file(";".join([HEADER, *["x"] * 1_000_000]) + "\n")
    with pytest.raises(DeliveryError, match="F06 meer dan 200 kolommen"):
        read_file(";".join([HEADER, *["x"] * 1_000]) + "\n")


def test_a_title_above_own_names(read_file):
    """The names of the partner's own columns count as known."""
    own = {"columns": {"Ref": "signaal_id", "Deb": "klantnummer", "Naam": "achternaam", "Pc": "postcode"}}
    header = "Ref;Branche;Deb;Naam;Pc"
    with pytest.raises(DeliveryError, match="F02 sector"):
        read_file(f"Titel;;\n{header}\nx;x;x;x;x\n", **own)


def test_a_header_that_nobody_knows_is_the_first_line(read_file):
    """F02 names what is missing."""
    with pytest.raises(DeliveryError, match="F02 signaal_id, sector"):
        read_file("a;b;c\n1;2;3\nsignaal_id;x;y\n")


def test_a_forbidden_name_above_the_header(read_file):
    """F03: merged over two rows, the name of a column stands in the upper one."""
    with pytest.raises(DeliveryError, match="F03 bsn"):
        read_file(f"Persoon;;BSN\n{HEADER};\n{LINE.format(1)};123456782\n")


@pytest.mark.parametrize(
    "total",
    [
        "Totaal;;;;;;1700;;",
        ";;;;;Totaal:;1700,00;;",
        "Eindtotaal;;2;;;;1700;;",
        ";;Aantal; ;;;2;;",
        "TOTALEN;;;;;2;1700;;",
        ";;;;;;1700,00;;",
        ";subtotaal Huur;;;;;1700;;",
    ],
)
@pytest.mark.parametrize("after", [[], [";;;;;;;;"] * 300])
def test_a_total_at_the_end(read_file, total, after):
    """It is nobody's row: it counts for nothing, also with empty lines below it."""
    assert lines_of(read_file, HEADER, LINE.format(1), total, *after) == [(2, "HV-1")]


def test_only_a_total_is_an_empty_file(read_file):
    """F04."""
    with pytest.raises(DeliveryError, match="F04"):
        read_file(f"{HEADER}\nTotaal;;;;;;0;;\n")


@pytest.mark.parametrize(
    "row",
    [
        "HV-2;Huur;K1;Totaal;1234AB;12;850;2026-08-01;J",  # a surname
        "HV-2;Huur;Totaal 1;Jansen;;;850;;",  # somebody's, with much left out
        "HV-2;;;;;;850;;",
        "Totaal;;;;1234AB;;850;;",
    ],
)
def test_a_last_row_that_is_no_total(read_file, row):
    """It is read, and answered, as any other."""
    rows, _ = read_file(f"{HEADER}\n{LINE.format(1)}\n{row}\n")
    assert len(rows) == 2


def test_a_total_in_the_middle_is_a_row(read_file):
    """Only the last row can be one: the rejected row says that the file is not what it seems."""
    rows, _ = read_file(f"{HEADER}\nTotaal;;;;;;850;;\n{LINE.format(1)}\n")
    assert isinstance(rows[0], tuple)
    assert isinstance(rows[1], Signal)


def test_a_total_in_a_file_of_withdrawals(read_file):
    """A withdrawal has a mutatie, a total has none."""
    text = "signaal_id;mutatie\nHV-1;I\ntotaal-3;I\nTotaal;\n"
    assert [row.signal_id for row in read_file(text)[0]] == ["HV-1", "totaal-3"]


def test_an_amount_with_an_artefact(read_signal, faults_of):
    """850.0 is 850; what has more than cents is V04."""
    assert read_signal({"bedrag": "850.0"}).amount_cents == 85_000
    assert faults_of({"bedrag": "33.3333333333333"}) == {"bedrag": "V04"}


@pytest.mark.parametrize("text", ["2026-08-01 00:00:00", "2026-08-01T00:00:00.000", "2026-08-01 00:00"])
def test_dates_of_databases(read_signal, text):
    """A midnight without a zone is a day."""
    assert read_signal({"ontstaansdatum": text}).arrears_since.isoformat() == "2026-08-01"


@pytest.mark.parametrize("text", ["2026-08-01 13:05:00", "2026-07-31T22:00:00Z", "46235", "1-8-2026"])
def test_dates_that_could_be_others(faults_of, text):
    """V05: a time with an hour, a zone, a serial number, a day of one digit."""
    assert faults_of({"ontstaansdatum": text}) == {"ontstaansdatum": "V05"}


@pytest.mark.parametrize("column", ["klantnummer", "achternaam"])
def test_a_number_that_became_a_date(faults_of, column):
    """V10: 12-3 in a worksheet is the twelfth of March, and nobody's customer number."""
    assert faults_of({column: "2026-03-12 00:00:00"}) == {column: "V10"}


def test_zeros_that_a_spreadsheet_took(read_signal):
    """Given back where only one thing can be meant."""
    signal = read_signal({"telefoonnummer": "612345678", "gemeentecode": "34", "huisnummer": "12.0"})
    assert (signal.phone, signal.municipality, signal.house_number) == ("0612345678", "GM0034", 12)
    assert read_signal({"telefoonnummer": "31612345678"}).phone == "0612345678"
    assert read_signal({"klantnummer": "42"}).customer_number == "42"
