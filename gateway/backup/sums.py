"""What a backup holds, file by file: `SHA256SUMS`, which `sha256sum --check` reads too, and `backup.json` about it.

`backup.json` is the last one listed, and the list is written last: a backup that was cut off is told from a whole one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from gateway.errors import CommandError
from gateway.vault.durable import place_file, sync_folder, write_all

SUMS_FILE = "SHA256SUMS"
ABOUT_FILE = "backup.json"
_CHUNK = 1 << 20

#: Told how many of how many files are done.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A backup: when and by which version it was made, how many files, whether with the keys.

    `missing` sealed files could not be copied although the database needs them.
    """

    version: str
    made_at: str
    files: int
    blobs: int
    bytes: int
    with_keys: bool
    missing: int


class Sums:
    """The list of a backup in the making: files are copied, and listed with their digests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._part = folder / f".{SUMS_FILE}.part"
        fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "w")
        self.files = self.bytes = 0

    def copy(self, source: Path, name: str) -> None:
        """Copy a file, durable but for its folder. OSError when it can't be read or written."""
        with source.open("rb") as file:
            target = self._folder / name
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            digest = sha256()
            try:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    write_all(fd, chunk)
                    self.bytes += len(chunk)
                os.fsync(fd)
            finally:
                os.close(fd)
        self._add(name, digest.hexdigest())

    def keep(self, name: str) -> None:
        """List a file that is there already, once it is durable."""
        path = self._folder / name
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self.bytes += path.stat().st_size
        self._add(name, digest_of(path))

    def finish(self, about: About) -> str:
        """Write what the backup is, and the list in its place: from here on it is one. The digest of the list."""
        text = json.dumps(asdict(about), indent=2) + "\n"
        place_file(self._folder / ABOUT_FILE, text.encode())
        self._add(ABOUT_FILE, digest_of(self._folder / ABOUT_FILE))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        for path, _, _ in os.walk(self._folder):
            sync_folder(Path(path))
        self._part.rename(self._folder / SUMS_FILE)
        sync_folder(self._folder)
        return digest_of(self._folder / SUMS_FILE)

    def _add(self, name: str, digest: str) -> None:
        self._file.write(f"{digest}  {name}\n")
        self.files += 1


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        digest = sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def about(folder: Path) -> About:
    """What a backup says of itself. CommandError when the folder is none."""
    try:
        return About(**json.loads((folder / ABOUT_FILE).read_bytes()))
    except (OSError, ValueError, TypeError) as exc:
        raise CommandError(f"{folder} is no backup, or one that was cut off: it has no {ABOUT_FILE}") from exc


def listed(folder: Path) -> Iterator[tuple[str, str]]:
    """Digest and name of each file of a backup.

    Raises:
        CommandError: there is no list, or it is damaged or names a file outside the backup.
    """
    path, name = folder / SUMS_FILE, ""
    try:
        with path.open() as file:
            for line in file:
                digest, _, name = line.rstrip("\n").partition("  ")
                if not name or name.startswith("/") or ".." in Path(name).parts:
                    raise CommandError(f"{path} is damaged: nothing of this backup can be relied on")
                yield digest, name
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"{folder} is no backup, or one that was cut off: it has no {SUMS_FILE}") from exc
    if name != ABOUT_FILE:
        raise CommandError(f"{path} was cut off: nothing of this backup can be relied on")


def verify(folder: Path, progress: Progress | None = None) -> list[str]:
    """One sentence for each file of a backup that is not what it was, is missing or was added; empty: it is whole.

    Raises:
        CommandError: it is no backup, or its list is damaged.
    """
    told, total = [], about(folder).files
    known = {SUMS_FILE}
    for done, (digest, name) in enumerate(listed(folder), start=1):
        known.add(name)
        try:
            if (folder / name).is_symlink() or digest_of(folder / name) != digest:
                told.append(f"{name} was altered")
        except OSError as exc:
            told.append(f"{name} can't be read: {exc.strerror}")
        if progress is not None:
            progress(done, total)
    for root, _, names in os.walk(folder):
        there = {Path(root, name).relative_to(folder).as_posix() for name in names}
        told += [f"{name} does not belong to it" for name in sorted(there - known)]
    return told
