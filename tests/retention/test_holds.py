"""Legal holds, and what waits for approval: it stays, under a key of its own, and delays no other (spec 4)."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.clock import AMSTERDAM
from gateway.doctor.data import _holds
from gateway.doctor.finding import Verdict
from gateway.domain.approval import Approval, ApprovalState
from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchState
from gateway.domain.retention import Terms
from gateway.domain.signal import SignalState
from gateway.errors import CommandError, KeyMissing
from gateway.retention import holds
from gateway.retention.approvals import carry_out
from gateway.retention.due import due
from gateway.retention.ring import problems
from gateway.retention.shelves import RegisterShelf
from gateway.store import approvals, registers
from gateway.store import holds as stored_holds
from gateway.store.engine import Store
from gateway.store.retention_tables import HoldRow, KeyRow
from gateway.store.tables import AnswerRow, DataKeyRow, Delivery, Dispatch, MeldingRow, SignalRow
from gateway.vault.datakey import WrappedKey, unwrap

#: The class of `conftest.py`.
World = Any

RECEIVED = date(2026, 11, 22)
RAW_DUE = date(2026, 12, 6)
DUE = date(2027, 1, 22)
#: What was received in November needs its index key no more.
FEBRUARY = date(2027, 2, 1)
#: Half-year terms would take the time of a hundred keys more in each test.
TERMS = Terms(signals_months=2, dispatches_months=2)
DAY = timedelta(days=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=AMSTERDAM)
PARTNER = "woonstichting"
#: Of what lies beside what is held; another one finds as little.
SEED = 0
#: What the home of the killed tests needs of December.
USED = ("until-2026-12-17", "until-2026-12-22", "until-2026-12-23", "until-2026-12-29")
APPROVERS = ("functionaris-1", "functionaris-2")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A home at noon of 22 November 2026, with short terms."""
    return make_world("home", NOON, TERMS)


def ask(world: World, *deliveries: str, **values: Any) -> holds.Asked:
    """Ask for a hold."""
    told = {
        "grounds": "bezwaar",
        "authority": "Gemeente Midden-Drenthe",
        "reference": "BZW-2026/114",
        "review_on": world.today + timedelta(days=90),
        **values,
    }
    return holds.ask(world.store, deliveries, now=world.now, node="test", actor="admin", **told)


def place(world: World, *deliveries: str, **values: Any) -> str:
    """Ask for a hold, and place it as two approvers' signatures do."""
    hold_id = ask(world, *deliveries, **values).hold_id
    holds.place(world.store, world.keyring, hold_id, APPROVERS, clock=world.clock, node="test")
    return hold_id


def lift(world: World, hold_id: str) -> None:
    """Lift a hold, as two approvers' signatures do."""
    holds.lift(world.store, world.keyring, hold_id, APPROVERS, clock=world.clock, node="test")


def wait(world: World, **through: date) -> None:
    """What is due after these days waits for approval."""
    with world.store.write() as conn:
        stored_holds.set_waiting(conn, through)


def opens(world: World, stored: dict[str, Any]) -> bool:
    """Whether a data key opens under the key of the keyring that it names."""
    names = ("key_id", "key_version", "wrapped", "commitment")
    key = WrappedKey(**{name: stored[name] for name in names})
    try:
        unwrap(world.keyring, key, partner=stored["partner_id"], object_id=stored["object_id"])
    except KeyMissing:
        return False
    return True


def keys_of(world: World, object_id: str) -> set[str]:
    """The keys of the keyring that wrap the data keys of an object."""
    return {row["key_id"] for row in world.rows(DataKeyRow) if row["object_id"] == object_id}


def test_a_hold_is_asked_for_and_changes_nothing_else(world: World) -> None:
    """Nobody alone keeps longer: there is a request for approval, and the purge takes what is due."""
    delivery_id = world.deliver()
    before = {row["id"]: row["key_id"] for row in world.rows(DataKeyRow)}
    asked = ask(world, delivery_id)

    assert {row["id"]: row["key_id"] for row in world.rows(DataKeyRow)} == before
    with world.store.read() as conn:
        request = approvals.get(conn, asked.number)
        assert stored_holds.held(conn) == []
    assert request is not None
    assert (request.subject, request.object_id) == ("bewaring", asked.hold_id)
    for words in (delivery_id, "bezwaar", "BZW-2026/114", "2027-02-20", asked.hold_id):
        assert words in request.text.decode()
    (entry,) = world.audit("hold.asked")
    assert '"actor":"admin"' in entry
    world.go_to(DUE + DAY)
    world.purge()
    assert world.rows(SignalRow) == []


