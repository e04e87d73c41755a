"""What one row of a signal file becomes: every V code, W01, and what a good row means."""

from datetime import date, timedelta

import pytest

from gateway.domain.signal import Mutation, RowError, Signal, SignalType, Withdrawal
from gateway.errors import DeliveryError
from gateway.files import signalrow

RECEIVED_ON = date(2026, 11, 22)


def test_a_row_with_only_what_is_needed_is_a_signal(read_signal):
    """Nine columns suffice; all else has its default."""
    signal = read_signal()
    assert signal == Signal(
        line=2,
        mutation=Mutation.NEW,
        signal_id="HV-1",
        sector="Huur",
        product="",
        customer_number="K1",
        surname="Jansen",
        postcode="1234AB",
        house_number=12,
        house_letter="",
        house_number_suffix="",
        amount_cents=85_000,
        arrears_since=date(2026, 8, 1),
        days_in_arrears=None,
        signal_type=SignalType.EARLY_SIGNAL,
        is_crisis=False,
        signalled_on=None,
        initials="",
        infix="",
        born_on=None,
        street="",
        city="",
        phone="",
        email="",
        warm_handover=False,
        municipality="",
        supply_ends_on=None,
        content=signal.content,
    )


def test_a_full_row_fills_every_field(read_signal):
    """Each optional column ends in its own field."""
    signal = read_signal(
        {
            "mutatie": "w",
            "sector": "Energie",
            "product": "Gas",
            "signaaltype": "EINDELEVERING",
            "datum_einde_levering": "2026-12-20",
            "crisissignaal": "N",
            "signaaldatum": "20-11-2026",
            "dagen_achterstand": "113",
            "voorletters": "J.P.",
            "voorvoegsel": "van der",
            "geboortedatum": "29/02/1980",
            "straatnaam": "Kerkstraat",
            "huisletter": "b",
            "huisnummertoevoeging": "2hoog"[:4],
            "woonplaats": "Zwolle",
            "telefoonnummer": "+31 6 1234 5678",
            "emailadres": "j.jansen@example.nl",
            "warme_overdracht": "ja",
            "gemeentecode": "0193",
        }
    )
    assert signal.mutation is Mutation.CHANGE
    assert (signal.sector, signal.product) == ("Energie", "Gas")
    assert signal.signal_type is SignalType.END_OF_SUPPLY
    assert signal.is_crisis, "EINDELEVERING implies a crisis"
    assert signal.supply_ends_on == date(2026, 12, 20)
    assert signal.signalled_on == date(2026, 11, 20)
    assert signal.days_in_arrears == 113
    assert (signal.initials, signal.infix, signal.born_on) == ("J.P.", "van der", date(1980, 2, 29))
    assert (signal.house_letter, signal.house_number_suffix) == ("B", "2hoo")
    assert (signal.street, signal.city) == ("Kerkstraat", "Zwolle")
    assert (signal.phone, signal.email) == ("0612345678", "j.jansen@example.nl")
    assert signal.warm_handover
    assert signal.municipality == "GM0193"


@pytest.mark.parametrize(
    "column",
    [
        "signaal_id",
        "sector",
        "klantnummer",
        "achternaam",
        "postcode",
        "huisnummer",
        "bedrag",
        "sociaal_incasso",
        "ontstaansdatum",
    ],
)
def test_a_needed_column_that_is_empty_is_v01(faults_of, column):
    """White space is no value."""
    assert faults_of({column: " \t "}) == {column: "V01"}


def test_days_in_arrears_stand_in_for_the_date(read_signal, faults_of):
    """One of the two is needed, and the receipt names the one that the file has."""
    assert read_signal({"ontstaansdatum": None, "dagen_achterstand": "45"}).days_in_arrears == 45
    assert faults_of({"ontstaansdatum": None, "dagen_achterstand": ""}) == {"dagen_achterstand": "V01"}


def test_all_that_is_wrong_with_a_row_is_told_at_once(faults_of):
    """An engineer mends every column in one go."""
    assert faults_of({"postcode": "0123AB", "bedrag": "1.234", "huisnummer": "", "sector": "Gas"}) == {
        "sector": "V06",
        "postcode": "V02",
        "huisnummer": "V01",
        "bedrag": "V04",
    }


