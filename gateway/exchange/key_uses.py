"""When each partner's key was used last: written beside the login, which waits for nothing."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from gateway import logs
from gateway.exchange.context import Exchange
from gateway.store import partner_keys

_log = logs.get("exchange")

#: How exact it is: a client that logs in every second costs no transaction each.
EVERY = timedelta(minutes=5)


class KeyUses:
    """What is still to be written, and when each key was written last by this process."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str], datetime] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, exchange: Exchange, partner_id: str, fingerprint: str) -> None:
        """A partner logged in with a key, now."""
        now, key = exchange.clock.now(), (partner_id, fingerprint)
        noted = self._noted.get(key)
        if noted is not None and now - noted < EVERY:
            return
        self._noted[key] = now
        task = asyncio.get_running_loop().create_task(self._write(exchange, key, now))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def settle(self) -> None:
        """Wait until everything that was noted is written."""
        await asyncio.gather(*self._writing)

    async def _write(self, exchange: Exchange, key: tuple[str, str], now: datetime) -> None:
        try:
            await asyncio.to_thread(_record, exchange, key, now)
        except Exception as exc:  # noqa: BLE001  # whoever logged in is in, also while the database is not to be had
            self._noted.pop(key, None)
            _log.error("key.unrecorded", partner_id=key[0], fingerprint=key[1], error_type=type(exc).__name__)


def _record(exchange: Exchange, key: tuple[str, str], now: datetime) -> None:
    with exchange.store.write() as conn:
        partner_keys.use(conn, *key, now)
