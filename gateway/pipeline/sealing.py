"""Data keys at work: new ones for what is made, stored ones for what is read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from gateway.errors import KeyMissing
from gateway.pipeline.context import Context
from gateway.store import Connection, data_keys
from gateway.store.data_keys import StoredKey
from gateway.store.signals import Sealed
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.keyring import until_id
from gateway.vault.rows import RowSealer

#: The table that a sealed row is bound to.
SIGNAL = "signal"


def open_key(context: Context, stored: StoredKey) -> DataKey:
    """The data key again.

    Raises:
        KeyMissing: its day is over: the key that wraps it was destroyed.
    """
    wrapped = WrappedKey(
        key_id=stored.key_id,
        key_version=stored.key_version,
        wrapped=stored.wrapped,
        commitment=stored.commitment,
    )
    return unwrap(context.keyring, wrapped, partner=stored.partner_id, object_id=stored.object_id)


def store_key(
    context: Context,
    conn: Connection,
    data_key: DataKey,
    *,
    object_id: str,
    partner_id: str,
    due_on: date,
    municipality: str = "",
) -> int:
    """Wrap a data key under the key of its day and store it; its id."""
    key = wrap(context.keyring, until_id(due_on), data_key, partner=partner_id, object_id=object_id)
    return data_keys.add(
        conn,
        object_id=object_id,
        partner_id=partner_id,
        municipality=municipality,
        due_on=due_on,
        key_id=key.key_id,
        key_version=key.key_version,
        wrapped=key.wrapped,
        commitment=key.commitment,
    )


class Opener:
    """Opens sealed signals; each data key is unwrapped once."""

    def __init__(self, context: Context, conn: Connection) -> None:
        self._context, self._conn = context, conn
        self._sealers: dict[int, RowSealer] = {}

    def load(self, key_ids: Iterable[int | None]) -> None:
        """Make the data keys of these rows ready, in one query."""
        missing = {key_id for key_id in key_ids if key_id is not None} - self._sealers.keys()
        for key_id, stored in data_keys.by_id(self._conn, missing).items():
            self._sealers[key_id] = RowSealer(open_key(self._context, stored).row_key())

    def open(self, signal: Sealed) -> dict[str, Any]:
        """The sealed fields of a signal; none when its contents are not kept.

        Raises:
            KeyMissing: its key is gone.
            BlobDamaged: the row was altered.
        """
        if signal.sealed is None or signal.data_key_id is None:
            return {}
        if signal.data_key_id not in self._sealers:
            self.load((signal.data_key_id,))
        sealer = self._sealers.get(signal.data_key_id)
        if sealer is None:
            raise KeyMissing(f"data key {signal.data_key_id} of delivery {signal.delivery_id} is gone")
        return sealer.open(signal.sealed, table=SIGNAL, object_id=signal.delivery_id, row=signal.line)
