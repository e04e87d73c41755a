"""Who comes in: decided by the key that signed, when authentication has completed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncssh
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.partner import Partner, PartnerKey, Role
from gateway.exchange.login import signer


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("ecdsa-sha2-nistp256", {}), ("ecdsa-sha2-nistp384", {}), ("ssh-rsa", {"key_size": 3072})],
)
async def test_kinds_of_keys(house, algorithm, options):
    """ECDSA and RSA keys sign too."""
    line, fingerprint = house.new_key("other", algorithm, **options)
    key = PartnerKey(public_key=line, fingerprint=fingerprint)
    house.partners["woonbron"] = replace(house.partners["woonbron"], keys=(key,))
    assert (await house.sftp("woonbron", "ls", key="other")).status == 0
    assert (await house.sftp("woonbron", "ls")).status == 255


async def test_sha1_signatures_prove_nothing(house):
    """An RSA key that signs with SHA-1 is refused; with SHA-2 it is taken."""
    line, fingerprint = house.new_key("other", "ssh-rsa", key_size=3072)
    key = PartnerKey(public_key=line, fingerprint=fingerprint)
    house.partners["woonbron"] = replace(house.partners["woonbron"], keys=(key,))
    with pytest.raises(asyncssh.PermissionDenied):
        async with house.connect("woonbron", "other", signature_algs=["ssh-rsa"]):
            pass
    async with house.connect("woonbron", "other", signature_algs=["rsa-sha2-256"]):
        pass


async def test_a_key_that_is_only_offered_decides_nothing(house):
    """A client that offers one key and signs with another is known by the one that signed."""
    line, fingerprint = house.new_key("second")
    first = house.partners["woonbron"].keys[0]
    second = PartnerKey(public_key=line, fingerprint=fingerprint)
    house.partners["woonbron"] = replace(house.partners["woonbron"], keys=(first, second))

    class Offering(asyncssh.SSHClient):
        """Gives keys one at a time; the first can't sign."""

        def __init__(self):
            self.keys = []

        def public_key_auth_requested(self):
            return self.keys.pop(0) if self.keys else None

    offered = asyncssh.read_private_key(house.keys["woonbron"])
    signing = asyncssh.read_private_key(house.keys["second"])

    unable = asyncssh.load_keypairs([offered])[0]
    unable.sign = lambda data, sign=unable.sign: sign(data + b"spoilt")

    def client():
        offering = Offering()
        offering.keys = [unable, asyncssh.load_keypairs([signing])[0]]
        return offering

    with structlog.testing.capture_logs() as lines:
        async with asyncssh.connect(
            "127.0.0.1",
            house.port,
            username="woonbron",
            client_factory=client,
            client_keys=[],
            known_hosts=str(house.path / "known_hosts"),
            agent_path=None,
            config=[],
        ) as connection:
            async with connection.start_sftp_client() as sftp:
                assert "inbox" in await sftp.listdir("/")
        await house.until(lambda: any(line["event"] == "session.ended" for line in lines))
    (line,) = [line for line in lines if line["event"] == "session.ended"]
    assert line["fingerprint"] == fingerprint


async def test_attempts_are_counted(house):
    """After six refused attempts the connection is ended; passwords are never asked for."""
    keys = []
    for number in range(10):
        house.new_key(f"wrong{number}")
        keys.append(str(house.keys[f"wrong{number}"]))
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(asyncssh.DisconnectError, match="Too many authentication failures"):
            await asyncssh.connect(
                "127.0.0.1",
                house.port,
                username="woonbron",
                client_keys=keys,
                known_hosts=str(house.path / "known_hosts"),
                agent_path=None,
                config=[],
            )
        await house.until(lambda: any(line["event"] == "login.failed" for line in lines))
    (line,) = [line for line in lines if line["event"] == "login.failed"]
    assert (line["attempts"], line["partner_id"]) == (7, "woonbron")


