"""One session: its limits, its end, and what goes wrong in it."""

from __future__ import annotations

import asyncio
import os
import struct

import asyncssh
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.exchange import conversation
from gateway.exchange.context import Visit
from gateway.exchange.conversation import Conversation
from gateway.exchange.session import SFTPSession, Traffic
from gateway.logs import FIELDS

CSV = b"signaal_id;postcode\nA1;9401AB\n"


async def test_a_packet_of_128_mib_is_not_taken_in(house):
    """A packet above the cap ends the connection at its first four bytes; what was open is given up."""
    async with house.connect("woonbron") as connection:
        writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None)
        raw_open = bytes([3]) + struct.pack(">II", 1, 9) + b"inbox/a.c" + struct.pack(">II", 0x1A, 0)
        for packet in (b"\x01\0\0\0\x03", raw_open):
            writer.write(struct.pack(">I", len(packet)) + packet)
        writer.write(struct.pack(">I", 128 * 1024 * 1024))
        with pytest.raises((asyncssh.DisconnectError, asyncio.IncompleteReadError)):
            await reader.readexactly(10_000)
        await connection.wait_closed()
    await house.until(lambda: house.states() == ["aborted"])


async def test_the_largest_announced_packet_is_taken(house):
    """A WRITE of all that limits@ announces, and a READ as long, are answered in full."""
    content = os.urandom(261_120)
    house.place("assen", "outbox", "a.csv", content)
    async with house.raw("assen") as raw:
        limits = await raw.ask(200, struct.pack(">I", 18) + b"limits@openssh.com")
        packet, read, write, handles = struct.unpack(">QQQQ", limits.body)
        assert (packet, read, write, handles) == (262_144, 261_120, 261_120, conversation.MOST_HANDLES)
        assert (await raw.put("inbox/a.csv", content)).status == 0
        handle = (await raw.open("outbox/a.csv", 1)).string
        assert (await raw.read(handle, 0, read)).string == content


async def test_handles_are_capped(house):
    """Files, folders and uploads beyond their caps are refused; room comes back with CLOSE."""
    async with house.raw("woonbron") as raw:
        folders = [await raw.ask(11, b"\0\0\0\x01/") for _ in range(300)]
        statuses = [reply.status for reply in folders]
        assert statuses == [0] * conversation.MOST_HANDLES + [4] * (300 - conversation.MOST_HANDLES)
        for reply in folders[: conversation.MOST_HANDLES]:
            await raw.close(reply.string)
        uploads = [await raw.open(f"inbox/{number}.csv") for number in range(conversation.MOST_UPLOADS + 1)]
        assert [reply.status for reply in uploads] == [0] * conversation.MOST_UPLOADS + [4]
        await raw.close(uploads[0].string)
        assert (await raw.open("inbox/more.csv")).status == 0


