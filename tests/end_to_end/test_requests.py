"""Requests about persons through SFTP: the page, the wait, and what the municipality finds afterwards."""

from __future__ import annotations

from datetime import timedelta

from gateway.store.tables import SignalRow


def request(number, ask, **values):
    """A row of a request file: by surname and date of birth."""
    row = {"avg_verzoek": ask, "verzoek_id": number, "achternaam": "Visser", "geboortedatum": "1990-02-03"}
    return row | {"mutatie": "N"} | values


async def test_a_resident_sees_what_is_held_and_has_it_destroyed(town, signal):
    """INZAGE at once, WISSEN after 24 hours by the schedule; the certificate names it, the melding lapses."""
    visser = {"achternaam": "Visser", "geboortedatum": "1990-02-03", "huisnummer": 200}
    await town.deliver("woonservice", signal("w1", **visser), signal("w2", huisnummer=201))
    await town.settle()
    lines = {line["klantnummer"]: line for line in (await town.collect("middendrenthe")).lines}
    boxes = await town.send(
        "middendrenthe",
        request("2026-1", "INZAGE"),
        request("2026-2", "WISSEN"),
        request("111222333", "INZAGE"),
        request("2026-3", "INZAGE", geboortedatum="1890-13-01"),
        request("2026-4", "", mutatie="I"),
        name="verzoeken.csv",
    )
    assert boxes.receipt["sommen"] == {"regels": 5, "verzoeken": 2, "afgekeurd": 3}
    assert [(each["kolom"], each["code"]) for each in boxes.receipt["afgekeurd"]] == [
        ("verzoek_id", "V15"),
        ("geboortedatum", "V05"),
        ("verzoek_id", "V16"),
    ]
    (page,) = boxes._named("outbox/inzage_2026-1", ".html")
    assert b"k-w1" in page
    assert b"k-w2" not in page
    town.clock.step(timedelta(hours=24))
    await town.daemon.schedule.run_due()
    assert [row["line"] for row in town.rows(SignalRow)] == [3]
    boxes = await town.collect("middendrenthe")
    assert boxes._named("outbox/inzage_", ".html") == []
    (lapsed,) = [line for line in boxes.lines if line["klasse"] == "VERVALLEN"]
    assert lapsed["melding_id"] == lines["k-w1"]["melding_id"]
    (text, *_) = boxes._named("outbox/verklaring_", ".txt")
    assert "verzoek 2026-2 (AVG, artikel 17)" in text.decode()
    assert not any(code == "D52" for _, code in (await town.collect("woonservice")).statuses)
