"""The answer to every operation, in every box, for every role: one table, asked cell by cell (spec 1, The boxes)."""

from __future__ import annotations

import struct

import pytest

from gateway.domain.shelf import Document, Shown

CSV = b"signaal_id;postcode\nA1;9401AB\n"

READ, WRITE, APPEND, CREATE, TRUNCATE, EXCLUSIVE = 1, 2, 4, 8, 16, 32

#: What a path is to its partner, and the path. `box` is every box to read from that the role has.
PLACES = {
    "root": "/",
    "inbox": "/inbox",
    "received": "/inbox/received.csv",
    "staged": "/inbox/staged.csv.part",
    "open": "/inbox/open.csv",
    "absent": "/inbox/absent.csv",
    "hers": "/inbox/hers.csv",
    "unusable": "/inbox/a\x07.csv",
    "box": "/{box}",
    "ready": "/{box}/ready.csv",
    "none": "/{box}/none.csv",
    "audit": "/audit",
    "shelf": "/audit/log",
    "document": "/audit/log/a.txt",
    "nothing": "/audit/log/none.txt",
    "nowhere": "/elsewhere",
    "below": "/elsewhere/x.csv",
}
BOXES = {"woonbron": {"inbox", "returns"}, "assen": {"inbox", "outbox", "returns"}, "accountant": {"audit"}}

# 0 OK, 2 no such file, 3 permission denied, 4 failure. A box that the role lacks is `nowhere`, and what is in
# it `below`.
TABLE = """
                    root inbox received staged open absent hers unusable box ready none audit shelf document nothing nowhere below
REALPATH            0    0     0        0      0    0      0    0        0   0     0    0     0     0        0       0       0
STAT                0    0     0        0      0    2      2    2        0   0     2    0     0     0        2       2       2
LSTAT               0    0     0        0      0    2      2    2        0   0     2    0     0     0        2       2       2
OPENDIR             0    0     2        2      2    2      2    2        0   2     2    0     0     2        2       2       2
OPEN read           3    3     3        3      3    2      2    2        3   0     2    3     2     0        2       2       2
OPEN put            3    3     0        0      0    0      0    4        3   3     3    3     3     3        3       3       2
OPEN scp            3    3     0        0      0    0      0    4        3   3     3    3     3     3        3       3       2
OPEN append         3    3     4        4      4    4      4    4        3   3     3    3     3     3        3       3       2
OPEN append+create  3    3     4        4      4    4      4    4        3   3     3    3     3     3        3       3       2
OPEN exclusive      3    3     4        4      4    0      0    4        3   3     3    3     3     3        3       3       2
OPEN write          3    3     4        4      4    2      2    4        3   3     3    3     3     3        3       3       2
OPEN overwrite      3    3     0        0      0    2      2    4        3   3     3    3     3     3        3       3       2
OPEN read+write     3    3     3        3      3    3      3    4        3   3     3    3     3     3        3       3       2
SETSTAT mode        3    0     0        0      0    2      2    2        3   3     3    3     3     3        3       2       2
SETSTAT times       3    0     0        0      0    2      2    2        3   3     3    3     3     3        3       2       2
SETSTAT owner       3    0     0        0      0    2      2    2        3   3     3    3     3     3        3       2       2
SETSTAT same size   3    0     0        0      0    2      2    2        3   3     3    3     3     3        3       2       2
SETSTAT less        3    0     4        4      4    2      2    2        3   3     3    3     3     3        3       2       2
SETSTAT more        3    0     4        4      4    2      2    2        3   3     3    3     3     3        3       2       2
lsetstat            3    0     0        0      0    2      2    2        3   3     3    3     3     3        3       2       2
REMOVE              3    3     0        0      0    2      2    2        3   0     2    3     3     3        3       2       2
RENAME              2    2     0        0      0    2      2    2        2   3     3    2     3     3        3       2       2
posix-rename        2    2     0        0      0    2      2    2        2   3     3    2     3     3        3       2       2
RENAME onto         2    2     0        0      0    2      2    2        2   3     3    2     3     3        3       2       2
MKDIR               4    4     3        3      3    3      3    3        4   3     3    4     3     3        3       3       3
RMDIR               3    3     3        3      3    3      3    3        3   3     3    3     3     3        3       3       3
READLINK            3    3     3        3      3    3      3    3        3   3     3    3     3     3        3       3       3
SYMLINK             3    3     3        3      3    3      3    3        3   3     3    3     3     3        3       3       3
hardlink            3    3     3        3      3    3      3    3        3   3     3    3     3     3        3       3       3
statvfs             0    0     0        0      0    2      2    2        0   0     2    0     0     0        2       2       2
"""

