"""Data keys at work: new ones for what is made, stored ones for what is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, NamedTuple, Protocol

from gateway.errors import KeyMissing
from gateway.pipeline.context import Context
from gateway.store import Connection, data_keys, signals
from gateway.store.data_keys import StoredKey
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.key_ids import until_id
from gateway.vault.objects import SIGNAL
from gateway.vault.rows import RowSealer


class Sealed(Protocol):
    """A stored row with sealed contents, or None where they are not kept."""

    @property
    def delivery_id(self) -> str:
        """The delivery that it came in: its data key's object."""

    @property
    def data_key_id(self) -> int | None:
        """Its data key."""

    @property
    def line(self) -> int:
        """Its line in that delivery."""

    @property
    def sealed(self) -> bytes | None:
        """The sealed fields."""


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


class FreshKey(NamedTuple):
    """A data key that is not stored yet, and what it is for; `municipality` of rows."""

    data_key: DataKey
    object_id: str
    partner_id: str
    due_on: date
    municipality: str = ""


def store_keys(context: Context, conn: Connection, keys: Sequence[FreshKey]) -> list[int]:
    """Wrap each data key under the key of its day and store it; their ids, in order."""
    if not keys:
        return []
    # in the transaction that stores them: no other version comes into force between the two
    wrapped = [
        wrap(
            context.keyring,
            until_id(key.due_on),
            key.data_key,
            partner=key.partner_id,
            object_id=key.object_id,
        )
        for key in keys
    ]
    return data_keys.add_all(
        conn,
        [
            {
                "object_id": key.object_id,
                "partner_id": key.partner_id,
                "municipality": key.municipality,
                "due_on": key.due_on,
                "key_id": each.key_id,
                "key_version": each.key_version,
                "wrapped": each.wrapped,
                "commitment": each.commitment,
            }
            for key, each in zip(keys, wrapped, strict=True)
        ],
    )


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
    (stored_id,) = store_keys(
        context, conn, [FreshKey(data_key, object_id, partner_id, due_on, municipality)]
    )
    return stored_id


class Opener:
    """Opens sealed rows; each data key is unwrapped once."""

    def __init__(self, context: Context, conn: Connection) -> None:
        self._context, self._conn = context, conn
        self._sealers: dict[int, RowSealer] = {}

    def load(self, key_ids: Iterable[int | None]) -> None:
        """Make the data keys of these rows ready, in one query; those whose key was destroyed are left out."""
        missing = {key_id for key_id in key_ids if key_id is not None} - self._sealers.keys()
        for key_id, stored in data_keys.by_id(self._conn, missing).items():
            with suppress(KeyMissing):  # `open` says so of the rows that it sealed
                self._sealers[key_id] = RowSealer(open_key(self._context, stored).row_key())

    def open(self, row: Sealed, table: str = SIGNAL) -> dict[str, Any]:
        """The sealed fields of a row; none when its contents are not kept.

        Raises:
            KeyMissing: its key is gone.
            BlobDamaged: the row was altered.
        """
        if row.sealed is None or row.data_key_id is None:
            return {}
        if row.data_key_id not in self._sealers:
            self.load((row.data_key_id,))
        sealer = self._sealers.get(row.data_key_id)
        if sealer is None:
            raise KeyMissing(f"data key {row.data_key_id} of delivery {row.delivery_id} is gone")
        return sealer.open(row.sealed, table=table, object_id=row.delivery_id, row=row.line)


class Opened(NamedTuple):
    """Signals, and their sealed fields under the wire's names; both by row id."""

    signals: dict[int, signals.Sealed]
    fields: dict[int, dict[str, Any]]


def open_signals(context: Context, conn: Connection, ids: Iterable[int]) -> Opened:
    """The signals of these rows, opened; raises as `Opener.open`."""
    found = {signal.id: signal for signal in signals.sealed(conn, ids)}
    opener = Opener(context, conn)
    opener.load(signal.data_key_id for signal in found.values())
    return Opened(found, {signal.id: opener.open(signal) for signal in found.values()})
