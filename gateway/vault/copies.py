"""Registered copies of the ring: folders elsewhere that hold every key as the ring does (spec 4, Keys).

`keys/copies` names them, a line each: `copy-1 /mnt/safe/ring`. What is registered has a key before it is used,
and a destruction is confirmed for each. A copy bears a CACHEDIR.TAG: without it the folder is not the copy,
but what is there while a disk is not mounted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.errors import KeyringError
from gateway.vault.durable import place_file, sync_folder

COPIES_FILE = "copies"
SUFFIX = ".key"

TAG_FILE = "CACHEDIR.TAG"
#: Backup programs leave out a folder with this tag (https://bford.info/cachedir/): a key that a
#: backup still holds is not destroyed.
CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# The keyring is left out of backups: a key that a backup still holds is not destroyed.\n"
)


def registered(keys_dir: Path) -> dict[str, Path]:
    """Name -> folder of each registered copy."""
    path = keys_dir / COPIES_FILE
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise KeyringError(f"{path} can't be read") from exc
    found = {name: Path(place) for name, _, place in (line.partition(" ") for line in lines if line)}
    if not all(place.is_absolute() for place in found.values()) or len(found) != len(
        list(filter(None, lines))
    ):
        raise KeyringError(f"{path} is damaged: a line is a name, a blank and the path of a folder")
    return found


def register(keys_dir: Path, folder: Path, keys: Mapping[str, bytes], told: Callable[[str], None]) -> str:
    """Make `folder` a copy that holds `keys`, durable before it is registered; gives its name.

    `told` is called with the name when the keys are there, before the copy is registered.

    Raises:
        KeyringError: it can't be one.
    """
    folder = folder.resolve()
    known = registered(keys_dir)
    if folder in known.values():
        raise KeyringError(f"{folder} is registered already")
    if folder.is_relative_to(keys_dir.resolve()) or keys_dir.resolve().is_relative_to(folder):
        raise KeyringError(
            f"{folder} is on the same disk and in the same folder as the keyring: name another"
        )
    name = f"copy-{1 + max((int(each.rpartition('-')[2]) for each in known), default=0)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if strange := [path for path in folder.iterdir() if path.name != TAG_FILE]:
            raise KeyringError(
                f"{folder} is not empty ({strange[0].name} is there): name a new or empty folder"
            )
        folder.chmod(0o700)
        for key_id, wrapped in keys.items():
            place_file(_path(folder, key_id), wrapped)
        place_file(folder / TAG_FILE, CACHEDIR_TAG, mode=0o644)
        sync_folder(folder)
    except OSError as exc:
        raise KeyringError(f"{folder} can't be a copy: {exc.strerror}") from exc
    told(name)
    lines = [f"{each} {place}\n" for each, place in {**known, name: folder}.items()]
    place_file(keys_dir / COPIES_FILE, "".join(lines).encode())
    sync_folder(keys_dir)
    return name


def is_there(folder: Path) -> bool:
    """Whether the copy can be reached now."""
    return (folder / TAG_FILE).is_file()


def put(folder: Path, keys: Mapping[str, bytes]) -> bool:
    """Put keys, by name, into a copy, durable on return; False when it can't be reached or written."""
    if not is_there(folder):
        return False
    try:
        for name, wrapped in keys.items():
            place_file(_path(folder, name), wrapped)
        sync_folder(folder)
    except OSError:
        return False
    return True


def holds(folder: Path, name: str) -> bool | None:
    """Whether a copy holds a key; None when it can't be reached."""
    return os.path.lexists(_path(folder, name)) if is_there(folder) else None


def read(folder: Path, name: str) -> bytes | None:
    """A key as the copy holds it; None when it does not, or can't be read."""
    try:
        return _path(folder, name).read_bytes()
    except OSError:
        return None


def names(folder: Path) -> list[str] | None:
    """The names of the keys in a copy; None when it can't be reached."""
    if not is_there(folder):
        return None
    try:
        return [path.name.removesuffix(SUFFIX) for path in folder.iterdir() if path.name.endswith(SUFFIX)]
    except OSError:
        return None


def remove(folder: Path, name: str) -> bool:
    """Remove a key from a copy; True when it was seen to be gone, durably."""
    if not is_there(folder):
        return False
    path = _path(folder, name)
    try:
        path.unlink(missing_ok=True)
        path.with_name(f".{path.name}.new").unlink(missing_ok=True)
        sync_folder(folder)
    except OSError:
        return False
    return not os.path.lexists(path)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}{SUFFIX}"
