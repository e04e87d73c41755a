"""A blob appears whole and durable, or not at all."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.errors import BlobMissing, VaultError
from gateway.vault.blobs import BlobFolder

DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the blobs lie."""
    return tmp_path / "vault"


@pytest.fixture
def blobs(folder: Path) -> BlobFolder:
    """An empty folder of blobs."""
    return BlobFolder(folder)


def stored(blobs: BlobFolder, contents: bytes = b"sealed") -> str:
    """Write and commit a blob; its name."""
    writer = blobs.create()
    writer.write(contents)
    writer.commit()
    return writer.name


def make_old(folder: Path) -> None:
    """Age everything in the folder by two days."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - 2 * 86_400,) * 2)


def test_a_committed_blob_reads_back(blobs: BlobFolder) -> None:
    """At any offset, and short only at the end."""
    with blobs.open(stored(blobs, b"0123456789")) as blob:
        assert blob.size == 10
        assert blob.read_at(0, 10) == b"0123456789"
        assert blob.read_at(7, 10) == b"789"
        assert blob.read_at(10, 1) == b""


def test_reading_now_gives_the_bytes_or_says_that_it_would_wait(blobs: BlobFolder) -> None:
    """What was read a moment ago is in memory, unless the file system can't tell; past the end it never is."""
    contents = os.urandom(200_000)
    with blobs.open(stored(blobs, contents)) as blob:
        blob.read_at(0, blob.size)
        try:
            assert blob.read_now(70_000, 65_536) == contents[70_000:135_536]
        except BlockingIOError as exc:
            assert exc.__cause__ is not None  # noqa: PT017  # a file system in memory may refuse to tell
        with pytest.raises(BlockingIOError):
            blob.read_now(150_000, 65_536)


def test_a_view_is_what_is_there(blobs: BlobFolder) -> None:
    """Of any length, up to the end and no further; the next read takes its place."""
    contents = os.urandom(150_000)
    with blobs.open(stored(blobs, contents)) as blob:
        for offset, length in ((0, 40), (65_536, 65_536), (140_000, 65_536), (150_000, 1)):
            assert blob.read_view(offset, length) == contents[offset : offset + length]


def test_names_are_random_and_files_private(blobs: BlobFolder, folder: Path) -> None:
    """A name says nothing about partner or file, and only the owner reads it."""
    names = [stored(blobs) for _ in range(5)]
    assert len(set(names)) == 5
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)
    assert all(stat.S_IMODE((folder / name).stat().st_mode) == 0o600 for name in names)
    assert blobs.names() == sorted(names)


def test_blobs_are_found_by_the_process_that_began_them(blobs: BlobFolder, folder: Path) -> None:
    """Its own, finished or not, and nobody else's; without a file for what was never written."""
    one, two, other, nobodys = (blobs.create(process) for process in ("P1", "P1", "P2", ""))
    blobs.create("P1")
    for writer in (one, two, other, nobodys):
        writer.write(b"x")
    one.commit()
    assert blobs.begun_by("P1") == sorted([one.name, two.name])
    assert blobs.begun_by("P2") == [other.name]
    assert blobs.begun_by("P3") == []
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in (one.name, two.name))
    for writer in (two, other, nobodys):
        writer.abort()


def test_a_blob_that_ended_is_not_written_again(blobs: BlobFolder, folder: Path) -> None:
    """Committed or aborted, even before its first byte: a late write makes no file."""
    committed, aborted, empty = (blobs.create() for _ in range(3))
    committed.write(b"x")
    committed.commit()
    aborted.abort()
    for writer in (committed, aborted):
        with pytest.raises(VaultError, match="committed or aborted"):
            writer.write(b"y")
    with pytest.raises(VaultError, match="empty"):
        empty.commit()
    assert [path.name for path in folder.iterdir()] == [committed.name]


def test_a_blob_is_invisible_until_it_is_committed(blobs: BlobFolder) -> None:
    """Nobody opens half a blob."""
    writer = blobs.create()
    writer.write(b"half")
    assert blobs.names() == []
    with pytest.raises(BlobMissing):
        blobs.open(writer.name)
    writer.commit()
    assert blobs.names() == [writer.name]


def test_commit_may_be_repeated(blobs: BlobFolder) -> None:
    """The second time nothing happens."""
    writer = blobs.create()
    writer.write(b"x")
    writer.commit()
    writer.commit()
    writer.abort()
    assert blobs.names() == [writer.name]


