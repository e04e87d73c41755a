"""Every code that a partner can read, provoked by what partners upload, and read where they read it (spec 2).

One gateway, one story: each file is sent over SFTP, in the order below, and each test looks at what came of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import structlog

from gateway.domain.codes import FILE_ERRORS, ROW_ERRORS, WARNINGS, StatusCode
from gateway.domain.feedback import SILENT_DAYS, FeedbackCode, Outcome
from gateway.pipeline.ledger import check

CREDITOR, ENERGY, WATER, MUNICIPALITY = "woonservice", "stroomhuis", "vitens", "middendrenthe"
PARTNERS = (CREDITOR, ENERGY, WATER, MUNICIPALITY)

#: Needs a virus scanner: `test_scanner.py` provokes it.
ELSEWHERE = {"F10"}

#: In no reference table of a test's home: in two municipalities, and in one that nobody serves.
TWO_MUNICIPALITIES, NOT_SERVED = "1096AB", "1011AB"
#: In the municipality, and on its exclusion list.
EXCLUDED = "99"


# -- what is sent ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """A row among good ones: who sends it, and where the receipt must point."""

    by: str
    column: str
    values: Mapping[str, str]
    line: int = 3


#: Code -> what is wrong with the row of line 3; `signaal_id` is the code unless told otherwise.
BAD_ROWS: Mapping[str, Bad] = {
    "V01": Bad(CREDITOR, "klantnummer", {"klantnummer": ""}),
    "V02": Bad(CREDITOR, "postcode", {"postcode": "0123AB"}),
    "V03": Bad(CREDITOR, "huisnummer", {"huisnummer": "nul"}),
    "V04": Bad(CREDITOR, "bedrag", {"bedrag": "1.234"}),
    "V05": Bad(CREDITOR, "geboortedatum", {"geboortedatum": "31-02-1980"}),
    "V06": Bad(CREDITOR, "sector", {"sector": "Kabel"}),
    "V07": Bad(CREDITOR, "sector", {"sector": "Zorg"}),
    "V08": Bad(CREDITOR, "sociaal_incasso", {"sociaal_incasso": "N"}),
    "V09": Bad(CREDITOR, "signaal_id", {"signaal_id": "known", "bedrag": "601,00"}),
    "V10": Bad(CREDITOR, "achternaam", {"achternaam": "x" * 1_001}),
    "V11": Bad(CREDITOR, "signaaldatum", {"signaaldatum": "2026-08-01"}),
    "V12": Bad(ENERGY, "datum_einde_levering", {"signaaltype": "EINDELEVERING"}),
    "V13": Bad(CREDITOR, "signaal_id", {"signaal_id": "V13.good"}),
    "V14": Bad(CREDITOR, "signaal_id", {"mutatie": "I"}),
    "V15": Bad(CREDITOR, "emailadres", {"emailadres": "geen adres"}),
}
#: Code -> upload, line and column.
MUNICIPAL: Mapping[str, tuple[str, int, str]] = {
    "V16": ("answers", 5, "signaalnummer"),
    "V17": ("exclusions", 3, "uitsluiten_tot"),
    "V18": ("answers", 6, "melding_id"),
}
#: Code -> column and values of a row that is accepted with a remark; W04 is of the whole file.
REMARKS: Mapping[str, Bad] = {
    "W01": Bad(CREDITOR, "klantnummer", {"klantnummer": "123456782"}),
    "W02": Bad(CREDITOR, "dagen_achterstand", {"dagen_achterstand": "10"}),
    "W03": Bad(CREDITOR, "gemeentecode", {"gemeentecode": "GM0303"}),
    "W04": Bad(CREDITOR, "opmerking", {"opmerking": "belde terug"}, line=0),
}
#: Answer -> what its creditor reads. Of the literal ones the sentence is part of the code.
ANSWERS: Mapping[Outcome, tuple[str, str]] = {
    Outcome.TAKEN_UP: ("OPGEPAKT", "opgepakt"),
    Outcome.HELP_ACCEPTED: ("HULP_GEACCEPTEERD", "hulp geaccepteerd"),
    Outcome.ADVICE: ("HULP_GEACCEPTEERD", "hulp geaccepteerd"),
    Outcome.NO_CONTACT: ("NIET_BEREIKT", "inwoner niet bereikt"),
    Outcome.NO_REACTION: ("NIET_BEREIKT", "inwoner niet bereikt"),
    Outcome.KNOWN: ("AFGEROND", "afgehandeld, uitkomst wordt niet gedeeld"),
    Outcome.OTHER_TRACK: ("AFGEROND", "afgehandeld, uitkomst wordt niet gedeeld"),
    Outcome.PAID: ("AFGEROND", "afgehandeld, uitkomst wordt niet gedeeld"),
    Outcome.DECEASED: ("NIET_OPGEPAKT", "inwoner is overleden"),
    Outcome.NO_HELP_WANTED: ("GEEN_HULP", "inwoner regelt het zelf of hoeft geen hulp"),
    Outcome.OTHER_REASON: ("NIET_OPGEPAKT", "niet opgepakt: andere reden"),
    Outcome.REPEATED: ("NIET_OPGEPAKT", "niet opgepakt: herhaalde melding"),
    Outcome.UNJUSTIFIED: ("NIET_OPGEPAKT", "niet opgepakt: onterecht signaal"),
    Outcome.NO_RESIDENT: ("NIET_OPGEPAKT", "persoon is geen inwoner (meer) in de gemeente"),
    # the resident did not agree that it is told
    Outcome.FOLLOW_UP: ("OPGEPAKT", "opgepakt"),
    Outcome.FOLLOW_UP_FINANCIAL: ("OPGEPAKT", "opgepakt"),
    Outcome.FOLLOW_UP_OTHER: ("AFGEROND", "afgehandeld, uitkomst wordt niet gedeeld"),
    Outcome.REFERRED: ("AFGEROND", "afgehandeld, uitkomst wordt niet gedeeld"),
}
CONSENT = {Outcome.HELP_ACCEPTED, Outcome.ADVICE}
#: Outcomes that are a `status`, not an `eindresultaat`.
STATUSES = {Outcome.NOT_YET, Outcome.TAKEN_UP, Outcome.HELP_ACCEPTED}
#: Signal -> its statuses, file by file; the files are those of `tell_statuses`.
TOLD: Mapping[str, tuple[str, ...]] = {
    "again": ("D10", "D50"),
    "first": ("D10",),
    "repeated": ("D11",),
    "excluded": ("D30",),
    "nowhere": ("D40",),
    "elsewhere": ("D41",),
    "older": ("D51",),
    "newer": ("D10",),
    "withdrawn": ("D52",),
}


@dataclass
class Story:
    """What came back."""

    #: name of an upload -> its receipt
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: `signaal_id` -> its codes of signaalstatus, in order
    statuses: dict[str, list[str]] = field(default_factory=dict)
    #: `signaal_id` -> its lines of terugkoppeling, in order
    feedback: dict[str, list[dict[str, str]]] = field(default_factory=dict)


def refused_files(signal: Any, csv_file: Any, workbook: Any, repack: Any) -> dict[str, bytes]:
    """Code -> a file that is refused for it; the limit on rows is 30 here."""
    rows = [signal(f"refused{number}") for number in range(31)]
    whole = csv_file(*rows[:2])
    without = {name: value for name, value in rows[0].items() if name != "bedrag"}
    book = workbook([list(rows[0]), list(rows[0].values())])
    return {
        "F01": b"\x07" + random.Random(1).randbytes(20_000),
        "F02": csv_file(without),
        "F03": csv_file(signal("refused", BSN="123456782")),
        "F04": b"",
        "F05": csv_file(*rows),
        "F06": repack(book, {"xl/media/a.xml": bytes(4 * 1024**2)}),
        "F07": repack(book, {"xl/vbaProject.bin": b"x"}),
        "F08": csv_file(signal("known", huisnummer=1)),
        "F09": whole[:-40],
        "F11": b"%PDF-1.7\n" + random.Random(2).randbytes(5_000),
    }


def answer(line: Mapping[str, str], outcome: Outcome, **values: str) -> dict[str, str]:
    """A row of a feedback file on a published line."""
    column = "status" if outcome in STATUSES else "eindresultaat"
    return {
        "signaalnummer": line["signaalnummer"],
        "melding_id": "",
        "status": "",
        "eindresultaat": "",
        "datum": "2026-11-03",
        "toestemming_terugkoppeling": "J" if outcome in CONSENT else "N",
        **{column: outcome.value},
        **values,
    }


# -- the story -------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(town: Any) -> AsyncIterator[Callable[[str, str, bytes], Awaitable[None]]]:
    """A session for each partner; gives what uploads a file in it, a second after the one before."""
    async with AsyncExitStack() as stack:
        sessions = {}
        for partner in PARTNERS:
            connection = await stack.enter_async_context(
                asyncssh.connect(
                    "127.0.0.1",
                    town.port,
                    username=partner,
                    client_keys=[str(town.keys[partner])],
                    known_hosts=str(town.path / "known_hosts"),
                    config=None,
                )
            )
            sessions[partner] = await stack.enter_async_context(connection.start_sftp_client())

        async def put(partner: str, name: str, content: bytes) -> None:
            town.clock.step(timedelta(seconds=1))
            async with sessions[partner].open(f"inbox/{name}", "wb") as file:
                await file.write(content)

        yield put


async def tell(town: Any, signal: Any, csv_file: Any, refused: Mapping[str, bytes]) -> Story:
    """Everything that is sent, in order."""
    async with opened(town) as put:
        await put(CREDITOR, "known", refused["F08"])
        for code, bad in {**BAD_ROWS, **REMARKS}.items():
            sector = "Energie" if bad.by == ENERGY else "Huur"
            rows = (signal(f"{code}.good", sector=sector), signal(code, **{"sector": sector, **bad.values}))
            await put(bad.by, code, csv_file(*rows))
        for code, content in refused.items():
            await put(CREDITOR, code, content)
        await tell_statuses(town, put, signal, csv_file)
        await tell_answers(town, put, signal, csv_file)
    for days in (SILENT_DAYS[0], SILENT_DAYS[1] - SILENT_DAYS[0]):
        town.clock.step(timedelta(days=days))
        await town.daemon.schedule.run_due()
    return await read(town)


async def tell_statuses(town: Any, put: Any, signal: Any, csv_file: Any) -> None:
    """The signals of TOLD, after an exclusion; its second row lacks the end date."""
    there = {"postcode": "7938PL", "huisnummer": EXCLUDED, "achternaam": "", "uitsluiten_tot": "2027-01-31"}
    await put(MUNICIPALITY, "exclusions", csv_file(there, there | {"uitsluiten_tot": ""}))
    again = signal("again", huisnummer=201)
    await put(
        CREDITOR,
        "statuses",
        csv_file(
            again,
            signal("first", huisnummer=202, klantnummer="same", signaaldatum="2026-10-05"),
            signal("repeated", huisnummer=202, klantnummer="same"),
            signal("excluded", huisnummer=EXCLUDED),
            signal("nowhere", postcode=TWO_MUNICIPALITIES),
            signal("elsewhere", postcode=NOT_SERVED),
            signal("older", huisnummer=203, klantnummer="replaced"),
            signal("newer", huisnummer=203, klantnummer="replaced"),
            signal("withdrawn", huisnummer=204),
            signal("withdrawn", mutatie="I"),
        ),
    )
    await town.settle()
    await put(CREDITOR, "same", csv_file(again, signal("beside", huisnummer=205)))


async def tell_answers(town: Any, put: Any, signal: Any, csv_file: Any) -> None:
    """A signal for each answer; bad answers, among them on a melding of two persons, then a good one of each."""
    asked = [signal(f"answer.{each.name}", huisnummer=300 + number) for number, each in enumerate(Outcome)]
    await put(CREDITOR, "asked", csv_file(*asked, signal("shared", huisnummer=400)))
    of_another = signal("shared.water", sector="Water", huisnummer=400, achternaam="Visser")
    await put(WATER, "shared", csv_file(of_another))
    await town.settle()
    lines = {line["klantnummer"]: line for line in (await town.collect(MUNICIPALITY)).lines}
    shared = lines["k-shared"]
    await put(
        MUNICIPALITY,
        "answers",
        csv_file(
            answer(shared, Outcome.DECEASED, signaalnummer=""),
            answer(shared, Outcome.PAID, eindresultaat="Bezig", datum="31-02-2026"),
            answer(shared, Outcome.DECEASED, datum="2026-11-04"),
            answer(shared, Outcome.DECEASED, signaalnummer="S0000000000ZZ"),
            answer(shared, Outcome.TAKEN_UP, signaalnummer="", melding_id=shared["melding_id"]),
            *(answer(lines[f"k-answer.{each.name}"], each) for each in Outcome),
        ),
    )
    await town.settle()


async def read(town: Any) -> Story:
    """What every partner downloads in the end."""
    story = Story()
    for partner in PARTNERS:
        boxes = await town.collect(partner)
        for receipt in boxes.receipts:
            assert story.receipts.setdefault(receipt["bestand"]["naam"], receipt) is receipt
        for signal_id, code in boxes.statuses:
            story.statuses.setdefault(signal_id, []).append(code)
        for row in (row for rows in boxes.feedback for row in rows):
            story.feedback.setdefault(row["signaal_id"], []).append(row)
    return story


@pytest.fixture(scope="module")
def story(
    new_town: Any,
    signal: Any,
    csv_file: Any,
    tmp_path_factory: pytest.TempPathFactory,
    workbook: Any,
    repack: Any,
) -> Iterator[Story]:
    """The story, told once."""
    town = new_town(tmp_path_factory.mktemp("codes"))
    town.edit("gateway.toml", "# rows = 100_000", "rows = 30")
    with (town.home / "config/municipalities/GM1731.toml").open("a") as file:
        file.write('\n[feedback]\ntell = ["GEEN_HULP", "NIET_BEREIKT"]\n')

    async def run() -> Story:
        await town.start()
        try:
            told = await tell(town, signal, csv_file, refused_files(signal, csv_file, workbook, repack))
            assert check(town.context).differences == ()
            return told
        finally:
            await town.stop()

    yield asyncio.run(run())
    structlog.reset_defaults()


# -- what is read ----------------------------------------------------------------------------------


def blamed(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Where a receipt points, and with which code and sentence."""
    return [(row["regel"], row["kolom"], row["code"], row["omschrijving"]) for row in rows]


