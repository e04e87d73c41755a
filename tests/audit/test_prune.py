"""After the log's term contents go and hashes stay: all that was signed verifies, and the log says what went."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pymerkle import InmemoryTree

from gateway.audit.log import record
from gateway.audit.loss import RESTORED
from gateway.audit.merkle import check_consistency, consistency_proof
from gateway.audit.prune import PRUNED, prune_log
from gateway.audit.publish import seal_log
from gateway.audit.sequencer import Sequencer
from gateway.audit.shelf import LogShelf
from gateway.errors import AuditError
from gateway.store import audit as rows
from gateway.store.engine import Store
from gateway.vault.durable import place_file

sys.path.append(str(Path(__file__).parent))
from auditor import fetch, run_verifier  # beside this file

#: The class of `conftest.py`.
Log = Any

#: Entries are of 22 November 2026, and their term is over on this day.
BEFORE = date(2026, 11, 23)
LATER = datetime(2033, 11, 23, 1, 30, tzinfo=UTC)


class Killed(BaseException):
    """The process ends here."""


def seal(log: Log) -> str:
    """As the daemon does."""
    return seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)


def prune(log: Log, before: date = BEFORE) -> int:
    """As the purge does."""
    with log.store.exclusive():
        return prune_log(
            log.store,
            log.folder,
            before,
            seal=lambda: seal(log),
            now=lambda: log.now,
            origin="schedule",
            actor="gateway",
            node="node-1",
        )


def contents(log: Log) -> dict[int, bytes]:
    """What the database holds, by place."""
    with log.store.read() as conn:
        return {one.leaf_index: one.entry for one in rows.numbered(conn) if one.entry is not None}


def said(log: Log) -> list[bytes]:
    """The entries that say what went."""
    return [entry for entry in contents(log).values() if PRUNED.encode() in entry]


def checked(log: Log, *args: str | Path, to: str = "fetched") -> tuple[int, str]:
    """What the stand-alone verifier says of `/audit/log`."""
    return run_verifier(fetch(LogShelf(log.store, log.signer), log.home / to), *args)


@pytest.fixture
def old(log: Log) -> Log:
    """600 entries of seven years ago under three checkpoints, of which notes were kept, and some of today."""
    for count in (100, 300, 200):
        log.add(*(f"L{number}" for number in range(count)))
        (log.home / f"kept-{count}").write_text(seal(log))
    log = replace(log, now=LATER)
    log.add("new-1", "new-2")
    seal(log)
    return log


def test_contents_go_and_all_that_was_signed_verifies(old: Log) -> None:
    """By whole bundles: in the database, in `log/` and in `/audit/log`; what was kept from earlier is continued."""
    assert prune(old) == 512
    report = old.verify()
    assert (report.problems, report.held_from, report.entries) == ([], 512, 603)
    assert sorted(contents(old)) == list(range(512, 603))
    (entry,) = said(old)
    assert b'"detail":{"before":"2026-11-23","held_from":512}' in entry
    assert not any((old.folder / "tile" / "entries" / name).exists() for name in ("000", "001"))
    for count in (100, 300, 200):
        kept = old.home / f"kept-{count}"
        assert old.verify(kept.read_text()).problems == []
        status, told = checked(old, "--kept", kept, to=f"fetched-{count}")
        assert (status, "contents are held from entry 512 on" in told) == (0, True), told
    shelf = LogShelf(old.store, old.signer)
    assert [shown.name for shown in shelf.listing(("tile", "entries"), None) or []] == ["002.p"]
    for path in (("tile", "entries", "000"), ("tile", "entries", "001.p", "44")):
        assert shelf.document(path, None) is None
    assert shelf.document(("tile", "0", "000"), None) is not None
    # once more: nothing is left to do
    assert (prune(old), len(said(old))) == (0, 1)


def test_nothing_goes_before_its_day_and_a_bundle_goes_with_its_youngest(log: Log) -> None:
    """255 old entries and one of a day later stay, all of them, a day longer."""
    log.add(*(f"L{number}" for number in range(255)))
    younger = replace(log, now=datetime(2026, 11, 22, 23, 0, tzinfo=UTC))  # 23 November in the Netherlands
    younger.add("L255", "L256")
    seal(log)
    later = replace(log, now=LATER)
    assert (prune(later, date(2026, 11, 22)), prune(later, BEFORE)) == (0, 0)
    assert said(log) == []
    assert prune(later, date(2026, 11, 24)) == 256


def test_another_implementation_gives_the_same_roots(old: Log) -> None:
    """Over the entries as they were, at each size that was signed; consistency proofs hold from what is left."""
    oracle = InmemoryTree(algorithm="sha256")
    for entry in contents(old).values():
        oracle.append_entry(entry)
    prune(old)
    oracle.append_entry(said(old)[0])
    with old.store.read() as conn:
        checkpoints = rows.checkpoints(conn)
        leaves = list(rows.leaf_hashes(conn, checkpoints[-1].size))
    assert [each.size for each in checkpoints] == [100, 400, 600, 602, 603]
    for each in checkpoints:
        assert oracle.get_root(each.size) == each.root
        proof = consistency_proof(leaves, each.size)
        assert check_consistency(each.size, each.root, 603, oracle.get_root(), proof)


def test_what_is_missing_above_is_an_error(old: Log) -> None:
    """For the gateway's verifier and for that of others."""
    prune(old)
    folder = fetch(LogShelf(old.store, old.signer), old.home / "cut")
    shutil.rmtree(folder / "tile" / "entries" / "002.p")
    status, told = run_verifier(folder)
    assert (status, "is missing" in told) == (1, True)
    old.tamper("UPDATE audit_entry SET entry = NULL WHERE leaf_index IN (512, 513, 550)")
    assert [problem.split(" are missing")[0] for problem in old.verify().problems] == [
        "the contents of entries 512 to 513",
        "the contents of entry 550",
    ]


