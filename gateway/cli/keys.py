"""`gateway keys`: the keyring (`ring.py`), and `host`, what the gateway proves to be itself with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import key_versions, ring, screen
from gateway.clock import end_of_day, local_day
from gateway.domain.host_key import ANNOUNCED_FOR, HostKey, HostKeyState, state
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.settings import Settings

app = typer.Typer(no_args_is_help=True)
app.command("status")(ring.show_status)
app.command("verify")(ring.verify)
app.command("rotate-root")(ring.rotate_root)
app.command("add-copy")(ring.add_copy)
app.command("rewrap")(key_versions.rewrap)
app.command("retire")(key_versions.retire)
app.command("compromise")(key_versions.compromise)
app.command("destroy")(ring.destroy)
_host = typer.Typer(no_args_is_help=True)
app.add_typer(
    _host, name="host", help="The SSH host keys: their calendar, and their fingerprints to publish."
)

#: The address that nobody types: every address of this machine.
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104  # to be recognised, not to listen on
#: What stands for the name by which partners know the gateway, where only they know it.
_NAME = "NAME-OF-THIS-HOST"


@_host.command("status")
def show_status(context: typer.Context) -> None:
    """Show the host keys and their days, as known_hosts lines and as text for a mail to partners."""
    from gateway.cli.opened import opened
    from gateway.exchange import host_keys

    with opened(context.obj) as gateway:
        known = host_keys.calendar(gateway.home.keys)
        _show(gateway.settings, known, gateway.clock.now())


@_host.command("rotate")
def rotate(
    context: typer.Context,
    *,
    active_from: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="DAY",
            help="From when the new key is used; if not given: in 30 days. Today: at once.",
        ),
    ] = "",
) -> None:
    """Make a new host key: announced from now beside the old one, used from a day on."""
    from gateway.cli.opened import opened
    from gateway.exchange import host_keys

    with opened(context.obj) as gateway:
        now = gateway.clock.now()
        told = partial(_record, gateway, "host_key.rotated")
        made = host_keys.rotate(gateway.home.keys, now, _start(active_from, now), told)
        gateway.wake()
        known = host_keys.calendar(gateway.home.keys)
        screen.done(f"A new host key is announced, and used from {screen.moment(made[0].active_from)}\n")
        _show(gateway.settings, known, now)


@_host.command("retire")
def retire(
    context: typer.Context,
    fingerprint: Annotated[str, typer.Argument(metavar="SHA256:…", help="A key that was replaced.")],
) -> None:
    """Remove an old host key now, ahead of its day: it is announced no more, and gone from the disk."""
    from gateway.cli.opened import opened
    from gateway.exchange import host_keys

    with opened(context.obj) as gateway:
        now = gateway.clock.now()
        host_keys.retire(gateway.home.keys, fingerprint, now, partial(_record, gateway, "host_key.retired"))
        host_keys.remove_retired(gateway.home.keys, now, partial(_record, gateway, "host_key.removed"))
        gateway.wake()
    screen.done(f"{fingerprint} is retired, and its private half is gone from keys/")


def _start(day: str, now: datetime) -> datetime:
    """The first instant of the day from which a new key is used."""
    today = local_day(now)
    try:
        chosen = date.fromisoformat(day) if day else today + ANNOUNCED_FOR
    except ValueError as exc:
        raise ConfigError(f"--from: write a day, such as {today + ANNOUNCED_FOR}") from exc
    if chosen < today:
        raise ConfigError(f"--from: {day} is over: name {today} or a later day")
    return end_of_day(chosen - timedelta(days=1))


def _record(gateway: Gateway, action: str, key: HostKey) -> None:
    from gateway.audit.log import record
    from gateway.cli.opened import actor

    with gateway.store.write() as conn:
        record(
            conn,
            action=action,
            object_id=key.fingerprint,
            origin="cli",
            actor=actor(),
            at=gateway.clock.now(),
            node=gateway.node,
        )


def _show(settings: Settings, keys: Sequence[HostKey], now: datetime) -> None:
    shown = screen.table("host key", "is", "announced from", "used from", "retired")
    for key in keys:
        shown.add_row(
            f"{key.kind}\n[dim]{key.fingerprint}[/]",
            _STYLES[state(key, keys, now)],
            screen.moment(key.announced_at),
            screen.moment(key.active_from),
            screen.moment(key.retire_at),
        )
    screen.out.print(shown)
    live = [key for key in keys if not key.is_retired(now)]
    screen.out.print("\n[bold]For known_hosts[/]")
    for key in live:
        screen.out.print(f"{_address(settings)} {key.public_key}", soft_wrap=True)
    screen.out.print("\n[bold]For a mail to partners[/]")
    for line in letter(keys, now):
        screen.out.print(line, soft_wrap=True)


_STYLES = {
    HostKeyState.IN_USE: "[green]in use[/]",
    HostKeyState.ANNOUNCED: "[yellow]announced[/]",
    HostKeyState.REPLACED: "replaced",
    HostKeyState.RETIRED: "[dim]retired[/]",
}


def _address(settings: Settings) -> str:
    """The gateway as known_hosts names it (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    name = _NAME if settings.host in _EVERYWHERE else settings.host
    return name if settings.port == 22 else f"[{name}]:{settings.port}"


def letter(keys: Sequence[HostKey], now: datetime) -> list[str]:
    """What partners must know, in Dutch: fingerprints to compare, each with its days."""
    lines = []
    for key in keys:
        match state(key, keys, now):
            case HostKeyState.IN_USE:
                until = min(
                    (
                        other.active_from
                        for other in keys
                        if other.kind is key.kind and other.active_from and other.active_from > now
                    ),
                    default=None,
                )
                days = "nu in gebruik" if until is None else f"in gebruik tot {local_day(until):%d-%m-%Y}"
            case HostKeyState.ANNOUNCED if key.active_from:
                days = f"in gebruik vanaf {local_day(key.active_from):%d-%m-%Y}"
            case _:
                continue
        lines.append(f"{key.kind} {key.fingerprint} ({days})")
    return lines
