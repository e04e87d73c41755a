"""A driver for test_killed.py: does a piece of work over and over, each time killed at another durable step.

    python kill_at_every_step.py HOME WORK AT [every]        WORK is one of WORKS; AT an ISO instant

The work is done once undisturbed, which tells its points: one before and one after each step (`durable_steps`). Then it
is done again for the first point of each name, unless the file `visited` beside HOME has it, and killed (SIGKILL) there;
with `every`, for each point there is. After
each kill the gateway recovers and finishes as it does at a start, and the outcome is written beside HOME:
WORK-<n>.json; 0 is undisturbed. Each life is a fork of this process, so that Python starts once.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from durable_steps import arm
from killed_door import door, found_at_start, work_commands, work_door
from killed_visit import visit_and_kill
from python_calamine import CalamineWorkbook

from gateway.clock import SteppedClock
from gateway.daemon import Daemon
from gateway.domain.partner import Box
from gateway.errors import CommandError
from gateway.exchange.context import Visit
from gateway.exchange.download import Download
from gateway.exchange.protocol import Refused
from gateway.exchange.upload import Upload
from gateway.gateway import Gateway, open_gateway
from gateway.logs import set_up
from gateway.pipeline.deliveries import reject, retry
from gateway.pipeline.ledger import check
from gateway.pipeline.reroute import reroute
from gateway.pipeline.withdrawal import withdraw
from gateway.pipeline.worker import step
from gateway.running import only_one
from gateway.settings.gemeenten import pc4_gemeenten
from gateway.store import blobs, dispatches
from gateway.store.retention_tables import KeyRow
from gateway.store.tables import AuditEntry, DataKeyRow, Delivery, Dispatch, IndexToken, MeldingRow, SignalRow

sys.path.append(str(Path(__file__).parents[1]))
from compiled_once import compile_once  # beside the conftest

#: Works in which keys are made or destroyed.
CHANGES_KEYS = {"start", "night", "purge", "commands", "municipality"}
#: Works in which the configuration is changed.
CHANGES_CONFIG = {"commands"}
RANDOM = re.compile(
    r"\b(?:M\d{10}-[0-9A-Z]{8}|S[0-9A-HJKMNP-TV-Z]{12}|U[0-9A-Z]{16}|P[0-9A-Z]{12}|[0-9a-f]{64})\b"
)
#: Of each change one entry; but a purge is begun again, and a database that was compacted is so again.
ACTION = re.compile(r'"action":"(?!purge|database\.compacted)([^"]+)"')


def visit_of(gateway: Gateway) -> Visit:
    """A session of a creditor, without a network."""
    partner = gateway.settings.partners["woonservice"]
    return Visit(partner=partner, fingerprint="", address="127.0.0.1", client="", session_id="")


def work_closes(gateway: Gateway) -> None:
    """A partner closes eight files at once, half of them under temporary names: they share syncs and commits."""
    exchange, visit = Daemon(gateway)._exchange(), visit_of(gateway)
    names = [f"{number}.csv{'.part' if number % 2 else ''}" for number in range(8)]
    uploads = [Upload(exchange, visit, name) for name in names]
    for number, upload in enumerate(uploads):
        upload.write(0, memoryview(bytes(number + 1)))
    # two of them are open for so long that they have their row before their end
    for upload in uploads[:2]:
        upload.put_on_record()

    def close(number: int) -> None:
        uploads[number].close()
        (gateway.home.root / f"told-{number}.ok").touch()

    with ThreadPoolExecutor(len(uploads)) as threads:
        list(threads.map(close, range(len(uploads))))


def work_pipeline(gateway: Gateway) -> None:
    """Everything that waits is processed and published."""
    while step(gateway.pipeline()):
        pass


def work_start(gateway: Gateway) -> None:
    """A daemon starts, on what a kill left, and stops."""

    async def run() -> None:
        daemon = Daemon(gateway)
        with only_one(gateway.home):
            await daemon.start(host="127.0.0.1", port=0)
            await daemon.stop()

    asyncio.run(run())
    # how far its worker came before the stop is chance
    work_pipeline(gateway)


def work_night(gateway: Gateway) -> None:
    """A night's jobs, each when it is due: keys ahead, the purge, checkpoints, what will never be received."""
    daemon = Daemon(gateway)

    async def run() -> None:
        await daemon.schedule.start()
        await daemon.schedule.run_due()
        await daemon.schedule.stop()

    asyncio.run(run())


def work_withdraw(gateway: Gateway) -> None:
    """An administrator takes a file back, and decides about those that failed."""
    context = gateway.pipeline()
    table = Delivery.__table__
    with gateway.store.read() as conn:
        found = conn.execute(table.select().order_by(table.c.arrival)).mappings()
        states = [(row["id"], row["state"]) for row in found]
    (taken_back, _), (bad, is_bad), (stuck, is_stuck), _cut_off = states
    with suppress(CommandError):  # it was taken back before the kill
        withdraw(context, taken_back, "verkeerde maand", actor="beheer")
    if is_bad == "failed":
        reject(context, bad, "onleesbaar", actor="beheer")
    if is_stuck == "failed":
        retry(context, stuck, actor="beheer")
    work_pipeline(gateway)


