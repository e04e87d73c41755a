"""Feedback through SFTP: a municipality answers, its creditors collect what they may know."""

from __future__ import annotations

from datetime import timedelta

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
