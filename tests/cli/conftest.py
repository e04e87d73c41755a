"""The command line, run in this process, on a home of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import asyncssh
import pytest

from gateway.cli import main


class Ran(NamedTuple):
    """What a command gave: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the home is, or will be."""
    return tmp_path / "home"


@pytest.fixture
def gateway(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run `gateway ARGS`, by default on the home."""
    monkeypatch.setenv("GATEWAY_HOME", str(home))

    def run(*args: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["gateway", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def key_file(tmp_path: Path) -> Callable[..., Path]:
    """Make a key pair; the path of the public key's file."""

    def make(name: str, comment: str = "") -> Path:
        key = asyncssh.generate_private_key("ssh-ed25519", comment=comment or None)
        path = tmp_path / f"{name}.pub"
        key.write_public_key(path)
        return path

    return make
