"""What goes, what stays, and what a purge leaves behind (spec 4, Retention)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from gateway.clock import AMSTERDAM
from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchKind, DispatchState
from gateway.domain.retention import Terms
from gateway.domain.signal import SignalState
from gateway.errors import KeyMissing, StoreError
from gateway.retention.purge import STEPS
from gateway.store import data_keys, meldingen, registers
from gateway.store.engine import Store
from gateway.store.meldingen import PolicyOfMonth
from gateway.store.retention_tables import Destruction, KeyRow, PurgeRun
from gateway.store.tables import (
    AnswerRow,
    DataKeyRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    GroupingRow,
    IndexToken,
    MeldingRow,
    PolicyRow,
    SignalRow,
)
from gateway.vault.blobs import BlobFolder
from gateway.vault.datakey import WrappedKey, unwrap
from gateway.vault.keyring import Keyring

#: The class of `conftest.py`.
World = Any

RECEIVED = date(2026, 11, 22)
RAW_DUE = date(2026, 12, 6)
DUE = date(2027, 5, 22)
DAY = timedelta(days=1)


def test_a_received_file_goes_after_fourteen_days_and_its_rows_stay(world: World) -> None:
    """At the end of its due day: not in the night before, but in the night after."""
    delivery_id = world.deliver()
    world.go_to(RAW_DUE)
    assert world.purge().counts["raws"] == 0
    assert len(world.held_blobs()) == 1

    world.go_to(RAW_DUE + DAY)
    report = world.purge()

    assert (report.counts["raws"], report.counts["blobs"], report.counts["data_keys"]) == (1, 1, 1)
    assert world.held_blobs() == []
    row = world.row(Delivery, delivery_id)
    assert row["state"] == DeliveryState.PROCESSED
    assert row["raw_gone_at"] == world.now
    assert [row[name] for name in ("blob", "name_sealed", "name_token", "sha256_sealed")] == [None] * 4
    assert row["content_digest"] is not None
    assert len(world.rows(SignalRow)) == 2
    assert not world.keyring.has("until-2026-12-06")
    assert world.keyring.has("until-2026-12-07")


def test_a_months_policy_goes_with_its_last_melding(world: World) -> None:
    """Not with one of several, and not another municipality's, or another month's."""
    world.melding(months=1)
    world.melding()
    months = [("GM1731", "2026-11"), ("GM1731", "2026-12"), ("GM0303", "2026-11")]
    with world.store.write() as conn:
        for code, month in months:
            meldingen.use_policies(conn, month, {code: PolicyOfMonth("{}", "gemeente-md")})
            conn.execute(
                insert(GroupingRow.__table__).values(municipality=code, month=month, level="address")
            )

    def kept() -> list[list[tuple[str, str]]]:
        rows = (world.rows(table) for table in (PolicyRow, GroupingRow))
        return [sorted((row["municipality"], row["month"]) for row in each) for each in rows]

    world.go_to(date(2026, 12, 23))
    assert world.purge().counts["meldingen"] == 1
    assert kept() == [sorted(months)] * 2
    world.go_to(DUE + DAY)
    assert world.purge().counts["meldingen"] == 1
    assert kept() == [sorted(months[1:])] * 2


def test_after_six_months_only_the_tombstone_is_left(world: World) -> None:
    """Rows, tokens, wrapped keys, blobs and keys are gone; id, partner, counts, dates and digest stay."""
    delivery_id, melding_id = world.deliver(), world.melding()
    world.signal(delivery_id, melding_id=melding_id)
    dispatch_id = world.dispatch()
    digest = world.row(Delivery, delivery_id)["sealed_sha256"]
    world.go_to(RAW_DUE + DAY)
    world.purge()

    world.go_to(DUE)
    report = world.purge()
    assert report.counts["signals"] == report.counts["dispatches"] == report.counts["meldingen"] == 0
    assert len(world.rows(SignalRow)) == 3

    world.go_to(DUE + DAY)
    report = world.purge()
    expected = {"signals": 3, "meldingen": 1, "dispatches": 1, "deliveries": 1, "blobs": 1, "errors": 0}
    assert {name: report.counts[name] for name in expected} == expected
    assert report.keys == ("until-2027-05-22",)

    assert world.rows(SignalRow) == world.rows(MeldingRow) == world.held_keys() == []
    assert world.held_blobs() == []
    tombstone = world.row(Delivery, delivery_id)
    assert (tombstone["state"], tombstone["purged_at"]) == (DeliveryState.PURGED, world.now)
    assert (tombstone["purged_rows"], tombstone["sealed_sha256"]) == (3, digest)
    kept = {
        "id",
        "partner_id",
        "state",
        "opened_at",
        "closed_at",
        "received_at",
        "arrival",
        "size_bytes",
        "sealed_bytes",
        "sealed_sha256",
        "row_count",
        "purged_rows",
        "purged_signals",
        "raw_due_on",
        "raw_gone_at",
        "purged_at",
    }
    assert {name for name, value in tombstone.items() if value not in (None, 0, "", False)} == kept
    assert world.row(Dispatch, dispatch_id)["state"] == DispatchState.PURGED


def test_the_tokens_of_a_month_go_with_its_last_due_day(world: World) -> None:
    """What was received on the last of November may be held until 30 May: tokens and key go after that."""
    world.deliver()
    world.go_to(date(2027, 5, 30))
    world.purge()
    assert world.keyring.has("index-2026-11")
    assert len(world.rows(IndexToken)) == 2

    world.go_to(date(2027, 5, 31))
    report = world.purge()
    assert (report.counts["tokens"], report.keys) == (2, ("until-2027-05-30", "index-2026-11"))
    assert world.rows(IndexToken) == []
    assert not world.keyring.has("index-2026-11")
    assert world.keyring.has("index-2026-12")


def test_a_month_is_kept_while_a_row_with_a_longer_term_is_held(world: World) -> None:
    """Terms that were shortened since change no row that is there, so its month's key stays with it."""
    world.deliver()
    world.terms = Terms(signals_months=1)
    world.go_to(date(2027, 1, 5))
    world.purge()
    assert world.keyring.has("index-2026-11")
    world.go_to(DUE + DAY)
    assert "index-2026-11" in world.purge().keys


