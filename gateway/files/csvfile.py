"""A CSV file as rows, in constant memory (spec 2, Reading; RFC 4180).

The file is opened twice, hence `OpenStream`. The first pass finds the encoding, which only the last byte can settle:
what is not UTF-8 somewhere is Windows-1252 everywhere. The second pass reads.

Line numbers are those of an editor: physical lines from 1, the header included. Lines in which nothing is filled are
skipped. A line that can't be read as a row (longer than the limit, a quote where RFC 4180 has none) costs itself, never
the lines below it: reading begins anew on the next one. A quote that is still open at the end of the file refuses it.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from gateway.errors import DeliveryError
from gateway.files.table import (
    HEADER_WITHIN,
    Limits,
    OpenStream,
    Row,
    Table,
    count_names,
    find_header,
    read_header,
)

#: In the order in which they win when the header has as many of one as of another.
DELIMITERS = (";", ",", "\t")

#: How files begin that nobody may send (F11): PDF, gzip, 7z, PNG, JPEG, age.
_NEVER_READ = (b"%PDF", b"\x1f\x8b", b"7z\xbc\xaf", b"\x89PNG", b"\xff\xd8\xff", b"age-encryption.org/")
#: How files begin that are surely no CSV (F11): these, zip and XLSX, old Office, PGP and signatures.
_OTHER_KINDS = (*_NEVER_READ, b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0", b"-----BEGIN ")
#: So many first bytes tell.
START_BYTES = max(map(len, _OTHER_KINDS))
#: How text begins that is XML, HTML or JSON (F11).
_MARKUP = ("<", "{", "[")

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_QUOTED = re.compile(r'"[^"]*"')


class _Line(NamedTuple):
    """A physical line without its line feed. `text` is None when it is longer than the limit."""

    number: int
    text: str | None
    is_ended: bool


class _Record(NamedTuple):
    line: int
    fields: list[str] | None
    is_ended: bool


def read_table(open_stream: OpenStream, limits: Limits, known: Collection[str] = ()) -> Table:
    """Find encoding, header and delimiter, and make the rows ready to be read.

    Args:
        open_stream: opens the file from its first byte; called twice.
        limits: how much is read.
        known: the folded names by which the header is found below a title.

    Raises:
        DeliveryError: F01 not text or not a table; F04 empty; F06 too many bytes or columns; F09 cut off: a quote is
            open at the end, or the last line has no line end and too few fields; F11 surely another kind of file. F09
            may come while rows are read.
    """
    encoding = _find_encoding(open_stream(), limits.file_bytes)
    lines = _lines(_decoded(open_stream(), encoding), encoding, limits.line_bytes)
    first = next((line for line in lines if line.text is None or line.text.strip()), None)
    if first is None:
        raise DeliveryError("F04")
    _check_text(first)
    ahead = deque([first, *islice(lines, HEADER_WITHIN - 1)])
    above: list[str] = []
    found = _find_below_title(ahead, known, limits.line_bytes)
    if found is None:
        delimiter = _find_delimiter(first, limits)
    else:
        delimiter, above, number = found
        while ahead[0].number < number:
            ahead.popleft()
        _check_text(ahead[0])
    header_line = ahead[0].number
    records = _records(ahead, lines, delimiter, limits.line_bytes)
    header = _header(next(records), limits)
    return Table(
        kind="csv",
        encoding=encoding,
        delimiter=delimiter,
        header=header,
        header_line=header_line,
        above=tuple(above),
        rows=_rows(records, len(header)),
    )


def is_never_read(start: bytes) -> bool:
    """Whether a file with these first `START_BYTES` is F11, whoever sent it and whatever follows."""
    return start.startswith(_NEVER_READ)


def _find_encoding(chunks: Iterable[bytes], most_bytes: int) -> str:
    """The name of the codec that reads the whole file: a byte order mark decides, else whether all of it is UTF-8."""
    source = _whole_start(chunks)
    start = next(source, b"")
    if not start:
        raise DeliveryError("F04")
    if start.startswith(_OTHER_KINDS):
        raise DeliveryError("F11")
    is_utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if is_utf16 else "utf-8-sig"
    decoder = codecs.getincrementaldecoder(encoding)()
    size, is_valid, is_ascii = 0, True, True
    for chunk in chain((start,), source):
        size += len(chunk)
        if size > most_bytes:
            raise DeliveryError("F06", f"meer dan {most_bytes} bytes")
        if is_valid:
            text = _decode(decoder, chunk)
            is_valid = text is not None
            is_ascii = is_ascii and (text or "").isascii()
    if is_valid and _decode(decoder, b"", final=True) is None:
        # The last character is cut off. But a lone byte after nothing but ASCII is Windows-1252.
        if is_utf16 or not is_ascii:
            raise DeliveryError("F09", "het bestand eindigt binnen een teken")
        is_valid = False
    if not is_valid and is_utf16:
        raise DeliveryError("F01", "ongeldige UTF-16")
    return encoding if is_valid else "cp1252"


def _whole_start(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, of which the first chunk is long enough to know a file by how it begins."""
    source = iter(chunks)
    start = b""
    for chunk in source:
        start += chunk
        if len(start) >= START_BYTES:
            break
    if start:
        yield start
    yield from source


