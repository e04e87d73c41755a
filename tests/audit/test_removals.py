"""The list of early removals in `log/`: there after each commit, sealed, and gone with the day it is for."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gateway.audit import removals as files
from gateway.audit.publish import seal_log
from gateway.errors import AuditError, BlobDamaged
from gateway.store import removals
from gateway.store.removals import Kept
from gateway.vault import removal
from gateway.vault.keyring import Keyring

DAY = date(2027, 5, 22)
KEY = f"until-{DAY}"
FIELDS = {"kind": "withdrawal", "at": "2026-11-22T12:00:00.000000+00:00", "numbers": ["S1"]}


@pytest.fixture
def keyring(log) -> Keyring:
    """A ring with the key of that day."""
    made = Keyring.create(log.home / "keys")
    made.ensure([KEY])
    return made


def keep(log, keyring: Keyring, record_id: str) -> None:
    """What a removal leaves in its transaction."""
    wrapped, sealed = removal.seal(keyring, KEY, record_id, FIELDS)
    kept = Kept(
        id=record_id,
        sealed=sealed,
        key_id=wrapped.key_id,
        key_version=wrapped.key_version,
        wrapped=wrapped.wrapped,
        commitment=wrapped.commitment,
    )
    with log.store.write() as conn:
        removals.add(conn, kept, owner=removal.OWNER, due_on=DAY, at=log.now)


def unknown(log) -> list[str]:
    """What a start looks for."""
    with log.store.read() as conn:
        return files.unknown(removals.known(conn), log.folder)


def there(log) -> list[str]:
    """The files of the list."""
    return sorted(path.name for path in (log.folder / "removals").glob("*"))


def test_no_checkpoint_without_the_record(log, keyring) -> None:
    """A kill between the commit and the file loses nothing: the next checkpoint brings it, before itself."""
    keep(log, keyring, "R1")
    log.add("L1")
    seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    assert there(log) == ["R1.json"]
    assert unknown(log) == []
    found, over = files.read(keyring, ["R1"], log.folder)
    assert (found[0].fields, over) == (FIELDS, [])
    assert b"S1" not in (log.folder / "removals/R1.json").read_bytes()


def test_a_record_that_no_row_knows_tells_of_a_restore(log, keyring) -> None:
    """The row comes first, so no crash leaves one."""
    keep(log, keyring, "R1")
    files.write_out(log.store, log.folder)
    log.tamper("DELETE FROM removal")
    assert unknown(log) == ["R1"]


def test_it_goes_with_its_day(log, keyring) -> None:
    """The purge takes the wrapped key as any other; the file goes before the row does, and nobody reads a copy of it."""
    keep(log, keyring, "R1")
    files.write_out(log.store, log.folder)
    content = (log.folder / "removals/R1.json").read_bytes()
    log.tamper("DELETE FROM data_key")
    keyring.destroy(KEY)
    files.write_out(log.store, log.folder)
    assert (there(log), unknown(log)) == ([], [])
    with log.store.read() as conn:
        assert removals.known(conn) == set()
    (log.folder / "removals/R1.json").write_bytes(content)
    assert files.read(keyring, ["R1"], log.folder) == ([], ["R1"])
    files.drop(["R1"], log.folder)
    assert there(log) == []


def test_a_record_that_is_wrapped_again_is_written_again(log, keyring) -> None:
    """The ring gives its key another version: the file follows the row."""
    keep(log, keyring, "R1")
    files.write_out(log.store, log.folder)
    before = (log.folder / "removals/R1.json").read_bytes()
    log.tamper("UPDATE data_key SET key_version = 2")
    files.write_out(log.store, log.folder)
    assert (log.folder / "removals/R1.json").read_bytes() != before
    assert b'"key_version":2' in (log.folder / "removals/R1.json").read_bytes()


def alter(path: Path) -> None:
    """A sealed byte."""
    text = path.read_text()
    at = text.index('"sealed":"') + 60
    path.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])


def cut(path: Path) -> None:
    """Half of it."""
    path.write_bytes(path.read_bytes()[:50])


def swap(path: Path) -> None:
    """Another record's."""
    path.write_bytes(path.with_name("R2.json").read_bytes())


@pytest.mark.parametrize("damage", [alter, cut, swap])
def test_a_damaged_record_is_not_passed_over(log, keyring, damage) -> None:
    """What it removed would come back."""
    keep(log, keyring, "R1")
    keep(log, keyring, "R2")
    files.write_out(log.store, log.folder)
    damage(log.folder / "removals/R1.json")
    with pytest.raises(BlobDamaged):
        files.read(keyring, ["R1"], log.folder)


def test_a_folder_that_takes_nothing_is_told(log, keyring) -> None:
    """And nothing is signed over a record that is not there."""
    keep(log, keyring, "R1")
    log.add("L1")
    (log.folder / "removals").write_text("in the way")
    with pytest.raises(AuditError, match="can't be written"):
        seal_log(log.store, log.sequencer, log.signer, log.folder, log.now)
    assert log.verify().checkpoints == 0
