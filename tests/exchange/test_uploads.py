"""When is a file received: at an explicit CLOSE of all of its bytes, and never otherwise (spec 1)."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import local_day, month_of
from gateway.domain.partner import Mode
from gateway.errors import StoreError
from gateway.exchange.context import Visit
from gateway.exchange.protocol import Refused
from gateway.exchange.upload import Upload, abort_stale, abort_unfinished, remove_left
from gateway.vault import blobs, direct
from gateway.vault.key_ids import index_id, until_id

CSV = b"signaal_id;postcode\nA1;9401AB\n"


async def test_a_cut_connection_receives_nothing(house):
    """A connection that is lost at half the file leaves an ABORTED row, no bytes and no key."""
    async with house.connect("woonbron") as connection:
        sftp = await connection.start_sftp_client()
        file = await sftp.open("inbox/half.csv", "wb")
        await file.write(os.urandom(300_000))
        await house.until(lambda: house.states() == ["receiving"])
        assert len(house.blob_files()) == 1
        connection.abort()
    await house.until(lambda: house.states() == ["aborted"])
    await house.until(lambda: house.blob_files() == [])
    (row,) = house.rows()
    assert (row["blob"], row["name_sealed"], row["name_token"], house.key_of("woonbron", row["id"])) == (
        None,
        None,
        None,
        None,
    )
    assert house.actions() == ["delivery.aborted"]
    assert house.wakes == []


async def test_a_killed_client_receives_nothing(house):
    """A client killed in the middle of a large file has sent nothing."""
    source = house.file("groot.csv", bytes(40 * 1024 * 1024))
    process = await asyncio.create_subprocess_exec(
        "scp", "-l", "80000", *house.ssh_options("woonbron"), str(source), "127.0.0.1:inbox/"
    )
    await house.until(lambda: house.states() == ["receiving"])
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await house.until(lambda: house.states() == ["aborted"] and house.blob_files() == [])


async def test_the_end_of_the_channel_is_no_close(house):
    """A client that ends its channel with a file open, politely, has not closed it; the status is 0."""
    async with house.connect("woonbron") as connection:
        process = await connection.create_process(subsystem="sftp", encoding=None)
        raw_open = bytes([3]) + struct.pack(">II", 1, 9) + b"inbox/a.c" + struct.pack(">II", 0x1A, 0)
        write = (
            bytes([6]) + struct.pack(">II", 2, 4) + b"\0\0\0\x01" + bytes(8) + struct.pack(">I", 3) + b"abc"
        )
        for packet in (b"\x01\0\0\0\x03", raw_open, write):
            process.stdin.write(struct.pack(">I", len(packet)) + packet)
        process.stdin.write_eof()
        done = await process.wait()
        assert done.exit_status == 0
    await house.until(lambda: house.states() == ["aborted"])
    assert house.blob_files() == []


async def test_a_file_of_a_partner_on_trial_is_held_a_day(house):
    """The row says that it was a trial when it was received; its key is that of the next day."""
    house.partners["woonbron"] = replace(house.partners["woonbron"], mode=Mode.TRIAL)
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        await raw.write(handle, 0, CSV)
        await raw.close(handle)
    (row,) = house.rows()
    assert (row["is_trial"], row["raw_due_on"]) == (True, local_day(house.clock.now()) + timedelta(days=1))


async def test_the_key_is_stored_at_close_and_not_before(house):
    """While a file comes in, its data key is nowhere but in memory; at CLOSE it is wrapped until its last day."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        await raw.write(handle, 0, CSV)
        await house.until(lambda: house.states() == ["receiving"])
        (row,) = house.rows()
        assert house.key_of("woonbron", row["id"]) is None
        await raw.close(handle)
    (row,) = house.rows()
    assert house.key_of("woonbron", row["id"]) is not None
    assert row["raw_due_on"] == local_day(house.clock.now()) + timedelta(days=14)
    assert house.received(row) == CSV


async def test_writes_out_of_order(house):
    """Writes within 8 MiB may come in any order; a later write over bytes that wait wins."""
    data = os.urandom(400_000)
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        assert (await raw.write(handle, 300_000, data[300_000:])).status == 0
        assert (await raw.write(handle, 100_000, bytes(50_000))).status == 0
        assert (await raw.write(handle, 100_000, data[100_000:300_000])).status == 0
        assert (await raw.ask(8, struct.pack(">I", 4) + handle)).size == 400_000
        assert (await raw.write(handle, 0, data[:100_000])).status == 0
        assert (await raw.close(handle)).status == 0
    assert house.received(house.rows()[0]) == data


