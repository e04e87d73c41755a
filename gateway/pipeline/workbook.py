"""XLSX as a table, read by a process of its own (spec 2, Reading).

What reads workbooks can be made to ask for any amount of memory, and then aborts its process: 5 kB are enough. So each
file has a process with limits of its own, which dies alone. Its contents go there through a pipe; what it writes to
standard error may quote them and is read by nobody.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import IO

from gateway.errors import DeliveryError, ReaderError
from gateway.files import csvfile
from gateway.files.package import OLE_START, ZIP_STARTS, check_ole
from gateway.files.table import HEADER_WITHIN, Limits, OpenStream, Row, Table, find_header, read_header

#: What the process needs beside the workbook: the interpreter and the libraries.
_BASE_BYTES = 384 * 1024**2
#: Times its unpacked size that a workbook takes: 100,000 rows of 27 columns, 180 MiB, fit in 500 MiB with the base.
_MEMORY_RATIO = 2
#: Processor seconds: 200 MiB unpacked take 15 on a slow machine.
_CPU_S = 60
#: Of our environment, what the interpreter may need to start; a passphrase may stand there too.
_ENVIRONMENT = ("LD_LIBRARY_PATH",)
#: Seconds without a line, after which the process is killed: it had the processor for _CPU_S of them.
_SILENCE_S = 180
_TOO_HEAVY = (
    "het werkblad kan niet binnen de grenzen worden gelezen: verwijder losse cellen ver onder of naast de tabel, "
    "of sla het blad op als CSV"
)


def read_table(open_stream: OpenStream, limits: Limits, known: Collection[str] = ()) -> Table:
    """A CSV file or a workbook, by its first bytes, as a table.

    Args:
        open_stream: opens the file from its first byte; called several times.
        limits: how much is read.
        known: the folded names by which the header is found below a title.

    Raises:
        DeliveryError: what `csvfile.read_table` raises; of a workbook F01, F04, F06, F07 or F11, also while rows are
            read.
        ReaderError: ours: no workbook can be read here.
    """
    start = _start(open_stream)
    if start == OLE_START:
        raise check_ole(open_stream())
    if start in ZIP_STARTS:
        rows = (row for _, row in _rows(open_stream, limits, is_worklist=False))
        return _table("", rows, limits, known)
    return csvfile.read_table(open_stream, limits, known)


def read_municipal_table(open_stream: OpenStream, limits: Limits, known: Collection[str] = ()) -> Table:
    """As `read_table`; of a worklist both sheets that are filled in, the one that goes before first."""
    if _start(open_stream) not in ZIP_STARTS:
        return read_table(open_stream, limits, known)
    sheets = groupby(_rows(open_stream, limits, is_worklist=True), key=itemgetter(0))
    tables = (_table(sheet, (row for _, row in rows), limits, known) for sheet, rows in sheets)
    first = next(tables, None)
    if first is None:
        raise DeliveryError("F04")
    return replace(first, more=tables)


def _start(open_stream: OpenStream) -> bytes:
    start = b""
    for piece in open_stream():
        start += piece
        if len(start) >= len(OLE_START):
            break
    return start[: len(OLE_START)]


def _table(sheet: str, rows: Iterator[Row], limits: Limits, known: Collection[str]) -> Table:
    ahead = list(islice(rows, HEADER_WITHIN))
    if not ahead:
        raise DeliveryError("F04")
    place = find_header([row.fields or () for row in ahead], known)
    fields = ahead[place].fields
    if fields is None:
        raise DeliveryError("F01", f"de kopregel is langer dan {limits.line_bytes} bytes")
    while not fields[-1].strip():
        fields.pop()
    width = len(fields)
    above = [cell for row in ahead[:place] for cell in row.fields or () if cell.strip()]
    return Table(
        kind="xlsx",
        sheet=sheet,
        header=read_header(fields, limits),
        header_line=ahead[place].line,
        above=tuple(above),
        # what stands beside the table belongs to no column
        rows=(
            row if row.fields is None else Row(row.line, row.fields[:width])
            for row in chain(ahead[place + 1 :], rows)
            if row.fields is None or any(map(str.strip, row.fields[:width]))
        ),
    )


def _rows(open_stream: OpenStream, limits: Limits, *, is_worklist: bool) -> Iterator[tuple[str, Row]]:
    """The filled rows of the first sheet, or with their sheet's name those of a worklist when it is and may be one.

    The process ends with the iteration, however that ends.
    """
    memory_bytes = _BASE_BYTES + _MEMORY_RATIO * limits.unpacked_bytes
    numbers = (
        memory_bytes,
        _CPU_S,
        limits.line_bytes,
        limits.unpacked_bytes,
        limits.ratio,
        int(is_worklist),
    )
    process = subprocess.Popen(  # noqa: S603  # this interpreter, and numbers
        [sys.executable, "-I", "-m", "gateway.pipeline.workbook_child", *map(str, numbers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        close_fds=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = _lines(process.stdout.fileno(), limits)
        if next(lines, b"") != b"{}":
            raise ReaderError(
                "the process that reads workbooks does not start: is python-calamine installed?"
            )
        _feed(process.stdin, open_stream, limits)
        sheet = ""
        for line in lines:
            match json.loads(line):
                case [int(number), list(fields)]:
                    yield sheet, Row(number, fields)
                case [int(number), None]:
                    yield sheet, Row(number, None)
                case {"sheet": str(sheet)}:
                    pass
                case {"refused": [code, detail]}:
                    raise DeliveryError(code, detail)
                case {"end": True}:
                    return
                case _:
                    break
        # it died before it came to the end of the workbook
        raise DeliveryError("F01", _TOO_HEAVY)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close(pipe)


def _feed(pipe: IO[bytes], open_stream: OpenStream, limits: Limits) -> None:
    size = 0
    try:
        for chunk in open_stream():
            size += len(chunk)
            if size > limits.file_bytes:
                raise DeliveryError("F06", f"meer dan {limits.file_bytes} bytes")
            pipe.write(chunk)
        pipe.close()
    except BrokenPipeError:
        # the process is dead: that its lines end early says so
        return


def _lines(pipe: int, limits: Limits) -> Iterator[bytes]:
    """Whole lines; they end when the process does, when it is silent for too long, or writes what no row is."""
    # six bytes a character, and quotes and commas around each cell
    longest = 8 * limits.line_bytes + 64 * 1024
    rest = b""
    # a busy gateway has more open files than select() can count
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    while ready.poll(_SILENCE_S * 1000):
        chunk = os.read(pipe, 64 * 1024)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > longest:
            return


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        # closing writes what a dead process did not take
        return
