"""What a row of an exclusion or known-residents file becomes, and when the file is none."""

from datetime import date

import pytest

from gateway.domain.delivery import Kind
from gateway.domain.exclusion import Listing, Reason
from gateway.domain.signal import Mutation
from gateway.errors import DeliveryError
from gateway.files.exclusionfile import read_listings
from gateway.files.municipalfile import read_municipal
from gateway.files.table import Limits

LIMITS = Limits()
RECEIVED_ON = date(2026, 8, 31)
EXCLUDED, KNOWN = "uitsluiten_tot", "bekend_tot"


def read(text):
    """Kind of a municipality's file, its warnings, and every row."""
    kind, table = read_municipal(lambda: [text.encode()], LIMITS)
    file = read_listings(table, kind, RECEIVED_ON, LIMITS)
    return kind, file.warnings, [row for batch in file.batches for row in batch]


def row(column=EXCLUDED, **values):
    """One row, from a file with just its columns."""
    values = {"postcode": "7938PL", "huisnummer": "18", column: "2026-12-31"} | values
    values = {name: value for name, value in values.items() if value is not None}
    _, _, (found,) = read(f"{';'.join(values)}\n{';'.join(values.values())}\n")
    return found


def codes(column=EXCLUDED, **values):
    """Column and code of everything that is wrong with a row."""
    found = row(column, **values)
    return {error.column: error.code for error in found} if isinstance(found, tuple) else {}


def test_a_row_with_everything():
    """Every column is read; what stands behind the number counts where its own column is empty."""
    assert row(
        postcode="7938 pl",
        huisnummer="18a",
        huisnummertoevoeging="2",
        achternaam=" de  Boer ".strip(),
        geboortedatum="01-05-1980",
        reden="geen_hulp_gewenst",
        uitsluiten_tot="31/08/2027",
    ) == Listing(
        line=2,
        mutation=Mutation.NEW,
        postcode="7938PL",
        house_number=18,
        house_letter="A",
        house_number_suffix="2",
        surname="de  Boer",
        born_on=date(1980, 5, 1),
        until=date(2027, 8, 31),
        reason=Reason.NO_HELP_WANTED,
    )


def test_the_end_date_tells_the_kind():
    """`bekend_tot` before `uitsluiten_tot`, and both before the columns of feedback; the other is ignored."""
    assert read("status;uitsluiten_tot;postcode;huisnummer\nx;2026-12-31;7938PL;18\n")[0] is Kind.EXCLUSIONS
    kind, warnings, rows = read("uitsluiten_tot;bekend_tot;postcode;huisnummer\n?;2026-12-31;7938PL;18\n")
    assert kind is Kind.KNOWN_RESIDENTS
    assert [warning.column for warning in warnings] == [EXCLUDED]
    assert rows[0].until == date(2026, 12, 31)


@pytest.mark.parametrize(
    ("column", "named", "last", "too_far"),
    [
        (EXCLUDED, True, "2027-08-31", "2027-09-01"),
        (EXCLUDED, False, "2027-02-28", "2027-03-01"),
        (KNOWN, True, "2027-02-28", "2027-03-01"),
        (KNOWN, False, "2027-02-28", "2027-03-01"),
    ],
)
def test_how_far_ahead(column, named, last, too_far):
    """Twelve calendar months with a name, six without one; six for known residents. Missing is V17 too."""
    name = {"achternaam": "Bakker"} if named else {}
    assert codes(column, **name, **{column: last}) == {}
    assert codes(column, **name, **{column: too_far}) == {column: "V17"}
    assert codes(column, **name, **{column: ""}) == {column: "V17"}
    assert codes(column, **name, **{column: "2026-08-31"}) == {}
    assert codes(column, **name, **{column: "2026-08-30"}) == {column: "V11"}
    assert codes(column, **name, **{column: "31-31-2026"}) == {column: "V05"}


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"postcode": ""}, {"postcode": "V01"}),
        ({"huisnummer": ""}, {"huisnummer": "V01"}),
        ({"postcode": "0123AB"}, {"postcode": "V02"}),
        ({"huisnummer": "0"}, {"huisnummer": "V03"}),
        ({"huisnummer": "18a", "huisletter": "B"}, {"huisnummer": "V03"}),
        ({"huisletter": "AB"}, {"huisletter": "V03"}),
        ({"huisnummertoevoeging": "12345"}, {"huisnummertoevoeging": "V10"}),
        ({"achternaam": "x" * 201}, {"achternaam": "V10"}),
        ({"achternaam": "Bak\u202eker"}, {"achternaam": "V10"}),
        ({"achternaam": "Bakker", "geboortedatum": "1980"}, {"geboortedatum": "V05"}),
        ({"achternaam": "Bakker", "geboortedatum": "2026-09-01"}, {"geboortedatum": "V11"}),
        ({"achternaam": "Bakker", "geboortedatum": "1901-01-01"}, {"geboortedatum": "V11"}),
        ({"geboortedatum": "1980-05-01"}, {"achternaam": "V01"}),
        ({"reden": "OVERIG"}, {"reden": "V15"}),
        ({"mutatie": "W"}, {"mutatie": "V15"}),
        ({"postcode": "", "reden": "x"}, {"postcode": "V01", "reden": "V15"}),
    ],
)
def test_what_is_wrong_with_a_row(values, wrong):
    """All of it at once, each by its column."""
    assert codes(**values) == wrong


def test_a_row_that_ends_an_exclusion():
    """Says whom, and nothing else; a known-residents file has none, as each replaces the last."""
    found = row(mutatie="i", uitsluiten_tot="nooit", reden="?")
    assert (found.mutation, found.until, found.reason) == (Mutation.WITHDRAW, None, None)
    assert codes(mutatie="I", postcode="") == {"postcode": "V01"}
    assert codes(KNOWN, mutatie="I") == {"mutatie": "V15"}


def test_a_line_that_is_no_row():
    """More fields than the header has: V10, of no column."""
    _, _, (found,) = read("postcode;huisnummer;uitsluiten_tot\n7938PL;18;2026-12-31;surplus\n")
    assert [(error.line, error.column, error.code) for error in found] == [(2, "", "V10")]


@pytest.mark.parametrize(
    ("header", "code", "detail"),
    [
        ("uitsluiten_tot;postcode", "F02", "huisnummer"),
        ("Bekend tot;achternaam", "F02", "postcode, huisnummer"),
        ("uitsluiten_tot;postcode;huisnummer;Post code", "F01", "komt twee keer voor: postcode"),
        ("uitsluiten_tot;postcode;huisnummer;bsn", "F03", "bsn"),
    ],
)
def test_what_is_refused_whole(header, code, detail):
    """By its header alone."""
    with pytest.raises(DeliveryError) as refused:
        read(f"{header}\n2026-12-31;7938PL;18;1\n")
    assert (refused.value.code, refused.value.detail) == (code, detail)
