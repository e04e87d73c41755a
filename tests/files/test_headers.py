"""What the header of a signal file means."""

import pytest

from gateway.domain.signal import Signal
from gateway.errors import DeliveryError
from gateway.files.columns import SIGNAL_COLUMNS
from gateway.files.table import fold


def test_names_are_compared_without_case_spaces_dashes_and_underscores(read_file, as_csv, good):
    """However a creditor writes them."""
    spelt = {name.replace("_", " - ").title(): value for name, value in good.items()}
    rows, warnings = read_file(as_csv(spelt))
    assert isinstance(rows[0], Signal)
    assert not warnings


def test_our_names_stay_apart_when_folded():
    """No two columns are the same when compared."""
    assert len({fold(name) for name in SIGNAL_COLUMNS}) == len(SIGNAL_COLUMNS)


def test_the_other_spelling_of_social_collection(read_file, as_csv, good):
    """`sociale_incasso` is `sociaal_incasso`."""
    row = {("sociale_incasso" if name == "sociaal_incasso" else name): value for name, value in good.items()}
    assert isinstance(read_file(as_csv(row))[0][0], Signal)


def test_a_partner_may_name_columns_its_own_way(read_file, as_csv, good):
    """What it maps goes before a like name of ours, which is then ignored."""
    row = {("Contract Nr." if name == "klantnummer" else name): value for name, value in good.items()}
    columns = {"contract nr.": "Klantnummer"}
    mapped = read_file(as_csv(row), columns=columns)[0][0]
    assert isinstance(mapped, Signal)
    assert mapped.customer_number == "K1"
    rows, warnings = read_file(as_csv({**row, "klantnummer": "ander"}), columns=columns)
    assert isinstance(rows[0], Signal)
    assert rows[0].customer_number == "K1"
    assert [(w.column, w.code) for w in warnings] == [("klantnummer", "W04")]


def test_a_column_mapped_to_nothing_of_ours_is_ignored(read_file, as_csv, good):
    """A slip in the mapping is told in each receipt."""
    _, warnings = read_file(as_csv({**good, "stad": "Zwolle"}), columns={"stad": "plaatsnaam"})
    assert [w.column for w in warnings] == ["stad"]


def test_two_columns_of_one_meaning_refuse_the_file(read_file, as_csv, good):
    """Nobody can tell which counts."""
    with pytest.raises(DeliveryError) as refused:
        read_file(as_csv({**good, "Post-code": "8011AB"}))
    assert (refused.value.code, refused.value.detail) == ("F01", "komt twee keer voor: postcode")


def test_w04_names_each_column_that_is_not_read(read_file, as_csv, good):
    """Unknown ones, free text, and one without a name; each on the file, in its order."""
    extra = {"Saldo": "1", "opmerkingen": "x" * 2000, "Toelichting": "\u202e", "": "", "x" * 100: ""}
    rows, warnings = read_file(as_csv({**good, **extra}))
    assert isinstance(rows[0], Signal), "what is not read is not judged"
    assert [(w.line, w.code) for w in warnings] == [(0, "W04")] * 5
    assert [w.column for w in warnings] == ["Saldo", "opmerkingen", "Toelichting", "(kolom 13)", "x" * 64]


def test_constants_excuse_needed_columns(read_file, as_csv, good):
    """F02 is about what neither the file nor the partner's settings give."""
    row = {name: value for name, value in good.items() if name not in {"sector", "ontstaansdatum"}}
    with pytest.raises(DeliveryError, match="F02 ontstaansdatum of dagen_achterstand"):
        read_file(as_csv(row), defaults={"sector": "Huur"})
    rows, _ = read_file(as_csv(row), defaults={"sector": "Huur", "dagen_achterstand": "40"})
    assert isinstance(rows[0], Signal)
    assert rows[0].days_in_arrears == 40