def test_a_hold_of_what_has_gone_meanwhile_is_not_tried_again(world: World) -> None:
    """Two people sign after the purge took all that it was to keep: they read so, and the request is over."""
    asked = ask(world, world.deliver())
    with world.store.write() as conn:
        approvals.advance(conn, asked.number, ApprovalState.OPEN, ApprovalState.APPROVED, world.clock.now())
    world.go_to(DUE + DAY)
    world.purge()

    def do(approval: Approval) -> None:
        holds.place(
            world.store, world.keyring, approval.object_id, ("a", "b"), clock=world.clock, node="node-1"
        )

    words = {"origin": "cli", "actor": "admin", "node": "node-1"}
    told = carry_out(world.store, world.clock, do, **words)
    assert list(told) == [asked.number]
    assert "nothing of it can be kept any more" in told[asked.number]
    assert carry_out(world.store, world.clock, do, **words) == {}
    (entry,) = world.audit("approval.dropped")
    assert '"result":"overtaken"' in entry
    with world.store.read() as conn:
        assert stored_holds.held(conn) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"grounds": "omdat mevrouw Jansen belde"}, "grounds are one of"),
        ({"reference": "zaak van mevrouw Jansen"}, "reference is a case number"),
        ({"reference": "Jansen"}, "reference is a case number"),
        ({"reference": "ZK/123456782"}, "looks like a BSN"),
        ({"authority": "Rechtbank; postbus 12, tel. 0592"}, "authority is"),
        ({"authority": ""}, "authority is"),
        ({"review_on": RECEIVED + timedelta(days=91)}, "at most 90 days ahead"),
        ({"review_on": RECEIVED}, "at most 90 days ahead"),
    ],
)
def test_nothing_free_is_said_of_a_hold(world: World, wrong: dict[str, Any], words: str) -> None:
    """No text in which a name could stand, no review that is not asked again; and nothing is stored."""
    delivery_id = world.deliver()
    with pytest.raises(CommandError, match=words):
        ask(world, delivery_id, **wrong)
    assert world.rows(HoldRow) == []


def test_only_what_is_there_can_be_held(world: World) -> None:
    """All that is wrong is told at once."""
    gone = world.deliver()
    world.go_to(DUE + DAY)
    world.purge()
    with pytest.raises(CommandError, match=r"L0001 is purged.*no delivery L9"):
        ask(world, gone, "L9")
    with pytest.raises(CommandError, match="name a delivery"):
        ask(world)
    with pytest.raises(CommandError, match="there is no hold H1"):
        lift(world, "H1")


def test_what_is_held_stays_whole_past_its_day_and_nothing_else(world: World) -> None:
    """File, rows, answers, listed residents and their keys; every key of a day goes, and the tokens."""
    kept, other = world.deliver(), world.deliver()
    for delivery_id in (kept, other):
        world.answer(delivery_id)
        world.signal(delivery_id, state=SignalState.EXCLUDED)
    hold_id = place(world, kept)
    assert keys_of(world, kept) == {f"hold-{hold_id}"}
    assert not any(key_id.startswith("hold-") for key_id in keys_of(world, other))

    for day in (RECEIVED + 2 * DAY, RAW_DUE + DAY, DUE + DAY, FEBRUARY):
        world.go_to(day)
        report = world.purge()
        assert not report.errors
    assert {row["delivery_id"] for row in world.rows(SignalRow)} == {kept}
    assert all(row["sealed"] for row in world.rows(SignalRow))
    assert [row["delivery_id"] for row in world.rows(AnswerRow)] == [kept]
    assert world.row(Delivery, kept)["state"] == DeliveryState.PROCESSED
    assert world.row(Delivery, other)["state"] == DeliveryState.PURGED
    assert len(world.held_blobs()) == 1
    assert {row["object_id"] for row in world.held_keys()} == {kept}
    assert all(opens(world, row) for row in world.held_keys())
    # the keys of days and months are gone all the same
    assert not world.keyring.has("until-2026-12-06")
    assert not world.keyring.has("until-2027-01-22")
    assert not world.keyring.has("index-2026-11")
    assert list(problems(world.store, world.keyring, lambda *_: None)) == []


