"""The way of bytes between socket and session, over a real network with real clients: rekeys, flow, other ciphers.

What the fuzzed twin of this file holds for bytes, this holds for a gateway: the library's connection is the measure.
"""

from __future__ import annotations

import logging
import os
import struct
from contextlib import asynccontextmanager

import asyncssh
import pytest
from structlog.testing import capture_logs

from gateway.exchange import transport
from gateway.exchange.transport import Connection

GCM_128, GCM_256, CHACHA = "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"
CTR = "aes256-ctr"
MIB = 1 << 20


@pytest.fixture(scope="module")
def content():
    """A file of many packets, none like another."""
    return os.urandom(3 * MIB + 12_345)


@pytest.fixture
def folders(tmp_path):
    """Folders for gateways, one after the other."""
    return iter([path for path in (tmp_path / "one", tmp_path / "other") if not path.mkdir()])


@pytest.fixture
def rekeys(monkeypatch):
    """How many key exchanges each of the server's connections has finished."""
    counted = []
    finish = asyncssh.SSHServerConnection.send_newkeys

    def send_newkeys(self, *args):
        counted.append(self)
        finish(self, *args)

    monkeypatch.setattr(asyncssh.SSHServerConnection, "send_newkeys", send_newkeys)
    return counted


def connections(house):
    """The server's end of every connection."""
    return list(house.listener._traffic.connections)


@asynccontextmanager
async def raw(house, user, cipher, **channel):
    """A session of raw packets under one cipher."""
    async with house.connect(user, encryption_algs=[cipher]) as connection:
        writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None, **channel)
        yield connection, writer, reader


async def talk(house, user, cipher):
    """One of each kind of request, well-formed or not, and the bytes of all replies; what they were sent over."""
    house.place("assen", "outbox", "lijst.csv", bytes(range(256)) * 1_500)

    def packet(kind, *parts):
        body = bytes([kind]) + struct.pack(">I", 7) + b"".join(parts)
        return struct.pack(">I", len(body)) + body

    def text(value):
        return struct.pack(">I", len(value)) + value

    handle = text(struct.pack(">I", 1))
    packets = [
        struct.pack(">IBI", 5, 1, 6),
        packet(16, text(b".")),
        packet(11, text(b"/")),
        packet(12, handle),
        packet(12, handle),
        packet(4, handle),
        packet(17, text(b"/nowhere")),
        packet(3, text(b"/inbox/a.csv"), struct.pack(">II", 0x1A, 0)),
        packet(3, text(b"/outbox/lijst.csv"), struct.pack(">II", 1, 0)),
        packet(200, text(b"limits@openssh.com")),
        packet(99, b"what is this"),
        packet(17),
    ]
    handles = [text(struct.pack(">I", number)) for number in (2, 3)]
    for own in handles:
        packets += [
            packet(6, own, struct.pack(">Q", 0), text(b"w" * 70_000)),
            packet(6, own, struct.pack(">Q", 100_000), text(b"early" * 6_000)),
            packet(6, own, struct.pack(">Q", 70_000), text(b"z" * 30_000), b"surplus"),
            packet(5, own, struct.pack(">QI", 5, 200_000)),
            packet(5, own, struct.pack(">QI", 1 << 40, 10)),
            packet(8, own),
            packet(4, own),
            packet(4, own),
        ]
    async with raw(house, user, cipher) as (connection, writer, reader):
        kinds = {type(one) for one in connections(house)}
        stream, replies = b"".join(packets), []
        for begin in range(0, len(stream), 23_456):  # packets of SFTP and of SSH begin in different places
            writer.write(stream[begin : begin + 23_456])
        for _ in packets:
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            replies.append(await reader.readexactly(length))
        done = await connection.run("md5sum /inbox/a.csv", check=False)
        refused = await connection.run("id", check=False)
        replies += [(one.exit_status, one.stdout, one.stderr) for one in (done, refused)]
    return replies, [house.received(row) for row in house.rows()], kinds


