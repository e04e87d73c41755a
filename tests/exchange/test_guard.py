"""The guard at the door, over real sockets: floods, slow peers, guessers, and those who stand still."""

from __future__ import annotations

import asyncio
import statistics
import struct
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import asyncssh
import pytest
import structlog

from gateway.domain.guard import GuardTerms, Standing
from gateway.domain.partner import PartnerLimits
from gateway.errors import CommandError
from gateway.exchange import guard as guard_module
from gateway.exchange import listener as listener_module
from gateway.exchange import login
from gateway.exchange.guard import LEASE, lift
from gateway.exchange.listener import listen
from gateway.store import guard as store
from gateway.store.engine import Store

#: Loopback counts as any other address here.
STRICT = GuardTerms(safe_networks=())
#: Refusals of each kind whose times are compared.
TRIES = 300


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    """The guard looks twenty times a second: nobody waits long for what it sees."""
    for module in (guard_module, listener_module):
        monkeypatch.setattr(module, "LOOK_S", 0.05)


@pytest.fixture
def log():
    """What is logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def guarded(quiet_house, listening):
    """Opens the house with other terms of the guard."""

    @asynccontextmanager
    async def open_with(**terms):
        quiet_house.exchange = replace(quiet_house.exchange, guard=replace(STRICT, **terms))
        async with listening(quiet_house) as house:
            yield house

    return open_with


def logged(log, event):
    """The lines of one event."""
    return [line for line in log if line["event"] == event]


def limit(house, partner_id, **limits):
    """Give a partner other limits."""
    partner = house.partners[partner_id]
    house.partners[partner_id] = replace(partner, limits=replace(PartnerLimits(), **limits))


async def knock(house, send=b"", address="127.0.0.1"):
    """A plain connection from an address; what it sends stays all that it sends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port, local_addr=(address, 0))
    writer.write(send)
    return reader, writer


async def told(reader):
    """All that a connection is told until it is closed."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def fail(house, user="woonbron", key="stranger", address="127.0.0.1"):
    """A login with a key that is not the user's; how it ended."""
    with pytest.raises((asyncssh.Error, ConnectionError)) as ended:
        async with house.connect(user, key, local_addr=(address, 0)):
            pass
    return ended.value


async def is_let_in(house, user, address):
    """Whether a partner gets in from an address."""
    try:
        async with house.connect(user, local_addr=(address, 0)) as connection:
            async with connection.start_sftp_client() as sftp:
                return "inbox" in await sftp.listdir("/")
    except (asyncssh.Error, ConnectionError):
        return False


def is_closed_out(house, address):
    """Whether the database has a penalty of an address."""
    with house.exchange.store.read() as conn:
        found = store.standing(conn, address)
    return found is not None and found.until > house.clock.now()


# -- before login ----------------------------------------------------------------------------------


async def test_who_does_not_log_in_in_time_is_ended(guarded, log):
    """Nothing sent, a banner that comes letter by letter, half a key exchange: all are gone in time, and counted."""
    async with guarded(login=timedelta(seconds=0.6)) as house:
        silent = await knock(house)
        half = await knock(house, b"SSH-2.0-x\r\n" + struct.pack(">IBB", 1000, 4, 20) + b"\0" * 50)
        slow = await knock(house, b"SSH-2.0-")
        slow_task = asyncio.create_task(told(slow[0]))
        async with asyncio.timeout(20):
            while not slow_task.done():
                slow[1].write(b"x")
                await asyncio.wait([slow_task], timeout=0.02)
            for reader, _ in (silent, half):
                assert (await told(reader)).startswith(b"SSH-2.0-gateway\r\n")
        assert await is_let_in(house, "woonbron", "127.0.0.1")
        await house.until(lambda: len(logged(log, "login.failed")) == 3)
        assert {line["reason"] for line in logged(log, "login.failed")} == {"timed out"}

        def points():
            with house.exchange.store.read() as conn:
                return round(getattr(store.standing(conn, "127.0.0.1"), "score", 0))

        await house.until(lambda: points() == 3)
        for _, writer in (silent, half, slow):
            writer.close()