def test_lifted_it_goes_with_the_next_purge(world: World) -> None:
    """What is over goes, its certificate names it, and the hold's key is destroyed."""
    kept = world.deliver()
    hold_id = place(world, kept)
    world.go_to(DUE + DAY)
    world.purge()
    old = [row for row in world.held_keys() if row["object_id"] == kept]

    world.go_to(DUE + 20 * DAY)
    lift(world, hold_id)
    assert len(world.rows(SignalRow)) == 2
    report = world.purge()

    assert not report.errors
    assert f"hold-{hold_id}" in report.keys
    assert world.rows(SignalRow) == []
    assert world.row(Delivery, kept)["state"] == DeliveryState.PURGED
    assert not world.keyring.has(f"hold-{hold_id}")
    assert not any(opens(world, row) for row in old)
    told = [json.loads(row["as_json"]) for row in world.certificates()]
    assert {item["id"] for one in told for item in one["vernietigd"]} == {kept}
    assert all(f"hold-{hold_id}" in [key["id"] for key in one["sleutels"]] for one in told)
    (key,) = [row for row in world.rows(KeyRow) if row["id"] == f"hold-{hold_id}"]
    assert key["destroyed_at"] is not None


def test_lifted_in_time_it_is_as_if_it_had_never_been(world: World) -> None:
    """Data keys go back under their days; the key of the hold goes with the next purge."""
    kept = world.deliver()
    before = {row["id"]: row["key_id"] for row in world.rows(DataKeyRow)}
    hold_id = place(world, kept)
    lift(world, hold_id)
    assert {row["id"]: row["key_id"] for row in world.rows(DataKeyRow)} == before
    assert all(opens(world, row) for row in world.rows(DataKeyRow))
    world.go_to(RECEIVED + DAY)
    assert world.purge().keys[-1:] == (f"hold-{hold_id}",)
    world.go_to(DUE + DAY)
    world.purge()
    assert world.row(Delivery, kept)["state"] == DeliveryState.PURGED


def test_of_two_holds_the_last_one_lifted_decides(world: World) -> None:
    """A data key moves to the key of the hold that is left."""
    kept = world.deliver()
    one, other = place(world, kept), place(world, kept, reference="ROT-26/9")
    world.go_to(DUE + DAY)
    world.purge()
    lift(world, one)
    assert keys_of(world, kept) == {f"hold-{other}"}
    assert world.purge().keys == (f"hold-{one}",)
    assert len(world.rows(SignalRow)) == 2
    lift(world, other)
    world.purge()
    assert world.rows(SignalRow) == []


def test_what_a_key_could_not_be_moved_for_keeps_the_keys_of_days(world: World) -> None:
    """A wrapped key that is damaged: an error that is told, and no other is held up."""
    kept = world.deliver()
    hold_id = place(world, kept)
    world.signal(kept, months=1)
    row = max(world.held_keys(), key=lambda row: row["id"])
    world.change(DataKeyRow, row["id"], wrapped=bytes(60))
    world.go_to(date(2026, 12, 23))
    report = world.purge()
    assert {(error.step, error.object_id) for error in report.errors} == {
        ("hold", kept),
        ("keys", "until-2026-12-22"),
    }
    assert world.keyring.has("until-2026-12-22")
    assert f"hold-{hold_id}" in keys_of(world, kept)


def test_a_rejected_file_that_is_held_stays(world: World) -> None:
    """Else it goes at the next purge."""
    refused, other = world.deliver(DeliveryState.REJECTED), world.deliver(DeliveryState.REJECTED)
    place(world, refused)
    world.go_to(RECEIVED + DAY)
    world.purge()
    assert world.row(Delivery, other)["state"] == DeliveryState.PURGED
    assert world.row(Delivery, refused)["state"] == DeliveryState.REJECTED
    assert len(world.held_blobs()) == 1


def test_an_unprocessed_file_that_is_held_stays_and_is_given_back(world: World) -> None:
    """It needs no new day while it is held; afterwards it is kept day by day again."""
    waiting = world.deliver(DeliveryState.FAILED)
    hold_id = place(world, waiting)
    world.go_to(RAW_DUE + DAY)
    assert world.purge().counts["rewrapped"] == 0
    assert keys_of(world, waiting) == {f"hold-{hold_id}"}
    lift(world, hold_id)
    report = world.purge()
    assert (report.counts["rewrapped"], report.errors) == (1, ())
    assert keys_of(world, waiting) == {"until-2026-12-07"}
    assert all(opens(world, row) for row in world.held_keys())


