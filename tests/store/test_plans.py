"""What is asked at every step or file is found by an index of its own, however much there is (spec 5, growth)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.domain.policy import Grouping
from gateway.store import meldingen, signals
from gateway.store.engine import Store
from gateway.store.meldingen import Span
from gateway.store.prepared import driver

NOW, TODAY = datetime(2026, 11, 3, tzinfo=UTC), date(2026, 11, 3)
SPAN = Span("GM1001", "2026-11", "2027-04")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database."""
    store = Store.create(tmp_path / "gateway.db")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (meldingen.waiting, "melding_touched"),
        (lambda conn: meldingen.waiting(conn, only_urgent=True), "melding_urgent"),
        (lambda conn: meldingen.touched(conn, ["GM1001"], only_urgent=False), "melding_touched"),
        (lambda conn: meldingen.touched(conn, ["GM1001"], only_urgent=True), "melding_urgent"),
        (lambda conn: meldingen.touch(conn, {SPAN: {1, 2}}, NOW), "melding_place"),
        (lambda conn: meldingen.mark_urgent(conn, ["GM1001", "GM1002"], TODAY), "melding_touched"),
        (
            lambda conn: meldingen.mark_urgent(conn, ["GM1001"], TODAY, among=["M1"]),
            "sqlite_autoindex_melding_1",
        ),
        (lambda conn: list(signals.unpublished(conn, "GM1001", TODAY)), "signal_unpublished"),
        (lambda conn: list(signals.active(conn, Grouping.ADDRESS, [1, 2], TODAY)), "signal_a1"),
        (
            # rows of the month itself are not read
            lambda conn: list(signals.amounts(conn, [1, 2], "2026-11", TODAY)),
            "signal_k1 (place_k1=? AND month<?)",
        ),
        (lambda conn: list(meldingen.matches(conn, ["GM1001"], "2026-11")), "sqlite_autoindex_melding_2"),
    ],
    ids=[
        *(
            "waiting",
            "urgent_waiting",
            "touched",
            "urgent_touched",
            "touch",
            "mark_urgent",
            "mark_urgent_among",
        ),
        *("unpublished", "active", "amounts", "matches"),
    ],
)
def test_finds_by_its_index(store: Store, ask: Callable[[Connection], object], index: str) -> None:
    """The first statement of each is looked up, as SQLite plans it without statistics."""
    asked: list[str] = []
    with store.write() as conn:
        # by the driver: some statements go past SQLAlchemy
        driver(conn).set_trace_callback(asked.append)
        ask(conn)
        driver(conn).set_trace_callback(None)
        plan = driver(conn).execute(f"EXPLAIN QUERY PLAN {asked[0]}").fetchall()
    assert f" INDEX {index}" in plan[0][3]
