"""What an XLSX may not be: bombs, macros, links, passwords, DOCTYPEs, damage (spec 2, Limits)."""

import io
import struct
import zipfile

import pytest

from gateway.errors import DeliveryError
from gateway.files.package import check_ole, check_package
from gateway.files.table import Limits

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{10 * f"&{chr(97 + n)};"}">' for n in range(9))
    + "]><sst>&j;</sst>"
)


def refusal(data, **limits):
    """The F code with which a package is refused, and what it says."""
    with pytest.raises(DeliveryError) as refused:
        check_package(data, Limits(**limits))
    return refused.value.code, refused.value.detail


def test_a_workbook_passes(workbook):
    """A real one, with a link to a mail address and a print set-up, is none of the things below."""
    check_package(workbook([["a", "b"], [1, "mailto:k.jansen@example.nl"]]), Limits())


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("xl/vbaProject.bin", "macro's"),
        ("XL\\VBAPROJECT.BIN", "macro's"),
        ("xl/macrosheets/sheet1.xml", "macro's"),
        ("xl/externalLinks/externalLink1.xml", "koppelingen met andere bestanden"),
        ("xl/embeddings/oleObject1.bin", "ingesloten bestanden"),
        ("bommen/binnenin.zip", "ingesloten bestanden"),
    ],
)
def test_parts_that_a_workbook_may_not_have(workbook, repack, part, what):
    """F07, whatever they hold."""
    assert refusal(repack(workbook([["a", "b"]]), {part: b"x"})) == ("F07", what)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_billion_laughs(workbook, repack, encoding):
    """A DOCTYPE in any part is F07 before a parser sees it."""
    data = repack(workbook([["a", "b"]]), {"xl/sharedStrings.xml": LAUGHS.encode(encoding)})
    assert refusal(data) == ("F07", "een DOCTYPE in het Excel-bestand")


def test_a_doctype_far_into_a_part(workbook, repack):
    """Also where it lies over the border of two reads."""
    late = b" " * (64 * 1024 - 4) + b"<!DOCTYPE x>"
    assert refusal(repack(workbook([["a", "b"]]), {"xl/comments1.xml": late}), ratio=10_000)[0] == "F07"


def test_a_bomb(workbook, repack):
    """F06: a part that grows more than a hundredfold, or parts that are too big together."""
    book = workbook([["a", "b"]])
    assert refusal(repack(book, {"xl/media/x.xml": bytes(4 * 1024**2)}))[0] == "F06"
    four = {f"xl/media/{n}.xml": bytes(300 * 1024) for n in range(4)}
    assert refusal(repack(book, four), unpacked_bytes=1024**2) == ("F06", "uitgepakt meer dan 1048576 bytes")
    check_package(repack(book, four), Limits())


def test_a_bomb_that_lies(workbook, repack):
    """A part that says it is small: no more than it says is unpacked, and its checksum is wrong (F01)."""
    data = bytearray(repack(workbook([["a", "b"]]), {"xl/media/x.xml": bytes(20 * 1024**2)}))
    size = struct.pack("<I", 20 * 1024**2)
    assert data.count(size) == 2
    assert refusal(bytes(data.replace(size, struct.pack("<I", 1000)))) == (
        "F01",
        "het Excel-bestand is beschadigd",
    )


def test_too_many_parts(workbook, repack):
    """F06 beyond 500."""
    assert refusal(repack(workbook([["a", "b"]]), {f"xl/{n}.xml": b"" for n in range(500)}))[0] == "F06"


def test_a_part_twice(workbook):
    """F01: who reads which of the two, nobody can tell."""
    buffer = io.BytesIO(workbook([["a", "b"]]))
    with zipfile.ZipFile(buffer, "a") as package, pytest.warns(UserWarning, match="Duplicate"):
        package.writestr("xl/workbook.xml", "<x/>")
    assert refusal(buffer.getvalue())[0] == "F01"


def test_an_encrypted_part(workbook):
    """F07 by the flag of any part."""
    data = bytearray(workbook([["a", "b"]]))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert refusal(bytes(data)) == ("F07", "het bestand is met een wachtwoord beveiligd")


def test_damage(workbook):
    """F01: cut off, or a byte that flipped."""
    data = workbook([["a", "b"], *([n, f"naam {n}"] for n in range(500))])
    assert refusal(data[:-30])[0] == "F01"
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        part = package.getinfo("xl/worksheets/sheet1.xml")
    flipped = bytearray(data)
    flipped[part.header_offset + 30 + len(part.filename) + part.compress_size // 2] ^= 0x10
    assert refusal(bytes(flipped))[0] == "F01"


def test_another_zip():
    """F11: a zip that is no workbook, and one of nothing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr("word/document.xml", "<x/>")
    assert refusal(buffer.getvalue())[0] == "F11"
    assert refusal(b"PK\x05\x06" + bytes(18))[0] == "F11"


def test_old_office_files():
    """F07 for a workbook with a password, wherever its mark lies; F11 for any other."""
    locked = b"\xd0\xcf\x11\xe0" + bytes(1000) + "EncryptedPackage".encode("utf-16-le") + bytes(1000)
    for size in (1, 7, 1010, 5000):
        chunks = [locked[at : at + size] for at in range(0, len(locked), size)]
        assert check_ole(chunks).code == "F07"
    assert check_ole([b"\xd0\xcf\x11\xe0" + bytes(5000)]).code == "F11"
