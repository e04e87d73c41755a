"""The life of a ring key on real deliveries: new versions, the end of old ones, a key that leaked, an early end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.removals import read, write_out
from gateway.clock import SteppedClock
from gateway.domain.ring_key import KeyState
from gateway.errors import CommandError, KeyMissing, KeyringError, KeySuperseded
from gateway.exchange import inbox
from gateway.pipeline.ledger import check
from gateway.pipeline.retoken import make_tokens_again
from gateway.pipeline.sealing import Opener, open_key, store_key
from gateway.retention import compromise, ring, versions
from gateway.retention.versions import By
from gateway.store import data_keys, exclusions, holds, key_versions, removals, signals
from gateway.store.engine import Store
from gateway.store.removals import Kept
from gateway.store.retention_tables import KeyRow
from gateway.store.tables import (
    AuditEntry,
    DataKeyRow,
    Delivery,
    Dispatch,
    ExclusionRow,
    IndexToken,
    SignalRow,
)
from gateway.vault import removal
from gateway.vault.blobs import BlobFolder
from gateway.vault.datakey import DataKey, WrappedKey, unwrap, wrap
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring

sys.path.append(str(Path(__file__).parent.parent / "end_to_end"))
from durable_steps import arm, in_source

#: The class and the functions of `conftest.py`.
World = Any
Row = Callable[..., dict[str, str]]

RAW = "until-2026-11-17"
ROWS = "until-2027-05-03"
INDEX = "index-2026-11"


def silent(_done: int, _total: int) -> None:
    """Nobody looks."""


def by(world: World) -> By:
    """An administrator."""
    return By(actor="anna", node="test", now=world.clock.now())


def rewrap(world: World, key_id: str | None = None) -> versions.Rewrapped:
    """What the verb does."""
    context = world.context
    return versions.rewrap(
        context.store, context.keyring, key_id, context.terms, by=by(world), progress=silent
    )


#: What a record of an early removal says.
REMOVED = {"kind": "withdrawal", "at": "2026-11-03"}


def keep_removal(world: World) -> Kept:
    """A record of an early removal, under the key of received files."""
    keyring, record_id = world.context.keyring, "R0000000000000001"
    key, sealed = removal.seal(keyring, RAW, record_id, REMOVED)
    kept = Kept(
        id=record_id,
        sealed=sealed,
        key_id=key.key_id,
        key_version=key.key_version,
        wrapped=key.wrapped,
        commitment=key.commitment,
    )
    with world.context.store.write() as conn:
        removals.add(conn, kept, owner=removal.OWNER, due_on=date(2026, 11, 17), at=world.clock.now())
    return kept


def retire(world: World, key_id: str) -> list[str]:
    """What the verb does."""
    return versions.retire(world.context.store, world.context.keyring, key_id, by(world))


def leak(world: World, key_id: str) -> compromise.Resealed:
    """What the verb does with a key that wraps data keys; no file lies there twice but while it is copied."""
    context = world.context
    most = len(blobs(world))

    def look(_done: int, _total: int) -> None:
        assert len(blobs(world)) <= most

    before = compromise.mark(context.store, context.keyring, key_id, by(world))
    done = compromise.seal_again(
        context.store, context.keyring, context.blobs, key_id, before, by=by(world), progress=look
    )
    compromise.destroy_compromised(context.store, context.keyring, key_id, before, by(world))
    return done


def leak_index(world: World, key_id: str = INDEX) -> Any:
    """What the verb does with an index key, and the start of the gateway after it."""
    context = world.context
    before = compromise.mark(context.store, context.keyring, key_id, by(world))
    done = make_tokens_again(context, key_id, before, "anna", silent)
    compromise.destroy_compromised(context.store, context.keyring, key_id, before, by(world))
    start_again(world)
    return done


def start_again(world: World) -> None:
    """A process that begins: it reads which versions are in force."""

    def in_force() -> dict[str, int]:
        with world.context.store.read() as conn:
            return key_versions.in_force(conn)

    world.configure(indexer=Indexer(world.context.keyring, in_force))


def trouble(world: World) -> list[str]:
    """What `keys verify` and `ledger check` say."""
    found = list(ring.problems(world.context.store, world.context.keyring, silent))
    return found + [str(each) for each in check(world.context).differences]


def state_of(world: World, key_id: str) -> KeyState:
    """As `keys status` shows it."""
    context = world.context
    found = ring.standings(context.store, context.keyring, world.clock.now(), context.terms)
    return next(key.state for key in found if key.id == key_id)


def audit(world: World, action: str) -> list[dict[str, Any]]:
    """The entries of an action."""
    entries = [json.loads(row["entry"]) for row in world.rows(AuditEntry)]
    return [each for each in entries if each["action"] == action]


def blobs(world: World) -> dict[str, bytes]:
    """The vault, byte for byte."""
    folder = world.context.reference.parent / "vault"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sealed(world: World) -> list[tuple[Any, ...]]:
    """Every sealed column, byte for byte."""
    found = [("signal", row["id"], row["sealed"]) for row in world.rows(SignalRow)]
    found += [("exclusion", row["id"], row["sealed"]) for row in world.rows(ExclusionRow)]
    return found + [
        ("delivery", row["id"], row["name_sealed"], row["sha256_sealed"]) for row in world.rows(Delivery)
    ]


def plain(world: World) -> dict[str, bytes]:
    """Every outgoing file as its partner reads it."""
    return {row["id"]: world.read(row) for row in world.rows(Dispatch) if row["state"] != "purging"}


def lists(*rows: dict[str, str]) -> bytes:
    """A municipality's file of exclusions."""
    header = list(rows[0])
    lines = [header, *([row[name] for name in header] for row in rows)]
    return "".join(";".join(line) + "\r\n" for line in lines).encode()


