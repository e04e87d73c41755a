"""What a workbook may be, before anything reads it as one (spec 2, Limits; reference: ECMA-376 part 2).

An XLSX is a zip of XML. A few kilobytes of it can ask for gigabytes, run macros where it is opened, or fetch what
others control: such a file is refused by what its parts are called and how they unpack. This costs memory and time too:
it belongs in the process that reads the workbook.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterable
from io import BytesIO
from xml.etree import ElementTree

from gateway.errors import DeliveryError
from gateway.files.table import Limits

#: How a zip begins; the second is one without any part.
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
#: How old Office files begin, and workbooks with a password (MS-OFFCRYPTO).
OLE_START = b"\xd0\xcf\x11\xe0"

#: The custom property of a worklist, and its sheets that are filled in.
WORKLIST_PROPERTY = "gateway_werklijst"
MELDINGEN, SIGNALEN = "Meldingen", "Signalen"
#: Where custom properties stand (ECMA-376 part 1, 15.2.12.2).
_CUSTOM = "docProps/custom.xml"

#: Parts of a workbook with some hundred sheets.
_MOST_PARTS = 500
#: What is smaller when unpacked does no harm, however small it was.
_HARMLESS_BYTES = 1024**2
_CHUNK_BYTES = 64 * 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
#: The stream of a workbook with a password, as it is named in the file.
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_DOCTYPE = b"<!DOCTYPE"
#: Parts that a workbook may not have: how their path begins or ends, and what they are to a person.
_FORBIDDEN_PARTS = (
    ("xl/externallinks/", "koppelingen met andere bestanden"),
    ("xl/macrosheets/", "macro's"),
    ("xl/activex/", "macro's"),
    ("xl/embeddings/", "ingesloten bestanden"),
)
_FORBIDDEN_ENDS = (
    ("vbaproject.bin", "macro's"),
    (".zip", "ingesloten bestanden"),
    (".xlsx", "ingesloten bestanden"),
)


def check_ole(chunks: Iterable[bytes]) -> DeliveryError:
    """The refusal of an old Office file: F07 when it is a workbook with a password, else F11."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        if _ENCRYPTED_PACKAGE in rest:
            return DeliveryError("F07", "het bestand is met een wachtwoord beveiligd")
        rest = rest[-len(_ENCRYPTED_PACKAGE) :]
    return DeliveryError("F11", "een oud Office-bestand; sla het op als .xlsx of .csv")


def check_package(data: bytes, limits: Limits) -> None:
    """Refuse what is no workbook, or one that may not be read.

    Raises:
        DeliveryError: F01 damaged; F06 too big when unpacked; F07 encrypted, macros, links, embedded files or a
            DOCTYPE; F11 another kind of zip.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as package:
            _check_parts(package.infolist(), limits)
            unpacked = 0
            for part in package.infolist():
                unpacked += _check_contents(package, part, limits.unpacked_bytes - unpacked, limits)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, OverflowError):
        raise DeliveryError("F01", "het Excel-bestand is beschadigd") from None


def answered_sheets(data: bytes, sheets: Collection[str]) -> list[str]:
    """The sheets of a worklist to read, that which goes before first; none: it is another workbook.

    Its property tells it; where a program dropped that, both its sheets do. `data` is a package that was checked.
    """
    found = [name for name in (SIGNALEN, MELDINGEN) if name in sheets]
    return found if len(found) == 2 or WORKLIST_PROPERTY in _custom_properties(data) else []


def _custom_properties(data: bytes) -> set[str]:
    with zipfile.ZipFile(BytesIO(data)) as package:
        if _CUSTOM not in package.namelist():
            return set()
        try:
            # there is no DOCTYPE in it, and the process has its limits
            root = ElementTree.fromstring(package.read(_CUSTOM))  # noqa: S314
        except ElementTree.ParseError:
            return set()
    return {each.get("name", "") for each in root}


def _check_parts(parts: list[zipfile.ZipInfo], limits: Limits) -> None:
    """What the list of parts tells: it costs nothing."""
    names = [part.filename.replace("\\", "/").lstrip("/").lower() for part in parts]
    if any(part.flag_bits & _ENCRYPTED for part in parts):
        raise DeliveryError("F07", "het bestand is met een wachtwoord beveiligd")
    if "xl/workbook.xml" not in names:
        raise DeliveryError("F11")
    for name in names:
        for start, what in _FORBIDDEN_PARTS:
            if name.startswith(start):
                raise DeliveryError("F07", what)
        for end, what in _FORBIDDEN_ENDS:
            if name.endswith(end):
                raise DeliveryError("F07", what)
    if len(set(names)) != len(names) or any(part.compress_type not in _METHODS for part in parts):
        raise DeliveryError("F01", "het Excel-bestand is beschadigd")
    if len(parts) > _MOST_PARTS:
        raise DeliveryError("F06", f"meer dan {_MOST_PARTS} onderdelen in het Excel-bestand")
    if sum(part.file_size for part in parts) > limits.unpacked_bytes:
        raise _too_big(limits)
    for part in parts:
        if part.file_size > max(_HARMLESS_BYTES, part.compress_size * limits.ratio):
            raise DeliveryError("F06", f"een onderdeel is uitgepakt meer dan {limits.ratio} keer zo groot")


def _check_contents(package: zipfile.ZipFile, part: zipfile.ZipInfo, left: int, limits: Limits) -> int:
    """Unpack a part, whose size in the list may lie: its bytes. A checksum that differs is a BadZipFile."""
    size, rest = 0, b""
    with package.open(part) as contents:
        while chunk := contents.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > left:
                raise _too_big(limits)
            # UTF-16 is XML too
            text = rest + chunk.replace(b"\0", b"")
            if _DOCTYPE in text:
                raise DeliveryError("F07", "een DOCTYPE in het Excel-bestand")
            rest = text[-len(_DOCTYPE) :]
    return size


def _too_big(limits: Limits) -> DeliveryError:
    return DeliveryError("F06", f"uitgepakt meer dan {limits.unpacked_bytes} bytes")
