"""The invented month: the same each time, as large as it says, and understood by the gateway."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from datetime import date

from bench import month
from gateway.domain.partner import Partner, Role
from gateway.domain.signal import Signal
from gateway.files.csvfile import read_table
from gateway.files.signalfile import read_signals
from gateway.files.table import Limits
from gateway.settings.gemeenten import gemeente_names, pc4_gemeenten


def _rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode()), delimiter=";"))


def test_a_country_sends_as_many_signals_as_asked() -> None:
    """As many creditors and rows as a national month has."""
    creditors = month.national()
    assert len(creditors) == len({each.id for each in creditors}) == 400
    assert sum(each.rows for each in creditors) == 200_000
    assert max(each.rows for each in creditors) == creditors[0].rows == 50_000
    assert min(each.rows for each in creditors) >= 1
    assert {each.sector for each in creditors} == {"Zorg", "Energie", "Huur", "Water"}


def test_the_same_seed_gives_the_same_file() -> None:
    """On any machine: the mixing is fixed by a value."""
    creditor = month.alone(300)
    assert month.signal_file(creditor) == month.signal_file(creditor)
    assert month.signal_file(creditor) != month.signal_file(creditor, seed=2)
    assert month.mixed(1, 1731) == 4617425342372636040


def test_every_row_is_a_signal() -> None:
    """The gateway takes every row."""
    creditor = next(
        each for each in month.national(count=40, rows=4_000, largest=1_000) if each.sector == "Energie"
    )
    partner = Partner(id=creditor.id, name="", role=Role.CREDITOR, sectors=(creditor.sector,))
    content = month.signal_file(creditor, date(2026, 11, 1), day=5)
    file = read_signals(lambda: iter([content]), partner, date(2026, 11, 5), Limits(), read_table)
    rows = [row for batch in file.batches for row in batch.rows]
    assert len(rows) == creditor.rows
    assert all(isinstance(row, Signal) for row in rows)


def test_creditors_share_residents_and_every_municipality_has_some() -> None:
    """There is something to match, and everywhere."""
    reported: dict[str, set[str]] = defaultdict(set)
    places: Counter[str] = Counter()
    for creditor in month.national(count=40, rows=20_000, largest=5_000):
        rows = _rows(month.signal_file(creditor))
        assert len({row["klantnummer"] for row in rows}) == len(rows)
        for row in rows:
            reported[row["klantnummer"]].add(creditor.id)
            places[pc4_gemeenten()[row["postcode"][:4]][0]] += 1
    several = sum(len(creditors) > 1 for creditors in reported.values())
    assert 0.05 < several / len(reported) < 0.25
    assert places.keys() == gemeente_names().keys()


def test_months_and_parts_overlap_as_they_should() -> None:
    """Four in ten come back the next month; parts are of others."""
    creditor = month.alone(1_000)
    now, before, part = (
        {row["klantnummer"] for row in _rows(content)}
        for content in (
            month.signal_file(creditor),
            month.signal_file(creditor, date(2026, 10, 1)),
            month.signal_file(creditor, part=1),
        )
    )
    assert len(now & before) == 400
    assert not now & part


def test_the_table_has_every_address_that_is_sent() -> None:
    """Every address is found."""
    known = {(postcode, number): code for postcode, number, code in month.reference()}
    rows = _rows(month.signal_file(month.alone(2_000)))
    assert all((row["postcode"], int(row["huisnummer"])) in known for row in rows)


def test_a_landlord_stays_in_its_municipality() -> None:
    """All its customers live there."""
    rows = _rows(month.signal_file(month.landlord(300, "GM0014", residents=60_000), part=1))
    assert {pc4_gemeenten()[row["postcode"][:4]] for row in rows} == {("GM0014",)}
