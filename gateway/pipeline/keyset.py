"""The key of one received file, for who must open it without this software."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.audit.log import record
from gateway.errors import CommandError, KeyMissing
from gateway.pipeline.context import Context
from gateway.pipeline.deliveries import unknown
from gateway.pipeline.sealing import open_key
from gateway.store import data_keys, history
from gateway.vault import objects, tink


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What opens one sealed file: a keyset of Tink, and the associated data that binds it to its place."""

    blob: str
    associated: bytes
    keyset: str = field(repr=False)


def export(context: Context, delivery_id: str, *, actor: str) -> Exported:
    """The keyset of a received file. That it was given, and to whom, is on record before it is.

    Raises:
        CommandError: there is none, or its file is gone.
        BlobDamaged, WrongKey: the wrapped key is not what it was.
    """
    with context.store.write() as conn:
        known = history.delivery(conn, delivery_id)
        if known is None:
            raise unknown(delivery_id)
        stored = data_keys.of_object(conn, delivery_id)
        if stored is None or not known.blob:
            raise _gone(delivery_id)
        try:
            data_key = open_key(context, stored)
        except KeyMissing as exc:
            raise _gone(delivery_id) from exc
        record(
            conn,
            action="key.exported",
            object_id=delivery_id,
            origin="cli",
            actor=actor,
            at=context.clock.now(),
            node=context.node,
        )
    return Exported(
        blob=known.blob,
        associated=objects.received_file(partner=known.partner_id, delivery=delivery_id),
        keyset=tink.keyset(data_key.file_key(delivery_id)),
    )


def _gone(delivery_id: str) -> CommandError:
    return CommandError(f"the received file of {delivery_id} is not held, and its key neither")
