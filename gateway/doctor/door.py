"""The door: whether a gateway runs, answers at its port, and is who it says."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.errors import KeyringError
from gateway.exchange import host_keys
from gateway.exchange.probe import answering_host_key
from gateway.running import Running
from gateway.settings import Settings

#: Long for a handshake on a busy host, short for a person who waits.
TIMEOUT_S = 8

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to be found, not to listen on


def look(settings: Settings, daemon: Running | None, now: datetime) -> Finding:
    """Knock at each port of the gateway that runs here."""
    if daemon is None:
        return warn("gateway", "does not run", "gateway serve; what it says at its end tells why it stopped")
    try:
        known = host_keys.calendar(settings.home.keys)
        # in the minute of a turn the one before may still answer
        kept = {key.fingerprint for key in known if not key.is_retired(now)}
    except KeyringError:
        kept = set()
    doors = [(settings.host, daemon.port)]
    if daemon.legacy_port is not None and settings.legacy is not None:
        doors.append((settings.legacy[0], daemon.legacy_port))
    for host, port in doors:
        if (wrong := _knock(_EVERYWHERE.get(host, host), port, daemon, kept)) is not None:
            return wrong
    ports = " and ".join(str(port) for _, port in doors)
    return ok(
        "gateway",
        f"answers at port{'' if len(doors) == 1 else 's'} {ports}, with the host key of keys/",
    )


def _knock(host: str, port: int, daemon: Running, kept: Collection[str]) -> Finding | None:
    """What is wrong with the answer at a port; None when nothing is."""
    try:
        answered = asyncio.run(answering_host_key(host, port, TIMEOUT_S))
    except OSError as exc:
        return fail(
            "gateway",
            f"process {daemon.pid} runs, but at {host} port {port}: {exc.strerror or exc}",
            "see its log, and restart it",
        )
    if answered != daemon.host_key and answered not in kept:
        return fail(
            "gateway",
            f"port {port} answers with host key {answered}, and the gateway's is {daemon.host_key}",
            "see who else listens there: ss -ltnp",
        )
    if answered not in kept:
        return fail(
            "gateway",
            f"it runs with host key {answered}, and in keys/ lies {' and '.join(sorted(kept)) or 'none that can be read'}",
            "bring the key back that partners know, and restart the gateway",
        )
    return None
