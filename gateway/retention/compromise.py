"""Somebody may have a key: all that it protected is sealed again, and then the key is destroyed (spec 4, Keys).

    marked     COMPROMISED, on record; a new version protects what comes in from now on
    sealed     every object gets a new data key: whoever had the ring key may have the data keys too
                 files  opened and sealed into a new blob in constant memory; the row moves, the old blob goes
                 rows   in short transactions, under a second data key until none is left under the first
    destroyed  the compromised versions, here and in every copy

Each step ends on disk and finds its work in the rows, so that a try that was interrupted is simply run again.
Intake, publication and purge wait for an object at a time, and a CLOSE for a short transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway import logs
from gateway.errors import CommandError, KeyMissing, KeyringError, VaultError
from gateway.retention.versions import By, destroy_older, note, put_in_force, short_transaction, wrapped_of
from gateway.store import Connection, blobs, data_keys, key_versions, removals, resealing
from gateway.store.data_keys import StoredKey
from gateway.store.engine import Store
from gateway.store.resealing import File
from gateway.vault import objects, removal
from gateway.vault.blobs import BlobFolder
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.keyring import Keyring, Progress
from gateway.vault.rows import RowSealer
from gateway.vault.stream import SealedReader, Sealer

_log = logs.get("retention")

#: Rows in one transaction: a few dozen milliseconds.
BATCH = 500


@dataclass(slots=True, kw_only=True)
class Resealed:
    """What was sealed again; `failed` says of which objects that could not be, and why."""

    files: int = 0
    rows: int = 0
    failed: tuple[str, ...] = ()


def mark(store: Store, keyring: Keyring, key_id: str, by: By) -> int:
    """A key is COMPROMISED, and has a new version: which it is. May be repeated.

    Raises:
        KeyringError: there is no such key.
    """
    if not keyring.versions(key_id):
        raise KeyringError(f"{key_id} is not in the keyring: gateway keys status --json names all")
    with store.write() as conn:
        known = key_versions.of_key(conn, key_id)
        before = known.compromised_before
        if not known.is_compromised:
            before = max(keyring.newest(key_id), known.version) + 1
            key_versions.compromise(conn, key_id, before, by.now)
            note(conn, "key.compromised", key_id, by, {"before_version": before})
            _log.error("key.compromised", key=key_id)
    keyring.renew({key_id: before})
    return before


def seal_again(
    store: Store,
    keyring: Keyring,
    folder: BlobFolder,
    key_id: str,
    before: int,
    *,
    by: By,
    progress: Progress,
) -> Resealed:
    """Seal again, under new data keys, all that the versions of a key `before` one protect.

    An object that can't be opened stops none of the others.

    Raises:
        CommandError: a purge was interrupted, and must be completed first.
    """
    put_in_force(store, {key_id: before}, by)
    work = _Work(store, keyring, folder, key_id, before, by)
    _drop_orphans(work)  # of a try that was interrupted
    with store.read() as conn:
        ids = key_versions.older_ids(conn, key_id, before)
    failed = []
    for done, data_key_id in enumerate(ids, start=1):
        try:
            _seal_one(work, data_key_id)
        except (VaultError, KeyMissing) as exc:
            failed.append(str(exc))
        progress(done, len(ids))
    _drop_orphans(work)
    work.done.failed = tuple(failed)
    return work.done


def destroy_compromised(store: Store, keyring: Keyring, key_id: str, before: int, by: By) -> list[str]:
    """Destroy the compromised versions; the copies in which that could not be confirmed.

    Raises:
        KeyringError: one of them protects something still.
    """
    with store.write() as conn:
        left = key_versions.older(conn, key_id, before)
    if left:
        raise KeyringError(
            f"{left:,} data keys of {key_id} are under a compromised version still, which stays until they are gone"
        )
    return destroy_older(store, keyring, key_id, before, by)


@dataclass(frozen=True, slots=True)
class _Work:
    store: Store
    keyring: Keyring
    folder: BlobFolder
    key_id: str
    #: versions before this one are compromised
    before: int
    by: By
    done: Resealed = field(default_factory=Resealed)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Intake, publication and purge wait; none of them was interrupted in a way that must be completed first."""
        with self.store.exclusive():
            with self.store.read() as conn:
                if resealing.is_purge_cut(conn):
                    raise CommandError(
                        "the key is marked as compromised, and a purge was interrupted: gateway retention run completes "
                        "it; then run this again"
                    )
            yield

    def current(self, conn: Connection, data_key_id: int) -> StoredKey | None:
        """A data key as it is now; None when it is gone, or is a new one already.

        Raises:
            KeyMissing: another key wraps it since, of a hold or another day.
        """
        stored = data_keys.by_id(conn, [data_key_id]).get(data_key_id)
        if stored is not None and stored.key_id != self.key_id:
            raise KeyMissing(
                f"the data key of {stored.object_id} is under {stored.key_id} by now: gateway keys compromise "
                f"{stored.key_id} seals again what it protects"
            )
        return None if stored is None or stored.key_version >= self.before else stored

    def open(self, stored: StoredKey) -> DataKey:
        """The old data key."""
        return unwrap(self.keyring, wrapped_of(stored), partner=stored.partner_id, object_id=stored.object_id)

    def wrap(self, stored: StoredKey, fresh: DataKey) -> WrappedKey:
        """A new data key, for the same object under the same key."""
        return wrap(self.keyring, stored.key_id, fresh, partner=stored.partner_id, object_id=stored.object_id)


