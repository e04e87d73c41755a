"""A keyring, and streams sealed in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.vault.keyring import Keyring


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """Where a keyring is made."""
    return tmp_path / "keys"


@pytest.fixture
def keyring(keys_dir: Path) -> Keyring:
    """A new keyring without keys."""
    return Keyring.create(keys_dir)
