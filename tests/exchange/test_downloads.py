"""Reading from the boxes: any offset, whole reads, collected when all was read, nothing of a damaged file."""

from __future__ import annotations

import os
import struct
import threading

import pytest
import structlog

from gateway.exchange import download
from gateway.exchange.conversation import Conversation
from gateway.retention import compromise
from gateway.retention.versions import By
from gateway.vault.blobs import BlobFile
from gateway.vault.stream import FIRST_TEXT_BYTES, HEADER_BYTES, SEGMENT_BYTES, TEXT_BYTES
from tests.exchange.conftest import text

#: That of what `place` puts into a box.
KEY = "until-2027-05-22"
CONTENT = os.urandom(700_000)


def blob_path(house, dispatch_id):
    """Where the sealed bytes of a dispatch lie."""
    return house.path / "blobs" / house.dispatch(dispatch_id)["blob"]


async def test_reads_at_any_offset_are_full(house):
    """A read gives all that was asked for, fewer bytes only at the end, then EOF."""
    house.place("assen", "outbox", "a.csv", CONTENT)
    async with house.raw("assen") as raw:
        handle = (await raw.open("outbox/a.csv", 1)).string
        assert (await raw.ask(8, struct.pack(">I", 4) + handle)).size == len(CONTENT)
        for offset, length in ((0, 1), (65_490, 40), (1, 261_120), (400_000, 262_144), (699_999, 100)):
            assert (await raw.read(handle, offset, length)).string == CONTENT[offset : offset + length]
        for offset in (700_000, 700_001, 2**63):
            assert (await raw.read(handle, offset, 10)).status == 1


@pytest.mark.parametrize("in_memory", [True, False])
async def test_what_is_in_memory_is_read_without_a_thread(house, monkeypatch, in_memory):
    """And what is not, in one: the answers are the same, and what was read counts once."""
    whole, threaded = download.Download.read, []

    def read_now(blob, offset, n):
        if not in_memory:
            raise BlockingIOError
        return bytearray(blob.read_at(offset, n))

    def read(opened, offset, length):
        threaded.append(offset)
        return whole(opened, offset, length)

    monkeypatch.setattr(BlobFile, "read_now", read_now)
    monkeypatch.setattr(download.Download, "read", read)
    one = house.place("assen", "outbox", "a.csv", CONTENT)
    async with house.raw("assen") as raw:
        handle = (await raw.open("outbox/a.csv", 1)).string
        for offset in range(0, 700_000, 100_000):
            got = (await raw.read(handle, offset, 100_000)).string
            assert got == CONTENT[offset : offset + 100_000]
        assert (await raw.read(handle, 700_000, 1)).status == 1
        await raw.close(handle)
    assert house.dispatch(one)["state"] == "collected"
    # what lies in a segment that was opened for the read before needs no disk
    assert (threaded == []) is in_memory


@pytest.mark.parametrize("in_memory", [True, False])
async def test_requests_that_come_at_once_are_answered_in_their_order(house, monkeypatch, in_memory):
    """READs that wait for nothing are answered where they come; none overtakes what came before it."""
    asked, answer = [], Conversation.answer

    def read_now(blob, offset, n):
        if not in_memory:
            raise BlockingIOError
        return bytearray(blob.read_at(offset, n))

    async def counted(conversation, number, request):
        asked.append(request)
        return await answer(conversation, number, request)

    monkeypatch.setattr(BlobFile, "read_now", read_now)
    house.place("assen", "outbox", "a.csv", CONTENT)
    async with house.raw("assen") as raw:
        handle = (await raw.open("outbox/a.csv", 1)).string
        monkeypatch.setattr(Conversation, "answer", counted)
        for offset in range(0, 700_000, 100_000):
            raw.send(5, text(handle), struct.pack(">QI", offset, 100_000))
            raw.send(17, text(b"/outbox"))
            raw.send(5, text(handle), struct.pack(">QI", 700_000, 1))
            raw.send(5, text(handle), struct.pack(">QI", offset, 10))
        for offset in range(0, 700_000, 100_000):
            assert (await raw.reply()).string == CONTENT[offset : offset + 100_000]
            assert (await raw.reply()).kind == 105
            assert (await raw.reply()).status == 1
            assert (await raw.reply()).string == CONTENT[offset : offset + 10]
        asked.clear()
        raw.send(5, text(handle), struct.pack(">QI", 300_000, 100_000))
        assert (await raw.reply()).string == CONTENT[300_000:400_000]
    assert (asked == []) is in_memory