@pytest.mark.parametrize("code", BAD_ROWS)
def test_a_bad_row(code: str, story: Story) -> None:
    """The receipt points at line and column; the good row above it counts."""
    bad, receipt = BAD_ROWS[code], story.receipts[code]
    assert blamed(receipt["afgekeurd"]) == [(3, bad.column, code, ROW_ERRORS[code])]
    assert receipt["afgekeurd"][0]["signaal_id"] == bad.values.get("signaal_id", code)
    assert {name: count for name, count in receipt["sommen"].items() if count} == {
        "regels": 2,
        "signalen": 1,
        "afgekeurd": 1,
    }
    assert story.statuses[f"{code}.good"] == ["D10"]


@pytest.mark.parametrize("code", MUNICIPAL)
def test_a_bad_row_of_a_municipality(code: str, story: Story) -> None:
    """Its receipt is as a creditor's."""
    name, line, column = MUNICIPAL[code]
    assert (line, column, code, ROW_ERRORS[code]) in blamed(story.receipts[name]["afgekeurd"])


def test_all_that_is_wrong_with_answers(story: Story) -> None:
    """The municipality reads of every bad row and column; the others count."""
    receipt = story.receipts["answers"]
    assert [(row["regel"], row["kolom"], row["code"]) for row in receipt["afgekeurd"]] == [
        (2, "signaalnummer", "V01"),
        (3, "eindresultaat", "V15"),
        (3, "datum", "V05"),
        (4, "datum", "V11"),
        (5, "signaalnummer", "V16"),
        (6, "melding_id", "V18"),
    ]
    assert receipt["sommen"] == {"regels": 24, "terugkoppelingen": 19, "afgekeurd": 5}