#: Of a handle of each kind. READ of what is empty is EOF, 1.
HANDLES = """
                    upload download document folder unknown
READ                3      0        0        3      4
READ past the end   3      1        1        3      4
WRITE               0      3        3        3      4
WRITE again         4      3        3        3      4
FSTAT               0      0        0        0      4
FSETSTAT mode       0      3        3        3      4
FSETSTAT times      0      3        3        3      4
FSETSTAT same size  0      3        3        3      4
FSETSTAT less       4      3        3        3      4
FSETSTAT more       4      3        3        3      4
fsync               0      0        0        0      4
READDIR             4      4        4        0      4
CLOSE               0      0        0        0      4
"""


def rows(table):
    """(row, column) -> status."""
    head, *lines = table.strip("\n").splitlines()
    found = {}
    for line in lines:
        name = line[:20].strip()
        found |= {
            (name, column): int(cell) for column, cell in zip(head.split(), line[20:].split(), strict=True)
        }
    return found


def string(value):
    """A string of the protocol."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">I", len(raw)) + raw


def extended(name, *parts):
    """The body of an extended request."""
    return 200, string(name), *map(string, parts)


MODE, TIMES = struct.pack(">II", 4, 0o100600), struct.pack(">III", 8, 1, 2)
OWNER = struct.pack(">III", 2, 1000, 1000)


def size(value):
    """Attributes that set a size."""
    return struct.pack(">IQ", 1, value)


def opening(*flags):
    """OPEN with flags."""
    return lambda path: (3, string(path), struct.pack(">II", sum(flags), 0))


def setting(attributes):
    """SETSTAT."""
    return lambda path: (9, string(path), attributes)


def beside(path, name):
    """Another name in the same folder."""
    return f"{path.rpartition('/')[0]}/{name}"


OPERATIONS = {
    "REALPATH": lambda path: (16, string(path)),
    "STAT": lambda path: (17, string(path)),
    "LSTAT": lambda path: (7, string(path)),
    "OPENDIR": lambda path: (11, string(path)),
    "OPEN read": opening(READ),
    "OPEN put": opening(WRITE, CREATE, TRUNCATE),
    "OPEN scp": opening(WRITE, CREATE),
    "OPEN append": opening(WRITE, APPEND),
    "OPEN append+create": opening(WRITE, APPEND, CREATE),
    "OPEN exclusive": opening(WRITE, CREATE, EXCLUSIVE),
    "OPEN write": opening(WRITE),
    "OPEN overwrite": opening(WRITE, TRUNCATE),
    "OPEN read+write": opening(READ, WRITE, CREATE),
    "SETSTAT mode": setting(MODE),
    "SETSTAT times": setting(TIMES),
    "SETSTAT owner": setting(OWNER),
    "SETSTAT same size": setting(size(len(CSV))),
    "SETSTAT less": setting(size(1)),
    "SETSTAT more": setting(size(2**40)),
    "lsetstat": lambda path: (*extended("lsetstat@openssh.com", path), MODE),
    "REMOVE": lambda path: (13, string(path)),
    "RENAME": lambda path: (18, string(path), string(beside(path, "renamed.csv"))),
    "posix-rename": lambda path: extended("posix-rename@openssh.com", path, beside(path, "renamed.csv")),
    "RENAME onto": lambda path: (18, string(path), string(beside(path, "target.csv"))),
    "MKDIR": lambda path: (14, string(path), MODE),
    "RMDIR": lambda path: (15, string(path)),
    "READLINK": lambda path: (19, string(path)),
    "SYMLINK": lambda path: (20, string(path), string(beside(path, "link.csv"))),
    "hardlink": lambda path: extended("hardlink@openssh.com", path, beside(path, "link.csv")),
    "statvfs": lambda path: extended("statvfs@openssh.com", path),
}
#: Those that leave everything as it was: they may be asked of the same files, one after the other.
HARMLESS = {name for name in OPERATIONS if name.isupper() and name not in {"REMOVE", "RENAME"}} | {
    "statvfs",
    "hardlink",
    "OPEN read",
}


class OneDocument:
    """A shelf with one document."""

    def listing(self, path, _scope):
        return None if path else [Shown(name="a.txt", size=3)]

    def document(self, path, _scope):
        return Document(data=b"abc") if tuple(path) == ("a.txt",) else None


def stored(house):
    """All that a refused request must leave as it was."""
    kept = ("id", "state", "name_token", "is_hidden", "client_mode", "client_modified")
    # a file that is open has its row when a look finds it, whatever is asked
    rows = [row for row in house.rows() if row["state"] != "receiving"]
    found = {row["id"]: tuple(row[column] for column in kept) for row in rows}
    return found, [house.dispatch(one)["removed_at"] for one in house.placed]


async def furnish(house, raw, user):
    """Make each place what its name says, whatever the operation before left of it."""
    for one in house.placed:
        house.set_dispatch(one, removed_at=None, collected_at=None, state="ready")
    if "inbox" not in BOXES[user]:
        return
    for name in await raw.ls("/inbox"):
        assert (await raw.remove(f"/inbox/{name}")).status == 0
    for name in ("received.csv", "staged.csv.part", "target.csv"):
        assert (await raw.put(f"/inbox/{name}", CSV)).status == 0
    handle = (await raw.open("/inbox/open.csv")).string
    assert (await raw.write(handle, 0, CSV)).status == 0


def paths(user):
    """Each path that is asked of a user, and its column of the table."""
    boxes = sorted(BOXES[user] & {"outbox", "returns"}) or ["outbox"]
    for place, pattern in PLACES.items():
        for box in boxes if "{box}" in pattern else [""]:
            path = pattern.format(box=box)
            is_lacking = path.split("/")[1] in {"inbox", "outbox", "returns", "audit"} - BOXES[user]
            lacking = "nowhere" if path.count("/") == 1 else "below"
            yield path, lacking if is_lacking else place


@pytest.mark.parametrize("user", BOXES)
async def test_every_operation_everywhere(house, user):
    """Each cell of the table is the status that a partner of this role gets; a refusal changes nothing."""
    house.exchange.shelves["log"] = OneDocument()
    house.placed = [
        house.place(user, box, name, CSV)
        for box in sorted(BOXES[user] & {"outbox", "returns"})
        for name in ("ready.csv", "target.csv")
    ]
    house.place("vitens", "returns", "none.csv", CSV)
    async with house.raw("vitens") as raw:
        await raw.put("/inbox/hers.csv", CSV)
    wrong, expected = {}, rows(TABLE)
    async with house.raw(user) as harmless:
        await furnish(house, harmless, user)
        for operation in sorted(OPERATIONS, key=lambda name: name not in HARMLESS):
            request = OPERATIONS[operation]
            if operation in HARMLESS:
                wrong |= await answers(house, harmless, user, operation, request, expected)
            else:
                async with house.raw(user) as raw:
                    await furnish(house, raw, user)
                    wrong |= await answers(house, raw, user, operation, request, expected)
    assert wrong == {}


async def answers(house, raw, user, operation, request, expected):
    """The cells of a row that are not as the table says: what was said, and what should have been."""
    wrong, before = {}, stored(house)
    cells = [(path, expected[operation, column]) for path, column in paths(user)]
    for path, should_be in sorted(cells, key=lambda cell: cell[1] == 0):  # those that are refused first
        if should_be == 0 and operation not in HARMLESS:
            break
        reply = await raw.ask(*request(path))
        if reply.status != should_be:
            wrong[operation, path] = (reply.status, should_be)
        if reply.kind == 102:
            await raw.close(reply.string)
    if stored(house) != before:
        wrong[operation, "a refusal"] = "something changed"
    for path, should_be in cells:
        if should_be == 0 and operation not in HARMLESS:
            reply = await raw.ask(*request(path))
            if reply.status != 0:
                wrong[operation, path] = (reply.status, should_be)
    return wrong


async def test_every_operation_on_every_handle(house):
    """What may be asked of an open file to write, to read, of the auditor, of a folder, and of no handle."""
    house.exchange.shelves["log"] = OneDocument()
    house.place("assen", "outbox", "ready.csv", CSV)
    operations = {
        "READ": lambda handle: (5, handle, struct.pack(">QI", 0, 100)),
        "READ past the end": lambda handle: (5, handle, struct.pack(">QI", 10_000, 100)),
        "WRITE": lambda handle: (6, handle, struct.pack(">Q", len(CSV)), string("more")),
        "WRITE again": lambda handle: (6, handle, struct.pack(">Q", 0), string("again")),
        "FSTAT": lambda handle: (8, handle),
        "FSETSTAT mode": lambda handle: (10, handle, MODE),
        "FSETSTAT times": lambda handle: (10, handle, TIMES),
        "FSETSTAT same size": lambda handle: (10, handle, size(len(CSV))),
        "FSETSTAT less": lambda handle: (10, handle, size(1)),
        "FSETSTAT more": lambda handle: (10, handle, size(1000)),
        "fsync": lambda handle: (200, string("fsync@openssh.com"), handle),
        "READDIR": lambda handle: (12, handle),
        "CLOSE": lambda handle: (4, handle),
    }
    found = {}
    async with house.raw("assen") as raw, house.raw("accountant") as auditor:
        for name, request in operations.items():
            upload = (await raw.open("/inbox/a.csv")).string
            await raw.write(upload, 0, CSV)
            handles = {
                "upload": (raw, upload),
                "download": (raw, (await raw.open("/outbox/ready.csv", READ)).string),
                "document": (auditor, (await auditor.open("/audit/log/a.txt", READ)).string),
                "folder": (raw, (await raw.ask(11, string("/"))).string),
                "unknown": (raw, b"none"),
            }
            for kind, (session, handle) in handles.items():
                found[name, kind] = (await session.ask(*request(string(handle)))).status
                await session.close(handle)
    assert found == rows(HANDLES)


@pytest.mark.parametrize("user", BOXES)
async def test_what_is_not_offered(house, user):
    """The version is 3 whatever is asked, four extensions are announced, any other and any other request is unsupported."""
    async with house.raw(user) as raw:
        for version in (0, 3, 6, 2**32 - 1):
            reply = await raw.init(version)
            assert reply[:5] == b"\x02" + struct.pack(">I", 3)
            names = (
                "posix-rename@openssh.com",
                "fsync@openssh.com",
                "limits@openssh.com",
                "statvfs@openssh.com",
            )
            assert reply[5:] == b"".join(
                string(name) + string("2" if "vfs" in name else "1") for name in names
            )
        for name in (
            "home-directory",
            "copy-data",
            "check-file-name",
            "fstatvfs@openssh.com",
            "users-groups-by-id",
            "",
        ):
            assert (await raw.ask(200, string(name), string("/inbox"))).status == 8
        for kind in (0, 21, 22, 23, 99, 101, 201, 255):
            assert (await raw.ask(kind, string("/inbox"))).status == 8
