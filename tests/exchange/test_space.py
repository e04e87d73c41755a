"""What statvfs tells: what is left of a partner's own limits, never the disk."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.partner import PartnerLimits
from gateway.exchange.space import NO_ROOM, room

CSV = b"signaal_id;postcode\nA1;9401AB\n"
AMOUNT = st.integers(0, 2**50)


@given(limit_bytes=AMOUNT, used_bytes=AMOUNT, limit_files=AMOUNT, used_files=AMOUNT)
def test_room_is_what_is_left(limit_bytes, used_bytes, limit_files, used_files):
    """Free is the limit less what was used, never below nothing, and never more than all."""
    space = room(
        limit_bytes=limit_bytes, used_bytes=used_bytes, limit_files=limit_files, used_files=used_files
    )
    assert space.free_blocks * space.block_bytes <= max(limit_bytes - used_bytes, 0)
    assert 0 <= space.free_blocks <= space.blocks
    assert max(limit_bytes - used_bytes, 0) - space.free_blocks * space.block_bytes < space.block_bytes
    assert (space.files, space.free_files) == (limit_files, max(limit_files - used_files, 0))
    assert not space.is_read_only


async def statvfs(raw, path):
    """The eleven figures, or the status of a refusal."""
    name = b"statvfs@openssh.com"
    reply = await raw.ask(
        200, struct.pack(">I", len(name)) + name + struct.pack(">I", len(path)) + path.encode()
    )
    return struct.unpack(">11Q", reply.body) if reply.kind == 201 else reply.status


@pytest.mark.parametrize("path", ["/", "inbox", "inbox/a.csv"])
async def test_the_room_to_send(house, path):
    """Where a partner sends to, the room is what is left of its day."""
    limits = PartnerLimits(bytes_per_day=10_240, files_per_day=3)
    house.partners["woonbron"] = replace(house.partners["woonbron"], limits=limits)
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV * 100)
        found = await statvfs(raw, path)
    assert found == (1024, 1024, 10, 7, 7, 3, 2, 2, 0, 2, 200)


async def test_no_room_where_nothing_is_sent(house):
    """A box to read from is read-only and has no room; what is not there is not there."""
    house.place("assen", "outbox", "a.csv", CSV)
    read_only = (1024, 1024, 0, 0, 0, 0, 0, 0, 0, 3, 200)
    assert NO_ROOM.is_read_only
    async with house.raw("assen") as raw:
        for path in ("outbox", "outbox/a.csv", "returns"):
            assert await statvfs(raw, path) == read_only
        for path in ("inbox/absent", "outbox/absent", "audit", "..x", "inbox/a/b"):
            assert await statvfs(raw, path) == 2
    async with house.raw("accountant") as raw:
        assert [await statvfs(raw, path) for path in ("/", "audit", "inbox")] == [read_only, read_only, 2]


async def test_df_of_openssh(house):
    """`df` in OpenSSH's sftp shows the limit of a day in KiB and what is left of it."""
    done = await house.sftp("woonbron", "df inbox")
    assert done.status == 0, done.err
    assert done.out.split()[-5:] == ["10485760", "0", "10485760", "10485760", "0%"]