# What waits for approval ---------------------------------------------------------------------------------


def test_what_waits_for_approval_stays_out_of_sight(world: World) -> None:
    """Rows, contents, listed residents and outgoing files of that municipality; nothing of another's, no file."""
    delivery_id, melding_id = world.deliver(), world.melding()
    world.signal(delivery_id, melding_id=melding_id)
    world.signal(delivery_id, municipality="GM0303")
    world.answer(delivery_id)
    sent = world.dispatch()
    manifest = world.dispatch(parent_id=sent)
    wait(world, GM1731=RECEIVED)

    world.go_to(DUE + DAY)
    report = world.purge()

    assert not report.errors
    assert {row["municipality"] for row in world.rows(SignalRow)} == {"GM1731"}
    assert len(world.rows(SignalRow)) == 3
    assert len(world.rows(AnswerRow)) == len(world.rows(MeldingRow)) == 1
    assert {world.row(Dispatch, each)["state"] for each in (sent, manifest)} == {DispatchState.BLOCKED}
    assert {row["key_id"] for row in world.held_keys()} == {"hold-GM1731-2027-01"}
    assert all(opens(world, row) for row in world.held_keys())
    assert not world.keyring.has("until-2027-01-22")
    # a creditor's own file is no municipality's
    assert world.row(Delivery, delivery_id)["blob"] is None

    wait(world)
    report = world.purge()
    assert not report.errors
    assert "hold-GM1731-2027-01" in report.keys
    assert world.rows(SignalRow) == world.rows(AnswerRow) == world.rows(MeldingRow) == []
    assert world.row(Dispatch, sent)["state"] == DispatchState.PURGED
    assert world.held_blobs() == []


def test_what_is_approved_goes_and_what_follows_waits(world: World) -> None:
    """`through` is the last due day that is approved."""
    delivery_id = world.deliver(signals=0)
    for months in (1, 2):
        world.signal(delivery_id, months=months)
    world.signal(delivery_id, state=SignalState.EXCLUDED)
    wait(world, GM1731=date(2026, 12, 31))
    world.go_to(FEBRUARY)
    assert not world.purge().errors
    left = world.rows(SignalRow)
    assert [row["due_on"] for row in left] == [DUE, DUE]
    # contents of a row that was not passed on went on their day, which was approved
    assert [bool(row["sealed"]) for row in left] == [True, False]
    assert {row["key_id"] for row in world.held_keys()} == {"hold-GM1731-2027-01"}


def test_held_and_waiting_each_on_its_own(world: World) -> None:
    """A hold that is lifted while approval is waited for: the data keys go under the key of the month."""
    kept = world.deliver()
    hold_id = place(world, kept)
    wait(world, GM1731=RECEIVED)
    world.go_to(DUE + DAY)
    world.purge()
    lift(world, hold_id)
    assert keys_of(world, kept) == {f"hold-{hold_id}", "hold-GM1731-2027-01"}
    report = world.purge()
    assert not report.errors
    assert f"hold-{hold_id}" in report.keys
    assert len(world.rows(SignalRow)) == 2
    assert world.row(Delivery, kept)["blob"] is None


# What is told of it ---------------------------------------------------------------------------------------


