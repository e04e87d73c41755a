"""The process that renders worklists: `python -m gateway.pipeline.worklist_child`, started by gateway.pipeline.renderer.

On standard input come worklists, pickled by the process that started this one, and on standard output go the workbooks;
before each stands its length. It ends with its input.
"""

from __future__ import annotations

import pickle
import sys
from typing import BinaryIO

from gateway.files.worklist import Worklist, render_worklist
from gateway.pipeline.confined import confine

#: Bytes of a length, most significant first.
LENGTH_BYTES = 8


def main() -> None:
    """Render what comes in until nothing more does."""
    confine()
    while (size := sys.stdin.buffer.read(LENGTH_BYTES)) != b"":
        # from the gateway itself: nobody else holds the other end
        worklist: Worklist = pickle.loads(_read(sys.stdin.buffer, int.from_bytes(size)))  # noqa: S301
        workbook = render_worklist(worklist)
        sys.stdout.buffer.write(len(workbook).to_bytes(LENGTH_BYTES))
        sys.stdout.buffer.write(workbook)
        sys.stdout.buffer.flush()


def _read(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


if __name__ == "__main__":
    main()
