"""The auditor's box over SFTP: folders rendered on read, a log that verifies from what was fetched (spec 2, spec 4)."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date
from hashlib import sha256

import pytest

from gateway.audit.checkpoint import create_signing_key
from gateway.audit.log import record
from gateway.audit.publish import seal_log
from gateway.audit.sequencer import Sequencer
from gateway.audit.shelf import LogShelf
from gateway.audit.sshsig import NAMESPACE, PRINCIPAL
from gateway.retention.shelves import CertificateShelf
from gateway.store import certificates
from gateway.store.certificates import Signed

TEXT = "VERKLARING VAN VERNIETIGING\nén zo voort\n".encode()


class Room:
    """What the auditor's box is made of, in a house."""

    def __init__(self, house):
        self.house, self.store = house, house.exchange.store
        (house.path / "log").mkdir()
        self.signer = create_signing_key(house.path)
        self.sequencer = Sequencer(self.signer)
        house.exchange.shelves.update(
            log=LogShelf(self.store, self.signer), verklaringen=CertificateShelf(self.store, self.signer)
        )

    def log(self, count, action="delivery.arrived", **detail):
        """Entries in the log, signed."""
        now = self.house.clock.now()
        with self.store.write() as conn:
            for number in range(count):
                record(
                    conn,
                    action=action,
                    object_id=f"L{number}",
                    origin="cli",
                    actor="beheer",
                    at=now,
                    node="test",
                    detail=detail,
                )
        seal_log(self.store, self.sequencer, self.signer, self.house.path / "log", now)

    def certificate(self, number, party, text=TEXT):
        """A signed certificate of a party."""
        signed = Signed(
            number=number,
            run_id=1,
            party=party,
            made_at=self.house.clock.now(),
            is_complete=True,
            as_json=b"{}\n",
            json_signature=self.signer.sign_message(b"{}\n"),
            as_text=text,
            text_signature=self.signer.sign_message(text),
            keep_until=date(2034, 1, 1),
        )
        with self.store.write() as conn:
            certificates.add(conn, [signed])


@pytest.fixture
def room(house):
    """The auditor's box with 300 entries in the log and a certificate of two municipalities."""
    made = Room(house)
    made.log(300)
    made.certificate("2026-000001", "GM1731")
    made.certificate("2026-000002", "GM0303", b"{}")
    return made


async def fetch(house, to="box"):
    """`get -r audit` as OpenSSH's sftp does it."""
    (house.path / to).mkdir()
    done = await house.sftp("accountant", f"get -r audit {to}")
    assert done.status == 0, done.err
    return house.path / to / "audit"


def run_verifier(log, *args):
    """The verifier that was fetched, with the standard library alone."""
    command = [sys.executable, "-I", "-S", log / "verify_log.py", *args]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def keygen(folder, name, said):
    """The exit code of `ssh-keygen -Y verify` over what is said to be signed."""
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", PRINCIPAL, "-n", NAMESPACE]
    return subprocess.run(
        [*command, "-s", f"{name}.sig"], cwd=folder, input=said, capture_output=True, check=False
    ).returncode


async def test_the_whole_box_is_fetched_and_the_log_verifies_offline(house, room):
    """All folders; the log is whole, and an altered byte is told."""
    box = await fetch(house)
    assert sorted(path.name for path in box.iterdir()) == ["log", "verklaringen"]
    status, said = run_verifier(box / "log")
    assert (status, "300 entries" in said) == (0, True), said
    assert sorted(
        path.relative_to(box / "log").as_posix() for path in (box / "log").rglob("*") if path.is_file()
    ) == [
        "audit.pub",
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "verify_log.py",
    ]
    entry = box / "log" / "tile" / "entries" / "000"
    entry.write_bytes(entry.read_bytes().replace(b"beheer", b"niemnd", 1))
    assert run_verifier(box / "log")[0] == 1


async def test_certificates_verify_with_ssh_keygen_and_are_in_the_log(house, room):
    """With what lies in the box and nothing else."""
    room.log(1, "certificate.made", text=sha256(TEXT).hexdigest())
    box = await fetch(house)
    folder = box / "verklaringen"
    name = "verklaring_2026-000001.txt"
    assert [keygen(folder, name, said) for said in (TEXT, TEXT + b"\n")] == [0, 255]
    assert (folder / name).read_bytes() == TEXT
    status, said = run_verifier(box / "log", folder / name)
    assert (status, f"in the log: {folder / name}" in said) == (0, True), said
    (folder / name).write_bytes(TEXT + b"!")
    assert run_verifier(box / "log", folder / name)[0] == 1


async def test_a_scope_hides_the_certificates_of_others(house, room):
    """Not listed, and the same answer as for what is not there; the log is common to all."""
    house.partners["accountant"] = replace(house.partners["accountant"], scope=("GM1731",))
    box = await fetch(house)
    assert {path.name.partition(".")[0] for path in (box / "verklaringen").iterdir()} == {
        "allowed_signers",
        "verklaring_2026-000001",
    }
    assert run_verifier(box / "log")[0] == 0
    async with house.raw("accountant") as raw:
        other = await raw.open("audit/verklaringen/verklaring_2026-000002.txt", 1)
        nothing = await raw.open("audit/verklaringen/verklaring_2026-000009.txt", 1)
        assert (other.status, other.text) == (nothing.status, nothing.text) == (2, nothing.text)


async def test_files_are_read_at_any_offset_and_stay_as_they_were_at_open(house, room):
    """A register or checkpoint that changes meanwhile does not change under the reader."""
    async with house.raw("accountant") as raw:
        handle = (await raw.open("/audit/log/checkpoint", 1)).string
        before = (await raw.read(handle, 0, 4000)).string
        room.log(5)
        assert (await raw.read(handle, 0, 4000)).string == before
        assert (await raw.read(handle, 10, 7)).string == before[10:17]
        assert (await raw.read(handle, len(before), 1)).status == 1
        assert (await raw.close(handle)).status == 0
        handle = (await raw.open("/audit/log/checkpoint", 1)).string
        assert (await raw.read(handle, 0, 4000)).string != before


async def test_the_box_is_read_only_and_paths_lead_nowhere_else(house, room):
    """No write, no removal, no folder; what is not there is not there."""
    async with house.raw("accountant") as raw:
        assert (await raw.open("audit/log/checkpoint")).status == 3
        assert (await raw.remove("audit/log/checkpoint")).status == 3
        for path in (
            "audit/nothing",
            "audit/log/tile/0/002",
            "audit/log/tile/0/../../../../etc/passwd",
            "audit/verklaringen/x",
            "audit/log/checkpoint/x",
        ):
            assert (await raw.open(path, 1)).status == 2, path
            assert (await raw.stat(path)).status == 2, path
    done = await house.sftp("accountant", "ls -l audit/log/tile/0", "ls -l audit/log")
    assert done.status == 0, done.err
    assert " 8192 " in done.out