def moved(world: World, home: Path) -> World:
    """The same gateway with its files elsewhere, opened anew."""
    context = world.context
    keyring = Keyring.open(home / "keys")
    clock = SteppedClock(world.clock.now())
    there = replace(
        context,
        store=Store(home / "gateway.db"),
        keyring=keyring,
        blobs=BlobFolder(home / "vault"),
        clock=clock,
        reference=home / "reference.db",
    )
    other = type(world)(there, clock, world.taken, set(world.seen))
    start_again(other)
    return other


@pytest.fixture(scope="module")
def busy_home(
    tmp_path_factory: pytest.TempPathFactory, new_world: Callable[[Path], World], row: Row
) -> World:
    """Two creditors' signals on one address, published; a third waits; a resident is listed."""
    world = new_world(tmp_path_factory.mktemp("busy") / "home")
    listed = {
        "postcode": "7938PL",
        "huisnummer": "22",
        "achternaam": "Jansen",
        "uitsluiten_tot": "2026-12-31",
    }
    world.send("gemeente", content=lists(listed))
    world.send(
        "woonservice", row("h1"), row("h2", huisnummer=20), row("h3", huisnummer=22, achternaam="Jansen")
    )
    world.send("dezorgkas", row("z1", sector="Zorg"))
    assert len(world.publish()) == 3
    world.put("stroomhuis", row("s1", sector="Energie"))
    assert {each["state"] for each in world.rows(SignalRow)} == {"passed_on", "excluded"}
    world.context.store.close()
    return world


@pytest.fixture
def busy(busy_home: World, tmp_path: Path) -> Iterator[World]:
    """A copy of that gateway; at the end its ledger adds up."""
    shutil.copytree(busy_home.context.reference.parent, tmp_path / "home")
    world = moved(busy_home, tmp_path / "home")
    yield world
    if not world.is_damaged:
        assert check(world.context).differences == ()
    world.context.store.close()


# New versions --------------------------------------------------------------------------------------------


def test_a_rewrap_encrypts_no_data_again_and_loses_none(busy: World) -> None:
    """Promise 3: every blob and every sealed row is as it was, byte for byte, and opens under the new versions alone."""
    before = blobs(busy), sealed(busy), plain(busy)
    wrapped = {row["id"]: row["wrapped"] for row in busy.rows(DataKeyRow)}
    keys = {row["key_id"] for row in busy.rows(DataKeyRow)}
    done = rewrap(busy)
    assert done.data_keys == len(wrapped)
    assert done.keys >= len(keys) > 1
    assert (blobs(busy), sealed(busy)) == before[:2]
    rows = busy.rows(DataKeyRow)
    assert {row["key_version"] for row in rows} == {2}
    assert all(row["wrapped"] != wrapped[row["id"]] for row in rows)
    for key_id in keys:
        assert busy.context.keyring.versions(key_id) == [1, 2]
        assert retire(busy, key_id) == []
        assert busy.context.keyring.versions(key_id) == [2]
    assert plain(busy) == before[2]
    assert trouble(busy) == []
    assert {each["detail"]["version"] for each in audit(busy, "key.renewed")} == {2}
    assert len(audit(busy, "key.rewrapped")) == done.keys
    busy.work()
    assert busy.receipt("L0004")["sommen"]["signalen"] == 1
    assert {row["key_version"] for row in busy.rows(DataKeyRow)} == {2}


