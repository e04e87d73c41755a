"""A whole gateway on a host whose clock is six calendar months further (libfaketime): nothing of it is left."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from byte_scan import Needles, places, recorded  # beside this file
from life import back_up, sheet_of
from old_copy import openable
from planted import FILE_NAME, PERSON, PLANTED

from gateway.clock import AMSTERDAM, SteppedClock, add_months, local_day

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
#: The last day of a month: its index key goes with its signals.
START = datetime(2026, 11, 30, 9, 0, tzinfo=AMSTERDAM)
#: The night after the day on which six calendar months are over.
LATER = datetime(2027, 5, 31, 3, 0, tzinfo=AMSTERDAM)
PARTNERS: Mapping[str, tuple[str, ...]] = {
    "woonservice": ("--role", "creditor", "--sector", "Huur"),
    "middendrenthe": ("--role", "municipality", "--serves", "GM1731"),
}


#: With the monotonic clock as it is, libfaketime 0.9.10 refuses Python's sleep (clock_nanosleep until an instant of that
#: clock): imported at the start of each process, this sleeps in another way.
SLEEP = """import select, time

time.sleep = lambda seconds: select.select([], [], [], seconds)
"""


def clock_at(at: datetime, folder: Path) -> Mapping[str, str]:
    """The environment of a host whose clock says `at` now, and goes on from there; its temporary files in `folder`."""
    (folder / "python").mkdir(exist_ok=True)
    (folder / "python" / "sitecustomize.py").write_text(SLEEP)
    (folder / "temporary").mkdir(exist_ok=True)
    ahead = round((at - datetime.now(UTC)).total_seconds())
    return os.environ | {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": f"{ahead:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(folder / "python"),
        "TMPDIR": str(folder / "temporary"),
    }


#: The commands that an administrator types, one after another in one process: most of a second is the start of each.
COMMANDS = """import json, sys

from gateway.cli import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["gateway", *words]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


async def run_commands(village, *commands: list[str]) -> bytes:
    """Run commands of the gateway on that host; each must succeed. What they print."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMANDS, json.dumps(commands)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=village.environment,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out


@pytest.fixture
async def village(new_village, tmp_path):
    """A gateway that was made on that host; without the time in which deliveries gather."""
    made = new_village(*PARTNERS, *PEOPLE, environment=clock_at(START, tmp_path), clock=SteppedClock(START))
    at_home = ["--home", str(made.home)]
    await run_commands(
        made,
        ["init", str(made.home)],
        [*at_home, "municipality", "add", "GM1731", "--preset", "ris"],
        *(
            [*at_home, "partner", "add", partner, *told, "--key", str(made.keys[partner].with_suffix(".pub"))]
            for partner, told in PARTNERS.items()
        ),
    )
    approvers = [
        f'{person} namespaces="retention@gateway" {made.keys[person].with_suffix(".pub").read_text()}'
        for person in PEOPLE
    ]
    (made.home / "config/approvers").write_text("".join(approvers))
    policy = made.home / "config/municipalities/GM1731.toml"
    policy.write_text(re.sub(r"settle_s = \d+", "settle_s = 0", policy.read_text()))
    yield made
    if made.process and made.process.returncode is None:
        await made.kill()


def look(village, needles: Needles) -> set[str]:
    """The places in which something lies: of the home, its temporary files, its log and its process."""
    roots = [village.home, village.path / "temporary", village.path / "serve.log"]
    assert village.process
    return {each.place for each in needles.look(places(*roots, pids=[village.process.pid]))}


async def exchange(village, csv_file, workbook, signal) -> None:
    """Two files come in, and everybody collects."""
    person = PERSON | {"huisnummer": "18"}
    await village.put("woonservice", FILE_NAME, csv_file(signal("x", **person)))
    other = person | {"signaal_id": PERSON["signaal_id"] + "-B", "huisnummer": "20"}
    await village.put("woonservice", "huur.xlsx", sheet_of(workbook, signal("x", **other)))
    await village.idle()
    boxes = await village.collect("woonservice")
    assert [receipt["sommen"]["signalen"] for receipt in boxes.receipts] == [1, 1]
    lines = (await village.collect("middendrenthe")).lines
    assert [line["achternaam"] for line in lines] == [PERSON["achternaam"]] * 2


async def told(village, *events: str) -> list[dict[str, object]]:
    """Wait until the log tells of one of the events; its lines of them."""
    async with asyncio.timeout(60):
        while True:
            lines = [json.loads(line) for line in (village.path / "serve.log").read_text().splitlines()]
            if found := [line for line in lines if line["event"] in events]:
                return found
            await asyncio.sleep(0.05)


async def purged(village) -> None:
    """Wait for the purge that the schedule makes up for; when the clock's jump is asked about, two people approve it."""
    (first, *_) = await told(village, "purge.finished", "clock.refused")
    if first["event"] == "clock.refused":
        await approve_the_clock(village)
        # what was refused is tried again within a quarter of an hour, or at a start
        assert await village.stop() == 0
        await village.start()
    (done,) = await told(village, "purge.finished")
    assert (done["purged"], done["rows"], done["errors"]) == (2, 2, 0)


PEOPLE = ("archivaris", "controller")


def sign(village, person, text) -> str:
    """A person's signature over a text, by ssh-keygen; its file."""
    command = ["ssh-keygen", "-Y", "sign", "-n", "retention@gateway", "-f", village.keys[person], text]
    subprocess.run(command, check=True, capture_output=True)
    return str(text.with_suffix(".txt.sig").rename(village.path / f"{person}.sig"))


async def approve_the_clock(village) -> None:
    """Two people of `config/approvers` sign the request with ssh-keygen, and the administrator hands it in."""
    text = village.path / "request.txt"
    at_home = ["--home", str(village.home), "retention", "approve"]
    (request,) = json.loads(await run_commands(village, [*at_home, "--json"]))
    text.write_text(request["text"])
    signed = [word for person in PEOPLE for word in ("--signature", sign(village, person, text))]
    await run_commands(village, [*at_home, request["number"], *signed])


@pytest.mark.timeout(300)  # on a loaded machine: it starts a gateway three times
@pytest.mark.skipif(LIBRARY is None, reason="faketime is not installed")
async def test_six_months_later_nothing_is_left(village, csv_file, workbook, signal, tmp_path):
    """Received, collected, switched off for six months, started: purged at once, nothing is found, the backup stays shut."""
    assert local_day(LATER) > add_months(local_day(START), 6)
    await village.start()
    await exchange(village, csv_file, workbook, signal)
    names = Needles.of_texts(PLANTED)
    assert look(village, names) == set()
    assert await village.stop() == 0
    back_up(village.home, tmp_path / "backup")
    before = Needles.of_bytes(recorded(village.home, local_day(LATER)))
    shutil.copytree(village.home / "keys", tmp_path / "then" / "keys")
    shutil.copytree(village.home / "config", tmp_path / "then" / "config")
    opened, count = openable(
        tmp_path / "backup/data", tmp_path / "then/keys", SteppedClock(START), tmp_path / "opened"
    )
    assert (len(opened), count > 5) == (count + 1, True)

    village.environment = clock_at(LATER, tmp_path)
    await village.start()
    await purged(village)
    assert look(village, names) == set()
    assert look(village, before) == set()
    collected = await village.collect("middendrenthe")
    assert any(name.startswith("outbox/verklaring_") for name in collected.files)
    assert collected.lines == []
    assert await village.stop() == 0
    opened, _ = openable(
        tmp_path / "backup/data", village.home / "keys", SteppedClock(LATER), tmp_path / "shut"
    )
    assert opened == []