async def test_a_read_does_not_overtake_what_is_under_way(house, monkeypatch):
    """It comes while a request before it waits for the database, and could be answered at once."""
    find, go_on = download.find, threading.Event()

    def slow_find(*args):
        assert go_on.wait(60)
        return find(*args)

    monkeypatch.setattr(BlobFile, "read_now", BlobFile.read_at)
    house.place("assen", "outbox", "a.csv", CONTENT)
    async with house.raw("assen") as raw:
        handle = (await raw.open("outbox/a.csv", 1)).string
        (session,) = house.listener._traffic.sessions
        monkeypatch.setattr(download, "find", slow_find)
        raw.send(17, text(b"/outbox/a.csv"))
        await house.until(lambda: session._is_working)
        before = session._bytes_in
        raw.send(5, text(handle), struct.pack(">QI", 0, 10))
        await house.until(lambda: session._bytes_in > before)
        go_on.set()
        assert (await raw.reply()).kind == 105
        assert (await raw.reply()).string == CONTENT[:10]


async def test_collected_when_all_was_read_and_closed(house):
    """Every byte read, in any order, and a CLOSE: collected; once, by whom and when in the audit log."""
    one = house.place("assen", "outbox", "a.csv", CONTENT)
    pieces = [(400_000, 300_000), (0, 200_000), (150_000, 250_000)]
    async with house.raw("assen") as raw:
        for count in range(1, 4):
            handle = (await raw.open("outbox/a.csv", 1)).string
            for start, length in pieces[:count]:
                for offset in range(start, start + length, 50_000):
                    await raw.read(handle, offset, 50_000)
            assert house.dispatch(one)["state"] == "ready"
            await raw.close(handle)
        assert await raw.ls("outbox") == ["a.csv"], "a collected file stays listed"
        handle = (await raw.open("outbox/a.csv", 1)).string
        for offset in range(0, 700_000, 50_000):
            await raw.read(handle, offset, 50_000)
        await raw.close(handle)
    row = house.dispatch(one)
    assert (row["state"], row["collected_at"]) == ("collected", house.clock.now())
    assert house.actions() == ["dispatch.collected"]


async def test_a_file_that_is_sealed_again_under_the_hand(house, monkeypatch):
    """Its row was read, then it got another blob and data key: it is read all the same, and nobody is alarmed."""
    one = house.place("assen", "outbox", "a.csv", CONTENT)
    exchange, find = house.exchange, download.find
    before = blob_path(house, one)

    def and_leak(*told):
        found = find(*told)
        by = By(actor="anna", node="node1", now=house.clock.now())
        version = compromise.mark(exchange.store, exchange.keyring, KEY, by)
        compromise.seal_again(
            exchange.store, exchange.keyring, exchange.blobs, KEY, version, by=by, progress=lambda *_: None
        )
        monkeypatch.setattr(download, "find", find)
        return found

    monkeypatch.setattr(download, "find", and_leak)
    async with house.raw("assen") as raw:
        handle = (await raw.open("outbox/a.csv", 1)).string
        assert not before.exists()
        assert (await raw.read(handle, 0, 100)).string == CONTENT[:100]
    assert "blob.damaged" not in house.actions()


async def test_an_empty_file_is_collected(house):
    """A file without bytes is read whole by opening and closing it."""
    one = house.place("assen", "returns", "leeg.csv", b"")
    async with house.raw("assen") as raw:
        handle = (await raw.open("returns/leeg.csv", 1)).string
        assert (await raw.read(handle, 0, 100)).status == 1
        await raw.close(handle)
    assert house.dispatch(one)["state"] == "collected"


async def test_a_lost_connection_collects_nothing(house):
    """All bytes read but no CLOSE: the partner may not have them."""
    one = house.place("assen", "outbox", "a.csv", b"short")
    async with house.connect("assen") as connection:
        sftp = await connection.start_sftp_client()
        file = await sftp.open("outbox/a.csv", "rb")
        assert await file.read() == b"short"
        connection.abort()
    await house.until(lambda: not house.listener._traffic.sessions)
    assert house.dispatch(one)["state"] == "ready"


