"""The verbs of `gateway keys` for the keyring: what is in it, whether it is whole, and its changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gateway.audit.log import record
from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.clock import local_day
from gateway.domain.approval import Subject
from gateway.domain.ring_key import KeyState
from gateway.errors import CommandError, KeyringError
from gateway.gateway import Gateway
from gateway.overview import Keys, keys_ahead
from gateway.retention import ring
from gateway.retention.approvals import ask
from gateway.retention.ring import Standing
from gateway.running import running
from gateway.settings import Home, load_settings
from gateway.vault import copies, keyring
from gateway.vault.root import Provider, provider_of


def show_status(
    context: typer.Context, *, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Show the keys by kind and state, what they protect, how far ahead they reach, and the copies."""
    with opened(context.obj) as gateway:
        now = gateway.clock.now()
        found = ring.standings(gateway.store, gateway.keyring, now, gateway.settings.terms)
        ahead = keys_ahead(gateway, now)
        folders = gateway.keyring.copies()
        provider, master = provider_of(gateway.home.keys), gateway.keyring.master()
        must_replace_master = gateway.keyring.must_replace_master()
        token = gateway.settings.root_token
    reached = {name: copies.is_there(folder) for name, folder in folders.items()}
    if as_json:
        screen.print_json(
            {
                "provider": provider,
                "master": master,
                "master_to_replace": must_replace_master,
                "days_ahead": ahead.days_ahead,
                "wanted_days_ahead": ahead.wanted_days_ahead,
                "copies": [
                    {"name": name, "folder": str(folder), "reached": reached[name]}
                    for name, folder in folders.items()
                ],
                "keys": [_json(key) for key in found],
            }
        )
        return
    if found:
        _show(found)
    for key in found:
        if key.state is KeyState.COMPROMISED:
            screen.out.print(
                f"[bold red]{key.id} is compromised[/] since {screen.instant(key.compromised_at)}: what it protected is "
                f"not all sealed again. `gateway keys compromise {key.id}` goes on with it.",
                soft_wrap=True,
            )
    screen.out.print(f"\nThe root key comes from the provider [bold]{provider}[/].")
    if master is not None and token is not None:
        screen.out.print(
            f"It is sealed under the master key {master} in the token {escape(token.label)}.", soft_wrap=True
        )
    if must_replace_master:
        screen.out.print(
            "[red]Keys were destroyed, and that master key must be replaced[/]: gateway retention run."
        )
    screen.out.print(
        _reach(ahead) if found else "There are no keys yet: the gateway makes them at its start."
    )
    for name, folder in folders.items():
        state = "[green]reached[/]" if reached[name] else "[red]can't be reached[/]"
        screen.out.print(f"{name} {escape(str(folder))} {state}", soft_wrap=True)
    if not folders:
        screen.out.print("No copy of the keyring is registered: `gateway keys add-copy PATH` makes one.")


def _reach(ahead: Keys) -> str:
    """How far the keys of days reach."""
    if ahead.days_ahead < 0:
        return f"[red]Keys lack for {screen.counted(-ahead.days_ahead, 'day')} that are needed today[/]: start the gateway, which makes them."
    days = screen.counted(ahead.days_ahead, "day")
    return f"Keys reach {days} further than is needed today; {ahead.wanted_days_ahead} are wanted."


def verify(context: typer.Context) -> None:
    """See whether every key opens, every data key fits the key that wraps it, and every copy is the same."""
    with opened(context.obj) as gateway, bar("data keys") as progress:
        problems = list(ring.problems(gateway.store, gateway.keyring, progress))
        count = len(gateway.keyring.ids())
    for problem in problems:
        screen.err.print(f"[bold red]✗[/] {escape(problem)}", soft_wrap=True)
    if problems:
        raise KeyringError(f"{screen.counted(len(problems), 'problem')} in the keyring: see keys/README.md")
    screen.done(f"{screen.counted(count, 'key')} open, and every data key fits")


def rotate_root(context: typer.Context) -> None:
    """Put a new root key in the place of the old one, from the configured provider; no data is sealed again.

    Interrupted, it goes on where it was when it is run again; until then both root keys are needed.
    """
    home: Home = context.obj
    provider = load_settings(home.root).root_provider
    _refuse_while_running(home, provider)
    with opened(home, any_root=True) as gateway, bar("keys wrapped again") as progress:
        count = ring.rotate_root(
            gateway.store,
            gateway.keyring,
            provider,
            gateway.clock.now(),
            node=gateway.node,
            actor=actor(),
            progress=progress,
        )
        gateway.sign()
    screen.done(
        f"The root key is a new one ({provider}): {screen.counted(count, 'key')} wrapped again, the old root key is destroyed"
    )
    screen.out.print("Destroy the copies of the old one too: with them an old copy of the ring can be read.")


