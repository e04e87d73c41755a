"""The folders of the home: whose they are, who can read them, and what lies inside what."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.settings import Home
from gateway.vault.copies import CACHEDIR_TAG, TAG_FILE

#: Public by nature.
_PUBLIC = frozenset({TAG_FILE, "README.md", ".gitignore"})


def look(home: Home) -> Iterator[Finding]:
    """Modes and owners, what lies inside what, and the tag that keeps keys out of backups."""
    yield _readable(home)
    yield _owned(home)
    yield _apart(home)
    yield _tagged(home)


def _readable(home: Home) -> Finding:
    """Keys, data and log are their owner's only; the public halves of keys may be read by anyone."""
    wide = [
        path
        for path in _private(home)
        if stat.S_IMODE(path.lstat().st_mode) & 0o077 and not path.is_symlink()
    ]
    if not wide:
        return ok("modes", "keys/, data/ and log/ are their owner's only")
    shown = wide[0].relative_to(home.root)
    more = f" and {len(wide) - 1:,} more" if len(wide) > 1 else ""
    return fail("modes", f"{shown}{more} can be used by others", f"chmod -R go= {_names(home, wide)}")


def _private(home: Home) -> Iterator[Path]:
    """Every folder that nobody else may enter, and every key: what lies in a closed folder is closed."""
    for folder in (home.keys, home.data, home.log):
        if folder.is_dir():
            yield folder
    if home.keys.is_dir():
        yield from (
            path for path in home.keys.rglob("*") if path.name not in _PUBLIC and path.suffix != ".pub"
        )


def _owned(home: Home) -> Finding:
    """One owner: a file that root made by a command can be in the daemon's way."""
    if not home.data.is_dir():
        return fail("owner", "data/ is missing", "restore it from a backup, or: gateway init DIR")
    owner = home.data.stat().st_uid
    strange = [
        path
        for folder in (home.keys, home.data, home.log)
        if folder.is_dir()
        for path in (folder, *_below(folder))
        if _owner(path) not in {owner, None}
    ]
    if not strange:
        return ok("owner", f"everything belongs to user {owner}")
    more = f", with {len(strange) - 1:,} more," if len(strange) > 1 else ""
    return fail(
        "owner",
        f"{strange[0].relative_to(home.root)}{more} belongs to another user than data/",
        f"chown -R {owner} {_names(home, strange)}",
    )


def _below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        yield from (Path(root, name) for name in (*folders, *files))


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:  # gone while we looked
        return None


def _apart(home: Home) -> Finding:
    """A copy of data/ must hold neither the keys nor the log that vouches for it, wherever links lead."""
    data = home.data.resolve()
    inside = [folder.name for folder in (home.keys, home.log) if folder.resolve().is_relative_to(data)]
    if not inside:
        return ok("layout", "keys/ and log/ lie outside data/")
    return fail(
        "layout",
        f"{' and '.join(inside)} lie inside data/: each backup of it holds them",
        "stop the gateway and move them beside data/",
    )


def _tagged(home: Home) -> Finding:
    tag = home.keys / TAG_FILE
    try:
        if tag.read_bytes().startswith(CACHEDIR_TAG.splitlines()[0]):
            return ok("backup tag", f"keys/{TAG_FILE} is there: backup programs that know it leave keys/ out")
    except OSError:
        pass
    signature = CACHEDIR_TAG.splitlines()[0].decode()
    return warn(
        "backup tag",
        f"keys/{TAG_FILE} is missing: a backup of the whole host takes the keys along",
        f"echo '{signature}' > {tag}",
    )


def _names(home: Home, paths: list[Path]) -> str:
    """The folders of the home in which paths lie, as a command takes them."""
    tops = dict.fromkeys(home.root / path.relative_to(home.root).parts[0] for path in paths)
    return " ".join(map(str, tops))
