"""The data keys of a delivery's rows: one for each municipality and due day (spec 4, Keys)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from gateway.audit.log import record
from gateway.errors import KeyMissing
from gateway.pipeline.context import Context
from gateway.pipeline.sealing import FreshKey, open_key, store_keys
from gateway.store import Connection, data_keys, registers
from gateway.store.queue import Claimed, Decidable
from gateway.vault.datakey import DataKey
from gateway.vault.key_ids import until_id
from gateway.vault.rows import RowSealer


@dataclass(slots=True)
class RowKey:
    """The data key of this delivery's rows of one municipality and due day; `id` once it is stored."""

    municipality: str
    due_on: date
    data_key: DataKey
    sealer: RowSealer
    id: int | None = None


class RowKeys:
    """Makes them when they are first asked for; `store` stores those that are new."""

    def __init__(self, context: Context, delivery: Claimed | Decidable) -> None:
        self._context, self._delivery = context, delivery
        self._keys: dict[tuple[str, date], RowKey] = {}

    def load(self, conn: Connection, today: date) -> None:
        """Those of this delivery that were stored earlier are used again."""
        for stored in data_keys.of_rows(conn, self._delivery.id):
            if stored.due_on >= today:
                try:
                    key = open_key(self._context, stored)
                except KeyMissing:  # destroyed before its day
                    continue
                # of two, while a compromised key's rows are sealed again, the first is the one that stays
                self._keys.setdefault(
                    (stored.municipality, stored.due_on),
                    RowKey(stored.municipality, stored.due_on, key, RowSealer(key.row_key()), stored.id),
                )

    def get(self, municipality: str, due_on: date) -> RowKey:
        """The key of a municipality and due day."""
        key = self._keys.get((municipality, due_on))
        if key is None:
            data_key = DataKey.generate()
            key = self._keys[municipality, due_on] = RowKey(
                municipality, due_on, data_key, RowSealer(data_key.row_key())
            )
        return key

    def store(self, conn: Connection) -> None:
        """Store what was made since the last call, with the caller's transaction."""
        fresh = [key for key in self._keys.values() if key.id is None]
        delivery = self._delivery
        ids = store_keys(
            self._context,
            conn,
            [
                FreshKey(key.data_key, delivery.id, delivery.partner_id, key.due_on, key.municipality)
                for key in fresh
            ],
        )
        for key, key_id in zip(fresh, ids, strict=True):
            key.id = key_id

    def ensure_days(self) -> None:
        """Make the keys of days that lie beyond those that are made ahead every night, and register them.

        An exclusion may be held for 14 months: of its days few are ever used, so their keys are made when they are.
        """
        context, now = self._context, self._context.clock.now()
        wanted = sorted({until_id(key.due_on) for key in self._keys.values() if key.id is None})
        context.keyring.ensure(wanted)
        with context.store.read() as conn:
            unknown = registers.unknown_keys(conn, wanted)
        if not unknown:
            return
        with context.store.write() as conn:
            registers.register_keys(conn, unknown, now)
            for key_id in unknown:
                record(
                    conn,
                    action="key.made",
                    object_id=key_id,
                    origin="pipeline",
                    actor="gateway",
                    at=now,
                    node=context.node,
                )