def _seal_one(work: _Work, data_key_id: int) -> None:
    with work.store.read() as conn:
        stored = work.current(conn, data_key_id)
    if stored is None:
        return
    if _seal_removal(work, data_key_id):
        return
    if stored.municipality:
        while _seal_rows(work, data_key_id):
            pass
    else:
        _seal_file(work, data_key_id)


def _seal_rows(work: _Work, data_key_id: int) -> bool:
    """Seal some rows again; False when none is left under this data key, which is gone then."""
    with work.alone(), short_transaction(work.store) as conn:
        stored = work.current(conn, data_key_id)
        if stored is None:
            return False
        old = RowSealer(work.open(stored).row_key())
        fresh_id, fresh = _second(work, conn, stored)
        for table in (objects.SIGNAL, objects.EXCLUSION):
            again = {
                row.id: fresh.seal(
                    old.open(row.sealed, table=table, object_id=row.delivery_id, row=row.line),
                    table=table,
                    object_id=row.delivery_id,
                    row=row.line,
                )
                for row in resealing.rows(conn, table, data_key_id, BATCH)
            }
            if again:
                resealing.move_rows(conn, table, fresh_id, again)
                work.done.rows += len(again)
                return True
        resealing.drop_key(conn, data_key_id)
        return False


def _seal_removal(work: _Work, data_key_id: int) -> bool:
    """Seal a record of the list of early removals again; False when it is none. Its file follows with the checkpoint."""
    with work.alone(), short_transaction(work.store) as conn:
        stored = work.current(conn, data_key_id)
        sealed = None if stored is None else removals.sealed(conn, stored.object_id)
        if stored is None or sealed is None:
            return False
        fields = removal.unseal(work.keyring, stored.object_id, wrapped_of(stored), sealed)
        key, again = removal.seal(work.keyring, stored.key_id, stored.object_id, fields)
        resealing.change_key(
            conn, data_key_id, version=key.key_version, wrapped=key.wrapped, commitment=key.commitment
        )
        removals.change(conn, stored.object_id, again)
        work.done.rows += 1
        return True


def _second(work: _Work, conn: Connection, stored: StoredKey) -> tuple[int, RowSealer]:
    """The data key that takes a compromised one's place: the one that was begun with, or a new one."""
    for other in data_keys.of_rows(conn, stored.object_id):
        same = (other.municipality, other.due_on) == (stored.municipality, stored.due_on)
        if same and other.key_id == stored.key_id and other.key_version >= work.before:
            return other.id, RowSealer(work.open(other).row_key())
    fresh = DataKey.generate()
    key = work.wrap(stored, fresh)
    added = data_keys.add(
        conn,
        object_id=stored.object_id,
        partner_id=stored.partner_id,
        municipality=stored.municipality,
        due_on=stored.due_on,
        key_id=key.key_id,
        key_version=key.key_version,
        wrapped=key.wrapped,
        commitment=key.commitment,
    )
    return added, RowSealer(fresh.row_key())


