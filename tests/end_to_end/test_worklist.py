"""The worklist through SFTP: a municipality collects it, fills it in, and the creditors hear of it."""

from __future__ import annotations

import asyncio
import hashlib
import json

NAME = "werklijst_GM1731_2026-11.xlsx"


async def test_there_and_back(town, signal, fill_in, sheet):
    """Published, read, filled in and sent under another name; each creditor reads of its own. A formula is text."""
    await town.deliver("woonservice", signal("w1", achternaam="=1+1", huisnummer=30), signal("w2"))
    await town.deliver("dezorgkas", signal("z1", sector="Zorg", achternaam="Visser"))
    await town.settle()
    boxes = await town.collect("middendrenthe")
    data, manifest = boxes.files[f"outbox/{NAME}"], json.loads(boxes.files[f"outbox/{NAME}.manifest.json"])
    assert (manifest["name"], manifest["rows"], manifest["sha256"]) == (
        NAME,
        3,
        hashlib.sha256(data).hexdigest(),
    )
    assert [line["inwoners"] for line in sheet(data, "Meldingen")] == ["Bakker; Visser", "=1+1"]
    lines = {line["klantnummer"]: n for n, line in enumerate(sheet(data, "Signalen"), start=2)}
    helped = {"eindresultaat": "Vervolghulp en/of verwijzing", "toestemming_terugkoppeling": "J"}
    filled = fill_in(data, "Signalen", {lines["k-w2"]: {**helped, "datum": "03-11-2026"}})
    filled = fill_in(filled, "Meldingen", {3: {"status": "Opgepakt", "datum": "03-11-2026"}})
    await town.put("middendrenthe", "kopie van de werklijst (2).xlsx", filled)
    await town.settle()
    receipt = (await town.collect("middendrenthe")).receipt
    assert receipt["sommen"] == {"regels": 2, "terugkoppelingen": 2, "afgekeurd": 0, "overgeslagen": 3}
    (told,) = (await town.collect("woonservice")).feedback
    assert {row["signaal_id"]: (row["code"], row["opschorten_tot"]) for row in told} == {
        "w1": ("OPGEPAKT", ""),
        "w2": ("HULP_GEACCEPTEERD", "2026-12-01"),
    }
    assert (await town.collect("dezorgkas")).feedback == []
    town.check_blobs()


async def test_who_has_it_open_finishes_on_it(town, signal, sheet):
    """A newer one takes the name; the older is read to its end, and the name then leads to the newer."""
    await town.deliver("woonservice", signal("w1"))
    await town.settle()
    loop = asyncio.get_running_loop()

    def read():
        with town.paramiko("middendrenthe") as client, client.open(f"outbox/{NAME}") as file:
            start = file.read(1_000)
            asyncio.run_coroutine_threadsafe(another(), loop).result()
            with client.open(f"outbox/{NAME}") as newer:
                return start + file.read(), newer.read()

    async def another():
        await town.deliver("vitens", signal("v1", sector="Water"))
        await town.settle()

    older, newer = await asyncio.to_thread(read)
    assert [line["aantal_signalen"] for line in sheet(older, "Meldingen")] == [1]
    assert [line["aantal_signalen"] for line in sheet(newer, "Meldingen")] == [2]