def work_reroute(gateway: Gateway) -> None:
    """Signals without a municipality are looked at again, with the table that was loaded since."""
    reroute(gateway.pipeline(), actor="beheer")
    work_pipeline(gateway)


def work_regular(gateway: Gateway) -> None:
    """What partners get at set times."""
    for job in Daemon(gateway)._jobs():
        if job.name in {"statement", "deadlines", "delivery_report"}:
            job.run()


def work_purge(gateway: Gateway) -> None:
    """What is due goes."""
    gateway.purge()


def work_municipality(gateway: Gateway) -> None:
    """What a municipality sent a day ago is processed, and what it asked so takes effect."""
    # what is under way first: a worklist that is made before the publication is made twice
    gateway.carry_out_requests()
    work_pipeline(gateway)
    gateway.carry_out_requests()
    work_pipeline(gateway)


WORKS: dict[str, Callable[[Gateway], None]] = {
    "closes": work_closes,
    "pipeline": work_pipeline,
    "start": work_start,
    "night": work_night,
    "withdraw": work_withdraw,
    "reroute": work_reroute,
    "purge": work_purge,
    "regular": work_regular,
    "municipality": work_municipality,
    "door": work_door,
    "commands": work_commands,
}

#: What a partner does: nobody does it again for it.
PARTNERS_OWN = {"closes", "visit", "door"}


def recover(gateway: Gateway, work: str) -> None:
    """What a start does; then the work goes on, but a file that was not received is its sender's to send."""
    Daemon(gateway).recover()
    if work not in PARTNERS_OWN:
        WORKS[work](gateway)
    if work == "night":
        # two jobs of one night may come in either order; a night later nothing of that is left
        assert isinstance(gateway.clock, SteppedClock)
        gateway.clock.step(timedelta(days=1))
        WORKS[work](gateway)


def outcome(gateway: Gateway) -> dict[str, Any]:
    """All that counts, with random ids numbered in order of appearance."""
    store, home = gateway.store, gateway.home
    with store.read() as conn:
        known = blobs.in_use(conn)

        def rows(table: Any, *columns: str) -> list[list[str]]:
            found = conn.execute(table.__table__.select()).mappings()
            return sorted([str(row[column]) for column in columns] for row in found)

        found: dict[str, Any] = {
            "deliveries": rows(
                Delivery,
                *("partner_id", "state", "arrival", "row_count", "new_count", "changed_count"),
                *("withdrawn_count", "rejected_count", "accepted_count", "refusal", "purged_rows"),
            ),
            "signals": rows(
                SignalRow,
                *(
                    "creditor",
                    "delivery_id",
                    "line",
                    "state",
                    "in_force",
                    "month",
                    "amount_cents",
                    "passed_on_at",
                ),
            ),
            "meldingen": rows(
                MeldingRow, "municipality", "month", "version", "klasse", "touched_at", "due_on"
            ),
            "tokens": len(rows(IndexToken, "token")),
            "data_keys": rows(DataKeyRow, "partner_id", "municipality", "due_on"),
            "keys": rows(KeyRow, "id", "destroyed_at"),
            "keyring": sorted(gateway.keyring.ids()),
            "audit": sorted(ACTION.findall("".join(text for (text,) in rows(AuditEntry, "entry")))),
            "orphans": sorted({path.name for path in home.vault.iterdir()} - known),
            "missing": sorted(known - {path.name for path in home.vault.iterdir()}),
            "sizes": rows(Delivery, "size_bytes", "state"),
            "told": sorted(path.name for path in home.root.glob("told-*")),
            "dispatches": rows(Dispatch, "partner_id", "kind", "state", "collected_at", "removed_at"),
        }
    found["differences"] = [str(each) for each in check(gateway.pipeline()).differences]
    found["files"] = files(gateway)
    return found


def files(gateway: Gateway) -> dict[str, list[str]]:
    """Every outgoing file as its partner reads it."""
    found: dict[str, list[str]] = {}
    exchange = Daemon(gateway)._exchange()
    for partner in gateway.settings.partners.values():
        visit = Visit(partner=partner, fingerprint="", address="127.0.0.1", client="", session_id="")
        for box in (Box.OUTBOX, Box.RETURNS):
            with gateway.store.read() as conn:
                listed = dispatches.listed(conn, partner.id, box)
            for file in listed:
                try:
                    download = Download(exchange, visit, box, file)
                except Refused:
                    found[f"{partner.id}/{box}/{file.name}"] = ["damaged"]
                    continue
                text = read_text(file.name, download.read(0, file.size_bytes))
                download.abort()
                numbers: dict[str, str] = {}
                for name in RANDOM.findall(text):
                    numbers.setdefault(name, f"#{name[0] if len(name) < 64 else ''}")
                for name, number in numbers.items():
                    text = text.replace(name, number)
                # a certificate tells how long the run took and is signed, and how well ids are packed is chance
                is_named_only = file.name.startswith("verklaring") or file.name.endswith(
                    ".xlsx.manifest.json"
                )
                found[f"{partner.id}/{box}/{file.name}"] = [] if is_named_only else sorted(text.splitlines())
    return found


