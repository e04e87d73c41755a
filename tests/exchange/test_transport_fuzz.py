"""One stream of bytes through our connection and through the library's own: sessions and client see the same.

No network and no key exchange: both connections are put where they are after the login, with one set of keys, and the
client's packets are sealed by the library's ciphers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
import time
import tracemalloc
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise

import asyncssh
import pytest
from asyncssh.encryption import get_encryption, get_encryption_params
from asyncssh.saslprep import SASLPrepError, saslprep
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.exchange import transport

GCM_128, GCM_256, CHACHA = (
    b"aes128-gcm@openssh.com",
    b"aes256-gcm@openssh.com",
    b"chacha20-poly1305@openssh.com",
)
CIPHERS = [GCM_128, GCM_256, CHACHA]
KEY, IV = bytes(range(64)), bytes(range(100, 112))
DISCONNECT, IGNORE, KEXINIT, WINDOW_ADJUST, DATA = 1, 2, 20, 93, 94
WINDOW, MOST_DATA = 1 << 17, 1 << 15


class Session(asyncssh.SSHServerSession):
    """What a session was told; it echoes, and does as it is told by what it reads."""

    def __init__(self):
        self.events, self.can_write = [], True

    def connection_made(self, chan):
        self.channel = chan

    def subsystem_requested(self, subsystem):
        self.events.append(subsystem)
        return True

    def data_received(self, data, datatype):
        data = bytes(data)
        self.events.append(data)
        if data[:1] == b"P":
            self.channel.pause_reading()
            asyncio.get_running_loop().call_soon(self.channel.resume_reading)
        if self.can_write:
            self.channel.write(data[::-1])

    def eof_received(self):
        self.events.append("eof")
        return True

    def pause_writing(self):
        self.can_write = False

    def resume_writing(self):
        self.can_write = True

    def connection_lost(self, exc):
        self.events.append(("lost", type(exc).__name__))


class Wire(asyncio.Transport):
    """A socket without a network."""

    def __init__(self):
        super().__init__()
        self.sent, self.is_read, self.aborted = bytearray(), True, False

    def write(self, data):
        self.sent += data

    def abort(self):
        self.aborted = True

    def is_closing(self):
        return self.aborted

    def get_write_buffer_size(self):
        return 0 if self.is_read else len(self.sent)


class Owner(asyncssh.SSHServer):
    """Lets in who signs with one of its keys, and gives each channel a session."""

    def __init__(self):
        self.sessions, self.ended, self.keys = [], "open", set()

    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, username, key):
        return key.public_data in self.keys

    def connection_made(self, conn):
        self.connection = conn

    def session_requested(self):
        self.sessions.append(Session())
        channel = self.connection.create_server_channel(encoding=None, window=WINDOW, max_pktsize=MOST_DATA)
        return channel, self.sessions[-1]

    def connection_lost(self, exc):
        self.ended = type(exc).__name__


def logged_in(connection, alg, wire):
    """Put a connection where it is after key exchange and login."""
    connection.connection_made(wire)
    wire.sent.clear()
    size, _, block, _, _, _ = get_encryption_params(alg)
    block = max(8, block)
    connection._send_encryption = get_encryption(alg, KEY[:size], IV)
    connection._recv_encryption = get_encryption(alg, KEY[-size:], IV)
    connection._send_blocksize = connection._recv_blocksize = block
    connection._send_enchdrlen, connection._recv_macsize = 1, 16
    connection._recv_handler = connection._recv_pkthdr
    connection._auth_complete = connection._kex_complete = connection._strict_kex = True
    connection._session_id, connection._rekey_time = b"id", time.monotonic() + 3600


@dataclass
class End:
    """One of the two connections, and what came of it."""

    connection: asyncssh.SSHServerConnection
    alg: bytes
    owner: Owner
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self):
        logged_in(self.connection, self.alg, self.wire)
        if isinstance(self.connection, transport.Connection):
            self.connection._flush()  # the version, not to be read as packets
            self.wire.sent.clear()

    def feed(self, data):
        """Bytes come in."""
        if self.wire.aborted:
            return
        if isinstance(self.connection, transport.Connection):
            while data:
                room = self.connection.room()
                piece, data = data[: len(room)], data[len(room) :]
                room[: len(piece)] = piece
                self.connection.received(len(piece))
        else:
            self.connection.data_received(data)

    def replies(self):
        """Every packet that was sent, as the client opens it; without IGNORE, and of KEXINIT the kind alone."""
        size, _, block, _, _, _ = get_encryption_params(self.alg)
        cipher, block, sent = get_encryption(self.alg, KEY[:size], IV), max(8, block), bytes(self.wire.sent)
        seq, found = 0, []
        while sent:
            first, length = cipher.decrypt_header(seq, sent[:block], 4)
            end = 4 + int.from_bytes(length, "big")
            plain = cipher.decrypt_packet(seq, first, sent[block:end], 4, sent[end : end + 16])
            assert plain, "the client can't open what was sent"
            assert plain[0] >= 4
            payload = plain[1 : -plain[0]]
            if payload[0] != IGNORE:
                found.append(payload[:1] if payload[0] == KEXINIT else payload)
            sent, seq = sent[end + 16 :], seq + 1
        return found

    def outcome(self):
        """What there is to compare."""
        return [list(session.events) for session in self.owner.sessions], self.replies(), self.owner.ended


_OPTIONS = {}


def options_for(**changed):
    """Options of a server whose owner is `Owner`; made once, the host key with them."""
    if not _OPTIONS:
        _OPTIONS["key"] = asyncssh.generate_private_key("ssh-ed25519")
    return asyncssh.SSHServerConnectionOptions(
        server_host_keys=[_OPTIONS["key"]], config=[], keepalive_interval=0, compression_algs=None, **changed
    )


def ends(alg, **changed):
    """Our connection, and the library's."""
    owners = [Owner(), Owner()]
    loop = asyncio.get_running_loop()
    ours = transport.Connection(
        transport.Buffers(), loop, options_for(server_factory=lambda: owners[0], **changed)
    )
    theirs = asyncssh.SSHServerConnection(loop, options_for(server_factory=lambda: owners[1], **changed))
    return End(ours, alg, owners[0]), End(theirs, alg, owners[1])


