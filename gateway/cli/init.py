"""`gateway init`: a new home folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gateway.audit.checkpoint import create_signing_key, load_signing_key
from gateway.audit.log import record
from gateway.cli import screen
from gateway.cli.opened import actor
from gateway.clock import SystemClock
from gateway.errors import ConfigError
from gateway.exchange.keys import create_host_key
from gateway.gateway import node_id
from gateway.settings import Home
from gateway.settings.approvers import APPROVERS_FILE
from gateway.settings.shipped import approvers, example
from gateway.store.engine import Store
from gateway.vault.durable import create_file
from gateway.vault.keyring import Keyring
from gateway.vault.root import FILES


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new or empty folder, or a checkout of the gateway.")
    ],
) -> None:
    """Make a home: a commented configuration, host key, keyring, audit key, database."""
    home = Home(root=folder)
    fingerprint = make_home(home)
    _record(home)
    _show(home, fingerprint)


def make_home(home: Home) -> str:
    """Make everything that a home has; the fingerprint of its host key.

    Raises:
        ConfigError: the folder is in use.
    """
    _check_free(home)
    for part in (home.root, home.config, home.config / "partners", home.config / "municipalities"):
        part.mkdir(parents=True, exist_ok=True)
    for part in (home.keys, home.data, home.vault, home.run, home.log):
        part.mkdir(mode=0o700, exist_ok=True)
        part.chmod(0o700)
    Keyring.create(home.keys)
    create_signing_key(home.keys)
    fingerprint = create_host_key(home.host_key)
    Store.create(home.db).close()
    create_file(home.root / APPROVERS_FILE, approvers().encode(), mode=0o644)
    # last: this file makes the folder a home
    create_file(home.gateway_file, example().encode(), mode=0o644)
    return fingerprint


def _record(home: Home) -> None:
    """The first entry of the log: who made it, and its name."""
    store = Store(home.db)
    try:
        with store.write() as conn:
            record(
                conn,
                action="log.started",
                object_id=load_signing_key(home.keys).origin,
                origin="cli",
                actor=actor(),
                at=SystemClock().now(),
                node=node_id(),
            )
    finally:
        store.close()


def _check_free(home: Home) -> None:
    """Refuse a folder in use; a checkout of the gateway may become a home, once."""
    if home.root.is_file():
        raise ConfigError(f"{home.root} is a file: name a new or empty folder")
    roots = [home.keys / name for name in FILES.values()]
    made = [path for path in (home.gateway_file, *roots, home.db) if path.exists()]
    if made:
        there = made[0].relative_to(home.root)
        raise ConfigError(
            f"{home.root} is a home already ({there} is there), and nothing was changed: "
            f"look at it with `gateway --home {home.root} check`, or name another folder"
        )
    is_checkout = (home.config / "gateway.example.toml").exists()
    # the empty folders in which a container's volumes are mounted are no files
    if any(not path.is_dir() for path in home.root.rglob("*")) and not is_checkout:
        raise ConfigError(f"{home.root} is not empty, and nothing was changed: name a new or empty folder")


def _show(home: Home, fingerprint: str) -> None:
    root = home.root.resolve()
    screen.done(f"A home for the gateway: [bold]{escape(str(root))}[/]\n")
    screen.out.print(
        screen.pairs(
            (
                "  config/",
                "gateway.toml has every setting with its default in a comment; approvers says who may approve",
            ),
            (
                "  keys/",
                "host key, root key, keyring, audit key; yours only, kept out of the backup of data/",
            ),
            ("  data/", "sealed files and the database"),
            ("  log/", "the signed audit log"),
        )
    )
    screen.out.print("\nThe host key, for your partners to compare at their first connection:")
    screen.out.print(f"  ED25519 [bold]{fingerprint}[/]\n")
    screen.out.print("What comes next:")
    for step in (
        f"cd {root}",
        "gateway municipality add GM1731 --preset midden-drenthe",
        "gateway partner add gemeente-md --role municipality --serves GM1731 --key THEIR_KEY.pub",
        "gateway partner add woonstichting --role creditor --sector Huur --key THEIR_KEY.pub",
        "gateway check && gateway serve",
    ):
        screen.out.print(f"  [cyan]{escape(step)}[/]", soft_wrap=True)