@pytest.mark.parametrize(("state", "days"), [(SignalState.EXCLUDED, 1), (SignalState.NOT_ROUTABLE, 14)])
def test_the_contents_of_what_is_not_passed_on_go_early(world: World, state: SignalState, days: int) -> None:
    """D30 after a day, D40 after fourteen: the row stays for its signal_id and token until its own day."""
    delivery_id = world.deliver(signals=0)
    world.signal(delivery_id, state=state)
    world.go_to(RECEIVED + timedelta(days=days))
    assert world.purge().counts["contents"] == 0

    world.go_to(RECEIVED + timedelta(days=days + 1))
    assert world.purge().counts["contents"] == 1
    (row,) = world.rows(SignalRow)
    assert (row["sealed"], row["data_key_id"], row["content_token"]) == (None, None, b"t" * 16)
    assert not [key for key in world.held_keys() if key["municipality"]]

    world.go_to(DUE + DAY)
    assert world.purge().counts["signals"] == 1


def test_a_replaced_version_goes_that_night(world: World) -> None:
    """A W sets the day of the old version's row to its own day of receipt."""
    delivery_id = world.deliver(signals=0)
    row_id = world.signal(delivery_id)
    stays = world.signal(delivery_id)
    world.change(SignalRow, row_id, in_force=False, due_on=RECEIVED, contents_due_on=RECEIVED)
    world.go_to(RECEIVED + DAY)
    assert world.purge().counts["signals"] == 1
    assert [row["id"] for row in world.rows(SignalRow)] == [stays]
    assert world.row(Delivery, delivery_id)["purged_rows"] == 1


def test_a_shorter_term_of_a_municipality_is_kept(world: World) -> None:
    """The due day is in the row: a row of two months goes, one of six stays."""
    delivery_id = world.deliver(signals=1)
    world.signal(delivery_id, months=2)
    world.go_to(date(2027, 1, 23))
    assert world.purge().counts["signals"] == 1
    assert [row["due_on"] for row in world.rows(SignalRow)] == [DUE]


@pytest.mark.parametrize("state", [DeliveryState.REJECTED, DeliveryState.ABORTED])
def test_what_was_refused_goes_at_the_next_purge(world: World, state: DeliveryState) -> None:
    """Nothing of it but the tombstone stays, whatever its day."""
    delivery_id = world.deliver(state)
    report = world.purge()
    assert (report.counts["deliveries"], report.counts["raws"], report.counts["errors"]) == (1, 1, 0)
    row = world.row(Delivery, delivery_id)
    assert (row["state"], row["content_digest"], row["name_sealed"]) == (DeliveryState.PURGED, None, None)
    assert world.held_keys() == world.held_blobs() == []