async def test_a_hole_refuses_the_close(house):
    """A file with a part missing is not received."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        await raw.write(handle, 10, CSV)
        closed = await raw.close(handle)
        assert (closed.status, "missing" in closed.text) == (4, True)
        assert (await raw.stat("inbox/a.csv")).status == 2
    assert (house.states(), house.blob_files()) == (["aborted"], [])


@pytest.mark.parametrize("offset", [0, 5, len(CSV) - 1])
async def test_rewriting_what_is_sealed_is_refused(house, offset):
    """A write over bytes that were sealed fails, and so does the CLOSE: OK would not be true."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        await raw.write(handle, 0, CSV)
        assert (await raw.write(handle, offset, b"overwritten")).status == 4
        assert (await raw.close(handle)).status == 4
    assert house.states() == ["aborted"]


async def test_a_write_too_far_ahead_is_refused(house):
    """The window is 8 MiB from the first missing byte."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        assert (await raw.write(handle, 8 * 1024 * 1024 - 3, b"abc")).status == 0
        assert (await raw.write(handle, 8 * 1024 * 1024, b"d")).status == 4
        assert (await raw.close(handle)).status == 4
    assert house.states() == ["aborted"]


async def test_sizes_that_fsetstat_may_set(house):
    """FSETSTAT of the size received is OK; shorter or longer is refused, and nothing is received."""
    for size, status in ((len(CSV), 0), (len(CSV) - 1, 4), (len(CSV) + 1, 4), (0, 4)):
        async with house.raw("woonbron") as raw:
            handle = (await raw.open("inbox/a.csv")).string
            await raw.write(handle, 0, CSV)
            said = await raw.ask(10, struct.pack(">I", 4) + handle, struct.pack(">IQ", 1, size))
            assert said.status == status
            assert (await raw.close(handle)).status == status
    assert house.states() == ["arrived", "aborted", "aborted", "aborted"]


async def test_the_size_limit(quiet_house, listening):
    """A file of exactly the limit is received; one byte more fails in WRITE, and again in CLOSE."""
    quiet_house.exchange = replace(quiet_house.exchange, most_file_bytes=1000)
    async with listening(quiet_house) as house, house.raw("woonbron") as raw:
        assert (await raw.put("inbox/a.csv", bytes(1000))).status == 0
        handle = (await raw.open("inbox/b.csv")).string
        refused = await raw.write(handle, 0, bytes(1001))
        assert (refused.status, "1000 bytes" in refused.text) == (4, True)
        assert (await raw.write(handle, 0, b"x")).status == 4
        assert (await raw.close(handle)).status == 4
    assert house.states() == ["arrived", "aborted"]
    assert len(house.blob_files()) == 1


async def test_exclusive_open_of_a_listed_name_fails(house):
    """EXCL refuses a name that is listed or under way, and nothing else."""
    async with house.raw("woonbron") as raw:
        assert (await raw.open("inbox/a.csv", 0x3A)).status == 0
        assert (await raw.open("inbox/a.csv", 0x3A)).status == 4
        await raw.put("inbox/b.csv", CSV)
        assert (await raw.open("inbox/b.csv", 0x3A)).status == 4
        await raw.remove("inbox/b.csv")
        assert (await raw.open("inbox/b.csv", 0x3A)).status == 0


async def test_opening_to_continue_is_refused(house):
    """APPEND, and writing into a received file without replacing it, are refused; an absent file is absent."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV)
        for flags in (0x06, 0x0E, 0x02):
            assert (await raw.open("inbox/a.csv", flags)).status == 4
        assert (await raw.open("inbox/absent.csv", 0x02)).status == 2
        for flags in (0x0B, 0x03, 0x1B):
            assert (await raw.open("inbox/a.csv", flags)).status == 3
    assert house.states() == ["arrived"]


async def test_the_same_name_again_is_a_new_delivery(house):
    """Nothing is overwritten: two files of one name are two deliveries; the listing shows the newest."""
    async with house.raw("woonbron") as raw:
        await raw.put("inbox/a.csv", CSV)
        house.clock.step(timedelta(minutes=1))
        await raw.put("inbox/a.csv", CSV * 3)
        assert await raw.ls("inbox") == ["a.csv"]
        assert (await raw.stat("inbox/a.csv")).size == 3 * len(CSV)
    assert [(row["state"], row["arrival"]) for row in house.rows()] == [("arrived", 1), ("arrived", 2)]


