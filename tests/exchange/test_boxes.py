"""The boxes as a client sees them: what is there, what is not, and what may be done (spec 1)."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from datetime import timedelta

import pytest
import structlog
from sqlalchemy import update

from gateway.domain.delivery import DeliveryState
from gateway.errors import IllegalTransition
from gateway.store import deliveries
from gateway.store.engine import Store
from gateway.store.tables import Delivery

CSV = b"signaal_id;postcode\nA1;9401AB\n"
TIMES = struct.pack(">III", 8, 1_600_000_000, 1_600_000_001)


def string(value):
    """A string of the protocol."""
    return struct.pack(">I", len(value)) + value.encode()


@pytest.mark.parametrize(
    ("user", "boxes"),
    [
        ("woonbron", ["inbox", "returns"]),
        ("assen", ["inbox", "outbox", "returns"]),
        ("accountant", ["audit"]),
    ],
)
async def test_the_boxes_of_a_role(house, user, boxes):
    """Each role sees its own boxes, and they can be listed and opened."""
    async with house.raw(user) as raw:
        assert await raw.ls("/") == boxes
        for box in boxes:
            assert await raw.ls(box) == []
            assert (await raw.stat(box)).status == 0


async def test_nobody_sees_what_is_anothers(house):
    """The boxes of two partners have the same names and nothing in common."""
    theirs = house.place("vitens", "returns", "theirs.csv", CSV)
    house.place("woonbron", "returns", "ours.csv", CSV)
    async with house.raw("vitens") as raw:
        await raw.put("inbox/theirs.csv", CSV)
        await raw.put("inbox/theirs.csv.tmp", CSV)
    with structlog.testing.capture_logs() as lines:
        async with house.raw("woonbron") as raw:
            assert (await raw.ls("inbox"), await raw.ls("returns")) == ([], ["ours.csv"])
            for path in ("returns/theirs.csv", "inbox/theirs.csv", "inbox/theirs.csv.tmp"):
                assert (await raw.stat(path)).status == 2
                assert (await raw.open(path, 1)).status == 2
                assert (await raw.remove(path)).status == 2
            assert (await raw.rename("inbox/theirs.csv.tmp", "inbox/theirs.csv")).status == 2
    assert [line["event"] for line in lines if line["event"] != "session.ended"] == []
    assert house.states() == ["arrived", "staged"]
    assert house.dispatch(theirs)["removed_at"] is None


async def test_foreign_names_are_like_no_names(house):
    """For every operation, another partner's box or file and a thing that is not there get one answer."""
    house.place("assen", "outbox", "meldingen.csv", CSV)
    house.place("assen", "returns", "meldingen.csv", CSV)
    async with house.raw("vitens") as raw:
        await raw.put("inbox/hers.csv", CSV)

    async def answers(raw, path):
        found = []
        for kind, parts in (
            (17, ()),
            (7, ()),
            (3, (struct.pack(">II", 1, 0),)),
            (3, (struct.pack(">II", 0x1A, 0),)),
            (9, (TIMES,)),
            (11, ()),
            (13, ()),
            (14, (bytes(4),)),
            (15, ()),
            (18, (string("inbox/new.csv"),)),
            (19, (string("x"),)),
            (20, (string("x"),)),
        ):
            reply = await raw.ask(kind, string(path), *parts)
            found.append((reply.kind, reply.body))
        return found

    async with house.raw("woonbron") as raw:
        for foreign, absent in (
            ("outbox", "absent"),
            ("outbox/meldingen.csv", "absent/meldingen.csv"),
            ("returns/meldingen.csv", "returns/absent.csv"),
        ):
            assert await answers(raw, foreign) == await answers(raw, absent)
        # in its own inbox a name is its own, so only what does not write is compared
        for kind in (17, 13):
            hers = await raw.ask(kind, string("inbox/hers.csv"))
            assert hers == await raw.ask(kind, string("inbox/absent.csv"))
        assert (await raw.ask(18, string("inbox/hers.csv"), string("inbox/mine.csv"))).status == 2
    assert house.states() == ["arrived"]


async def test_setstat_is_recorded_in_the_inbox_only(house):
    """Times are echoed in the inbox and refused elsewhere; they move no term."""
    house.place("assen", "outbox", "meldingen.csv", CSV)
    async with house.raw("assen") as raw:
        await raw.put("inbox/a.csv", CSV)
        assert (await raw.ask(9, string("inbox/a.csv"), TIMES)).status == 0
        assert (await raw.ask(9, string("inbox/a.csv"), struct.pack(">IQ", 1, len(CSV)))).status == 0
        assert (await raw.ask(9, string("inbox/a.csv"), struct.pack(">IQ", 1, 0))).status == 4
        assert (await raw.ask(9, string("inbox/absent.csv"), TIMES)).status == 2
        assert (await raw.ask(9, string("inbox"), TIMES)).status == 0
        for path in ("/", "outbox", "outbox/meldingen.csv", "returns"):
            assert (await raw.ask(9, string(path), TIMES)).status == 3
        shown = (await raw.stat("inbox/a.csv")).body
    assert struct.unpack(">II", shown[-8:]) == (1_600_000_000, 1_600_000_001)
    (row,) = house.rows()
    assert row["received_at"] == house.clock.now()
    assert row["client_modified"] == 1_600_000_001