def read_text(name: str, data: bytes) -> str:
    """An outgoing file as text; of a worklist every row of every sheet."""
    if not name.endswith(".xlsx"):
        return data.decode("utf-8-sig")
    book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    sheets = [book.get_sheet_by_name(each).to_python() for each in book.sheet_names]
    return "\n".join(str(row) for sheet in sheets for row in sheet)


def fork(do: Callable[[], None]) -> int:
    """Do something in a process of its own; its id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            do()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    """How a process ended; negative: by that signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def life(do: Callable[[], None]) -> int:
    """Do something in a process of its own, and wait; how it ended."""
    return ended(fork(do))


def copied(home: Path, copy: Path, work: str) -> Path:
    """A home to kill; keys and configuration are shared where they stay as they are."""
    copy.mkdir()
    changes = {"keys": CHANGES_KEYS, "config": CHANGES_CONFIG}
    for part in ("data", "log", "keys", "config"):
        if work in changes.get(part, {work}):
            shutil.copytree(home / part, copy / part)
        else:
            (copy / part).symlink_to(home / part)
    return copy


def do(home: Path, work: str, at: datetime, number: int, point: tuple[str, int]) -> Path:
    """The work, killed at a point, then what a start does; the points that it passed. Number 0 is undisturbed."""
    name = f"{work}-{number}"
    copy = copied(home, home.with_name(f"{home.name}-{name}"), work)
    log = home.with_name(f"{name}.points")

    def work_armed() -> None:
        gateway = open_gateway(copy, SteppedClock(at))
        arm(*point, log)
        WORKS[work](gateway)

    def recover_and_tell() -> None:
        gateway = open_gateway(copy, SteppedClock(at))
        found = found_at_start(gateway) if work == "commands" else {}
        recover(gateway, work)
        if work == "commands":
            gateway = open_gateway(copy, SteppedClock(at))
            found["end"] = found_at_start(gateway)
        if work == "door":
            found = door(gateway)
        told = {"killed": point[0] if end else "", "found": found, "outcome": outcome(gateway)}
        home.with_name(f"{name}.json").write_text(json.dumps(told))

    end = ended(visit_and_kill(copy, at, point, log, fork)) if work == "visit" else life(work_armed)
    assert end in ({0, -signal.SIGKILL} if number else {0}), end
    assert life(recover_and_tell) == 0, f"{work}, killed {point}"
    shutil.rmtree(copy)
    return log


def compile_statements(home: Path, work: str, at: datetime) -> None:
    """A third of a life is SQLAlchemy's compiling of statements: most of them are compiled here, before the forks."""
    compile_once(pytest.MonkeyPatch())
    copy = copied(home, home.with_name(f"{home.name}-{work}-compile"), work)
    gateway = open_gateway(copy, SteppedClock(at))
    recover(gateway, work)
    outcome(gateway)
    gateway.close()
    shutil.rmtree(copy)


def turns(points: list[str], *, every: bool) -> list[tuple[str, int]]:
    """Each point of each name, or the first one, in the order in which they come."""
    passed: Counter[str] = Counter()
    found = []
    for name in points:
        passed[name] += 1
        if every or passed[name] == 1:
            found.append((name, passed[name]))
    return found


def kill_at(numbered: list[tuple[int, tuple[str, int]]], home: Path, work: str, at: datetime) -> None:
    """Each of these points."""
    for number, point in numbered:
        do(home, work, at, number, point)


def main(home: Path, work: str, at: datetime, *, every: bool) -> int:
    """Two at a time."""
    set_up(json=True, level="CRITICAL")
    pc4_gemeenten()
    compile_statements(home, work, at)
    log = do(home, work, at, 0, ("", 0))
    points = log.read_text().splitlines()
    visited = home.with_name("visited").read_text().splitlines()
    numbered = list(enumerate((each for each in turns(points, every=every) if each[0] not in visited), 1))
    started = [fork(partial(kill_at, numbered[half::2], home, work, at)) for half in (0, 1)]
    return sum(ended(pid) != 0 for pid in started)


if __name__ == "__main__":
    home_dir, what, instant, *how = sys.argv[1:]
    sys.exit(main(Path(home_dir), what, datetime.fromisoformat(instant), every=how == ["every"]))
