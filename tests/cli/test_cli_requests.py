"""`gateway requests list`: what waits, without a word on whom it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.store import requests


def test_requests_list(house):
    """Nothing at first; then number, state and times."""
    assert "No municipality asked anything yet." in house.run("requests", "list").out
    at = datetime(2026, 11, 3, 8, 0, tzinfo=UTC)
    waiting = {
        "id": "Q1",
        "partner_id": "middendrenthe",
        "number": "2026-0012",
        "ask": "WISSEN",
        "state": "waiting",
        "delivery_id": "L1",
        "line": 2,
        "received_at": at,
        "due_at": at + timedelta(days=1),
    }
    with house.opened() as opened, opened.store.write() as conn:
        requests.add(conn, [waiting])
    (told,) = house.json("requests", "list")
    assert (told["number"], told["state"], told["due_at"]) == ("2026-0012", "waiting", "2026-11-04T08:00:00Z")
    shown = house.run("requests", "list")
    for text in ("middendrenthe", "2026-0012", "WISSEN", "waits"):
        assert text in shown.out