async def test_sessions_of_a_connection_are_capped(house):
    """A connection has at most ten channels at a time; those that ended make room."""
    async with house.connect("woonbron") as connection:
        for _ in range(15):
            assert (await connection.run("echo", check=False)).exit_status == 1
        open_ones = [await connection.open_session(subsystem="sftp", encoding=None) for _ in range(10)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_session(subsystem="sftp", encoding=None)
        open_ones[0][0].close()
        await open_ones[0][0].wait_closed()
        await connection.open_session(subsystem="sftp", encoding=None)


async def test_only_the_sftp_subsystem(house):
    """Another subsystem is refused."""
    async with house.connect("woonbron") as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_session(subsystem="netconf", encoding=None)


async def test_wrong_handles(house):
    """A handle that was never given, was closed, or is of another kind is refused, and the session goes on."""
    house.place("assen", "outbox", "a.csv", CSV)
    async with house.raw("assen") as raw:
        folder = (await raw.ask(11, b"\0\0\0\x01/")).string
        reading = (await raw.open("outbox/a.csv", 1)).string
        writing = (await raw.open("inbox/a.csv")).string
        for handle in (b"", b"\0\0\0\x63", b"x" * 300):
            assert (await raw.write(handle, 0, CSV)).status == 4
            assert (await raw.close(handle)).status == 4
        for handle in (folder, reading):
            assert (await raw.write(handle, 0, CSV)).status == 3
            assert (await raw.ask(10, struct.pack(">I", 4) + handle, bytes(4))).status == 3
        for handle in (folder, writing):
            assert (await raw.read(handle, 0, 10)).status == 3
        assert (await raw.ask(12, struct.pack(">I", 4) + writing)).status == 4
        assert (await raw.ask(8, struct.pack(">I", 4) + folder)).status == 0
        assert (await raw.close(reading)).status == 0
        assert (await raw.close(reading)).status == 4


async def test_unknown_extensions_and_fsync(house):
    """An extension that is not announced is unsupported; fsync is answered on any open handle."""
    async with house.raw("woonbron") as raw:
        for name in (b"copy-data", b"fstatvfs@openssh.com", b"md5-hash", b""):
            assert (await raw.ask(200, struct.pack(">I", len(name)) + name)).status == 8
        assert (await raw.ask(99)).status == 8
        handle = (await raw.open("inbox/a.csv")).string
        sync = struct.pack(">I", 17) + b"fsync@openssh.com" + struct.pack(">I", 4)
        assert (await raw.ask(200, sync + handle)).status == 0
        assert (await raw.ask(200, sync + b"none")).status == 4


async def test_many_requests_under_way(house):
    """Requests that are sent without waiting are answered in their order, however many there are."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        piece = os.urandom(32_768)
        for _ in range(50):  # slow ones first, so that what follows is held back for a while
            raw.send(17, struct.pack(">I", 12) + b"inbox/absent")
        for number in range(200):
            raw.send(
                6,
                struct.pack(">I", 4) + handle,
                struct.pack(">Q", number * 32_768),
                struct.pack(">I", 32_768) + piece,
            )
        assert [(await raw.reply()).status for _ in range(250)] == [2] * 50 + [0] * 200
        await raw.close(handle)
    assert house.received(house.rows()[0]) == piece * 200


@pytest.mark.parametrize("cut", [1, 4, 28, 29, 30, 49, 63, 64, 65, 500])
async def test_a_write_that_is_cut_anywhere_while_another_request_is_answered(quiet_house, cut):
    """What came of it meanwhile is not lost, and it is answered in its turn."""
    data = os.urandom(1_000)
    async with quiet_house.without_network("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        packets, write = [], raw.writer.write
        raw.writer.write = packets.append
        raw.send(17, struct.pack(">I", 12) + b"inbox/absent")
        raw.send(6, struct.pack(">I", 4) + handle, struct.pack(">Q", 0), struct.pack(">I", len(data)) + data)
        raw.writer.write = write
        stat, wrote = packets
        raw.writer.write(stat + wrote[:cut])
        assert (await raw.reply()).status == 2
        raw.writer.write(wrote[cut:])
        assert (await raw.reply()).status == 0
        assert (await raw.close(handle)).status == 0
    assert quiet_house.received(quiet_house.rows()[0]) == data


async def test_what_follows_a_refused_piece_is_not_taken(quiet_house):
    """A WRITE is refused half-way: one answer, in its turn, the requests behind it keep theirs, and CLOSE fails."""
    async with quiet_house.without_network("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        assert (await raw.write(handle, 0, b"x" * 100)).status == 0
        packets, write = [], raw.writer.write
        raw.writer.write = packets.append
        for offset in (50, 100):
            raw.send(
                6,
                struct.pack(">I", 4) + handle,
                struct.pack(">Q", offset),
                struct.pack(">I", 300) + bytes(300),
            )
        raw.send(17, struct.pack(">I", 12) + b"inbox/absent")
        raw.writer.write = write
        stream = b"".join(packets)
        for start in range(0, len(stream), 77):
            raw.writer.write(stream[start : start + 77])
        assert [(await raw.reply()).status for _ in range(3)] == [4, 4, 2]
        assert (await raw.close(handle)).status == 4
    assert quiet_house.states() == ["aborted"]


async def test_a_client_that_does_not_read(house):
    """A client that asks and takes no answers is made to wait: what waits in the gateway is bounded."""
    house.place("assen", "outbox", "a.csv", bytes(8 * 1024 * 1024))
    async with house.connect("assen") as connection:
        writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None, window=65_536)
        for packet in (
            b"\x01\0\0\0\x03",
            b"\x03" + struct.pack(">II", 1, 12) + b"outbox/a.csv" + struct.pack(">II", 1, 0),
        ):
            writer.write(struct.pack(">I", len(packet)) + packet)
        read = b"\x05" + struct.pack(">II", 2, 4) + b"\0\0\0\x01" + struct.pack(">QI", 0, 262_144)
        for _ in range(2000):
            writer.write(struct.pack(">I", len(read)) + read)
        (session,) = await _settled(house)
        write = (
            b"\x06"
            + struct.pack(">II", 3, 4)
            + b"none"
            + bytes(8)
            + struct.pack(">I", 32_768)
            + bytes(32_768)
        )
        for _ in range(400):
            writer.write(struct.pack(">I", len(write)) + write)
        async with house.raw("assen") as other:  # meanwhile the loop turns, and others are served
            for _ in range(30):
                assert (await other.stat("outbox/a.csv")).status == 0
        assert session._channel.get_write_buffer_size() < 2 * 262_144
        assert len(session._waiting) < 1024 * 1024
        reader.channel.abort()


async def _settled(house):
    """The sessions, once the one there is waits for its client to take its replies."""
    await house.until(lambda: any(not one._writable.is_set() for one in house.listener._traffic.sessions))
    return house.listener._traffic.sessions


async def test_what_goes_wrong_is_not_told(house, monkeypatch):
    """An unexpected error is an incident id to the partner; the log has its kind and place, not its text."""

    def broken(*_arguments):
        raise RuntimeError("the secret name of a resident")

    monkeypatch.setattr(conversation.inbox, "look_up", broken)
    with structlog.testing.capture_logs() as lines:
        async with house.raw("woonbron") as raw:
            failed = await raw.stat("inbox/a.csv")
            assert (failed.status, "incident" in failed.text, "secret" in failed.text) == (4, True, False)
            assert (await raw.stat("/")).status == 0
    (line,) = [line for line in lines if line["event"] == "request.failed"]
    assert (line["error_type"], line["incident"] in failed.text) == ("RuntimeError", True)
    assert "secret" not in str(lines)


async def test_log_lines_have_known_fields_and_no_names(house):
    """One line for the upload and one for the session, with nothing in them that the log does not know."""
    with structlog.testing.capture_logs() as lines:
        async with house.raw("woonbron") as raw:
            await raw.put("inbox/jansen.csv", CSV)
        await house.until(lambda: any(line["event"] == "session.ended" for line in lines))
    assert [line["event"] for line in lines] == ["upload.ended", "session.ended"]
    assert {field for line in lines for field in line} <= FIELDS | {"log_level"}
    assert "jansen" not in str(lines)
    assert lines[0]["size"] == lines[1]["bytes"] == len(CSV)


async def test_a_listener_that_stops_lets_open_files_close(house):
    """Stopping ends idle sessions, waits for the CLOSE of an open file, and takes no new connection."""
    async with house.raw("woonbron") as busy, house.raw("woonbron") as idle:
        handle = (await busy.open("inbox/a.csv")).string
        await busy.write(handle, 0, CSV)
        stopping = asyncio.create_task(house.listener.close())
        with pytest.raises(asyncio.IncompleteReadError):
            await idle.reply()
        with pytest.raises(ConnectionRefusedError):
            await asyncssh.connect("127.0.0.1", house.port, known_hosts=None, config=[])
        assert (await busy.close(handle)).status == 0
        await stopping
    assert house.states() == ["arrived"]


async def test_a_listener_that_stops_does_not_wait_for_ever(house, monkeypatch):
    """A file that does not come to its CLOSE in time is given up."""
    monkeypatch.setattr("gateway.exchange.listener.GRACE_S", 0.1)
    async with house.raw("woonbron") as raw:
        await raw.open("inbox/a.csv")
        await house.listener.close()
    assert house.states() == ["aborted"]


class Channel:
    """The far end of a session without a network: it takes what is written."""

    def __init__(self):
        self.written = bytearray()
        self.status = None

    def write(self, data):
        self.written += data

    def exit(self, status):
        self.status = status

    def disconnect(self, _code, _reason):
        self.status = "disconnected"

    def get_connection(self):
        return self

    def is_closing(self):
        return False

    def pause_reading(self):
        """Nothing to hold back."""

    def resume_reading(self):
        """Nothing to let go."""


EXTENSION = st.sampled_from(
    ["posix-rename", "fsync", "limits", "statvfs", "lsetstat", "hardlink", "fstatvfs", "x"]
).map(lambda name: struct.pack(">I", len(name) + 12) + f"{name}@openssh.com".encode())
STRING = st.binary(max_size=12).map(lambda data: struct.pack(">I", len(data)) + data)
PATH = st.sampled_from([b"/", b"inbox", b"inbox/a", b"inbox/b.tmp", b"outbox/a.csv", b"..", b"\xff"]).map(
    lambda data: struct.pack(">I", len(data)) + data
)
HANDLE = st.integers(1, 4).map(lambda number: struct.pack(">II", 4, number))
FIELD = (
    PATH
    | EXTENSION
    | HANDLE
    | STRING
    | st.binary(max_size=24)
    | st.integers(0, 70_000).map(lambda n: struct.pack(">Q", n))
)
BODY = st.tuples(st.sampled_from([*range(1, 21), 200, 250]), st.lists(FIELD, max_size=5)).map(
    lambda drawn: bytes([drawn[0]]) + b"\0\0\0\x07" + b"".join(drawn[1])
)
PACKET = BODY.map(lambda body: struct.pack(">I", len(body)) + body) | st.binary(max_size=20)


@settings(max_examples=150, deadline=None)
@given(stream=st.lists(PACKET, max_size=12).map(b"".join), step=st.integers(1, 400))
def test_no_packets_crash_a_session(fuzzed_house, stream, step):
    """Any packets, in any pieces: the session ends in order, and nothing is left RECEIVING."""
    house = fuzzed_house
    partner = house.partners["assen"]
    visit = Visit(partner=partner, fingerprint="x", address="127.0.0.1", client="fuzz", session_id="S1")

    async def serve():
        channel, traffic = Channel(), Traffic()
        session = SFTPSession(
            Conversation(house.exchange, visit), visit, traffic, lambda _session: None, house.exchange.guard
        )
        session.connection_made(channel)
        assert session.subsystem_requested("sftp")
        session.session_started()
        for at in range(0, len(stream), step):
            session.data_received(stream[at : at + step], None)
            await asyncio.sleep(0)
        session.eof_received()
        async with asyncio.timeout(20):
            await session.wait_ended()
        return channel.status

    with structlog.testing.capture_logs() as lines:
        assert asyncio.run(serve()) in {0, "disconnected"}
    assert [line for line in lines if line["event"] == "request.failed"] == []
    assert "receiving" not in house.states()


@pytest.fixture(scope="module")
def fuzzed_house(tmp_path_factory, make_house):
    """One house for all fuzzed sessions."""
    house = make_house(tmp_path_factory.mktemp("fuzzed"))
    house.place("assen", "outbox", "a.csv", CSV)
    yield house
    house.exchange.store.close()
