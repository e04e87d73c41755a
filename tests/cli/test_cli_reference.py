"""`gateway reference load`: the table of Statistics Netherlands."""

from __future__ import annotations

import pytest

from gateway.store.reference import find

NEW = "PC6;Huisnummer;Buurt2025;Wijk2025;Gemeente2025\r\n9411AB;1;17310100;173101;1731\r\n8861AA;12;007201;0072;0072\r\n"
OLD = "PC6;Huisnummer;Buurt2019;Wijk2019;Gemeente2019;Naam\n8861AA;12;7201;72;72;Súdwest\n"


@pytest.fixture
def table(tmp_path):
    """Write a table; its path."""

    def write(text, encoding):
        path = tmp_path / "cbs.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_load(gateway, home, table, encoding):
    """Codes become GM and four digits; the count is told."""
    gateway("init", home)
    loaded = gateway("reference", "load", table(NEW, encoding))
    assert (loaded.code, loaded.out) == (0, "✓ 2 addresses in 2 municipalities, from cbs.csv\n")
    found = find(home / "data/reference.db", [("9411AB", 1), ("8861AA", 12), ("8861AA", 13)])
    assert found == {("9411AB", 1): "GM1731", ("8861AA", 12): "GM0072"}


def test_load_an_older_year(gateway, home, table):
    """ISO-8859-1 with plain integers is read; it replaces what was loaded before."""
    gateway("init", home)
    gateway("reference", "load", table(NEW, "utf-8"))
    assert gateway("reference", "load", table(OLD, "iso-8859-1")).out.startswith(
        "✓ 1 address in 1 municipality"
    )
    found = find(home / "data/reference.db", [("9411AB", 1), ("8861AA", 12)])
    assert found == {("8861AA", 12): "GM0072"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: columns PC6, Huisnummer and Gemeente<year> are needed"),
        ("PC6;Huisnummer;Gemeente\n", "line 1"),
        (NEW + "1011AB;x;1;1;363\n", "line 4"),
        (NEW + "1011AB;1\n", "line 4"),
    ],
)
def test_not_the_table(gateway, home, table, text, reason):
    """Another file is refused with its line, and the table loaded before stays."""
    gateway("init", home)
    gateway("reference", "load", table(NEW, "utf-8"))
    refused = gateway("reference", "load", table(text, "utf-8"))
    assert refused.code == 2
    assert reason in refused.err
    assert "nothing was changed" in refused.err
    assert find(home / "data/reference.db", [("9411AB", 1)]) == {("9411AB", 1): "GM1731"}


def test_codes_of_merged_municipalities(gateway, home, table):
    """Codes that are not in the list of CBS are told."""
    gateway("init", home)
    loaded = gateway("reference", "load", table(NEW + "1000AA;1;1;1;9999\n", "utf-8"))
    assert "1 code not in the list of CBS: GM9999" in loaded.out


def test_no_file(gateway, home):
    """A file that is not there is named."""
    gateway("init", home)
    assert "can't be read: No such file" in gateway("reference", "load", "/nowhere/cbs.csv").err
