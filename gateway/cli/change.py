"""A change of the configuration from the command line: checked as a whole before it lands."""

from __future__ import annotations

import time

from gateway.cli import screen
from gateway.errors import ConfigError
from gateway.running import running
from gateway.settings import Home, Settings, build, read_files
from gateway.vault.durable import place_file, sync_folder

#: How long a running gateway may take to notice a change, and how often is looked, in seconds.
_PATIENCE_S, _LOOK_EVERY_S = 5.0, 0.05


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


def say_when(home: Home, settings: Settings) -> None:
    """Wait until a gateway that runs has taken a change up, and say so; say what to do when it has not."""
    until = time.monotonic() + _PATIENCE_S
    while (daemon := running(home)) and daemon.config != settings.digest and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
    if daemon is None:
        return
    if daemon.config == settings.digest:
        screen.out.print(f"  The running gateway goes on with it (configuration {daemon.generation}).")
    else:
        screen.out.print(
            "[yellow]![/] The running gateway has not taken it up: see its log, and run `gateway check`."
        )
