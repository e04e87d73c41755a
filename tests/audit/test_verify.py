"""The verifier finds what was altered, deleted, reordered, rolled back or forged."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit.checkpoint import CHECKPOINT_FILE, Signer
from gateway.audit.merkle import leaf_hash
from gateway.store.engine import Store


@pytest.fixture
def full(log):
    """Seven entries under three checkpoints, and two that wait."""
    log.add("L1", "L2")
    log.sequence()
    log.add("L3", "L4", "L5")
    log.sequence()
    log.add("L6", "L7")
    log.sequence()
    log.add("L8", "L9")
    return log


def test_a_whole_log_has_no_problems(full) -> None:
    """And the report counts what there is."""
    report = full.verify()
    assert (report.entries, report.checkpoints, report.unsequenced) == (7, 3, 2)
    assert report.problems == []


def test_a_log_that_never_began_has_no_problems(log) -> None:
    """No entries, no checkpoints, no file."""
    assert log.verify().problems == []


def test_an_altered_entry_is_found(full) -> None:
    """By its stored hash."""
    full.tamper("UPDATE audit_entry SET entry = replace(entry, 'eneco', 'vitens') WHERE leaf_index = 3")
    assert any("entry 3 was altered" in problem for problem in full.verify().problems)


def test_an_altered_entry_with_a_fitting_hash_is_found(full) -> None:
    """By every checkpoint that covers it: someone who also mends the hash gains nothing."""
    forged = b'{"action":"nothing.happened"}'
    full.tamper(
        "UPDATE audit_entry SET entry = ?, leaf_hash = ? WHERE leaf_index = 3", forged, leaf_hash(forged)
    )
    problems = full.verify().problems
    assert [problem.split(":")[0] for problem in problems] == [
        "checkpoint 2",
        "checkpoint 3",
        "log/checkpoint",
    ]


@pytest.mark.parametrize("index", [0, 3, 6])
def test_a_deleted_entry_is_found(full, index: int) -> None:
    """First, middle and last."""
    full.tamper("DELETE FROM audit_entry WHERE leaf_index = ?", index)
    assert full.verify().problems


def test_a_deleted_entry_whose_gap_was_closed_is_found(full) -> None:
    """Renumbering what follows changes every root."""
    full.tamper("DELETE FROM audit_entry WHERE leaf_index = 3")
    for index in range(4, 7):
        full.tamper("UPDATE audit_entry SET leaf_index = ? WHERE leaf_index = ?", index - 1, index)
    assert any("signed over 7 entries" in problem for problem in full.verify().problems)


def test_reordered_entries_are_found(full) -> None:
    """Two entries that changed places, hashes and all."""
    full.tamper("UPDATE audit_entry SET leaf_index = -1 WHERE leaf_index = 2")
    full.tamper("UPDATE audit_entry SET leaf_index = 2 WHERE leaf_index = 3")
    full.tamper("UPDATE audit_entry SET leaf_index = 3 WHERE leaf_index = -1")
    problems = full.verify().problems
    assert any("order of writing" in problem for problem in problems)
    assert any("not those that were signed" in problem for problem in problems)


def test_an_entry_slipped_in_is_found(full) -> None:
    """One with a place that no signature covers."""
    full.tamper("UPDATE audit_entry SET leaf_index = 7, leaf_hash = ? WHERE id = 8", bytes(32))
    assert any("no checkpoint covers" in problem for problem in full.verify().problems)


def test_a_rolled_back_database_is_found(log) -> None:
    """An old copy is whole in itself; the note in `log/` knows more."""
    log.add("L1", "L2")
    log.sequence()
    log.store.close()
    database = log.home / "data" / "gateway.db"
    shutil.copy(database, log.home / "copy.db")
    log.add("L3")
    log.sequence()
    log.store.close()
    for path in (log.home / "data").glob("gateway.db*"):
        path.unlink()
    shutil.copy(log.home / "copy.db", database)
    restored = replace(log, store=Store(database))
    problems = restored.verify().problems
    restored.store.close()
    assert len(problems) == 1
    assert "log/checkpoint: signed over 3 entries, of which the database holds 2" in problems[0]


def test_a_rolled_back_database_that_went_on_is_found(log) -> None:
    """Also when as many entries were added since: their root is another."""
    log.add("L1")
    log.sequence()
    log.add("L2")
    kept = log.sequence()
    log.tamper("DELETE FROM audit_entry WHERE leaf_index = 1")
    log.tamper("DELETE FROM audit_checkpoint WHERE size = 2")
    log.add("L2-other")
    log.sequence()
    assert log.verify().problems == []  # the operator has rewritten everything that is his
    assert log.verify(kept).problems == [
        "the kept checkpoint: the first 2 entries are not those that were signed"
    ]


def test_a_kept_note_of_the_same_log_agrees(log) -> None:
    """An auditor's earlier note is continued."""
    log.add("L1")
    kept = log.sequence()
    log.add("L2")
    log.sequence()
    assert log.verify(kept).problems == []


