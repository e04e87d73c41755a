"""A partner as an adversary: names that lead out, and the files of others (spec 1, The boxes)."""

from __future__ import annotations

import os
import random
import statistics
import struct
import sys
import time
from pathlib import Path

import pytest

from gateway.domain.partner import Partner, Role
from gateway.domain.shelf import Document, Shown
from gateway.exchange import checksum
from gateway.exchange.context import Visit

CSV = b"signaal_id;postcode\nA1;9401AB\n"
#: Audit events of Python that name a path, and in which arguments.
TOUCHES = {
    "open": (0,),
    "sqlite3.connect": (0,),
    "shutil.rmtree": (0,),
    **dict.fromkeys(
        ["os.chmod", "os.chown", "os.listdir", "os.mkdir", "os.remove", "os.rmdir", "os.scandir"], (0,)
    ),
    **dict.fromkeys(["os.truncate", "os.utime", "os.setxattr", "os.getxattr", "os.walk", "glob.glob"], (0,)),
    **dict.fromkeys(["os.rename", "os.link", "os.symlink"], (0, 1)),
}
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"}

_watch: list[list[object]] = []


def _hook(event, arguments):
    if not _watch:
        return
    if event in STARTS:
        _watch[-1].append(event)
    for at in TOUCHES.get(event, ()):
        if isinstance(arguments[at], str | bytes | os.PathLike):
            _watch[-1].append(arguments[at])


@pytest.fixture(scope="module", autouse=True)
def watched():
    """The hook that Python tells what is opened; it can't be taken away again, only be told to look away."""
    sys.addaudithook(_hook)


