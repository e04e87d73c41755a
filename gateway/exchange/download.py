"""Files that lie ready for a partner: listed, read at any offset, collected when read whole (spec 1).

Blocking, but for `Download.read_now`: runs in threads.
"""

from __future__ import annotations

import time

from gateway import logs
from gateway.audit.log import record
from gateway.domain.partner import Box
from gateway.errors import BlobDamaged, KeyMissing, VaultError
from gateway.exchange import inbox
from gateway.exchange.context import Exchange, Visit
from gateway.exchange.protocol import DATA_HEAD_BYTES, MOST_READ_BYTES, Attributes, Refused, Status
from gateway.exchange.spans import MOST_SPANS, Spans
from gateway.exchange.tree import file_attributes
from gateway.store import dispatches
from gateway.store.dispatches import Outgoing
from gateway.vault.ids import new_id
from gateway.vault.objects import dispatched_file
from gateway.vault.stream import Sealed, SealedReader

_log = logs.get("exchange")


def find(exchange: Exchange, visit: Visit, box: Box, name: str) -> Outgoing | None:
    """The file of that name in the partner's own box."""
    with exchange.store.read() as conn:
        return dispatches.named(conn, visit.partner.id, box, name)


def listing(exchange: Exchange, visit: Visit, box: Box) -> list[tuple[str, Attributes]]:
    """What lies in the partner's own box, by name."""
    with exchange.store.read() as conn:
        return [
            (file.name, attributes_of(box, file)) for file in dispatches.listed(conn, visit.partner.id, box)
        ]


def attributes_of(box: Box, file: Outgoing) -> Attributes:
    """What STAT answers: the size of the plaintext, and when it was made."""
    return file_attributes(box, size=file.size_bytes, at=int(file.created_at.timestamp()))


def remove(exchange: Exchange, visit: Visit, box: Box, name: str) -> None:
    """REMOVE: "I have it". Hidden from then on; it counts as collected if it was not yet."""
    with exchange.store.write() as conn:
        file = dispatches.named(conn, visit.partner.id, box, name)
        if file is None:
            raise Refused(Status.NO_SUCH_FILE)
        now = exchange.clock.now()
        dispatches.collect(conn, file.id, now)
        dispatches.remove(conn, file.id, now)
        inbox.record_change(exchange, visit, conn, "dispatch.removed", file.id)


class Download:
    """One OPEN for reading. The file stays readable until CLOSE, whatever becomes of its name."""

    def __init__(self, exchange: Exchange, visit: Visit, box: Box, file: Outgoing) -> None:
        """OPEN: every segment is authenticated before the first byte can be asked for (spec 4, promise 4).

        That reads the file twice: 28 ms for 64 MiB, measured on two shared cores, and nothing is kept.

        Raises:
            Refused: the file is damaged or its key is gone: nothing of it is handed out.
        """
        self._exchange, self._visit, self._box, self._file = exchange, visit, box, file
        self._seen = Spans()
        self._started, self._bytes = time.monotonic(), 0
        #: whether a read may wait for the disk
        self._may_wait = True
        try:
            try:
                self._open()
            except (VaultError, KeyMissing):
                # it may have been sealed again since its row was read (gateway keys compromise)
                with exchange.store.read() as conn:
                    now = dispatches.named(conn, file.partner_id, box, file.name)
                if now is None or now.id != file.id or now.blob == file.blob:
                    raise
                self._file = now
                self._open()
        except (VaultError, KeyMissing) as exc:
            raise self._damaged(exc) from exc

    def _open(self) -> None:
        file = self._file
        self._blob = self._exchange.blobs.open(file.blob)
        try:
            self._reader = SealedReader(
                self._file_key(),
                dispatched_file(
                    partner=file.partner_id, delivery=file.delivery_id, dispatch=file.id, kind=file.kind
                ),
                self._read_at,
                self._blob.size,
            )
            self._reader.authenticate()
        except BaseException:
            self._blob.close()
            raise

    def attributes(self) -> Attributes:
        """What FSTAT answers."""
        return attributes_of(self._box, self._file)

    def read(self, offset: int, length: int) -> bytearray:
        """READ: as many bytes as were asked for, fewer only at the end, behind room for the head of the reply.

        Raises:
            Refused: EOF, or the file was damaged while it was open.
        """
        try:
            return self._read(offset, length)
        except VaultError as exc:
            raise self._damaged(exc) from exc

    def read_now(self, offset: int, length: int) -> bytearray | None:
        """READ without waiting, on the event loop; None: `read` has to, for the disk or to tell of damage.

        OPEN has read the whole file just now: the system has most of it in memory.

        Raises:
            Refused: EOF.
        """
        self._may_wait = False
        try:
            return self._read(offset, length)
        except (BlockingIOError, VaultError):
            return None
        finally:
            self._may_wait = True

    def _read(self, offset: int, length: int) -> bytearray:
        if offset >= self._reader.size:
            raise Refused(Status.EOF)
        data = self._reader.read(offset, min(length, MOST_READ_BYTES), before=DATA_HEAD_BYTES)
        count = len(data) - DATA_HEAD_BYTES
        if count and len(self._seen) < MOST_SPANS:
            self._seen.add(offset, offset + count)
        self._bytes += count
        return data

    def _read_at(self, offset: int, n: int) -> Sealed:
        return self._blob.read_at(offset, n) if self._may_wait else self._blob.read_now(offset, n)

    def close(self) -> None:
        """CLOSE: when all of it was read, the partner has collected it."""
        self._blob.close()
        if self._seen.reach(0) < self._reader.size:
            self._log("read in part")
            return
        exchange = self._exchange
        with exchange.store.write() as conn:
            if dispatches.collect(conn, self._file.id, exchange.clock.now()):
                inbox.record_change(exchange, self._visit, conn, "dispatch.collected", self._file.id)
        self._log("collected")

    def abort(self) -> None:
        """The session ends without CLOSE: nothing is collected."""
        self._blob.close()
        self._log("cut off")

    def _file_key(self) -> bytes:
        with self._exchange.store.read() as conn:
            key = inbox.data_key(self._exchange, conn, self._visit.partner.id, self._file.id)
        if key is None:
            raise KeyMissing(f"the data key of {self._file.id} has been destroyed")
        return key.file_key(self._file.id)

    def _damaged(self, exc: Exception) -> Refused:
        """Log and record what is wrong with the file; the partner reads an incident id."""
        exchange, incident = self._exchange, new_id("", 10)
        result = "damaged" if isinstance(exc, BlobDamaged) else "missing"
        _log.error(
            "blob.damaged",
            dispatch_id=self._file.id,
            partner_id=self._visit.partner.id,
            session_id=self._visit.session_id,
            error=str(exc),
            incident=incident,
        )
        with exchange.store.write() as conn:
            record(
                conn,
                action="blob.damaged",
                object_id=self._file.id,
                result=result,
                origin=self._visit.address,
                actor=self._visit.partner.id,
                at=exchange.clock.now(),
                node=exchange.node,
            )
        return Refused(
            Status.FAILURE, f"This file can't be read; the administrator has been told (incident {incident})"
        )

    def _log(self, state: str) -> None:
        _log.info(
            "download.ended",
            session_id=self._visit.session_id,
            partner_id=self._visit.partner.id,
            dispatch_id=self._file.id,
            kind=self._file.kind,
            state=state,
            size=self._file.size_bytes,
            bytes=self._bytes,
            duration_ms=round((time.monotonic() - self._started) * 1000),
            client=self._visit.client,
        )