def add_copy(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="PATH", help="A new or empty folder, on another disk.")],
) -> None:
    """Register a folder that holds every key from now on, and in which each destruction is confirmed."""
    with opened(context.obj) as gateway:
        for part in (gateway.home.data, gateway.home.log):
            if folder.resolve().is_relative_to(part.resolve()):
                raise CommandError(f"{folder} lies in {part}, which is backed up: name a folder elsewhere")
        name = gateway.keyring.add_copy(folder, partial(_record_copy, gateway))
    screen.done(f"{name} holds every key: {escape(str(folder.resolve()))}")
    screen.out.print("It opens nothing without the root key, which it does not hold: keep that elsewhere.")


def destroy(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Such as until-2027-05-22.")],
) -> None:
    """Destroy a key whose day is over and that protects nothing any more, here and in every copy.

    Before its day it takes two people: they are asked, and nothing is changed until both have signed.
    """
    with opened(context.obj) as gateway:
        if number := _ask_first(gateway, key_id):
            raise CommandError(
                f"{key_id} serves still, and nothing was changed: destroying it before its day takes two approvers, "
                f"who are asked as {number}: gateway retention approve {number}"
            )
        unconfirmed = ring.destroy(
            gateway.store,
            gateway.keyring,
            key_id,
            gateway.clock.now(),
            gateway.settings.terms,
            node=gateway.node,
            actor=actor(),
        )
        check_master(gateway, key_id)
    if unconfirmed:
        raise KeyringError(
            f"{key_id} is destroyed here, and in {', '.join(unconfirmed)} that could not be confirmed: bring the copy "
            "back, and run this again"
        )
    screen.done(f"{key_id} is destroyed")


def check_master(gateway: Gateway, key_id: str) -> None:
    """Raises KeyringError when a key was destroyed and the master key in the token, which opens old copies, was not."""
    if gateway.keyring.must_replace_master():
        raise KeyringError(
            f"{key_id} is destroyed, and an older copy of the keyring can still open it: the master key in the token could "
            "not be replaced. The next purge or start of the gateway does it: gateway retention run"
        )


def _ask_first(gateway: Gateway, key_id: str) -> str:
    """The number of the request when a key is to go before its day; empty when it may go without one."""
    now, day = gateway.clock.now(), ring.last_day(key_id, gateway.settings.terms)
    if key_id not in gateway.keyring.ids() or day is None or day < local_day(now):
        return ""
    lost = ring.at_stake(gateway.store, key_id)
    with gateway.store.write() as conn:
        number = ask(
            conn,
            Subject.KEY,
            object_id=key_id,
            detail={
                "key": key_id,
                "day": day.isoformat(),
                "files": lost.files,
                "signals": lost.signals,
                "exclusions": lost.listed,
                "dispatches": lost.dispatches,
                "tokens": lost.tokens,
            },
            now=now,
            actor=actor(),
            node=gateway.node,
            origin="cli",
        )
    gateway.sign()
    return number


def _record_copy(gateway: Gateway, name: str) -> None:
    with gateway.store.write() as conn:
        record(
            conn,
            action="key_copy.added",
            object_id=name,
            origin="cli",
            actor=actor(),
            at=gateway.clock.now(),
            node=gateway.node,
        )


def _refuse_while_running(home: Home, provider: Provider) -> None:
    """A daemon reads the file of a root key again by itself, and can't be given a passphrase or credential."""
    if running(home) is not None and {provider, provider_of(home.keys)} - {Provider.FILE, None}:
        raise CommandError(
            "the gateway runs, and can't be given another passphrase or credential: stop it, rotate, start it"
        )


def _show(found: Sequence[Standing]) -> None:
    shown = screen.table("kind", "state", "keys", "from", "to", "data keys", "index tokens")
    for column in (2, 5, 6):
        shown.columns[column].justify = "right"
    order = list(KeyState)
    rows = sorted(found, key=lambda key: (key.kind, order.index(key.state), key.id))
    for (kind, state), group in groupby(rows, key=lambda key: (key.kind, key.state)):
        keys = list(group)
        shown.add_row(
            kind,
            state,
            screen.number(len(keys)),
            keys[0].id.removeprefix(f"{kind}-"),
            keys[-1].id.removeprefix(f"{kind}-"),
            screen.number(sum(key.data_keys for key in keys)),
            screen.number(sum(key.tokens for key in keys)),
        )
    screen.out.print(shown)


def _json(key: Standing) -> dict[str, object]:
    return {
        "id": key.id,
        "state": key.state,
        "made_at": screen.instant(key.made_at),
        "destroyed_at": screen.instant(key.destroyed_at),
        "data_keys": key.data_keys,
        "index_tokens": key.tokens,
        "versions": key.versions,
        "compromised_at": screen.instant(key.compromised_at),
    }


@contextmanager
def bar(what: str) -> Iterator[keyring.Progress]:
    """A bar on the terminal while keys are gone through; nothing stays of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen.err, transient=True, disable=not screen.err.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tell