def string(value):
    """A string of the protocol."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">I", len(raw)) + raw


def extended(name, *parts):
    """An extended request."""
    return 200, string(name), *parts


def attributes(flags, *numbers):
    """Attributes with 32-bit fields."""
    return struct.pack(f">{len(numbers) + 1}I", flags, *numbers)


def opening(flags):
    """OPEN with flags."""
    return lambda path: (3, string(path), struct.pack(">II", flags, 0))


#: Every request with a path. None of them receives anything by itself.
OPERATIONS = {
    "stat": lambda path: (17, string(path)),
    "lstat": lambda path: (7, string(path)),
    "open to read": opening(1),
    "open to replace": opening(2 | 16),
    "open to append": opening(2 | 4),
    "open to write": opening(2),
    "setstat": lambda path: (9, string(path), attributes(8, 1, 2)),
    "lsetstat": lambda path: (*extended("lsetstat@openssh.com", string(path)), attributes(4, 0o600)),
    "setstat size": lambda path: (9, string(path), struct.pack(">IQ", 1, 0)),
    "opendir": lambda path: (11, string(path)),
    "remove": lambda path: (13, string(path)),
    "mkdir": lambda path: (14, string(path), bytes(4)),
    "rmdir": lambda path: (15, string(path)),
    "rename": lambda path: (18, string(path), string("/inbox/taken.csv")),
    "posix-rename": lambda path: extended(
        "posix-rename@openssh.com", string(path), string("/inbox/taken.csv")
    ),
    "readlink": lambda path: (19, string(path)),
    "symlink": lambda path: (20, string(path), string("/inbox/link")),
    "symlink there": lambda path: (20, string("/etc"), string(path)),
    "hardlink": lambda path: extended("hardlink@openssh.com", string(path), string("/inbox/link")),
    "statvfs": lambda path: extended("statvfs@openssh.com", string(path)),
    "realpath": lambda path: (16, string(path)),
}

PIECES = [
    *(
        ".",
        "..",
        "...",
        "/",
        "//",
        "\\",
        "~",
        "~root",
        "$HOME",
        "${IFS}",
        "`id`",
        "%00",
        "%2e%2e",
        "%s",
        "*",
        "-rf",
    ),
    *(
        "\x00",
        "\n",
        "\r",
        "\x1b[2J",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\u200d",
        "e\u0301",
        "\ufb01",
        "\uff21",
        "\U0001d54f",
        "é",
        "🙂",
        "CON",
    ),
    *(
        "inbox",
        "outbox",
        "returns",
        "audit",
        "blobs",
        "keys",
        "config",
        "gateway.db",
        "gateway.db-wal",
        "host_key",
    ),
    *(
        "etc",
        "passwd",
        "proc",
        "self",
        "environ",
        "dev",
        "stdin",
        "tmp",
        "C:",
        "file:///",
        "a.csv",
        ".part",
        "x" * 199,
    ),
]


def names(count):
    """Arbitrary paths, the same ones at each run: pieces that have led out of other servers, and noise."""
    chance = random.Random(20261122)
    for number in range(count):
        pieces = [chance.choice(PIECES).encode() for _ in range(chance.randrange(1, 7))]
        if number % 3 == 0:
            pieces.insert(chance.randrange(len(pieces) + 1), chance.randbytes(chance.randrange(1, 9)))
        start = chance.choice([b"inbox/", b"/inbox/", b"/inbox/../", b"outbox/", b"/", b""])
        path = start + chance.choice([b"", b"", b"/"]).join(pieces)
        yield path * 60 if number % 500 == 0 else path


async def test_ten_thousand_names_lead_nowhere(quiet_house):
    """Whatever a client calls things, nothing is opened but blobs, database, ring and the day's key; nothing is started."""
    house = quiet_house
    house.place("assen", "outbox", "a.csv", CSV)
    day_key = house.path / "keys" / "ring" / "until-2026-12-06.key"
    allowed = {house.path / "blobs", house.path / "gateway.db", house.path / "gateway.window", day_key}
    operations = list(OPERATIONS.values())
    visit = Visit(partner=house.partners["assen"], fingerprint="", address="", client="", session_id="S1")

    async def ask(raw, number, path):
        reply = await raw.ask(*operations[number % len(operations)](path))
        if reply.kind == 102:
            await raw.close(reply.string)
        if number % 50 == 0:
            await raw.put(path, CSV)
            await raw.ask(18, string("/inbox/a.part"), string(path))
        if number % 200 == 0:
            text = path.decode(errors="replace")
            await checksum.run(house.exchange, visit, f"sha256sum -- '{text}'", _never)

    async with house.without_network("assen") as raw:
        for number, path in enumerate(names(60)):  # what is loaded at the first use
            await ask(raw, number, path)
        seen: list[object] = []
        _watch.append(seen)
        try:
            Path(os.devnull).read_bytes()  # noqa: ASYNC240
            for number, path in enumerate(names(10_000)):
                await ask(raw, number, path)
        finally:
            _watch.pop()
    touched = {Path(os.fsdecode(one)) for one in seen}
    assert Path(os.devnull) in touched, "the hook looks"
    # which keys there are is looked up in the folder; no name leads there
    known = {Path(os.devnull), house.path / "keys" / "ring"}
    outside = {path for path in touched - known if not {path, path.parent} & allowed}
    assert outside == set()
    assert len({path for path in touched if path.parent == house.path / "blobs"}) > 10
    assert house.states().count("arrived") > 10, "among them are names that a file can have"


async def _never():
    return False


class Scoped:
    """A shelf that shows a document to those whose scope has a municipality."""

    def listing(self, path, scope):
        return None if path or scope != ("GM0106",) else [Shown(name="hers.csv", size=3)]

    def document(self, path, scope):
        return Document(data=CSV) if tuple(path) == ("hers.csv",) and scope == ("GM0106",) else None


@pytest.fixture
def street(quiet_house):
    """Two partners of each role; each has a file of the name `hers.csv` wherever a file of its can be."""
    house = quiet_house
    house.exchange.shelves["log"] = Scoped()
    for partner_id, role, scope in (
        ("drenthe", Role.MUNICIPALITY, ()),
        ("one", Role.AUDITOR, ("GM0106",)),
        ("other", Role.AUDITOR, ("GM1731",)),
    ):
        house.partners[partner_id] = Partner(id=partner_id, name=partner_id, role=role, scope=scope)
    return house


#: Who has boxes of which kind; an auditor's box differs by scope.
PARTNERS = {
    "woonbron": ("inbox", "returns"),
    "vitens": ("inbox", "returns"),
    "assen": ("inbox", "outbox", "returns"),
    "drenthe": ("inbox", "outbox", "returns"),
    "one": ("audit/log",),
    "other": (),
}