async def test_remove_hides_and_withdraws_nothing(house):
    """REMOVE of a received file hides every file of that name; each delivery goes on."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV)
        await raw.put("inbox/a.csv", CSV)
        assert (await raw.remove("inbox/a.csv")).status == 0
        assert (await raw.remove("inbox/a.csv")).status == 2
        assert await raw.ls("inbox") == []
    assert house.states() == ["arrived", "arrived"]
    assert house.received(house.rows()[1]) == CSV


async def test_remove_of_a_staged_file_gives_it_up(house):
    """REMOVE of a file that was never renamed is ABORTED, its bytes and key gone."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv.part", CSV)
        assert (await raw.remove("inbox/a.csv.part")).status == 0
    (row,) = house.rows()
    assert (row["state"], house.blob_files(), house.key_of("woonbron", row["id"])) == ("aborted", [], None)
    assert house.actions() == ["delivery.staged", "delivery.aborted"]


@pytest.mark.parametrize("posix", [False, True])
async def test_rename_onto_a_received_name(house, posix):
    """RENAME and posix-rename onto a name that was received earlier succeed; the listing shows the newest."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV)
        house.clock.step(timedelta(minutes=1))
        await raw.put("inbox/a.csv.tmp", CSV * 2)
        names = string("inbox/a.csv.tmp"), string("inbox/a.csv")
        renamed = (
            await raw.ask(200, string("posix-rename@openssh.com"), *names)
            if posix
            else await raw.ask(18, *names)
        )
        assert renamed.status == 0
        assert await raw.ls("inbox") == ["a.csv"]
        assert (await raw.stat("inbox/a.csv")).size == 2 * len(CSV)
    assert [(row["state"], row["arrival"]) for row in house.rows()] == [("arrived", 1), ("arrived", 2)]


async def test_renames_that_receive_nothing(house):
    """Temporary to temporary stays STAGED; final to temporary stays received; what is absent can't be renamed."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.tmp", CSV)
        assert (await raw.rename("inbox/a.tmp", "inbox/b.tmp")).status == 0
        await raw.put("inbox/c.csv", CSV)
        assert (await raw.rename("inbox/c.csv", "inbox/c.tmp")).status == 0
        assert (await raw.rename("inbox/absent.tmp", "inbox/d.csv")).status == 2
        assert (await raw.rename("inbox/b.tmp", "returns/b.csv")).status == 3
        assert (await raw.rename("inbox/b.tmp", "outside/b.csv")).status == 2
        assert (await raw.rename("inbox/b.tmp", "inbox/b\x07.csv")).status == 4
        assert await raw.ls("inbox") == ["b.tmp", "c.tmp"]
    assert house.states() == ["staged", "arrived"]
    assert house.wakes == [1]


async def test_a_temporary_file_sent_twice_is_one(house):
    """A temporary name sent again replaces the staged file: only the last can be renamed."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.tmp", CSV)
        await raw.put("inbox/a.tmp", CSV * 2)
        assert (await raw.rename("inbox/a.tmp", "inbox/a.csv")).status == 0
        assert (await raw.rename("inbox/a.tmp", "inbox/a.csv")).status == 2
    assert house.states() == ["aborted", "arrived"]
    assert house.received(house.rows()[1]) == CSV * 2
    assert len(house.blob_files()) == 1


async def test_a_temporary_file_renamed_onto_another_replaces_it(house):
    """RENAME of a staged file onto a staged name leaves one staged file: the one that was renamed."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/b.tmp", CSV)
        await raw.put("inbox/a.tmp", CSV * 2)
        assert (await raw.rename("inbox/a.tmp", "inbox/b.tmp")).status == 0
        assert (await raw.rename("inbox/b.tmp", "inbox/b.csv")).status == 0
        assert (await raw.stat("inbox/b.tmp")).status == 2
    assert house.states() == ["aborted", "arrived"]
    assert house.received(house.rows()[1]) == CSV * 2


async def test_names_are_found_across_the_end_of_a_month(house):
    """A file of the last evening of a month is found, listed and renamed in the next month."""
    house.clock.step(timedelta(days=8, hours=13))  # 30 November, 23:30 in Amsterdam
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV)
        await raw.put("inbox/b.csv.tmp", CSV)
        house.clock.step(timedelta(hours=1))
        assert (await raw.stat("inbox/a.csv")).size == len(CSV)
        assert await raw.ls("inbox") == ["a.csv", "b.csv.tmp"]
        assert (await raw.rename("inbox/b.csv.tmp", "inbox/b.csv")).status == 0
    first, second = house.rows()
    assert (first["name_key"], second["name_key"]) == ("index-2026-11", "index-2026-12")
    assert second["raw_due_on"].isoformat() == "2026-12-14", "the file's own term runs from CLOSE"


