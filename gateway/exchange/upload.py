"""A file on its way in: sealed as it comes, received at an explicit CLOSE and never otherwise (spec 1, Uploads)."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from functools import partial

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day, month_of
from gateway.domain.delivery import DeliveryState
from gateway.domain.partner import Box, Mode
from gateway.domain.retention import TRIAL_DAYS
from gateway.errors import GatewayError, KeyMissing, StoreError, VaultError
from gateway.exchange import inbox, quota
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.protocol import Attributes, Refused, Status
from gateway.exchange.spans import ReorderWindow
from gateway.exchange.tree import file_attributes
from gateway.store import Connection, blobs, data_keys, deliveries
from gateway.vault.datakey import DataKey, wrap
from gateway.vault.ids import new_id
from gateway.vault.key_ids import index_id, until_id
from gateway.vault.objects import received_file
from gateway.vault.stream import Sealer

_log = logs.get("exchange")

_NO_KEYS = "The gateway can't receive files now; its administrator has been told"
_NO_ROOM = "The gateway has no room for files now: send it again later; its administrator has been told"
_NOT_STORED = "The file could not be stored: send it again later; the administrator has been told"


class Upload:
    """One OPEN for writing: a delivery in state RECEIVING whose data key is in memory only.

    Its row comes with its end, so that a small file costs one transaction; what is open for longer than a look of
    its session has it before (`put_on_record`, ADR 28). `write` works on the event loop; `put_on_record`, `close` and
    `abort` block, and run in threads.
    """

    def __init__(self, exchange: Exchange, visit: Visit, name: str, *, waits: bool = True) -> None:
        """OPEN.

        Args:
            exchange: what it is received with.
            visit: whose it is.
            name: under which it will be received.
            waits: whether it may wait for the database; an event loop may not.

        Raises:
            Refused: a key that the file will need is not in the keyring, today's quota is used up, or the disk takes
                no more.
            BlockingIOError: it would have to wait, and may not.
        """
        self._exchange, self._visit = exchange, visit
        #: the name under which it will be received; RENAME before CLOSE changes it
        self.name = name
        self.id = new_id("L", 16)
        self.state = DeliveryState.RECEIVING
        self._opened_at = exchange.clock.now()
        self._started = time.monotonic()
        _check_keys(exchange)
        if not exchange.has_room():
            _log.error("upload.refused", partner_id=visit.partner.id, reason="no room", error="")
            raise Refused(Status.FAILURE, _NO_ROOM)
        with exchange.store.read() if waits else exchange.store.glance() as conn:
            #: bytes that the partner may still send today
            self._room = quota.left(conn, exchange, visit)
        self._key = DataKey.generate()
        self._blob = exchange.blobs.create(exchange.process)
        self._sealer = Sealer(
            self._key.file_key(self.id),
            received_file(partner=visit.partner.id, delivery=self.id),
            self._blob.take,
            # whoever reads it first makes the digests: nothing that others wait for is done here
            is_hashed=False,
        )
        self._ahead = ReorderWindow()
        self._client: dict[str, int] = {}
        #: why nothing more is taken in: what was refused once can't be received
        self._refusal = ""
        #: whether its row was asked for; CLOSE and `abort` find it or not
        self.is_noted = False
        self._begun = deliveries.Begun(
            id=self.id,
            partner_id=visit.partner.id,
            opened_at=self._opened_at,
            key_fingerprint=visit.fingerprint,
            blob=self._blob.name,
            process=exchange.process,
        )
        exchange.under_way.add(self.id)

    def put_on_record(self) -> None:
        """Write its row, so that others know of it and a kill leaves it to be given up; what can't be is refused."""
        try:
            # a power cut that takes this row takes what was received of the file too
            self._exchange.store.together(self._begin, is_durable=False)
        except StoreError as exc:
            self._refusal = self._not_stored(exc).text

    @property
    def size(self) -> int:
        """Bytes received so far, up to the last one."""
        return max(self._sealer.plain_bytes, self._ahead.end)

    def attributes(self) -> Attributes:
        """What FSTAT answers."""
        now = int(self._opened_at.timestamp())
        return file_attributes(
            Box.INBOX,
            size=self.size,
            at=self._client.get("client_modified", now),
            mode=self._client.get("client_mode"),
            accessed=self._client.get("client_accessed"),
        )

    def write(self, offset: int, data: memoryview) -> None:
        """WRITE: seal what is in turn, hold what is early.

        Raises:
            Refused: too large, beyond the quota, over bytes that are sealed already, too far out of order, or the
                disk takes no more; from then on nothing of this file is received.
        """
        self._check_open()
        if not data:
            return
        sealed = self._sealer.plain_bytes
        if offset + len(data) > self._exchange.most_file_bytes:
            self._refuse(f"File too large: at most {self._exchange.most_file_bytes} bytes are received")
        if offset + len(data) > self._room:
            self._refuse(quota.full(self._visit).text)
        if offset < sealed:
            self._refuse("Bytes that were received already can't be written again: send the file again")
        if offset == sealed and not self._ahead:
            self._seal(data)
            return
        try:
            self._seal(self._ahead.put(offset, data, start=sealed))
        except Refused as exc:
            self._refuse(exc.text)

    def set_attributes(self, attributes: Attributes) -> None:
        """FSETSTAT: recorded, never obeyed. scp sets the size to what it wrote; no other size is taken."""
        self._check_open()
        if attributes.size not in {None, self.size}:
            self._refuse("A file can be neither shortened nor lengthened: send it again")
        self._client |= inbox.client_values(attributes)

    def sync(self) -> None:
        """fsync@openssh.com: FX_OK of CLOSE means durable; before it nothing is received."""
        self._check_open()

    def close(self) -> DeliveryState:
        """CLOSE: the file is durable and received, STAGED or ARRIVED, when this returns.

        Raises:
            Refused: a hole, what was refused before, or it could not be made durable. Nothing is received
                then, nor at any other error.
        """
        try:
            self._check_open()
            if self._ahead:
                self._refuse("Part of the file is missing: send it again")
            self._sealer.finish()
            self._blob.commit()
            self.state, dropped = self._exchange.store.together(self._receive)
        except (StoreError, VaultError) as exc:
            self.abort("could not be stored")
            raise self._not_stored(exc) from exc
        except BaseException as exc:
            self.abort("refused" if isinstance(exc, Refused) else "could not be stored")
            raise
        self._exchange.under_way.discard(self.id)
        inbox.remove_blobs(self._exchange, dropped)
        self._log("")
        return self.state

    def abort(self, reason: str) -> None:
        """Anything but a CLOSE: the sealed bytes are deleted and the key is forgotten. May be repeated.

        What the disk takes not, `abort_unfinished` does within the hour.
        """
        if self.state is not DeliveryState.RECEIVING:
            return
        self.state = DeliveryState.ABORTED
        exchange = self._exchange
        # bytes that were never whole first: they may be what fills the disk
        self._drop_bytes()
        try:
            if exchange.store.together(lambda conn: self._abort(conn, reason)):
                inbox.remove_blobs(exchange, [self._blob.name])
                self._log(reason)
        except StoreError as exc:
            _log.error("upload.left", delivery_id=self.id, error=str(exc))
        finally:
            exchange.under_way.discard(self.id)

    def _abort(self, conn: Connection, reason: str) -> bool:
        exchange = self._exchange
        self._begin(conn)
        given_up = deliveries.abort(
            conn, self.id, DeliveryState.RECEIVING, at=exchange.clock.now(), reason=reason
        )
        if given_up:
            quota.give_up(conn, exchange, self._visit, self._sealer.plain_bytes)
            inbox.record_change(exchange, self._visit, conn, "delivery.aborted", self.id)
        return given_up

    def _drop_bytes(self) -> None:
        try:
            self._blob.abort()
        except VaultError as exc:
            _log.error("blob.left", count=1, error=str(exc))

    def _begin(self, conn: Connection) -> None:
        deliveries.begin(conn, self._begun)

    def _receive(self, conn: Connection) -> tuple[DeliveryState, list[str]]:
        """What makes it received: wrapped key, name, state, audit entry. The state, and blobs that go."""
        exchange, partner = self._exchange, self._visit.partner
        staged = inbox.is_temporary(partner, self.name)
        state = DeliveryState.STAGED if staged else DeliveryState.ARRIVED
        row_key = self._key.row_key()
        quota.receive(conn, exchange, self._visit, self._sealer.plain_bytes)
        now = exchange.clock.now()
        is_trial = partner.mode is Mode.TRIAL
        due_on = local_day(now) + timedelta(days=TRIAL_DAYS if is_trial else exchange.raw_days)
        try:
            wrapped = wrap(
                exchange.keyring, until_id(due_on), self._key, partner=partner.id, object_id=self.id
            )
            name = inbox.store_name(exchange, (partner.id, self.id), self.name, row_key=row_key, now=now)
        except KeyMissing as exc:
            raise _missing_key(exc) from exc
        before = inbox.find(exchange, conn, partner.id, self.name) if staged else []
        dropped = inbox.drop_staged(exchange, self._visit, conn, before)
        data_keys.add(
            conn,
            object_id=self.id,
            partner_id=partner.id,
            due_on=due_on,
            key_id=wrapped.key_id,
            key_version=wrapped.key_version,
            wrapped=wrapped.wrapped,
            commitment=wrapped.commitment,
        )
        received = deliveries.receive(
            conn,
            self._begun,
            state=state,
            closed_at=now,
            name=name,
            size_bytes=self._sealer.plain_bytes,
            sealed_bytes=self._sealer.sealed_bytes,
            raw_due_on=due_on,
            is_trial=is_trial,
            client_values=self._client,
        )
        if not received:
            raise Refused(Status.FAILURE, "The file was given up before it was closed: send it again")
        inbox.record_change(
            exchange, self._visit, conn, f"delivery.{state}", self.id, size=self._sealer.plain_bytes
        )
        return state, dropped

    def _seal(self, data: memoryview | bytes) -> None:
        try:
            self._sealer.write(data)
        except VaultError as exc:
            self._refusal = _NOT_STORED
            # its room is needed: for what others send, and for the row that tells of it
            self._drop_bytes()
            raise self._not_stored(exc) from exc

    def _check_open(self) -> None:
        if self._refusal:
            raise Refused(Status.FAILURE, self._refusal)
        if self.state is not DeliveryState.RECEIVING:
            raise Refused(Status.FAILURE, "The file was removed before it was closed: nothing was received")

    def _not_stored(self, exc: GatewayError) -> Refused:
        """Log what the disk said; the partner reads that it was not received."""
        _log.error(
            "upload.refused",
            partner_id=self._visit.partner.id,
            delivery_id=self.id,
            reason="could not be stored",
            error=str(exc),
        )
        return Refused(Status.FAILURE, _NOT_STORED)

    def _refuse(self, text: str) -> None:
        self._refusal = text
        raise Refused(Status.FAILURE, text)

    def _log(self, reason: str) -> None:
        _log.info(
            "upload.ended",
            session_id=self._visit.session_id,
            partner_id=self._visit.partner.id,
            delivery_id=self.id,
            state=str(self.state),
            size=self._sealer.plain_bytes,
            bytes=self._sealer.sealed_bytes,
            duration_ms=round((time.monotonic() - self._started) * 1000),
            client=self._visit.client,
            reason=reason,
        )