def string(data):
    """A string of the protocol."""
    return struct.pack(">I", len(data)) + data


def sealed(alg, payloads, *, padding=None):
    """Packets as the client sends them."""
    size, _, block, _, _, _ = get_encryption_params(alg)
    cipher, block, packets = get_encryption(alg, KEY[-size:], IV), max(8, block), []
    for seq, payload in enumerate(payloads):
        pad = -(1 + len(payload)) % block
        pad += block if pad < 4 else 0
        pad = pad if padding is None else padding
        packet = bytes([pad]) + payload + bytes(pad)
        packets.append(b"".join(cipher.encrypt_packet(seq, struct.pack(">I", len(packet)), packet)))
    return packets


OPEN = b"\x5a" + string(b"session") + struct.pack(">III", 7, 1 << 21, 1 << 15)
SUBSYSTEM = b"\x62" + struct.pack(">I", 0) + string(b"subsystem") + b"\1" + string(b"sftp")


def data(content, number=0):
    """SSH_MSG_CHANNEL_DATA."""
    return bytes([DATA]) + struct.pack(">I", number) + string(content)


async def settle():
    """Let what was scheduled happen: opening a channel takes a few turns."""
    for _ in range(6):
        await asyncio.sleep(0)


async def both(alg, stream, cuts=(), **changed):
    """Feed one stream to both, cut in the same places; their outcomes."""
    pair = ends(alg, **changed)
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        for one in pair:
            one.feed(stream[begin:end])
        await settle()
    outcomes = [one.outcome() for one in pair]
    for one in pair:
        one.connection.abort()
    await settle()
    return outcomes


async def opened(pair, alg, payloads=()):
    """Feed a session that is open, packet by packet."""
    for packet in sealed(alg, [OPEN, SUBSYSTEM, *payloads]):
        for one in pair:
            one.feed(packet)
        await settle()


def without_end(outcome):
    """What came before the end of a connection."""
    sessions, replies, _ = outcome
    events = [[event for event in events if event[0] != "lost"] for events in sessions]
    return events, [packet for packet in replies if packet[0] != DISCONNECT]


TOO_LONG = b"Max packet size exceeded"

