"""Feedback through SFTP: a municipality answers, its creditors collect what they may know."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta

from gateway.clock import AMSTERDAM

RESULTS = {
    "Inwoner heeft zelf al betaald/betalingsregeling getroffen": "AFGEROND",
    "Inwoner regelt het zelf/hoeft geen hulp vanuit vroegsignalering": "GEEN_HULP",
    "Geen reactie na eerder contact": "NIET_BEREIKT",
    "Inwoner is overleden": "NIET_OPGEPAKT",
    "Vervolghulp en/of verwijzing": "HULP_GEACCEPTEERD",
    "Vervolghulp en/of verwijzing niet financieel": "AFGEROND",
    "(Budget)advies en/of quick fix": "OPGEPAKT",
}


async def test_every_code_of_feedback(closed_town, signal):
    """Answers give every code, silence its own on day 14; what is wrong is on the municipality's receipt."""
    town = closed_town
    with (town.home / "config/municipalities/GM1731.toml").open("a") as file:
        file.write('\n[feedback]\ntell = ["GEEN_HULP", "NIET_BEREIKT"]\n')
    await town.start()
    rows = [signal(f"w{n}", huisnummer=100 + n) for n in range(len(RESULTS))]
    shared = signal("w8", huisnummer=200)
    await town.deliver("woonservice", *rows, shared, signal("w9", huisnummer=201))
    await town.deliver("vitens", signal("v1", sector="Water", huisnummer=200, achternaam="Visser"))
    await town.settle()
    lines = {line["klantnummer"]: line for line in (await town.collect("middendrenthe")).lines}

    def answer(customer, result, **values):
        row = {"signaalnummer": lines[customer]["signaalnummer"], "melding_id": "", "eindresultaat": result}
        return row | {"datum": "2026-11-03", "toestemming_terugkoppeling": "", "opschorten_tot": ""} | values

    consent = {"Vervolghulp en/of verwijzing": "J"}
    boxes = await town.send(
        "middendrenthe",
        *(
            answer(f"k-w{n}", result, toestemming_terugkoppeling=consent.get(result, "N"))
            for n, result in enumerate(RESULTS)
        ),
        answer("k-w8", "Inwoner is overleden", signaalnummer=""),
        answer("k-w8", "Bezig", datum="31-02-2026"),
        answer("k-w8", "Inwoner is overleden", datum="2026-11-04"),
        answer("k-w8", "Inwoner is overleden", signaalnummer="S0000000000ZZ"),
        answer(
            "k-w8",
            "Vervolghulp en/of verwijzing",
            signaalnummer="",
            melding_id=lines["k-w8"]["melding_id"],
        ),
        name="terugkoppeling.csv",
    )
    assert boxes.receipt["sommen"] == {"regels": 12, "terugkoppelingen": 7, "afgekeurd": 5}
    assert [(each["regel"], each["kolom"], each["code"]) for each in boxes.receipt["afgekeurd"]] == [
        (9, "signaalnummer", "V01"),
        (10, "eindresultaat", "V15"),
        (10, "datum", "V05"),
        (11, "datum", "V11"),
        (12, "signaalnummer", "V16"),
        (13, "melding_id", "V18"),
    ]
    (told,) = (await town.collect("woonservice")).feedback
    assert [(row["signaal_id"], row["code"]) for row in told] == [
        (f"w{n}", code) for n, code in enumerate(RESULTS.values())
    ]
    assert {row["signaal_id"]: row["opschorten_tot"] for row in told if row["opschorten"] == "J"} == {
        "w4": "2026-12-01"
    }
    assert (await town.collect("vitens")).feedback == []
    town.clock.step(timedelta(days=14))
    await town.daemon.schedule.run_due()
    silent = (await town.collect("woonservice")).feedback[-1]
    assert [(row["signaal_id"], row["code"]) for row in silent] == [
        ("w8", "NOG_GEEN_TERUGKOPPELING"),
        ("w9", "NOG_GEEN_TERUGKOPPELING"),
    ]


def table(files, path):
    """The lines of a collected file, without the BOM that it must have."""
    text = files[path].decode("utf-8")
    assert text.startswith("\ufeff")
    return list(csv.DictReader(text[1:].splitlines(), delimiter=";"))


async def test_files_of_set_times(town, signal):
    """The schedule makes stand, termijnen and aanleveroverzicht, what was missed once; each partner collects its own."""
    await town.deliver("woonservice", signal("w1"), signal("w2", huisnummer=26), signal("w3", sector="?"))
    await town.settle()
    lines = {line["klantnummer"]: line for line in (await town.collect("middendrenthe")).lines}
    answer = {"signaalnummer": lines["k-w1"]["signaalnummer"], "status": "Opgepakt", "datum": "2026-11-03"}
    await town.send("middendrenthe", answer, name="terugkoppeling.csv")
    town.clock.set(datetime(2026, 12, 1, 6, 30, tzinfo=AMSTERDAM))
    await town.daemon.schedule.run_due()
    town.clock.set(datetime(2026, 12, 1, 7, 0, tzinfo=AMSTERDAM))
    for _ in range(2):
        await town.daemon.schedule.run_due()
    creditor, municipality = (
        (await town.collect("woonservice")).files,
        (await town.collect("middendrenthe")).files,
    )
    assert [
        (row["signaal_id"], row["code"], row["terugkoppeling"], row["terugkoppeling_datum"])
        for row in table(creditor, "returns/stand_2026-12.csv")
    ] == [("w1", "D10", "OPGEPAKT", "2026-11-03"), ("w2", "D10", "NOG_GEEN_TERUGKOPPELING", "2026-12-01")]
    due = [path for path in municipality if path.startswith("outbox/termijnen") and path.endswith(".csv")]
    assert due == ["outbox/termijnen_GM1731_2026-12-01.csv"]
    assert [
        (row["signaalnummer"], row["eerstvolgende_termijn"], row["dagen_over"], row["dagen_te_laat"])
        for row in table(municipality, due[0])
    ] == [
        (lines["k-w2"]["signaalnummer"], "terugkoppelen_voor", "", "14"),
        (lines["k-w1"]["signaalnummer"], "uiterlijk_aanbod", "0", ""),
    ]
    (report,) = table(municipality, "outbox/aanleveroverzicht_GM1731_2026-11.csv")
    assert (report["partner"], report["ontvangen_op"], report["aangenomen"], report["afgekeurd"]) == (
        "woonservice",
        "2026-11-03",
        "2",
        "1",
    )
    for path in (*due, "outbox/aanleveroverzicht_GM1731_2026-11.csv"):
        assert f"{path}.manifest.json" in municipality
    assert not any("stand" in path or "woonservice" in path for path in municipality)
