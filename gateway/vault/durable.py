"""Files that are there after a power cut: written aside, synced, renamed, their folder synced."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make creations, renames and removals in `folder` durable: a rename alone may be lost."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data`: one call may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def place_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put `data` at `path` whole or not at all, replacing what is there.

    The contents are synced; the caller syncs the folder, once for a batch (`sync_folder`). Two
    writers of the same path must be kept apart by the caller.
    """
    aside = path.with_name(f".{path.name}.new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    aside.replace(path)


def create_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put `data` at `path`, which must not exist yet (FileExistsError); durable on return."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(path.parent)