PAYLOADS = st.one_of(
    st.binary(min_size=0, max_size=200).map(data),
    st.integers(1, MOST_DATA).map(lambda size: data(b"d" * size)),
    st.just(data(b"Pause")),
    st.just(OPEN),
    st.just(SUBSYSTEM),
    st.integers(0, 3).map(lambda number: data(b"another channel", number)),
    st.integers(1, WINDOW).map(lambda size: b"\x5d" + struct.pack(">II", 0, size)),  # window adjust
    st.integers(0, 3).map(lambda number: b"\x5d" + struct.pack(">II", number, 5)),
    st.sampled_from([b"", b"\0\0\0", b"\0\0\0\5more"]).map(lambda end: b"\x5d\0\0\0\0" + end),
    st.just(data(b"beyond the window" * 9_000)),
    st.just(bytes([DATA]) + struct.pack(">II", 0, 50) + b"less than it says"),
    st.just(bytes([DATA]) + struct.pack(">II", 0, 3) + b"more than it says"),
    st.just(b"\x60" + struct.pack(">I", 0)),  # EOF
    st.just(b"\x61" + struct.pack(">I", 0)),  # CLOSE
    st.just(b"\x5f" + struct.pack(">II", 0, 1) + string(b"extended")),
    st.just(b"\x50" + string(b"keepalive@openssh.com") + b"\1"),
    st.just(b"\2" + string(b"ignored")),
    st.just(b"\4\0" + string(b"debug") + string(b"")),
    st.just(b"\1" + struct.pack(">I", 11) + string(b"bye") + string(b"")),
    st.just(bytes([KEXINIT]) + b"no key exchange"),
    st.just(bytes([21])),  # NEWKEYS that nobody agreed on
    st.binary(min_size=1, max_size=40),
)


@st.composite
def streams(draw):
    """A client's packets after the login: cut anywhere, perhaps damaged, repeated or left out.

    With where it is cut, and cuts between data and data, which ours hands over as one. Nothing follows a DISCONNECT:
    ours takes nothing after it (RFC 4253, section 11.1), the library does.
    """
    alg = draw(st.sampled_from(CIPHERS))
    more = draw(st.lists(PAYLOADS, max_size=12))
    last = next((at for at, payload in enumerate(more) if payload[0] == DISCONNECT), len(more))
    payloads = [OPEN, SUBSYSTEM, *more[: last + 1]]
    packets = sealed(alg, payloads)
    are_data = [payload[0] == DATA for payload in payloads]
    first = len(packets[0]) + len(packets[1])
    match draw(st.sampled_from(["whole", "whole", "flip", "drop", "repeat", "cut", "noise"])):
        case "drop":
            at = draw(st.integers(0, len(packets) - 1))
            del packets[at], are_data[at]
        case "repeat":
            packets.insert(at := draw(st.integers(0, len(packets) - 1)), packets[at])
            are_data.insert(at, are_data[at])
        case "noise":
            packets.append(draw(st.binary(max_size=300)))
        case "cut":
            packets[-1] = packets[-1][: draw(st.integers(0, len(packets[-1])))]
        case "flip":
            at = draw(st.integers(0, len(packets) - 1))
            where = draw(st.one_of(st.integers(0, 3), st.integers(0, len(packets[at]) - 1)))
            damaged = bytearray(packets[at])
            damaged[where] ^= draw(st.integers(1, 255))
            packets[at] = bytes(damaged)
    stream = b"".join(packets)
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=6))
    starts = accumulate(map(len, packets))
    between = {start for start, pair in zip(starts, pairwise(are_data), strict=False) if all(pair)}
    return alg, stream, sorted({min(first, len(stream)), *cuts}), sorted(between)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streams())
def test_the_same_bytes_give_the_same_session_and_the_same_replies(made):
    """Whole, damaged or in pieces: events of every session, packets to the client and how it ends are one.

    One thing differs: a length that no packet has ends ours at its fourth byte, and the library's some bytes later;
    until then it may go on, if only to answer what came before.
    """
    alg, stream, cuts, between = made
    ours, theirs = asyncio.run(both(alg, stream, sorted({*cuts, *between})))
    if ours[2] == "ProtocolError" and (theirs[2] in {"open", "MACError"} or TOO_LONG in ours[1][-1]):
        (events, replies), (more_events, more_replies) = without_end(ours), without_end(theirs)
        assert replies == more_replies[: len(replies)]
        for told, more in zip(events, more_events, strict=True):
            assert told == more[: len(told)]
    else:
        assert ours == theirs


