"""The process that reads one workbook: `python -m gateway.pipeline.workbook_child`, started by gateway.pipeline.workbook.

The bytes come in on standard input and never touch a disk. On standard output go lines of JSON:

    {}                                before it reads the first byte
    {"sheet": name}                   of a worklist: the sheet of the rows that follow
    [row in the sheet, [cell, …]]     a row in which something is filled; null for cells that are too long together
    {"refused": [F code, detail]}     the last line, of a file that is refused
    {"end": true}                     the last line, of a file that was read to its end

A hostile workbook may ask for more memory than there is: the reader then aborts, and this process with it. Hence the
limits on itself before it reads the first byte, and no core dump, which would hold the plaintext.
"""

from __future__ import annotations

import json
import resource
import sys
from io import BytesIO
from typing import TextIO

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from gateway.errors import DeliveryError
from gateway.files.package import answered_sheets, check_package
from gateway.files.sheet import cell_text
from gateway.files.table import Limits
from gateway.pipeline.confined import confine

_DAMAGED = "het Excel-bestand is beschadigd of heeft geen werkblad"


def main() -> None:
    """Read the workbook on standard input by the limits of the arguments: memory, CPU seconds, and those of `Limits`.

    The last argument is 1 when it may be a worklist.
    """
    memory_bytes, cpu_s, line_bytes, unpacked_bytes, ratio, is_worklist = map(int, sys.argv[1:])
    _confine(memory_bytes, cpu_s)
    limits = Limits(line_bytes=line_bytes, unpacked_bytes=unpacked_bytes, ratio=ratio)
    out = sys.stdout
    out.write("{}\n")
    out.flush()
    try:
        _read(sys.stdin.buffer.read(), limits, out, is_worklist=bool(is_worklist))
        last: object = {"end": True}
    except DeliveryError as refusal:
        last = {"refused": [refusal.code, refusal.detail]}
    out.write(json.dumps(last) + "\n")
    out.flush()


def _confine(memory_bytes: int, cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    confine()


def _read(data: bytes, limits: Limits, out: TextIO, *, is_worklist: bool) -> None:
    check_package(data, limits)
    try:
        book = CalamineWorkbook.from_filelike(BytesIO(data))
        if not book.sheet_names:
            raise DeliveryError("F01", _DAMAGED)
        sheets = answered_sheets(data, book.sheet_names) if is_worklist else []
        for name in sheets:
            out.write(json.dumps({"sheet": name}) + "\n")
            _read_sheet(book.get_sheet_by_name(name), limits, out)
        if not sheets:
            _read_sheet(book.get_sheet_by_index(0), limits, out)
    except CalamineError:
        raise DeliveryError("F01", _DAMAGED) from None


def _read_sheet(sheet: CalamineSheet, limits: Limits, out: TextIO) -> None:
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        texts = [cell_text(cell) for cell in cells]
        if not any(map(str.strip, texts)):
            continue
        size = sum(map(len, texts))
        fields = None if size > limits.line_bytes else texts
        out.write(json.dumps([number, fields], ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
