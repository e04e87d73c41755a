"""The sequencer: gives entries their place in the tree, in the order they were written, and signs."""

from __future__ import annotations

from datetime import datetime

from gateway.audit.checkpoint import Checkpoint, Signer, open_checkpoint
from gateway.audit.merkle import Frontier, leaf_hash
from gateway.errors import AuditError
from gateway.store import Connection
from gateway.store import audit as rows


class Sequencer:
    """Numbers entries and signs checkpoints; one at a time for a log.

    It remembers the tree between calls, so that a checkpoint costs what was added since. When the
    database holds another tree than it remembers (a fresh start, a rolled back transaction), it is
    read again and must give the root of the last checkpoint: nothing is signed on top of an altered log.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._tree = Frontier()

    def sequence(self, conn: Connection, now: datetime, *, origin: str = "") -> str:
        """Number what is new, sign and store a checkpoint, and return its note.

        The caller commits, and then writes the note to `log/` (`write_checkpoint`). Without new entries
        the last note is returned as it is. `origin` names a log that begins here; when empty the log goes on
        under its name. Raises AuditError when the stored log is not the signed one.
        """
        last = rows.last_checkpoint(conn)
        signed = None if last is None else open_checkpoint(last.note, self._signer.public_key)
        tree = self._current(conn, signed)
        places = []
        for entry_id, entry in rows.unnumbered(conn):
            hashed = leaf_hash(entry)
            places.append((entry_id, tree.size, hashed))
            tree.append(hashed)
        if last is not None and not places:
            return last.note
        rows.number_entries(conn, places)
        root = tree.root()
        note = self._signer.sign(tree.size, root, origin or (signed.origin if signed else ""))
        rows.insert_checkpoint(conn, size=tree.size, root=root, note=note, at=now)
        return note

    def _current(self, conn: Connection, signed: Checkpoint | None) -> Frontier:
        """The tree of what the database says is numbered and signed so far."""
        if signed is None:
            self._tree = Frontier()
            return self._tree
        if self._tree.size == signed.size and self._tree.root() == signed.root:
            return self._tree
        tree = Frontier()
        for hashed in rows.leaf_hashes(conn, signed.size):
            tree.append(hashed)
        if tree.size != signed.size or tree.root() != signed.root:
            raise AuditError(
                "the audit log in the database is not the one that was signed last: nothing is added to it; "
                "run `gateway audit verify`"
            )
        self._tree = tree
        return tree
