"""Worklists as workbooks, rendered by a process of its own: neither its time nor its memory is the pipeline's.

What stands in them goes there and back through pipes, and on no disk.
"""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
from contextlib import suppress

from gateway.errors import RenderError
from gateway.files.worklist import Worklist
from gateway.pipeline.worklist_child import LENGTH_BYTES

#: Of our environment, what the interpreter may need to start; a passphrase may stand there too.
_ENVIRONMENT = ("LD_LIBRARY_PATH",)
#: Seconds without a byte, after which the process is killed: 100,000 signals take 15 on a slow machine.
_SILENCE_S = 180
#: After a worklist of more signals the process ends, and gives its memory back.
_MOST_SIGNALS = 5_000


class Renderer:
    """Renders one worklist after another; its process starts with the first. For one thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, worklist: Worklist) -> bytes:
        """The workbook.

        Raises:
            RenderError: the process died or is silent; the next worklist starts another.
        """
        process = self._process = self._process or _start()
        try:
            workbook = _exchange(process, pickle.dumps(worklist, pickle.HIGHEST_PROTOCOL))
        except BaseException:
            self.close()
            raise
        if sum(len(each.signals) for each in worklist.meldingen) > _MOST_SIGNALS:
            self.close()
        return workbook

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            # closing writes what a dead process did not take
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # this interpreter, and a module of ours
        [sys.executable, "-I", "-m", "gateway.pipeline.worklist_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        close_fds=True,
    )


def _exchange(process: subprocess.Popen[bytes], worklist: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(len(worklist).to_bytes(LENGTH_BYTES) + worklist)
        process.stdin.flush()
    except BrokenPipeError as exc:
        raise RenderError("the process that renders worklists died before it had all of one") from exc
    out = process.stdout.fileno()
    return _read(out, int.from_bytes(_read(out, LENGTH_BYTES)))


def _read(pipe: int, size: int) -> bytes:
    # a busy gateway has more open files than select() can count
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    data = bytearray()
    while len(data) < size:
        if not ready.poll(_SILENCE_S * 1000):
            raise RenderError(f"the process that renders worklists was silent for {_SILENCE_S} s")
        chunk = os.read(pipe, min(size - len(data), 1024**2))
        if not chunk:
            raise RenderError("the process that renders worklists died: is there memory left?")
        data += chunk
    return bytes(data)