@pytest.mark.parametrize(
    "text", ["0123AB", "1234SA", "1234sd", "1234 SS", "1234  AB", "1234", "AB1234", "12345A", "\uff11234AB"]
)
def test_v02(faults_of, text):
    """Four digits, not beginning with 0, and two letters that are in use."""
    assert faults_of({"postcode": text}) == {"postcode": "V02"}


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "100000",
        "1234567890",
        "-1",
        "a",
        "12.5",
        "12-mrt-2026",
        "2026-03-12 00:00:00",
        "12abcde",
        "12-",
        "¼",
    ],
)
def test_v03(faults_of, text):
    """1-99999, with at most a letter and an addition behind it."""
    assert faults_of({"huisnummer": text}) == {"huisnummer": "V03"}


@pytest.mark.parametrize(
    ("text", "house"),
    [
        ("12", (12, "", "")),
        ("99999", (99999, "", "")),
        ("12a", (12, "A", "")),
        ("12 a", (12, "A", "")),
        ("12-3", (12, "", "3")),
        ("12a-3", (12, "A", "3")),
        ("12bis", (12, "", "bis")),
        ("12 hs", (12, "", "hs")),
    ],
)
def test_a_house_number_is_split(read_signal, text, house):
    """Into number, letter and addition, where those columns are empty."""
    signal = read_signal({"huisnummer": text})
    assert (signal.house_number, signal.house_letter, signal.house_number_suffix) == house


def test_a_letter_in_two_places_is_v03(faults_of):
    """Nobody can tell which of the two counts."""
    assert faults_of({"huisnummer": "12a", "huisletter": "B"}) == {"huisnummer": "V03"}
    assert faults_of({"huisnummer": "12", "huisletter": "1"}) == {"huisletter": "V03"}


@pytest.mark.parametrize(
    "text",
    [
        "1.234",
        "1,234",
        "0",
        "0,00",
        "-5",
        "+5",
        "1e3",
        "10000000",
        "12,345",
        "1.23,45",
        "EUR 5",
        "1_000",
        "٣",
        "€",
    ],
)
def test_v04(faults_of, text):
    """Nothing ambiguous, nothing below a cent, nothing above 9,999,999.99."""
    assert faults_of({"bedrag": text}) == {"bedrag": "V04"}


@pytest.mark.parametrize(
    "column", ["ontstaansdatum", "signaaldatum", "geboortedatum", "datum_einde_levering"]
)
@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29",
        "31-04-2026",
        "1-2-2026",
        "2026/11/22",
        "22112026",
        "2026-W47-7",
        "0001-01-01",
        "gisteren",
    ],
)
def test_v05(faults_of, column, text):
    """Only four ways to write a day, and only days that exist."""
    assert faults_of({column: text}) == {column: "V05"}


def test_v06_and_v07(faults_of):
    """A sector that nobody has, and one that this creditor has not."""
    assert faults_of({"sector": "Hypotheek"}) == {"sector": "V06"}
    assert faults_of({"sector": "Zorg"}) == {"sector": "V07"}


@pytest.mark.parametrize("text", ["N", "nee", "0", "misschien"])
def test_v08(faults_of, text):
    """Without social collection first there is no ground to pass anything on."""
    assert faults_of({"sociaal_incasso": text}) == {"sociaal_incasso": "V08"}


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("signaal_id", "x" * 65),
        ("signaal_id", "HV 1"),
        ("signaal_id", "HV/1"),
        ("product", "x" * 21),
        ("klantnummer", "x" * 36),
        ("achternaam", "x" * 201),
        ("huisnummertoevoeging", "12345"),
        ("achternaam", "Jan\x00sen"),
        ("achternaam", "Jan\x1bsen"),
        ("achternaam", "Jan\u202esen"),
        ("achternaam", "Jan\u200bsen"),
        ("achternaam", "M\ufffdller"),
        ("straatnaam", "x" * 1001),
    ],
)
def test_v10(faults_of, column, text):
    """Too long, or with characters that hide something."""
    assert faults_of({column: text}) == {column: "V10"}


