"""Files of set times through SFTP: what the schedule makes for each partner."""

from __future__ import annotations

import csv
from datetime import datetime

from gateway.clock import AMSTERDAM


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
