"""The servers that are compared: this one, and its peers, each with one user and one key."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.home import FILE, GUARD, partner_file
from gateway.cli.init import make_home
from gateway.settings import Home

USER = "woonservice"
#: How long a server may need until it listens, and may work on after its OK, in seconds.
_PATIENCE_S = 300
_SFTPGO = "github.com/drakkan/sftpgo/v2@v2.6.6"


def _nothing() -> None:
    """For servers that are done at their OK."""


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
    #: wait until what it does with a file after its OK is done
    settle: Callable[[], None] = _nothing
    #: of processes that do that and take no uploads
    afterwards: Callable[[], Sequence[int]] = tuple


class Missing(Exception):
    """A peer is not on this machine, and how it comes there."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(reason)
        self.peer = peer


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


def gateway(folder: Path) -> Server:
    """This gateway, on a home of its own, sealing all it takes."""
    home = Home(root=folder / "gateway")
    make_home(home)
    home.gateway_file.write_text(FILE + GUARD)
    public = key_pair(folder).with_suffix(".pub").read_text().strip()
    own = 'role = "creditor"\nsectors = ["Huur"]'
    (home.config / "partners" / f"{USER}.toml").write_text(partner_file(USER, own, public))
    return serve(home.root)


def serve(home: Path) -> Server:
    """`gateway serve` on a home, on a free port; its log lies beside the home."""
    port, log = free_port(), home.with_suffix(".log")
    words = ("--home", str(home), "serve", "--host", "127.0.0.1", "--port", str(port))
    process = _start(log, sys.executable, "-m", "gateway", *words)
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
        settle=lambda: _settle(home),
        afterwards=lambda: [pid for pid, kind in processes(log).items() if kind == "pipeline"],
    )


def sshd(folder: Path) -> Server:
    """Debian's OpenSSH, storing what it takes as it comes."""
    program = Path("/usr/sbin/sshd")
    if not program.exists():
        raise Missing("sshd", "apt-get install openssh-server")
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
    process = _start(folder / "sshd.log", str(program), "-D", "-e", "-f", str(here / "config"))
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
        raise Missing("rclone-crypt", "apt-get install rclone")
    here, port = folder / "rclone", free_port()
    here.mkdir()
    files = here / "files"
    files.mkdir()
    secret = subprocess.run([program, "obscure", "bench"], check=True, capture_output=True, text=True).stdout
    (here / "rclone.conf").write_text(f"[sealed]\ntype = crypt\nremote = {files}\npassword = {secret}\n")
    process = _start(
        folder / "rclone.log",
        *(program, "--config", str(here / "rclone.conf"), "serve", "sftp", "sealed:"),
        *("--addr", f"127.0.0.1:{port}", "--user", "bench"),
        *("--authorized-keys", f"{key_pair(folder)}.pub", "--cache-dir", str(here / "cache")),
    )
    return _sealing("rclone-crypt", port, process, files)


def sftpgo_cryptfs(folder: Path) -> Server:
    """SFTPGo with an encrypted folder: `SFTPGO_BIN` names it, or Go builds it into its own cache."""
    program = os.environ.get("SFTPGO_BIN") or _built_sftpgo()
    here, port = folder / "sftpgo", free_port()
    files = here / "files"
    files.mkdir(parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(here / "host")], check=True)
    public = (key_pair(folder).with_suffix(".pub")).read_text().strip()
    secret = {"status": "Plain", "payload": "bench"}
    user = {
        "id": 1,
        "status": 1,
        "username": "bench",
        "public_keys": [public],
        "home_dir": str(files),
        "permissions": {"/": ["*"]},
        "filesystem": {"provider": 4, "cryptconfig": {"passphrase": secret}},
    }
    (here / "data.json").write_text(json.dumps({"version": 16, "users": [user]}))
    none = [{"port": 0}]
    settings = {
        "sftpd": {
            "bindings": [{"address": "127.0.0.1", "port": port}],
            "host_keys": [str(here / "host")],
            "max_auth_tries": 6,
        },
        "httpd": {"bindings": none},
        "ftpd": {"bindings": none},
        "webdavd": {"bindings": none},
        "telemetry": {"bind_port": 0},
        "data_provider": {"driver": "memory", "name": str(here / "data.json")},
        "common": {"defender": {"enabled": False}, "max_per_host_connections": 0},
    }
    (here / "sftpgo.json").write_text(json.dumps(settings))
    process = _start(
        folder / "sftpgo.log", program, "serve", "--config-dir", str(here), "--log-file-path", ""
    )
    return _sealing("sftpgo-cryptfs", port, process, files)


def _sealing(name: str, port: int, process: subprocess.Popen[bytes], files: Path) -> Server:
    """A peer that seals what the user `bench` puts into its root, in a folder of ours."""
    _wait(port, process)
    return Server(
        name=name,
        port=port,
        user="bench",
        pid=process.pid,
        folder="/",
        outgoing="/",
        stop=lambda: _stop(process),
        clear=lambda: _empty(files),
    )


def _built_sftpgo() -> str:
    """SFTPGo as Go builds it, once; Missing when there is no Go, or it can't have the source."""
    go = shutil.which("go")
    if go is None:
        raise Missing("sftpgo-cryptfs", "install Go, or name the program in SFTPGO_BIN")
    into = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gateway-bench"
    program = into / "sftpgo"
    if not program.exists():
        done = subprocess.run(
            [go, "install", _SFTPGO],
            env={**os.environ, "GOBIN": str(into)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not program.exists():
            raise Missing("sftpgo-cryptfs", f"`go install {_SFTPGO}` failed: name the program in SFTPGO_BIN")
    return str(program)


def _settle(home: Path) -> None:
    """Until no delivery waits or is worked on: what comes next is measured alone."""
    deadline = time.monotonic() + _PATIENCE_S
    with closing(sqlite3.connect(f"file:{Home(root=home).db}?mode=ro", uri=True)) as conn:
        while time.monotonic() < deadline:
            (count,) = conn.execute(
                "SELECT count(*) FROM delivery WHERE state IN ('arrived', 'processing')"
            ).fetchone()
            if not count:
                return
            time.sleep(0.05)
    raise RuntimeError("deliveries still wait")


def processes(log: Path) -> Mapping[int, str]:
    """Which part of the gateway each of its processes is, by its log."""
    told = (line for line in log.read_text(errors="replace").splitlines() if "process.started" in line)
    found = ({what: re.search(rf"\b{what}\W+(\w+)", line) for what in ("kind", "pid")} for line in told)
    return {int(each["pid"][1]): each["kind"][1] for each in found if each["kind"] and each["pid"]}


def _start(log: Path, *words: str) -> subprocess.Popen[bytes]:
    with log.open("w") as told:
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=told)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as tried:
            tried.settimeout(1)
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"{process.args!r} does not listen")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=60)


def _empty(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()