def test_lengths_are_inclusive(read_signal):
    """The longest values that fit, fit."""
    read_signal(
        {"signaal_id": "x" * 64, "product": "p" * 20, "klantnummer": "k" * 35, "achternaam": "é" * 200}
    )


def test_v11(faults_of, read_signal):
    """A signal is dated on its receipt or at most 62 days before; arrears begin not after it."""
    oldest = RECEIVED_ON - timedelta(days=62)
    assert read_signal({"signaaldatum": oldest.isoformat()}).signalled_on == oldest
    assert read_signal({"signaaldatum": RECEIVED_ON.isoformat()}).signalled_on == RECEIVED_ON
    assert faults_of({"signaaldatum": (oldest - timedelta(days=1)).isoformat()}) == {"signaaldatum": "V11"}
    assert faults_of({"signaaldatum": (RECEIVED_ON + timedelta(days=1)).isoformat()}) == {
        "signaaldatum": "V11"
    }
    assert faults_of({"ontstaansdatum": "2026-11-02", "signaaldatum": "2026-11-01"}) == {
        "ontstaansdatum": "V11"
    }
    assert faults_of({"ontstaansdatum": "2026-11-23"}) == {"ontstaansdatum": "V11"}
    assert faults_of({"geboortedatum": "2026-11-23"}) == {"geboortedatum": "V11"}
    assert faults_of({"geboortedatum": "1905-11-23"}) == {"geboortedatum": "V11"}


def test_v12_and_v15_of_an_end_of_supply(faults_of):
    """It needs its day, and is of energy and water only."""
    energy = {"sector": "Energie", "signaaltype": "EINDELEVERING"}
    assert faults_of(energy) == {"datum_einde_levering": "V12"}
    assert faults_of({**energy, "sector": "Huur", "datum_einde_levering": "2026-12-20"}) == {
        "signaaltype": "V15"
    }


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("mutatie", "X"),
        ("signaaltype", "LAATSIGNAAL"),
        ("crisissignaal", "misschien"),
        ("warme_overdracht", "2"),
        ("telefoonnummer", "12345"),
        ("telefoonnummer", "061234567"),
        ("emailadres", "jansen"),
        ("emailadres", "jan@sen"),
        ("emailadres", "a" * 250 + "@b.nl"),
        ("gemeentecode", "GM12"),
        ("dagen_achterstand", "-3"),
        ("dagen_achterstand", "30,5"),
    ],
)
def test_v15(faults_of, column, text):
    """A value that is none of those allowed."""
    assert faults_of({column: text}) == {column: "V15"}


def test_w01_warns_of_a_customer_number_that_may_be_a_bsn(read_file, as_csv, good):
    """The row counts; the warning names the column, not the number."""
    rows, warnings = read_file(
        as_csv({**good, "klantnummer": "111222333"}, {**good, "klantnummer": "111222334"})
    )
    assert all(isinstance(row, Signal) for row in rows)
    assert [(w.line, w.signal_id, w.column, w.code, w.detail) for w in warnings] == [
        (2, "HV-1", "klantnummer", "W01", "")
    ]


def test_a_withdrawal_needs_only_its_id(read_row, read_file):
    """Whatever else stands in the row is not read; a file of withdrawals needs no other columns."""
    assert read_row({"mutatie": "I", "bedrag": "x", "sector": ""}) == Withdrawal(line=2, signal_id="HV-1")
    assert read_row({"mutatie": "i", "signaal_id": ""}) == (
        RowError(line=2, signal_id="", column="signaal_id", code="V01"),
    )
    assert read_row({"mutatie": "I", "signaal_id": "?"}) == (
        RowError(line=2, signal_id="", column="signaal_id", code="V10"),
    )
    assert read_file("signaal_id;mutatie\nA;I\nB;I\n")[0] == [
        Withdrawal(line=2, signal_id="A"),
        Withdrawal(line=3, signal_id="B"),
    ]


