"""The virtual tree of boxes: what a client's path means. Pure; no path of a client reaches a disk.

/            the partner's boxes
/inbox       write-only       /outbox /returns /audit   read-only; /audit has folders
"""

from __future__ import annotations

import time
import unicodedata
from dataclasses import dataclass

from gateway.domain.partner import BOXES, Box, Role
from gateway.exchange.protocol import Attributes

#: Characters of a name, after NFC (spec 1, The boxes).
MOST_NAME_CHARACTERS = 200
#: The longest path that is looked at.
_MOST_PATH_BYTES = 4096

_FOLDER, _FILE = 0o040000, 0o100000
#: Times of a folder: a constant, because nothing here has a history to show.
_FOLDER_TIME = 0
_HALF_YEAR_S = 182 * 86_400


@dataclass(frozen=True, slots=True)
class Root:
    """The folder of boxes."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A box."""

    box: Box


@dataclass(frozen=True, slots=True)
class File:
    """A name in a box; whether a file has it is another question."""

    box: Box
    name: str


@dataclass(frozen=True, slots=True)
class Below:
    """A path below the auditor's box; whether a folder or a file has it is another question."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BadName:
    """A name in a box that no file can have."""

    box: Box


@dataclass(frozen=True, slots=True)
class Nowhere:
    """A path that leads to nothing, or to what is somebody else's: the same answer for both."""

    #: directly under `/`, where nobody can write
    in_root: bool = False


Place = Root | Folder | File | Below | BadName | Nowhere


def is_name(name: str) -> bool:
    """Whether a file can have this name: NFC, 1-200 characters, no `/`, control or bidi characters."""
    return (
        0 < len(name) <= MOST_NAME_CHARACTERS
        and name not in {".", ".."}
        and "/" not in name
        and unicodedata.is_normalized("NFC", name)
        and all(unicodedata.category(character) not in _UNPRINTABLE for character in name)
    )


#: Control, format (all bidi marks are format characters), surrogate, line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def canonical(path: bytes) -> str | None:
    """The absolute path that REALPATH answers; None when it is not UTF-8 or much too long.

    `.` and `..` are resolved in the text itself, never above `/`; relative paths begin at `/`.
    """
    if len(path) > _MOST_PATH_BYTES:
        return None
    try:
        text = unicodedata.normalize("NFC", path.decode())
    except UnicodeDecodeError:
        return None
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def resolve(role: Role, path: bytes) -> Place:
    """What a path means to a partner of this role."""
    text = canonical(path)
    if text is None:
        return Nowhere()
    if text == "/":
        return Root()
    head, _, name = text[1:].partition("/")
    box = next((box for box in BOXES[role] if box == head), None)
    if box is Box.AUDIT and name:
        parts = tuple(name.split("/"))
        return Below(parts) if all(map(is_name, parts)) else BadName(box)
    if box is None or "/" in name:
        return Nowhere(in_root=text.count("/") == 1)
    if not name:
        return Folder(box)
    return File(box, name) if is_name(name) else BadName(box)


def folder_attributes(box: Box | None) -> Attributes:
    """Attributes of a box, or of the root when None."""
    mode = 0o730 if box is Box.INBOX else 0o550
    return Attributes(size=0, mode=_FOLDER | mode, accessed=_FOLDER_TIME, modified=_FOLDER_TIME)


def file_attributes(
    box: Box, *, size: int, at: int, mode: int | None = None, accessed: int | None = None
) -> Attributes:
    """Attributes of a file.

    Args:
        box: where it lies.
        size: plaintext bytes.
        at: modification time, seconds since 1970.
        mode: permission bits that the client set, if it did.
        accessed: access time; `at` when None.
    """
    default = 0o240 if box is Box.INBOX else 0o440
    shown = default if mode is None else mode & 0o7777
    return Attributes(
        size=size, mode=_FILE | shown, accessed=at if accessed is None else accessed, modified=at
    )


def long_name(name: str, attributes: Attributes, now_s: float) -> str:
    """A line as `ls -l` prints it, which version 3 clients show as it is. Times are UTC."""
    mode, modified = attributes.mode or 0, attributes.modified or 0
    kind = "d" if mode & _FOLDER else "-"
    bits = "".join(letter if mode >> (8 - i) & 1 else "-" for i, letter in enumerate("rwxrwxrwx"))
    moment = time.gmtime(modified)
    recent = 0 <= now_s - modified < _HALF_YEAR_S
    when = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2} "
    when += f"{moment.tm_hour:02}:{moment.tm_min:02}" if recent else f" {moment.tm_year}"
    return f"{kind}{bits}    1 partner  gateway  {attributes.size or 0:>12} {when} {name}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
