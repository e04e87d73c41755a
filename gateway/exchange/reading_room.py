"""The auditor's box: folders of what is rendered on read, within the auditor's scope (spec 2, For an auditor).

Blocking: runs in threads. Nothing is collected or removed here: it is there to be read.
"""

from __future__ import annotations

from datetime import datetime

from gateway import logs
from gateway.domain.partner import Box
from gateway.domain.shelf import Document, Shown
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.protocol import MOST_READ_BYTES, Attributes, Refused, Status
from gateway.exchange.tree import file_attributes, folder_attributes

_log = logs.get("exchange")


def listing(exchange: Exchange, visit: Visit, path: tuple[str, ...]) -> list[tuple[str, Attributes]]:
    """What is in a folder of the box; () is the box itself. Raises Refused when there is none."""
    if not path:
        return [(name, folder_attributes(Box.AUDIT)) for name in exchange.shelves]
    shelf = exchange.shelves.get(path[0])
    shown = None if shelf is None else shelf.listing(path[1:], visit.partner.scope)
    if shown is None:
        raise Refused(Status.NO_SUCH_FILE)
    return [(one.name, _attributes(one)) for one in shown]


def attributes_of(exchange: Exchange, visit: Visit, path: tuple[str, ...]) -> Attributes:
    """What STAT answers of a name below the box. Raises Refused when there is none."""
    found = document(exchange, visit, path)
    if found is not None:
        return _file(len(found.data), found.at)
    listing(exchange, visit, path)
    return folder_attributes(Box.AUDIT)


class Reading:
    """One OPEN for reading: the bytes as they were then, until CLOSE."""

    def __init__(self, exchange: Exchange, visit: Visit, path: tuple[str, ...]) -> None:
        """OPEN. Raises Refused when there is no such file."""
        found = document(exchange, visit, path)
        if found is None:
            raise Refused(Status.NO_SUCH_FILE)
        self._document = found
        _log.info(
            "audit.read",
            session_id=visit.session_id,
            partner_id=visit.partner.id,
            kind=path[0],
            size=len(found.data),
        )

    def attributes(self) -> Attributes:
        """What FSTAT answers: the size is that of what is read."""
        return _file(len(self._document.data), self._document.at)

    def read(self, offset: int, length: int) -> bytes:
        """READ: as many bytes as were asked for, fewer only at the end. Raises Refused at the end."""
        data = self._document.data
        if offset >= len(data):
            raise Refused(Status.EOF)
        return data[offset : offset + min(length, MOST_READ_BYTES)]


def document(exchange: Exchange, visit: Visit, path: tuple[str, ...]) -> Document | None:
    """The file of that name below the box; None when there is none."""
    shelf = exchange.shelves.get(path[0])
    return None if shelf is None else shelf.document(path[1:], visit.partner.scope)


def _file(size: int, at: datetime | None) -> Attributes:
    return file_attributes(Box.AUDIT, size=size, at=0 if at is None else int(at.timestamp()))


def _attributes(shown: Shown) -> Attributes:
    return folder_attributes(Box.AUDIT) if shown.size is None else _file(shown.size, shown.at)
