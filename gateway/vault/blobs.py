"""Blobs: sealed files in one folder, under random names (spec 4, Vault).

A blob is written aside and appears under its name only when it is whole and durable. The row that
knows it comes second: a blob that no row knows is an orphan, and `sweep` removes it.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from gateway.errors import BlobMissing, VaultError
from gateway.together import Together
from gateway.vault.direct import Lane, Lanes
from gateway.vault.durable import sync_folder, write_all

#: From here on a stream that is sealed goes past the page cache: a multiple of a segment's bytes.
LARGE_BYTES = 8 << 20

_NAME = re.compile(r"[0-9a-f]{32}")
_UNFINISHED = ".part"


class BlobWriter:
    """A blob that is being written; invisible until `commit`, and no file before the first byte."""

    def __init__(self, folder: str, name: str, sync_folder: Callable[[], None], lanes: Lanes) -> None:
        self.name = name
        self._sync_folder = sync_folder
        self._lanes, self._bytes = lanes, 0
        self._lane: Lane | None = None
        # texts: a Path for each costs more than what is done with it
        self._path = f"{folder}/{self.name}"
        self._aside = self._path + _UNFINISHED
        self._fd = -1
        #: nothing more is written: it was committed or aborted
        self._is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ciphertext. VaultError when the disk takes it not; its cause is the OSError."""
        if self._fd < 0:
            self._create()
        try:
            write_all(self._fd, data)
        except OSError as exc:
            raise VaultError(f"a blob can't be written: {exc.strerror}") from exc

    def take(self, segment: memoryview) -> memoryview | None:
        """Append the next segment of a stream, and give where the one after it is sealed; None: where this one was.

        Raises:
            VaultError: the disk takes it not, or did not take an earlier one; its cause is the OSError.
        """
        if self._lane is None:
            self.write(segment)
            self._bytes += len(segment)
            if self._bytes != LARGE_BYTES:
                return None
            self._lane = self._lanes.take(self._aside, self._bytes)
            return None if self._lane is None else self._lane.room
        try:
            self._lane.take(len(segment))
        except OSError as exc:
            raise VaultError(f"a blob can't be written: {exc.strerror}") from exc
        return self._lane.room

    def commit(self) -> None:
        """Make the blob durable and visible: sync, rename, sync the folder. May be repeated once done.

        After an error the blob must be aborted: a second sync proves nothing.
        """
        if self._fd < 0:
            if os.path.exists(self._path):  # noqa: PTH110
                return
            raise VaultError("a blob that is aborted, or empty, can't be committed")
        try:
            if self._lane is not None:
                rest = self._lane.rest()
                os.lseek(self._fd, self._lane.offset, os.SEEK_SET)
                write_all(self._fd, rest)
            os.fsync(self._fd)
            os.rename(self._aside, self._path)  # noqa: PTH104
            self._sync_folder()
        except OSError as exc:
            raise VaultError(f"a blob can't be made durable: {exc.strerror}") from exc
        self._close()

    def abort(self) -> None:
        """Drop what was written; does nothing after `commit`. May be repeated.

        VaultError when the disk takes it not: the sweep removes it at the next start.
        """
        self._is_over = True
        if self._fd < 0:
            return
        try:
            self._close()
            for path in (self._aside, self._path):  # the second of a commit that failed half-way
                Path(path).unlink(missing_ok=True)
        except OSError as exc:
            raise VaultError(f"a blob can't be removed: {exc.strerror}") from exc

    def _create(self) -> None:
        if self._is_over:
            raise VaultError("a blob that is committed or aborted can't be written")
        try:
            self._fd = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise VaultError(f"a blob can't be made: {exc.strerror}") from exc

    def _close(self) -> None:
        fd, self._fd, self._is_over = self._fd, -1, True
        os.close(fd)
        if self._lane is not None:
            self._lane.close()
            self._lane = None


class BlobFile:
    """A blob that is being read; several threads may read at once."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as exc:
            raise BlobMissing(f"blob {path.name} is not in the vault") from exc
        except OSError as exc:
            raise VaultError(f"blob {path.name} can't be opened: {exc.strerror}") from exc
        #: bytes of ciphertext
        self.size = os.fstat(self._fd).st_size
        #: where a view is read to
        self._read = memoryview(b"")

    def read_at(self, offset: int, n: int) -> bytes:
        """The `n` bytes from `offset` on; fewer only at the end of the blob."""
        try:
            data = os.pread(self._fd, n, offset)
            while len(data) < n and (more := os.pread(self._fd, n - len(data), offset + len(data))):
                data += more
        except OSError as exc:
            raise VaultError(f"a blob can't be read: {exc.strerror}") from exc
        return data

    def read_view(self, offset: int, n: int) -> memoryview:
        """The same for one thread, without a copy for each read: a view that is good until it reads on."""
        data = self._room(n)
        count = 0
        try:
            while count < n and (more := os.preadv(self._fd, [data[count:]], offset + count)):
                count += more
        except OSError as exc:
            raise VaultError(f"a blob can't be read: {exc.strerror}") from exc
        return data[:count]

    def read_now(self, offset: int, n: int) -> memoryview:
        """The same from memory, for one thread: a view that is good until it reads on.

        Raises:
            BlockingIOError: not all of it is there, or the file system can't tell: reading may wait for the disk.
        """
        data = self._room(n)
        try:
            count = os.preadv(self._fd, [data], offset, os.RWF_NOWAIT)
        except OSError as exc:
            raise BlockingIOError from exc
        if count != n:
            raise BlockingIOError
        return data

    def _room(self, n: int) -> memoryview:
        if len(self._read) < n:
            self._read = memoryview(bytearray(n))
        return self._read[:n]

    def close(self) -> None:
        """Let go of the file. May be repeated."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> BlobFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep removed: `unfinished` files and `orphans` that no row knows."""

    unfinished: int
    orphans: int