async def test_stat_on_another_connection_after_close(house):
    """What was received is seen from any connection of its partner, with its size; not while it comes in."""
    async with house.raw("woonbron") as first, house.raw("woonbron") as second:
        handle = (await first.open("inbox/a.csv")).string
        await first.write(handle, 0, CSV)
        assert (await first.stat("inbox/a.csv")).size == len(CSV)
        assert (await second.stat("inbox/a.csv")).status == 2
        await first.close(handle)
        assert (await second.stat("inbox/a.csv")).size == len(CSV)


async def test_remove_before_close(house):
    """A client that removes what it is sending has sent nothing; its CLOSE is told so."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        await raw.write(handle, 0, CSV)
        assert (await raw.remove("inbox/a.csv")).status == 0
        assert (await raw.close(handle)).status == 4
    assert (house.states(), house.blob_files()) == (["aborted"], [])


async def test_rename_before_close(house):
    """A file renamed while it is open is received under its last name."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv.tmp")).string
        await raw.write(handle, 0, CSV)
        assert (await raw.rename("inbox/a.csv.tmp", "inbox/a.csv")).status == 0
        assert (await raw.close(handle)).status == 0
    assert house.name(house.rows()[0]) == "a.csv"
    assert house.states() == ["arrived"]


async def test_a_missing_day_key_takes_no_uploads(house):
    """A node without the key of the file's last day, or of this month's index, receives nothing and says so."""
    day = local_day(house.clock.now())
    for key_id in (until_id(day + timedelta(days=14)), index_id(month_of(day))):
        house.exchange.keyring.destroy(key_id)
        async with house.raw("woonbron") as raw:
            refused = await raw.open("inbox/a.csv")
            assert (refused.status, "administrator has been told" in refused.text) == (4, True)
        house.exchange.keyring.ensure([key_id])
    assert (house.rows(), house.blob_files()) == ([], [])


async def test_a_day_key_that_a_copy_lacks_takes_no_uploads(house, tmp_path):
    """What was made while a registered copy was away would be lost with the ring; back again, it is used."""
    ring, day = house.exchange.keyring, until_id(local_day(house.clock.now()) + timedelta(days=14))
    ring.add_copy(tmp_path / "safe", lambda _: None)
    (tmp_path / "safe").rename(tmp_path / "away")
    async with house.raw("woonbron") as raw:
        assert (await raw.open("inbox/a.csv")).status == 0, "what the copy had before it went, it has still"
        ring.renew({day: 2})
        refused = await raw.open("inbox/b.csv")
        assert (refused.status, "administrator has been told" in refused.text) == (4, True)
        (tmp_path / "away").rename(tmp_path / "safe")
        ring.ensure([day])
        assert (await raw.open("inbox/b.csv")).status == 0


async def test_a_key_that_goes_while_a_file_comes_in(house):
    """Without the key at CLOSE the CLOSE fails, and nothing is left."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        await raw.write(handle, 0, CSV)
        house.exchange.keyring.destroy(until_id(local_day(house.clock.now()) + timedelta(days=14)))
        assert (await raw.close(handle)).status == 4
    assert (house.states(), house.blob_files()) == (["aborted"], [])


async def test_closed_after_midnight_belongs_to_the_new_day(house):
    """The last day runs from CLOSE, in the Netherlands."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        await raw.write(handle, 0, CSV)
        house.clock.step(timedelta(hours=13, minutes=45))  # 23:15 UTC is 00:15 in Amsterdam
        assert (await raw.close(handle)).status == 0
    assert house.rows()[0]["raw_due_on"].isoformat() == "2026-12-07"


async def test_a_full_disk_fails_the_upload_only(house, monkeypatch):
    """A disk that takes no more fails this WRITE, frees what it took, and fails the CLOSE; the session goes on."""
    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string

        def full(_fd, _data):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(blobs, "write_all", full)
            refused = await raw.write(handle, 0, bytes(200_000))
            assert (refused.status, "again later" in refused.text, "space" in refused.text) == (
                4,
                True,
                False,
            )
        assert house.blob_files() == []
        assert (await raw.close(handle)).status == 4
        assert (await raw.put("inbox/b.csv", CSV)).status == 0
    assert house.states() == ["aborted", "arrived"]