def test_a_file_of_withdrawals_with_a_new_signal_lacks_columns(read_file):
    """Then the needed columns are missing after all."""
    with pytest.raises(DeliveryError) as refused:
        read_file("signaal_id;mutatie\nA;I\nB;N\n")
    assert refused.value.code == "F02"


def test_automatic_ids(read_signal, faults_of):
    """The row has no id; a withdrawal is then known by all else."""
    auto = {"defaults": {"signaal_id": "auto"}}
    assert read_signal({"signaal_id": None}, **auto).signal_id is None
    withdrawal = read_signal({"signaal_id": None, "mutatie": "I"}, **auto)
    assert withdrawal.mutation is Mutation.WITHDRAW
    assert faults_of({"signaal_id": None, "mutatie": "I", "klantnummer": ""}, **auto) == {
        "klantnummer": "V01"
    }
    assert read_signal({}, **auto).signal_id == "HV-1", "a column that the file has needs no default"


def test_defaults_stand_for_columns_that_the_file_lacks(read_signal, faults_of):
    """And for nothing else: an empty cell stays empty."""
    defaults = {"defaults": {"sector": "Huur", "sociaal_incasso": "J", "product": "Sociaal"}}
    signal = read_signal({"sector": None, "sociaal_incasso": None}, **defaults)
    assert (signal.sector, signal.product) == ("Huur", "Sociaal")
    assert faults_of({"sector": ""}, **defaults) == {"sector": "V01"}
    assert faults_of({"sector": None}, defaults={"sector": "Zorg"}) == {"sector": "V07"}


def test_content_is_the_row_as_sent(read_signal):
    """Defaults, order, other columns and `mutatie` make no difference; how a value is written does."""
    plain = read_signal()
    moved = read_signal(
        {"signaal_id": None, "opmerking": "x", "mutatie": "W", "product": "", "signaaldatum": " "}
        | {"signaal_id": "HV-1"}
    )
    assert moved.content == plain.content
    assert read_signal({"bedrag": "850"}).content != plain.content
    assert read_signal({"signaaldatum": "2026-11-22"}).content != plain.content
    bare = read_signal({"sector": None}, defaults={"sector": "Huur"})
    assert bare.content != plain.content


def test_a_good_row_survives_bad_ones(read_file, as_csv, good):
    """A bad row never stops the good ones, and line numbers are those of an editor."""
    rows, _ = read_file(as_csv(good, {**good, "bedrag": "x"}, {**good, "signaal_id": "HV-3"}))
    assert isinstance(rows[0], Signal)
    assert rows[1] == (RowError(line=3, signal_id="HV-1", column="bedrag", code="V04"),)
    assert isinstance(rows[2], Signal)
    assert rows[2].line == 4


def test_no_error_bears_a_value(read_file, as_csv, good):
    """Whatever stood in a cell is not in what is said of it."""
    secret = {name: f"GEHEIM{number}" for number, name in enumerate(good)} | {"signaal_id": "GEHEIM?"}
    rows, warnings = read_file(as_csv(secret))
    assert isinstance(rows[0], tuple)
    assert "GEHEIM" not in repr(rows) + repr(warnings)


def test_names_are_composed_and_plainly_spaced(read_signal):
    """NFC, and a no-break space is a space."""
    assert read_signal({"achternaam": "Mu\u0308ller"}).surname == "Müller"
    assert read_signal({"achternaam": "de\u00a0Vries"}).surname == "de Vries"


def test_what_is_remembered_of_a_column_is_bounded(read_file, as_csv, good, monkeypatch):
    """Rows read the same when a file has more values than are remembered, and one that is refused is refused again."""
    names = [*(f"Naam{number}" for number in range(8)), "", "x" * 201]
    rows = [
        {**good, "signaal_id": f"HV-{number}", "achternaam": name} for number, name in enumerate(names * 3)
    ]
    read, _ = read_file(as_csv(*rows))
    monkeypatch.setattr(signalrow, "_REMEMBERED", 2)
    assert read_file(as_csv(*rows))[0] == read
    assert [row.surname for row in read if isinstance(row, Signal)] == names[:8] * 3
    assert [row[0].code for row in read if isinstance(row, tuple)] == ["V01", "V10"] * 3