@pytest.mark.parametrize("code", REMARKS)
def test_a_remark(code: str, story: Story) -> None:
    """The receipt remarks on line and column, or on a column of the whole file; both rows count."""
    remark, receipt = REMARKS[code], story.receipts[code]
    assert blamed(receipt["waarschuwingen"]) == [(remark.line, remark.column, code, WARNINGS[code])]
    assert (receipt["sommen"]["signalen"], receipt["afgekeurd"]) == (2, [])


@pytest.mark.parametrize("code", sorted(FILE_ERRORS.keys() - ELSEWHERE))
def test_a_refused_file(code: str, story: Story) -> None:
    """The receipt says why, and that nothing of it counts; files before and after it are processed."""
    receipt = story.receipts[code]
    assert receipt["resultaat"] == "geweigerd"
    assert (receipt["weigering"]["code"], receipt["weigering"]["omschrijving"]) == (code, FILE_ERRORS[code])
    assert set(receipt["sommen"].values()) == {0}
    assert not [each for each in story.statuses if each.startswith("refused")]
    assert story.statuses["known"] == ["D10"]
    assert story.statuses["newer"] == ["D10"]


@pytest.mark.parametrize("signal_id", TOLD)
def test_a_status(signal_id: str, story: Story) -> None:
    """The signaalstatus has the code, once."""
    assert story.statuses[signal_id] == list(TOLD[signal_id])