@pytest.mark.parametrize("place", ["database", "log"])
def test_a_forged_checkpoint_is_found(full, place: str) -> None:
    """Signed with another key, in the row or in the file."""
    forged = Signer(Ed25519PrivateKey.generate()).sign(7, bytes(32))
    if place == "log":
        (full.folder / CHECKPOINT_FILE).write_text(forged)
    else:
        full.tamper("UPDATE audit_checkpoint SET note = ? WHERE size = 7", forged)
    assert any("of another log" in problem for problem in full.verify().problems)


def test_a_row_that_belies_its_note_is_found(full) -> None:
    """Size and root of the row are those that were signed."""
    full.tamper("UPDATE audit_checkpoint SET size = 4 WHERE size = 5")
    assert any("its row says something else" in problem for problem in full.verify().problems)


def test_a_log_that_became_shorter_is_found(full) -> None:
    """Checkpoints only grow."""
    full.tamper(
        "INSERT INTO audit_checkpoint (size, root, note, at) SELECT size, root, note, ? FROM audit_checkpoint WHERE size = 2",
        full.now.isoformat(),
    )
    assert any("became shorter" in problem for problem in full.verify().problems)


@pytest.mark.parametrize("contents", [None, b"", b"\xff\xfe", b"nonsense"])
def test_a_missing_or_damaged_note_outside_is_said(full, contents: bytes | None) -> None:
    """Without it a rolled back database can't be found, so its absence is a problem."""
    path = full.folder / CHECKPOINT_FILE
    path.unlink()
    if contents is not None:
        path.write_bytes(contents)
    assert len(full.verify().problems) == 1
    assert full.verify().problems[0].startswith("log/checkpoint")


def test_a_note_that_is_one_behind_is_no_problem(full) -> None:
    """A crash between commit and file leaves the note before: the log continues it."""
    note = (full.folder / CHECKPOINT_FILE).read_text()
    full.sequence()
    (full.folder / CHECKPOINT_FILE).write_text(note)
    assert full.verify().problems == []


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_entry SET entry = 'text' WHERE leaf_index = 3",
        "UPDATE audit_entry SET leaf_hash = NULL WHERE leaf_index = 3",
        "UPDATE audit_entry SET leaf_hash = 'text' WHERE leaf_index = 3",
        "UPDATE audit_entry SET leaf_index = 'text' WHERE leaf_index = 3",
        "UPDATE audit_entry SET leaf_index = -1 WHERE leaf_index = 3",
        "UPDATE audit_checkpoint SET note = x'ff00fe' WHERE size = 5",
        "UPDATE audit_checkpoint SET root = 'text' WHERE size = 5",
        "UPDATE audit_checkpoint SET size = 'text' WHERE size = 5",
    ],
)
def test_values_of_a_wrong_type_are_problems_and_no_crash(full, sql: str) -> None:
    """SQLite stores whatever a tamperer writes; the verifier reads it as evidence."""
    full.tamper(sql)
    assert full.verify().problems
