"""A disk that takes no more: an explicit refusal at the latest at CLOSE, nothing half received, and the log goes on.

The disk is a real one of its own, mounted by the test, which needs root for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko.sftp import CMD_CLOSE, CMD_WRITE, int64
from sqlalchemy import Connection

from gateway import daemon as daemons
from gateway.errors import StoreError
from gateway.overview import overview
from gateway.store.tables import AuditEntry, Delivery

MEGABYTE = 1024**2
NOT_STORED = "The file could not be stored: send it again later; the administrator has been told"


def mount(*words: str | Path) -> bool:
    """Whether it is mounted: not everybody may."""
    return subprocess.run(["mount", *map(str, words)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB, in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", path):
        pytest.skip("no disk may be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that becomes read-only at an error, as ext4 does by default on Debian."""
    path, image = tmp_path / "disk", tmp_path / "disk.img"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MEGABYTE)
    made = subprocess.run(["/sbin/mkfs.ext4", "-q", image], capture_output=True, check=False)
    if made.returncode or not mount("-o", "loop,errors=remount-ro", image, path):
        pytest.skip("no disk may be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def mount_again(path: Path) -> bool:
    """What an administrator does with a disk that became read-only."""
    subprocess.run(["umount", path], check=True)
    return mount("-o", "loop,errors=remount-ro", path.with_name("disk.img"), path)


@pytest.fixture
def town_on(closed_town) -> Callable:
    """Puts the data of a town on a disk, before its start; files are up to 2 MB."""

    def put_on(disk):
        town = closed_town
        town.edit("gateway.toml", '# file = "64 MiB"', 'file = "2 MiB"')
        shutil.move(town.home / "data", disk / "data")
        (town.home / "data").symlink_to(disk / "data")
        os.sync()  # what was copied here is from long ago
        return town

    return put_on


def fill(disk: Path) -> Path:
    """What another program writes until the disk is full."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return path


def write_much(conn: Connection) -> None:
    """A change that writes 5 MB to the journal of the database, and leaves nothing."""
    conn.exec_driver_sql("INSERT INTO counter (name, value) VALUES (randomblob(5000000), 1)")
    conn.exec_driver_sql("DELETE FROM counter WHERE length(name) = 5000000")


def finish(client: paramiko.SFTPClient, file: paramiko.SFTPFile, data: bytes, said: list[str]) -> None:
    """Write the rest and close; what the gateway says to each. `close()` of paramiko keeps it to itself."""
    for kind, *args in ((CMD_WRITE, int64(file.tell()), data), (CMD_CLOSE,)):
        if args and not data:
            continue
        try:
            client._request(kind, file.handle, *args)
        except OSError as exc:
            said.append(str(exc))


def events(town) -> list[str]:
    """What the log tells, in order."""
    return [json.loads(line)["event"] for line in town.log.getvalue().splitlines()]


def states(town) -> list[str]:
    """The state of every delivery, in order of OPEN."""
    return [row["state"] for row in sorted(town.rows(Delivery), key=lambda row: row["opened_at"])]


def actions(town) -> list[str]:
    """The actions of the audit log, in order."""
    return [json.loads(row["entry"])["action"] for row in town.rows(AuditEntry)]


async def refused(town, *commands: str) -> str:
    """OpenSSH ends with an error; what it says."""
    done = await town.sftp("woonservice", *commands)
    assert done.status == 1, done
    return done.err


async def test_a_full_disk(disk, town_on, signal, csv_file, monkeypatch):
    """Files are refused at OPEN; what is no file goes on: collecting, removing, audit entries, checkpoint and purge."""
    town = town_on(disk)
    await town.start()
    monkeypatch.setattr(daemons, "ROOM_EVERY_S", 3600)
    local = town.local(csv_file(signal("w1")))
    await town.deliver("woonservice", signal("w0"))
    assert (await town.sftp("woonservice", f"put {local} inbox/a.part")).status == 0
    assert (disk / "data" / "reserve").stat().st_size == town.gateway.reserve.size

    filler = fill(disk)
    # more than the journal has room for: the reserve is let go, and the change is made
    await asyncio.to_thread(town.gateway.store.together, write_much)
    assert not (disk / "data" / "reserve").exists()
    await refused(town, f"put {local} inbox/b.csv")
    # the scheduler's look, which tells of it
    town.daemon.room.look()
    assert states(town) == ["processed", "staged"]
    assert (await town.sftp("woonservice", "rm inbox/a.part")).status == 0
    receipts = (await town.collect("woonservice")).receipts
    assert len(receipts) == 1
    assert (await town.sftp("woonservice", "rm returns/ontvangst*")).status == 0
    assert states(town) == ["processed", "aborted"]
    assert {"delivery.aborted", "dispatch.collected", "dispatch.removed"} <= set(actions(town))
    await asyncio.to_thread(town.gateway.purge)
    await asyncio.to_thread(town.gateway.sign)
    assert actions(town)[-1] == "purge.finished"
    seen = overview(town.gateway).disk
    assert (seen.takes_files, seen.reserve_bytes) == (False, 0)
    assert events(town).count("reserve.released") == 1
    assert "uploads.resumed" not in events(town)

    filler.unlink()
    town.daemon.room.look()
    assert overview(town.gateway).disk.takes_files
    assert (disk / "data" / "reserve").exists()
    await town.send("woonservice", signal("w1"))
    assert states(town)[-1] == "processed"
    assert events(town).count("uploads.resumed") == 1


@pytest.mark.parametrize("tail", [0, 20_000, 200_000])
async def test_a_disk_that_fills_while_a_file_comes_in(disk, town_on, tail, monkeypatch):
    """WRITE or CLOSE fails with a text, whatever is left to write; its room is free at once, and its end is on record."""
    town = town_on(disk)
    await town.start()
    monkeypatch.setattr(daemons, "ROOM_EVERY_S", 3600)

    def send() -> list[str]:
        said = []
        with town.paramiko("woonservice") as client:
            file = client.open("inbox/a.csv", "w")
            file.write(b"x" * 300_000)
            file.flush()
            fill(disk)
            finish(client, file, b"y" * tail, said)
        return said

    said = await asyncio.to_thread(send)
    assert len(said) == (2 if tail > 65536 else 1), said
    assert set(said) == {NOT_STORED}
    assert states(town) == ["aborted"]
    assert list((disk / "data" / "vault").iterdir()) == []
    assert actions(town)[-1] == "delivery.aborted"
    assert "upload.left" not in events(town)


async def test_a_disk_that_becomes_read_only(failing_disk, town_on, signal, csv_file):
    """Nothing is received and everybody is told so; after a mount and a start what was received is there, once."""
    town = town_on(failing_disk)
    await town.start()
    await town.deliver("woonservice", signal("w0"))

    on_record = asyncio.run_coroutine_threadsafe(
        town.until(lambda: states(town) == ["processed", "receiving"]), asyncio.get_running_loop()
    )

    def send() -> list[str]:
        said = []
        with town.paramiko("woonservice") as client:
            file = client.open("inbox/a.csv", "w")
            file.write(b"x" * 200_000)
            file.flush()
            on_record.result(60)
            device = subprocess.run(
                ["findmnt", "-n", "-o", "SOURCE", failing_disk], capture_output=True, text=True, check=True
            ).stdout.strip()
            Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("the disk fails")
            finish(client, file, b"y" * 200_000, said)
            # OPEN writes nothing
            finish(client, client.open("inbox/b.csv", "w"), b"z", said)
            assert client.listdir("inbox") == ["signalen.csv"]
        return said

    said = await asyncio.to_thread(send)
    assert said == [NOT_STORED] * 3
    assert states(town) == ["processed", "receiving"]
    assert {"upload.refused", "upload.left"} <= set(events(town))

    with pytest.raises(StoreError, match="can't be written"):
        await town.stop()
    town.gateway.close()
    town.daemon = town.gateway = None
    assert await asyncio.to_thread(mount_again, failing_disk)
    await town.start()

    def received() -> list[str]:
        # what OPEN wrote waits for no disk: the failure may have taken it, with what was sent of the file (ADR 22)
        return [state for state in states(town) if state != "aborted"]

    assert received() == ["processed"]
    await town.send("woonservice", signal("w1"))
    assert received() == ["processed", "processed"]
    town.check_blobs()
