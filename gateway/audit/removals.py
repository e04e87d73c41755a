"""The list of early removals in `log/removals/`, outside the data, for when an older backup is restored (spec 4).

The row comes first, in the transaction of the removal; the file follows it, and `seal_log` writes no checkpoint before
it lies there. A kill in between loses nothing: the row is still there. So a file that no row knows tells that an older
database was put back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import AuditError, KeyMissing
from gateway.store import removals as rows
from gateway.store.engine import Store
from gateway.store.removals import Kept
from gateway.vault.datakey import WrappedKey
from gateway.vault.durable import place_file, sync_folder
from gateway.vault.keyring import Keyring
from gateway.vault.removal import from_file, to_file, unseal

FOLDER = "removals"
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A record of the list that no row knows, opened."""

    kept: Kept
    fields: dict[str, Any]


def write_out(store: Store, log_dir: Path) -> None:
    """Put the records that are not there yet in `log/`, durably; for the holder of `Store.exclusive()`.

    Raises:
        AuditError: `log/` can't be written; the rows stay, and the next call tries again.
    """
    with store.read() as conn:
        missing = rows.unwritten(conn)
        over = rows.over(conn)
    if not missing and not over:
        return
    folder = log_dir / FOLDER
    try:
        # a file that no row knows would tell of a restore: it goes first
        drop(over, log_dir)
        if missing:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for each in missing:
                place_file(_path(folder, each.id), to_file(_wrapped(each), each.sealed))
            sync_folder(folder)
            sync_folder(log_dir)
    except OSError as exc:
        raise AuditError(f"{folder} can't be written: {exc.strerror}") from exc
    with store.write() as conn:
        rows.mark_written(conn, missing)
        rows.drop(conn, over)


def unknown(known: AbstractSet[str], log_dir: Path) -> list[str]:
    """The ids of the records in `log/` that no row knows, sorted."""
    found = {path.stem for path in (log_dir / FOLDER).glob(f"[!.]*{_SUFFIX}")}
    return sorted(found - known)


def read(keyring: Keyring, record_ids: Iterable[str], log_dir: Path) -> tuple[list[Removal], list[str]]:
    """These records, in the order in which things were removed, and the ids of those whose day is over.

    Raises:
        BlobDamaged, WrongKey: a record was altered.
    """
    found, over = [], []
    for record_id in record_ids:
        wrapped, sealed = from_file(record_id, _path(log_dir / FOLDER, record_id).read_bytes())
        try:
            fields = unseal(keyring, record_id, wrapped, sealed)
        except KeyMissing:
            over.append(record_id)
            continue
        kept = Kept(
            id=record_id,
            sealed=sealed,
            key_id=wrapped.key_id,
            key_version=wrapped.key_version,
            wrapped=wrapped.wrapped,
            commitment=wrapped.commitment,
        )
        found.append(Removal(kept=kept, fields=fields))
    return sorted(found, key=lambda each: (str(each.fields["at"]), each.kept.id)), over


def drop(record_ids: Sequence[str], log_dir: Path) -> None:
    """Remove the files of records whose day is over. May be repeated."""
    folder = log_dir / FOLDER
    if not record_ids or not folder.is_dir():
        return
    for record_id in record_ids:
        _path(folder, record_id).unlink(missing_ok=True)
    sync_folder(folder)


def _wrapped(each: Kept) -> WrappedKey:
    return WrappedKey(
        key_id=each.key_id, key_version=each.key_version, wrapped=each.wrapped, commitment=each.commitment
    )


def _path(folder: Path, record_id: str) -> Path:
    return folder / f"{record_id}{_SUFFIX}"
