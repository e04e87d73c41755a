"""What is stored many rows to a statement is stored as one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from gateway.domain.signal import SignalState
from gateway.store import places, signals
from gateway.store.engine import Store
from gateway.store.tables import SignalRow

NOW, TODAY = datetime(2026, 11, 3, tzinfo=UTC), date(2026, 11, 3)
KEY, LEVEL = "index-2026-11", "address"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database."""
    store = Store.create(tmp_path / "gateway.db")
    yield store
    store.close()


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_every_token_keeps_its_first_place(store: Store, count: int) -> None:
    """Whatever number of them comes at once; one that is known stays where it is."""
    kept = {os.urandom(16): number for number in range(count)}
    known = next(iter(kept))
    with store.write() as conn:
        places.keep(conn, KEY, LEVEL, {known: 12})
        places.keep(conn, KEY, LEVEL, kept)
    with store.read() as conn:
        assert places.find(conn, KEY, LEVEL, kept) == {**kept, known: 12}
        assert places.find(conn, KEY, "person", kept) == {}


def test_every_row_of_a_delivery_is_shown_and_no_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where rows of others lie between, and more than one statement is needed."""
    monkeypatch.setattr(signals, "_SHOWN_AT_ONCE", 3)
    ours, theirs = [1, 2, 3, 4, 8, 9, 10, 17], [5, 6, 7, 11, 18]
    with store.write() as conn:
        signals.stage(conn, [_row(number, "L1") for number in ours])
        signals.stage(conn, [_row(number, "L2") for number in theirs])
        _show(conn, "L1")
    assert _in_force(store) == ours
    with store.write() as conn:
        _show(conn, "L3")  # none
        _show(conn, "L2")
    assert _in_force(store) == sorted([*ours, *theirs])


def _show(conn: Connection, delivery_id: str) -> None:
    signals.show(conn, delivery_id, replaced=(), superseded=(), withdrawn=(), today=TODAY)


def _in_force(store: Store) -> list[int]:
    table = SignalRow.__table__  # type: ignore[attr-defined]
    with store.read() as conn:
        return list(conn.execute(select(table.c.id).where(table.c.in_force).order_by(table.c.id)).scalars())


def _row(number: int, delivery_id: str) -> tuple[Any, ...]:
    """A row that waits to be shown."""
    values: dict[str, Any] = {
        **dict.fromkeys(signals.STAGED, ""),
        **dict.fromkeys(("place_s1", "place_k1", "place_a1", "place_a2", "place_person"), number),
        **dict.fromkeys(("signalled_on", "due_on", "since", "contents_due_on"), TODAY),
        **dict.fromkeys(("first_received_at", "received_at"), NOW),
        **dict.fromkeys(("supply_ends_on", "passed_on_at", "place_p1", "place_as", "data_key_id"), None),
        **dict.fromkeys(("is_crisis", "warm_handover", "reported_before"), False),
        **dict.fromkeys(("first_arrival", "first_line", "line", "amount_cents"), 1),
        **dict.fromkeys(("content_token", "sealed"), b""),
        "id": number,
        "number": f"S{number}",
        "state": SignalState.WAITING.value,
        "delivery_id": delivery_id,
        "melding_id": None,
    }
    return tuple(values[name] for name in signals.STAGED)
