"""A folder whose files are rendered when they are read: what the auditor's box is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A name in such a folder. `size` in bytes; None: a folder. `at`: since when it is as it is."""

    name: str
    size: int | None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file as it is now; `at`: since when it is as it is."""

    data: bytes
    at: datetime | None = None


class Shelf(Protocol):
    """A tree of folders and files; paths are below it, and () is the shelf itself.

    `scope` are the municipalities that the reader may see; None: all.
    """

    def listing(self, path: Sequence[str], scope: Sequence[str] | None) -> list[Shown] | None:
        """What is in a folder; None when there is no such folder."""
        ...

    def document(self, path: Sequence[str], scope: Sequence[str] | None) -> Document | None:
        """A file; None when there is no such file."""
        ...