async def test_a_flood_from_one_address_is_bounded(guarded, log):
    """Of a hundred connections ten are talked to; the others are closed before a byte. Other addresses get in."""
    async with guarded() as house:
        flood = [await knock(house) for _ in range(100)]
        greeted = [reader for reader, _ in flood[:10]]
        async with asyncio.timeout(20):
            for reader in greeted:
                assert await reader.readline() == b"SSH-2.0-gateway\r\n"
            assert [await told(reader) for reader, _ in flood[10:]] == [b""] * 90
        assert len(house.listener._traffic.connections) == 10
        assert await is_let_in(house, "woonbron", "127.0.0.2")
        assert not await is_let_in(house, "woonbron", "127.0.0.1")
        for _, writer in flood:
            writer.close()
        await house.until(lambda: not house.listener._traffic.connections)
        assert await is_let_in(house, "woonbron", "127.0.0.1")
    lines = logged(log, "connection.refused")
    assert {(line["address"], line["reason"]) for line in lines} == {
        ("127.0.0.1", "too many from this address")
    }
    assert sum(line["count"] for line in lines) == 91
    assert len(lines) < 91


async def test_a_flood_from_everywhere_is_bounded(guarded, log):
    """However many addresses it has, a flood gets no more connections than the cap; partners who are in stay in."""
    async with guarded(connections=20) as house:
        async with house.raw("woonbron") as raw:
            flood = [await knock(house, address=f"127.0.1.{number % 25 + 1}") for number in range(100)]
            await house.until(lambda: len(house.listener._traffic.connections) == 21)
            async with asyncio.timeout(20):
                answers = [await told(reader) for reader, _ in flood[20:]]
            assert answers == [b""] * 80
            assert (await raw.put("inbox/a.csv", b"still here")).status == 0
            for _, writer in flood:
                writer.close()
        await house.until(lambda: sum(line["count"] for line in logged(log, "connection.refused")) == 80)
    # a line an address, and one for those beyond twenty
    assert {line["reason"] for line in logged(log, "connection.refused")} <= {
        "too many",
        "of other addresses",
    }


async def test_safe_addresses_are_not_counted_apart(guarded):
    """Behind a proxy's address stand many: only the cap on all of them holds."""
    async with guarded(connections_per_address=2, safe_networks=(ip_network("127.0.0.0/8"),)) as house:
        visitors = [await knock(house) for _ in range(5)]
        async with asyncio.timeout(20):
            for reader, writer in visitors:
                assert await reader.readline() == b"SSH-2.0-gateway\r\n"
                writer.close()


async def test_many_logged_in_connections_leave_the_door_free(guarded):
    """Only who has not logged in yet is counted at the door."""
    async with guarded(connections=2, connections_per_address=2) as house:
        async with house.connect("woonbron"), house.connect("woonbron"), house.connect("vitens"):
            assert await is_let_in(house, "assen", "127.0.0.1")


# -- penalties -------------------------------------------------------------------------------------


async def test_a_guesser_is_closed_out_and_nobody_else(guarded, log):
    """Sixty attempts at a partner's name: six a connection, then no connection. The partner itself gets in."""
    async with guarded(refusals=4) as house:
        wrong = [house.new_key(f"wrong{number}") and str(house.keys[f"wrong{number}"]) for number in range(7)]
        attempts = 0
        for _ in range(9):
            try:
                async with asyncssh.connect(
                    "127.0.0.1",
                    house.port,
                    username="woonbron",
                    client_keys=wrong,
                    known_hosts=None,
                    agent_path=None,
                    config=[],
                ):
                    pytest.fail("a wrong key opened the door")
            except (asyncssh.Error, ConnectionError):
                pass
            await house.listener._guard.look()
            attempts = sum(line["attempts"] for line in logged(log, "login.failed"))
        assert attempts <= 7 * 4
        assert is_closed_out(house, "127.0.0.1")
        reader, writer = await knock(house)
        assert await told(reader) == b""
        writer.close()
        assert not await is_let_in(house, "woonbron", "127.0.0.1")
        assert await is_let_in(house, "woonbron", "127.0.0.2")
        (line, *_) = logged(log, "address.penalised")
        assert (line["address"], line["count"], line["duration_ms"]) == ("127.0.0.1", 4, 60_000)
        house.clock.step(timedelta(minutes=1))
        assert await is_let_in(house, "woonbron", "127.0.0.1")


async def test_an_honest_visitor_is_not_counted(guarded):
    """A monitor that only connects, ssh-keyscan, and a client whose second key is the right one score nothing."""
    async with guarded(refusals=1) as house:
        house.new_key("stranger")
        _, writer = await knock(house)
        writer.close()
        scanned = await house.run("ssh-keyscan", "-p", str(house.port), "127.0.0.1")
        assert "ssh-ed25519" in scanned.out
        keys = [str(house.keys[name]) for name in ("stranger", "woonbron")]
        async with asyncssh.connect(
            "127.0.0.1", house.port, username="woonbron", client_keys=keys, known_hosts=None, config=[]
        ):
            pass
        await house.until(lambda: not house.listener._traffic.connections)
        await house.listener._guard.look()
        with house.exchange.store.read() as conn:
            assert store.standings(conn) == {}


