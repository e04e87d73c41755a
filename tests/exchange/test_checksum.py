"""`sha256sum` and `md5sum` over SSH: as coreutils says it, for a partner's own files and no others."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import threading
from datetime import timedelta

import asyncssh
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.shelf import Document, Shown
from gateway.exchange import checksum
from gateway.exchange.checksum import Command, parse

CONTENT = os.urandom(300_001)
CSV = b"signaal_id;postcode\nA1;9401AB\n"
NAMES = ["a.csv", "met spatie.csv", "één.csv", "quote\"d'.csv", "back\\slash.csv", "-b.csv"]


async def say(house, user, command, **options):
    """Run a command; its exit status, standard output and standard error."""
    async with house.connect(user) as connection:
        done = await connection.run(command, check=False, **options)
    return done.exit_status, done.stdout, done.stderr


def coreutils(folder, *words):
    """What the real program says of the same files."""
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C.UTF-8"}
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("program", ["sha256sum", "md5sum"])
@pytest.mark.parametrize("box", ["inbox", "outbox"])
async def test_the_same_as_coreutils(house, program, box):
    """Digests, escapes and exit status are those of the program of that name, byte for byte."""
    folder = house.path / "here" / box
    folder.mkdir(parents=True)
    async with house.raw("assen") as raw:
        for number, name in enumerate(NAMES):
            content = CONTENT[: number * 60_000]
            (folder / name).write_bytes(content)
            if box == "outbox":
                house.place("assen", "outbox", name, content)
                continue
            handle = (await raw.open(f"inbox/{name}")).string
            for at in range(0, len(content), 100_000):
                await raw.write(handle, at, content[at : at + 100_000])
            assert (await raw.close(handle)).status == 0
    words = [program, *(f"{box}/{name}" for name in NAMES), f"{box}/absent.csv", box]
    ours, theirs = await say(house, "assen", shlex.join(words)), coreutils(folder.parent, *words)
    assert ours == theirs
    assert theirs[0] == 1


async def test_the_digest_of_nothing(house):
    """Without a name it is the digest of the input, which must be empty: rclone's question before it trusts us."""
    assert await say(house, "woonbron", "md5sum", stdin=asyncssh.DEVNULL) == coreutils("/", "md5sum")
    status, out, err = await say(house, "woonbron", "sha256sum", input="something")
    assert (status, out, "SFTP only" in err) == (1, "", True)


async def test_input_that_never_ends(house, monkeypatch):
    """A client that keeps its input open is refused after a while."""
    monkeypatch.setattr("gateway.exchange.session.INPUT_TIMEOUT_S", 0.05)
    async with house.connect("woonbron") as connection:
        process = await connection.create_process("md5sum")
        done = await process.wait()
    assert (done.exit_status, done.stdout) == (1, "")


async def test_never_a_file_of_anothers(house):
    """Another partner's file, a name that nobody has and a box that is not there get one answer."""
    house.place("assen", "outbox", "meldingen.csv", CSV)
    async with house.raw("vitens") as raw:
        await raw.put("inbox/hers.csv", CSV)
    for path in (
        "inbox/hers.csv",
        "inbox/absent.csv",
        "outbox/meldingen.csv",
        "returns/x.csv",
        "../etc/passwd",
    ):
        said = await say(house, "woonbron", f"sha256sum {path}")
        assert said == (1, "", f"sha256sum: {path}: No such file or directory\n")
    assert (await say(house, "vitens", "sha256sum inbox/hers.csv"))[0] == 0


