"""What a service manager is told, over a real datagram socket."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import notify


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A service manager's socket, in both kinds that there are; this process is told of it."""
    path = str(tmp_path / "notify")
    address = path if request.param == "path" else f"@gateway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0", 1))
        receiver.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield receiver


def test_a_message_arrives(manager):
    """One datagram, with the words of sd_notify(3)."""
    notify.send(notify.READY)
    assert manager.recv(100) == b"READY=1"


def test_nobody_to_tell(monkeypatch, tmp_path):
    """No manager, or one that is gone: nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.send(notify.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify.send(notify.READY)


def test_alive_as_often_as_is_asked(monkeypatch):
    """Twice in each interval; not at all where nobody asks, or asks another."""
    assert notify.alive_every_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.alive_every_s() is None
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert notify.alive_every_s() == 0.05


def test_the_daemon_tells_when_it_is_ready_and_when_it_stops(tmp_path, manager, monkeypatch):
    """READY when partners can connect, WATCHDOG as long as it lives, STOPPING when it is told to end, nothing after."""
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    home = tmp_path / "home"
    command = [sys.executable, "-m", "gateway"]
    subprocess.run([*command, "init", home], check=True, capture_output=True)
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [*command, "--home", home, "serve", "--host", "127.0.0.1", "--port", "0"], stderr=log
        )
    told: list[bytes] = []

    def hear(message: bytes) -> None:
        while message not in told:
            told.append(manager.recv(100))

    try:
        hear(b"READY=1")
        assert (home / "data/run/gateway.json").exists()
        told.clear()
        hear(b"WATCHDOG=1")
        daemon.send_signal(signal.SIGTERM)
        hear(b"STOPPING=1")
        assert daemon.wait(timeout=30) == 0
    finally:
        daemon.kill()
        daemon.wait()
    manager.setblocking(False)
    while select.select([manager], [], [], 0)[0]:
        assert manager.recv(100) == b"WATCHDOG=1"
