"""The sequencer numbers entries in the order of writing and signs what it numbered."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from gateway.audit.checkpoint import open_checkpoint
from gateway.audit.merkle import EMPTY_ROOT, leaf_hash, root_of
from gateway.audit.sequencer import Sequencer
from gateway.errors import AuditError
from gateway.store import audit as rows


def stored(log) -> list[rows.StoredEntry]:
    """Every numbered entry."""
    with log.store.read() as conn:
        return list(rows.numbered(conn))


def test_entries_get_their_place_in_the_order_of_writing(log) -> None:
    """Over several transactions and several checkpoints, without gap."""
    log.add("L1", "L2")
    log.sequence()
    log.add("L3")
    log.add("L4", "L5")
    note = log.sequence()
    found = stored(log)
    assert [json.loads(row.entry)["object"] for row in found] == ["L1", "L2", "L3", "L4", "L5"]
    assert [row.leaf_index for row in found] == [0, 1, 2, 3, 4]
    signed = open_checkpoint(note, log.signer.public_key)
    assert (signed.size, signed.root) == (5, root_of(leaf_hash(row.entry) for row in found))


def test_an_empty_log_has_a_checkpoint(log) -> None:
    """Size 0, and the root of nothing."""
    signed = open_checkpoint(log.sequence(), log.signer.public_key)
    assert (signed.size, signed.root) == (0, EMPTY_ROOT)


def test_without_news_the_last_note_is_returned(log) -> None:
    """An hour in which nothing happened adds no row."""
    log.add("L1")
    note = log.sequence()
    assert log.sequence() == note
    assert log.verify().checkpoints == 1


def test_a_new_sequencer_goes_on_where_the_last_one_stopped(log) -> None:
    """After a restart the tree is read again."""
    log.add("L1", "L2", "L3")
    log.sequence()
    log.add("L4")
    with log.store.write() as conn:
        note = Sequencer(log.signer).sequence(conn, log.now)
    assert open_checkpoint(note, log.signer.public_key).size == 4
    log.add("L5")
    log.sequence()  # by the first one, whose memory is now behind
    assert log.verify().problems == []
    assert log.verify().entries == 5


def test_a_rolled_back_transaction_leaves_no_trace(log) -> None:
    """What the sequencer remembers is checked against what is stored."""
    log.add("L1")
    log.sequence()
    log.add("L2")
    with suppress(RuntimeError), log.store.write() as conn:
        log.sequencer.sequence(conn, log.now)
        raise RuntimeError
    log.add("L3")
    log.sequence()
    assert log.verify().problems == []
    assert log.verify().entries == 3


def test_a_tree_of_the_same_size_is_not_taken_for_the_same(log) -> None:
    """Rolled back here, while another process wrote as many other entries."""
    log.add("L1")
    log.sequence()
    with suppress(RuntimeError), log.store.write() as conn:
        rows.insert_entries(conn, [(log.now, b"never happened")])
        log.sequencer.sequence(conn, log.now)
        raise RuntimeError
    log.add("L2")
    with log.store.write() as conn:
        Sequencer(log.signer).sequence(conn, log.now)
    log.add("L3")
    log.sequence()
    assert log.verify().problems == []
    assert log.verify().entries == 3


def test_nothing_is_signed_on_top_of_an_altered_log(log) -> None:
    """A sequencer that starts reads the tree and compares it with the last signature."""
    log.add("L1", "L2")
    log.sequence()
    log.tamper("UPDATE audit_entry SET leaf_hash = ? WHERE leaf_index = 0", bytes(32))
    log.add("L3")
    with pytest.raises(AuditError, match="not the one that was signed"), log.store.write() as conn:
        Sequencer(log.signer).sequence(conn, log.now)
