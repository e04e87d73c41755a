"""What the exchange works with, and who is at the door: values that the daemon builds and passes in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from gateway.clock import Clock
from gateway.domain.guard import GuardTerms
from gateway.domain.partner import Partner
from gateway.domain.shelf import Shelf
from gateway.exchange.waiting import Waiting, waiting
from gateway.store.engine import Store
from gateway.vault.blobs import BlobFolder
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The parts and terms that every session shares."""

    store: Store
    keyring: Keyring
    blobs: BlobFolder
    indexer: Indexer
    clock: Clock
    #: partner id -> partner: everyone who may come in
    partners: Mapping[str, Partner]
    #: the id of this node in audit entries
    node: str
    #: called after a delivery ARRIVED: the wake-up of the worker
    on_arrival: Callable[[], None]
    #: the process that receives, in what it writes down for the others
    process: str = ""
    #: connections that have not logged in, here and at the other processes
    waiting: Waiting = field(default_factory=lambda: waiting(1)[0])
    #: whether the disk has room for a file of the largest size
    has_room: Callable[[], bool] = lambda: True
    #: ids of the deliveries that are coming in here: what this process has RECEIVING beside them never will be received
    under_way: set[str] = field(default_factory=set)
    #: name -> what is shown in the auditor's box under it
    shelves: Mapping[str, Shelf] = field(default_factory=dict)
    #: the largest file that is received
    most_file_bytes: int = 64 * 1024 * 1024
    #: how long a received file stays in its partner's listing
    listed_for: timedelta = timedelta(hours=24)
    #: how long a file under a temporary name waits for its RENAME
    staged_for: timedelta = timedelta(hours=24)
    #: how long a received file itself is kept, in days from CLOSE
    raw_days: int = 14
    #: what visitors are granted
    guard: GuardTerms = field(default_factory=GuardTerms)
    #: files whose digest is made at a time: each takes a thread and a processor
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """An authenticated session: whose it is, by which key, and from where."""

    partner: Partner
    fingerprint: str
    address: str
    client: str
    session_id: str