def test_an_aborted_blob_leaves_nothing(blobs: BlobFolder, folder: Path) -> None:
    """And can't be committed afterwards."""
    writer = blobs.create()
    writer.write(b"x")
    writer.abort()
    writer.abort()
    assert list(folder.iterdir()) == []
    with pytest.raises(VaultError, match="aborted"):
        writer.commit()


def test_commit_syncs_the_file_before_its_name_and_the_folder_after(
    blobs: BlobFolder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order in which a power cut loses nothing: contents, name, folder."""
    steps: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "contents")
        real_fsync(fd)

    def rename(before: str, after: str) -> None:
        steps.append("name")
        real_rename(before, after)

    writer = blobs.create()
    writer.write(b"x")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    writer.commit()
    assert steps == ["contents", "name", "folder"]


def test_a_killed_writer_leaves_no_blob(folder: Path, blobs: BlobFolder) -> None:
    """After kill -9 between writing and commit there is an unfinished file, which a sweep removes."""
    code = (
        "import sys, time; from pathlib import Path; from gateway.vault.blobs import BlobFolder\n"
        "writer = BlobFolder(Path(sys.argv[1])).create(); writer.write(b'x' * 100000)\n"
        "print('written', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    assert blobs.names() == []
    assert len(list(folder.iterdir())) == 1
    make_old(folder)
    swept = blobs.sweep(lambda _: True, DAY)
    assert (swept.unfinished, swept.orphans) == (1, 0)
    assert list(folder.iterdir()) == []


def test_remove_is_final_and_may_be_repeated(blobs: BlobFolder, folder: Path) -> None:
    """Several at once; what is gone already is no error."""
    one, other, kept = stored(blobs), stored(blobs), stored(blobs)
    blobs.remove(one, other)
    blobs.remove(one)
    assert blobs.names() == [kept]
    with pytest.raises(BlobMissing):
        blobs.open(one)


def test_what_a_killed_writer_left_is_removed_by_its_name(blobs: BlobFolder, folder: Path) -> None:
    """Its row knows the name from the beginning, and nobody may ever finish it."""
    left = blobs.create()
    left.write(b"ciphertext")
    assert [path.name for path in folder.iterdir()] == [left.name + ".part"]
    blobs.remove(left.name)
    assert list(folder.iterdir()) == []


def test_a_removal_that_fails_is_said(blobs: BlobFolder, folder: Path) -> None:
    """Nobody certifies what still lies there."""
    name = "0" * 32
    (folder / name).mkdir()
    with pytest.raises(VaultError, match="can't be removed"):
        blobs.remove(name)


def test_a_sweep_takes_orphans_and_leaves_what_is_known_or_young(blobs: BlobFolder, folder: Path) -> None:
    """What a row knows stays, and so does what was just written: its row may be on its way."""
    known, orphan = stored(blobs), stored(blobs)
    unfinished = blobs.create()
    unfinished.write(b"x")
    make_old(folder)
    young_orphan, young_unfinished = stored(blobs), blobs.create()
    young_unfinished.write(b"x")
    (folder / "README").write_text("not ours")
    swept = blobs.sweep({known}.__contains__, DAY)
    assert (swept.unfinished, swept.orphans) == (1, 1)
    assert blobs.names() == sorted([known, young_orphan])
    assert orphan not in blobs.names()
    assert (folder / "README").exists()
    young_unfinished.commit()
    unfinished.abort()


@pytest.mark.parametrize("name", ["", "../gateway.db", "abc", "A" * 32, "0" * 32 + ".part", "0" * 31 + "/"])
def test_what_is_no_blob_name_reaches_no_file(blobs: BlobFolder, name: str) -> None:
    """A name from anywhere leads nowhere else."""
    with pytest.raises(BlobMissing):
        blobs.open(name)
    with pytest.raises(BlobMissing):
        blobs.remove(name)


def test_a_link_in_the_folder_is_not_followed(blobs: BlobFolder, folder: Path, tmp_path: Path) -> None:
    """A blob is a file that we wrote."""
    (tmp_path / "secret").write_text("secret")
    (folder / ("0" * 32)).symlink_to(tmp_path / "secret")
    with pytest.raises(VaultError):
        blobs.open("0" * 32)