def test_the_same_again_is_on_the_receipt(story: Story) -> None:
    """D50 with line and signal."""
    receipt = story.receipts["same"]
    (row,) = receipt["dubbel"]
    assert (row["regel"], row["signaal_id"], row["code"]) == (2, "again", "D50")
    assert (receipt["sommen"]["signalen"], receipt["sommen"]["dubbel"]) == (1, 1)


@pytest.mark.parametrize("outcome", ANSWERS, ids=lambda outcome: outcome.name)
def test_an_answer(outcome: Outcome, story: Story) -> None:
    """Its creditor reads the code of the answer, with its sentence; help that may be told suspends collection."""
    (row,) = story.feedback[f"answer.{outcome.name}"]
    assert (row["code"], row["omschrijving"]) == ANSWERS[outcome]
    suspended = ("J", "2026-12-01") if outcome in CONSENT else ("N", "")
    assert (row["opschorten"], row["opschorten_tot"]) == suspended


@pytest.mark.parametrize("signal_id", ["newer", "shared", "shared.water", "answer.NOT_YET"])
def test_silence(signal_id: str, story: Story) -> None:
    """NOG_GEEN_TERUGKOPPELING on day 14 and on day 28; a rejected answer is none, nor is `Nog niet opgepakt`."""
    assert [(row["code"], row["datum"]) for row in story.feedback[signal_id]] == [
        ("NOG_GEEN_TERUGKOPPELING", "2026-11-17"),
        ("NOG_GEEN_TERUGKOPPELING", "2026-12-01"),
    ]


def test_every_code_has_a_test() -> None:
    """A code that is added, or that gets its cause, needs a line in the tables above."""
    assert {*BAD_ROWS, *MUNICIPAL} == set(ROW_ERRORS)
    assert set(REMARKS) == set(WARNINGS)
    assert {code for told in TOLD.values() for code in told} == {code.value for code in StatusCode}
    assert {*ANSWERS, Outcome.NOT_YET} == set(Outcome)
    assert {told[0] for told in ANSWERS.values()} | {"NOG_GEEN_TERUGKOPPELING"} == {
        code.value for code in FeedbackCode
    }
    scanned = Path(__file__).with_name("test_scanner.py").read_text("utf-8")
    assert all(f'"{code}"' in scanned for code in ELSEWHERE)