def test_one_key_is_rewrapped_and_an_index_key_never(busy: World) -> None:
    """Others stay as they are; what tokens are made with wraps nothing."""
    assert rewrap(busy, RAW).keys == 1
    assert busy.context.keyring.versions(ROWS) == [1]
    with pytest.raises(CommandError, match="index tokens are made with it"):
        rewrap(busy, INDEX)
    with pytest.raises(KeyringError, match="not in the keyring"):
        rewrap(busy, "until-2020-01-01")


def test_a_copy_that_is_away_stops_a_rewrap(busy: World, tmp_path: Path) -> None:
    """A data key under a version that a copy lacks would be lost with the ring."""
    busy.context.keyring.add_copy(tmp_path / "safe", lambda _: None)
    (tmp_path / "safe").rename(tmp_path / "away")
    with pytest.raises(KeyringError, match="copy-1 can't be reached"):
        rewrap(busy)
    (tmp_path / "away").rename(tmp_path / "safe")
    rewrap(busy, RAW)
    assert (tmp_path / "safe" / f"{RAW}.v2.key").exists()
    assert retire(busy, RAW) == []
    assert not (tmp_path / "safe" / f"{RAW}.key").exists()
    assert busy.context.keyring.verify_copies() == []


def test_retire_refuses_while_a_reference_is_left(busy: World) -> None:
    """It names how many there are and what moves them; the old version stays."""
    with pytest.raises(CommandError, match="no older version"):
        retire(busy, RAW)
    busy.context.keyring.renew({RAW: 2})
    versions.put_in_force(busy.context.store, {RAW: 2}, by(busy))
    left = sum(row["key_id"] == RAW for row in busy.rows(DataKeyRow))
    with pytest.raises(CommandError, match=rf"^{left} data keys .* gateway keys rewrap {RAW} moves them"):
        retire(busy, RAW)
    assert busy.context.keyring.versions(RAW) == [1, 2]


def test_a_record_of_an_early_removal_is_sealed_again(busy: World, tmp_path: Path) -> None:
    """It says the same under another data key, here and in `log/`, and the compromised version can go."""
    context, kept = busy.context, keep_removal(busy)
    record_id = kept.id
    write_out(context.store, tmp_path)
    before = (tmp_path / "removals" / f"{record_id}.json").read_bytes()
    leak(busy, RAW)
    assert context.keyring.versions(RAW) == [2]
    write_out(context.store, tmp_path)
    assert (tmp_path / "removals" / f"{record_id}.json").read_bytes() != before
    ((found,), over) = read(context.keyring, [record_id], tmp_path)
    assert (found.fields, over) == (REMOVED, [])
    assert found.kept.commitment != kept.commitment


def test_nothing_is_stored_under_a_version_that_gave_way(busy: World) -> None:
    """A data key that was wrapped before, and comes to be stored after: refused, and wrapped again it is taken."""
    context = busy.context
    late = wrap(context.keyring, RAW, DataKey.generate(), partner="woonservice", object_id="L9999")
    rewrap(busy, RAW)
    retire(busy, RAW)

    def store(key: WrappedKey) -> None:
        with context.store.write() as conn:
            data_keys.add(
                conn,
                object_id="L9999",
                partner_id="woonservice",
                due_on=date(2026, 11, 17),
                key_id=key.key_id,
                key_version=key.key_version,
                wrapped=key.wrapped,
                commitment=key.commitment,
            )

    with pytest.raises(KeySuperseded, match=r"version 1 of .* gave way to version 2"):
        store(late)
    store(wrap(context.keyring, RAW, DataKey.generate(), partner="woonservice", object_id="L9999"))
    moved = {"key_id": RAW, "key_version": late.key_version, "wrapped": late.wrapped}
    with pytest.raises(KeySuperseded, match=r"gave way"), context.store.write() as conn:
        holds.rewrap(conn, 1, **moved)


