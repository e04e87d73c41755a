"""Kill -9: after any step, whatever was told to a partner holds, and the outcome is that of an undisturbed run."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.clock import AMSTERDAM
from gateway.store.tables import Delivery, SignalRow

DRIVER = Path(__file__).with_name("kill_at_every_step.py")


async def killed_at_every_step(home: Path, work: str, at: datetime) -> list[dict]:
    """The outcome after a kill at each point; the last one is that of an undisturbed run."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, DRIVER, home, work, at.isoformat()), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    points = len(list(home.parent.glob(f"{work}-*.json")))
    return [json.loads((home.parent / f"{work}-{point}.json").read_text()) for point in range(1, points + 1)]


def check(outcomes, least):
    """Killed at many steps, the same outcome each time."""
    *killed, undisturbed = outcomes
    assert len(killed) >= least
    for number, outcome in enumerate(killed, 1):
        assert outcome == undisturbed, f"killed at point {number}"
    assert (undisturbed["orphans"], undisturbed["missing"], undisturbed["differences"]) == ([], [], [])
    return undisturbed


async def test_killed_during_intake(closed_town, signal, csv_file):
    """Killed before and after every durable step of intake: the same signals, one receipt, the same statuses."""
    town = closed_town
    town.edit("municipalities/GM1731.toml", 'when = "arrival" ', 'when = "0 7 * * *" ')
    await town.start()
    await town.deliver("woonservice", signal("w1", klantnummer="k"), signal("w2", huisnummer=26))
    town.clock.set(datetime(2026, 11, 4, 7, 0, tzinfo=AMSTERDAM))
    await town.settle()
    changes = [
        signal("w1", klantnummer="k", mutatie="W", bedrag="700,00"),
        signal("w2", mutatie="I", huisnummer=26),
        signal("w3", klantnummer="k"),
        signal("w4", sector="?"),
    ]
    await town.stop()
    town.place("woonservice", "wijziging.csv", csv_file(*changes))
    end = check(await killed_at_every_step(town.home, "pipeline", town.clock.now()), 20)
    receipts = [name for name in end["files"] if name.startswith("woonservice/returns/ontvangst")]
    assert len(receipts) == 4
    assert sorted(row[3] for row in end["signals"] if row[4] == "True") == [
        "superseded",
        "waiting",
        "withdrawn",
    ]


async def test_killed_during_publication(town, signal, csv_file):
    """Killed before and after every durable step of publication: one file, one version, one status each."""
    await town.deliver("woonservice", signal("w1"), signal("w2", huisnummer=26))
    await town.settle()
    await town.deliver("woonservice", signal("w2", mutatie="W", bedrag="1,00", huisnummer=26), name="w.csv")
    await town.deliver("dezorgkas", signal("z1", sector="Zorg"))
    await town.stop()
    at = town.clock.now() + timedelta(seconds=6)
    end = check(await killed_at_every_step(town.home, "pipeline", at), 12)
    files = [name.rpartition("_")[2] for name in end["files"] if name.startswith("middendrenthe/outbox")]
    assert files == ["1.csv", "1.csv.manifest.json", "2.csv", "2.csv.manifest.json"]


async def test_killed_during_close(town):
    """Killed at any step of an upload: OK was told and the file is received, or it was not and nothing is left."""
    await town.stop()
    outcomes = await killed_at_every_step(town.home, "close", town.clock.now())
    assert len(outcomes) >= 8
    states = [[row[1] for row in outcome["deliveries"]] for outcome in outcomes]
    assert states[0] in ([], ["aborted"])
    assert states[-1] == ["arrived"]
    for outcome, state in zip(outcomes, states, strict=True):
        assert (outcome["orphans"], outcome["missing"], outcome["differences"]) == ([], [], [])
        assert len(outcome["data_keys"]) == state.count("arrived")
        assert not outcome["told"] or state == ["arrived"]


async def test_killed_between_close_and_processing(village, signal, csv_file):
    """Kill -9 of `gateway serve` after OK and before processing: after a start the file is processed, once."""
    await village.start()
    with village.opened() as gateway:
        with gateway.store.exclusive():  # processing waits, as it does for a command that publishes
            await village.put("woonservice", "huur.csv", csv_file(signal("w1")))
            await village.put("dezorgkas", "zorg.csv", csv_file(signal("z1", sector="Zorg")))
            await village.kill()
        with gateway.store.read() as conn:
            states = [row.state for row in conn.execute(Delivery.__table__.select())]
        assert states == ["arrived", "arrived"]
    await village.start()
    await village.idle()
    boxes = await village.collect("woonservice")
    assert (boxes.receipt["sommen"]["signalen"], boxes.statuses) == (1, [("w1", "D10")])
    lines = (await village.collect("middendrenthe")).lines
    assert sorted((line["partner"], line["matchregels"]) for line in lines) == [
        ("dezorgkas", "MEERVOUDIG"),
        ("woonservice", "MEERVOUDIG"),
    ]
    assert await village.stop() == 0


async def test_killed_half_way_an_upload(village, signal, csv_file):
    """Kill -9 of `gateway serve` within an upload: the partner is not told OK, and after a start nothing is left of it."""
    await village.start()
    content = csv_file(*(signal(f"w{number}", huisnummer=number) for number in range(1, 500)))
    loop = asyncio.get_running_loop()

    def cut():
        with village.paramiko("woonservice") as client:
            file = client.open("inbox/signalen.csv", "w")
            file.write(content[:20_000])
            asyncio.run_coroutine_threadsafe(village.kill(), loop).result()
            with pytest.raises((OSError, EOFError)):
                file.write(content[20_000:])

    await asyncio.to_thread(cut)
    await village.start()
    assert list((village.home / "data" / "vault").iterdir()) == []
    assert (await village.collect("woonservice")).files == {}
    await village.put("woonservice", "signalen.csv", content)
    await village.idle()
    assert (await village.collect("woonservice")).receipt["sommen"]["signalen"] == 499
    with village.opened() as gateway, gateway.store.read() as conn:
        assert len(conn.execute(SignalRow.__table__.select()).all()) == 499