def test_certificates_and_registers_tell_what_was_left_out(world: World) -> None:
    """By hold: grounds, review, how many objects of that party; the auditor sees it as long as it is asked."""
    kept, _ = world.deliver(), world.deliver()
    world.signal(kept, municipality="GM0303")
    hold_id = place(world, kept)
    wait(world, GM0303=RECEIVED)
    world.signal(world.deliver(), municipality="GM0303")
    world.go_to(DUE + DAY)
    world.purge()
    told = {}
    for row in world.certificates():
        told.setdefault(row["party"], json.loads(row["as_json"]))
        text = row["as_text"].decode()
    of_hold = {
        "bewaring": hold_id,
        "grondslag": "bezwaar",
        "heroverwegen_voor": "2027-02-20",
        "onderdelen": 1,
    }
    assert told["GM1731"]["uitgezonderd_wegens_bewaarplicht"] == [of_hold]
    assert told["GM1731"]["uitgezonderd_tot_goedkeuring"] == []
    assert told[PARTNER]["uitgezonderd_wegens_bewaarplicht"] == [of_hold]
    assert f"bewaring {hold_id} (bezwaar): 1 onderdeel, te heroverwegen voor 2027-02-20" in text

    shelf = RegisterShelf(world.store, world.notary(), world.clock, 14, grounds={}, keys=lambda: [])
    every = read_csv(shelf.document(("bewaringen.csv",), None).data)
    assert [(line["bewaring"], line["kenmerk"], line["onderdelen"]) for line in every] == [
        (hold_id, "BZW-2026/114", "3"),
        ("GM0303-2027-01", "", "1"),
    ]
    ours = read_csv(shelf.document(("bewaringen.csv",), ["GM1731"]).data)
    assert [line["bewaring"] for line in ours] == []
    kept_lines = read_csv(shelf.document(("bewaarregister_2026-11.csv",), None).data)
    assert {(line["id"], line["bewaring"]) for line in kept_lines if not line["vernietigd_op"]} == {
        (kept, hold_id),
        ("L0008", "GM0303-2027-01"),
    }


def read_csv(data: bytes) -> list[dict[str, str]]:
    """The lines of a register."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig")), delimiter=";"))


def test_what_waits_is_announced_and_what_is_held_is_not(world: World) -> None:
    """Somebody can object, and sign, before the day; what is held does not go."""
    kept, _ = world.deliver(), world.deliver()
    place(world, kept)
    wait(world, GM1731=RECEIVED)
    world.go_to(DUE - DAY)
    world.purge()
    shelf = RegisterShelf(world.store, world.notary(), world.clock, 14, grounds={}, keys=lambda: [])
    notice = read_csv(shelf.document(("aankondiging.csv",), None).data)
    assert [(line["soort"], line["id"], line["vervalt_na"]) for line in notice] == [
        ("signalen", "L0004", DUE.isoformat())
    ]
    days = {line.day: line for line in due(world.store, world.now, DUE, world.terms)}
    assert (days[DUE].signals, days[DUE].held) == (2, 1)
    assert (days[RAW_DUE].raws, days[RAW_DUE].held) == (0, 1)


def test_a_review_that_is_over_is_told_every_day(world: World) -> None:
    """In the log, by status and by doctor; the hold stays."""
    hold_id = place(world, world.deliver(), review_on=RECEIVED + 3 * DAY)
    for day, is_late in ((3, False), (4, True), (5, True)):
        world.go_to(RECEIVED + day * DAY)
        with capture_logs() as logged:
            world.purge()
        told = [each for each in logged if each["event"] == "hold.unreviewed"]
        assert [each["hold"] for each in told] == [hold_id] * is_late
    with world.store.read() as conn:
        assert [each.id for each in stored_holds.held(conn)] == [hold_id]
    found = _holds(world.store, world.now)
    assert (found.verdict, hold_id in found.what) == (Verdict.FAIL, True)


# Killed ---------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As kill -9: nothing catches it, nothing is tidied."""


def _end(world: World) -> dict[str, Any]:
    """What there is, without what is random or counts tries."""
    return {
        "rows": [(row["id"], row["due_on"], bool(row["sealed"])) for row in world.rows(SignalRow)],
        "deliveries": [(row["id"], row["state"], row["purged_rows"]) for row in world.rows(Delivery)],
        "keys": [(row["id"], row["key_id"], opens(world, row)) for row in world.held_keys()],
        "ring": sorted(world.keyring.ids()),
        "certificates": [
            (row["party"], row["is_complete"], len(json.loads(row["as_json"])["vernietigd"]))
            for row in world.certificates()
        ],
    }