async def test_what_strangers_type_is_not_logged(house):
    """A user name that is no partner's may be anything, a password too: the log keeps the address and the key."""
    with structlog.testing.capture_logs() as lines:
        await house.sftp("hunter2", "ls", key="vitens")
        await house.until(lambda: any(line["event"] == "login.failed" for line in lines))
    (line,) = lines
    assert (line["address"], line["partner_id"]) == ("127.0.0.1", "")
    assert line["fingerprint"] == house.partners["vitens"].keys[0].fingerprint
    assert "hunter2" not in str(lines)


async def test_passwords_are_not_taken(house):
    """Neither a password nor an empty one opens anything."""
    for user in ("woonbron", "nobody", ""):
        with pytest.raises((asyncssh.PermissionDenied, asyncssh.DisconnectError)):
            await asyncssh.connect(
                "127.0.0.1",
                house.port,
                username=user,
                password="",
                client_keys=[],
                known_hosts=str(house.path / "known_hosts"),
                agent_path=None,
                config=[],
            )


async def test_unknown_and_known_users_see_the_same(house):
    """The same methods and the same refusal, whether there is such a user or not."""
    seen = []
    for user in ("woonbron", "nobody"):
        done = await house.run("ssh", "-v", *house.ssh_options(user, "vitens"), "127.0.0.1")
        seen.append([line for line in done.err.splitlines() if "uthenticat" in line and "to 127" not in line])
    assert seen[0][-1].replace("woonbron", "nobody") == seen[1][-1]
    assert len(seen[0]) == len(seen[1])


async def test_algorithms_are_pinned(house):
    """Old key exchanges, ciphers, MACs and compression are not offered."""
    for options in (
        ["KexAlgorithms=diffie-hellman-group14-sha256"],
        ["KexAlgorithms=ecdh-sha2-nistp256"],
        ["Ciphers=aes128-ctr"],
        ["Ciphers=aes256-ctr", "MACs=hmac-sha1,umac-64-etm@openssh.com"],
    ):
        words = [word for option in options for word in ("-o", option)]
        done = await house.run("ssh", *words, *house.ssh_options("woonbron"), "127.0.0.1")
        assert "no matching" in done.err, done.err
    async with house.connect("woonbron", compression_algs=["zlib@openssh.com", "none"]) as connection:
        assert connection.get_extra_info("send_compression") == "none"
    for cipher in ("aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"):
        done = await house.run(
            "sftp",
            "-o",
            f"Ciphers={cipher}",
            *house.ssh_options("woonbron"),
            "-b",
            "-",
            "127.0.0.1",
            stdin="ls\n",
        )
        assert done.status == 0, done.err


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2), st.integers(-2, 2)), max_size=6),
    st.integers(0, 3),
)
def test_signer_takes_only_a_valid_key_of_that_partner(keys, asked):
    """`signer` is the partner if and only if one of its own keys has that fingerprint and is valid now."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    own = tuple(
        PartnerKey(
            public_key="",
            fingerprint=str(number),
            valid_from=now + timedelta(days=start),
            valid_until=now + timedelta(days=end),
        )
        for number, start, end in keys
    )
    partner = Partner(id="p", name="P", role=Role.CREDITOR, keys=own)
    found = signer({"p": partner, "q": Partner(id="q", name="Q", role=Role.CREDITOR)}, "p", str(asked), now)
    expected = any(number == asked and start <= 0 < end for number, start, end in keys)
    assert (found is partner) is expected
    assert signer({"p": partner}, "q", str(asked), now) is None


async def test_plain_hmac_for_older_libssh2(house):
    """Curl's libssh2 before 1.11 offers counter mode with HMAC-SHA-2 that is not encrypt-then-MAC, and gets in."""
    options = ("-o", "Ciphers=aes256-ctr", "-o", "MACs=hmac-sha2-256,hmac-sha2-512")
    done = await house.run(
        "sftp", *options, *house.ssh_options("woonbron"), "-b", "-", "127.0.0.1", stdin="ls\n"
    )
    assert done.status == 0, done.err
