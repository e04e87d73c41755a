"""What a service manager is told: sd_notify(3), one datagram a message, to nobody where nobody asked."""

from __future__ import annotations

import os
import socket

#: The messages of sd_notify(3) that are sent.
READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def send(message: str) -> None:
    """Send one message to `$NOTIFY_SOCKET`; does nothing without one, and a manager that is gone stops nobody."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            # @ stands for the NUL of Linux's abstract addresses
            sender.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            return


def alive_every_s() -> float | None:
    """How often this process is to say that it is alive: twice in each `$WATCHDOG_USEC`; None where nobody asks."""
    asked_us = os.environ.get("WATCHDOG_USEC", "")
    asked_of = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not asked_us.isdecimal() or not int(asked_us) or asked_of != str(os.getpid()):
        return None
    return int(asked_us) / 2_000_000
