"""What a row of a municipality's request file becomes, and when the file is none."""

from datetime import date

import pytest

from gateway.domain.delivery import Kind
from gateway.domain.request import Ask, Request, RequestWithdrawal, Subject
from gateway.errors import DeliveryError
from gateway.files.municipalfile import read_municipal
from gateway.files.requestfile import MOST_REQUESTS, read_requests
from gateway.files.table import Limits

LIMITS = Limits()
RECEIVED_ON = date(2026, 11, 22)


def open_file(text):
    """A municipality's file that is one of requests."""
    kind, table = read_municipal(lambda: [text.encode()], LIMITS)
    assert kind is Kind.REQUESTS
    return read_requests(table, RECEIVED_ON, LIMITS)


def row(**values):
    """One row, from a file with just its columns."""
    values = {
        "avg_verzoek": "INZAGE",
        "verzoek_id": "2026-0012",
        "achternaam": "van der Bakker",
        "geboortedatum": "01-05-1980",
    } | values
    values = {name: value for name, value in values.items() if value is not None}
    (found,) = open_file(f"{';'.join(values)}\n{';'.join(values.values())}\n").rows
    return found


def codes(**values):
    """Column and code of everything that is wrong with a row."""
    return {error.column: error.code for error in row(**values)}


def test_a_surname_with_a_date_of_birth():
    """The least that finds somebody."""
    assert row() == Request(
        line=2,
        number="2026-0012",
        ask=Ask.ACCESS,
        subject=Subject(surname="van der Bakker", born_on=date(1980, 5, 1)),
    )


@pytest.mark.parametrize(
    "house",
    [{"huisnummer": "12a-3"}, {"huisnummer": "12", "huisletter": "A", "huisnummertoevoeging": "3"}],
)
def test_a_surname_with_an_address(house):
    """What stands behind the house number is read as in a signal file."""
    found = row(avg_verzoek="wissen", geboortedatum=None, postcode="7938 pl", **house)
    assert (found.ask, found.subject) == (
        Ask.ERASURE,
        Subject(
            surname="van der Bakker",
            postcode="7938PL",
            house_number=12,
            house_letter="A",
            house_number_suffix="3",
        ),
    )


def test_i_needs_only_the_number():
    """What else is wrong with it does not matter."""
    assert row(avg_verzoek="", achternaam="", mutatie="i") == RequestWithdrawal(line=2, number="2026-0012")
    assert codes(verzoek_id="", mutatie="I") == {"verzoek_id": "V01"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"avg_verzoek": "VERWIJDEREN"}, {"avg_verzoek": "V15"}),
        ({"verzoek_id": ""}, {"verzoek_id": "V01"}),
        ({"verzoek_id": "2026/12"}, {"verzoek_id": "V15"}),
        ({"verzoek_id": "1" * 21}, {"verzoek_id": "V15"}),
        # a number that passes the BSN's test
        ({"verzoek_id": "111222333"}, {"verzoek_id": "V15"}),
        ({"achternaam": ""}, {"achternaam": "V01"}),
        ({"achternaam": "x" * 201}, {"achternaam": "V10"}),
        ({"achternaam": "a\u202eb"}, {"achternaam": "V10"}),
        ({"geboortedatum": ""}, {"postcode": "V01", "huisnummer": "V01"}),
        ({"geboortedatum": "31-02-1980"}, {"geboortedatum": "V05"}),
        ({"geboortedatum": "2026-11-23"}, {"geboortedatum": "V11"}),
        ({"postcode": "7938PL"}, {"huisnummer": "V01"}),
        ({"postcode": "7938", "huisnummer": "0"}, {"postcode": "V02", "huisnummer": "V03"}),
        ({"postcode": "7938PL", "huisnummer": "12a", "huisletter": "B"}, {"huisnummer": "V03"}),
        ({"mutatie": "W"}, {"mutatie": "V15"}),
    ],
)
def test_what_is_wrong_with_a_row(values, expected):
    """One code for each column."""
    assert codes(**values) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("avg_verzoek;achternaam\nINZAGE;Bakker\n", "F02"),
        ("avg_verzoek;verzoek_id;bsn\nINZAGE;1;2\n", "F03"),
        ("avg_verzoek;verzoek_id;achternaam\n", "F04"),
        ("avg_verzoek;verzoek_id;achternaam\n" + "INZAGE;1;Bakker\n" * (MOST_REQUESTS + 1), "F05"),
    ],
)
def test_a_file_that_is_refused(text, code):
    """Whole, before anything of it counts."""
    with pytest.raises(DeliveryError) as refused:
        open_file(text)
    assert refused.value.code == code


def test_the_first_column_decides():
    """A file of requests with a column `status` of its own is one of requests; the column is named."""
    file = open_file(
        "status;avg_verzoek;verzoek_id;achternaam;geboortedatum\nOpgepakt;INZAGE;1;B;1980-05-01\n"
    )
    assert [warning.column for warning in file.warnings] == ["status"]
