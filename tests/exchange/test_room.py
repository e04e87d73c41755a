"""Room on the disk: files are refused while one of the largest size does not fit, and the log tells it once."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.domain.room import LITTLE_BYTES, Room
from gateway.errors import VaultError
from gateway.exchange.room import RoomWatch
from gateway.vault import reserve as reserves
from gateway.vault.reserve import Reserve

MB = 1024**2
FILE = 64 * MB


def room(free, *, is_held=True):
    """A look at a disk with that much free."""
    return Room(free_bytes=free, is_held=is_held, reserve_bytes=32 * MB, file_bytes=FILE)


@pytest.mark.parametrize(
    ("free", "is_held", "takes_files", "must_release", "may_hold"),
    [
        (FILE, True, True, False, False),
        (FILE - 1, True, False, False, False),
        (LITTLE_BYTES, True, False, False, False),
        (LITTLE_BYTES - 1, True, False, True, False),
        (0, True, False, True, False),
        (FILE + 32 * MB, False, True, False, True),
        (FILE + 32 * MB - 1, False, False, False, True),
        (40 * MB, False, False, False, True),
        (40 * MB - 1, False, False, False, False),
    ],
)
def test_what_room_there_is(free, is_held, takes_files, must_release, may_hold):
    """The reserve is never part of what files may take; let go, it comes back only where it stays."""
    found = room(free, is_held=is_held)
    assert (found.takes_files, found.must_release, found.may_hold) == (takes_files, must_release, may_hold)


@pytest.fixture
def disk(monkeypatch):
    """A disk whose free bytes the test sets; the reserve takes its share of them."""
    disk = {"bytes": 500 * MB, "files": 1000}

    def statvfs(path):
        taken = sum(each.stat().st_size for each in path.iterdir())
        return os.statvfs_result((1, 1, 10**9, 0, disk["bytes"] - taken, 10**6, 0, disk["files"], 0, 255))

    monkeypatch.setattr(reserves.os, "statvfs", statvfs)
    return disk


def test_the_log_tells_each_change_once(tmp_path, disk):
    """Stopped, released, resumed: and nothing while it stays as it is."""
    watch = RoomWatch(Reserve(tmp_path / "reserve"), FILE)
    with capture_logs() as log:
        for free in (500, 500, 90, 90, 33, 33, 20, 60, 500, 500):
            disk["bytes"] = free * MB
            watch.look()
    assert [(each["event"], each["log_level"]) for each in log] == [
        ("uploads.stopped", "error"),
        ("reserve.released", "error"),
        ("uploads.stopped", "error"),
        ("uploads.resumed", "info"),
    ]
    assert (tmp_path / "reserve").stat().st_mode & 0o777 == 0o600
    watch.end()
    assert not (tmp_path / "reserve").exists()


def test_a_disk_without_places_for_files_has_no_room(tmp_path, disk):
    """Bytes alone are no room."""
    disk["files"] = 0
    assert not RoomWatch(Reserve(tmp_path / "reserve"), FILE).look().takes_files


def test_a_reserve_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch):
    """It is all there or not at all."""

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reserves.os, "posix_fallocate", full)
    reserve = Reserve(tmp_path / "reserve")
    with pytest.raises(VaultError, match="No space left"):
        reserve.hold()
    assert list(tmp_path.iterdir()) == []


async def test_without_room_no_file_is_opened(quiet_house, listening):
    """The client reads why, before it sends anything; what it may do without room it still may."""
    roomy = []
    quiet_house.exchange = replace(quiet_house.exchange, has_room=lambda: bool(roomy))
    async with listening(quiet_house) as house, house.raw("woonbron") as raw:
        refused = await raw.open("inbox/a.csv")
        assert (refused.status, "no room for files now" in refused.text) == (4, True)
        assert (house.rows(), house.blob_files(), await raw.ls("inbox")) == ([], [], [])
        roomy.append(1)
        assert (await raw.put("inbox/a.csv", b"x")).status == 0
