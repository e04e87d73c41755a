"""OpenSSH's sftp and scp, unmodified."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import timedelta

import asyncssh
import pytest

from gateway.domain.partner import PartnerKey

CSV = b"signaal_id;postcode\nA1;9401AB\n"


async def test_put_is_received(house):
    """What sftp puts is sealed, ARRIVED, and the worker is woken."""
    source = house.file("signalen.csv", CSV)
    done = await house.sftp("woonbron", f"put {source} inbox/")
    assert done.status == 0, done.err
    (row,) = house.rows()
    assert (row["state"], row["partner_id"], row["arrival"], row["size_bytes"]) == (
        "arrived",
        "woonbron",
        1,
        len(CSV),
    )
    assert house.received(row) == CSV
    assert house.name(row) == "signalen.csv"
    assert row["key_fingerprint"] == house.partners["woonbron"].keys[0].fingerprint
    assert house.wakes == [1]
    assert house.actions() == ["delivery.arrived"]
    with house.exchange.blobs.open(row["blob"]) as blob:
        assert blob.size == row["sealed_bytes"]
    # digests are made by intake, which reads the file
    assert (row["sealed_sha256"], row["sha256_sealed"]) == (None, None)


async def test_put_with_times_and_fsync(house):
    """Times set before CLOSE are echoed in the listing and decide nothing; fsync is answered."""
    source = house.file("oud.csv", CSV)
    os.utime(source, (1_000_000_000, 1_000_000_000))
    source.chmod(0o640)
    done = await house.sftp("woonbron", f"put -pf {source} inbox/oud.csv", "ls -l inbox")
    assert done.status == 0, done.err
    (row,) = house.rows()
    assert (row["client_modified"], row["client_mode"]) == (1_000_000_000, 0o640)
    assert row["received_at"] == house.clock.now()
    assert "-rw-r-----" in done.out
    assert "Sep  9  2001 oud.csv" in done.out


async def test_received_files_stay_listed_for_a_day(house):
    """A received file is listed for 24 hours, processed or not, and then no longer."""
    source = house.file("signalen.csv", CSV)
    await house.sftp("woonbron", f"put {source} inbox/")
    assert "signalen.csv" in (await house.sftp("woonbron", "ls inbox")).out
    house.clock.step(house.exchange.listed_for)
    assert "signalen.csv" not in (await house.sftp("woonbron", "ls inbox")).out


async def test_the_inbox_is_write_only(house):
    """What was sent can't be read back, and what was not sent is not there."""
    source = house.file("signalen.csv", CSV)
    done = await house.sftp("woonbron", f"put {source} inbox/", "get inbox/signalen.csv back.csv")
    assert done.status == 1
    assert "ermission denied" in done.err or "can't be read back" in done.err
    assert not (house.path / "back.csv").exists() or (house.path / "back.csv").read_bytes() == b""


async def test_outbox_list_get_and_remove(house):
    """The partner lists, gets and removes what lies ready; reading whole collects, rm hides."""
    content = os.urandom(300_000)
    collected = house.place("assen", "outbox", "meldingen_1.csv", content)
    removed = house.place("assen", "returns", "bericht.csv", b"x")
    done = await house.sftp(
        "assen",
        "ls -l outbox",
        "get outbox/meldingen_1.csv got.csv",
        "rm returns/bericht.csv",
        "ls returns",
        "ls outbox",
    )
    assert done.status == 0, done.err
    assert " 300000 " in done.out
    assert (house.path / "got.csv").read_bytes() == content
    first, second = house.dispatch(collected), house.dispatch(removed)
    assert (first["state"], first["collected_at"], first["removed_at"]) == (
        "collected",
        house.clock.now(),
        None,
    )
    assert (second["state"], second["removed_at"]) == ("collected", house.clock.now())
    assert "outbox/meldingen_1.csv" in done.out.split("sftp> ls outbox")[1]
    assert "returns/bericht.csv\n" not in done.out.split("sftp> ls returns")[1]
    assert house.actions() == ["dispatch.collected", "dispatch.removed"]


async def test_scp_up_and_down_exit_0(house):
    """A copy by scp (SFTP mode) ends with status 0 in both directions, every byte the same."""
    content = os.urandom(5 * 1024 * 1024)
    source = house.file("groot.csv", content)
    up = await house.run("scp", "-p", *house.ssh_options("assen"), source, "127.0.0.1:inbox/groot.csv")
    assert up.status == 0, up.err
    assert house.received(house.rows()[0]) == content
    house.place("assen", "outbox", "meldingen.csv", content)
    down = await house.run(
        "scp", *house.ssh_options("assen"), "127.0.0.1:outbox/meldingen.csv", house.path / "down.csv"
    )
    assert down.status == 0, down.err
    assert (house.path / "down.csv").read_bytes() == content


async def test_scp_of_an_empty_file(house):
    """An empty file is received; what it means is for the pipeline to say."""
    source = house.file("leeg.csv", b"")
    up = await house.run("scp", *house.ssh_options("woonbron"), source, "127.0.0.1:inbox/")
    assert up.status == 0, up.err
    (row,) = house.rows()
    assert (row["state"], row["size_bytes"], house.received(row)) == ("arrived", 0, b"")


async def test_legacy_scp_and_commands_are_refused_with_a_line(house):
    """A command, a shell and scp's old protocol get one line on standard error and exit status 1."""
    options = house.ssh_options("woonbron")
    for command in ("echo hello", "sha1sum inbox/x", "md5sum -c inbox/x", ""):
        done = await house.run("ssh", *options, "127.0.0.1", *filter(None, [command]))
        assert (done.status, done.out) == (1, "")
        assert "SFTP only" in done.err
    source = house.file("x.csv", CSV)
    assert (await house.run("scp", "-O", *options, source, "127.0.0.1:inbox/")).status != 0
    assert house.rows() == []