def test_what_a_crash_left_of_a_file_that_was_to_go_at_once_goes(world: World) -> None:
    """A forbidden column: the row says that the file is gone, but its blob was not removed yet."""
    gone_at = world.now
    delivery_id = world.deliver(DeliveryState.REJECTED)
    world.change(Delivery, delivery_id, raw_gone_at=gone_at)
    world.clock.step(timedelta(hours=1))
    world.purge()
    assert world.held_blobs() == []
    row = world.row(Delivery, delivery_id)
    assert (row["state"], row["raw_gone_at"]) == (DeliveryState.PURGED, gone_at)


def test_a_delivery_without_rows_ends_with_its_file(world: World) -> None:
    """A processed file whose rows were all rejected has nothing to stay for."""
    delivery_id = world.deliver(signals=0)
    world.go_to(RAW_DUE + DAY)
    world.purge()
    assert world.row(Delivery, delivery_id)["state"] == DeliveryState.PURGED


def test_a_replaced_dispatch_goes_at_the_next_purge_with_its_manifest(world: World) -> None:
    """The manifest comes and goes with its file; other files stay."""
    file = world.dispatch()
    manifest, other = world.dispatch(parent_id=file), world.dispatch()
    world.change(Dispatch, file, state=DispatchState.REPLACED)
    assert world.purge().counts["dispatches"] == 2
    states = {of: world.row(Dispatch, of)["state"] for of in (file, manifest, other)}
    gone = DispatchState.PURGED
    assert states == {file: gone, manifest: gone, other: DispatchState.READY}
    assert len(world.held_blobs()) == len(world.held_keys()) == 1


@pytest.mark.parametrize(
    "state",
    [DeliveryState.STAGED, DeliveryState.ARRIVED, DeliveryState.PROCESSING, DeliveryState.FAILED],
)
def test_an_unprocessed_file_is_rewrapped_day_by_day(world: World, state: DeliveryState) -> None:
    """Its day's key goes all the same, and it can still be opened: nothing that was received is lost."""
    delivery_id = world.deliver(state)
    for day in (RAW_DUE + DAY, RAW_DUE + 2 * DAY):
        world.go_to(day)
        assert (world.purge().counts["rewrapped"], world.row(Delivery, delivery_id)["state"]) == (1, state)
    assert world.row(Delivery, delivery_id)["raw_due_on"] == RAW_DUE + 2 * DAY
    assert not world.keyring.has("until-2026-12-06")
    assert not world.keyring.has("until-2026-12-07")
    assert open_key(world.store, world.keyring, delivery_id) is not None
    assert len(world.held_blobs()) == 1


def test_an_unprocessed_file_waits_however_long_nothing_ran(world: World) -> None:
    """Also when the gateway was down for longer than keys were made ahead."""
    delivery_id = world.deliver(DeliveryState.FAILED)
    world.clock.set(datetime(2028, 1, 1, 12, tzinfo=AMSTERDAM))
    report = world.purge()
    assert (report.counts["rewrapped"], report.counts["errors"]) == (1, 0)
    assert open_key(world.store, world.keyring, delivery_id) is not None
    assert world.row(Delivery, delivery_id)["raw_due_on"] == date(2028, 1, 1)


def test_an_old_copy_cannot_be_opened_after_the_purge(world: World, tmp_path: Path) -> None:
    """A backup of data/ from before still holds rows and blobs; with the keyring of today none opens."""
    delivery_id, dispatch_id = world.deliver(), world.dispatch()
    world.store.close()
    shutil.copytree(world.home / "data", tmp_path / "backup")
    backup = Store(tmp_path / "backup" / "gateway.db")
    assert open_key(backup, world.keyring, delivery_id) is not None, "a key that is there opens the backup"

    world.go_to(DUE + DAY)
    world.purge()

    keyring = Keyring.open(world.home / "keys")
    assert BlobFolder(tmp_path / "backup" / "vault").names()
    with backup.read() as conn:
        stored = data_keys.by_id(conn, range(100)).values()
    assert {key.object_id for key in stored} == {delivery_id, dispatch_id}
    for key in stored:
        with pytest.raises(KeyMissing):
            _unwrap(keyring, key)
    backup.close()


