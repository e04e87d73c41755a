"""The verbs of `gateway keys` for the versions of a key: a new one, the end of the old ones, and a key that leaked."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.cli.ring import bar, check_master
from gateway.errors import CommandError, ConfigError, KeyringError
from gateway.gateway import Gateway
from gateway.pipeline.retoken import make_tokens_again
from gateway.retention import compromise as compromised
from gateway.retention import versions
from gateway.retention.versions import By
from gateway.running import only_one
from gateway.settings import Home
from gateway.vault.key_ids import month_of

_Key = Annotated[str, typer.Argument(metavar="ID", help="Such as until-2027-05-22.")]


def rewrap(
    context: typer.Context,
    key_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Such as until-2027-05-22; if not given: every key in use."),
    ] = None,
) -> None:
    """Give keys a new version, and wrap the data keys again under it; no data is sealed again.

    Interrupted, it goes on where it was when it is run again. Index keys can't be rewrapped: tokens are made with them.
    """
    with opened(context.obj) as gateway, bar("data keys wrapped again") as progress:
        done = versions.rewrap(
            gateway.store, gateway.keyring, key_id, gateway.settings.terms, by=_by(gateway), progress=progress
        )
        gateway.sign()
    what = f"{screen.counted(done.keys, 'key')} with a new version, {screen.counted(done.data_keys, 'data key')} wrapped again"
    screen.done(f"{'What was interrupted is done: ' if done.is_resumed else ''}{what}")
    screen.out.print(
        "The older versions are there still: `gateway keys retire ID` destroys those of a key.",
        soft_wrap=True,
    )


def retire(context: typer.Context, key_id: _Key) -> None:
    """Destroy the older versions of a key, here and in every copy; refused while a data key is left under one."""
    with opened(context.obj) as gateway:
        unconfirmed = versions.retire(gateway.store, gateway.keyring, key_id, _by(gateway))
        gateway.sign()
    _confirm(key_id, unconfirmed)
    check_master(gateway, key_id)
    screen.done(f"{key_id} has one version: the older ones are destroyed")


def compromise(context: typer.Context, key_id: _Key) -> None:
    """Somebody may have this key: seal again all that it protects, under new data keys, and destroy it.

    Interrupted, it goes on where it was when it is run again. The gateway may run meanwhile, but not for an index key,
    whose tokens are made again in one transaction. What somebody copied before, key and data, he can read: see
    docs/operations.md.
    """
    home: Home = context.obj
    with opened(home) as gateway, ExitStack() as held:
        before = compromised.mark(gateway.store, gateway.keyring, key_id, _by(gateway))
        if month_of(key_id) is not None:
            try:
                held.enter_context(only_one(home))
            except ConfigError as exc:
                raise CommandError(
                    f"{key_id} is marked as compromised, but the gateway runs, and would go on with it: stop the gateway, "
                    "run this again, and start it"
                ) from exc
            problems = _tokens(gateway, key_id, before)
        else:
            problems = _sealed(gateway, key_id, before)
        unconfirmed = compromised.destroy_compromised(
            gateway.store, gateway.keyring, key_id, before, _by(gateway)
        )
        gateway.sign()
    _confirm(key_id, unconfirmed)
    if problems:
        raise KeyringError(f"{screen.counted(problems, 'object')} could not be sealed again: see above")
    check_master(gateway, key_id)
    screen.done(f"the compromised version of {key_id} is destroyed; version {before} is in its place")


def _sealed(gateway: Gateway, key_id: str, before: int) -> int:
    """Seal again; how many objects could not be."""
    with bar("objects sealed again") as progress:
        done = compromised.seal_again(
            gateway.store,
            gateway.keyring,
            gateway.blobs,
            key_id,
            before,
            by=_by(gateway),
            progress=progress,
        )
    for problem in done.failed:
        screen.err.print(f"[bold red]✗[/] {escape(problem)}", soft_wrap=True)
    screen.out.print(
        f"{screen.counted(done.files, 'file')} and {screen.counted(done.rows, 'row')} sealed again under new data keys"
    )
    return len(done.failed)


def _tokens(gateway: Gateway, key_id: str, before: int) -> int:
    """Make tokens again. Those of which nothing is held any more are told of, and are no problem."""
    with bar("rows opened") as progress:
        done = make_tokens_again(gateway.pipeline(), key_id, before, actor(), progress)
    screen.out.print(f"{screen.counted(done.tokens, 'index token')} made again")
    if done.lost:
        screen.out.print(
            f"{screen.counted(done.lost, 'index token')} could not be made again: of what they were made of nothing is "
            "held. A signal that is sent again under such a signaal_id counts as new.",
            soft_wrap=True,
        )
    return 0


def _confirm(key_id: str, unconfirmed: list[str]) -> None:
    if unconfirmed:
        raise KeyringError(
            f"the older versions of {key_id} are destroyed here, and in {', '.join(unconfirmed)} that could not be "
            f"confirmed: bring the copy back, and run: gateway keys retire {key_id}"
        )


def _by(gateway: Gateway) -> By:
    return By(actor=actor(), node=gateway.node, now=gateway.clock.now())