async def test_who_breaks_the_protocol_is_counted(guarded):
    """Before login with another protocol, and after it with packets that are none."""
    async with guarded(refusals=2) as house:
        reader, writer = await knock(house, b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", "127.0.0.3")
        await told(reader)
        writer.close()
        async with house.connect("woonbron", local_addr=("127.0.0.3", 0)) as connection:
            client, _, _ = await connection.open_session(subsystem="sftp", encoding=None)
            client.write(b"\xff\xff\xff\xff")
            await connection.wait_closed()
        await house.until(lambda: is_closed_out(house, "127.0.0.3"))


async def test_safe_addresses_are_never_closed_out(guarded):
    """Whatever is refused there; and nothing is written for it."""
    async with guarded(refusals=1, safe_networks=(ip_network("127.0.0.1"),)) as house:
        house.new_key("stranger")
        await fail(house)
        await fail(house, address="127.0.0.2")
        await house.until(lambda: is_closed_out(house, "127.0.0.2"))
        with house.exchange.store.read() as conn:
            assert set(store.standings(conn)) == {"127.0.0.2"}
        assert await is_let_in(house, "woonbron", "127.0.0.1")


async def test_processes_agree_on_penalties(guarded):
    """Who is closed out at one listener is so at another on the same database, after a restart too; lifting works."""
    async with guarded(refusals=1) as house:
        other = await listen(
            lambda: house.exchange, host="127.0.0.1", port=0, host_keys=[house.path / "host_key"]
        )
        house.new_key("stranger")
        await fail(house)
        elsewhere = replace(house, listener=other)
        public = (house.path / "host_key.pub").read_text()
        (house.path / "known_hosts").write_text(
            "".join(f"[127.0.0.1]:{one.port} {public}" for one in (house, elsewhere))
        )
        await house.until(lambda: "127.0.0.1" in other._guard._standings)
        assert not await is_let_in(elsewhere, "woonbron", "127.0.0.1")
        await other.close()
        again = await listen(
            lambda: house.exchange, host="127.0.0.1", port=0, host_keys=[house.path / "host_key"]
        )
        assert "127.0.0.1" in again._guard._standings
        exchange = house.exchange
        told_by = {"actor": "jan", "at": house.clock.now(), "node": "node1"}
        with pytest.raises(CommandError, match="nothing is held against"):
            lift(exchange.store, "127.0.0.9", **told_by)
        assert lift(exchange.store, "::ffff:127.0.0.1", **told_by) == "127.0.0.1"
        assert house.actions() == ["penalty.lifted"]
        await house.until(lambda: not house.listener._guard._standings and not again._guard._standings)
        assert await is_let_in(house, "woonbron", "127.0.0.1")
        await again.close()


def test_what_is_long_past_is_forgotten(quiet_house):
    """Standings go with their worth, and a lifted one at once."""
    database, now = quiet_house.exchange.store, quiet_house.clock.now()
    with database.write() as conn:
        store.set_standing(conn, "192.0.2.1", Standing(3, now))
        store.set_standing(conn, "192.0.2.2", Standing(3, now - timedelta(hours=9)))
        store.set_standing(conn, "192.0.2.3", Standing(3, now))
        store.forget(conn, now - timedelta(hours=8))
        assert store.lift(conn, "192.0.2.3")
        assert not store.lift(conn, "192.0.2.3")
        assert store.standings(conn) == {"192.0.2.1": Standing(3, now)}


async def test_a_database_that_fails_lets_the_guard_go_on(guarded, log, monkeypatch):
    """What could not be written is written later; the guard says that it could not."""
    async with guarded(refusals=1) as house:
        house.new_key("stranger")

        def broken(_store):
            raise OSError("no database")

        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", broken)
            await fail(house)
            await house.until(lambda: bool(logged(log, "guard.failed")))
        await house.until(lambda: is_closed_out(house, "127.0.0.1"))
    assert {line["error_type"] for line in logged(log, "guard.failed")} == {"OSError"}


# -- who comes from where --------------------------------------------------------------------------


async def test_a_partner_comes_from_its_own_networks_only(guarded, log):
    """From elsewhere its key is as good as any other; the log says why."""
    async with guarded() as house:
        woonbron = house.partners["woonbron"]
        house.partners["woonbron"] = replace(woonbron, allowed_networks=(ip_network("127.0.0.7"),))
        house.new_key("stranger")
        refused = await fail(house, key="woonbron")
        assert (type(refused), str(refused)) == (
            asyncssh.PermissionDenied,
            str(await fail(house)).replace("stranger", "woonbron"),
        )
        assert str(await fail(house, user="nobody")) == str(refused).replace("woonbron", "nobody")
        assert await is_let_in(house, "woonbron", "127.0.0.7")
        assert await is_let_in(house, "vitens", "127.0.0.1")
        await house.until(lambda: len(logged(log, "login.failed")) == 3)
    assert sorted(line["reason"] for line in logged(log, "login.failed")) == ["", "", "not from this network"]


async def test_unknown_and_known_users_are_refused_in_the_same_time(guarded, monkeypatch):
    """Some hundreds of refusals of each kind, in turns: which is which can't be told from how long they took."""
    monkeypatch.setattr(login, "MOST_ATTEMPTS", 10_000)
    async with guarded() as house:
        woonbron = house.partners["woonbron"]
        house.partners["woonbron"] = replace(woonbron, allowed_networks=(ip_network("10.0.0.0/8"),))
        house.new_key("stranger")
        kinds = {
            "unknown": ("nobody12", "stranger"),
            "known": ("woonbron", "stranger"),
            "barred": ("woonbron", "woonbron"),
        }
        took: dict[str, list[float]] = {kind: [] for kind in kinds}
        turn = asyncio.Lock()  # whoever waits longest has it next: one after the other

        class Guessing(asyncssh.SSHClient):
            """Offers a key again and again, and measures how long the refusal takes."""

            def __init__(self, kind):
                self.took = took[kind]
                self.key = asyncssh.load_keypairs([str(house.keys[kinds[kind][1]])])[0]
                self.offered_at = None

            async def public_key_auth_requested(self):
                if self.offered_at is not None:
                    self.took.append(time.perf_counter() - self.offered_at)
                    turn.release()
                if len(self.took) == TRIES:
                    return None
                await turn.acquire()
                self.offered_at = time.perf_counter()
                return self.key

        async def guess(kind):
            with pytest.raises(asyncssh.PermissionDenied):
                await asyncssh.connect(
                    "127.0.0.1",
                    house.port,
                    username=kinds[kind][0],
                    client_factory=lambda: Guessing(kind),
                    client_keys=[],
                    known_hosts=None,
                    agent_path=None,
                    config=[],
                )

        await asyncio.gather(*map(guess, kinds))
    assert {kind: len(each) for kind, each in took.items()} == dict.fromkeys(kinds, TRIES)
    for one, other in (("unknown", "known"), ("unknown", "barred"), ("known", "barred")):
        assert 0.35 < share_of_slower(took[one], took[other]) < 0.65, {
            kind: statistics.median(each) for kind, each in took.items()
        }


def share_of_slower(some, others):
    """How often one of `some` took longer than one of `others`: a half when nothing tells them apart."""
    pairs = [(a > b) + (a == b) / 2 for a in some for b in others]
    return sum(pairs) / len(pairs)


# -- after login -----------------------------------------------------------------------------------


async def test_sessions_of_a_partner_are_capped(guarded, log):
    """On one connection or several; one that ends makes room, no other partner is touched, and nobody is penalised."""
    async with guarded(refusals=1) as house:
        limit(house, "woonbron", sessions=2)
        async with house.connect("woonbron") as first:
            async with house.connect("woonbron") as second:
                for connection in (first, second):
                    await connection.start_sftp_client()
                    with pytest.raises(
                        asyncssh.ChannelOpenError, match="Too many sessions: at most 2 at a time"
                    ):
                        await connection.start_sftp_client()
                refused = await house.sftp("woonbron", "ls")
                assert refused.status == 255
                assert "Too many sessions: at most 2 at a time" in refused.err
                assert await is_let_in(house, "vitens", "127.0.0.1")
            await house.until(lambda: house.listener._guard._open["woonbron"] == 1)
            another = await first.start_sftp_client()
            assert "inbox" in await another.listdir("/")
            assert house.listener._guard._open["woonbron"] == 2
            another.exit()
            await house.until(lambda: house.listener._guard._open["woonbron"] == 1)
        await house.until(lambda: not house.listener._guard._open["woonbron"])
        await house.listener._guard.look()
        assert not is_closed_out(house, "127.0.0.1")
        assert {(line["partner_id"], line["address"]) for line in logged(log, "session.refused")} == {
            ("woonbron", "127.0.0.1")
        }
    assert logged(log, "login.failed") == []


async def test_processes_agree_on_sessions(guarded):
    """What other processes have open counts here; what a killed one left counts no longer than its lease."""
    async with guarded() as house:
        limit(house, "woonbron", sessions=3)
        database, now = house.exchange.store, house.clock.now()
        with database.write() as conn:
            store.set_sessions(conn, "killed", {"woonbron": 2, "vitens": 5}, now=now, until=now + LEASE)
        with database.read() as conn:
            assert store.sessions(conn, now + LEASE) == {}
        await house.until(lambda: house.listener._guard._elsewhere == {"woonbron": 2, "vitens": 5})
        async with house.connect("woonbron") as connection:
            await connection.start_sftp_client()
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.start_sftp_client()

            def seen():
                with database.read() as conn:
                    return store.sessions(conn, house.clock.now())

            await house.until(lambda: seen() == {"woonbron": 3, "vitens": 5})
            house.clock.step(LEASE)
            await house.until(lambda: seen() == {"woonbron": 1})  # said again, because the session goes on
            await house.until(lambda: house.listener._guard._elsewhere == {})
            await connection.start_sftp_client()
        await house.until(lambda: seen() == {})


async def test_honest_visitors_cost_no_transaction_each(guarded, monkeypatch):
    """Of thirty connections that come and go between two looks only the first use of the key is written."""
    for module in (guard_module, listener_module):
        monkeypatch.setattr(module, "LOOK_S", 60)
    written = []
    real = Store.write
    async with guarded() as house:
        monkeypatch.setattr(Store, "write", lambda store: written.append(1) or real(store))
        for _ in range(30):
            assert await is_let_in(house, "woonbron", "127.0.0.1")
        await house.until(lambda: not house.listener._guard._open["woonbron"])
        await house.listener._guard.look()
        await house.listener._traffic.key_uses.settle()
        assert written == [1], "the use of the key, once in five minutes"


async def test_an_idle_session_and_an_unused_connection_end(guarded, log):
    """A session without an open file, and a connection without a session; one at work stays."""
    async with guarded(idle=timedelta(seconds=0.8)) as house:
        async with (
            house.connect("woonbron") as connection,
            house.raw("vitens") as idle,
            house.raw("assen") as busy,
        ):
            async with asyncio.timeout(20):
                while not idle.reader.at_eof():
                    assert (await busy.stat("/")).status == 0
                    await asyncio.wait([asyncio.ensure_future(idle.reader.read(1))], timeout=0.1)
                await connection.wait_closed()
            assert (await busy.stat("/")).status == 0
        await house.until(lambda: len(logged(log, "session.ended")) == 2)
    assert {(line["partner_id"], line["reason"]) for line in logged(log, "session.ended")} == {
        ("vitens", "idle"),
        ("assen", ""),
    }


async def test_an_upload_that_stands_still_is_given_up(guarded, log):
    """Nothing, or a byte now and then: both are ABORTED with a line; one that moves goes on, however long."""
    async with guarded(stall=timedelta(seconds=1)) as house:
        async with (
            house.raw("woonbron") as still,
            house.raw("woonbron") as drip,
            house.raw("vitens") as moving,
        ):
            handles = [
                (await raw.open(f"inbox/{n}.csv")).string for n, raw in enumerate((still, drip, moving))
            ]
            await still.write(handles[0], 0, b"x" * 5000)
            started, at = time.monotonic(), 0
            # longer than `stall`, and until both others are given up
            while time.monotonic() < started + 1.5 or sorted(house.states()) != [
                "aborted",
                "aborted",
                "receiving",
            ]:
                assert time.monotonic() < started + 20, house.states()
                with suppress(BrokenPipeError):
                    drip.send(6, struct.pack(">I", 4), handles[1], struct.pack(">QI", at, 1), b"x")
                assert (await moving.write(handles[2], at * 2000, b"y" * 2000)).status == 0
                at += 1
                await asyncio.sleep(0.1)
            assert (await moving.close(handles[2])).status == 0
        await house.until(lambda: sorted(house.states()) == ["aborted", "aborted", "arrived"])
        assert len(house.blob_files()) == 1
    assert sorted((line["state"], line["reason"]) for line in logged(log, "upload.ended")) == [
        ("aborted", "stalled"),
        ("aborted", "stalled"),
        ("arrived", ""),
    ]


async def test_a_client_that_waits_for_us_is_not_still(guarded):
    """Neither while its CLOSE waits for the database, nor because this process stood still itself."""
    async with guarded(stall=timedelta(seconds=0.5)) as house:
        async with house.raw("woonbron") as raw:
            await raw.open("inbox/b.csv")
            handle = (await raw.open("inbox/a.csv")).string
            await raw.write(handle, 0, b"x" * 2000)
            (session,) = house.listener._traffic.sessions
            with house.exchange.store.no_writers(within_s=10):
                raw.send(4, struct.pack(">I", 4), handle)
                await house.until(lambda: session._is_working)
                watched = session._watched_s
                await house.until(lambda: session._watched_s > watched + 1)
            assert (await raw.reply()).status == 0
            assert session._pace.is_open
            watched = session._watched_s
            time.sleep(1)  # noqa: ASYNC251  # everything stands still
            await house.until(lambda: session._watched_s > watched)
            assert (await raw.put("inbox/c.csv", b"x" * 2000)).status == 0
        await house.until(lambda: sorted(house.states()) == ["aborted", "arrived", "arrived"])


async def test_a_peer_that_reads_no_replies_is_ended(guarded, log):
    """It asks for 100 MiB, grants a window of 2 GiB and reads nothing: memory stays small, and it is ended."""
    async with guarded(stall=timedelta(seconds=1)) as house:
        house.place("assen", "outbox", "a.csv", b"z" * 262_144)
        async with house.connect("assen") as connection:
            writer, reader, _ = await connection.open_session(
                subsystem="sftp", encoding=None, window=2**31 - 1
            )
            writer.write(struct.pack(">IBI", 5, 1, 3))
            path = struct.pack(">I", 12) + b"outbox/a.csv"
            body = bytes([3]) + struct.pack(">I", 1) + path + struct.pack(">II", 1, 0)
            writer.write(struct.pack(">I", len(body)) + body)
            await reader.readexactly(4 + 30)  # VERSION begins, so the session runs
            connection._transport.pause_reading()
            for number in range(400):
                ask = bytes([5]) + struct.pack(">I", number + 2) + struct.pack(">I", 4) + b"\0\0\0\x01"
                ask += struct.pack(">QI", 0, 262_144)
                writer.write(struct.pack(">I", len(ask)) + ask)
            (served,) = house.listener._traffic.connections
            most = 0
            async with asyncio.timeout(30):
                while served in house.listener._traffic.connections:
                    transport = served._transport
                    most = max(most, transport.get_write_buffer_size() if transport else 0)
                    await asyncio.sleep(0.01)
            assert 0 < most < 2 * 1024 * 1024
            connection.abort()
        await house.until(lambda: bool(logged(log, "session.ended")))
    assert [line["reason"] for line in logged(log, "session.ended")] == ["stalled"]
    assert [line["state"] for line in logged(log, "download.ended")] == ["cut off"]


async def test_a_dead_peer_is_found_out(guarded, monkeypatch):
    """A peer that is gone without a word answers no keepalive: its connection ends, and its upload is given up."""
    monkeypatch.setattr(listener_module, "KEEPALIVE_S", 0.1)
    async with guarded() as house:
        async with house.raw("woonbron") as raw:
            await raw.open("inbox/a.csv")
            # it answers as long as it lives
            (served,) = house.listener._traffic.connections
            await asyncio.wait([asyncio.ensure_future(served.wait_closed())], timeout=1)
            assert served in house.listener._traffic.connections
            raw.writer.channel.get_connection()._transport.pause_reading()
            await house.until(lambda: served not in house.listener._traffic.connections)
            raw.writer.channel.get_connection().abort()
        await house.until(lambda: house.states() == ["aborted"])


async def test_the_gateway_stops_although_a_peer_reads_nothing(guarded):
    """Closing the listener waits for no client that takes no replies."""
    async with guarded() as house:
        house.place("assen", "outbox", "a.csv", b"z" * 262_144)
        async with house.raw("assen") as raw:
            handle = (await raw.open("outbox/a.csv", 1)).string
            raw.writer.channel.pause_reading()
            for _ in range(40):
                raw.send(5, struct.pack(">I", 4), handle, struct.pack(">QI", 0, 262_144))
            (session,) = house.listener._traffic.sessions
            await house.until(lambda: not session._writable.is_set())
            async with asyncio.timeout(30):
                await house.listener._end_sessions(at_once=True)