async def test_a_large_file_goes_past_the_page_cache(house, monkeypatch):
    """It is received as it was sent; a disk that fails meanwhile fails this upload only."""
    monkeypatch.setattr(blobs, "LARGE_BYTES", 1 << 17)
    content = os.urandom(4_000_000)

    async def write(raw, handle):
        steps = range(0, len(content), 200_000)
        return [(await raw.write(handle, at, content[at : at + 200_000])).status for at in steps]

    async with house.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        assert {*await write(raw, handle)} == {0}
        assert (await raw.close(handle)).status == 0

        def full(_fd, _data):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(direct, "write_all", full)
            handle = (await raw.open("inbox/b.csv")).string
            written = await write(raw, handle)
            closed = (await raw.close(handle)).status
        took_it = closed == 0  # a file system without O_DIRECT
        assert (written[0], written[-1], closed) == ((0, 0, 0) if took_it else (0, 4, 4))
        assert (await raw.put("inbox/c.csv", CSV)).status == 0
    assert house.received(house.rows()[0]) == content
    assert house.states() == ["arrived", "arrived" if took_it else "aborted", "arrived"]
    assert len(house.blob_files()) == (3 if took_it else 2)


def visit_of(house):
    """A session of a creditor, without a network."""
    return Visit(
        partner=house.partners["woonbron"],
        fingerprint="SHA256:x",
        address="127.0.0.1",
        client="test",
        session_id="S1",
    )


def test_a_crash_leaves_nothing_that_was_not_closed(quiet_house):
    """What was RECEIVING when the gateway died is ABORTED at the next start; what was received stays."""
    house = quiet_house
    done, cut = (Upload(house.exchange, visit_of(house), name) for name in ("a.csv", "b.csv"))
    for upload in (done, cut):
        upload.write(0, memoryview(CSV))
    done.close()
    assert house.states() == ["arrived"], "it has a row when a look finds it open"
    cut.put_on_record()
    assert house.states() == ["arrived", "receiving"]
    assert abort_unfinished(house.exchange) == 0, "it is still coming in"
    started_again = replace(house.exchange, under_way=set())
    assert abort_unfinished(started_again) == 1
    assert abort_unfinished(started_again) == 0
    assert house.states() == ["arrived", "aborted"]
    assert house.received(house.rows()[0]) == CSV


def test_open_leaves_nothing_until_it_must(quiet_house):
    """Neither a row nor a file comes before the first full segment or a look; CLOSE writes both, once."""
    house = quiet_house
    upload = Upload(house.exchange, visit_of(house), "a.csv", waits=False)
    upload.write(0, memoryview(CSV))
    assert (house.states(), house.blob_files()) == ([], [])
    upload.close()
    assert (house.states(), len(house.blob_files())) == (["arrived"], 1)
    given_up = Upload(house.exchange, visit_of(house), "b.csv")
    given_up.abort("not closed")
    assert house.states() == ["arrived", "aborted"]
    assert house.actions() == ["delivery.arrived", "delivery.aborted"]


@pytest.mark.parametrize("ends", ["arrived", "staged", "aborted"])
def test_a_row_that_comes_late_changes_nothing(quiet_house, ends):
    """A look may find a file open that has ended by the time its row is written."""
    house = quiet_house
    upload = Upload(house.exchange, visit_of(house), "a.csv.tmp" if ends == "staged" else "a.csv")
    upload.write(0, memoryview(CSV))
    if ends == "aborted":
        upload.abort("not closed")
    else:
        upload.close()
    (before,) = house.rows()
    upload.put_on_record()
    assert before["state"] == ends
    assert house.rows() == [before]


def test_what_was_given_up_meanwhile_is_not_received(quiet_house):
    """A row that is no longer RECEIVING stays as it is, and CLOSE is refused."""
    house = quiet_house
    upload = Upload(house.exchange, visit_of(house), "a.csv")
    upload.put_on_record()
    assert abort_unfinished(replace(house.exchange, under_way=set())) == 1
    with pytest.raises(Refused, match="given up before it was closed"):
        upload.close()
    assert house.states() == ["aborted"]
    assert house.actions() == ["delivery.aborted"]


def test_a_row_that_cannot_be_written_refuses_the_file(quiet_house, monkeypatch):
    """What nobody else may know of is not received: the next WRITE says so."""
    house = quiet_house
    upload = Upload(house.exchange, visit_of(house), "a.csv")

    def full(*_args, **_how):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(type(house.exchange.store), "together", full)
        upload.put_on_record()
    with pytest.raises(Refused, match="could not be stored"):
        upload.write(0, memoryview(CSV))
    with pytest.raises(Refused, match="could not be stored"):
        upload.close()
    assert (house.states(), house.blob_files()) == (["aborted"], [])