@pytest.mark.parametrize("is_lifted", [False, True])
def test_killed_before_any_commit_it_ends_the_same(
    make_world: Callable[..., World],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_lifted: bool,
) -> None:
    """While a hold is placed or lifted, and in each transaction of the purge that follows."""
    start = make_world("start", NOON, Terms(signals_months=1, dispatches_months=1, raw_days=25))
    kept = start.deliver(months=1)
    start.deliver(months=1)
    hold_id = place(start, kept, review_on=start.today + 80 * DAY) if is_lifted else ask(start, kept).hold_id
    for key_id in start.keyring.ids():
        if key_id < "until-2026-12-30" and key_id[0] == "u" and key_id not in USED:
            start.keyring.destroy(key_id)
            with start.store.write() as conn:
                registers.mark_destroyed(conn, key_id, start.now)
    start.go_to(date(2026, 12, 23))
    change = holds.lift if is_lifted else holds.place
    plain, left = Store.write, 0

    @contextmanager
    def dying(store: Store) -> Any:
        nonlocal left
        with plain(store) as conn:
            yield conn
            left -= 1
            if left == 0:
                raise Killed

    def work(world: World) -> None:
        change(world.store, world.keyring, hold_id, APPROVERS, clock=world.clock, node="test")
        assert not world.purge().errors

    whole = start.copy(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", dying)
        work(whole)
    expected = _end(whole)
    assert [row[0] for row in expected["rows"]] == ([] if is_lifted else [1, 2])
    # each of the first ones, where holds do their work, and some of the purge's
    for nth in (*range(1, 6), *range(6, 1 - left, 9)):
        world = start.copy(tmp_path / f"killed-{nth}")
        left = nth
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", dying)
            with pytest.raises(Killed):
                work(world)
        world.sweep()
        work(world)
        assert _end(world) == expected, nth
        world.store.close()
    whole.store.close()


# A hold changes nothing for others -----------------------------------------------------------------------


def _stock(world: World, seed: int) -> list[str]:
    """Deliveries of all kinds, the same for the same seed but for their keys."""
    choice = random.Random(seed)
    ids = []
    for _ in range(6):
        state = choice.choice([DeliveryState.PROCESSED] * 4 + [DeliveryState.REJECTED, DeliveryState.FAILED])
        delivery_id = world.deliver(state, signals=choice.randrange(3), months=choice.randrange(1, 3))
        if state is DeliveryState.PROCESSED:
            if choice.random() < 0.5:
                world.signal(delivery_id, state=SignalState.EXCLUDED, months=choice.randrange(1, 3))
            if choice.random() < 0.5:
                world.answer(delivery_id, months=choice.randrange(1, 3))
        ids.append(delivery_id)
        world.dispatch(months=choice.randrange(1, 3))
    return ids


def _others(world: World, kept: set[str]) -> dict[str, Any]:
    """All that is there of what is not held, without what is random."""
    return {
        "deliveries": [
            {name: row[name] for name in ("id", "state", "purged_rows", "raw_due_on")}
            for row in world.rows(Delivery)
            if row["id"] not in kept
        ],
        "rows": [
            (row["line"], row["due_on"], bool(row["sealed"]))
            for row in world.rows(SignalRow)
            if row["delivery_id"] not in kept
        ],
        "answers": sorted(row["due_on"] for row in world.rows(AnswerRow) if row["delivery_id"] not in kept),
        "keys": sorted(
            (row["object_id"], row["due_on"], row["key_id"])
            for row in world.held_keys()
            if row["object_id"] not in kept
        ),
        "dispatches": [(row["id"], row["state"]) for row in world.rows(Dispatch) if len(row["id"]) == 5],
        # not those of certificates, which are kept for years
        "ring": sorted(
            key_id for key_id in world.keyring.ids() if key_id < "until-2028" and key_id[0] != "h"
        ),
    }


def test_a_hold_never_changes_what_happens_to_others(make_world: Callable[..., World]) -> None:
    """Two homes with the same in them, purged on the same days: in one some deliveries are held for a while."""
    plain, held = make_world("plain", NOON, TERMS), make_world("held", NOON, TERMS)
    ids = _stock(held, SEED)
    assert _stock(plain, SEED) == ids
    choice = random.Random(SEED)
    kept = set(choice.sample(ids, 2))
    hold_id = place(held, *kept)
    days = sorted(choice.sample(range(1, 80), 2))
    for days_on in days:
        for world in (plain, held):
            world.go_to(RECEIVED + days_on * DAY)
            assert not world.purge().errors
        assert _others(held, kept) == _others(plain, kept)
        assert {row["object_id"] for row in held.held_keys()} >= kept
    lift(held, hold_id)
    for world in (plain, held):
        world.go_to(RECEIVED + 80 * DAY)
        assert not world.purge().errors
    assert _others(held, set()) == _others(plain, set())
    assert not any(key_id.startswith("hold-") for key_id in held.keyring.ids())
