"""A backup: it must hold the data, and none of the keys (spec 4, Keys)."""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.vault.root import FILES, Provider

#: By their names: the root key, the ring, and those that prove who the gateway is.
_KEY = re.compile(
    r"(next-)?root\.(key|argon2id|credential)|audit\.key|host_(ed25519|ecdsa)(-\d+)?|(until|index|hold)-[0-9A-Za-z-]+\.key"
)
_SUBJECT = "backup"


def look(path: Path) -> Finding:
    """Look through a folder, a tar or a zip archive by the names of what it holds.

    A key that a backup holds is not destroyed on its day: what it sealed can be read as long as the backup is.
    """
    try:
        names = list(_names(path))
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as exc:
        return fail(
            _SUBJECT, f"{path}: {_reason(exc)}", "name a folder, a tar or a zip archive that can be read"
        )
    if not names:
        return warn(
            _SUBJECT,
            f"{path} is empty, or no tar or zip archive",
            "restore the backup into a folder, and name that",
        )
    keys = [name for name in names if _KEY.fullmatch(PurePosixPath(name).name)]
    if keys:
        is_all = any(PurePosixPath(name).name == FILES[Provider.FILE] for name in keys)
        return fail(
            _SUBJECT,
            f"{path} holds {len(keys):,} keys, the first is {keys[0]}: what they sealed"
            f"{'' if is_all else ', with the root key,'} outlives its day there",
            "leave keys/ out of the backup (borg and restic: --exclude-caches), and destroy the copies that hold it",
        )
    if not any(PurePosixPath(name).name == "gateway.db" for name in names):
        return warn(_SUBJECT, f"{path} holds no keys, and no gateway.db either", "name a backup of data/")
    return ok(_SUBJECT, f"{path} holds the database and none of the keys")


def _names(path: Path) -> Iterator[str]:
    if path.is_dir():
        for root, _, files in os.walk(path, onerror=_stop):
            yield from (Path(root, name).relative_to(path).as_posix() for name in files)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from archive.namelist()
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            yield from (member.name for member in tar)
    else:
        path.open("rb").close()


def _stop(error: OSError) -> None:
    """A folder that can't be entered may hold anything."""
    raise error


def _reason(exc: Exception) -> str:
    return exc.strerror if isinstance(exc, OSError) and exc.strerror else "can't be read"
