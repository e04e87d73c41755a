"""What the gateway brings along for `config/`: the commented example and the presets of policies."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from gateway.errors import ConfigError

#: Presets of a municipality's policy (spec 3, Policy).
PRESETS = ("ris", "vps", "midden-drenthe", "nwf", "drechtsteden")


def example() -> str:
    """The commented `config/gateway.toml`."""
    return (_folder() / "gateway.example.toml").read_text("utf-8")


def approvers() -> str:
    """The commented `config/approvers`, which names nobody."""
    return (_folder() / "approvers.example").read_text("utf-8")


def preset(name: str) -> str:
    """A municipality's policy file.

    Raises:
        ConfigError: there is no preset of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}: choose {', '.join(PRESETS)}", key="preset")
    return (_folder() / "presets" / f"{name}.toml").read_text("utf-8")


def _folder() -> Traversable:
    """`config/` inside an installed package, else that of the checkout."""
    package = resources.files("gateway")
    installed = package / "config"
    return installed if installed.is_dir() else Path(str(package)).parent / "config"
