"""A database that is older than `log/`: the entries that it lacks are taken in again, and the log stays one."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway.audit.checkpoint import open_checkpoint
from gateway.audit.continuation import entries_between, older, take_in
from gateway.audit.publish import seal_log
from gateway.audit.sequencer import Sequencer
from gateway.errors import AuditError


def seal(log) -> str:
    """As the daemon does."""
    return seal_log(log.store, Sequencer(log.signer), log.signer, log.folder, log.now)


def numbered(*numbers: int) -> list[str]:
    """Object ids."""
    return [f"L{number}" for number in numbers]


@pytest.fixture
def rolled_back(log, tmp_path):
    """A log whose database was copied when it held 300 entries under a checkpoint and three that waited."""
    log.add(*numbered(*range(300)))
    seal(log)
    log.add("w1", "w2", "w3")
    with sqlite3.connect(log.home / "data/gateway.db") as db:
        db.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    log.add(*numbered(*range(300, 700)))
    seal(log)
    log.store.close()
    for path in (log.home / "data").iterdir():
        path.unlink()
    shutil.copy(tmp_path / "copy.db", log.home / "data/gateway.db")
    return log


def taken_in(log) -> int:
    """What a replay does first."""
    with log.store.write() as conn:
        found = older(conn, log.folder, log.signer.public_key)
        assert found is not None
        return take_in(conn, log.folder, log.signer.public_key, found, log.now)


def objects(log) -> list[str]:
    """What each entry is about, in the order of the tree."""
    with log.store.read() as conn:
        return [entry["object"] for entry in entries_between(conn, 0, 10_000)]


def test_the_log_goes_on_as_one(rolled_back) -> None:
    """Over several bundles, from the middle of one; every entry once, in its place; any kept checkpoint holds."""
    log = rolled_back
    kept = (log.folder / "checkpoint").read_text()
    with pytest.raises(AuditError, match="the database holds 300"):
        seal(log)
    # 403: those that waited when the copy was made have their places in it
    assert taken_in(log) == 403
    assert objects(log) == [*numbered(*range(300)), "w1", "w2", "w3", *numbered(*range(300, 700))]
    report = log.verify(kept)
    assert (report.problems, report.unsequenced) == ([], 0)
    log.add("L700")
    assert open_checkpoint(seal(log), log.signer.public_key).size == 704
    assert log.verify(kept).problems == []
    with log.store.read() as conn:
        assert older(conn, log.folder, log.signer.public_key) is None


def test_what_was_written_before_it_is_taken_in_comes_after(rolled_back) -> None:
    """A command that was run on the older database is on record, behind what happened before it."""
    log = rolled_back
    log.add("command")
    taken_in(log)
    seal(log)
    assert objects(log)[-1] == "command"
    assert len(objects(log)) == 704
    assert log.verify().problems == []


def alter_an_entry(folder: Path) -> None:
    """One bundle says something else."""
    path = folder / "tile/entries/001"
    path.write_bytes(path.read_bytes().replace(b'"L400"', b'"L4X0"'))


def cut_a_bundle(folder: Path) -> None:
    """The last one ends early."""
    (path,) = (folder / "tile/entries/002.p").iterdir()
    path.write_bytes(path.read_bytes()[:-1])


def lose_a_bundle(folder: Path) -> None:
    """One is missing."""
    (folder / "tile/entries/001").unlink()


@pytest.mark.parametrize("damage", [alter_an_entry, cut_a_bundle, lose_a_bundle])
def test_tiles_that_are_not_those_that_were_signed_are_refused(rolled_back, damage) -> None:
    """Then the log is lost, and only who accepts that begins another."""
    log = rolled_back
    damage(log.folder)
    with log.store.read() as conn:
        assert older(conn, log.folder, log.signer.public_key) is None
    with pytest.raises(AuditError, match="--accept-loss"):
        seal(log)
    assert log.verify().unsequenced == 3


def test_another_database_is_not_continued(rolled_back) -> None:
    """It holds as many entries, of which one is another: `log/` does not continue it."""
    log = rolled_back
    log.tamper("UPDATE audit_entry SET leaf_hash = zeroblob(32) WHERE leaf_index = 7")
    with log.store.read() as conn:
        assert older(conn, log.folder, log.signer.public_key) is None