async def test_a_file_whose_key_is_gone_is_still_found(house):
    """After its contents were destroyed a name can't be listed, but STAT, RENAME and REMOVE still answer."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV)
        house.exchange.keyring.destroy("until-2026-12-06")
        assert await raw.ls("inbox") == []
        assert (await raw.stat("inbox/a.csv")).size == len(CSV)
        assert (await raw.rename("inbox/a.csv", "inbox/b.csv")).status == 0
        assert (await raw.remove("inbox/b.csv")).status == 0


async def test_a_damaged_name_hides_no_other(house):
    """A sealed name with a flipped bit is left out and logged; the rest of the inbox is listed."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV)
        await raw.put("inbox/b.csv", CSV)
        damaged = house.rows()[0]
        sealed = bytearray(damaged["name_sealed"])
        sealed[20] ^= 1
        table = Delivery.__table__
        with house.exchange.store.write() as conn:
            conn.execute(update(table).where(table.c.id == damaged["id"]).values(name_sealed=bytes(sealed)))
        with structlog.testing.capture_logs() as lines:
            assert await raw.ls("inbox") == ["b.csv"]
    assert [(line["event"], line["delivery_id"]) for line in lines][:1] == [("name.damaged", damaged["id"])]


async def test_a_listing_longer_than_one_reply(house):
    """READDIR goes on until every name was told, once."""
    names = [f"f{number:03}.csv" for number in range(300)]
    for name in names:
        house.place("assen", "outbox", name, b"")
    async with house.raw("assen") as raw:
        assert await raw.ls("outbox") == names


async def test_removing_from_outbox_and_returns(house):
    """REMOVE there means "I have it": hidden, collected, gone from listing and STAT; in audit it is denied."""
    for box in ("outbox", "returns"):
        one = house.place("assen", box, "a.csv", CSV)
        async with house.raw("assen") as raw:
            assert (await raw.remove(f"{box}/a.csv")).status == 0
            assert (await raw.remove(f"{box}/a.csv")).status == 2
            assert await raw.ls(box) == []
            assert (await raw.stat(f"{box}/a.csv")).status == 2
        row = house.dispatch(one)
        assert (row["state"], row["removed_at"], row["collected_at"]) == (
            "collected",
            *[house.clock.now()] * 2,
        )
    async with house.raw("accountant") as raw:
        assert (await raw.remove("audit/a.csv")).status == 3


async def test_read_only_boxes_take_nothing(house):
    """Outbox, returns and audit take no OPEN for writing, no RENAME and no folder."""
    house.place("assen", "outbox", "a.csv", CSV)
    async with house.raw("assen") as raw:
        for path in ("outbox/a.csv", "outbox/new.csv", "returns/new.csv"):
            assert (await raw.open(path)).status == 3
        assert (await raw.rename("outbox/a.csv", "outbox/b.csv")).status == 3
        for path in ("outbox/new", "inbox/new", "new"):
            assert (await raw.ask(14, string(path), bytes(4))).status == 3
        for path in ("/", "inbox", "outbox"):
            assert (await raw.ask(14, string(path), bytes(4))).status == 4
            assert (await raw.ask(15, string(path))).status == 3


async def test_names_that_no_file_can_have(house):
    """Control and bidi characters, too many characters and bytes that are no UTF-8 are refused, clearly."""
    async with house.raw("woonbron") as raw:
        for name in ("a\x00b", "a\x1b[2J", "a\u202egpj.csv", "a\u2066b", "x" * 201, "a\u2028b"):
            refused = await raw.open(f"inbox/{name}")
            assert (refused.status, "name" in refused.text) == (4, True)
            assert (await raw.stat(f"inbox/{name}")).status == 2
        assert (await raw.open(b"inbox/\xff\xfe.csv")).status == 2
        assert (await raw.open(b"inbox/" + b"a/" * 3000)).status == 2
        assert (await raw.put("inbox/" + "é" * 200, CSV)).status == 0
    assert house.states() == ["arrived"]


async def test_dots_lead_nowhere_else(house):
    """Paths are resolved in the text: `..` stays within the boxes of the partner."""
    async with house.raw("woonbron") as raw:
        assert (await raw.put("/inbox/../../../inbox/./a.csv", CSV)).status == 0
        assert (await raw.stat("../../inbox/a.csv")).size == len(CSV)
        assert (await raw.stat("/inbox/../../etc/passwd")).status == 2


def test_stored_state_is_what_the_table_says(quiet_house):
    """A change that the table of transitions does not list is refused by code, before the database is asked."""
    with quiet_house.exchange.store.write() as conn, pytest.raises(IllegalTransition):
        deliveries.abort(conn, "L1", DeliveryState.ARRIVED, at=quiet_house.clock.now(), reason="x")


async def test_a_database_that_would_keep_the_loop_waiting(house, monkeypatch):
    """STAT is answered all the same, by a thread that may wait."""

    @contextmanager
    def glance(_store):
        raise BlockingIOError
        yield

    monkeypatch.setattr(Store, "glance", glance)
    async with house.raw("woonbron") as raw:
        assert (await raw.stat("inbox/a.csv")).status == 2
        assert (await raw.put("inbox/a.csv", b"abc")).status == 0
        assert (await raw.stat("inbox/a.csv")).size == 3
