"""The door: whether a gateway runs, answers at its port, and is who it says."""

from __future__ import annotations

import asyncio

from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.exchange.keys import host_key_fingerprint
from gateway.exchange.probe import answering_host_key
from gateway.running import Running
from gateway.settings import Settings

#: Long for a handshake on a busy host, short for a person who waits.
TIMEOUT_S = 8

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to be found, not to listen on


def look(settings: Settings, daemon: Running | None) -> Finding:
    """Knock at the port of the gateway that runs here."""
    if daemon is None:
        return warn("gateway", "does not run", "gateway serve; what it says at its end tells why it stopped")
    host = _EVERYWHERE.get(settings.host, settings.host)
    try:
        answered = asyncio.run(answering_host_key(host, daemon.port, TIMEOUT_S))
    except OSError as exc:
        return fail(
            "gateway",
            f"process {daemon.pid} runs, but at {host} port {daemon.port}: {exc.strerror or exc}",
            "see its log, and restart it",
        )
    try:
        kept = host_key_fingerprint(settings.home.host_key)
    except (OSError, ValueError):
        kept = "none that can be read"
    if answered != daemon.host_key:
        return fail(
            "gateway",
            f"port {daemon.port} answers with host key {answered}, and the gateway's is {daemon.host_key}",
            "see who else listens there: ss -ltnp",
        )
    if answered != kept:
        return fail(
            "gateway",
            f"it runs with host key {answered}, and in keys/ lies {kept}",
            "bring the key back that partners know, and restart the gateway",
        )
    return ok("gateway", f"answers at port {daemon.port}, with the host key of keys/")
