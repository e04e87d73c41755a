"""Which municipality an address lies in."""

from __future__ import annotations

from datetime import date
from importlib.resources import files

import pytest

from gateway.matching import municipality
from gateway.matching.municipality import Found, Successor, municipality_of, predecessors, successors_of

DATA = files("gateway") / "data"


@pytest.mark.parametrize(
    ("hit", "by_pc4", "stated", "found"),
    [
        ("GM1731", ("GM0106",), "", Found("GM1731", False)),
        ("GM1731", ("GM0106",), "GM1731", Found("GM1731", False)),
        ("GM1731", ("GM0106", "GM1731"), "GM0106", Found("GM1731", True)),
        (None, ("GM0106",), "", Found("GM0106", False)),
        (None, ("GM0106",), "GM1731", Found("GM0106", True)),
        (None, ("GM0106", "GM1731"), "GM1731", Found("GM1731", False)),
        (None, ("GM0106", "GM1731"), "", Found(None, False)),
        (None, ("GM0106", "GM1731"), "GM0344", Found(None, True)),
        (None, (), "", Found(None, False)),
        (None, (), "GM0344", Found(None, False)),
    ],
    ids=[
        "the address decides",
        "the row agrees",
        "the row contradicts the address: W03",
        "one municipality has the four digits",
        "the row contradicts the postcode: W03",
        "the row chooses between two",
        "nothing chooses between two: D40",
        "the row names neither of two: D40 and W03",
        "an unknown postcode: D40",
        "an unknown postcode contradicts nothing",
    ],
)
def test_municipality_of(hit: str | None, by_pc4: tuple[str, ...], stated: str, found: Found) -> None:
    """The postcode decides; the row's own code only between the two that share four digits."""
    assert municipality_of(hit, by_pc4, stated) == found


def test_follow() -> None:
    """A merged municipality is its successor from that day on, also twice over; never in a circle."""
    successors = {
        "GM0003": Successor("GM0010", date(2026, 1, 1)),
        "GM0010": Successor("GM1979", date(2027, 1, 1)),
    }
    assert municipality.follow("GM0003", date(2025, 12, 31), successors) == "GM0003"
    assert municipality.follow("GM0003", date(2026, 1, 1), successors) == "GM0010"
    assert municipality.follow("GM0003", date(2027, 1, 1), successors) == "GM1979"
    circle = {"A": Successor("B", date(2026, 1, 1)), "B": Successor("A", date(2026, 1, 1))}
    assert municipality.follow("A", date(2026, 1, 1), circle) == "B"


def test_shipped_pc4() -> None:
    """The shipped table gives every municipality of four digits; 55 of them lie in more than one."""
    table = municipality.read_pc4((DATA / "pc4_gemeente.csv").read_text("utf-8").splitlines())
    assert table["1011"] == ("GM0363",)
    assert sum(len(codes) > 1 for codes in table.values()) == 55
    assert all(len(set(codes)) == len(codes) for codes in table.values())


def test_shipped_names() -> None:
    """The shipped list names 342 municipalities, among them all of the postcode table."""
    names = municipality.read_names((DATA / "gemeenten_342.csv").read_text("utf-8").splitlines())
    table = municipality.read_pc4((DATA / "pc4_gemeente.csv").read_text("utf-8").splitlines())
    assert len(names) == 342
    assert names["GM1731"] == "Midden-Drenthe"
    assert {code for codes in table.values() for code in codes} <= set(names)


@pytest.mark.parametrize(
    "header",
    [
        "PC6;Huisnummer;Buurt2025;Wijk2025;Gemeente2025",
        '\ufeff"PC6";"Huisnummer";"Buurt2017";"Wijk2017";"Gemeente2017"',
    ],
)
def test_reference(header: str) -> None:
    """The CBS table of any year; codes are padded to four digits, empty lines skipped."""
    lines = [header, "7938PL;18;17310001;173100;1731", "", "1011AB;1;30000;300;72"]
    table = municipality.read_reference(line.encode() for line in lines)
    assert list(table.rows) == [("7938PL", 18, "GM1731"), ("1011AB", 1, "GM0072")]
    assert str(table.year) in header


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1"),
        (["PC6;Huisnummer;Wijk2025"], "line 1"),
        (["PC6;Huisnummer;Gemeente2025", "7938PL;18;1731", "7938PL;x;1731"], "line 3"),
        (["PC6;Huisnummer;Gemeente2025", "7938PL;18"], "line 2"),
    ],
    ids=["empty", "no municipality", "no number", "short line"],
)
def test_unreadable_reference(lines: list[str], message: str) -> None:
    """A file that is something else is refused with its line."""
    with pytest.raises(ValueError, match=message):
        list(municipality.read_reference(line.encode() for line in lines).rows)


def test_who_became_part_of_whom():
    """By a day: predecessors through several mergers; successors whenever it is."""
    successors = {
        "GM0001": Successor("GM0002", date(2027, 1, 1)),
        "GM0002": Successor("GM0003", date(2028, 1, 1)),
        "GM0009": Successor("GM0003", date(2027, 1, 1)),
    }
    assert predecessors("GM0002", date(2026, 12, 31), successors) == ()
    assert predecessors("GM0002", date(2027, 1, 1), successors) == ("GM0001",)
    assert predecessors("GM0003", date(2027, 6, 1), successors) == ("GM0009",)
    assert predecessors("GM0003", date(2028, 1, 1), successors) == ("GM0001", "GM0002", "GM0009")
    # what it has of its own goes on to look back
    assert predecessors("GM0002", date(2028, 1, 1), successors) == ("GM0001",)
    assert successors_of("GM0001", successors) == ("GM0002", "GM0003")
    assert successors_of("GM0003", successors) == ()
