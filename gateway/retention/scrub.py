"""Scrubbing: whether every sealed file is still what was written, without any key (spec 4, Vault).

Each blob is read and its SHA-256 compared with that of the ciphertext in its row; of what was received and not
processed yet, which has none there, only the size. It goes on beside a running gateway:
what looks wrong is asked again, and what went meanwhile by a purge, or has come in just now, is no damage.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from gateway.errors import BlobMissing, VaultError
from gateway.store import blobs as known_blobs
from gateway.store.blobs import Kept
from gateway.store.engine import Store
from gateway.store.places import chunks
from gateway.vault.blobs import BlobFolder

#: Bytes of ciphertext in memory at a time.
_READ_BYTES = 1024**2
#: Rows, and names of blobs, at a time.
_BATCH = 500
#: A blob without a row is an orphan after this: its row follows it within moments.
ORPHAN_AFTER = timedelta(minutes=1)

#: Told how many bytes were read since the last time.
Progress = Callable[[int], None]


class Damage(StrEnum):
    """What is wrong with a blob."""

    MISSING = "missing"
    #: shorter than it was
    TRUNCATED = "truncated"
    ALTERED = "altered"
    #: the disk does not give it
    UNREADABLE = "unreadable"
    #: no row knows it
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A blob that is not what it should be. `owner` is a delivery or an outgoing file; empty when no row knows it."""

    damage: Damage
    blob: str
    owner: str = ""
    partner_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrubbed:
    """What was read, and what was found. `undigested` of the blobs have no digest yet: their size was compared."""

    blobs: int
    undigested: int
    read_bytes: int
    seconds: float
    findings: tuple[Finding, ...]


def scrub(store: Store, blobs: BlobFolder, progress: Progress) -> Scrubbed:
    """Read every blob there should be, and look for those that no row knows; changes nothing.

    Raises:
        StoreError: the database can't be used.
    """
    began = time.monotonic()
    count, undigested, size = 0, 0, 0
    findings: list[Finding] = []

    def read(n: int) -> None:
        nonlocal size
        size += n
        progress(n)

    for blob in _every(store):
        count += 1
        undigested += blob.sha256 is None
        damage = _look(blobs, blob, read)
        if damage is None:
            continue
        with store.read() as conn:
            if known_blobs.is_kept(conn, blob):
                findings.append(
                    Finding(damage=damage, blob=blob.name, owner=blob.owner, partner_id=blob.partner_id)
                )
    findings += [Finding(damage=Damage.ORPHANED, blob=name) for name in _orphans(store, blobs)]
    return Scrubbed(
        blobs=count,
        undigested=undigested,
        read_bytes=size,
        seconds=time.monotonic() - began,
        findings=tuple(findings),
    )


def _every(store: Store) -> Iterator[Kept]:
    last = ""
    while True:
        with store.read() as conn:
            page = known_blobs.kept(conn, last, _BATCH)
        if not page:
            return
        yield from page
        last = page[-1].owner


def _look(blobs: BlobFolder, blob: Kept, progress: Progress) -> Damage | None:
    digest = hashlib.sha256()
    try:
        with blobs.open(blob.name) as file:
            if file.size < blob.size:
                return Damage.TRUNCATED
            at = 0
            while piece := file.read_at(at, _READ_BYTES):
                digest.update(piece)
                at += len(piece)
                progress(len(piece))
    except BlobMissing:
        return Damage.MISSING
    except VaultError:
        return Damage.UNREADABLE
    whole = at == blob.size if blob.sha256 is None else digest.digest() == blob.sha256
    return None if whole else Damage.ALTERED


def _orphans(store: Store, blobs: BlobFolder) -> list[str]:
    unknown: list[str] = []
    for names in chunks(blobs.older(ORPHAN_AFTER), _BATCH):
        with store.read() as conn:
            unknown += known_blobs.unknown(conn, names)
    # a partner that removes a file lets go of the row first, and of the blob a moment later
    return sorted(name for name in unknown if blobs.has(name))