def _decode(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> str | None:
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return None


def _decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[str]:
    """The file as text. The five bytes that Windows-1252 leaves undefined become U+FFFD, which no field may hold."""
    decoder = codecs.getincrementaldecoder(encoding)("replace" if encoding == "cp1252" else "strict")
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", True)


def _lines(texts: Iterable[str], encoding: str, most_bytes: int) -> Iterator[_Line]:
    """Physical lines. Of one that is too long nothing is kept, so that memory stays bounded."""
    number, rest, is_skipping = 1, "", False
    for text in texts:
        pieces = text.split("\n")
        pieces[0] = rest + pieces[0]
        rest = pieces.pop()
        for piece in pieces:
            is_long = is_skipping or _is_long(piece, encoding, most_bytes)
            yield _Line(number, None if is_long else piece, True)
            number, is_skipping = number + 1, False
        if is_skipping or len(rest) > most_bytes:
            rest, is_skipping = "", True
    if rest or is_skipping:
        is_long = is_skipping or _is_long(rest, encoding, most_bytes)
        yield _Line(number, None if is_long else rest, False)


def _is_long(text: str, encoding: str, most_bytes: int) -> bool:
    """Whether a line has more bytes in the file; at most four a character, so that few are counted."""
    if len(text) * 4 <= most_bytes or encoding == "cp1252":
        return len(text) > most_bytes
    return len(text.encode("utf-16-le" if encoding == "utf-16" else "utf-8")) > most_bytes


def _records(
    ahead: deque[_Line], lines: Iterator[_Line], delimiter: str, most_chars: int
) -> Iterator[_Record]:
    """Lines as fields, joined where a quoted field spans several. `ahead` holds lines that are to be read first."""
    while True:
        line = ahead.popleft() if ahead else next(lines, None)
        if line is None:
            return
        number, text, is_ended = line
        if text is None:
            yield _Record(number, None, is_ended)
        elif '"' in text:
            yield _quoted(line, ahead, lines, delimiter, most_chars)
        elif text and not text.isspace():
            yield _Record(number, text.removesuffix("\r").split(delimiter), is_ended)


def _quoted(
    first: _Line, ahead: deque[_Line], lines: Iterator[_Line], delimiter: str, most_chars: int
) -> _Record:
    """A record that begins on `first`, over as many lines as its quotes ask for.

    When that goes wrong, the lines taken in vain go back to `ahead`. At most twice the lines are read in all: while a
    quote is open, only a line with an odd number of quotes closes it, and those in between close their own.

    Raises:
        DeliveryError: F09, the file ends inside quotes.
    """
    taken = [first]
    is_file_over = False

    def feed() -> Iterator[str]:
        nonlocal is_file_over
        size = 0
        line: _Line | None = first
        while line is not None and line.text is not None and size <= most_chars:
            yield line.text + "\n"
            size += len(line.text)
            line = ahead.popleft() if ahead else next(lines, None)
            if line is None:
                is_file_over = True
            else:
                taken.append(line)

    try:
        fields = next(csv.reader(feed(), delimiter=delimiter, strict=True))
    except csv.Error:
        if is_file_over:
            raise DeliveryError("F09", "een aanhalingsteken wordt niet gesloten") from None
        ahead.extendleft(reversed(taken[1:]))
        return _Record(first.number, None, first.is_ended)
    return _Record(first.number, fields, taken[-1].is_ended)


def _find_below_title(
    lines: Iterable[_Line], known: Collection[str], most_chars: int
) -> tuple[str, list[str], int] | None:
    """The delimiter, the filled cells above the header and its line; None when nothing tells it from other lines."""
    most, found = 1, None
    for delimiter in DELIMITERS:
        records = _candidates(lines, delimiter, most_chars)
        rows = [record.fields or [] for record in records]
        place = find_header(rows, known)
        count = count_names(rows[place], known) if rows else 0
        if count > most:
            above = [cell for row in rows[:place] for cell in row if cell.strip()]
            most, found = count, (delimiter, above, records[place].line)
    return found


def _candidates(lines: Iterable[_Line], delimiter: str, most_chars: int) -> list[_Record]:
    """The first lines as records; one whose quote is not closed among them is no header, those below it may be."""
    rest, records = deque(lines), list[_Record]()
    while rest:
        before = tuple(rest)
        try:
            records += islice(_records(rest, iter(()), delimiter, most_chars), 1)
        except DeliveryError:
            rest = deque(before[1:])
    return records


def _check_text(line: _Line) -> None:
    """The first line, or the header, of something that is no table."""
    if line.text is not None and line.text.lstrip().startswith(_MARKUP):
        raise DeliveryError("F11")
    if line.text is not None and _CONTROL.search(line.text):
        raise DeliveryError("F01", "geen tekst")


def _find_delimiter(first: _Line, limits: Limits) -> str:
    if first.text is None:
        raise DeliveryError("F01", f"de eerste regel is langer dan {limits.line_bytes} bytes")
    bare = _QUOTED.sub("", first.text)
    delimiter = max(DELIMITERS, key=bare.count)
    if delimiter not in bare:
        raise DeliveryError("F01", "de eerste regel heeft geen ; of , of tab")
    return delimiter


def _header(record: _Record, limits: Limits) -> tuple[str, ...]:
    if record.fields is None:
        raise DeliveryError("F01", "de kopregel heeft aanhalingstekens op een verkeerde plaats")
    return read_header(record.fields, limits)


def _rows(records: Iterator[_Record], width: int) -> Iterator[Row]:
    for number, fields, is_ended in records:
        if fields is not None:
            if not is_ended and len(fields) < width:
                raise DeliveryError("F09", "de laatste regel heeft geen regeleinde en te weinig velden")
            if not any(fields):
                continue
        yield Row(number, fields)
