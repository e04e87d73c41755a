"""Outgoing files: sealed blob first, row second, visible with the transaction that made them true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from hashlib import sha256

from gateway.domain.dispatch import DispatchKind, DispatchState, Letter
from gateway.domain.partner import Box
from gateway.domain.retention import dispatch_due
from gateway.files.manifest import render_manifest
from gateway.files.names import manifest_name
from gateway.pipeline.context import Context
from gateway.pipeline.sealing import FreshKey, store_keys
from gateway.store import Connection, outgoing
from gateway.vault.datakey import DataKey
from gateway.vault.ids import new_id
from gateway.vault.objects import dispatched_file
from gateway.vault.stream import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingFile:
    """A sealed file that no row names yet. `sha256` is of the plaintext and is never stored in the clear.

    `contents` is how many signals of each delivery it tells of: what a breach report must know (spec 1).
    """

    id: str
    partner_id: str
    box: Box
    name: str
    kind: DispatchKind
    data_key: DataKey
    blob: str
    size_bytes: int
    sealed_bytes: int
    sealed_sha256: bytes
    sha256: str
    due_on: date
    municipality: str
    delivery_id: str | None
    parent_id: str | None
    contents: Mapping[str, int] = field(default_factory=dict)


def seal_file(
    context: Context,
    chunks: Iterable[bytes],
    *,
    partner_id: str,
    box: Box,
    name: str,
    kind: DispatchKind,
    due_on: date,
    municipality: str = "",
    delivery_id: str | None = None,
    parent_id: str | None = None,
    contents: Mapping[str, int] | None = None,
) -> OutgoingFile:
    """Seal a file into the vault. A crash before its row is stored leaves a blob that the sweep removes."""
    dispatch_id, data_key = new_id("U", 16), DataKey.generate()
    writer = context.blobs.create()
    sealer = Sealer(
        data_key.file_key(dispatch_id),
        dispatched_file(partner=partner_id, delivery=delivery_id, dispatch=dispatch_id, kind=kind),
        writer.write,
    )
    digest = sha256()
    try:
        for chunk in chunks:
            digest.update(chunk)
            sealer.write(chunk)
        sealer.finish()
        writer.commit()
    except BaseException:
        writer.abort()
        raise
    return OutgoingFile(
        id=dispatch_id,
        partner_id=partner_id,
        box=box,
        name=name,
        kind=kind,
        data_key=data_key,
        blob=writer.name,
        size_bytes=sealer.plain_bytes,
        sealed_bytes=sealer.sealed_bytes,
        sealed_sha256=sealer.sha256(),
        sha256=digest.hexdigest(),
        due_on=due_on,
        municipality=municipality,
        delivery_id=delivery_id,
        parent_id=parent_id,
        contents=contents or {},
    )


@dataclass(slots=True)
class Contents:
    """What a file tells of, counted while its lines pass: signals by delivery, and their earliest due day."""

    lines: int = 0
    due_on: date | None = None
    signals: Counter[str] = field(default_factory=Counter)

    def add(self, delivery_id: str, due_on: date) -> None:
        """One line, of a signal that came in a delivery."""
        self.lines += 1
        self.signals[delivery_id] += 1
        self.due_on = due_on if self.due_on is None else min(self.due_on, due_on)

    def of(self, context: Context, file: OutgoingFile) -> OutgoingFile:
        """The file, now that all of it has been read: it is due with the earliest signal that it tells of."""
        due_on = dispatch_due(context.clock.now(), context.terms, self.due_on)
        return replace(file, due_on=due_on, contents=self.signals)


def seal_manifest(context: Context, file: OutgoingFile, *, rows: int) -> OutgoingFile:
    """The manifest that comes and goes with a file of a municipality's outbox, which has so many lines."""
    manifest = render_manifest(
        name=file.name,
        size=file.size_bytes,
        sha256=file.sha256,
        rows=rows,
        municipality=file.municipality,
        created_at=context.clock.now(),
        expires_on=file.due_on,
    )
    return seal_file(
        context,
        (manifest,),
        partner_id=file.partner_id,
        box=file.box,
        name=manifest_name(file.name),
        kind=DispatchKind.MANIFEST,
        due_on=file.due_on,
        municipality=file.municipality,
        parent_id=file.id,
    )


def store_files(context: Context, conn: Connection, files: Iterable[OutgoingFile], now: datetime) -> None:
    """Store the rows and wrapped keys of sealed files: with the caller's transaction they are listed."""
    files = list(files)
    store_keys(
        context, conn, [FreshKey(file.data_key, file.id, file.partner_id, file.due_on) for file in files]
    )
    outgoing.add(
        conn,
        [
            {
                "id": file.id,
                "partner_id": file.partner_id,
                "box": file.box,
                "name": file.name,
                "kind": file.kind,
                "state": DispatchState.READY,
                "municipality": file.municipality,
                "delivery_id": file.delivery_id,
                "parent_id": file.parent_id,
                "blob": file.blob,
                "size_bytes": file.size_bytes,
                "sealed_bytes": file.sealed_bytes,
                "sealed_sha256": file.sealed_sha256,
                "created_at": now,
                "due_on": file.due_on,
            }
            for file in files
        ],
    )
    outgoing.add_contents(conn, {file.id: file.contents for file in files})


def post(context: Context, letters: Iterable[Letter]) -> Callable[[Connection, datetime], None]:
    """Seal letters, those that others belong to first; gives what stores their rows: with that they are listed."""
    files: dict[tuple[str, str], OutgoingFile] = {}
    for letter in letters:
        parent = files.get((letter.partner_id, letter.belongs_to or ""))
        files[letter.partner_id, letter.name] = seal_file(
            context,
            [letter.content],
            partner_id=letter.partner_id,
            box=letter.box,
            name=letter.name,
            kind=letter.kind,
            due_on=letter.due_on,
            municipality=letter.municipality,
            parent_id=None if parent is None else parent.id,
        )
    return lambda conn, now: store_files(context, conn, files.values(), now)
