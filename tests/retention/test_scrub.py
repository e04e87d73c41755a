"""Scrubbing finds what became of sealed bytes, without a key, beside whatever goes on."""

from __future__ import annotations

import os
import shutil
import time
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.delivery import DeliveryState
from gateway.retention.scrub import Damage, Finding, Scrubbed, scrub
from gateway.store.tables import Delivery, Dispatch

#: The class of `conftest.py`.
World = Any

MIB = 1024**2


def look(world: World, progress: Any = lambda _: None) -> Scrubbed:
    """Scrub as the command does."""
    return scrub(world.store, world.blobs, progress)


def path_of(world: World, table: Any, object_id: str) -> Path:
    """Where its blob lies."""
    return Path(world.home / "data" / "vault" / world.row(table, object_id)["blob"])


def found(world: World) -> dict[str, Damage]:
    """What is wrong, by delivery or outgoing file."""
    return {one.owner: one.damage for one in look(world).findings}


@pytest.fixture
def full(world: World) -> World:
    """Two deliveries and two outgoing files; the keys are away."""
    for _ in range(2):
        world.deliver()
        world.dispatch()
    shutil.rmtree(world.home / "keys")
    return world


def test_what_was_written_is_there_and_no_key_is_needed(full: World) -> None:
    """Every blob is counted and read, to its last byte."""
    told: list[int] = []
    report = look(full, told.append)
    held = [row["sealed_bytes"] for table in (Delivery, Dispatch) for row in full.rows(table)]
    assert (report.findings, report.blobs, report.read_bytes) == ((), 4, sum(held))
    assert sum(told) == sum(held)


@pytest.mark.parametrize(
    ("damage", "do"),
    [
        (Damage.MISSING, lambda path: path.unlink()),
        (Damage.TRUNCATED, lambda path: os.truncate(path, path.stat().st_size - 1)),
        (Damage.TRUNCATED, lambda path: path.write_bytes(b"")),
        (Damage.ALTERED, lambda path: path.write_bytes(path.read_bytes() + b"\0")),
        (Damage.ALTERED, lambda path: path.write_bytes(path.read_bytes()[::-1])),
        (
            Damage.UNREADABLE,
            lambda path: (path.rename(path.with_suffix(".x")), path.symlink_to(path.with_suffix(".x"))),
        ),
    ],
)
def test_damage_is_told_by_what_it_is_of(full: World, damage: Damage, do: Any) -> None:
    """Of a received file and of an outgoing one; the others are whole."""
    do(path_of(full, Delivery, "L0001"))
    sent = full.rows(Dispatch)[0]["id"]
    do(path_of(full, Dispatch, sent))
    assert found(full) == {"L0001": damage, sent: damage}
    (first, _) = look(full).findings
    assert first == Finding(
        damage=damage, blob=full.row(Delivery, "L0001")["blob"], owner="L0001", partner_id="woonstichting"
    )


def test_what_was_not_processed_yet_is_counted_and_compared_by_its_size(full: World) -> None:
    """It has no digest: a blob of another size or none is told, altered bytes are for the reader to find."""
    one, other = (row["id"] for row in full.rows(Delivery))
    for delivery_id in (one, other):
        full.change(Delivery, delivery_id, sealed_sha256=None)
    whole = path_of(full, Delivery, one).read_bytes()
    path_of(full, Delivery, one).write_bytes(whole[::-1])
    report = look(full)
    assert (report.blobs, report.undigested, report.findings) == (4, 2, ())
    path_of(full, Delivery, one).write_bytes(whole + b"\0")
    path_of(full, Delivery, other).write_bytes(whole[:-1])
    assert found(full) == {one: Damage.ALTERED, other: Damage.TRUNCATED}


def test_two_blobs_that_changed_places_are_altered(full: World) -> None:
    """Each is whole, and neither is what its row says."""
    one, other = path_of(full, Delivery, "L0001"), path_of(full, Dispatch, full.rows(Dispatch)[0]["id"])
    aside = one.with_suffix(".x")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    assert set(found(full).values()) == {Damage.ALTERED}


def test_an_orphan_is_told_once_its_row_can_no_longer_come(full: World) -> None:
    """A blob that was made just now is being received; one of two minutes ago is left over. Other files are no blobs."""
    writer = full.blobs.create()
    writer.write(b"sealed")
    writer.commit()
    (full.home / "data" / "vault" / "README").write_text("no blob")
    assert look(full).findings == ()
    long_ago = time.time() - 120
    for path in (full.home / "data" / "vault").iterdir():
        os.utime(path, (long_ago, long_ago))
    assert look(full).findings == (Finding(damage=Damage.ORPHANED, blob=writer.name),)


def test_what_goes_meanwhile_is_no_damage(world: World) -> None:
    """A purge takes all that is left while the first blob is read; what it leaves is still looked at."""
    for _ in range(3):
        world.deliver()
    stays = world.dispatch()
    world.go_to(date(2026, 12, 7))
    purged = False

    def purge(_: int) -> None:
        nonlocal purged
        if not purged:
            purged = True
            world.purge()

    report = look(world, purge)
    assert (report.findings, purged) == ((), True)
    assert all(row["blob"] is None for row in world.rows(Delivery))
    assert path_of(world, Dispatch, stays).exists()


def test_what_is_being_received_or_is_going_is_left_alone(full: World) -> None:
    """The blob of a file under way is not whole yet, that of one that goes may be gone."""
    with full.store.write() as conn:
        conn.exec_driver_sql("DROP TRIGGER delivery_transition")
    deliveries = [row["id"] for row in full.rows(Delivery)]
    for delivery, state in zip(deliveries, (DeliveryState.RECEIVING, DeliveryState.PURGING), strict=True):
        path_of(full, Delivery, delivery).unlink()
        full.change(Delivery, delivery, state=state)
    assert found(full) == {}


def test_memory_does_not_grow_with_the_file(full: World) -> None:
    """A blob of 64 MiB is read in pieces."""
    path = path_of(full, Delivery, "L0001")
    os.truncate(path, 64 * MIB)
    tracemalloc.start()
    assert found(full) == {"L0001": Damage.ALTERED}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB


def test_pages_of_rows_miss_none(full: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows are read at a time."""
    monkeypatch.setattr("gateway.retention.scrub._BATCH", 1)
    assert look(full).blobs == 4