def joined(outcome):
    """An outcome without what depends on how much data a session is given at once."""
    sessions, replies, end = outcome
    events = [
        [b"".join(group) if kind is bytes else list(group) for kind, group in groupby(each, type)]
        for each in sessions
    ]
    return events, [packet for packet in replies if packet[0] not in {DATA, WINDOW_ADJUST}], end


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streams())
def test_data_that_comes_at_once_is_what_comes_packet_by_packet(made):
    """A session is given several packets' data as one: the same bytes, between the same other things."""
    alg, stream, cuts, between = made

    async def taken(cuts):
        end, _ = ends(alg)
        for begin, after in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            end.feed(stream[begin:after])
            await settle()
        outcome = end.outcome()
        end.connection.abort()
        await settle()
        return joined(outcome)

    assert asyncio.run(taken(cuts)) == asyncio.run(taken(sorted({*cuts, *between})))


def asked(user, key, *, signs):
    """SSH_MSG_USERAUTH_REQUEST with a public key, offered or signed with."""
    payload = b"\x32" + string(user) + string(b"ssh-connection") + string(b"publickey") + bytes([signs])
    payload += string(key.algorithm) + string(key.public_data)
    return payload + string(key.sign(string(b"id") + payload, key.algorithm)) if signs else payload


async def answered(pair, count):
    """Wait until both have said so much."""
    async with asyncio.timeout(30):
        # the library looks at its options in a thread, and tells nobody when it is back
        while min(len(one.replies()) for one in pair) < count:  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize("alg", CIPHERS)
async def test_a_login_is_answered_as_the_library_does(alg):
    """Each attempt, and what follows the one that succeeds; while keys are exchanged, only when that is over."""
    pair = ends(alg, send_server_host_keys=True)
    own, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    for one in pair:
        one.owner.keys = {own.public_data}
        one.connection._auth_complete, one.connection._next_service = False, b"ssh-userauth"
    payloads = [
        b"\5" + string(b"ssh-userauth"),
        b"\x32" + string(b"user") + string(b"ssh-connection") + string(b"none"),
        asked(b"user", other, signs=True),
        asked(b"user", own, signs=False),
        asked(b"user", own, signs=True),
        OPEN,
    ]
    for at, packet in enumerate(sealed(alg, payloads)):
        for one in pair:
            one.connection._kex_complete = at != 3
            one.feed(packet)
        if at == 3:
            await settle()
            assert [len(one.replies()) for one in pair] == [at, at]
            for one in pair:
                one.connection._kex_complete = True
                one.connection._send_deferred_packets()
        await answered(pair, at + 1 + (at > 4))
    ours, theirs = (one.outcome() for one in pair)
    assert ours == theirs
    assert [reply[0] for reply in ours[1]] == [6, 51, 51, 60, 52, 80, 91]
    for one in pair:
        one.connection.abort()
    await settle()


@settings(deadline=None)
@given(st.one_of(st.text(max_size=20), st.text(st.characters(max_codepoint=127), max_size=20)))
def test_a_user_name_is_what_the_library_makes_of_it(text):
    """Or is refused with the same words."""

    def made(prepare):
        try:
            return prepare(text)
        except SASLPrepError as exc:
            return exc.args

    assert made(transport.user_name) == made(saslprep)


@pytest.mark.parametrize("alg", CIPHERS)
async def test_data_of_many_packets_is_handed_over_as_one(alg):
    """In whatever order channels and other packets come between; the last byte of each is its own."""
    pieces = [bytes([number]) * (number * 97 + 1) for number in range(30)]
    end, _ = ends(alg)
    await opened([end], alg)
    payloads = [OPEN, SUBSYSTEM, *map(data, pieces), b"\2" + string(b"ignored"), data(b"after")]
    end.feed(b"".join(sealed(alg, payloads)[2:]))
    await settle()
    assert end.outcome()[0] == [["sftp", b"".join(pieces), b"after"]]


