"""A lost log is not gone on with: a new one begins, which names the old one and is told from it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.audit import loss, publish, verify_log
from gateway.audit.checkpoint import PUBLIC_KEY_FILE, open_checkpoint
from gateway.audit.publish import begin_again, seal_log
from gateway.audit.sequencer import Sequencer
from gateway.errors import AuditError, CommandError


def seal(log) -> str:
    """As the daemon does."""
    return seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)


def again(log) -> str:
    """As an administrator does who accepts the loss."""
    with log.store.exclusive():
        return begin_again(
            log.store,
            Sequencer(log.signer),
            log.signer,
            log.folder,
            actor="beheer",
            at=log.now,
            node="node-1",
        )


@pytest.fixture
def full(log):
    """Five entries under two checkpoints, outside too."""
    log.add("L1", "L2")
    seal(log)
    log.add("L3", "L4", "L5")
    seal(log)
    return log


def lose_all(log) -> None:
    """Nothing is left in `log/`."""
    shutil.rmtree(log.folder)
    log.folder.mkdir()


def lose_checkpoint(log) -> None:
    """Only the tiles are left."""
    (log.folder / "checkpoint").unlink()


def damage_checkpoint(log) -> None:
    """A note that nobody signed."""
    (log.folder / "checkpoint").write_text("nonsense")


def roll_back(log) -> None:
    """The database is one of an earlier day: `log/` tells of more."""
    log.tamper("DELETE FROM audit_checkpoint WHERE size = 5")
    log.tamper("DELETE FROM audit_entry WHERE leaf_index >= 2")


def replace_last(log) -> None:
    """The database has as many entries, and others."""
    roll_back(log)
    log.add("L3", "L4", "other")
    with log.store.write() as conn:
        Sequencer(log.signer).sequence(conn, log.now)


LOSSES = [lose_all, lose_checkpoint, damage_checkpoint, roll_back, replace_last]


@pytest.mark.parametrize("lose", LOSSES)
def test_nothing_is_signed_on_top_of_a_lost_log(full, lose) -> None:
    """The same name over two histories is what an auditor would call a forgery."""
    lose(full)
    before = (full.folder / "checkpoint").read_bytes() if (full.folder / "checkpoint").exists() else None
    full.add("L6")
    with pytest.raises(AuditError, match="--accept-loss"):
        seal(full)
    assert full.verify().unsequenced == 1
    assert before == ((full.folder / "checkpoint").read_bytes() if before else None)


@pytest.mark.parametrize("lose", LOSSES)
def test_a_new_log_names_the_old_one(full, lose) -> None:
    """It verifies, here and with the verifier that needs nothing of ours, and goes on under its new name."""
    old = open_checkpoint((full.folder / "checkpoint").read_text(), full.signer.public_key)
    lose(full)
    full.add("L6")
    note = again(full)
    begun = open_checkpoint(note, full.signer.public_key)
    assert begun.origin != old.origin
    with full.store.read() as conn:
        newest = conn.exec_driver_sql("SELECT entry FROM audit_entry ORDER BY id DESC LIMIT 1").scalar_one()
    for told in ("log.restored", begun.origin, old.origin, "beheer"):
        assert f'"{told}"'.encode() in newest
    if lose is not replace_last:
        assert old.root.hex().encode() in newest, "the newest checkpoint that is known of it"
    report = full.verify()
    assert (report.problems, report.restored) == ([], [begun.size - 1])
    full.add("L7")
    assert open_checkpoint(seal(full), full.signer.public_key).origin == begun.origin
    assert full.verify().problems == []
    verifier = [sys.executable, "-I", "-S", verify_log.__file__]
    key = full.home / "keys" / PUBLIC_KEY_FILE
    done = subprocess.run(
        [*verifier, "--log", full.folder, "--key", key], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "began again" in done.stdout


def test_what_an_auditor_kept_of_the_old_log_tells_what_is_lost(full) -> None:
    """A checkpoint over what is still there is continued; of a later one it is said that its log was lost."""
    whole = (full.folder / "checkpoint").read_text()
    with full.store.read() as conn:
        early = conn.exec_driver_sql("SELECT note FROM audit_checkpoint WHERE size = 2").scalar_one()
    roll_back(full)
    again(full)
    full.add(*(f"L{number}" for number in range(10, 20)))
    seal(full)
    assert full.verify(early).problems == []
    (problem,) = full.verify(whole).problems
    assert problem.startswith("the kept checkpoint of gateway/")
    assert "which was lost" in problem


def test_what_is_left_of_the_old_log_is_kept(full) -> None:
    """In a folder of its own, byte by byte."""
    before = {
        path.relative_to(full.folder): path.read_bytes()
        for path in full.folder.rglob("*") if path.is_file()
    }  # fmt: skip
    roll_back(full)
    again(full)
    (kept,) = full.folder.glob("lost-*")
    assert {path.relative_to(kept): path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before


def test_a_log_can_be_lost_twice(full) -> None:
    """Each time with a name of its own."""
    lose_all(full)
    first = again(full)
    full.add("L6")
    seal(full)
    lose_all(full)
    second = again(full)
    assert first.split("\n")[0] != second.split("\n")[0]
    report = full.verify()
    assert (report.problems, len(report.restored)) == ([], 2)


@pytest.mark.parametrize("lose", [lose_checkpoint, roll_back])
@pytest.mark.parametrize("step", ["copy", "move", "sync", "entry", "commit", "tiles", "checkpoint"])
def test_cut_off_before_any_step_it_is_lost_still_or_begun(full, lose, step, monkeypatch) -> None:
    """Never in between: the new log goes on, or it is to be begun once more."""
    lose(full)
    where, name = {
        "copy": (loss, "place_file"),
        "move": (Path, "rename"),
        "sync": (loss, "sync_folder"),
        "entry": (publish, "record"),
        "commit": (Sequencer, "sequence"),
        "tiles": (publish, "_write_tiles"),
        "checkpoint": (publish, "write_checkpoint"),
    }[step]

    def cut(*args, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(where, name, cut)
        with suppress(KeyboardInterrupt):
            again(full)
    begun = full.verify().restored
    if not begun:
        with pytest.raises(AuditError, match="--accept-loss"):
            seal(full)
        again(full)
    full.add("L6")
    seal(full)
    report = full.verify()
    assert (report.problems, len(report.restored)) == ([], 1)
    assert verify_log.check(full.folder, full.home / "keys" / PUBLIC_KEY_FILE, [], [])


def test_without_a_loss_nothing_begins_again(full) -> None:
    """Accepting a loss can't become a habit."""
    with pytest.raises(CommandError, match="no log was lost"):
        again(full)


def test_a_kill_before_the_first_checkpoint_lies_outside_loses_nothing(log) -> None:
    """The note follows the commit: the first one of a log, and of a log begun again, may be missing."""
    log.add("L1")
    with log.store.write() as conn:
        log.sequencer.sequence(conn, log.now)
    seal(log)
    log.add("L2")
    seal(log)
    lose_all(log)
    again(log)
    lose_checkpoint(log)
    seal(log)
    assert log.verify().problems == []


def test_a_new_name_without_its_entry_is_found(full) -> None:
    """Whoever holds the key can sign another name; the log must say that it began there."""
    with full.store.write() as conn:
        full.sequencer.sequence(conn, full.now)
    full.add("L6")
    with full.store.write() as conn:
        full.sequencer.sequence(conn, full.now, origin=f"{full.signer.origin}/{'0' * 16}")
    problems = full.verify().problems
    assert any("no entry says that it began there" in problem for problem in problems)
