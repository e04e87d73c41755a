"""What makes something durable or undoes it: fsync, rename, unlink, rmdir and commit; each has a name, and can kill.

A step is named after what it is and the function of the gateway that wants it: `commit exchange/upload.Upload.close`.
`in_source` finds the same names by reading the code, so that a step that no test visits is seen.
"""

from __future__ import annotations

import ast
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection

import gateway
from gateway.store import compaction
from gateway.store.engine import Store

ROOT = Path(gateway.__file__).parent

#: Functions that do it for others: the step is named after who asked them.
FOR_OTHERS = (
    "vault/durable.",
    "together.",
    "store/engine.",
    "store/retention.writing",
    "vault/blobs.BlobFolder._sync",
)

#: What a call in the source comes down to.
CALLS = {
    "fsync": ("fsync",),
    "sync_folder": ("fsync",),
    "_sync_folder": ("fsync",),
    "_sync": ("fsync",),
    "place_file": ("fsync", "replace"),
    "create_file": ("fsync",),
    "unlink": ("unlink",),
    "rename": ("rename",),
    "replace": ("replace",),
    "rmdir": ("rmdir",),
    "_checkpoint": ("compact",),
    "write": ("commit",),
    "writing": ("commit",),
    "together": ("commit",),
}


def arm(point_name: str, turn: int, log: Path) -> None:
    """Die when a point is passed for the `turn`-th time, 0: never; there is one before and one after each step.

    Each point that is passed is told to `log`.
    """
    passed, lock = 0, Lock()
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def point(side: str, kind: str) -> None:
        nonlocal passed
        name = _asked_by(sys._getframe(2))
        if name is None:
            return
        with lock:
            os.write(told, f"{side} {kind} {name}\n".encode())
            passed += f"{side} {kind} {name}" == point_name
            if passed == turn > 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(kind: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            point("before", kind)
            result = do(*args, **named)
            point("after", kind)
            return result

        return counted

    for kind in ("fsync", "rename", "replace", "unlink", "rmdir"):
        setattr(os, kind, wrapped(kind, getattr(os, kind)))
    compaction._checkpoint = wrapped("compact", compaction._checkpoint)
    write = Store.write

    @contextmanager
    def write_counted(store: Store, **how: bool) -> Iterator[Connection]:
        with write(store, **how) as conn:
            yield conn
            point("before", "commit")
        point("after", "commit")

    Store.write = write_counted  # type: ignore[method-assign]


def _asked_by(frame: Any) -> str | None:
    """The function of the gateway for which a step is done; None: it is not of the gateway."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT):
            name = f"{path.relative_to(ROOT).with_suffix('')}.{frame.f_code.co_qualname}"
            if not name.startswith(FOR_OTHERS) and not name.endswith("<lambda>"):
                return name
        frame = frame.f_back
    return None


def in_source() -> set[str]:
    """Every step that the code has."""
    found: set[str] = set()
    for path in ROOT.rglob("*.py"):
        module = str(path.relative_to(ROOT).with_suffix(""))
        _collect(ast.parse(path.read_text()), module, (), found)
    return found


def _collect(node: ast.AST, module: str, inside: tuple[str, ...], found: set[str]) -> None:
    for child in ast.iter_child_nodes(node):
        within = inside
        if isinstance(child, ast.Lambda):
            continue  # done for who calls it
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            within = (*inside, child.name, "<locals>")
        elif isinstance(child, ast.ClassDef):
            within = (*inside, child.name)
        elif isinstance(child, ast.Call):
            name = f"{module}.{'.'.join(inside).removesuffix('.<locals>')}"
            if not name.startswith(FOR_OTHERS):
                found |= {f"{kind} {name}" for kind in _kinds(child, module)}
        _collect(child, module, within, found)


def _kinds(call: ast.Call, module: str) -> tuple[str, ...]:
    match call.func:
        case ast.Attribute(attr="_sync") if module != "vault/blobs":
            return ()  # the request of that name
        case ast.Name(id="_checkpoint") if module != "store/compaction":
            return ()
        case ast.Attribute(attr="write") if call.args or {word.arg for word in call.keywords} - {
            "is_durable"
        }:
            return ()  # of a file
        case ast.Attribute(attr="replace") if len(call.args) != 1 or call.keywords:
            return ()  # of a text or a value
        case ast.Name(id="replace" | "rename"):
            return ()
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return CALLS.get(name, ())
        case _:
            return ()
