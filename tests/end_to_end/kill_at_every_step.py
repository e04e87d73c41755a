"""A driver for test_killed.py: does a piece of work over and over, each time killed a step later.

    python kill_at_every_step.py HOME WORK AT        WORK is close, pipeline or purge; AT an ISO instant

A step is whatever makes something durable: an fsync or the commit of a transaction. The process is killed
(SIGKILL) before the first one, then after it, before the second, and so on until the work ends undisturbed. After
each kill the gateway recovers and finishes as it does at a start, and the outcome is written beside HOME: WORK-<n>.json.
Each life is a fork of this process, so that Python starts once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from gateway.clock import SteppedClock
from gateway.daemon import Daemon, Gateway, open_gateway
from gateway.domain.partner import Box
from gateway.exchange.context import Visit
from gateway.exchange.download import Download
from gateway.exchange.upload import Upload
from gateway.logs import set_up
from gateway.pipeline.ledger import check
from gateway.pipeline.worker import step
from gateway.settings.gemeenten import pc4_gemeenten
from gateway.store import blobs, dispatches
from gateway.store.engine import Store
from gateway.store.tables import AuditEntry, DataKeyRow, Delivery, IndexToken, KeyRow, MeldingRow, SignalRow

MOST_POINTS = 400
RANDOM = re.compile(
    r"\b(?:M\d{10}-[0-9A-Z]{8}|S[0-9A-HJKMNP-TV-Z]{12}|U[0-9A-Z]{16}|P[0-9A-Z]{12}|[0-9a-f]{64})\b"
)
ACTION = re.compile(r'"action":"(?!purge)([^"]+)"')


def arm(last: int) -> None:
    """Die at the `last`-th point; there is one before and one after each durable step."""
    passed = 0

    def point() -> None:
        nonlocal passed
        passed += 1
        if passed == last:
            os.kill(os.getpid(), signal.SIGKILL)

    fsync, write = os.fsync, Store.write

    def fsync_counted(fd: int) -> None:
        point()
        fsync(fd)
        point()

    @contextmanager
    def write_counted(store: Store) -> Iterator[Connection]:
        with write(store) as conn:
            yield conn
            point()
        point()

    os.fsync = fsync_counted
    Store.write = write_counted  # type: ignore[method-assign]


def work_close(gateway: Gateway) -> None:
    """A partner uploads a file and closes it."""
    partner = gateway.settings.partners["woonservice"]
    visit = Visit(partner=partner, fingerprint="", address="127.0.0.1", client="", session_id="")
    upload = Upload(Daemon(gateway)._exchange(), visit, "nieuw.csv")
    upload.write(0, memoryview(b"a;b\r\n1;2\r\n"))
    upload.close()
    (gateway.home.root / "told.ok").touch()


def work_pipeline(gateway: Gateway) -> None:
    """Everything that waits is processed and published."""
    while step(gateway.pipeline()):
        pass


def work_purge(gateway: Gateway) -> None:
    """What is due goes."""
    gateway.purge()


WORKS: dict[str, Callable[[Gateway], None]] = {
    "close": work_close,
    "pipeline": work_pipeline,
    "purge": work_purge,
}


def recover(gateway: Gateway, work: str) -> None:
    """What a start does; then the work goes on, but a file that was not received is its sender's to send."""
    Daemon(gateway)._recover()
    if work != "close":
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
            "told": (home.root / "told.ok").exists(),
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
                download = Download(exchange, visit, box, file)
                text = download.read(0, file.size_bytes).decode("utf-8-sig")
                download.abort()
                numbers: dict[str, str] = {}
                for name in RANDOM.findall(text):
                    numbers.setdefault(name, f"#{name[0] if len(name) < 64 else ''}")
                for name, number in numbers.items():
                    text = text.replace(name, number)
                found[f"{partner.id}/{box}/{file.name}"] = sorted(text.splitlines())
    return found


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


def copied(home: Path, copy: Path, *, with_keys: bool) -> Path:
    """A home to kill; keys are shared where none is made or destroyed."""
    copy.mkdir()
    for part in ("data", "log", "keys", "config"):
        if part in {"data", "log"} or (part == "keys" and with_keys):
            shutil.copytree(home / part, copy / part)
        else:
            (copy / part).symlink_to(home / part)
    return copy


def kill_from(first: int, by: int, home: Path, work: str, at: datetime) -> None:
    """Every `by`-th point from `first` on, until the work ends undisturbed."""
    clock = SteppedClock(at)
    for last in range(first, MOST_POINTS, by):
        copy = copied(home, home.with_name(f"{home.name}-{work}-{last}"), with_keys=work == "purge")

        def work_armed(copy: Path = copy, last: int = last) -> None:
            gateway = open_gateway(copy, clock)
            arm(last)
            WORKS[work](gateway)

        def recover_and_tell(copy: Path = copy, last: int = last) -> None:
            gateway = open_gateway(copy, clock)
            recover(gateway, work)
            home.with_name(f"{work}-{last}.json").write_text(json.dumps(outcome(gateway)))

        end = life(work_armed)
        assert end in {0, -signal.SIGKILL}, end
        assert life(recover_and_tell) == 0
        shutil.rmtree(copy)
        if end == 0:
            return
    raise AssertionError("the work never ended")


def main(home: Path, work: str, at: datetime) -> int:
    """Two at a time, one at the odd points and one at the even."""
    set_up(json=True, level="CRITICAL")
    pc4_gemeenten()
    started = [fork(partial(kill_from, first, 2, home, work, at)) for first in (1, 2)]
    return sum(ended(pid) != 0 for pid in started)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], datetime.fromisoformat(sys.argv[3])))