async def test_as_long_as_it_is_listed(house):
    """A staged file and a received one have a digest; one that is hidden, or no longer listed, has none."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv.part", CSV)
        await raw.put("inbox/b.csv", CSV)
        await raw.put("inbox/c.csv", CSV)
        await raw.remove("inbox/c.csv")
    command = "md5sum inbox/a.csv.part inbox/b.csv inbox/c.csv"
    assert [len(text.splitlines()) for text in (await say(house, "woonbron", command))[1:]] == [2, 1]
    house.clock.step(timedelta(hours=24))
    assert [len(text.splitlines()) for text in (await say(house, "woonbron", command))[1:]] == [1, 2]


async def test_a_digest_collects_nothing(house):
    """The digest of a dispatch is no download; the log tells how many there were, and no name."""
    one = house.place("assen", "outbox", "jansen.csv", CSV)
    with structlog.testing.capture_logs() as lines:
        assert (await say(house, "assen", "sha256sum outbox/jansen.csv"))[0] == 0
    assert house.dispatch(one)["collected_at"] is None
    assert [line["count"] for line in lines if line["event"] == "checksum.ended"] == [1]
    assert "jansen" not in str(lines)


async def test_a_damaged_file_has_no_digest(house):
    """A flipped bit gives an error and a line in the log, in either direction."""
    house.place("assen", "outbox", "a.csv", CSV)
    async with house.raw("assen") as raw:
        await raw.put("inbox/a.csv", CSV)
    for name in house.blob_files():
        path = house.path / "blobs" / name
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    for box in ("inbox", "outbox"):
        with structlog.testing.capture_logs() as lines:
            status, out, err = await say(house, "assen", f"sha256sum {box}/a.csv")
        assert (status, out, err) == (1, "", f"sha256sum: {box}/a.csv: Input/output error\n")
        assert "blob.damaged" in [line["event"] for line in lines]


async def test_contents_that_were_destroyed(house):
    """A file whose key has gone is still found by STAT, and has no digest."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV)
    house.exchange.keyring.destroy("until-2026-12-06")
    assert (await say(house, "woonbron", "md5sum inbox/a.csv"))[0] == 1


class OneDocument:
    """A shelf with one document."""

    def listing(self, path, scope):
        return None if path else [Shown(name="a.txt", size=3)]

    def document(self, path, scope):
        return Document(data=b"abc") if path == ("a.txt",) else None


async def test_of_what_the_auditor_reads(house, tmp_path):
    """The auditor's documents have digests; their folders are folders."""
    house.exchange.shelves["log"] = OneDocument()
    (tmp_path / "audit" / "log").mkdir(parents=True)
    (tmp_path / "audit" / "log" / "a.txt").write_bytes(b"abc")
    words = "sha256sum", "audit/log/a.txt", "audit/log", "audit/none", "audit/log/none"
    assert await say(house, "accountant", shlex.join(words)) == coreutils(tmp_path, *words)


async def test_hashing_is_capped_and_off_the_loop(house, monkeypatch):
    """At most two digests are made at a time; meanwhile others are served, and commands refused."""
    going, most, gate = 0, 0, threading.Event()
    lock = threading.Lock()

    def slow(*_arguments):
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        gate.wait(20)
        with lock:
            going -= 1
        return "0" * 64

    monkeypatch.setattr(checksum, "_digest", slow)
    async with house.connect("woonbron") as connection:
        asked = [asyncio.create_task(connection.run("sha256sum inbox/a inbox/b")) for _ in range(5)]
        await house.until(lambda: going == 2)
        async with house.raw("woonbron") as raw:
            assert (await raw.stat("/")).status == 0
        assert (await connection.run("echo", check=False)).exit_status == 1
        gate.set()
        for done in await asyncio.gather(*asked):
            assert len(done.stdout.splitlines()) == 2
    assert most == 2


@pytest.mark.parametrize(
    "command",
    [
        "",
        "md5sum -c sums",
        "sha256sum --tag a",
        "sha1sum a",
        "rclone md5sum",
        "md5 -r",
        "echo ${ShellId}%ComSpec%",
        "md5sum 'a",
        "/usr/bin/md5sum a",
        "md5sum " + "a " * 65,
        "md5sum " + "a" * 8_192,
        "scp -t inbox",
    ],
)
def test_other_commands_are_none(command):
    """Options, other programs, too many names and broken quotation are no command of ours."""
    assert parse(command) is None


def test_names_are_words():
    """A command is split as a POSIX shell splits it, and nothing in it is carried out."""
    assert parse("md5sum -- -b") == Command(program="md5sum", names=("-b",))
    assert parse(r"sha256sum a\ b 'c d' $(id) ;") == Command(
        program="sha256sum", names=("a b", "c d", "$(id)", ";")
    )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), max_size=5))
def test_any_names_quoted(names):
    """Whatever a name has in it, quoted it comes out as it was."""
    assert parse(shlex.join(["md5sum", "--", *names])) == Command(program="md5sum", names=tuple(names))


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_command_parses_or_is_none(command):
    """No command raises."""
    asked = parse(command)
    assert asked is None or asked.program in checksum.PROGRAMS