def stored(house):
    """Everything there is of everybody."""
    kept = ("id", "partner_id", "state", "name_token", "is_hidden", "client_mode", "client_modified")
    found = [tuple(row[column] for column in kept) for row in house.rows()]
    return found, [house.dispatch(one)["removed_at"] for one in house.placed], house.blob_files()


@pytest.mark.parametrize("owner", [name for name, boxes in PARTNERS.items() if boxes])
async def test_nobody_sees_or_touches_what_is_anothers(street, owner):
    """Every other partner, every operation, every path of the owner: as if the name were nobody's, and all stays."""
    house, boxes = street, PARTNERS[owner]
    house.placed = [house.place(owner, box, "hers.csv", CSV) for box in boxes if box in {"outbox", "returns"}]
    async with house.without_network(owner) as mine:
        if "inbox" in boxes:
            await mine.put("/inbox/hers.csv", CSV)
            await mine.put("/inbox/hers.csv.part", CSV)
            under_way = (await mine.open("/inbox/open.csv")).string
            assert (await mine.write(under_way, 0, CSV)).status == 0
        before = stored(house)
        paths = {
            f"/{box}/{name}"
            for box in boxes
            for name in (("hers.csv", "hers.csv.part", "open.csv") if box == "inbox" else ("hers.csv",))
        }
        for viewer in PARTNERS.keys() - {owner}:
            visit = Visit(
                partner=house.partners[viewer], fingerprint="", address="", client="", session_id="S2"
            )
            async with house.without_network(viewer) as raw:
                for path in paths:
                    assert (await raw.stat(path)).status == 2
                    absent = path.replace("hers", "none").replace("open", "nope")
                    for name, request in OPERATIONS.items():
                        foreign, nobodys = await raw.ask(*request(path)), await raw.ask(*request(absent))
                        if name != "realpath":
                            assert foreign == nobodys, (viewer, name, path)
                        assert foreign.kind != 102, (viewer, name, path)
                    said = [
                        await checksum.run(house.exchange, visit, f"md5sum {one}", _never)
                        for one in (path, absent)
                    ]
                    assert said[0].err == said[1].err.replace(absent, path)
                    assert (said[0].out, said[1].out) == ("", "")
                for handle in range(1, 8):
                    number = struct.pack(">I", handle)
                    assert [(await raw.write(number, 0, b"x")).status, (await raw.close(number)).status] == [
                        4,
                        4,
                    ]
                for box in set(PARTNERS[viewer]) - {"audit/log"}:
                    assert await raw.ls(f"/{box}") == []
        assert stored(house) == before
        if "inbox" in boxes:
            assert (await mine.close(under_way)).status == 0


async def test_nothing_is_told_by_the_time_it_takes(street):
    """STAT, OPEN and REMOVE of another's name take as long as of nobody's: neither is the slower one of a pair."""
    house = street
    house.place("assen", "outbox", "hers.csv", CSV)
    house.place("drenthe", "outbox", "mine.csv", CSV)
    async with house.without_network("assen") as raw:
        for name in ("hers.csv", *(f"{number}.csv" for number in range(30))):
            await raw.put(f"/inbox/{name}", CSV)
    chance = random.Random(1)
    slower = {}
    async with house.without_network("drenthe") as raw:

        async def time_of(request):
            began = time.perf_counter()
            assert (await raw.ask(*request)).status == 2
            return time.perf_counter() - began

        for name, box in (
            ("stat", "inbox"),
            ("stat", "outbox"),
            ("open to read", "outbox"),
            ("remove", "inbox"),
        ):
            pairs = []
            for _ in range(250):
                paths = [f"/{box}/hers.csv", f"/{box}/none.csv"]
                first = chance.randrange(2)
                times = {one: await time_of(OPERATIONS[name](paths[one])) for one in (first, 1 - first)}
                pairs.append(times[0] > times[1])
            slower[name, box] = statistics.mean(pairs)
    # of 250 pairs that differ by chance alone, more than 70 or less than 30 in 100 come once in ten thousand million runs
    assert all(0.3 < share < 0.7 for share in slower.values()), slower
