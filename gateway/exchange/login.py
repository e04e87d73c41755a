"""Who is at the door: decided when authentication has completed, from the key that signed (spec 1).

A key that was only offered decides nothing. Unknown users take the same path as known ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import asyncssh

from gateway import logs
from gateway.domain.partner import Partner
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.session import SFTPSession, Traffic
from gateway.vault.ids import new_id

_log = logs.get("exchange")

#: Refused attempts on one connection, `none` not counted; OpenSSH's own number.
MOST_ATTEMPTS = 6
#: Channels of one connection at a time.
MOST_SESSIONS = 10
#: RSA signs with SHA-2: what is signed with SHA-1 proves nothing.
_RSA_SIGNATURES = {b"rsa-sha2-256", b"rsa-sha2-512"}


def signer(partners: Mapping[str, Partner], user: str, fingerprint: str, now: datetime) -> Partner | None:
    """The partner with that user name, if this key is one of its own and valid now."""
    partner = partners.get(user)
    keys = partner.keys if partner else ()
    is_own = any(key.fingerprint == fingerprint and key.is_valid(now) for key in keys)
    return partner if is_own else None


class Login(asyncssh.SSHServer):
    """One connection: public keys only, until somebody is known; then SFTP sessions only."""

    def __init__(self, exchange: Exchange, traffic: Traffic) -> None:
        self._exchange, self._traffic = exchange, traffic
        self._channels: set[SFTPSession] = set()
        self._connection: asyncssh.SSHServerConnection
        self._address = ""
        self._refused = 0
        self._is_ending = False
        #: user and key of the last attempt: the one that signed, when authentication completes
        self._asked: tuple[str, str] = ("", "")
        self._visit: Visit | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """A client connected."""
        self._connection = conn
        self._address = str(conn.get_extra_info("peername", ("unknown",))[0])
        self._traffic.connections.add(conn)
        self._count_refusals(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._traffic.connections.discard(self._connection)
        if self._visit is None and self._refused:
            user, fingerprint = self._asked
            _log.warning(
                "login.failed",
                address=self._address,
                attempts=self._refused,
                partner_id=user if user in self._exchange.partners else "",  # any other is not ours to keep
                fingerprint=fingerprint,
            )

    def begin_auth(self, username: str) -> bool:
        """Everybody must sign, whoever they say they are."""
        return True

    def public_key_auth_supported(self) -> bool:
        """The only way in."""
        return True

    def password_auth_supported(self) -> bool:
        """No passwords."""
        return False

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether a signature by this key would be accepted; asked for an offer and for a signature.

        The signature is verified, and authentication completes, in the same step of the event loop as
        the asking: no other attempt comes between.
        """
        if key.algorithm == b"ssh-rsa":
            key.all_sig_algorithms = _RSA_SIGNATURES
        self._asked = (username, key.get_fingerprint())
        return signer(self._exchange.partners, *self._asked, self._exchange.clock.now()) is not None

    def auth_completed(self) -> None:
        """Somebody signed: this is the only place where it is decided who."""
        user, fingerprint = self._asked
        partner = signer(self._exchange.partners, user, fingerprint, self._exchange.clock.now())
        if partner is None or self._connection.get_extra_info("username") != user:
            self._end("Permission denied")
            return
        self._visit = Visit(
            partner=partner,
            fingerprint=fingerprint,
            address=self._address,
            client=self._connection.get_extra_info("client_version", ""),
            session_id=new_id("S", 12),
        )

    def session_requested(
        self,
    ) -> bool | tuple[asyncssh.SSHServerChannel[bytes], asyncssh.SSHServerSession[bytes]]:
        """A channel for the partner that was recognised."""
        if self._visit is None or len(self._channels) >= MOST_SESSIONS:
            return False
        session = SFTPSession(self._exchange, self._visit, self._traffic, self._channels.discard)
        self._channels.add(session)
        return self._connection.create_server_channel(encoding=None), session

    def _count_refusals(self, conn: asyncssh.SSHServerConnection) -> None:
        """End the connection at the last attempt: the library has no MaxAuthTries of its own."""
        send = conn.send_userauth_failure

        def count(partial_success: bool) -> None:
            self._refused += 1
            if self._refused > MOST_ATTEMPTS and not self._is_ending:  # the first is `none`
                self._end("Too many authentication failures")
            elif not self._is_ending:
                send(partial_success)

        conn.send_userauth_failure = count  # type: ignore[method-assign]

    def _end(self, reason: str) -> None:
        self._is_ending = True
        self._connection.disconnect(asyncssh.DISC_PROTOCOL_ERROR, reason)