async def test_open_handles_finish_on_a_replaced_file(house):
    """A file that is replaced and deleted while it is being read is read to its end; the name is gone."""
    one = house.place("assen", "outbox", "a.csv", CONTENT)
    async with house.raw("assen") as raw:
        handle = (await raw.open("outbox/a.csv", 1)).string
        house.set_dispatch(one, state="replaced")
        blob_path(house, one).unlink()
        assert (await raw.stat("outbox/a.csv")).status == 2
        for offset in range(0, 700_000, 100_000):
            assert (await raw.read(handle, offset, 100_000)).string == CONTENT[offset : offset + 100_000]
        await raw.close(handle)
    row = house.dispatch(one)
    assert (row["state"], row["collected_at"]) == ("replaced", house.clock.now())


@pytest.mark.parametrize("state", ["staged", "replaced", "purging", "purged"])
async def test_only_ready_files_are_seen(house, state):
    """What is being rendered, was replaced or is being purged is not there."""
    house.place("assen", "outbox", "a.csv", CONTENT, state=state)
    async with house.raw("assen") as raw:
        assert await raw.ls("outbox") == []
        assert (await raw.open("outbox/a.csv", 1)).status == 2


def flip(path):
    """One bit altered, in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    """One byte less."""
    path.write_bytes(path.read_bytes()[:-1])


def truncate_a_segment(path):
    """Whole segments less."""
    path.write_bytes(path.read_bytes()[: 65_536 * 3])


def extend(path):
    """One byte more."""
    path.write_bytes(path.read_bytes() + b"\0")


def vanish(path):
    """No file at all."""
    path.unlink()


@pytest.mark.parametrize("damage", [flip, truncate, truncate_a_segment, extend, vanish])
async def test_a_damaged_file_gives_nothing(house, damage):
    """A damaged file is refused at OPEN, before its first byte; logged and in the audit log, without a name."""
    one = house.place("assen", "outbox", "meldingen.csv", CONTENT)
    damage(blob_path(house, one))
    with structlog.testing.capture_logs() as lines:
        async with house.raw("assen") as raw:
            refused = await raw.open("outbox/meldingen.csv", 1)
            assert (refused.status, "incident" in refused.text) == (4, True)
    (line,) = [line for line in lines if line["event"] == "blob.damaged"]
    assert (line["dispatch_id"], line["log_level"]) == (one, "error")
    assert line["incident"] in refused.text
    assert "meldingen.csv" not in str(lines)
    assert house.actions() == ["blob.damaged"]
    assert house.dispatch(one)["state"] == "ready"


def segments(path):
    """The sealed file, a segment at a time."""
    sealed = path.read_bytes()
    return [sealed[at : at + SEGMENT_BYTES] for at in range(0, len(sealed), SEGMENT_BYTES)]


FULL = os.urandom(FIRST_TEXT_BYTES + 3 * TEXT_BYTES)


@pytest.mark.parametrize("segment", range(4))
@pytest.mark.parametrize("within", [HEADER_BYTES, SEGMENT_BYTES - 1])
async def test_a_bit_in_any_segment_gives_nothing(house, segment, within):
    """Text or tag, first or last segment: nobody has a handle from which a byte could come."""
    path = blob_path(house, house.place("assen", "outbox", "a.csv", FULL))
    data = bytearray(path.read_bytes())
    data[segment * SEGMENT_BYTES + within] ^= 1
    path.write_bytes(data)
    async with house.raw("assen") as raw:
        assert (await raw.open("outbox/a.csv", 1)).status == 4


@pytest.mark.parametrize(
    "rearranged",
    [
        lambda own, other: [own[0], own[2], own[1], own[3]],
        lambda own, other: [own[0], own[1], own[3]],
        lambda own, other: [own[0], own[1], own[1], own[2], own[3]],
        lambda own, other: [own[0], other[1], own[2], own[3]],
        lambda own, other: [*own[:3], other[3]],
        lambda own, other: [other[0], *own[1:]],
        lambda own, other: [*own, b"\0"],
        lambda own, other: [*own, other[3]],
        lambda own, other: own[:3],
    ],
    ids=["swapped", "dropped", "repeated", "spliced", "another end", "another head", "a byte more",
         "a segment more", "cut at a border"],
)  # fmt: skip
async def test_rearranged_segments_give_nothing(house, rearranged):
    """Segments that are whole in themselves, of this file and of another of the same partner; the last one is full."""
    one = house.place("assen", "outbox", "a.csv", FULL)
    two = house.place("assen", "outbox", "b.csv", FULL)
    own, other = segments(blob_path(house, one)), segments(blob_path(house, two))
    assert [len(own), len(own[3])] == [4, SEGMENT_BYTES]
    blob_path(house, one).write_bytes(b"".join(rearranged(own, other)))
    async with house.raw("assen") as raw:
        assert (await raw.open("outbox/a.csv", 1)).status == 4
        handle = (await raw.open("outbox/b.csv", 1)).string
        assert (await raw.read(handle, 0, 1000)).string == FULL[:1000], "the other file is whole"
    assert house.dispatch(one)["state"] == "ready"


MUTATED = {
    "the first byte": lambda own, other: bytes([own[0] ^ 1]) + own[1:],
    "the salt": lambda own, other: own[:1] + bytes([own[1] ^ 128]) + own[2:],
    "the last byte": lambda own, other: own[:-1] + bytes([own[-1] ^ 1]),
    "a byte less": lambda own, other: own[:-1],
    "no tag": lambda own, other: own[:-16],
    "a header alone": lambda own, other: own[:HEADER_BYTES],
    "nothing": lambda own, other: b"",
    "a byte more": lambda own, other: own + b"\0",
    "a tag more": lambda own, other: own + bytes(16),
    "a segment more": lambda own, other: own + bytes(SEGMENT_BYTES),
    "another file": lambda own, other: other,
    "another file's header": lambda own, other: other[:HEADER_BYTES] + own[HEADER_BYTES:],
    "another file's end": lambda own, other: own[:-16] + other[-16:],
    "twice": lambda own, other: own + own,
}


@pytest.mark.parametrize(
    "size",
    [
        *(0, 1, FIRST_TEXT_BYTES - 1, FIRST_TEXT_BYTES, FIRST_TEXT_BYTES + 1),
        *(
            FIRST_TEXT_BYTES + TEXT_BYTES - 1,
            FIRST_TEXT_BYTES + TEXT_BYTES,
            FIRST_TEXT_BYTES + TEXT_BYTES + 1,
        ),
    ],
)
async def test_each_mutation_at_each_boundary_gives_nothing(house, size):
    """Refused at OPEN, whatever the size; restored, all of it is read."""
    content = os.urandom(size)
    one = house.place("assen", "outbox", "a.csv", content)
    own = blob_path(house, one).read_bytes()
    other = blob_path(house, house.place("assen", "outbox", "b.csv", content)).read_bytes()
    async with house.raw("assen") as raw:
        for name, mutate in MUTATED.items():
            blob_path(house, one).write_bytes(mutate(own, other))
            assert (await raw.open("outbox/a.csv", 1)).status == 4, name
        blob_path(house, one).write_bytes(own)
        handle = (await raw.open("outbox/a.csv", 1)).string
        read = (await raw.read(handle, 0, size)).string if size else b""
        assert read == content
        assert (await raw.read(handle, size, 1)).status == 1
    assert house.dispatch(one)["state"] == "ready"


async def test_a_swapped_file_gives_nothing(house):
    """Another partner's whole, well-sealed file under this one's row is refused."""
    one = house.place("assen", "outbox", "a.csv", CONTENT)
    other = house.place("woonbron", "returns", "b.csv", CONTENT)
    house.set_dispatch(one, blob=house.dispatch(other)["blob"])
    async with house.raw("assen") as raw:
        assert (await raw.open("outbox/a.csv", 1)).status == 4


async def test_damage_while_a_file_is_open(house):
    """A segment that is altered after OPEN is not handed out either."""
    one = house.place("assen", "outbox", "a.csv", CONTENT)
    async with house.raw("assen") as raw:
        handle = (await raw.open("outbox/a.csv", 1)).string
        path = blob_path(house, one)
        with path.open("r+b") as file:
            file.seek(350_000)
            file.write(b"damaged")
        assert (await raw.read(handle, 0, 1000)).string == CONTENT[:1000]
        assert (await raw.read(handle, 340_000, 20_000)).status == 4


async def test_a_destroyed_key_gives_nothing(house):
    """When the key of a file's last day is gone, so is the file."""
    house.place("assen", "outbox", "a.csv", CONTENT)
    house.exchange.keyring.destroy("until-2027-05-22")
    async with house.raw("assen") as raw:
        assert (await raw.open("outbox/a.csv", 1)).status == 4
