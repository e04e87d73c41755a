"""A home with each signal many times: as many rows, each alone, and contents that open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bench import month
from bench.growth import AT
from bench.home import make_country, open_country, put
from bench.multiplied import multiply
from bench.work import do_all
from gateway.clock import SteppedClock
from gateway.settings import Home

_COPIES, _ROWS, _CITY = 4, 60, "GM0363"


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One of which each signal was taken in, and the one that has each four times."""
    folder = tmp_path_factory.mktemp("multiplied")
    # two creditors, who share residents
    creditors = [
        month.landlord(_ROWS // 2, _CITY, residents=20_000, name=name) for name in ("eerste", "tweede")
    ]
    home = make_country(folder / "first", creditors, municipalities=[_CITY], settle_s=0)
    gateway = open_country(home, SteppedClock(AT))
    for creditor in creditors:
        put(gateway.pipeline(), creditor.id, month.signal_file(creditor, day=30))
    do_all(gateway.pipeline())
    gateway.close()
    return home, multiply(home, folder / "many", _COPIES)


def _ask(home: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(Home(root=home).db)) as conn:
        return conn.execute(query).fetchall()


def test_every_signal_is_there_so_many_times(homes: tuple[Path, Path]) -> None:
    """With its token, its melding and its share of every month; and the first of each is as it was."""
    first, many = homes
    for table in ("signal", "melding", "index_token"):
        ((before,),), ((after,),) = (_ask(home, f"SELECT count(*) FROM {table}") for home in homes)
        assert after == before * _COPIES > 0, table
    for table in ("delivery", "data_key", "dispatch", "audit_entry"):
        assert _ask(first, f"SELECT * FROM {table}") == _ask(many, f"SELECT * FROM {table}"), table
    rows = "SELECT number, melding_id, place_a1, sealed FROM signal"
    assert set(_ask(first, rows)) < set(_ask(many, rows))


def test_each_keeps_to_its_own_places(homes: tuple[Path, Path]) -> None:
    """Signals share a melding, a place and a token as the first ones do, and with no other copy's."""
    first, many = homes
    shapes = (
        "SELECT count(DISTINCT number), count(DISTINCT melding_id), count(DISTINCT place_a1), count(DISTINCT place_s1) "
        "FROM signal"
    )
    assert [_COPIES * each for each in _ask(first, shapes)[0]] == list(_ask(many, shapes)[0])
    joined = (
        "SELECT count(DISTINCT number), count(*) FROM signal JOIN melding ON melding.id = signal.melding_id AND melding.place = signal.place_a1 "
        "JOIN index_token ON index_token.level = 'address' AND index_token.place = signal.place_a1"
    )
    assert _ask(many, joined) == [(_ROWS * _COPIES, _ROWS * _COPIES)]


def test_indices_are_those_of_a_new_database(homes: tuple[Path, Path]) -> None:
    """All of them, and the database is whole."""
    first, many = homes
    schema = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
    assert _ask(first, schema) == _ask(many, schema)
    assert _ask(many, "PRAGMA integrity_check") == [("ok",)]
    assert _ask(many, "PRAGMA journal_mode") == [("wal",)]
