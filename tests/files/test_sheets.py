"""Cells of a worksheet as text."""

from datetime import date, datetime, time, timedelta

import pytest

from gateway.files.sheet import LOST, cell_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Jansen", "Jansen"),
        ("", ""),
        (850.0, "850"),
        (850.3000000000001, "850.3"),
        (849.9999999999999, "850"),
        (1234.5, "1234.5"),
        (-3.0, "-3"),
        (0.1 + 0.2, "0.3"),
        (20261122.0, "20261122"),
        (999999999999999.0, "999999999999999"),
        (True, "true"),
        (date(2026, 11, 22), "2026-11-22 00:00:00"),
        (datetime(2026, 11, 22, 13, 5), "2026-11-22 00:00:00"),  # noqa: DTZ001  # a worksheet has no zones
    ],
)
def test_what_a_person_saw(value, text):
    """Numbers, days and yes or no, as a CSV file would have them."""
    assert cell_text(value) == text


@pytest.mark.parametrize(
    "value", [1.2345678901234567e19, 1e15, float("inf"), float("nan"), time(12, 3), timedelta(1)]
)
def test_what_is_lost(value):
    """Numbers that lost digits, and times of day, are no text that a column accepts."""
    assert cell_text(value) == LOST
