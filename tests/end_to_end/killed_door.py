"""What comes to the door, and what an administrator types, killed at any step (driver: kill_at_every_step.py)."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway.cli import main
from gateway.clock import SteppedClock, SystemClock, local_day
from gateway.daemon import Daemon
from gateway.domain.host_key import HostKey, HostKeyKind
from gateway.domain.partner import Box
from gateway.exchange import host_keys
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.download import Download
from gateway.exchange.guard import Guard, lift
from gateway.exchange.key_uses import KeyUses
from gateway.exchange.protocol import Refused
from gateway.gateway import Gateway
from gateway.settings import load_settings
from gateway.store import configuration, dispatches
from gateway.store.guard import sessions, standings
from gateway.store.partner_keys import uses
from gateway.store.tables import AuditEntry

#: Who comes too often with a wrong key (RFC 5737), and who comes with the right one.
STRANGER, PARTNER = "198.51.100.7", "woonservice"
#: When the old host keys of a rotation have gone.
LATER = timedelta(days=40)


def tell(gateway: Gateway, what: str) -> None:
    """What was done, beside the home's own files."""
    (gateway.home.root / f"told-{what}").touch()


# -- the door --------------------------------------------------------------------------------------


def work_door(gateway: Gateway) -> None:
    """A stranger is closed out while a partner is in; a damaged file is asked for; the stranger is let in again."""
    exchange = Daemon(gateway)._exchange()
    partner = gateway.settings.partners[PARTNER]
    key = partner.keys[0].fingerprint

    async def visited() -> None:
        guard, noted = Guard(lambda: exchange), KeyUses()
        for _ in range(exchange.guard.refusals + 2):
            guard.refuse(STRANGER, exchange.guard)
        guard.enter(partner)
        await guard.look()
        tell(gateway, "look")
        noted.note(exchange, partner.id, key)
        await noted.settle()
        tell(gateway, "use")

    asyncio.run(visited())
    ask_for_a_damaged_file(
        gateway,
        exchange,
        Visit(partner=partner, fingerprint=key, address="127.0.0.1", client="", session_id=""),
    )
    tell(gateway, "damaged")
    lift(gateway.store, STRANGER, actor="beheer", at=gateway.clock.now(), node=gateway.node)
    tell(gateway, "lift")


def ask_for_a_damaged_file(gateway: Gateway, exchange: Exchange, visit: Visit) -> None:
    """The disk has lost a byte of a receipt: nothing of it is handed out."""
    with exchange.store.read() as conn:
        file = dispatches.listed(conn, visit.partner.id, Box.RETURNS)[0]
    path = gateway.home.vault / file.blob
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    try:
        Download(exchange, visit, Box.RETURNS, file)
    except Refused:
        return
    raise AssertionError("a damaged file was opened")


def door(gateway: Gateway) -> dict[str, Any]:
    """What a process that starts now knows of visitors."""
    with gateway.store.read() as conn:
        now = gateway.clock.now()
        held, inside, used = standings(conn), sessions(conn, now), uses(conn)
    exchange = Daemon(gateway)._exchange()
    guard = Guard(lambda: exchange)
    asyncio.run(guard.look())
    return {
        "held": {source: round(each.score) for source, each in held.items()},
        "refused": guard.knock(STRANGER, exchange.guard),
        "inside": inside,
        "used": sorted(partner_id for partner_id, _ in used),
    }


# -- commands --------------------------------------------------------------------------------------


def command(gateway: Gateway, *words: str) -> None:
    """`gateway …` on this home, which succeeds."""
    sys.argv = ["gateway", "--home", str(gateway.home.root), *words]
    try:
        with redirect_stdout(io.StringIO()):
            main()
    except SystemExit as ended:
        assert not ended.code, words  # noqa: PT017  # it is how a command ends
    tell(gateway, " ".join(words[:3]))


def work_commands(gateway: Gateway) -> None:
    """A partner gets another key and is disabled; the host key turns twice, and the first is retired by hand.

    Then time passes, and a daemon does the rest, with the legacy listener's key. What is done already is not done
    again.
    """
    root = gateway.home.root
    partner = load_settings(root).partners[PARTNER]
    if len(partner.keys) == 1:
        command(gateway, "partner", "rotate", PARTNER, "--key", str(root.parent / "next.pub"))
    if not partner.is_disabled:
        command(gateway, "partner", "disable", PARTNER)
    if len(own_keys(gateway)) == 1:
        turn(gateway)
    if not (first := own_keys(gateway)[0]).is_retired(SystemClock().now()):
        command(gateway, "keys", "host", "retire", first.fingerprint)
    if len(own_keys(gateway)) == 2:
        turn(gateway)
    tell(gateway, "later")
    assert isinstance(gateway.clock, SteppedClock)
    gateway.clock.step(LATER)

    async def run() -> None:
        daemon = Daemon(gateway)
        await daemon.start(host="127.0.0.1", port=0)
        await daemon.look_at_keys()
        await daemon.reload()
        tell(gateway, "reload")
        await daemon.stop()

    asyncio.run(run())


def turn(gateway: Gateway) -> None:
    """Another host key, at once."""
    command(gateway, "keys", "host", "rotate", "--from", str(local_day(SystemClock().now())))


def own_keys(gateway: Gateway) -> list[HostKey]:
    """The host keys that every client knows, the oldest first."""
    return [key for key in host_keys.calendar(gateway.home.keys) if key.kind is HostKeyKind.ED25519]


def found_at_start(gateway: Gateway) -> dict[str, Any]:
    """What the commands and the kill left, before anything is done about it."""
    folder = gateway.home.keys
    now = SystemClock().now()
    if (gateway.home.root / "told-later").exists():
        now += LATER
    host_keys.check(folder, now)  # raises: a key that is announced is not there, or is another
    partner = gateway.settings.partners[PARTNER]
    with gateway.store.read() as conn:
        in_force = configuration.in_force(conn)
    return {
        "partner": [len(partner.keys), partner.keys[0].valid_until is not None, partner.is_disabled],
        "known": len(own_keys(gateway)),
        "untold": sorted(untold(gateway)),
        "in force": in_force is not None and in_force.digest == gateway.settings.digest,
        "told": sorted(path.name.removeprefix("told-") for path in gateway.home.root.glob("told-*")),
    }


def untold(gateway: Gateway) -> Iterator[str]:
    """Host keys that came or went, and the audit log does not say so."""
    with gateway.store.read() as conn:
        entries = [json.loads(row.entry) for row in conn.execute(AuditEntry.__table__.select())]  # type: ignore[attr-defined]
    told = {(entry["object"], entry["action"]) for entry in entries}
    for number, key in enumerate(host_keys.calendar(gateway.home.keys)):
        if number and not told & {
            (key.fingerprint, "host_key.rotated"),
            (key.fingerprint, "host_key.made"),
        }:
            yield f"{key.file} came"
        private: Path = gateway.home.keys / key.file
        public = private.with_name(f"{private.name}.pub")
        gone = {(key.fingerprint, "host_key.retired"), (key.fingerprint, "host_key.removed")}
        if not private.exists() and not public.exists() and not told & gone:
            yield f"{key.file} went"
