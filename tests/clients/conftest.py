"""A running daemon in a process of its own, and the programs of its partners."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import paramiko
import pytest

from gateway.cli import main

CREDITOR, MUNICIPALITY = "woonservice", "middendrenthe"
#: How long the daemon may take to start, to process a file, to publish.
PATIENCE_S = 60

Found = TypeVar("Found")


def until(look: Callable[[], Found]) -> Found:
    """Wait for what another process does; what `look` found."""
    end = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return found


@dataclass
class Site:
    """The gateway as its partners know it: an address, a host key, and each partner's private key."""

    folder: Path
    keys: dict[str, Path]
    port: int
    host_key: str
    _read: dict[str, dict[str, Any]] = field(default_factory=dict)
    _looks: dict[str, paramiko.SFTPClient] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def run(self, argv: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A partner's program, without any settings of whoever runs the tests."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR"}}
        node_modules = Path(sys.prefix) / "npm" / "node_modules"
        env = kept | {"HOME": str(self.folder), "NODE_PATH": str(node_modules)}
        return subprocess.run(
            argv,
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            env=env,
            cwd=self.folder,
            timeout=100,
        )

    def look(self, user: str) -> paramiko.SFTPClient:
        """A connection beside the clients' own; one a partner, for all tests."""
        if user not in self._looks:
            ssh = self._stack.enter_context(paramiko.SSHClient())
            ssh.load_host_keys(str(self.known_hosts))
            ssh.connect("127.0.0.1", self.port, user, key_filename=str(self.keys[user]), allow_agent=False)
            self._looks[user] = ssh.open_sftp()
        return self._looks[user]

    def close(self) -> None:
        """End what `look` opened."""
        self._stack.close()

    def listing(self, user: str, box: str) -> dict[str, paramiko.SFTPAttributes]:
        """What a box shows: name -> attributes."""
        return {entry.filename: entry for entry in self.look(user).listdir_attr(box)}

    def receipts(self, name: str) -> list[dict[str, Any]]:
        """What the receipts say of the files of a name; waits for the first."""
        return until(lambda: [told for told in self._receipts() if told["naam"] == name])

    def _receipts(self) -> list[dict[str, Any]]:
        sftp = self.look(CREDITOR)
        for name in sftp.listdir("returns"):
            if name.endswith(".json") and name not in self._read:
                with sftp.open(f"returns/{name}") as file:
                    told = json.load(file)
                self._read[name] = told["bestand"] | {key: told[key] for key in ("delivery_id", "weigering")}
        return list(self._read.values())

    def manifest(self) -> dict[str, Any]:
        """Of the meldingen that are published for the municipality; waits for them, and for their worklist."""

        def found() -> list[str]:
            names = [name for name in self.listing(MUNICIPALITY, "outbox") if name.endswith(".manifest.json")]
            is_whole = any(name.startswith("werklijst_") for name in names)
            return [name for name in names if is_whole and name.startswith("meldingen_")]

        (name,) = until(found)
        with self.look(MUNICIPALITY).open(f"outbox/{name}") as file:
            return json.load(file)

    def logged(self, event: str, **values: object) -> int:
        """How many lines of the daemon's log say so."""
        with (self.folder / "log").open() as log:
            lines = [json.loads(line) for line in log if line.endswith("\n")]
        return sum(values.items() <= line.items() for line in lines if line["event"] == event)


def gateway(home: Path, *args: str | Path) -> None:
    """A command of the administrator; it must succeed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gateway", "--home", *map(str, (home, *args))])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code


def new_key(folder: Path, user: str) -> Path:
    """A partner's key pair; the private key's file."""
    pair, path = asyncssh.generate_private_key("ssh-ed25519"), folder / user
    path.write_bytes(pair.export_private_key("openssh"))
    path.chmod(0o600)
    pair.write_public_key(path.with_suffix(".pub"))
    return path


def send_signals(site: Site) -> None:
    """What makes an outbox file of some MiB; it is published while uploads are tried."""
    path = site.folder / "signalen.csv"
    row = {"achternaam": "van-den-heuvel-" * 13, "postcode": "7938PL", "sector": "Huur", "bedrag": "600,00"}
    row |= {"dagen_achterstand": "60", "sociaal_incasso": "J"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["signaal_id", "klantnummer", "huisnummer", *row], delimiter=";")
        writer.writeheader()
        for number in range(4000):
            own = {"signaal_id": f"S{number}", "klantnummer": f"k{number}", "huisnummer": 1 + number % 400}
            writer.writerow(own | row)
    site.look(CREDITOR).put(str(path), "inbox/signalen.csv")


@contextmanager
def serving(
    folder: Path, public_keys: Mapping[str, Sequence[Path]], keys: dict[str, Path], *, settle_s: int = 5
) -> Iterator[Site]:
    """A creditor and a municipality before `gateway serve`.

    Args:
        folder: where the home lies, and what the partners have.
        public_keys: what the administrator is given of each partner.
        keys: the private key of each partner with which the tests look on.
        settle_s: how long the gateway waits for more before it publishes.
    """
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gateway", "init", str(home)])
        with pytest.raises(SystemExit):
            main()
    gateway(home, "municipality", "add", "GM1731", "--preset", "ris")
    policy = home / "config" / "municipalities" / "GM1731.toml"
    policy.write_text(policy.read_text().replace("settle_s = 5 ", f"settle_s = {settle_s} "))
    for user, *told in (
        (CREDITOR, "--role", "creditor", "--sector", "Huur"),
        (MUNICIPALITY, "--role", "municipality", "--serves", "GM1731"),
    ):
        given = [word for key in public_keys[user] for word in ("--key", key)]
        gateway(home, "partner", "add", user, *told, *given)
    command = [Path(sys.executable).with_name("gateway"), "--home", home, "serve", "--port", "0"]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        ready = home / "data" / "run" / "gateway.json"
        until(lambda: ready.exists() or daemon.poll() is not None)
        assert daemon.poll() is None, (folder / "log").read_text()
        told = json.loads(ready.read_text())
        site = Site(folder=folder, keys=keys, port=told["port"], host_key=told["host_key"])
        public = (home / "keys" / "host_ed25519.pub").read_text()
        site.known_hosts.write_text(f"[127.0.0.1]:{site.port} {public}")
        yield site
        site.close()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0, (folder / "log").read_text()
    finally:
        daemon.kill()
        daemon.wait()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Partners with a key each, and a file on its way to the outbox."""
    folder = tmp_path_factory.mktemp("site")
    keys = {user: new_key(folder, user) for user in (CREDITOR, MUNICIPALITY)}
    try:
        with serving(folder, {user: [key.with_suffix(".pub")] for user, key in keys.items()}, keys) as site:
            send_signals(site)
            yield site
    finally:
        shutil.rmtree(folder)  # pytest keeps the folders of three runs, and this one holds many 64 MiB


@pytest.fixture(scope="session", name="until")
def waiting() -> Callable[[Callable[[], Found]], Found]:
    """How tests wait for what other processes do."""
    return until


Served = Callable[[Path, Mapping[str, Sequence[Path]]], AbstractContextManager[Site]]


@pytest.fixture(scope="session")
def served() -> Served:
    """A gateway of one's own: folder and the partners' further public keys; it publishes at once."""

    def serve(folder: Path, public_keys: Mapping[str, Sequence[Path]]) -> AbstractContextManager[Site]:
        keys = {user: new_key(folder, user) for user in (CREDITOR, MUNICIPALITY)}
        given = {user: [key.with_suffix(".pub"), *public_keys[user]] for user, key in keys.items()}
        return serving(folder, given, keys, settle_s=0)

    return serve