def test_no_readable_name_was_ever_there_and_nothing_sealed_stays(world: World) -> None:
    """After the purge neither the ciphertext, nor a wrapped key, nor a token is left in any file."""
    delivery_id = world.deliver()
    traces: list[bytes] = [row["sealed"] for row in world.rows(SignalRow)]
    traces += [row["wrapped"] for row in world.rows(DataKeyRow)]
    traces += [row["token"] for row in world.rows(IndexToken)]
    traces += [world.row(Delivery, delivery_id)[name] for name in ("name_sealed", "content_digest")]
    assert all(_is_on_disk(world, trace) for trace in traces), "the scan finds what is there"
    assert not _is_on_disk(world, b"Geheimnaam")
    assert not _is_on_disk(world, b"S-1;")

    world.go_to(date(2027, 6, 1))
    assert world.purge().counts["errors"] == 0
    with world.store.read() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not [trace for trace in traces if _is_on_disk(world, trace)]


def test_keys_are_destroyed_on_record(world: World) -> None:
    """Each destroyed key is in the register and in the audit log; keys of days to come stay."""
    world.go_to(date(2026, 11, 25))
    report = world.purge()
    assert report.keys == ("until-2026-11-22", "until-2026-11-23", "until-2026-11-24")
    destroyed = {row["id"]: row["destroyed_at"] for row in world.rows(KeyRow) if row["destroyed_at"]}
    assert destroyed == dict.fromkeys(report.keys, world.now)
    assert [key_id in entry for key_id, entry in zip(report.keys, world.audit("key.destroyed"), strict=True)]
    assert {row["destroyed_in"] for row in world.rows(KeyRow) if row["destroyed_at"]} == {report.run_id}
    live = {row["id"] for row in world.rows(KeyRow) if row["destroyed_at"] is None}
    assert live == set(world.keyring.ids())


def test_a_key_that_still_wraps_something_stays_as_an_error(world: World) -> None:
    """Its destruction would lose an unprocessed file that could not be rewrapped; other keys go."""
    delivery_id = world.deliver(DeliveryState.FAILED)
    (key,) = world.rows(DataKeyRow)
    world.change(DataKeyRow, key["id"], wrapped=bytes(60))
    world.go_to(RAW_DUE + DAY)
    report = world.purge()
    assert [(error.step, error.object_id) for error in report.errors] == [
        ("rewrap", delivery_id),
        ("keys", "until-2026-12-06"),
    ]
    assert report.counts["errors"] == 2
    assert report.counts["keys"] == 14
    assert world.keyring.has("until-2026-12-06")
    assert len(world.audit("purge.failed")) == 2
    assert '"result":"failed"' in world.audit("purge.finished")[0]


def test_an_error_at_one_record_stops_no_other(world: World) -> None:
    """A blob that can't be removed: its key is destroyed all the same, the rest goes, the next night ends it."""
    stuck, other = world.deliver(), world.deliver()
    blob = world.row(Delivery, stuck)["blob"]
    path = world.home / "data" / "vault" / blob
    path.unlink()
    path.mkdir()
    world.go_to(DUE + DAY)

    report = world.purge()

    assert [(error.step, error.object_id) for error in report.errors] == [("blobs", stuck)]
    assert world.rows(SignalRow) == world.held_keys() == []
    states = {row["id"]: row["state"] for row in world.rows(Delivery)}
    assert states == {stuck: DeliveryState.PURGING, other: DeliveryState.PURGED}
    assert not world.keyring.has("until-2026-12-06")
    assert not world.keyring.has("until-2027-05-22")
    (run,) = world.rows(PurgeRun)
    assert (run["errors"], run["finished_at"]) == (1, world.now)

    path.rmdir()
    assert world.purge().counts["errors"] == 0
    assert world.row(Delivery, stuck)["state"] == DeliveryState.PURGED