def test_a_close_under_way_keeps_its_version_alive(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wrapped under the old version and has not committed: rewrap and retire wait for it, and move its key."""
    context = busy.context
    wrapped, renewed, data_key = threading.Event(), threading.Event(), DataKey.generate()
    renew, errors = Keyring.renew, []

    def close() -> None:
        try:
            with context.store.write() as conn:
                about = {"object_id": "L9999", "partner_id": "woonservice", "due_on": date(2026, 11, 17)}
                store_key(context, conn, data_key, **about)
                (stored,) = data_keys.of_objects(conn, ["L9999"]).values()
                errors.extend([] if stored.key_version == 1 else ["it was not under the old version"])
                wrapped.set()
                errors.extend([] if renewed.wait(30) else ["no new version came"])
        finally:
            wrapped.set()

    thread = threading.Thread(target=close)

    def while_it_closes(keyring: Keyring, wanted: dict[str, int]) -> None:
        thread.start()
        assert wrapped.wait(30)
        renew(keyring, wanted)
        renewed.set()

    monkeypatch.setattr(Keyring, "renew", while_it_closes)
    rewrap(busy, RAW)
    retire(busy, RAW)
    thread.join()
    assert errors == []
    with context.store.read() as conn:
        stored = data_keys.of_object(conn, "L9999")
    assert stored is not None
    assert stored.key_version == 2
    assert open_key(context, stored).commitment() == data_key.commitment()
    busy.is_damaged = True  # a data key of no delivery


# A key that leaked ---------------------------------------------------------------------------------------


def stolen(world: World, key_id: str) -> Callable[[WrappedKey, str, str], DataKey]:
    """What somebody can open who has version 1 of a key, as a keyring of his own."""
    ring_of_thief = Keyring.create(world.context.reference.parent / f"thief-{key_id}")
    ring_of_thief.ensure([key_id])
    ring_of_thief._cache.clear()
    key = world.context.keyring.get(key_id, 1)
    path = ring_of_thief._path(key_id)
    path.write_bytes(ring_of_thief._wrapped(key_id, key))
    return lambda wrapped, partner, object_id: unwrap(
        ring_of_thief, wrapped, partner=partner, object_id=object_id
    )


@pytest.mark.parametrize("key_id", [RAW, ROWS])
def test_what_a_leaked_key_protected_is_sealed_under_others(busy: World, key_id: str, tmp_path: Path) -> None:
    """New data keys, new bytes, the same contents; the leaked version is gone in every copy, and opens nothing of now."""
    context = busy.context
    context.keyring.add_copy(tmp_path / "safe", lambda _: None)
    thief = stolen(busy, key_id)
    under = [row for row in busy.rows(DataKeyRow) if row["key_id"] == key_id]
    before, texts, vault = sealed(busy), plain(busy), blobs(busy)
    opened = {row["object_id"]: row for row in under if not row["municipality"]}
    done = leak(busy, key_id)
    assert done.failed == ()
    assert done.files == len(opened)
    assert done.rows == (0 if key_id == RAW else 3)
    rows = [row for row in busy.rows(DataKeyRow) if row["key_id"] == key_id]
    assert {row["key_version"] for row in rows} == {2}
    assert not {row["commitment"] for row in rows} & {row["commitment"] for row in under}
    for row in rows:
        now = WrappedKey(key_id=key_id, key_version=1, wrapped=row["wrapped"], commitment=row["commitment"])
        with pytest.raises(Exception, match="altered, or belongs"):
            thief(now, row["partner_id"], row["object_id"])
    # of what it protected no byte is as it was, and of anything else every byte is
    known = {row["object_id"]: row["key_id"] for row in busy.rows(DataKeyRow) if not row["municipality"]}
    for table in (Delivery, Dispatch):
        for row in busy.rows(table):
            assert (row["blob"] in vault) is (known[row["id"]] != key_id)
    assert len(blobs(busy)) == len(vault)
    changed = {old[:2] for old, new in zip(before, sealed(busy), strict=True) if old != new}
    if key_id == RAW:
        assert changed == {("delivery", f"L000{number}") for number in range(1, 5)}
    else:
        assert {table for table, _ in changed} == {"signal"}
        assert len(changed) == 3
    assert plain(busy) == texts
    assert trouble(busy) == []
    assert context.keyring.versions(key_id) == [2]
    assert not (tmp_path / "safe" / f"{key_id}.key").exists()
    assert (tmp_path / "safe" / f"{key_id}.v2.key").exists()
    assert state_of(busy, key_id) is not KeyState.COMPROMISED
    busy.work()
    assert busy.receipt("L0004")["sommen"]["signalen"] == 1
    assert busy.publish()
    assert trouble(busy) == []


def test_listed_residents_are_sealed_again_too(busy: World) -> None:
    """They are excluded as before."""
    (listed,) = busy.rows(ExclusionRow)
    (key,) = [row for row in busy.rows(DataKeyRow) if row["id"] == listed["data_key_id"]]
    assert leak(busy, key["key_id"]).rows >= 1
    (again,) = busy.rows(ExclusionRow)
    assert again["sealed"] != listed["sealed"]
    assert trouble(busy) == []


def test_a_compromised_key_is_shown_until_it_is_gone(busy: World) -> None:
    """At once, on record; nothing new is wrapped under it, rewrap and retire send to the verb that helps."""
    context = busy.context
    assert state_of(busy, RAW) is KeyState.ACTIVE
    before = compromise.mark(context.store, context.keyring, RAW, by(busy))
    assert state_of(busy, RAW) is KeyState.COMPROMISED
    assert [each["object"] for each in audit(busy, "key.compromised")] == [RAW]
    assert wrap(context.keyring, RAW, DataKey.generate(), partner="p", object_id="o").key_version == 2
    versions.put_in_force(context.store, {RAW: before}, by(busy))
    with pytest.raises(CommandError, match=f"gateway keys compromise {RAW}"):
        rewrap(busy, RAW)
    with pytest.raises(CommandError, match=f"gateway keys compromise {RAW} moves them"):
        retire(busy, RAW)
    with pytest.raises(KeyringError, match="under a compromised version still"):
        compromise.destroy_compromised(context.store, context.keyring, RAW, before, by(busy))
    leak(busy, RAW)
    assert len(audit(busy, "key.compromised")) == 1
    assert state_of(busy, RAW) is KeyState.ACTIVE


def test_what_cannot_be_opened_stops_none_of_the_others(busy: World) -> None:
    """It is named, and the compromised version stays for it, as the state says."""
    busy.is_damaged = True
    delivery = busy.rows(Delivery)[1]
    path = busy.context.reference.parent / "vault" / delivery["blob"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(KeyringError, match=r"^1 data keys of"):
        leak(busy, RAW)
    left = [
        row["object_id"] for row in busy.rows(DataKeyRow) if row["key_id"] == RAW and row["key_version"] == 1
    ]
    assert left == [delivery["id"]]
    assert state_of(busy, RAW) is KeyState.COMPROMISED
    assert len(blobs(busy)) == len(busy.rows(Delivery)) + len(busy.rows(Dispatch))
    # on its day it goes with its key, as everything does
    busy.work()
    busy.go_to(date(2026, 11, 18), hour=3)
    busy.purge()
    assert state_of(busy, RAW) is KeyState.DESTROYED


def test_what_is_renamed_or_gone_meanwhile_breaks_nothing(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A RENAME while the bytes are copied keeps its name; a file that was given up leaves no bytes behind."""
    context, copy = busy.context, compromise._copy
    seen: list[str] = []

    def and_meanwhile(work: Any, file: Any, old: DataKey, fresh: DataKey) -> dict[str, Any]:
        values = copy(work, file, old, fresh)
        if file.kind is None and not seen:
            seen.append(file.id)
            with context.store.write() as conn:
                name = inbox.seal_name(old.row_key(), file.id, "anders.csv")
                conn.execute(
                    Delivery.__table__.update()
                    .where(Delivery.__table__.c.id == file.id)
                    .values(name_sealed=name)
                )
        elif file.id == "L0004":
            context.blobs.remove(file.blob)
            with context.store.write() as conn:
                data_keys.drop(conn, file.id)
                conn.execute(Delivery.__table__.delete().where(Delivery.__table__.c.id == file.id))
        return values

    monkeypatch.setattr(compromise, "_copy", and_meanwhile)
    assert leak(busy, RAW).failed == ()
    assert len(blobs(busy)) == len(busy.rows(Delivery)) + len(busy.rows(Dispatch))
    with context.store.read() as conn:
        stored = data_keys.of_object(conn, seen[0])
    assert stored is not None
    (row,) = [row for row in busy.rows(Delivery) if row["id"] == seen[0]]
    assert inbox.open_name(open_key(context, stored).row_key(), seen[0], row["name_sealed"]) == "anders.csv"
    busy.is_damaged = True  # the file that was given up is missed in the order of arrival
    assert list(ring.problems(context.store, context.keyring, silent)) == []


# An index key that leaked --------------------------------------------------------------------------------


def test_signals_meet_across_a_leaked_index_key(busy: World, row: Row) -> None:
    """One that came before and one that comes after are in one melding; W, I and the same again are known as before."""
    tokens = {(each["level"], each["token"]): each["place"] for each in busy.rows(IndexToken)}
    done = leak_index(busy)
    again = {(each["level"], each["token"]): each["place"] for each in busy.rows(IndexToken)}
    assert not tokens.keys() & again.keys()
    assert (done.tokens, done.lost) == (len(tokens), 0)
    assert sorted((level, place) for (level, _), place in again.items()) == sorted(
        (level, place) for (level, _), place in tokens.items()
    )
    assert {each["key_id"] for each in busy.rows(IndexToken)} == {INDEX}
    assert busy.context.keyring.versions(INDEX) == [2]
    busy.work()  # the file that waited: a third creditor at the address of h1 and z1
    by_number = {each["creditor"]: each for each in busy.rows(SignalRow) if each["line"] == 2}
    assert len({by_number[name]["melding_id"] for name in ("woonservice", "dezorgkas", "stroomhuis")}) == 1
    sums = busy.send("woonservice", row("h1"), row("h2", huisnummer=20, bedrag="700,00", mutatie="W"))[
        "sommen"
    ]
    assert (sums["signalen"], sums["wijzigingen"], sums["dubbel"]) == (0, 1, 1)
    assert busy.send("dezorgkas", row("z1", sector="Zorg", mutatie="I"))["sommen"]["intrekkingen"] == 1
    assert trouble(busy) == []


def test_another_row_under_a_known_id_is_no_duplicate(busy: World, row: Row) -> None:
    """What is compared with what is kept differs where the row differs."""
    leak_index(busy)
    for changed in ({"bedrag": "601,00"}, {"dagen_achterstand": "61"}, {"telefoonnummer": "0612345678"}):
        sums = busy.send("woonservice", row("h1", **changed))["sommen"]
        assert (sums["dubbel"], sums["afgekeurd"]) == (0, 1)


def test_the_same_file_is_known_after_a_leaked_index_key(busy: World, row: Row) -> None:
    """F08, by a digest that was made again; of the old one nothing is left."""
    before = {each["id"]: each["content_digest"] for each in busy.rows(Delivery)}
    leak_index(busy)
    after = {each["id"]: each["content_digest"] for each in busy.rows(Delivery)}
    assert all(after[each] and after[each] != before[each] for each in ("L0002", "L0003"))
    assert busy.send("dezorgkas", row("z1", sector="Zorg"))["weigering"]["code"] == "F08"


def test_automatic_ids_are_known_after_a_leaked_index_key(world: World, row: Row) -> None:
    """What a signaal_id is made of leads to the same place, also in the next month."""
    auto = replace(world.context.partners["woonservice"], defaults={"signaal_id": "auto"})
    world.configure(partners=world.context.partners | {"woonservice": auto})
    fields = {name: value for name, value in row("x", klantnummer="k1").items() if name != "signaal_id"}
    world.send("woonservice", fields | {"signaaldatum": "2026-11-02"})
    leak_index(world)
    world.go_to(date(2026, 12, 2))
    again = world.send("woonservice", fields | {"signaaldatum": "2026-11-02", "bedrag": "650,00"})
    assert (again["sommen"]["signalen"], again["sommen"]["wijzigingen"]) == (0, 1)
    assert len({each["place_s1"] for each in world.rows(SignalRow)}) == 1


def test_the_lookback_of_other_months_is_as_before(world: World, row: Row) -> None:
    """A signal of October, and one of November on the same contract: found by the tokens of October's key."""
    world.go_to(date(2026, 12, 3))
    world.send("woonservice", row("h1"))
    leak_index(world, "index-2026-12")
    world.go_to(date(2027, 1, 4))
    world.send("woonservice", row("h9", klantnummer="k-h1", signaaldatum="2027-01-04"))
    first, second = world.rows(SignalRow)
    assert (first["place_k1"], first["place_a1"]) == (second["place_k1"], second["place_a1"])


def test_a_database_from_before_the_leak_is_put_back(busy: World, row: Row) -> None:
    """The ring has another version than it knows: files are received and processed, and old tokens lead nowhere."""
    path = busy.context.reference.parent / "gateway.db"
    with busy.context.store.no_writers(within_s=10), sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = path.read_bytes()
    db.close()
    leak_index(busy)
    busy.context.store.close()
    for each in path.parent.glob("gateway.db*"):
        each.unlink()
    path.write_bytes(before)
    busy.configure(store=Store(path))
    start_again(busy)
    with pytest.raises(KeyMissing):
        busy.context.indexer.token("2026-11", "name", "p", ("a",))
    old = {each["token"] for each in busy.rows(IndexToken)}
    busy.make_keys()
    assert busy.rows(IndexToken) == []
    assert busy.send("woonservice", row("h5"))["sommen"]["signalen"] == 1
    assert {each["key_id"] for each in busy.rows(IndexToken)} == {INDEX}
    assert not old & {each["token"] for each in busy.rows(IndexToken)}
    assert [each["detail"]["lost"] for each in audit(busy, "key.renewed")] == [len(old)]
    assert trouble(busy) == []


def test_a_process_that_knows_the_old_version_reads_which_is_in_force(busy: World) -> None:
    """An indexer that was made before looks again when its key is gone."""
    start_again(busy)
    indexer = busy.context.indexer
    old = indexer.token("2026-11", "address", "GM1731", ("a", "b"))
    leak_index(busy)
    assert indexer.token("2026-11", "address", "GM1731", ("a", "b")) != old


# Before its day ------------------------------------------------------------------------------------------


def test_one_key_that_is_gone_keeps_no_other_row_shut(busy: World) -> None:
    """Rows are made ready together; only those that it sealed say that they can't be opened."""
    busy.is_damaged = True
    (listed,) = busy.rows(ExclusionRow)
    busy.context.keyring.destroy(ROWS)
    with busy.context.store.read() as conn:
        opener = Opener(busy.context, conn)
        found = [
            *exclusions.held(conn, ["GM1731"]),
            *signals.sealed(conn, (row["id"] for row in busy.rows(SignalRow))),
        ]
        opener.load(row.data_key_id for row in found)
        assert opener.open(found[0], "exclusion")["achternaam"] == "Jansen"
        assert listed["id"] == found[0].id
        for row in found[1:]:
            if row.state != "excluded":
                with pytest.raises(KeyMissing):
                    opener.open(row)


def test_a_file_that_comes_in_while_its_key_is_ended(
    busy: World, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CLOSE just before the end: its file would be received and lost, so nothing is destroyed."""
    busy.work()
    context, renew = busy.context, Keyring.renew

    def while_it_closes(keyring: Keyring, wanted: dict[str, int]) -> None:
        busy.put("vitens", row("v1", sector="Water"))
        renew(keyring, wanted)

    monkeypatch.setattr(Keyring, "renew", while_it_closes)
    with pytest.raises(CommandError, match=r"1 received files .* nothing was destroyed"):
        ring.destroy(
            context.store,
            context.keyring,
            RAW,
            busy.clock.now(),
            context.terms,
            node="test",
            actor="anna",
            approved=True,
        )
    assert context.keyring.versions(RAW) == [1, 2]
    busy.work()
    assert busy.receipt("L0005")["sommen"]["signalen"] == 1


def test_two_approvers_end_a_key_before_its_day(busy: World, row: Row) -> None:
    """What it protected is told beforehand, takes part in nothing after, and goes with the next purge; all else goes on."""
    context = busy.context
    stake = ring.at_stake(context.store, ROWS)
    assert (stake.signals, stake.waiting, stake.files) == (3, 0, 0)
    assert stake.dispatches >= stake.uncollected > 0
    about = {"node": "test", "actor": "anna"}
    now = busy.clock.now()
    with pytest.raises(CommandError, match="two approvers"):
        ring.destroy(context.store, context.keyring, ROWS, now, context.terms, **about)
    with pytest.raises(CommandError, match="wait to be processed"):
        ring.destroy(context.store, context.keyring, RAW, now, context.terms, approved=True, **about)
    assert (
        ring.destroy(context.store, context.keyring, ROWS, now, context.terms, approved=True, **about) == []
    )
    with pytest.raises(KeyMissing):
        context.keyring.get(ROWS, 1)
    assert context.keyring.has(ROWS)
    (ended,) = audit(busy, "key.ended")
    assert ended["detail"]["signals"] == 3
    # intake, look-back, publication, INZAGE: nothing of it crashes on what can't be opened
    busy.new_lines()
    busy.work()
    asked = {
        "avg_verzoek": "INZAGE",
        "verzoek_id": "1",
        "postcode": "7938PL",
        "achternaam": "Bakker",
        "geboortedatum": "1980-05-01",
    }
    busy.send("gemeente", content=lists(asked))
    busy.send("woonservice", row("h4", huisnummer=20))
    lines = busy.publish()
    assert {line["klantnummer"] for line in lines} == {"k-s1", "k-h4"}
    assert trouble(busy) == []
    busy.go_to(date(2026, 11, 4), hour=3)
    busy.purge()
    left = busy.rows(SignalRow)
    assert {each["creditor"] for each in left if each["state"] == "passed_on"} == {
        "stroomhuis",
        "woonservice",
    }
    assert not [each for each in busy.rows(DataKeyRow) if each["key_id"] == ROWS and each["key_version"] == 1]
    assert trouble(busy) == []


# Killed --------------------------------------------------------------------------------------------------


def renew_and_retire(world: World) -> None:
    """Two keys get a new version and lose the old one; what was done before a kill is not begun again."""
    with world.context.store.read() as conn:
        known = key_versions.all_keys(conn)
    for key_id in (RAW, ROWS):
        if known[key_id].version == 1 or known[key_id].wanted_version is not None:
            rewrap(world, key_id)
        if known[key_id].destroyed_before == 1:
            retire(world, key_id)


def leak_once(world: World, key_id: str) -> None:
    """A key leaks; it is not said again of a version that came after."""
    with world.context.store.read() as conn:
        known = key_versions.of_key(conn, key_id)
    if known.destroyed_before > 1:
        return
    if key_id == INDEX:
        leak_index(world)
    else:
        leak(world, key_id)


def end_early(world: World) -> None:
    """Two approvers end a key; what was not ended at a kill is now."""
    context = world.context
    if context.keyring.versions(ROWS)[0] > 1:
        with context.store.read() as conn:
            if key_versions.of_key(conn, ROWS).destroyed_before > 1:
                return
    ring.destroy(
        context.store,
        context.keyring,
        ROWS,
        world.clock.now(),
        context.terms,
        node="test",
        actor="anna",
        approved=True,
    )


WORKS: dict[str, Callable[[World], None]] = {
    "rewrap and retire": renew_and_retire,
    RAW: lambda world: leak_once(world, RAW),
    ROWS: lambda world: leak_once(world, ROWS),
    INDEX: lambda world: leak_once(world, INDEX),
    "an early end": end_early,
}
#: Where it was killed, before and after.
KILLED_AT: set[str] = set()


def killed(world: World, work: str, point: str, log: Path) -> int:
    """The work in a process of its own, which is killed at a point; how that ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            arm(point, 1 if point else 0, log)
            WORKS[work](moved(world, world.context.reference.parent))
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end_of(world: World) -> dict[str, Any]:
    """All that counts, without what is random."""
    tokens = [(row["key_id"], row["level"], row["place"]) for row in world.rows(IndexToken)]
    keys = [
        (row["object_id"], row["municipality"], row["due_on"], row["key_id"], row["key_version"])
        for row in world.rows(DataKeyRow)
    ]
    return {
        "trouble": trouble(world),
        "data_keys": sorted(keys),
        "tokens": sorted(tokens),
        "plain": plain(world),
        "blobs": len(list((world.context.reference.parent / "vault").iterdir())),
        "ring": sorted(path.name for path in (world.context.reference.parent / "keys/ring").iterdir()),
        "audit": sorted(
            f"{each['action']} {each['object']}"
            for each in (json.loads(row["entry"]) for row in world.rows(AuditEntry))
        ),
        "keys": {row["id"]: row["destroyed_before"] for row in world.rows(KeyRow)},
    }


@pytest.mark.parametrize("work", WORKS)
def test_killed_at_each_durable_step(
    busy: World, work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL before and after each; run again, it comes to the same end as undisturbed."""
    for module in (versions, compromise):
        monkeypatch.setattr(module, "BATCH", 1)  # killed half-way all there is
    keep_removal(busy)
    busy.context.store.close()

    def life(number: int, point: str) -> tuple[dict[str, Any], list[str]]:
        home, log = tmp_path / f"home-{number}", tmp_path / f"points-{number}"
        shutil.copytree(busy.context.reference.parent, home)
        copy = moved(busy, home)
        copy.context.store.close()
        end = killed(copy, work, point, log)
        assert end == (-signal.SIGKILL if point else 0), point
        points = log.read_text().splitlines()
        again = moved(copy, home)
        again.sweep()
        WORKS[work](again)
        found = end_of(again)
        again.context.store.close()
        shutil.rmtree(home)
        return found, points

    undisturbed, points = life(0, "")
    assert undisturbed["trouble"] == []
    names = [name for name in dict.fromkeys(points) if name not in KILLED_AT]
    for number, point in enumerate(names, start=1):
        found, _ = life(number, point)
        for part, what in undisturbed.items():
            if work == "an early end" and part in {"ring", "audit", "keys"}:
                # done once more, it leaves a later version
                continue
            assert found[part] == what, f"killed {point}: {part}"
    KILLED_AT.update(points)


def test_every_durable_step_of_these_verbs_was_visited() -> None:
    """A step that is new in them is killed at too."""
    if not KILLED_AT:
        pytest.skip("tells of the test before, in the same process")
    of_them = (
        "retention/ring._destroy_early",
        "retention/versions.",
        "retention/compromise.",
        "pipeline/retoken.",
    )
    wanted = {
        f"{side} {step}"
        for step in in_source()
        if step.partition(" ")[2].startswith(of_them)
        for side in ("before", "after")
    }
    assert wanted - KILLED_AT == set()