class BlobFolder:
    """The blobs of one home folder, in one flat folder."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        # who renames or removes while another syncs shares the next sync
        self._syncs: Together[None] = Together(lambda _: sync_folder(path))
        self._lanes = Lanes()

    def __repr__(self) -> str:
        return f"BlobFolder({str(self._path)!r})"

    def create(self, process: str = "") -> BlobWriter:
        """A new blob to write; `begun_by` finds it by the process.

        Its name is of random bits, and never one that a partner gave.
        """
        name = secrets.token_hex(16) if not process else _mark(process) + secrets.token_hex(8)
        return BlobWriter(str(self._path), name, self._sync, self._lanes)

    def begun_by(self, process: str) -> list[str]:
        """The names of the blobs that a process began, whether they were ever committed or not."""
        mark = _mark(process)
        with os.scandir(self._path) as entries:
            found = {entry.name.removesuffix(_UNFINISHED) for entry in entries}
        return sorted(name for name in found if name.startswith(mark) and _NAME.fullmatch(name))

    def open(self, name: str) -> BlobFile:
        """A blob to read. Raises BlobMissing."""
        return BlobFile(self._blob(name))

    def remove(self, *names: str) -> None:
        """Remove blobs, for good and durably, also what was never finished; absent ones are no error.

        Raises:
            VaultError: one is left.
        """
        finished = [self._blob(name) for name in names]
        # who wrote may have been killed before the end
        paths = [*finished, *(path.with_name(path.name + _UNFINISHED) for path in finished)]
        if not paths:
            return
        try:
            for path in paths:
                path.unlink(missing_ok=True)
            self._sync()
        except OSError as exc:
            raise VaultError(f"a blob can't be removed: {exc.strerror}") from exc
        for path in paths:
            if os.path.lexists(path):
                raise VaultError(f"blob {path.name} is still there after its removal")

    def names(self) -> list[str]:
        """The names of all committed blobs, sorted."""
        return sorted(entry.name for entry in os.scandir(self._path) if _NAME.fullmatch(entry.name))

    def older(self, than: timedelta) -> Iterator[str]:
        """The names of the committed blobs that were last written longer ago, by the host's clock; in no order."""
        before = time.time() - than.total_seconds()
        with os.scandir(self._path) as entries:
            for entry in entries:
                try:
                    is_older = entry.stat(follow_symlinks=False).st_mtime <= before
                except FileNotFoundError:
                    continue  # removed while we looked
                if is_older and _NAME.fullmatch(entry.name):
                    yield entry.name

    def has(self, name: str) -> bool:
        """Whether a blob is there."""
        return os.path.lexists(self._blob(name))

    def sizes(self) -> dict[str, int]:
        """All committed blobs with their bytes of ciphertext."""
        found: dict[str, int] = {}
        for entry in os.scandir(self._path):
            if _NAME.fullmatch(entry.name):
                try:
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # removed while we looked
        return found

    def sweep(self, known: Callable[[str], bool], older_than: timedelta) -> Swept:
        """Remove unfinished files and orphans that were last written longer than `older_than` ago.

        Age is by the host's clock, which stamps the files. `known` is asked after the blob is seen, so
        with an age above the time between a commit and its row nothing in use is taken.
        """
        before = time.time() - older_than.total_seconds()
        unfinished: list[str] = []
        orphans: list[str] = []
        for entry in os.scandir(self._path):
            is_part = entry.name.endswith(_UNFINISHED)
            if not is_part and (not _NAME.fullmatch(entry.name) or known(entry.name)):
                continue
            try:
                if entry.stat(follow_symlinks=False).st_mtime <= before:
                    (unfinished if is_part else orphans).append(entry.name)
            except FileNotFoundError:
                continue  # committed, aborted or removed while we looked
        for name in unfinished:
            (self._path / name).unlink(missing_ok=True)
        self.remove(*orphans)
        return Swept(unfinished=len(unfinished), orphans=len(orphans))

    def _sync(self) -> None:
        self._syncs.add(None)

    def _blob(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise BlobMissing("that is not the name of a blob")
        return self._path / name


@lru_cache(maxsize=16)
def _mark(process: str) -> str:
    """With what the names of a process begin: ids of processes are random, and so is this."""
    return sha256(f"gw/v1/blobs of {process}".encode()).hexdigest()[:16]