def test_a_record_that_the_database_refuses_stops_no_other(world: World) -> None:
    """One of many in a batch: the others of that batch go too."""
    delivery_id = world.deliver(signals=5)
    with world.store.write() as conn:
        conn.exec_driver_sql(
            "CREATE TRIGGER stuck BEFORE DELETE ON signal WHEN OLD.id = 3 "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    world.go_to(DUE + DAY)
    report = world.purge()
    assert (report.errors[0].step, report.errors[0].object_id) == ("rows", "3")
    assert [row["id"] for row in world.rows(SignalRow)] == [3]
    assert world.row(Delivery, delivery_id)["purged_rows"] == 4
    assert report.counts["signals"] == 4


def test_a_dry_run_changes_nothing_and_counts_the_same(world: World) -> None:
    """Byte for byte the same database, vault and keyring; then the purge does what was said."""
    fill(world)
    before = world.dump()
    said = world.would_go()
    assert world.dump() == before
    assert said.is_dry_run
    done = world.purge()
    assert said.counts == done.counts
    assert said.keys == done.keys
    assert min(said.counts[name] for name in said.counts if name != "errors") > 0, "each kind goes"


class Killed(BaseException):
    """As kill -9: nothing catches it, nothing is tidied."""


@pytest.fixture
def due_home(make_world: Callable[[str, datetime], World]) -> World:
    """A home in which something of each kind is due, and few keys: the purges of the days before are done."""
    world = make_world("due", datetime(2026, 11, 22, 12, tzinfo=AMSTERDAM))
    world.terms = Terms(signals_months=1, dispatches_months=1, raw_days=25)
    fill(world, until=date(2026, 12, 29), last=date(2027, 1, 2), months=1)
    with world.store.write() as conn:
        for key_id in world.keyring.ids():
            used = ("until-2026-12-17", "until-2026-12-22", "until-2026-12-30")
            if "until" < key_id < "until-2027-01-01" and key_id not in used:
                world.keyring.destroy(key_id)
                registers.mark_destroyed(conn, key_id, world.now)
    return world


def test_killed_after_any_step_and_run_again_it_ends_the_same(due_home: World, tmp_path: Path) -> None:
    """Whatever was done before is not done twice: the counts of the run are the same too."""
    calls: list[str] = []
    whole = due_home.copy(tmp_path / "whole")
    expected = outcome(whole, whole.purge(progress=lambda step, *_: calls.append(step)))
    assert set(calls) == {name for name, _ in STEPS}
    # (step, 0, 0) is told when a step is done
    for nth in [n for n, step in enumerate(calls) if calls[n + 1 : n + 2] != [step]]:
        world = due_home.copy(tmp_path / f"killed-{nth}")
        seen: list[str] = []

        def kill(step: str, *_: int, nth: int = nth, seen: list[str] = seen) -> None:
            seen.append(step)
            if len(seen) > nth:
                raise Killed(step)

        with pytest.raises(Killed):
            world.purge(progress=kill)
        world.sweep()
        assert outcome(world, world.purge()) == expected, calls[nth]
        assert len(world.audit("purge.resumed")) == 1
        world.store.close()
    whole.store.close()


def test_killed_before_any_commit_and_run_again_it_ends_the_same(
    due_home: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between the removal of a blob or a key and the row that says so."""
    plain = Store.write
    left = 0

    @contextmanager
    def dying(store: Store) -> Any:
        nonlocal left
        with plain(store) as conn:
            yield conn
            left -= 1
            if left == 0:
                raise Killed

    whole = due_home.copy(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", dying)
        expected = outcome(whole, whole.purge())
    for nth in range(1, 1 - left):
        world = due_home.copy(tmp_path / f"killed-{nth}")
        left = nth
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", dying)
            with pytest.raises(Killed):
                world.purge()
        world.sweep()
        assert outcome(world, world.purge()) == expected, nth
        world.store.close()
    whole.store.close()


def test_a_database_that_cannot_be_written_ends_the_run(world: World) -> None:
    """That is no record's error: the run stops at once, and the next one completes it."""
    world.deliver()
    world.go_to(DUE + DAY)
    with world.store.write() as conn:
        conn.exec_driver_sql("ALTER TABLE melding RENAME TO mislaid")
    with pytest.raises(StoreError):
        world.purge()
    with world.store.write() as conn:
        conn.exec_driver_sql("ALTER TABLE mislaid RENAME TO melding")
    assert world.purge().counts["signals"] == 2
    assert len(world.rows(PurgeRun)) == 1


def test_the_audit_log_tells_what_went_and_names_nobody(world: World) -> None:
    """Each file, dispatch, delivery and key that went, with counts and digests; no name, no address."""
    delivery_id, dispatch_id = world.deliver(), world.dispatch()
    world.go_to(DUE + DAY)
    world.purge(actor="beheer", origin="cli")
    assert f'"object":"{delivery_id}"' in world.audit("delivery.raw_purged")[0]
    digest = world.row(Delivery, delivery_id)["sealed_sha256"].hex()
    (purged,) = world.audit("delivery.purged")
    assert f'"rows":2,"sha256":"{digest}"' in purged
    assert f'"object":"{dispatch_id}"' in world.audit("dispatch.purged")[0]
    assert f'"{delivery_id}":2' in world.audit("signals.purged")[0]
    assert '"actor":"beheer"' in world.audit("purge.finished")[0]
    assert len(world.audit("purge.started")) == 1


def test_keys_made_ahead_cover_every_due_day(world: World) -> None:
    """From today to the term of what comes in 14 days from now; the index keys of this month and the next."""
    days = sorted(key_id for key_id in world.keyring.ids() if key_id.startswith("until-"))
    assert (days[0], days[-1]) == ("until-2026-11-22", "until-2027-06-06")
    assert len(days) == (date(2027, 6, 6) - RECEIVED).days + 1
    assert {"index-2026-11", "index-2026-12"} <= set(world.keyring.ids())
    assert {row["id"] for row in world.rows(KeyRow)} == set(world.keyring.ids())
    assert world.ensure_keys() == []
    world.clock.step(timedelta(days=1))
    assert world.ensure_keys() == ["until-2027-06-07"]
    assert len(world.audit("key.made")) == len(world.keyring.ids())


# -- what the claims above share -------------------------------------------------------------------


def fill(
    world: World, until: date = date(2027, 5, 20), last: date = date(2027, 6, 1), months: int = 6
) -> None:
    """Something of each kind that goes by `last`, and something received on `until` that stays."""
    delivery_id = world.deliver(months=months)
    world.signal(delivery_id, melding_id=world.melding(months=months), months=months)
    world.answer(world.deliver(months=months), months=months)
    world.exclusion(world.deliver(months=months), months=months)
    world.deliver(DeliveryState.REJECTED)
    world.deliver(DeliveryState.FAILED)
    file = world.dispatch(months=months)
    world.dispatch(months=months, parent_id=file)
    world.go_to(until)
    late = world.deliver(months=months)
    world.signal(late, state=SignalState.EXCLUDED, months=months)
    world.dispatch(months=months)
    world.go_to(last)


def outcome(world: World, report: Any) -> dict[str, Any]:
    """What a purge left, but for what is random; times stand still, so they count."""
    return {
        "counts": dict(report.counts),
        "keys": world.keyring.ids(),
        "register": sorted((row["id"], row["destroyed_at"]) for row in world.rows(KeyRow)),
        "blobs": world.held_blobs(),
        "deliveries": world.rows(Delivery),
        "dispatches": [row for row in world.rows(Dispatch) if row not in world.proofs()],
        "proofs": sorted((row["partner_id"], row["name"], row["due_on"]) for row in world.proofs()),
        "lists": world.letters(DispatchKind.DESTROYED),
        "certificates": [certificate_of(row) for row in world.certificates()],
        "destroyed": [{**row, "id": 0} for row in world.rows(Destruction)],
        "signals": world.rows(SignalRow),
        "answers": world.rows(AnswerRow),
        "exclusions": world.rows(ExclusionRow),
        "meldingen": world.rows(MeldingRow),
        "data_keys": [(row["object_id"], row["key_id"]) for row in world.held_keys()],
        "tokens": world.rows(IndexToken),
        "run": world.rows(PurgeRun),
        "audit": sorted(set(world.audit("key.destroyed") + world.audit("delivery.purged"))),
    }


def certificate_of(row: dict[str, Any]) -> dict[str, Any]:
    """What a certificate says, but for the log and the seconds of this life."""
    return {
        name: value
        for name, value in json.loads(row["as_json"]).items()
        if name not in {"logboek", "compactie", "ondertekenaar"}
    }


def open_key(store: Store, keyring: Keyring, object_id: str) -> Any:
    """The data key of a received file."""
    with store.read() as conn:
        stored = data_keys.of_object(conn, object_id)
    assert stored is not None
    return _unwrap(keyring, stored)


def _unwrap(keyring: Keyring, stored: data_keys.StoredKey) -> Any:
    wrapped = WrappedKey(
        key_id=stored.key_id,
        key_version=stored.key_version,
        wrapped=stored.wrapped,
        commitment=stored.commitment,
    )
    return unwrap(keyring, wrapped, partner=stored.partner_id, object_id=stored.object_id)


def _is_on_disk(world: World, trace: bytes) -> bool:
    return any(trace in path.read_bytes() for path in world.home.rglob("*") if path.is_file())
