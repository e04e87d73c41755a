"""`gateway reference`: the table of Statistics Netherlands; `gateway reroute`: what it tells of signals without it."""

from __future__ import annotations

import json
import time
import tracemalloc
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

import gateway as package
from gateway.errors import StoreError
from gateway.matching.municipality import read_reference
from gateway.settings.gemeenten import PC4_SOURCE
from gateway.store import reference
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
        (NEW + "1011ab;1;1;1;363\n", "line 4"),
        (NEW + "1011AB;0;1;1;363\n", "line 4"),
        (NEW + "1011AB;100000;1;1;363\n", "line 4"),
        (NEW + "1011AB;1;1;1;12345\n", "line 4"),
        (NEW + '"1011AB;1;1;1;363\n', "line 4"),
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
    assert not (home / "data/reference.new").exists()


def test_codes_of_merged_municipalities(gateway, home, table):
    """Codes that are not in the list of CBS are told."""
    gateway("init", home)
    loaded = gateway("reference", "load", table(NEW + "1000AA;1;1;1;9999\n", "utf-8"))
    assert "1 code not in the list of CBS: GM9999" in loaded.out


def test_no_file(gateway, home):
    """A file that is not there is named."""
    gateway("init", home)
    assert "can't be read: No such file" in gateway("reference", "load", "/nowhere/cbs.csv").err


def test_every_address_is_another(gateway, home, table):
    """First and last postcode, lowest and highest number, twice the same: each is found as it was written last."""
    rows = {("1000AA", 1): 34, ("1000AA", 99_999): 14, ("1000AB", 1): 1731, ("9999ZZ", 99_999): 72}
    twice = "".join(
        f"{at};{number};1;1;{code}\n"
        for old in (518, 0)
        for (at, number), now in rows.items()
        for code in [old or now]
    )
    gateway("init", home)
    loaded = gateway("reference", "load", table(NEW.splitlines()[0] + "\n" + twice, "utf-8"))
    assert loaded.out.startswith("✓ 4 addresses in ")
    assert find(home / "data/reference.db", rows) == {at: f"GM{code:04d}" for at, code in rows.items()}


def test_quotes(gateway, home, table):
    """A name with a separator in it, in quotes, moves no column."""
    gateway("init", home)
    text = 'PC6;Naam;"Huisnummer";Gemeente2018\n"8861AA";"Harlingen; stad";12;"72"\n'
    assert gateway("reference", "load", table(text, "iso-8859-1")).code == 0
    assert find(home / "data/reference.db", [("8861AA", 12)]) == {("8861AA", 12): "GM0072"}


def test_the_zip_as_it_comes(gateway, home, tmp_path):
    """CBS's zip holds lists of names too; the table is taken from it. Two tables, none, or damage: refused."""
    gateway("init", home)
    path = tmp_path / "2025-cbs-pc6huisnr20250801_buurt.zip"

    def pack(*names):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in names:
                packed.writestr(name, NEW if "pc6" in name else "GM_2025;Naam\n")

    for names in (("gem2025.csv",), ("pc6hnr1.csv", "pc6hnr2.csv")):
        pack(*names)
        assert "files in this zip are called pc6hnr*.csv" in gateway("reference", "load", path).err
    pack("gem2025.csv", "pc6hnr20250801_gwb.csv")
    assert gateway("reference", "load", path).out.startswith("✓ 2 addresses in 2 municipalities")
    at = path.read_bytes().index(b"pc6hnr20250801_gwb.csv") + 40
    path.write_bytes(path.read_bytes()[:at] + b"\xff\xff\xff" + path.read_bytes()[at + 3 :])
    damaged = gateway("reference", "load", path)
    assert (damaged.code, "nothing was changed" in damaged.err) == (2, True)
    assert find(home / "data/reference.db", [("9411AB", 1)]) == {("9411AB", 1): "GM1731"}


def test_while_it_is_loaded(gateway, home, table):
    """The old table is in use until the new one is whole; a second one is not begun meanwhile."""
    gateway("init", home)
    gateway("reference", "load", table(NEW, "utf-8"))
    path = home / "data/reference.db"

    def rows():
        yield "1011AB", 1, "GM0363"
        assert find(path, [("9411AB", 1), ("1011AB", 1)]) == {("9411AB", 1): "GM1731"}
        refused = gateway("reference", "load", table(NEW, "utf-8"))
        assert (refused.code, "is being loaded at this moment" in refused.err) == (1, True)
        yield "1011AB", 2, "GM0363"

    with reference.loading(path):
        reference.load(path, rows())
    assert find(path, [("9411AB", 1), ("1011AB", 2)]) == {("1011AB", 2): "GM0363"}


