"""A change of the configuration from the command line: checked as a whole before it lands."""

from __future__ import annotations

from gateway.cli import screen
from gateway.errors import ConfigError
from gateway.settings import Home, Settings, build, read_files
from gateway.vault.durable import place_file, sync_folder


def add_file(home: Home, name: str, text: str) -> Settings:
    """Add the file `name` (below the home) to the configuration, whole or not at all.

    Returns:
        The settings with the new file.

    Raises:
        ConfigError: the file exists already.
        ConfigErrors: the configuration could not be used with it; nothing was changed.
    """
    path = home.root / name
    files = read_files(home.root)
    if name in files:
        raise ConfigError(
            f"{name} exists already, and nothing was changed: edit it, then run `gateway check`"
        )
    settings = build(home, files | {name: text.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    place_file(path, text.encode(), mode=0o644)
    sync_folder(path.parent)
    return settings


def say_when(home: Home) -> None:
    """Say that a running gateway goes on with the configuration it started with."""
    if home.status_file.exists():
        screen.out.print(
            "[yellow]![/] The gateway is running: the change takes effect when it is started again."
        )
