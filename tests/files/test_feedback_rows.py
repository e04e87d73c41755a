"""What a row of a municipality's feedback file becomes, and when the file is none."""

from datetime import date

import pytest

from gateway.domain.delivery import Kind
from gateway.domain.feedback import Contact, Feedback, Outcome
from gateway.errors import DeliveryError
from gateway.files.feedbackfile import read_feedback
from gateway.files.municipalfile import read_municipal
from gateway.files.table import Limits

LIMITS = Limits()
RECEIVED_ON = date(2026, 11, 22)
NUMBER, MELDING = "S0123456789AB", "M1731202611-ABCD1234"


def open_file(text):
    """A municipality's file that is one of feedback."""
    kind, table = read_municipal(lambda: [text.encode()], LIMITS)
    assert kind is Kind.FEEDBACK
    return read_feedback(table, RECEIVED_ON, LIMITS)


def read(text):
    """Every row of a file."""
    file = open_file(text)
    return [row for batch in file.batches for row in batch]


def row(**values):
    """One row, from a file with just its columns."""
    values = {"signaalnummer": NUMBER, "status": "Opgepakt", "datum": "2026-11-20"} | values
    values = {name: value for name, value in values.items() if value is not None}
    (found,) = read(f"{';'.join(values)}\n{';'.join(values.values())}\n")
    return found


def codes(**values):
    """Column and code of everything that is wrong with a row."""
    return {error.column: error.code for error in row(**values)}


def test_a_row_with_everything():
    """Every column is read; wordings in any case."""
    assert row(
        eindresultaat="vervolghulp EN/OF verwijzing  financieel",
        status=None,
        contactsoort="huisbezoek",
        bereikt="ja",
        toestemming_terugkoppeling="J",
        opschorten_tot="31-12-2026",
        datum="22-11-2026",
    ) == Feedback(
        line=2,
        signal_number=NUMBER,
        melding_id="",
        outcome=Outcome.FOLLOW_UP_FINANCIAL,
        on=RECEIVED_ON,
        contact=Contact.VISIT,
        reached=True,
        consents=True,
        suspend_until=date(2026, 12, 31),
    )


def test_what_is_given_twice():
    """The end result says more than the status, the signal more than its melding; silence is no consent."""
    found = row(eindresultaat="Inwoner is overleden", melding_id=MELDING)
    assert (found.outcome, found.signal_number, found.melding_id) == (Outcome.DECEASED, NUMBER, "")
    assert (found.consents, found.reached, found.contact, found.suspend_until) == (False, None, None, None)


def test_a_row_about_a_melding():
    """`melding_id` alone will do, in lower case too."""
    found = row(signaalnummer=None, melding_id=MELDING.lower())
    assert (found.signal_number, found.melding_id) == ("", MELDING)


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"signaalnummer": ""}, {"signaalnummer": "V01"}),
        ({"signaalnummer": "", "melding_id": ""}, {"signaalnummer": "V01"}),
        ({"status": ""}, {"status": "V01"}),
        ({"status": "", "eindresultaat": ""}, {"eindresultaat": "V01"}),
        ({"datum": ""}, {"datum": "V01"}),
        ({"datum": "2026-02-30"}, {"datum": "V05"}),
        ({"opschorten_tot": "morgen"}, {"opschorten_tot": "V05"}),
        ({"datum": "2026-11-23"}, {"datum": "V11"}),
        ({"opschorten_tot": "2026-11-19"}, {"opschorten_tot": "V11"}),
        ({"status": "Bezig"}, {"status": "V15"}),
        ({"status": "Geen reactie na eerder contact"}, {"status": "V15"}),
        ({"eindresultaat": "Opgepakt"}, {"eindresultaat": "V15"}),
        ({"contactsoort": "Postduif"}, {"contactsoort": "V15"}),
        ({"bereikt": "soms"}, {"bereikt": "V15"}),
        ({"toestemming_terugkoppeling": "misschien"}, {"toestemming_terugkoppeling": "V15"}),
        ({"signaalnummer": "W1"}, {"signaalnummer": "V16"}),
        ({"signaalnummer": None, "melding_id": "M1"}, {"melding_id": "V16"}),
        (
            {"signaalnummer": None, "melding_id": MELDING, "status": "Inwoner is overleden"},
            {"melding_id": "V18"},
        ),
        (
            {
                "signaalnummer": "",
                "melding_id": MELDING,
                "eindresultaat": "Persoon is geen inwoner (meer) in de gemeente",
            },
            {"signaalnummer": "V18"},
        ),
        (
            {"signaalnummer": "", "status": "x", "datum": "x"},
            {"signaalnummer": "V01", "status": "V15", "datum": "V05"},
        ),
    ],
)
def test_what_is_wrong_with_a_row(values, wrong):
    """One code for each column that is wrong, all at once."""
    assert codes(**values) == wrong


def test_a_bad_line_costs_itself():
    """V10 for a line that is no row; the next one is read."""
    first, second = read(
        f'signaalnummer;status;datum\n{NUMBER};"x"y;2026-11-20\n{NUMBER};Opgepakt;2026-11-20\n'
    )
    assert [(error.code, error.line) for error in first] == [("V10", 2)]
    assert second.outcome is Outcome.TAKEN_UP


@pytest.mark.parametrize(
    ("header", "code", "detail"),
    [
        ("signaalnummer;datum", "F11", ""),
        ("postcode;huisnummer", "F11", ""),
        ("status;datum", "F02", "signaalnummer of melding_id"),
        ("melding_id;Eind resultaat", "F02", "datum"),
        ("signaalnummer;status;datum;BSN", "F03", "bsn"),
        ("signaalnummer;status;datum;Status", "F01", "komt twee keer voor: status"),
    ],
)
def test_what_is_refused_whole(header, code, detail):
    """By its header alone."""
    with pytest.raises(DeliveryError) as refused:
        read(f"{header}\n{NUMBER};Opgepakt;2026-11-20;1\n")
    assert (refused.value.code, refused.value.detail) == (code, detail)


def test_columns_that_are_not_read():
    """Every other column of a published line may be there: W04 names it."""
    text = f"signaalnummer;status;datum;achternaam\n{NUMBER};Opgepakt;2026-11-20;Bakker\n"
    file = open_file(text)
    assert [(remark.code, remark.column) for remark in file.warnings] == [("W04", "achternaam")]
    assert len(next(file.batches)) == 1