@pytest.mark.parametrize("statement", [None, {"before": "2033-11-01", "held_from": 512}, {"held_from": 512}])
def test_contents_that_went_without_their_term_are_an_error(
    old: Log, statement: dict[str, int | str] | None
) -> None:
    """Nobody says so, or says so of entries that were younger than seven years, or says nothing that can be read."""
    if statement:
        with old.store.write() as conn:
            record(
                conn,
                action=PRUNED,
                object_id="log",
                origin="cli",
                actor="mallory",
                at=old.now,
                node="node-1",
                detail=statement,
            )
    seal(old)
    with old.store.write() as conn:
        rows.prune(conn, 512, old.now)
    problems = old.verify().problems
    assert "the contents of entries 0 to 511 are missing" in problems[-1]
    assert (len(problems) == 2) == (statement is not None)
    assert checked(old)[0] == 1


def test_an_altered_hash_of_contents_that_went_is_found(old: Log) -> None:
    """By every root that was signed over it."""
    prune(old)
    old.tamper("UPDATE audit_entry SET leaf_hash = ? WHERE leaf_index = 7", bytes(32))
    assert {problem.split(":")[0] for problem in old.verify().problems} >= {"checkpoint 1", "log/checkpoint"}
    status, told = checked(old)
    assert (status, "the log was altered" in told) == (1, True)


@pytest.mark.parametrize(
    "alter",
    [
        "UPDATE audit_entry SET entry = replace(entry, 'eneco', 'vitens') WHERE leaf_index = 300",
        "UPDATE audit_entry SET entry = NULL WHERE leaf_index = 300",
        "UPDATE audit_entry SET at = '1999-01-01 00:00:00.000000' WHERE leaf_index >= 602",
    ],
)
def test_an_altered_entry_stays_as_evidence(old: Log, alter: str) -> None:
    """It is not let go of, whatever its time; a time beside it that was moved lets nothing go."""
    old.tamper(alter)
    if "SET at" in alter:
        old.add(*(f"L{number}" for number in range(300)))
        assert prune(old) == 512
        return
    with pytest.raises(AuditError, match=r"entry 300 .* was altered"):
        prune(old)
    assert said(old) == []
    assert len(contents(old)) == 602 - ("NULL" in alter)


def test_tiles_that_were_lost_come_back_without_what_went(old: Log) -> None:
    """All that can be made again of `log/` is there with the next checkpoint."""
    prune(old)
    shutil.rmtree(old.folder / "tile")
    old.add("after")
    seal(old)
    assert sorted(path.name for path in (old.folder / "tile" / "entries").iterdir()) == ["002.p"]
    assert (old.folder / "tile" / "0" / "000").exists()


def test_what_was_put_aside_of_a_lost_log_goes_too(old: Log) -> None:
    """With the entry with which the next log began: all of the lost one is older. The younger one stays."""
    for folder in ("lost-0123456789abcdef", "lost-fedcba9876543210"):
        (old.folder / folder / "tile").mkdir(parents=True)
    with old.store.write() as conn:
        record(
            conn,
            action=RESTORED,
            object_id=f"{old.signer.origin}/0123456789abcdef",
            origin="cli",
            actor="beheer",
            at=datetime(2027, 1, 1, tzinfo=UTC),
            node="node-1",
            detail={"size": 1},
        )
    replace(old, now=datetime(2027, 1, 1, tzinfo=UTC)).add(*(f"M{number}" for number in range(200)))
    seal(old)
    assert prune(old) == 512
    assert len(list(old.folder.glob("lost-*"))) == 2
    # two entries of 2033 are in its bundle
    assert prune(old, date(2033, 11, 24)) == 256
    assert [path.name for path in old.folder.glob("lost-*")] == ["lost-fedcba9876543210"]


def cut_before(monkeypatch: pytest.MonkeyPatch, nth: int) -> Callable[[], int]:
    """Ends the process before its `nth` durable step: a commit, a file put in place or taken away."""
    steps = 0

    def counted(plain: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == nth:
                raise Killed
            return plain(*args, **kwargs)

        return step

    monkeypatch.setattr(Store, "write", counted(Store.write))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr("gateway.audit.publish.place_file", counted(place_file))
    monkeypatch.setattr("gateway.audit.checkpoint.place_file", counted(place_file))
    return lambda: steps


def test_cut_off_before_any_step_and_run_again_it_ends_the_same(old: Log, tmp_path: Path) -> None:
    """At no moment has the log lost what no signed entry says; who runs it again ends where an undisturbed run does."""
    nth, done = 0, False
    while not done:
        nth += 1
        home = tmp_path / f"cut-{nth}"
        home.mkdir()
        for name in ("keys", "log", "data"):
            shutil.copytree(old.home / name, home / name)
        store = Store(home / "data" / "gateway.db")
        log = replace(old, home=home, store=store, sequencer=Sequencer(old.signer))
        with pytest.MonkeyPatch.context() as patch:
            steps = cut_before(patch, nth)
            with suppress(Killed):
                prune(log)
            done = steps() < nth
        assert log.verify().problems == [], nth
        with store.read() as conn:
            assert rows.held_from(conn) in (0, 512)
        status, told = checked(log)
        assert status == 0, (nth, told)
        prune(log)
        assert (log.verify().problems, log.verify().held_from) == ([], 512)
        assert len(said(log)) in (1, 2)
        assert not (log.folder / "tile" / "entries" / "001").exists()
        store.close()
    assert nth > 8
