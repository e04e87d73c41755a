"""The sockets that partners connect to: one set for each process, all on one port (SO_REUSEPORT, socket(7)).

The kernel gives each connection to one of the sets, by the addresses and ports of both ends.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

#: Connections that wait to be accepted, on each socket.
BACKLOG = 100


def bind(host: str, port: int, processes: int) -> list[list[socket.socket]]:
    """Bind a set of sockets for each process, one for each address of `host`; nobody listens yet.

    Args:
        host: an address, or a name.
        port: TCP port; 0 takes one that is free.
        processes: how many sets.

    Raises:
        OSError: the port is taken, also by one who would share it; or there is no such address.
    """
    sets: list[list[socket.socket]] = [[] for _ in range(processes)]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as undo:
        for family, address in dict.fromkeys((each[0], each[4]) for each in found):
            at = (address[0], port, *address[2:])
            for number, those in enumerate(sets):
                bound = undo.enter_context(_bind(family, at, shares=number > 0))
                those.append(bound)
                # a free port that was found is that of all the others
                port = bound.getsockname()[1]
                at = (address[0], port, *address[2:])
        undo.pop_all()
    return sets


def close(sockets: Sequence[socket.socket]) -> None:
    """Close them in this process; whoever else has them goes on."""
    for each in sockets:
        each.close()


def _bind(family: int, address: tuple[object, ...], *, shares: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # the first one asks for the port alone, and shares it afterwards: another gateway's is refused to us
        if shares:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        bound.close()
        raise
    return bound
