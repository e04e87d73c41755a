"""What the listeners agree to: as ssh-audit sees them, and as products of yesterday need it."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from gateway.domain.host_key import HostKeyKind
from gateway.exchange import host_keys
from gateway.exchange.algorithms import LEGACY, MODERN
from gateway.exchange.keys import create_host_key
from gateway.exchange.listener import Door, listen


@asynccontextmanager
async def both(house):
    """A listener, and the one for products of yesterday beside it."""
    create_host_key(house.path / "host_ed25519")
    host_keys.ensure(house.path, HostKeyKind.ECDSA, house.clock.now(), told=lambda _: None)
    known, now = host_keys.calendar(house.path), house.clock.now()
    legacy = Door(
        host="127.0.0.1", port=0, host_keys=host_keys.shown(house.path, known, LEGACY.host_keys, now)
    )
    modern = host_keys.shown(house.path, known, MODERN.host_keys, now)
    house.listener = await listen(
        lambda: house.exchange, host="127.0.0.1", port=0, host_keys=modern, legacy=legacy
    )
    (house.path / "known_hosts").write_text(
        "".join(
            f"[127.0.0.1]:{port} {key.public_key}\n"
            for key in known
            for port in (house.listener.port, house.listener.legacy_port)
        )
    )
    try:
        yield house.listener
    finally:
        await house.listener.close()


async def audit(port: int) -> dict:
    """What ssh-audit finds, as JSON."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("ssh-audit"), "--json", "--skip-rate-test", "--timeout", "20",
        "--port", str(port), "127.0.0.1",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return json.loads(out)


def names(found: dict, part: str) -> list[str]:
    """The algorithms that are offered, in their order."""
    return [each["algorithm"] for each in found[part]]


def notes(found: dict, level: str) -> dict[str, list[str]]:
    """What it has to say at a level, by algorithm."""
    return {
        each["algorithm"]: each["notes"][level]
        for part in ("kex", "key", "enc", "mac")
        for each in found[part]
        if level in each["notes"]
    }


async def test_ssh_audit_finds_no_failure(quiet_house):
    """No algorithm fails, strict key exchange is on, and only what ADR 6 speaks of is warned of."""
    async with both(quiet_house) as listener:
        found = await audit(listener.port)
    assert notes(found, "fail") == {}
    assert found["cves"] == []
    assert names(found, "kex") == [*MODERN.kex, "ext-info-s", "kex-strict-s-v00@openssh.com"]
    assert names(found, "key") == ["ssh-ed25519"]
    assert names(found, "enc") == list(MODERN.ciphers)
    assert names(found, "mac") == list(MODERN.macs)
    assert found["compression"] == ["none"]
    assert notes(found, "warn") == {
        "curve25519-sha256": ["does not provide protection against post-quantum attacks"],
        "curve25519-sha256@libssh.org": ["does not provide protection against post-quantum attacks"],
        "hmac-sha2-512": ["using encrypt-and-MAC mode"],
        "hmac-sha2-256": ["using encrypt-and-MAC mode"],
    }


async def test_ssh_audit_of_the_legacy_listener(quiet_house):
    """It fails on NIST's curves alone; no SHA-1, no CBC, no RSA host key."""
    async with both(quiet_house) as listener:
        found = await audit(listener.legacy_port)
    assert set(notes(found, "fail")) == {"ecdh-sha2-nistp384", "ecdsa-sha2-nistp256"}
    assert found["cves"] == []
    assert names(found, "kex") == [*LEGACY.kex, "ext-info-s", "kex-strict-s-v00@openssh.com"]
    assert names(found, "key") == ["ssh-ed25519", "ecdsa-sha2-nistp256"]
    assert names(found, "enc") == list(LEGACY.ciphers)
    assert names(found, "mac") == list(LEGACY.macs)


#: What products of yesterday can do at best: JSch 0.1.54, libssh2 of Debian 10, WinSCP 5.7.
OLD = {
    "elliptic curves": "KexAlgorithms=ecdh-sha2-nistp384",
    "group 14": "KexAlgorithms=diffie-hellman-group14-sha256",
    "group 16": "KexAlgorithms=diffie-hellman-group16-sha512",
}


# cryptography announces the end of finite-field Diffie-Hellman; without it this test fails, and the profile changes
@pytest.mark.filterwarnings("ignore:.*Diffie-Hellman.*")
@pytest.mark.parametrize("kex", OLD.values(), ids=OLD)
async def test_a_product_of_yesterday(quiet_house, kex):
    """Without Curve25519, Ed25519 host keys and AES-GCM it gets in at the legacy listener, and at no other."""
    house = quiet_house
    words = (kex, "HostKeyAlgorithms=ecdsa-sha2-nistp256", "Ciphers=aes128-ctr", "MACs=hmac-sha2-256")
    told = [word for option in words for word in ("-o", option)]
    async with both(house) as listener:
        for port, expected in ((listener.port, 255), (listener.legacy_port, 0)):
            done = await house.run(
                "sftp", "-o", f"Port={port}", *told, *house.ssh_options("woonbron"), "-b", "-", "127.0.0.1",
                stdin="ls\n",
            )  # fmt: skip
            assert done.status == expected, done.err
            assert ("inbox" in done.out) is (expected == 0)


@pytest.mark.parametrize(
    "told",
    [
        ("KexAlgorithms=diffie-hellman-group14-sha1",),
        ("KexAlgorithms=diffie-hellman-group-exchange-sha256",),
        ("HostKeyAlgorithms=rsa-sha2-256,ssh-rsa",),
        ("Ciphers=aes128-cbc,3des-cbc",),
        ("Ciphers=aes128-ctr", "MACs=hmac-sha1"),
    ],
)
async def test_what_even_the_legacy_listener_refuses(quiet_house, told):
    """SHA-1, CBC, RSA host keys and groups that a server chooses."""
    words = [word for option in told for word in ("-o", option)]
    async with both(quiet_house) as listener:
        port = ("-o", f"Port={listener.legacy_port}")
        done = await quiet_house.run("ssh", *port, *words, *quiet_house.ssh_options("woonbron"), "127.0.0.1")
        assert "no matching" in done.err, done.err


async def test_both_listeners_are_one(quiet_house):
    """Who came in at the legacy listener is cut with its key, and let go when the gateway stops."""
    house = quiet_house
    async with both(house) as listener:
        async with asyncssh.connect(
            "127.0.0.1", listener.legacy_port, username="woonbron",
            client_keys=[str(house.keys["woonbron"])], known_hosts=str(house.path / "known_hosts"),
            agent_path=None, config=[],
        ) as connection:  # fmt: skip
            assert listener.cut_ended({}, house.clock.now()) == 1
            await asyncio.wait_for(connection.wait_closed(), 20)
        ports = (listener.port, listener.legacy_port)
    for port in ports:
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_legacy_port_that_is_taken_closes_the_other(quiet_house):
    """Both are open, or neither."""
    async with both(quiet_house) as listener:
        house_keys = [quiet_house.path / "host_ed25519"]
        free = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = free.sockets[0].getsockname()[1]
        free.close()
        await free.wait_closed()
        taken = Door(host="127.0.0.1", port=listener.port, host_keys=house_keys)
        with pytest.raises(OSError, match="in use"):
            await listen(
                lambda: quiet_house.exchange, host="127.0.0.1", port=port, host_keys=house_keys, legacy=taken
            )
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", port)