def abort_unfinished(exchange: Exchange, *, of: Collection[str] | None = None) -> int:
    """Give up what is RECEIVING and nobody is sending: at a start, and what an `abort` left. How many there were.

    Args:
        exchange: what is under way in it stays.
        of: the processes that were receiving it; None: all, when nobody is.
    """
    with exchange.store.read() as conn:
        # one that is received between the two looks is RECEIVING no longer, and stays
        found = [one for one in deliveries.unfinished(conn, of) if one.id not in exchange.under_way]
    return _give_up(exchange, found, "the gateway stopped, or its disk did not take it")


def remove_left(exchange: Exchange, process: str) -> int:
    """Remove the bytes that a process which is no more had of files without a row; how many blobs there were."""
    begun = exchange.blobs.begun_by(process)
    with exchange.store.read() as conn:
        known = blobs.in_use(conn)
    left = [name for name in begun if name not in known]
    inbox.remove_blobs(exchange, left)
    return len(left)


def abort_stale(exchange: Exchange) -> int:
    """Give up staged files that nobody renamed within `staged_for`; how many there were."""
    with exchange.store.read() as conn:
        found = deliveries.stale(conn, exchange.clock.now() - exchange.staged_for)
    return _give_up(exchange, found, "never renamed")


def _give_up(exchange: Exchange, found: list[deliveries.Unreceived], reason: str) -> int:
    count = 0
    for one in found:
        if exchange.store.together(partial(_give_up_one, exchange, one, reason)):
            inbox.remove_blobs(exchange, [one.blob] if one.blob else [])
            count += 1
            _log.info(
                "upload.ended", partner_id=one.partner_id, delivery_id=one.id, state="aborted", reason=reason
            )
    return count


def _give_up_one(exchange: Exchange, one: deliveries.Unreceived, reason: str, conn: Connection) -> bool:
    now = exchange.clock.now()
    given_up = deliveries.abort(conn, one.id, one.state, at=now, reason=reason)
    if given_up:
        record(
            conn,
            action="delivery.aborted",
            object_id=one.id,
            origin="schedule",
            actor="gateway",
            at=now,
            node=exchange.node,
        )
    return given_up


def _check_keys(exchange: Exchange) -> None:
    """A node that lacks a key takes no uploads (spec 4, Keys)."""
    today = local_day(exchange.clock.now())
    for key_id in (until_id(today + timedelta(days=exchange.raw_days)), index_id(month_of(today))):
        if not exchange.keyring.has(key_id):
            raise _missing_key(
                KeyMissing(f"{key_id} is not in the keyring, or a registered copy has not got it")
            )


def _missing_key(exc: KeyMissing) -> Refused:
    _log.error("upload.refused", reason="a key is missing", error=str(exc))
    return Refused(Status.FAILURE, _NO_KEYS)