@pytest.mark.parametrize("user", ["woonbron", "assen"])
@pytest.mark.parametrize("cipher", [GCM_128, GCM_256, CHACHA, CTR])
async def test_the_short_way_answers_as_the_library_does(
    make_house, listening, folders, monkeypatch, user, cipher
):
    """The same requests over both: the same replies, byte by byte, and the same files received."""
    async with listening(make_house(next(folders))) as house:
        *ours, kinds = await talk(house, user, cipher)
    monkeypatch.setattr(transport, "ASYNCSSH", "another version")
    async with listening(make_house(next(folders))) as house:
        *theirs, others = await talk(house, user, cipher)
    assert (kinds, others) == ({Connection}, {asyncssh.SSHServerConnection})
    assert ours == theirs
    assert len(ours[0]) > 25


async def test_another_version_of_the_library_is_told(make_house, listening, folders, monkeypatch):
    """The gateway works on with the library's own connection, and says that it is slower."""
    monkeypatch.setattr(transport, "ASYNCSSH", "another version")
    with capture_logs() as lines:
        async with listening(make_house(next(folders))) as house:
            done = await house.sftp("woonbron", f"put {house.file('a.csv', b'a;b')} inbox/")
    assert done.status == 0, done.err
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["transport.replaced"]


async def test_who_logs_in_costs_no_look_at_the_host_key(house):
    """It was read when the door was opened: a login does without its file."""
    path = house.path / "host_key"
    path.rename(path.with_name("elsewhere"))
    done = await house.sftp("woonbron", f"put {house.file('a.csv', b'a;b')} inbox/")
    assert done.status == 0, done.err


async def test_the_library_logs_nothing(house, caplog):
    """Its lines quote what clients send: none are made, whatever is logged elsewhere."""
    caplog.set_level(logging.DEBUG, logger="asyncssh")
    done = await house.sftp("woonbron", f"put {house.file('a.csv', b'a;b')} inbox/")
    assert done.status == 0, done.err
    assert not caplog.records


@pytest.mark.parametrize("cipher", [GCM_128, CHACHA, CTR])
async def test_the_client_changes_keys_again_and_again(house, rekeys, content, cipher):
    """OpenSSH with a limit of 1 MiB: uploads and downloads are what they were."""
    house.place("assen", "outbox", "lijst.csv", content)
    words = ["-c", cipher, "-o", "RekeyLimit=1M", "-b", "-", "127.0.0.1"]
    source = house.file("groot.csv", content)
    put = await house.run("sftp", *house.ssh_options("woonbron"), *words, stdin=f"put {source} inbox/\n")
    assert put.status == 0, put.err
    assert house.received(house.rows()[0]) == content
    assert len(rekeys) >= 3
    rekeys.clear()
    got = house.path / "got.csv"
    done = await house.run("sftp", *house.ssh_options("assen"), *words, stdin=f"get outbox/lijst.csv {got}\n")
    assert done.status == 0, done.err
    assert got.read_bytes() == content
    assert len(rekeys) >= 3


@pytest.mark.parametrize("cipher", [GCM_128, CHACHA, CTR])
async def test_the_server_changes_keys_again_and_again(house, rekeys, content, cipher):
    """Of its own accord, in the middle of an upload and of a download."""
    house.place("assen", "outbox", "lijst.csv", content)
    async with house.connect("woonbron", encryption_algs=[cipher]) as connection:
        (server,) = connections(house)
        server._rekey_bytes = 200  # replies to WRITE are small
        async with connection.start_sftp_client() as client:
            await client.put(house.file("groot.csv", content), "inbox/", block_size=1 << 17)
    assert house.received(house.rows()[0]) == content
    assert len(rekeys) >= 3
    rekeys.clear()
    async with house.connect("assen", encryption_algs=[cipher]) as connection:
        server = next(one for one in connections(house) if one is not server)
        server._rekey_bytes = MIB
        async with connection.start_sftp_client() as client:
            await client.get("outbox/lijst.csv", house.path / "got.csv")
    assert (house.path / "got.csv").read_bytes() == content
    assert len(rekeys) >= 3