def test_what_a_dead_process_had_without_a_row_leaves_the_disk(quiet_house, monkeypatch):
    """Half a file, and one that was whole before its row: both go. What has a row stays, and what others receive."""
    house = quiet_house
    dead, alive = (replace(house.exchange, process=process, under_way=set()) for process in ("P1", "P2"))
    received, half, whole = (Upload(dead, visit_of(house), name) for name in ("a.csv", "b.csv", "c.csv"))
    other = Upload(alive, visit_of(house), "d.csv")
    for upload in (received, half, whole, other):
        upload.write(0, memoryview(bytes(100_000)))
    received.close()
    whole._sealer.finish()
    whole._blob.commit()  # killed here
    assert len(house.blob_files()) == 4
    assert remove_left(alive, "P1") == 2
    assert remove_left(alive, "P1") == 0
    assert len(house.blob_files()) == 2
    other.close()
    assert house.states() == ["arrived", "arrived"]
    assert [house.received(row) for row in house.rows()] == [bytes(100_000)] * 2


def test_a_crash_between_blob_and_row_receives_nothing(quiet_house, monkeypatch):
    """A transaction that fails after the blob became durable leaves neither row nor blob; OK is not said."""
    house = quiet_house
    upload = Upload(house.exchange, visit_of(house), "a.csv")
    upload.write(0, memoryview(CSV))

    def fail(*_args, **_values):
        raise RuntimeError("the database is gone")

    with monkeypatch.context() as patched:
        patched.setattr("gateway.store.deliveries.receive", fail)
        with pytest.raises(RuntimeError):
            upload.close()
    assert (house.states(), house.blob_files()) == (["aborted"], [])
    assert house.key_of("woonbron", upload.id) is None


def test_an_unclear_commit_keeps_what_was_received(quiet_house, monkeypatch):
    """An error after the commit took effect does not take the file back."""
    house = quiet_house
    upload = Upload(house.exchange, visit_of(house), "a.csv")
    upload.write(0, memoryview(CSV))
    write = type(house.exchange.store).write

    failed = []

    @contextmanager
    def commit_and_fail(store, **how):
        with write(store, **how) as conn:
            yield conn
        if not failed:
            failed.append(True)
            raise OSError("told too late")

    with monkeypatch.context() as patched:
        patched.setattr(type(house.exchange.store), "write", commit_and_fail)
        with pytest.raises(Refused, match="could not be stored"):
            upload.close()
    assert house.states() == ["arrived"]
    assert house.received(house.rows()[0]) == CSV


def test_staged_files_nobody_renames(quiet_house):
    """A staged file is ABORTED after 24 hours, with key and bytes; one that was renamed is not."""
    house = quiet_house
    upload = Upload(house.exchange, visit_of(house), "a.csv.tmp")
    upload.write(0, memoryview(CSV))
    upload.close()
    house.clock.step(timedelta(hours=23, minutes=59))
    assert abort_stale(house.exchange) == 0
    house.clock.step(timedelta(minutes=1))
    assert abort_stale(house.exchange) == 1
    assert (house.states(), house.blob_files()) == (["aborted"], [])
    assert house.key_of("woonbron", upload.id) is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), content=st.binary(min_size=1, max_size=200_000))
def test_any_chunking_in_any_order(quiet_house, data, content):
    """Any chunks, in any order, give the same file."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(content)), max_size=12)) | {0, len(content)})
    spans = list(pairwise(cuts))
    upload = Upload(quiet_house.exchange, visit_of(quiet_house), "a.csv")
    for start, end in data.draw(st.permutations(spans)):
        upload.write(start, memoryview(content)[start:end])
    upload.close()
    (row,) = [row for row in quiet_house.rows() if row["id"] == upload.id]
    assert quiet_house.received(row) == content


def test_nothing_follows_a_refusal(quiet_house):
    """After a refused write no other is taken."""
    upload = Upload(quiet_house.exchange, visit_of(quiet_house), "a.csv")
    upload.write(0, memoryview(CSV))
    for offset in (0, len(CSV)):
        with pytest.raises(Refused):
            upload.write(offset, memoryview(CSV))
    with pytest.raises(Refused):
        upload.close()
    assert quiet_house.states() == ["aborted"]
