"""What an auditor does with `/audit/log`: take it, and check it with the verifier that lies in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gateway.audit.shelf import LogShelf


def fetch(shelf: LogShelf, to: Path, path: tuple[str, ...] = ()) -> Path:
    """Take everything that is listed, as `get -r` does; each file is as long as it was said to be."""
    to.mkdir(parents=True, exist_ok=True)
    for shown in shelf.listing(path, None) or []:
        below = (*path, shown.name)
        if shown.size is None:
            fetch(shelf, to / shown.name, below)
        else:
            document = shelf.document(below, None)
            assert document is not None
            assert (len(document.data), document.at) == (shown.size, shown.at)
            (to / shown.name).write_bytes(document.data)
    return to


def run_verifier(folder: Path, *args: str | Path) -> tuple[int, str]:
    """The stand-alone verifier, with nothing but the standard library to be found."""
    command = [sys.executable, "-I", "-S", folder / "verify_log.py", *args]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout
