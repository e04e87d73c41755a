"""Who is at the door: decided when authentication has completed, from the key that signed (spec 1).

A key that was only offered decides nothing. Unknown users take the same path as known ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import asyncssh

from gateway import logs
from gateway.domain.partner import Partner
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.conversation import Conversation
from gateway.exchange.guard import Guard
from gateway.exchange.session import SFTPSession, Traffic
from gateway.vault.ids import new_id

_log = logs.get("exchange")

#: Refused attempts on one connection, `none` not counted; OpenSSH's own number.
MOST_ATTEMPTS = 6
#: Channels of one connection at a time.
MOST_SESSIONS = 10
#: RSA signs with SHA-2: what is signed with SHA-1 proves nothing.
_RSA_SIGNATURES = {b"rsa-sha2-256", b"rsa-sha2-512"}
#: How a connection ends whose peer does not speak SSH as it should.
_ABUSES = (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported, asyncssh.MACError)


def signer(partners: Mapping[str, Partner], user: str, fingerprint: str, now: datetime) -> Partner | None:
    """The partner with that user name, if it may come in and this key is one of its own and valid now."""
    partner = partners.get(user)
    keys = partner.keys if partner and not partner.is_disabled else ()
    is_own = any(key.fingerprint == fingerprint and key.is_valid(now) for key in keys)
    return partner if is_own else None


class Login(asyncssh.SSHServer):
    """One connection: public keys only, until somebody is known; then SFTP sessions only."""

    def __init__(self, exchange: Exchange, traffic: Traffic, guard: Guard) -> None:
        self._exchange, self._traffic, self._guard = exchange, traffic, guard
        self._channels: set[SFTPSession] = set()
        self._connection: asyncssh.SSHServerConnection
        self._address = ""
        self._refused = 0
        self._is_ending = False
        #: admitted, and not logged in yet
        self._is_at_door = False
        self._timed_out = False
        #: ends the connection that does not log in, or has no session, in time
        self._timer: asyncio.TimerHandle | None = None
        #: the peer takes what is written
        self._writable = asyncio.Event()
        self._writable.set()
        #: user and key of the last attempt: the one that signed, when authentication completes
        self._asked: tuple[str, str] = ("", "")
        self._visit: Visit | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """A client connected; whom the guard turns away costs no key exchange, and reads nothing."""
        self._connection = conn
        self._address = str(conn.get_extra_info("peername", ("unknown",))[0])
        if self._guard.knock(self._address, self._exchange.guard):
            conn.abort()
            return
        self._is_at_door = True
        self._traffic.connections.add(conn)
        self._call_after(self._exchange.guard.login, self._time_out)
        self._count_refusals(conn)
        # the library goes on writing, whether the peer reads or not: memory would fill
        conn.pause_writing = self._writable.clear  # type: ignore[method-assign]
        conn.resume_writing = self._writable.set  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._traffic.connections.discard(self._connection)
        self._traffic.visits.pop(self._connection, None)
        self._writable.set()
        for session in list(self._channels):
            self._leave(session)
        if self._visit is not None:
            self._guard.leave(self._visit.partner)
        if self._is_at_door:
            self._guard.leave_door(self._address)
            self._fail()
        if isinstance(exc, _ABUSES):
            self._guard.refuse(self._address, self._exchange.guard)
        if self._timer is not None:
            self._timer.cancel()

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
        return self._signer() is not None

    def auth_completed(self) -> None:
        """Somebody signed: this is the only place where it is decided who."""
        user, fingerprint = self._asked
        partner = self._signer()
        if partner is None or self._connection.get_extra_info("username") != user:
            self._end("Permission denied")
            return
        self._is_at_door = False
        self._guard.leave_door(self._address)
        if not self._may_enter(partner):
            self._end(_too_many(partner))
            return
        self._visit = Visit(
            partner=partner,
            fingerprint=fingerprint,
            address=self._address,
            client=self._connection.get_extra_info("client_version", ""),
            session_id=new_id("S", 12),
        )
        self._call_after(self._exchange.guard.idle, self._end_unused)
        self._traffic.visits[self._connection] = self._visit
        self._traffic.key_uses.note(self._exchange, partner.id, fingerprint)

    def session_requested(
        self,
    ) -> bool | tuple[asyncssh.SSHServerChannel[bytes], asyncssh.SSHServerSession[bytes]]:
        """A channel for the partner that was recognised."""
        if self._visit is None or len(self._channels) >= MOST_SESSIONS:
            return False
        # the first session of a connection was counted with it
        if self._channels and not self._may_enter(self._visit.partner):
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, _too_many(self._visit.partner))
        conversation = Conversation(self._exchange, self._visit)
        session = SFTPSession(conversation, self._visit, self._traffic, self._leave, self._exchange.guard)
        session.connection_writable = self._writable
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

    def _signer(self) -> Partner | None:
        """Whose key was asked for, if it may be used from here: no other answer than for a key of nobody."""
        partner = signer(self._exchange.partners, *self._asked, self._exchange.clock.now())
        return partner if partner and partner.may_come_from(self._address) else None

    def _may_enter(self, partner: Partner) -> bool:
        """Count one more session of the partner, unless it has as many as it may have."""
        entered = self._guard.enter(partner)
        if not entered:
            _log.warning("session.refused", partner_id=partner.id, address=self._address)
        return entered

    def _leave(self, session: SFTPSession) -> None:
        """A channel is gone."""
        if self._visit is None or session not in self._channels:
            return
        self._channels.discard(session)
        if self._channels:
            self._guard.leave(self._visit.partner)
        if session.broke_protocol:
            self._guard.refuse(self._address, self._exchange.guard)
        self._call_after(self._exchange.guard.idle, self._end_unused)

    def _fail(self) -> None:
        """Nobody logged in. Who only looked whether we are there did nothing: a monitor, ssh-keyscan."""
        user, fingerprint = self._asked
        if self._refused or self._timed_out:
            known = signer(self._exchange.partners, user, fingerprint, self._exchange.clock.now())
            is_barred = known is not None and not known.may_come_from(self._address)
            reason = "timed out" if self._timed_out else "not from this network" if is_barred else ""
            _log.warning(
                "login.failed",
                address=self._address,
                attempts=self._refused,
                partner_id=user if user in self._exchange.partners else "",  # any other is not ours to keep
                fingerprint=fingerprint,
                reason=reason,
            )
        if self._refused > 1 or fingerprint or self._timed_out:  # the first is `none`
            self._guard.refuse(self._address, self._exchange.guard)

    def _call_after(self, span: timedelta, then: Callable[[], None]) -> None:
        """Call `then` after the span, and nothing that was to be called before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(span.total_seconds(), then)

    def _time_out(self) -> None:
        self._timed_out = True
        self._connection.abort()

    def _end_unused(self) -> None:
        """End a connection in which nobody speaks SFTP."""
        if any(session.is_serving for session in self._channels):
            self._call_after(self._exchange.guard.idle, self._end_unused)
        else:
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, "No session for too long")

    def _end(self, reason: str) -> None:
        self._is_ending = True
        self._connection.disconnect(asyncssh.DISC_PROTOCOL_ERROR, reason)


def _too_many(partner: Partner) -> str:
    return f"Too many sessions: at most {partner.limits.sessions} at a time"