def test_a_file_that_is_no_table(home, gateway):
    """A damaged table is told with what to do; it does not read as an empty one."""
    gateway("init", home)
    (home / "data/reference.db").write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match="load it again: gateway reference load FILE"):
        find(home / "data/reference.db", [("9411AB", 1)])
    assert gateway("reference", "status").code == 11


#: Eight million in a minute are 133,000.
ROWS_A_SECOND = 134_000


def many(rows):
    """Lines of a table as CBS sorts it."""
    letters = [f"{a}{b}" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    yield (NEW.splitlines()[0] + "\r\n").encode()
    for at in range(rows):
        place, number = divmod(at, 17)
        postcode = f"{1000 + place // 260}{letters[place % 260]}"
        yield f"{postcode};{number + 1};0363AF01;0363AF;{place % 300 + 1:04}\r\n".encode()


def test_eight_million_in_a_minute(gateway, home, tmp_path):
    """At that pace at least, in processor time."""
    gateway("init", home)
    path = tmp_path / "cbs.csv"
    path.write_bytes(b"".join(many(300_000)))
    began = time.process_time()
    loaded = gateway("reference", "load", path)
    took_s = time.process_time() - began
    assert loaded.out.startswith("✓ 300,000 addresses in 300 municipalities")
    assert 300_000 / took_s > ROWS_A_SECOND


def test_memory_does_not_grow_with_the_table(tmp_path):
    """Rows are written as they are read."""

    def peak(rows):
        tracemalloc.start()
        try:
            reference.make(tmp_path / "reference.db", read_reference(many(rows)).rows)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1_000)
    assert peak(50_000) - peak(5_000) < 100_000


def test_status(gateway, home, table):
    """Which table, since when and what of; without one what is looked at instead, and whose that is."""
    gateway("init", home)
    before = gateway("reference", "status").out
    assert "none: gateway reference load FILE" in before
    assert "4,086 four-digit postcodes, 55 of them in two municipalities" in before
    assert PC4_SOURCE in before
    path = table(NEW + "1000AA;1;1;1;9999\n", "utf-8")
    gateway("reference", "load", path)
    shown = gateway("reference", "status").out
    for told in ("CBS 2025", "3 in 3 municipalities", sha256(path.read_bytes()).hexdigest(), "GM9999"):
        assert told in shown
    entries = gateway("audit", "show", "--json").out
    assert '"action": "reference.loaded"' in entries


def test_the_attribution_ships():
    """The licence of what ships asks to name whose it is: beside the data and on the screen."""
    read_me = (Path(package.__file__).parent / "data/README.md").read_text()
    source, licence = PC4_SOURCE.split(", ")
    assert source in read_me
    assert licence in read_me


def test_reroute_over_sftp(house):
    """Sent before the table was there: D40; then loaded and rerouted beside the daemon: in the outbox, with D10."""
    house.serve()
    # 9423 lies in two municipalities
    rows = ["s1;Huur;k1;Bakker;9423AB;1;600;60;J", "s2;Huur;k2;Smit;9423AB;2;700;60;J"]
    house.sftp("woonservice", f"put {house.write('signalen.csv', *rows)} inbox/")
    assert house.run("wait", "--idle", "--timeout", "60").code == 0
    assert house.collect("middendrenthe", "outbox") == {}
    assert (
        "2 signals without a municipality: gateway reroute looks again"
        in house.run("reference", "status").out
    )
    path = house.path / "cbs.csv"
    path.write_text("PC6;Huisnummer;Gemeente2025\n9423AB;1;1731\n9423AB;2;9999\n")
    assert (
        "2 signals wait for a municipality (D40): gateway reroute" in house.run("reference", "load", path).out
    )
    beforehand = house.run("reroute", "--dry-run")
    assert (
        "✓ 2 signals would find a municipality, 1 of them one that no partner serves (D41)" in beforehand.out
    )
    done = house.run("reroute")
    assert done.code == 0
    assert [line.split() for line in done.out.splitlines() if line.startswith("GM")] == [
        ["GM1731", "Midden-Drenthe", "1"],
        ["GM9999", "1", "D41:", "no", "partner", "serves", "it"],
    ]
    assert house.run("wait", "--idle", "--timeout", "60").code == 0
    (outbox,) = (
        text for name, text in house.collect("middendrenthe", "outbox").items() if name.endswith(".csv")
    )
    assert outbox.count(b"Bakker") == 1
    assert b"Smit" not in outbox
    statuses = b"".join(
        text for name, text in house.collect("woonservice", "returns").items() if "status" in name
    )
    told = sorted(line.split(b";")[:3:2] for line in statuses.splitlines() if line.startswith(b"s"))
    assert [each for each in told if each[0] != b"signaal_id"] == [
        [b"s1", b"D10"],
        [b"s1", b"D40"],
        [b"s2", b"D40"],
        [b"s2", b"D41"],
    ]
    entries = house.json("audit", "show")
    assert "signals.rerouted" in json.dumps(entries)
