"""OpenSSH's sftp and scp, unmodified."""

from __future__ import annotations

import os
from hashlib import sha256

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
    assert house.digest(row) == sha256(CSV).digest()
    assert house.wakes == [1]
    assert house.actions() == ["delivery.arrived"]


async def test_scp_up_and_down_exit_0(house):
    """Scp sets the size after its last WRITE and wants an exit status: both directions end with 0."""
    content = os.urandom(5 * 1024 * 1024)
    source = house.file("groot.csv", content)
    up = await house.run("scp", *house.ssh_options("assen"), source, "127.0.0.1:inbox/groot.csv")
    assert up.status == 0, up.err
    assert house.received(house.rows()[0]) == content
    house.place("assen", "outbox", "meldingen.csv", content)
    down = await house.run(
        "scp", *house.ssh_options("assen"), "127.0.0.1:outbox/meldingen.csv", house.path / "down.csv"
    )
    assert down.status == 0, down.err
    assert (house.path / "down.csv").read_bytes() == content