@pytest.mark.parametrize("cipher", [GCM_128, CHACHA])
async def test_a_session_keeps_nothing_of_what_it_is_shown(house, monkeypatch, content, cipher):
    """The buffer that it is shown is another's a moment later: whoever kept a view would read the other's file."""
    hand_over = Connection._hand_data_over

    def hand_over_and_spoil(self):
        size = self._gathered
        try:
            hand_over(self)
        finally:
            self._buffers.opened[10 : 10 + size] = bytes(size)

    monkeypatch.setattr(Connection, "_hand_data_over", hand_over_and_spoil)
    async with house.raw("woonbron") as one, house.raw("vitens") as other:
        handles = [(raw, (await raw.open("/inbox/a.csv")).string) for raw in (one, other)]
        step = 40_000
        offsets = [step, 0, *range(2 * step, 10 * step, step)]
        for offset in offsets:
            for raw, handle in handles:
                piece = (
                    content[offset : offset + step] if raw is one else content[::-1][offset : offset + step]
                )
                assert (await raw.write(handle, offset, piece)).status == 0
        for raw, handle in handles:
            assert (await raw.close(handle)).status == 0
    received = {row["partner_id"]: house.received(row) for row in house.rows()}
    assert received == {"woonbron": content[: 10 * step], "vitens": content[::-1][: 10 * step]}


async def packet_from(reader):
    """The next packet of SFTP, without its length."""
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(length)


async def begin_to_read(writer, reader):
    """INIT, and OPEN of the file in the outbox; its handle."""
    writer.write(struct.pack(">IBI", 5, 1, 3))
    await packet_from(reader)
    name = b"/outbox/lijst.csv"
    body = struct.pack(">BII", 3, 1, len(name)) + name + struct.pack(">II", 1, 0)
    writer.write(struct.pack(">I", len(body)) + body)
    return (await packet_from(reader))[9:]


def read(handle, size):
    """READ from the beginning."""
    body = struct.pack(">BII", 5, 2, len(handle)) + handle + struct.pack(">QI", 0, size)
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize("cipher", [GCM_128, CHACHA, CTR])
async def test_a_client_that_does_not_read_is_waited_for(house, cipher):
    """It asks for more than it takes: little of it waits in memory, and it gets all when it reads again."""
    big = os.urandom(250_000)
    house.place("assen", "outbox", "lijst.csv", big)
    async with raw(house, "assen", cipher, window=1 << 26) as (connection, writer, reader):
        handle = await begin_to_read(writer, reader)
        (server,) = connections(house)
        (session,) = house.listener._traffic.sessions
        connection._transport.pause_reading()
        writer.write(read(handle, len(big)) * 60)
        await house.until(lambda: not session.connection_writable.is_set())
        waiting = server._transport.get_write_buffer_size() + session._channel.get_write_buffer_size()
        assert waiting < MIB
        connection._transport.resume_reading()
        for _ in range(60):
            assert (await packet_from(reader))[9:] == big


@pytest.mark.parametrize("cipher", [GCM_128, CHACHA, CTR])
async def test_a_client_with_a_small_window_gets_all_of_it(house, cipher):
    """A window of 3,000 bytes and packets of 1,100: many packets, and the file is whole."""
    big = os.urandom(200_000)
    house.place("assen", "outbox", "lijst.csv", big)
    async with raw(house, "assen", cipher, window=3_000, max_pktsize=1_100) as (_, writer, reader):
        handle = await begin_to_read(writer, reader)
        writer.write(read(handle, len(big)) * 2)
        for _ in range(2):
            assert (await packet_from(reader))[9:] == big


async def test_a_client_that_changes_keys_and_never_finishes_gets_no_more_replies(house):
    """What it asks for meanwhile is not made: it would wait in memory."""
    house.place("assen", "outbox", "lijst.csv", os.urandom(250_000))
    async with raw(house, "assen", GCM_128) as (connection, writer, reader):
        handle = await begin_to_read(writer, reader)
        (server,) = connections(house)
        (session,) = house.listener._traffic.sessions
        server._rekey_bytes = 1
        connection._recv_handler = lambda: False  # it takes nothing in, and so never answers
        writer.write(read(handle, 250_000) * 60)
        await house.until(lambda: not session.connection_writable.is_set())
        assert sum(len(part) for _, parts in server._deferred_packets for part in parts) < MIB
        connection.abort()
