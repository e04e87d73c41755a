"""A home whose configuration each test writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from gateway.errors import ConfigErrors
from gateway.settings import Settings, load_settings


@pytest.fixture(scope="session")
def public_keys() -> list[str]:
    """Three Ed25519 public keys as OpenSSH lines."""
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(3)]
    return [key.export_public_key("openssh").decode().strip() for key in keys]


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Settings]:
    """Load settings from files given as path below config/ -> text or bytes."""

    def load(files: dict[str, str | bytes] | None = None, *, own: str = "") -> Settings:
        for name, contents in {"gateway.toml": own, **(files or {})}.items():
            path = tmp_path / "config" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        return load_settings(tmp_path)

    return load


@pytest.fixture
def refusals(configure: Callable[..., Settings]) -> Callable[..., list[tuple[str, str, str]]]:
    """Load settings that must be refused; (file below config/, key, reason) of each problem."""

    def load(files: dict[str, str | bytes] | None = None, *, own: str = "") -> list[tuple[str, str, str]]:
        with pytest.raises(ConfigErrors) as refused:
            configure(files, own=own)
        return [(p.file.removeprefix("config/"), p.key, p.reason) for p in refused.value.problems]

    return load
