"""Six months later nothing opens: not here, and not in an old copy of the data (spec 4, promise 2)."""

from __future__ import annotations

import shutil
import sys
from datetime import date, datetime
from pathlib import Path

from gateway.clock import AMSTERDAM
from gateway.domain.dispatch import PROOFS, DispatchKind
from gateway.pipeline.worker import pending
from gateway.store.tables import DataKeyRow, Delivery, Dispatch, IndexToken, MeldingRow, SignalRow
from gateway.vault.key_ids import day_of, index_id

sys.path.append(str(Path(__file__).parent))
from old_copy import openable  # beside this file


def at(text):
    """An instant in the Netherlands."""
    return datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM)


async def night(town, text):
    """The clock moves, what is scheduled runs, and what the worker makes of that is made."""
    town.clock.set(at(text))
    await town.daemon.schedule.run_due()
    await town.until(lambda: not pending(town.context))


async def exchanged(town, signal, csv_file):
    """Two creditors reported, a file was refused, and everybody collected."""
    await town.put("woonservice", "huur.csv", csv_file(signal("w1"), signal("w2", huisnummer=26)))
    await town.put("dezorgkas", "zorg.csv", csv_file(signal("z1", sector="Zorg")))
    await town.put("stroomhuis", "fout.csv", b"%PDF")
    await town.settle()
    for partner in ("woonservice", "dezorgkas", "stroomhuis", "middendrenthe"):
        assert (await town.collect(partner)).files


def vault(town):
    """The names of all blobs, but for those of what holds nobody."""
    return {path.name for path in (town.home / "data" / "vault").iterdir()} - {
        row["blob"] for row in of_nobody(town)
    }


def of_nobody(town):
    """What was handed out to prove a destruction, and what counts a creditor's files; with what belongs to it."""
    rows = town.rows(Dispatch)
    ids = {row["id"] for row in rows if row["kind"] in {*PROOFS, DispatchKind.DELIVERY_REPORT}}
    return [row for row in rows if row["id"] in ids or row["parent_id"] in ids]


async def test_nothing_is_left(town, signal, csv_file):
    """The received file goes after 14 days, the rest at the end of the last day of six months; tombstones stay."""
    await exchanged(town, signal, csv_file)
    received = {row["blob"]: row for row in town.rows(Delivery)}
    await night(town, "2026-11-04T02:30")
    assert {row["state"] for row in received.values() if row["blob"] in vault(town)} == {"processed"}
    await night(town, "2026-11-18T02:30")
    assert not received.keys() & vault(town)
    assert len(town.rows(SignalRow)) == 3
    await night(town, "2027-05-03T23:59")
    assert len(town.rows(SignalRow)) == 3
    assert len((await town.collect("middendrenthe")).lines) == 3
    await night(town, "2027-05-04T02:30")
    assert vault(town) == set()
    for table in (SignalRow, MeldingRow):
        assert town.rows(table) == [], table
    kept = {row["id"] for row in of_nobody(town)}
    assert {row["object_id"] for row in town.rows(DataKeyRow)} <= kept
    await night(town, "2027-05-30T02:30")
    assert (
        index_id("2026-11") in town.gateway.keyring.ids()
    )  # what came on the month's last day is still held
    await night(town, "2027-05-31T02:30")
    assert town.rows(IndexToken) == []
    ids = town.gateway.keyring.ids()
    assert min(day for key_id in ids if (day := day_of(key_id))) >= date(2027, 5, 31)
    assert index_id("2026-11") not in ids
    for partner, name in (
        ("woonservice", "vernietigd_"),
        ("dezorgkas", "vernietigd_"),
        ("stroomhuis", ""),
        ("middendrenthe", "verklaring_"),
    ):
        found = (await town.collect(partner)).files
        assert bool(found) == bool(name)
        assert all(path.split("/")[-1].startswith((name, "aanleveroverzicht_")) for path in found)
    stones = sorted(town.rows(Delivery), key=lambda row: row["arrival"])
    assert [(row["state"], row["partner_id"], row["row_count"]) for row in stones] == [
        ("purged", "woonservice", 2),
        ("purged", "dezorgkas", 1),
        ("purged", "stroomhuis", 0),
    ]
    for stone in stones:
        assert all((stone["received_at"], stone["purged_at"], stone["sealed_sha256"]))
        assert (stone["name_sealed"], stone["sha256_sealed"], stone["content_digest"]) == (None, None, None)
    assert {row["state"] for row in town.rows(Dispatch) if row["id"] not in kept} == {"purged"}


async def test_an_old_copy_stays_shut(town, signal, csv_file, tmp_path):
    """A copy of the data opens with the keyring of its day; once a gateway that was off for long has started again
    and made up for the nights it missed, nothing of the copy opens with the keyring as it is then.
    """
    await exchanged(town, signal, csv_file)
    await town.stop()
    old = tmp_path / "backup"
    shutil.copytree(town.home / "data", old)
    opened, count = openable(old, town.home / "keys", town.clock, tmp_path / "then")
    assert len(opened) == count + 1
    town.clock.set(at("2027-05-31T12:00"))
    await town.start()
    await town.daemon.schedule.run_due()
    assert (town.rows(SignalRow), vault(town)) == ([], set())
    await town.stop()
    opened, count = openable(old, town.home / "keys", town.clock, tmp_path / "now")
    assert (opened, count > 10) == ([], True)


async def test_signals_that_were_changed_run_anew(town, signal, csv_file):
    """A change restarts its signal's term: the old version goes on its own day, the new one six months after it came."""
    await town.deliver("woonservice", signal("w1"))
    await town.settle()
    await night(town, "2026-12-10T09:00")
    await town.deliver("woonservice", signal("w1", mutatie="W", bedrag="700,00"), name="w.csv")
    await town.settle()
    await night(town, "2027-05-04T02:30")
    (row,) = town.rows(SignalRow)
    assert (row["amount_cents"], row["due_on"]) == (70_000, date(2027, 6, 10))
    await night(town, "2027-06-11T02:30")
    assert town.rows(SignalRow) == []