@pytest.mark.parametrize("alg", CIPHERS)
async def test_data_of_two_channels_is_kept_apart(alg):
    """What comes at once, by turns: each session is given its own, and the other's none."""
    end, _ = ends(alg)
    await opened([end], alg)
    more = [bytes([*OPEN[:12], *struct.pack(">I", 8), *OPEN[16:]]), SUBSYSTEM[:4] + b"\1" + SUBSYSTEM[5:]]
    turns = [data(bytes([65 + turn]) * 50, turn // 2 % 2) for turn in range(12)]
    packets = sealed(alg, [OPEN, SUBSYSTEM, *more, *turns])[2:]
    for packet in packets[:2]:
        end.feed(packet)
        await settle()
    end.feed(b"".join(packets[2:]))
    await settle()
    first, second = joined(end.outcome())[0]
    assert first[1] == b"".join(bytes([each]) * 50 for each in b"ABEFIJ")
    assert second[1] == b"".join(bytes([each]) * 50 for each in b"CDGHKL")


@pytest.mark.parametrize("alg", CIPHERS)
async def test_what_was_whole_before_a_damaged_packet_is_handed_over(alg):
    """Its bytes are its own: nothing of the damaged one is in them."""
    end, _ = ends(alg)
    await opened([end], alg)
    packets = sealed(alg, [OPEN, SUBSYSTEM, data(b"a" * 500), data(b"b" * 500)])[2:]
    packets[1] = packets[1][:-1] + bytes([packets[1][-1] ^ 1])
    end.feed(b"".join(packets))
    await settle()
    events, _, how = end.outcome()
    assert events[0][:2] == ["sftp", b"a" * 500]
    assert how == "MACError"


@pytest.mark.parametrize("alg", CIPHERS)
async def test_byte_by_byte(alg):
    """A packet is taken when its last byte comes, and not before."""
    stream = b"".join(sealed(alg, [OPEN, SUBSYSTEM, data(b"one"), data(b"two" * 400), data(b"three")]))
    ours, theirs = await both(alg, stream, cuts=range(1, len(stream)))
    assert ours == theirs
    assert ours[0] == [["sftp", b"one", b"two" * 400, b"three"]]


@pytest.mark.parametrize("alg", CIPHERS)
async def test_nothing_of_a_damaged_packet_reaches_the_session(alg):
    """Whichever byte of a packet is another: length, ciphertext or tag, the connection ends without it."""
    packets = sealed(alg, [OPEN, SUBSYSTEM, data(b"secret" * 3), *[data(b"after" * 6_000)] * 20])
    for at in range(len(packets[2])):
        ours, _ = ends(alg)
        damaged = bytearray(packets[2])
        damaged[at] ^= 0x40 if at else 1  # a length that is within the limit is waited for
        for packet in [*packets[:2], bytes(damaged), *packets[3:]]:
            ours.feed(packet)
            await settle()
        events, replies, ended = ours.outcome()
        assert events == [["sftp", ("lost", ended)]], at
        assert ended in {"MACError", "ProtocolError"}, at
        told = b"MAC verification failed" if ended == "MACError" else b"Max packet size exceeded"
        assert replies[-1][0] == DISCONNECT
        assert told in replies[-1]
        assert b"after" not in b"".join(replies)


@pytest.mark.parametrize("alg", CIPHERS)
@pytest.mark.parametrize("padding", [0, 3, 40])
async def test_padding_is_what_the_rfc_says(alg, padding):
    """Less than four bytes, or more than the packet has (RFC 4253, section 6), and the connection ends."""
    ours, _ = ends(alg)
    await opened([ours], alg)
    payload = data(b"x" * 30) if padding < 4 else b""
    packet = bytes([padding if padding < 4 else 200]) + payload + bytes(padding)
    size = get_encryption_params(alg)[0]
    cipher = get_encryption(alg, KEY[-size:], IV)
    for seq, sent in enumerate([b"\4" + OPEN + bytes(4), b"\4" + SUBSYSTEM + bytes(4)]):
        cipher.encrypt_packet(seq, struct.pack(">I", len(sent)), sent)
    ours.feed(b"".join(cipher.encrypt_packet(2, struct.pack(">I", len(packet)), packet)))
    await settle()
    assert ours.outcome()[0] == [["sftp", ("lost", "ProtocolError")]]


@pytest.mark.parametrize("alg", CIPHERS)
async def test_packets_sealed_by_either_way_are_one_row_of_nonces(alg):
    """What is sent before and after our cipher takes over, through the library and past it, opens in its order."""
    pair = ends(alg)
    await opened(pair, alg, [data(b"a"), b"\x50" + string(b"x") + b"\1", data(b"b"), b"\2" + string(b"")])
    for one in pair:
        one.connection.send_debug("through the library")
        one.owner.sessions[0].channel.write(b"past it")
    await settle()
    ours, theirs = (one.outcome() for one in pair)
    assert ours == theirs
    assert len(ours[1]) == 7


async def test_a_reply_is_cut_to_what_the_client_takes():
    """Packets as long as the client said, up to its window, and the rest when it opens it."""
    pair = ends(GCM_128)
    small = b"\x5a" + string(b"session") + struct.pack(">III", 7, 5_000, 2_000)
    packets = sealed(GCM_128, [small, SUBSYSTEM, *[b"\x5d" + struct.pack(">II", 0, 3_500)] * 3])
    for number, packet in enumerate(packets):
        for one in pair:
            one.feed(packet)
        await settle()
        if number == 1:
            for one in pair:
                one.owner.sessions[0].channel.write(os.urandom(1) * 10_000)
                one.owner.sessions[0].channel.write_stderr(b"e" * 3_000)
                assert one.owner.sessions[0].channel.get_write_buffer_size() == 8_000
    ours, theirs = (one.outcome() for one in pair)
    assert [len(packet) for packet in ours[1]] == [len(packet) for packet in theirs[1]]
    sent = [len(packet) - 9 for packet in ours[1] if packet[0] == DATA]
    assert sent == [2_000, 2_000, 1_000, 2_000, 1_500, 1_500]


async def test_much_is_sent_before_all_is_taken(monkeypatch):
    """What is gathered stays small, and the client gets what it would get at once."""
    monkeypatch.setattr(transport, "_MUCH_BYTES", 3_000)
    pair = ends(GCM_128)
    await opened(pair, GCM_128)
    packets = sealed(GCM_128, [OPEN, SUBSYSTEM, *[data(bytes([each]) * 1_000) for each in range(10)]])[2:]
    sizes, write = [], pair[0].wire.write

    def counted(sent):
        sizes.append(len(sent))
        write(sent)

    pair[0].wire.write = counted
    pair[0].owner.sessions[0].data_received = lambda got, _: [
        pair[0].owner.sessions[0].channel.write(bytes(got[at : at + 1_000])[::-1])
        for at in range(0, len(got), 1_000)
    ]
    for one in pair:
        one.feed(b"".join(packets))
    await settle()
    ours, theirs = (one.outcome() for one in pair)
    assert ours[1] == theirs[1]
    assert len(sizes) > 2
    assert max(sizes) < 5_000


async def test_a_channel_of_a_byte_at_a_time_is_not_opened():
    """It would have us make a packet of each byte."""
    ours, _ = ends(GCM_128)
    tiny = b"\x5a" + string(b"session") + struct.pack(">III", 7, 1 << 20, 1)
    ours.feed(sealed(GCM_128, [tiny])[0])
    await settle()
    assert ours.owner.ended == "ProtocolError"


async def test_a_client_that_asks_and_does_not_read_is_ended(monkeypatch):
    """Replies outside of sessions know no window: memory would fill."""
    monkeypatch.setattr(transport, "_MOST_UNSENT_BYTES", 1 << 16)
    ours, _ = ends(GCM_128)
    ours.wire.is_read = False
    ask = b"\x50" + string(b"keepalive@openssh.com") + b"\1"
    for packet in sealed(GCM_128, [ask] * 4_000):
        ours.feed(packet)
        if ours.wire.aborted:
            break
        if not ours.connection._transport:
            await settle()
    assert 1 << 16 < len(ours.wire.sent) < 1 << 17
    assert ours.owner.ended == "ProtocolError"


async def test_a_key_exchange_that_the_client_does_not_finish_holds_up_its_sessions():
    """Replies wait for its end: so sessions make no more, and questions without a session end the connection."""
    ours, _ = ends(GCM_128)
    told = []
    ours.connection.pause_writing = lambda: told.append("pause")
    ours.connection.resume_writing = lambda: told.append("resume")
    ours.connection._rekey_bytes = 1
    ask = b"\x50" + string(b"keepalive@openssh.com") + b"\1"
    packets = sealed(GCM_128, [OPEN, SUBSYSTEM, data(b"read"), data(b"read"), *[ask] * 2_000])
    for packet in packets[:4]:
        ours.feed(packet)
        await settle()
    assert ours.replies()[-1] == bytes([KEXINIT])
    assert told == ["pause"]
    for packet in packets[4:]:
        ours.feed(packet)
    assert len(ours.connection._deferred_packets) <= 1_001
    await settle()
    assert ours.owner.ended == "ProtocolError"


async def test_sessions_write_again_when_nothing_holds_them_up():
    """Neither the socket nor a key exchange: each is a reason of its own."""
    ours, _ = ends(GCM_128)
    told, connection = [], ours.connection
    connection.pause_writing = lambda: told.append("pause")
    connection.resume_writing = lambda: told.append("resume")
    receiver = transport.Receiver(connection)
    receiver.pause_writing()
    connection._kex_complete = False
    connection.send_packet(80, string(b"held back") + b"\0")
    receiver.resume_writing()
    assert told == ["pause", "pause"]
    connection._kex_complete = True
    connection._send_deferred_packets()
    assert told == ["pause", "pause", "resume"]


async def test_a_read_that_is_not_whole_before_another_begins_is_refused():
    """All connections read into one buffer: an event loop that reads for two at once would mix them."""
    buffers, owners = transport.Buffers(), [Owner(), Owner()]
    loop = asyncio.get_running_loop()
    one, other = (
        transport.Connection(buffers, loop, options_for(server_factory=lambda owner=owner: owner))
        for owner in owners
    )
    one.connection_made(Wire())
    one.room()
    other.room()
    with pytest.raises(RuntimeError):
        one.received(10)


async def test_connections_share_what_they_send_from_and_send_their_own(monkeypatch):
    """Each writes before the loop comes round, by turns: every client gets its packets, in order, and no other's."""
    buffers, loop = transport.Buffers(), asyncio.get_running_loop()
    options = options_for(server_factory=Owner)
    pair = [End(transport.Connection(buffers, loop, options), GCM_128, Owner()) for _ in range(2)]
    for one in pair:
        one.owner = one.connection._owner
    await opened(pair, GCM_128)
    for turn in range(5):
        for name, one in zip(b"AB", pair, strict=True):
            one.owner.sessions[0].channel.write(bytes([name, turn]) * 700)
    await settle()
    for name, one in zip(b"AB", pair, strict=True):
        told = [packet[9:] for packet in one.replies() if packet[0] == DATA]
        assert told == [bytes([name, turn]) * 700 for turn in range(5)]


async def test_what_a_lost_connection_had_to_send_goes_nowhere():
    """Its socket may be another's by then."""
    ours, _ = ends(GCM_128)
    await opened([ours], GCM_128)
    mine, other = socket.socketpair()
    with mine, other:
        mine.setblocking(False)
        other.setblocking(False)
        ours.connection._fd = mine.fileno()
        ours.owner.sessions[0].channel.write(b"before")
        await settle()
        assert other.recv(1_000)
        ours.owner.sessions[0].channel.write(b"too late")
        ours.connection.connection_lost(None)
        await settle()
        with pytest.raises(BlockingIOError):
            other.recv(1_000)


async def test_a_socket_that_takes_a_part_is_sent_the_rest_in_order():
    """What it takes at once goes past the event loop; what comes after the rest waits behind it."""
    ours, _ = ends(GCM_128)
    await opened([ours], GCM_128)
    before = bytes(ours.wire.sent)
    ours.wire.sent.clear()
    mine, other = socket.socketpair()
    with mine, other:
        mine.setblocking(False)
        ours.connection._fd = mine.fileno()
        channel = ours.owner.sessions[0].channel
        channel.write(first := os.urandom(1 << 20))
        await settle()
        taken = bytes(other.recv(1 << 21))
        assert taken
        assert ours.wire.sent
        ours.wire.is_read = False
        channel.write(second := os.urandom(10_000))
        await settle()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
    ours.wire.sent[:0] = before + taken
    told = b"".join(packet[9:] for packet in ours.replies() if packet[0] == DATA)
    assert told == first + second


async def test_an_idle_connection_is_small():
    """Buffers are shared: a connection with a session takes tens of KiB (bench/ has the figure of a process)."""
    buffers, loop = transport.Buffers(), asyncio.get_running_loop()
    options = options_for(server_factory=Owner)

    async def some(number):
        """So many, each with a session."""
        made = []
        for _ in range(number):
            connection = transport.Connection(buffers, loop, options)
            made.append(End(connection, GCM_128, Owner()))
        await opened(made, GCM_128)
        return made

    await some(1)
    gc.collect()
    tracemalloc.start()
    try:
        made = await some(50)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(len(one.connection._channels) == 1 for one in made)
    assert used / 50 < 40 * 1024