def _seal_file(work: _Work, data_key_id: int) -> None:
    """Seal a received file or a dispatch into a new blob; the row points to it before the old one goes."""
    with work.alone():
        with work.store.read() as conn:
            stored = work.current(conn, data_key_id)
            file = None if stored is None else resealing.file(conn, stored.object_id)
        if stored is None or file is None:
            return
        fresh = DataKey.generate()
        old = work.open(stored)
        values = {} if file.blob is None else _copy(work, file, old, fresh)
        if not _point(work, data_key_id, (file, old, fresh), values):
            work.folder.remove(values["blob"])
            return
        if file.blob is not None:
            work.folder.remove(file.blob)


def _copy(work: _Work, file: File, old: DataKey, fresh: DataKey) -> dict[str, Any]:
    """The bytes once more, in a new blob, a segment at a time: what the row says of it."""
    associated = _associated(file)
    assert file.blob is not None
    with work.folder.open(file.blob) as blob:
        reader = SealedReader(old.file_key(file.id), associated, blob.read_at, blob.size)
        writer = work.folder.create()
        sealer = Sealer(fresh.file_key(file.id), associated, writer.write)
        try:
            for chunk in reader.chunks():
                sealer.write(chunk)
            sealer.finish()
            writer.commit()
        except BaseException:
            writer.abort()
            raise
    return {
        "blob": writer.name,
        "sealed_bytes": sealer.sealed_bytes,
        "sealed_sha256": sealer.sha256(),
    }


def _point(
    work: _Work, data_key_id: int, sealed: tuple[File, DataKey, DataKey], values: dict[str, Any]
) -> bool:
    """The row points to the new blob and key; False when the file was given up meanwhile."""
    before, old, fresh = sealed
    with work.store.write() as conn:
        stored = work.current(conn, data_key_id)
        file = None if stored is None else resealing.file(conn, stored.object_id)
        if stored is None or file is None or file.blob != before.blob:
            return not values
        key = work.wrap(stored, fresh)
        resealing.change_key(
            conn, data_key_id, version=key.key_version, wrapped=key.wrapped, commitment=key.commitment
        )
        # a RENAME may have given it another name since: it is opened here
        resealing.change_file(conn, file, values | _named(file, old.row_key(), fresh.row_key()))
        detail: dict[str, int | str] = {"before_version": work.before}
        if values:
            detail |= {"bytes": values["sealed_bytes"], "sha256": values["sealed_sha256"].hex()}
        note(conn, "file.resealed", file.id, work.by, detail)
    work.done.files += 1
    return True


def _named(file: File, old: bytes, fresh: bytes) -> dict[str, bytes]:
    """What is sealed with a received file: its name, and the digest of its plaintext."""
    found = {}
    if file.name_sealed is not None:
        found["name_sealed"] = objects.seal_name(
            fresh, file.id, objects.open_name(old, file.id, file.name_sealed)
        )
    if file.sha256_sealed is not None:
        digest = objects.open_digest(old, file.id, file.sha256_sealed)
        found["sha256_sealed"] = objects.seal_digest(fresh, file.id, digest)
    return found


def _associated(file: File) -> bytes:
    if file.kind is None:
        return objects.received_file(partner=file.partner_id, delivery=file.id)
    return objects.dispatched_file(
        partner=file.partner_id, delivery=file.delivery_id, dispatch=file.id, kind=file.kind
    )


def _drop_orphans(work: _Work) -> None:
    """Blobs that no row knows: of an interrupted try, the old one whose row had moved, or the new one."""
    with work.store.exclusive():  # whoever makes one under this lock has stored its row
        names = work.folder.names()
        with work.store.read() as conn:
            used = blobs.in_use(conn)
        work.folder.remove(*(name for name in names if name not in used))
