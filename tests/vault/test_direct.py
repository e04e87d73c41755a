"""Large blobs on their way past the page cache: the same bytes, and a disk that fails is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.errors import VaultError
from gateway.vault import blobs as blobs_module
from gateway.vault import direct
from gateway.vault.blobs import BlobFolder, BlobWriter
from gateway.vault.direct import MOST_AT_ONCE, WRITE_BYTES, Lane
from gateway.vault.stream import FIRST_TEXT_BYTES, SEGMENT_BYTES, TEXT_BYTES, SealedReader, Sealer

KEY, PLACE = bytes(range(32)), b"gw/v1/file\0place"
SMALL = 2 * SEGMENT_BYTES


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobFolder:
    """An empty folder, where a blob is large from its third segment on."""
    monkeypatch.setattr(blobs_module, "LARGE_BYTES", SMALL)
    return BlobFolder(tmp_path / "vault")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each write of a thread had."""
    counts: list[int] = []
    write_all = direct.write_all

    def counted(fd: int, data: memoryview) -> None:
        counts.append(len(data))
        write_all(fd, data)

    monkeypatch.setattr(direct, "write_all", counted)
    return counts


def sealed(writer: BlobWriter, text: bytes) -> None:
    """Seal a text into a blob, in pieces that fit nothing."""
    sealer = Sealer(KEY, PLACE, writer.take)
    for begin in range(0, len(text), 100_001):
        sealer.write(text[begin : begin + 100_001])
    sealer.finish()


def opened(blobs: BlobFolder, name: str) -> bytes:
    """What a blob holds."""
    with blobs.open(name) as blob:
        return b"".join(SealedReader(KEY, PLACE, blob.read_at, blob.size).chunks())


def text_of(sealed_bytes: int) -> bytes:
    """As much text as fills so many bytes of whole segments."""
    return os.urandom(FIRST_TEXT_BYTES + (sealed_bytes // SEGMENT_BYTES - 1) * TEXT_BYTES)


def takes_direct(folder: Path) -> bool:
    """Whether the file system has such a way."""
    try:
        os.close(os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("more", [-1, 0, 1, 70_000])
@pytest.mark.parametrize(
    "whole", [SMALL, SMALL + SEGMENT_BYTES, SMALL + WRITE_BYTES, SMALL + 3 * WRITE_BYTES + SEGMENT_BYTES]
)
def test_a_large_blob_reads_back(blobs: BlobFolder, written: list[int], whole: int, more: int) -> None:
    """Whatever its length, around segments and around writes; only whole buffers go to the threads."""
    text = text_of(whole)
    text = text[:more] if more < 0 else text + os.urandom(more)
    writer = blobs.create()
    sealed(writer, text)
    writer.commit()
    assert opened(blobs, writer.name) == text
    with blobs.open(writer.name) as blob:
        past = (blob.size - SMALL) // WRITE_BYTES
    assert written == [WRITE_BYTES] * (past if takes_direct(blobs._path) else 0)


def test_one_more_than_there_are_lanes_goes_the_other_way(blobs: BlobFolder, written: list[int]) -> None:
    """None waits for another, and each lane serves again when its blob is done, received or not."""
    if not takes_direct(blobs._path):
        pytest.skip("this file system has no O_DIRECT")
    text = text_of(SMALL + WRITE_BYTES + SEGMENT_BYTES)
    for _ in range(2):
        written.clear()
        writers = [blobs.create() for _ in range(MOST_AT_ONCE + 1)]
        for writer in writers:
            sealed(writer, text)
        for writer in writers[1:]:
            writer.commit()
        writers[0].abort()
        assert len(written) == MOST_AT_ONCE
        assert all(opened(blobs, writer.name) == text for writer in writers[1:])


def test_a_file_system_without_that_way_is_written_as_ever(
    blobs: BlobFolder, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What refuses O_DIRECT (a file system in memory, some networks') gets the same bytes."""
    open_ = os.open

    def refused(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return open_(path, flags, mode)

    monkeypatch.setattr(os, "open", refused)
    text = text_of(SMALL + 2 * WRITE_BYTES)
    for _ in range(MOST_AT_ONCE + 1):  # and no lane is lost to it
        writer = blobs.create()
        sealed(writer, text)
        writer.commit()
        assert opened(blobs, writer.name) == text
    assert written == []


@pytest.mark.parametrize("buffers", [1, 4])
def test_a_disk_that_takes_no_more_is_told(
    blobs: BlobFolder, monkeypatch: pytest.MonkeyPatch, buffers: int
) -> None:
    """At a later segment or at the commit, whichever comes first; nothing is left, and the lane is free again."""
    if not takes_direct(blobs._path):
        pytest.skip("this file system has no O_DIRECT")
    lanes: list[Lane] = []
    take = blobs._lanes.take

    def kept(path: Path, offset: int) -> Lane | None:
        lane = take(path, offset)
        assert lane is not None
        lanes.append(lane)
        return lane

    monkeypatch.setattr(blobs._lanes, "take", kept)

    def full(_fd: int, _data: memoryview) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for _ in range(MOST_AT_ONCE + 1):
        writer = blobs.create()
        with monkeypatch.context() as patched:
            patched.setattr(direct, "write_all", full)
            with pytest.raises(VaultError, match="No space left"):  # noqa: PT012  # by which of the two, is one
                sealed(writer, text_of(SMALL + buffers * WRITE_BYTES))
                writer.commit()
        writer.abort()
    assert len(lanes) == MOST_AT_ONCE + 1
    assert blobs.names() == []
    assert [path.name for path in blobs._path.iterdir()] == ["probe"]
