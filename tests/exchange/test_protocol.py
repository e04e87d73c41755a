"""SFTP version 3 as bytes."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange import protocol as sftp
from gateway.exchange import replies
from gateway.exchange.protocol import Attributes, OpenFlag, PacketError, Refused, Space, Status


def string(data):
    """A string of the protocol."""
    return struct.pack(">I", len(data)) + data


REQUESTS = {
    b"\x01" + struct.pack(">I", 6): sftp.Init(6),
    b"\x03\0\0\0\x07" + string(b"/a") + struct.pack(">II", 0x1A, 0): sftp.Open(
        b"/a", OpenFlag.WRITE | OpenFlag.CREATE | OpenFlag.TRUNCATE, Attributes()
    ),
    b"\x04\0\0\0\x07" + string(b"h"): sftp.Close(b"h"),
    b"\x05\0\0\0\x07" + string(b"h") + struct.pack(">QI", 2**40, 9): sftp.Read(b"h", 2**40, 9),
    b"\x06\0\0\0\x07" + string(b"h") + struct.pack(">Q", 3) + string(b"abc"): sftp.Write(
        b"h", 3, memoryview(b"abc")
    ),
    b"\x07\0\0\0\x07" + string(b"/a"): sftp.Stat(b"/a", follows=False),
    b"\x11\0\0\0\x07" + string(b"/a"): sftp.Stat(b"/a"),
    b"\x08\0\0\0\x07" + string(b"h"): sftp.HandleStat(b"h"),
    b"\x09\0\0\0\x07" + string(b"/a") + struct.pack(">IQIIIII", 15, 5, 1, 2, 0o644, 8, 9): sftp.SetStat(
        b"/a", Attributes(size=5, owner=(1, 2), mode=0o644, accessed=8, modified=9)
    ),
    b"\x0a\0\0\0\x07"
    + string(b"h")
    + struct.pack(">I", 0x80000000)
    + struct.pack(">I", 1)
    + string(b"x")
    + string(b"y"): sftp.SetHandleStat(b"h", Attributes()),
    b"\x0b\0\0\0\x07" + string(b"/"): sftp.OpenFolder(b"/"),
    b"\x0c\0\0\0\x07" + string(b"h"): sftp.ReadFolder(b"h"),
    b"\x0d\0\0\0\x07" + string(b"/a"): sftp.Remove(b"/a"),
    b"\x0e\0\0\0\x07" + string(b"/a") + bytes(4): sftp.MakeFolder(b"/a", Attributes()),
    b"\x0f\0\0\0\x07" + string(b"/a"): sftp.RemoveFolder(b"/a"),
    b"\x10\0\0\0\x07" + string(b"."): sftp.RealPath(b"."),
    b"\x12\0\0\0\x07" + string(b"/a") + string(b"/b"): sftp.Rename(b"/a", b"/b"),
    b"\x13\0\0\0\x07" + string(b"/a"): sftp.ReadLink(b"/a"),
    b"\x14\0\0\0\x07" + string(b"/a") + string(b"/b"): sftp.SymbolicLink(b"/a", b"/b"),
    b"\xc8\0\0\0\x07" + string(b"posix-rename@openssh.com") + string(b"/a") + string(b"/b"): sftp.Rename(
        b"/a", b"/b", replaces=True
    ),
    b"\xc8\0\0\0\x07" + string(b"fsync@openssh.com") + string(b"h"): sftp.Sync(b"h"),
    b"\xc8\0\0\0\x07" + string(b"limits@openssh.com"): sftp.Limits(),
    b"\xc8\0\0\0\x07" + string(b"hardlink@openssh.com") + string(b"/a") + string(b"/b"): sftp.HardLink(
        b"/a", b"/b"
    ),
    b"\xc8\0\0\0\x07" + string(b"lsetstat@openssh.com") + string(b"/a") + bytes(4): sftp.SetStat(
        b"/a", Attributes(), follows=False
    ),
    b"\xc8\0\0\0\x07" + string(b"statvfs@openssh.com") + string(b"/a"): sftp.SpaceStat(b"/a"),
    b"\xc8\0\0\0\x07" + string(b"copy-data"): sftp.Unsupported(),
    b"\x63\0\0\0\x07": sftp.Unsupported(),
}


@pytest.mark.parametrize(("packet", "request_"), REQUESTS.items(), ids=lambda value: type(value).__name__)
def test_requests(packet, request_):
    """Every request is understood, with or without surplus bytes, and none that is cut short is."""
    assert sftp.parse(packet) == request_
    assert sftp.parse(packet + b"surplus") == request_
    if not isinstance(request_, sftp.Unsupported):
        with pytest.raises(Refused) as refused:
            sftp.parse(packet[:-1])
        assert refused.value.status is Status.BAD_MESSAGE


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=8), st.integers(1, 50))
def test_packets_are_taken_whole(packets, step):
    """However the bytes come in, the same packets come out, and nothing is left."""
    stream = b"".join(string(packet) for packet in packets)
    buffer, found = bytearray(), []
    for at in range(0, len(stream), step):
        buffer += stream[at : at + step]
        while (packet := sftp.take_packet(buffer)) is not None:
            found.append(packet)
    assert (found, buffer) == (packets, b"")


READ = b"\x05\0\0\0\x07" + string(b"hand") + struct.pack(">QI", 2**40, 9)


@given(
    st.one_of(
        st.just(string(READ)),
        st.binary(max_size=40),
        st.binary(max_size=40).map(lambda body: string(b"\x05" + body)),
        st.sampled_from(list(REQUESTS)).map(string),
    ),
    st.binary(max_size=10),
)
def test_a_read_that_comes_first_is_what_is_taken_and_parsed(packet, more):
    """It is found as it is otherwise understood, or not at all; it is as long as it is said to be."""
    buffer = bytearray(packet + more)
    found = sftp.first_read(buffer)
    assert buffer == packet + more
    if found is not None:
        taken = sftp.take_packet(buffer)
        assert found == (sftp.request_id(taken), sftp.parse(taken))
        assert len(taken) + 4 == sftp.READ_BYTES


def test_a_read_that_comes_first_is_found():
    """Of a handle of ours, when all of it is here."""
    packet = string(READ)
    assert sftp.first_read(bytearray(packet + packet)) == (7, sftp.Read(b"hand", 2**40, 9))
    assert sftp.first_read(bytearray(packet[:-1])) is None
    for other in (string(READ + b"surplus"), string(b"\x06" + READ[1:]), string(READ.replace(b"hand", b"h"))):
        assert sftp.first_read(bytearray(other + packet)) is None


@pytest.mark.parametrize("length", [0, sftp.MOST_PACKET_BYTES + 1, 2**32 - 1])
def test_packets_of_impossible_length(length):
    """An empty packet, and one above the cap, are refused as soon as the length is there."""
    with pytest.raises(PacketError):
        sftp.take_packet(bytearray(struct.pack(">I", length)))


@given(st.binary(min_size=5, max_size=300))
def test_any_packet_parses_or_is_refused(packet):
    """No packet raises anything but `Refused`."""
    with contextlib.suppress(Refused):
        sftp.parse(packet)


@given(st.binary(max_size=4))
def test_a_packet_without_number(packet):
    """A packet too short for a request id ends the session."""
    with pytest.raises(PacketError):
        sftp.request_id(packet)


def test_replies():
    """Replies byte for byte."""
    assert replies.status_reply(7, Status.EOF) == string(
        b"\x65" + struct.pack(">II", 7, 1) + string(b"End of file") + string(b"en")
    )
    assert replies.data_reply(7, b"abc") == string(b"\x67\0\0\0\x07" + string(b"abc"))
    assert replies.handle_reply(7, b"h") == string(b"\x66\0\0\0\x07" + string(b"h"))
    shown = Attributes(size=5, mode=0o644, accessed=8, modified=9)
    encoded = struct.pack(">IQIII", 13, 5, 0o644, 8, 9)
    assert replies.attributes_reply(7, shown) == string(b"\x69\0\0\0\x07" + encoded)
    assert replies.names_reply(7, [("é", "long é", shown)]) == string(
        b"\x68" + struct.pack(">II", 7, 1) + string("é".encode()) + string("long é".encode()) + encoded
    )
    assert replies.limits_reply(7, 256)[4:] == b"\xc9\0\0\0\x07" + struct.pack(
        ">QQQQ", 262144, 261120, 261120, 256
    )
    space = Space(
        block_bytes=1024, blocks=9, free_blocks=8, files=7, free_files=6, is_read_only=True, most_name=5
    )
    assert replies.space_reply(7, space)[4:] == b"\xc9\0\0\0\x07" + struct.pack(
        ">11Q", 1024, 1024, 9, 8, 8, 7, 6, 6, 0, 3, 5
    )
    owned = Attributes(owner=(1, 2))
    assert replies.attributes_reply(7, owned)[4:] == b"\x69\0\0\0\x07" + struct.pack(">III", 2, 1, 2)
