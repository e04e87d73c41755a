"""What a partner may send on a day: files and bytes, refused with a text, and nothing of it half received."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import local_day
from gateway.domain.partner import PartnerLimits
from gateway.store import guard as store
from gateway.store.engine import Store
from gateway.store.guard import Use

#: The first instant of the next Dutch day; the clock stands at 10:30 there.
MIDNIGHT = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)


@pytest.fixture
def limited(house):
    """A house in which woonbron may send 3 files and 10 KiB a day."""
    limits = replace(PartnerLimits(), files_per_day=3, bytes_per_day=10_240)
    house.partners["woonbron"] = replace(house.partners["woonbron"], limits=limits)
    return house


def used(house, partner="woonbron"):
    """What is counted for today."""
    with house.exchange.store.read() as conn:
        return store.used(conn, partner, local_day(house.clock.now()))


async def test_files_a_day(limited):
    """The fourth OPEN is refused and makes nothing; the Dutch day that begins at 23:00 UTC has files anew."""
    async with limited.raw("woonbron") as raw, limited.raw("vitens") as other:
        for number in range(3):
            assert (await raw.put(f"inbox/{number}.csv", b"x")).status == 0
        before = (limited.states(), limited.blob_files(), limited.actions())
        refused = await raw.open("inbox/4.csv")
        assert refused.status == 4
        assert refused.text == (
            "Not taken: 3 files were sent today, and that is the most; the count starts anew at midnight, Dutch time"
        )
        assert (limited.states(), limited.blob_files(), limited.actions()) == before
        assert (await other.put("inbox/1.csv", b"x")).status == 0
        limited.clock.set(MIDNIGHT - timedelta(seconds=1))
        assert (await raw.open("inbox/4.csv")).status == 4
        limited.clock.set(MIDNIGHT)
        assert (await raw.put("inbox/4.csv", b"x")).status == 0
    assert used(limited) == Use(files=1, bytes=1)
    assert limited.states() == ["arrived"] * 5


async def test_bytes_a_day(limited):
    """Up to the last byte is taken; the WRITE beyond it is refused, and so is the CLOSE and the next OPEN."""
    async with limited.raw("woonbron") as raw:
        assert (await raw.put("inbox/1.csv", b"x" * 10_000)).status == 0
        handle = (await raw.open("inbox/2.csv")).string
        assert (await raw.write(handle, 0, b"y" * 240)).status == 0
        refused = await raw.write(handle, 240, b"z")
        assert refused.status == 4
        assert refused.text == (
            "Not taken: with it more than 10240 bytes would be sent today; "
            "the count starts anew at midnight, Dutch time"
        )
        assert (await raw.write(handle, 240, b"")).status == 4
        assert (await raw.close(handle)).text == refused.text
        assert (await raw.open("inbox/3.csv")).text == refused.text
        assert await raw.ls("inbox") == ["1.csv"]
    assert limited.states() == ["arrived", "aborted"]
    assert len(limited.blob_files()) == 1
    assert used(limited) == Use(files=2, bytes=10_240)


async def test_uploads_at_once_share_a_day(limited):
    """Each of two fits, both do not: the second CLOSE is refused, whatever the session."""
    with structlog.testing.capture_logs() as lines:
        async with limited.raw("woonbron") as one, limited.raw("woonbron") as two:
            handles = [(await raw.open("inbox/a.csv")).string for raw in (one, two)]
            for raw, handle in zip((one, two), handles, strict=True):
                assert (await raw.write(handle, 0, b"x" * 6000)).status == 0
            assert (await one.close(handles[0])).status == 0
            assert (await two.close(handles[1])).status == 4
    assert limited.states() == ["arrived", "aborted"]
    assert len(limited.blob_files()) == 1
    (line,) = [line for line in lines if line["event"] == "quota.reached"]
    assert (line["partner_id"], line["reason"]) == ("woonbron", "bytes")


async def test_what_is_given_up_counts_too(limited):
    """Sending without end and never closing is sending."""
    async with limited.raw("woonbron") as raw:
        handle = (await raw.open("inbox/a.csv")).string
        await raw.write(handle, 0, b"x" * 7000)
    await limited.until(lambda: limited.states() == ["aborted"])
    assert used(limited) == Use(files=1, bytes=7000)
    async with limited.raw("woonbron") as raw:
        assert (await raw.put("inbox/a.csv", b"x" * 7000)).status == 4
    assert limited.states() == ["aborted", "aborted"]
    assert used(limited) == Use(files=2, bytes=7000)


async def test_openssh_shows_why(limited):
    """The text reaches the person who sends."""
    limited.file("big.csv", b"x" * 20_000)
    done = await limited.sftp("woonbron", "put partner/big.csv inbox/big.csv")
    assert done.status == 1
    assert "Failure" in done.err or "Not taken" in done.err
    assert limited.states() == ["aborted"]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database for all examples."""
    opened = Store.create(tmp_path_factory.mktemp("use") / "gateway.db")
    yield opened
    opened.close()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(-1, 2), st.integers(0, 3), st.integers(0, 2**40)))
)
def test_use_is_the_sum_of_a_day(database, sent):
    """For each partner: what it sent since the day was last another one; of other days nothing."""
    today = datetime(2026, 11, 22, tzinfo=UTC).date()
    expected: dict[str, tuple[int, Use]] = {}
    with database.write() as conn:
        conn.exec_driver_sql("DELETE FROM day_use")
        for partner, day, files, size in sent:
            store.add_use(conn, partner, today + timedelta(days=day), Use(files, size))
            before_day, before = expected.get(partner, (day, Use()))
            base = before if before_day == day else Use()
            expected[partner] = (day, Use(base.files + files, base.bytes + size))
        for partner, (day, use) in expected.items():
            assert store.used(conn, partner, today + timedelta(days=day)) == use
            assert store.used(conn, partner, today + timedelta(days=day + 1)) == Use()
