"""The life of files that hold planted names: in flight, received, read, published, collected, copied, let go of."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal as signals
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from byte_scan import children  # beside this file
from planted import FILE_NAME, LISTED, PERSON

from gateway.clock import AMSTERDAM

#: The class of `conftest.py`.
Town = Any
#: Told the moment; raises when it sees what it must not.
Look = Callable[[str], None]

#: Six calendar months after the exchange nothing is held, and the month's index key is gone.
LATER = datetime(2027, 5, 31, 12, 0, tzinfo=AMSTERDAM)


def rows(signal: Callable[..., dict[str, str]]) -> list[dict[str, str]]:
    """Two planted residents behind so many others that segments are sealed before they come."""
    planted = [
        signal("x", **PERSON | {"huisnummer": "18"}),
        signal(
            "x",
            **PERSON | {"signaal_id": PERSON["signaal_id"] + "-B", "bedrag": "onzin " + PERSON["achternaam"]},
        ),
    ]
    return planted + [
        signal(f"v{number}", huisnummer=number, vulling="x" * 1_000) for number in range(1, 100)
    ]


async def exchange(town: Town, signal: Any, csv_file: Any, workbook: Any, look: Look) -> None:
    """Uploads of every kind, up to where everybody has collected; `look` is called at each moment."""
    content = csv_file(*rows(signal))
    half = len(content) * 2 // 3
    assert half > 65_536

    def upload() -> None:
        with town.paramiko("woonservice") as client:
            with client.open(f"inbox/{FILE_NAME}", "w") as file:
                file.write(content[:half])
                (blob,) = (town.home / "data" / "vault").iterdir()
                assert blob.stat().st_size >= 65_536
                look("in flight")
                file.write(content[half:])
            look("received")

    with town.gateway.store.exclusive():
        await asyncio.to_thread(upload)
    await town.processed()
    look("processed")
    await read_workbook(
        town, sheet_of(workbook, signal("z", **PERSON | {"sector": "Zorg", "huisnummer": "18"})), look
    )
    # refused for a forbidden column; a listed resident; a request about a person
    await town.put("woonservice", "x" + FILE_NAME, csv_file(signal("x", **PERSON | {"bsn": "123456782"})))
    await town.processed()
    listed = LISTED | {"uitsluiten_tot": "2027-02-28", "reden": "IN_TRAJECT", "mutatie": "N"}
    await town.put("middendrenthe", "uitsluitingen.csv", csv_file(listed))
    person = {name: PERSON[name] for name in ("achternaam", "geboortedatum")}
    asked = {"avg_verzoek": "INZAGE", "verzoek_id": "2026-1", "mutatie": "N"} | person
    await town.put("middendrenthe", "verzoeken.csv", csv_file(asked))
    await town.settle()
    look("published")
    boxes = await town.collect("woonservice")
    assert PERSON["signaal_id"].encode() in b"".join(boxes.files.values())
    boxes = await town.collect("middendrenthe")
    assert sum(PERSON["achternaam"].encode() in data for data in boxes.files.values()) >= 2
    assert {receipt["sommen"].get("uitsluitingen") for receipt in boxes.receipts} == {1, None}
    look("collected")


def sheet_of(workbook: Any, row: Mapping[str, str]) -> bytes:
    """A workbook of one row."""
    made: bytes = workbook([[*row], [*row.values()]])
    return made


async def read_workbook(town: Town, content: bytes, look: Look) -> None:
    """Send a workbook, and look while the process that reads it stands still."""
    before = set(children(os.getpid()))
    with town.gateway.store.exclusive():
        await town.put("dezorgkas", "zorg.xlsx", content)
        before |= set(children(os.getpid()))
    town.daemon.worker.wake()
    reader = await asyncio.to_thread(stop_child, before)
    try:
        look("a workbook is read")
    finally:
        os.kill(reader, signals.SIGCONT)
    await town.processed()
    assert (await town.collect("dezorgkas")).receipt["sommen"]["signalen"] == 1


def stop_child(before: set[int]) -> int:
    """Wait for a new child of this process and let it stand still."""
    while True:
        for pid in children(os.getpid()):
            if pid not in before:
                os.kill(pid, signals.SIGSTOP)
                return pid


def back_up(home: Path, to: Path) -> None:
    """A copy of the data, as an administrator makes it while nobody writes."""
    shutil.copytree(home / "data", to / "data", ignore=shutil.ignore_patterns("reserve"))


async def let_go(town: Town) -> None:
    """Six calendar months later: what is scheduled runs."""
    town.clock.set(LATER)
    await town.daemon.schedule.run_due()