async def test_forwarding_is_refused(house, tmp_path_factory):
    """No forwarding of TCP or of Unix sockets, in either direction."""
    options = [*house.ssh_options("woonbron"), "-o", "ExitOnForwardFailure=yes"]
    sockets = tmp_path_factory.mktemp("s")  # a socket's path is short
    done = await house.run("ssh", *options, "-W", f"127.0.0.1:{house.port}", "127.0.0.1")
    assert (done.status != 0, "open failed" in done.err) == (True, True), done.err
    for remote in ("0:127.0.0.1:1", f"{sockets}/there:127.0.0.1:1", "0"):
        back = await house.run("ssh", *options, "-N", "-R", remote, "127.0.0.1")
        assert back.status != 0
        assert "forwarding failed" in back.err
    assert not (sockets / "there").exists()
    async with house.connect("woonbron") as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection(encoding=None, remote_path=str(sockets / "x"))
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", house.port, encoding=None)


@pytest.mark.parametrize("option", ["-T", "-A", "-X", "-Y"])
async def test_shell_agent_and_x11_are_refused(house, option, monkeypatch):
    """An agent and X11 are not given, and the shell behind them is refused at once, with a line."""
    monkeypatch.setenv("DISPLAY", "127.0.0.1:7")
    began = time.monotonic()
    done = await house.run("ssh", option, *house.ssh_options("woonbron"), "127.0.0.1")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[-1].strip() == "This service speaks SFTP only."
    assert time.monotonic() - began < 5


async def test_a_refusal_of_each_kind(house):
    """What a channel asks for is answered with a failure for a terminal, an agent and X11, and nothing is set."""
    async with house.connect("woonbron") as connection:
        with pytest.raises(asyncssh.ChannelOpenError, match="PTY"):
            await connection.create_process(term_type="xterm")
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_process(x11_forwarding=True, x11_display="127.0.0.1:7")
        done = await connection.run("echo", env={"LD_PRELOAD": "x"}, check=False)
        assert (done.exit_status, done.stdout, done.stderr) == (1, "", "This service speaks SFTP only.\n")


async def test_put_under_a_temporary_name_and_rename(house):
    """A file under a temporary name is STAGED; its RENAME makes it ARRIVED, and only then."""
    source = house.file("signalen.csv", CSV)
    done = await house.sftp("woonbron", f"put {source} inbox/signalen.csv.filepart")
    assert done.status == 0, done.err
    assert (house.states(), house.wakes) == (["staged"], [])
    house.clock.step(house.exchange.listed_for / 2)
    done = await house.sftp("woonbron", "rename inbox/signalen.csv.filepart inbox/signalen.csv", "ls inbox")
    assert done.status == 0, done.err
    (row,) = house.rows()
    assert (row["state"], row["arrival"], row["received_at"]) == ("arrived", 1, house.clock.now())
    assert row["closed_at"] < row["received_at"]
    assert (house.name(row), house.wakes) == ("signalen.csv", [1])
    assert "filepart" not in done.out.split("sftp> ls inbox")[1]
    assert house.actions() == ["delivery.staged", "delivery.arrived"]


async def test_reput_is_refused(house):
    """A client that wants to continue an earlier upload is told to send the file again."""
    source = house.file("signalen.csv", CSV * 2)
    await house.sftp("woonbron", f"put {house.file('a.csv', CSV)} inbox/signalen.csv")
    done = await house.sftp("woonbron", f"reput {source} inbox/signalen.csv")
    assert done.status == 1
    assert house.states() == ["arrived"]


async def test_names_in_any_script(house):
    """Names are NFC: a decomposed name and its composed form are one name."""
    source = house.file("x.csv", CSV)
    done = await house.sftp("woonbron", f'put {source} "inbox/ge\u0301e\u0301n (naam) №1.csv"', "ls inbox")
    assert done.status == 0, done.err
    assert house.name(house.rows()[0]) == "géén (naam) №1.csv"


async def test_another_partners_key_fails(house):
    """A valid key of another partner, and any key of an unknown user, fail."""
    for user in ("woonbron", "nobody"):
        done = await house.sftp(user, "ls", key="vitens")
        assert done.status == 255
        assert "Permission denied (publickey)" in done.err


async def test_files_go_to_the_inbox(house):
    """Outside the inbox nothing is written."""
    source = house.file("x.csv", CSV)
    assert "ermission denied" in (await house.sftp("woonbron", f"put {source} x.csv")).err
    for place in ("returns/x.csv", "outbox/x.csv", "inbox/deeper/x.csv", "nowhere/x.csv"):
        assert (await house.sftp("assen", f"put {source} {place}")).status == 1
    assert house.rows() == []


async def test_two_keys_overlap_and_expire(house):
    """A second key works within its window only; the first goes on working."""
    line, fingerprint = house.new_key("second")
    now = house.clock.now()
    window = PartnerKey(
        public_key=line,
        fingerprint=fingerprint,
        valid_from=now + timedelta(hours=1),
        valid_until=now + timedelta(hours=2),
    )
    woonbron = house.partners["woonbron"]
    house.partners["woonbron"] = replace(woonbron, keys=(*woonbron.keys, window))
    outcomes = []
    for _ in range(3):
        outcomes.append((await house.sftp("woonbron", "ls", key="second")).status)
        house.clock.step(timedelta(hours=1))
    assert outcomes == [255, 0, 255]
    assert (await house.sftp("woonbron", "ls")).status == 0
