"""The same bytes of a signal file again: F08 (spec 1, Uploads 6)."""

from __future__ import annotations

from datetime import date

import pytest


def refusal(receipt):
    """The F code, or None."""
    return receipt["weigering"] and receipt["weigering"]["code"]


def test_the_same_file_is_refused(world, csv_file, row):
    """Once a row of it was accepted, the same file counts no rows; another partner's may be the same."""
    content = csv_file(row("a"))
    assert refusal(world.send("woonservice", content=content)) is None
    receipt = world.send("woonservice", content=content)
    assert refusal(receipt) == "F08"
    assert set(receipt["sommen"].values()) == {0}
    assert refusal(world.send("dezorgkas", content=content)) is None


def test_across_months_only_when_every_row_is_dated(world, csv_file, row):
    """An undated file of last month is new signals; a dated one was received before."""
    dated = csv_file(row("a", signaaldatum="2026-11-02"), row("b", signaaldatum="2026-11-02"))
    undated = csv_file(row("c", signaaldatum="2026-11-02"), row("d"))
    world.send("woonservice", content=dated)
    world.send("woonservice", content=undated)
    world.go_to(date(2026, 12, 1))
    assert refusal(world.send("woonservice", content=dated)) == "F08"
    assert refusal(world.send("woonservice", content=undated)) is None


@pytest.mark.parametrize(
    ("rejected", "code"), [({"bedrag": "0"}, None), ({"bedrag": "0", "signaaldatum": "2026-11-02"}, "F08")]
)
def test_rejected_rows_are_rows_too(world, csv_file, row, rejected, code):
    """A rejected row without a date may be another signal next month; with one it bears its own."""
    content = csv_file(row("a", signaaldatum="2026-11-02"), row("b", **rejected))
    world.send("woonservice", content=content)
    world.go_to(date(2026, 12, 1))
    assert refusal(world.send("woonservice", content=content)) == code


@pytest.mark.parametrize(
    "values",
    [
        {"postcode": "9999ZZ"},
        {"postcode": "1011AB", "huisnummer": "1"},
        {"bedrag": "0"},
    ],
    ids=["D40", "D41", "rejected"],
)
def test_a_file_without_an_accepted_row_may_come_again(world, csv_file, row, values):
    """Rows that went nowhere do not count as accepted."""
    content = csv_file(row("a", **values))
    for _ in range(2):
        assert refusal(world.send("woonservice", content=content)) is None


def test_a_refused_file_may_come_again(world, csv_file, row):
    """F03 twice is F03 twice."""
    content = csv_file(row("a", bsn="1"))
    assert [refusal(world.send("woonservice", content=content)) for _ in range(2)] == ["F03", "F03"]


def test_duplicates_are_not_accepted_rows(world, csv_file, row):
    """A file of which every row was D50 may come again."""
    world.send("woonservice", row("a"), row("b"))
    content = csv_file(row("a"))
    for _ in range(2):
        receipt = world.send("woonservice", content=content)
        assert refusal(receipt) is None
        assert receipt["sommen"]["dubbel"] == 1


def test_until_the_first_is_purged(world, csv_file, row):
    """When the earlier delivery is purged nothing of it is remembered."""
    content = csv_file(row("a", signaaldatum="2026-11-02"))
    world.send("woonservice", content=content)
    world.go_to(date(2027, 5, 4), hour=3)
    world.purge()
    assert refusal(world.send("woonservice", content=content)) is None
