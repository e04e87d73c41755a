"""The conformance server: our session over real files, on loopback and nowhere else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import paramiko
import pytest

HERE = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.conformance"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running server: its root, its port and its key."""
    folder = tmp_path_factory.mktemp("conformance")
    root, key = folder / "root", folder / "key"
    root.mkdir()
    command = [*COMMAND, "--port", "0", "--key", str(key), "--root", str(root)]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        yield root, int(line.split("]:")[1].split()[0]), key
        process.terminate()


def test_a_tree_of_real_files(server):
    """Folders, links, renames, attributes, append and truncation are carried out, as a client asks them."""
    root, port, key = server
    with paramiko.Transport(("127.0.0.1", port)) as transport:
        transport.connect(username="tester", pkey=paramiko.Ed25519Key.from_private_key_file(str(key)))
        sftp = paramiko.SFTPClient.from_transport(transport)
        sftp.mkdir("d", 0o750)
        with sftp.open("d/a", "w") as file:
            file.write(b"x" * 100_000)
        with sftp.open("d/a", "a") as file:
            file.write(b"end")
        sftp.truncate("d/a", 99_999)
        sftp.chmod("d/a", 0o640)
        sftp.utime("d/a", (1_000, 2_000))
        sftp.symlink("a", "d/link")
        assert (sftp.readlink("d/link"), sftp.stat("d/link").st_size) == ("a", 99_999)
        assert stat.S_ISLNK(sftp.lstat("d/link").st_mode)
        assert (sftp.normalize("d/../d/link"), sorted(sftp.listdir("d"))) == ("/d/a", ["a", "link"])
        with sftp.open("d/b", "w") as file:
            file.write(b"other")
        with pytest.raises(OSError, match="file of that name"):
            sftp.rename("d/a", "d/b")
        sftp.posix_rename("d/a", "d/b")
        found = (root / "d" / "b").stat()
        assert (found.st_size, stat.S_IMODE(found.st_mode), found.st_mtime) == (99_999, 0o640, 2_000)
        assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750
        with pytest.raises(OSError, match="not empty"):
            sftp.rmdir("d")
        sftp.remove("d/b")
        sftp.remove("d/link")
        sftp.rmdir("d")
        with pytest.raises(FileNotFoundError):
            sftp.stat("/../../d")
    assert list(root.iterdir()) == []


def test_over_standard_input_and_output(tmp_path):
    """OpenSSH's sftp runs it in place of `sftp-server`; -R writes nothing."""
    program = tmp_path / "sftp-server"
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -m tests.conformance --stdio --root {tmp_path} $*\n"
    )
    program.chmod(0o755)
    (tmp_path / "a").write_bytes(os.urandom(700_000))
    for option, outcome in (("", 0), (" -R", 1)):
        done = subprocess.run(
            ["sftp", "-b", "-", "-D", f"{program}{option}"],
            check=False,
            input=f"get a {tmp_path}/back\nput {tmp_path}/back b\nln b c\ndf\n",
            capture_output=True,
            text=True,
            cwd=HERE,
        )
        assert done.returncode == outcome, done.stderr
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert (tmp_path / "b").stat().st_nlink == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_loopback_only(tmp_path, host):
    """Any other address is refused: whoever comes in reads and writes everything."""
    command = [*COMMAND, "--host", host, "--key", str(tmp_path / "key"), "--root", str(tmp_path)]
    done = subprocess.run(command, check=False, cwd=HERE, capture_output=True, text=True)
    assert (done.returncode, "only a loopback address" in done.stderr) == (2, True)
