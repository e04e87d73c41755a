"""Rows that are fetched past SQLAlchemy hold what it would give (store/bulk.py)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import Table, bindparam, select

from gateway.store.bulk import as_list, fetch, insert_rows, listed
from gateway.store.engine import Store
from gateway.store.tables import MeldingRow

_MELDING: Table = MeldingRow.__table__  # type: ignore[attr-defined]
NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
_QUERY = (
    select(*_MELDING.columns)
    .where(
        listed(_MELDING.c.id),
        _MELDING.c.due_on >= bindparam("since", type_=_MELDING.c.due_on.type),
        _MELDING.c.municipality == "GM0014",
    )
    .order_by(_MELDING.c.id)
)


def test_what_is_fetched_is_what_is_executed(tmp_path: Path) -> None:
    """Days, instants, yes and no, and what is not there; values that the query itself has, and those that it is given."""
    rows = [
        {
            "id": f"M{number}",
            "municipality": code,
            "month": "2026-11",
            "level": "address",
            "place": number,
            "created_at": NOW,
            "touched_at": NOW if number % 2 else None,
            "is_urgent": bool(number % 2),
            "due_on": date(2027, 5, 2 + number),
        }
        for number, code in enumerate(("GM0014", "GM0014", "GM0034", "GM0014"))
    ]
    store = Store.create(tmp_path / "gateway.db")
    values = {"listed": as_list(["M0", "M1", "M2", "M3", "M4"]), "since": date(2027, 5, 3)}
    with store.write() as conn:
        insert_rows(conn, _MELDING, rows)
    with store.read() as conn:
        found = fetch(conn, _QUERY, values)
        assert found == [tuple(row) for row in conn.execute(_QUERY, values)]
        assert fetch(conn, _QUERY, values | {"listed": as_list([])}) == []
    store.close()
    assert [row[0] for row in found] == ["M1", "M3"]
    places = {column.name: place for place, column in enumerate(_MELDING.columns)}
    assert (found[0][places["touched_at"]], found[0][places["is_urgent"]]) == (NOW, True)
    assert found[0][places["due_on"]] == date(2027, 5, 3)
