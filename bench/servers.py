"""The servers that are compared: this one, and its peers, each with one user and one key."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

USER = "woonservice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs. Files are put in `folder`, and got from `outgoing`."""

    name: str
    port: int
    user: str
    pid: int
    folder: str
    outgoing: str
    stop: Callable[[], None]
    #: take away what was put
    clear: Callable[[], None]


class Missing(Exception):
    """A peer is not on this machine."""


def key_pair(folder: Path) -> Path:
    """The one client's key."""
    path = folder / "client"
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def gateway(folder: Path, *, config: str = "") -> Server:
    """This gateway, on a home of its own, sealing all it takes."""
    home = folder / "gateway"
    key = key_pair(folder)
    _run("init", home)
    _run(
        "--home",
        home,
        "partner",
        "add",
        USER,
        "--role",
        "creditor",
        "--sector",
        "Huur",
        "--key",
        f"{key}.pub",
    )
    settings = home / "config" / "gateway.toml"
    settings.write_text(
        settings.read_text()
        .replace('# file = "64 MiB"', 'file = "4 GiB"')
        .replace("[guard]", "[guard]\nconnections = 10_000\nconnections_per_address = 10_000")
        + config
    )
    partner = home / "config" / "partners" / f"{USER}.toml"
    partner.write_text(
        partner.read_text()
        .replace('# bytes_per_day = "10 GiB"', 'bytes_per_day = "1000 GiB"')
        .replace("# files_per_day = 10_000", "files_per_day = 1_000_000")
        .replace("# sessions = 32", "sessions = 10_000")
    )
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gateway",
            "--home",
            str(home),
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "gateway.log").open("w"),
    )
    _wait(port, process)
    return Server(
        name="gateway",
        port=port,
        user=USER,
        pid=process.pid,
        folder="inbox",
        outgoing="returns",
        stop=lambda: _stop(process),
        clear=lambda: None,
    )


def sshd(folder: Path) -> Server:
    """Debian's OpenSSH, storing what it takes as it comes."""
    program = Path("/usr/sbin/sshd")
    if not program.exists():
        raise Missing("sshd: apt-get install openssh-server")
    here, port = folder / "sshd", free_port()
    here.mkdir()
    files = here / "files"
    files.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(here / "host")], check=True)
    shutil.copy(f"{key_pair(folder)}.pub", here / "keys")
    Path("/run/sshd").mkdir(exist_ok=True)
    (here / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nAuthorizedKeysFile {here}/keys\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin yes\n"
        f"MaxStartups 2000\nMaxSessions 100\nSubsystem sftp internal-sftp -d {files}\n"
    )
    process = subprocess.Popen(
        [str(program), "-D", "-e", "-f", str(here / "config")],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "sshd.log").open("w"),
    )
    _wait(port, process)
    return Server(
        name="sshd",
        port=port,
        user=os.environ.get("USER") or "root",
        pid=process.pid,
        folder=str(files),
        outgoing=str(files),
        stop=lambda: _stop(process),
        clear=lambda: _empty(files),
    )


def rclone_crypt(folder: Path) -> Server:
    """Debian's rclone, serving a crypt remote: it seals at rest."""
    program = shutil.which("rclone", path="/usr/bin")
    if program is None:
        raise Missing("rclone: apt-get install rclone")
    here, port = folder / "rclone", free_port()
    here.mkdir()
    files = here / "files"
    files.mkdir()
    secret = subprocess.run([program, "obscure", "bench"], check=True, capture_output=True, text=True).stdout
    (here / "rclone.conf").write_text(f"[sealed]\ntype = crypt\nremote = {files}\npassword = {secret}\n")
    process = subprocess.Popen(
        [
            *(program, "--config", str(here / "rclone.conf"), "serve", "sftp", "sealed:"),
            *("--addr", f"127.0.0.1:{port}", "--user", "bench"),
            *("--authorized-keys", f"{key_pair(folder)}.pub", "--cache-dir", str(here / "cache")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "rclone.log").open("w"),
    )
    _wait(port, process)
    return Server(
        name="rclone-crypt",
        port=port,
        user="bench",
        pid=process.pid,
        folder="/",
        outgoing="/",
        stop=lambda: _stop(process),
        clear=lambda: _empty(files),
    )


def _run(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "gateway", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as tried:
            tried.settimeout(1)
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=60)


def _empty(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()
