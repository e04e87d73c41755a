"""What goes out at set times: stand, termijnen, aanleveroverzicht; every cell of a line."""

from dataclasses import replace
from datetime import date

import pytest

from gateway.domain.codes import StatusCode
from gateway.domain.feedback import Answer, FeedbackCode, News, Outcome, Told
from gateway.domain.melding import Deadline, Klasse
from gateway.files.deadlines import DeadlineRow, render_deadlines
from gateway.files.delivery_report import DeliveryLine, render_delivery_report
from gateway.files.names import deadlines_name, delivery_report_name, statement_name
from gateway.files.statement import StatementRow, render_statement

DAY = date(2026, 11, 22)


def text(chunks):
    """A whole file; it has a BOM, and CRLF at the end of each line."""
    found = b"".join(chunks).decode()
    assert found.startswith("\ufeff")
    lines = found[1:].split("\r\n")
    assert lines.pop() == ""
    return lines


def test_stand():
    """With and without a code, with and without a terugkoppeling."""
    helped = Told(code=FeedbackCode.HELP_ACCEPTED, text="hulp geaccepteerd", suspend_until=date(2026, 12, 20))
    row = StatementRow(
        signal_id="=1+1",
        customer_number="k;1",
        code=StatusCode.PASSED_ON_AGAIN,
        municipality="GM1731",
        on=DAY,
        feedback=News(helped, date(2026, 11, 23)),
    )
    waiting = replace(row, signal_id="s2", customer_number="k2", code=None, on=None, feedback=None)
    assert text(render_statement([row, waiting])) == [
        "signaal_id;klantnummer;code;omschrijving;gemeentecode;datum;"
        "terugkoppeling;terugkoppeling_omschrijving;terugkoppeling_datum;opschorten;opschorten_tot",
        '\'=1+1;"k;1";D11;doorgezet aan de gemeente; door u eerder gemeld;GM1731;2026-11-22;'
        "HULP_GEACCEPTEERD;hulp geaccepteerd;2026-11-23;J;2026-12-20".replace(
            "doorgezet aan de gemeente; door u eerder gemeld",
            '"doorgezet aan de gemeente; door u eerder gemeld"',
        ),
        's2;k2;;"aangenomen; nog niet doorgezet";GM1731;;;;;;',
    ]


def test_termijnen():
    """Days left and days over are never below zero: as text they would not sort."""
    row = DeadlineRow(
        municipality="GM1731",
        melding_id="M1731202611-ABCD1234",
        number="S0123456789AB",
        klasse=Klasse.MATCH,
        sector="Huur",
        answer=Answer(outcome=Outcome.TAKEN_UP, on=DAY),
        by={
            Deadline.RESPOND: date(2026, 11, 17),
            Deadline.OFFER: date(2026, 11, 30),
            Deadline.FINISH: date(2026, 12, 1),
        },
        first=Deadline.OFFER,
        days_left=0,
    )
    over = replace(row, answer=None, first=Deadline.RESPOND, days_left=-13)
    start = "GM1731;M1731202611-ABCD1234;S0123456789AB;MATCH;Huur;"
    assert text(render_deadlines([row, over])) == [
        "gemeentecode;melding_id;signaalnummer;klasse;sector;status;datum;terugkoppelen_voor;uiterlijk_aanbod;"
        "afronden_voor;eerstvolgende_termijn;eerstvolgende_datum;dagen_over;dagen_te_laat",
        f"{start}Opgepakt;2026-11-22;2026-11-17;2026-11-30;2026-12-01;uiterlijk_aanbod;2026-11-30;0;",
        f"{start};;2026-11-17;2026-11-30;2026-12-01;terugkoppelen_voor;2026-11-17;;13",
    ]


def test_aanleveroverzicht():
    """A file, one whose rejected rows are not known to be this municipality's, and none."""
    line = DeliveryLine(
        municipality="GM1731",
        month="2026-11",
        partner_id="woonservice",
        partner_name="@Woonservice",
        received_on=DAY,
        accepted=12,
        rejected=0,
        expected_by=date(2026, 11, 10),
    )
    unknown = replace(line, rejected=None, expected_by=None)
    none = replace(line, received_on=None, accepted=0, rejected=None)
    start = "GM1731;2026-11;woonservice;'@Woonservice;"
    assert text(render_delivery_report([line, unknown, none])) == [
        "gemeentecode;maand;partner;partnernaam;ontvangen_op;aangenomen;afgekeurd;verwacht_voor",
        f"{start}2026-11-22;12;0;2026-11-10",
        f"{start}2026-11-22;12;;",
        f"{start};0;;2026-11-10",
    ]


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("stand_2026-12.csv", statement_name("2026-12")),
        ("termijnen_GM1731_2026-11-23.csv", deadlines_name("GM1731", date(2026, 11, 23))),
        ("aanleveroverzicht_GM1731_2026-11.csv", delivery_report_name("GM1731", "2026-11")),
    ],
)
def test_names(name, made):
    """As in the specification, document 2."""
    assert made == name
