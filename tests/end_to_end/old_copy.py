"""An old copy of the data, and a keyring of another day: what of the one opens with the other."""

from __future__ import annotations

import shutil
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import KeyMissing
from gateway.gateway import open_gateway
from gateway.pipeline.sealing import open_key
from gateway.store import data_keys
from gateway.store.tables import DataKeyRow


def openable(
    data: Path, keys: Path, clock: Clock, to: Path, month: str = "2026-11"
) -> tuple[list[object], int]:
    """Put both together in `to`, with the configuration beside the keys; what opens, and how much there is to open.

    Raises:
        AssertionError: the copy holds nothing that could be opened.
    """
    shutil.copytree(keys.parent / "config", to / "config")
    shutil.copytree(data, to / "data")
    shutil.copytree(keys, to / "keys")
    (to / "log").mkdir()
    gateway, opened = open_gateway(to, clock), []
    context = gateway.pipeline()
    with gateway.store.read() as conn:
        every = [row.id for row in conn.execute(DataKeyRow.__table__.select())]
        for stored in data_keys.by_id(conn, every).values():
            try:
                opened.append(open_key(context, stored))
            except KeyMissing:
                continue
    try:
        gateway.indexer.token(month, "a1", "GM1731", ("7938PL", "18"))
        opened.append("index")
    except KeyMissing:
        pass
    gateway.close()
    assert every
    return opened, len(every)
