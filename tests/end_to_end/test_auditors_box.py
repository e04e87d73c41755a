"""The auditor's box alone proves a destruction: fetched once, and the gateway is no more (spec 4, promise 6).

What checks it has three programs: python3 without the gateway or any package, ssh-keygen and openssl.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import structlog

from gateway.clock import AMSTERDAM

DOCS = Path(__file__).parents[2] / "docs"
#: What the documents' lines call besides the three.
SHELL = ("sh", "head", "tail", "cut", "base64")


@dataclass(frozen=True)
class Office:
    """The auditor's own computer: what was fetched at the first visit and now, and a few programs."""

    path: Path
    certificate: str

    @property
    def box(self) -> Path:
        """What was fetched now."""
        return self.path / "audit"

    def checks(self) -> Mapping[str, tuple[str, Path]]:
        """The command of each check, as the documents tell it, and its folder."""
        retention = (DOCS / "retention.md").read_text()
        (signature,) = re.findall(r"^ssh-keygen .*$", retention, re.MULTILINE)
        operations = (DOCS / "operations.md").read_text()
        (checkpoint,) = [block for block in operations.split("```")[1::2] if "openssl pkeyutl" in block]
        # with the keys of the first visit: who can replace a certificate can replace the key beside it
        signature = signature.replace("-f allowed_signers", "-f ../../kept/allowed_signers")
        log = "python3 -I -S log/verify_log.py --key ../kept/audit.pub --kept ../kept/checkpoint"
        shelf = self.box / "verklaringen"
        return {
            "text": (signature.replace("verklaring_2027-000001", self.certificate), shelf),
            "JSON": (
                signature.replace("verklaring_2027-000001.txt", f"{self.certificate}.json"),
                shelf,
            ),
            "log": (
                f"{log} verklaringen/{self.certificate}.txt verklaringen/{self.certificate}.json",
                self.box,
            ),
            "checkpoint": (checkpoint.removeprefix("sh\n"), self.box / "log"),
        }

    def failing(self) -> set[str]:
        """The checks that fail, with nothing of ours in the environment."""
        return {
            name for name, (command, folder) in self.checks().items() if self.run(command, folder).returncode
        }

    def run(self, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """One command."""
        return subprocess.run(
            ["sh", "-e", "-c", command],
            cwd=folder,
            env={"PATH": str(self.path / "programs"), "HOME": str(self.path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder with three programs, and what a shell is made of."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    for name in ("ssh-keygen", "openssl", *SHELL):
        there = shutil.which(name)
        if there is None:
            pytest.skip(f"{name} is not installed")
        (folder / name).symlink_to(there)
    return folder


async def fetch(town, to):
    """`get -r audit` as OpenSSH's sftp does it."""
    to.mkdir()
    done = await town.sftp("accountant", f'get -r audit "{to}"')
    assert done.status == 0, done.err


@pytest.fixture
async def office(new_town, tmp_path, programs, signal):
    """Exchanged, let go of, fetched; then the gateway was switched off and its home removed."""
    town = new_town(tmp_path / "gateway")
    town.add_partner("accountant", "--role", "auditor", "--scope", "all")
    await town.start()
    await fetch(town, town.path / "first")
    await town.deliver("woonservice", signal("w1"), signal("w2", huisnummer=20))
    await town.settle()
    await town.collect("middendrenthe")
    town.clock.set(datetime(2027, 5, 4, 2, 30, tzinfo=AMSTERDAM))
    await town.daemon.schedule.run_due()
    await fetch(town, town.path / "now")
    await town.stop()
    structlog.reset_defaults()
    path = tmp_path / "office"
    path.mkdir()
    shutil.copytree(town.path / "now/audit", path / "audit")
    (path / "kept").mkdir()
    for kept in ("verklaringen/allowed_signers", "log/audit.pub", "log/checkpoint"):
        shutil.copy(town.path / "first/audit" / kept, path / "kept")
    (path / "programs").symlink_to(programs)
    shutil.rmtree(town.path)
    of_municipality = [
        each.stem for each in (path / "audit/verklaringen").glob("*.txt") if "GM1731" in each.read_text()
    ]
    return Office(path, sorted(of_municipality)[-1])


def altered(path: Path, at: int) -> None:
    """Change a byte into one that may stand there too."""
    data = bytearray(path.read_bytes())
    data[at] = ord("A") if data[at] != ord("A") else ord("B")
    path.write_bytes(data)


def middle(data: bytes) -> int:
    """Where a file is altered when any place will do."""
    return len(data) // 2


#: what is altered -> its file in the box, where in it, and the checks that see it
ALTERED: Mapping[str, tuple[str, Callable[[bytes], int], set[str]]] = {
    "a certificate's text": ("verklaringen/{}.txt", middle, {"text", "log"}),
    "a certificate's JSON": ("verklaringen/{}.json", middle, {"JSON", "log"}),
    "a text's signature": ("verklaringen/{}.txt.sig", middle, {"text"}),
    "a JSON's signature": ("verklaringen/{}.json.sig", middle, {"JSON"}),
    "an entry of the log": ("log/tile/entries/000", middle, {"log"}),
    "a hash of the log": ("log/tile/0/000", middle, {"log"}),
    "the log's root": ("log/checkpoint", lambda data: data.index(b"=\n") - 20, {"log", "checkpoint"}),
    "the log's signature": ("log/checkpoint", lambda data: data.rindex(b" ") + 40, {"log", "checkpoint"}),
}


async def test_a_destruction_is_proved_without_the_gateway(office):
    """A certificate is signed and in the log, the log is whole and continues the first visit's: all four checks pass.

    Then one byte is altered at a time: the checks that must see it fail, and no other.
    """
    assert not (office.path.parent / "gateway").exists()
    assert office.run("python3 -I -S -c 'import gateway'", office.path).returncode != 0
    said = {name: office.run(*check) for name, check in office.checks().items()}
    assert {name: done.returncode for name, done in said.items()} == dict.fromkeys(said, 0), said
    assert "in the log" in said["log"].stdout
    assert "Verified Successfully" in said["checkpoint"].stdout
    for what, (name, where, seen_by) in ALTERED.items():
        path = office.box / name.format(office.certificate)
        whole = path.read_bytes()
        altered(path, where(whole))
        assert office.failing() == seen_by, what
        path.write_bytes(whole)
    assert office.failing() == set()
