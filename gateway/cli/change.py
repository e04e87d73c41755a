"""A change of the configuration from the command line: checked as a whole before it lands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tomlkit.exceptions import TOMLKitError

from gateway.cli import screen
from gateway.clock import SystemClock
from gateway.errors import ConfigError
from gateway.running import running
from gateway.settings import Home, Settings, build, read_files
from gateway.vault.durable import place_file, sync_folder

if TYPE_CHECKING:
    from gateway.gateway import Gateway

#: How long a running gateway may take to notice a change, and how often is looked, in seconds.
_PATIENCE_S, _LOOK_EVERY_S = 5.0, 0.05


def add_file(home: Home, name: str, text: str, *, action: str = "") -> Settings:
    """Add the file `name` (below the home) to the configuration, whole or not at all.

    `action` is that of its audit entry; without one there is none (the demo's home lives in another time).

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
    if action:
        _land(home, path, text, action=action)
    else:
        _place(path, text)
    return settings


def change_partner(
    gateway: Gateway,
    partner_id: str,
    edit: Callable[[str], str],
    *,
    action: str,
    detail: Mapping[str, int | str] | None = None,
) -> Settings:
    """Change a partner's file, with the audit entry of it; the settings as they are then.

    Raises:
        ConfigError: the file can't be edited by a command.
        ConfigErrors: the configuration could not be used with the change; nothing was changed.
    """
    home, name = gateway.home, f"config/partners/{partner_id}.toml"
    files = read_files(home.root)
    try:
        text = edit(files[name].decode("utf-8"))
    except TOMLKitError as exc:
        raise ConfigError(
            "can't be changed by a command: edit it, then run `gateway check`", file=name
        ) from exc
    settings = build(home, files | {name: text.encode()})
    before, after = gateway.settings.partners[partner_id], settings.partners[partner_id]
    if replace(before, keys=(), is_disabled=False) != replace(after, keys=(), is_disabled=False):
        raise ConfigError("can't be changed by a command: edit it, then run `gateway check`", file=name)
    _land(home, home.root / name, text, action=action, detail=detail)
    gateway.wake()
    return settings


def _land(
    home: Home, path: Path, text: str, *, action: str, detail: Mapping[str, int | str] | None = None
) -> None:
    """Put a file into the configuration; the transaction of its audit entry ends when the file is on disk."""
    from gateway.audit.log import record
    from gateway.cli.opened import actor
    from gateway.gateway import node_id
    from gateway.store.engine import Store

    store = Store(home.db)
    try:
        with store.write() as conn:
            record(
                conn,
                action=action,
                object_id=path.stem,
                origin="cli",
                actor=actor(),
                at=SystemClock().now(),
                node=node_id(),
                detail=detail,
            )
            _place(path, text)
    finally:
        store.close()


def _place(path: Path, text: str) -> None:
    place_file(path, text.encode(), mode=0o644)
    sync_folder(path.parent)


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
