"""What two people each approved, in the auditor's box: the texts and their signatures (spec 4, Approvals).

    goedkeuringen/   goedkeuring_<nr>.txt, a .sig of each who signed, allowed_signers with their keys

`ssh-keygen -Y verify` checks them; whose the keys are, the auditor compares with who named the approvers. A scope is a
list of municipalities; what is of none is seen with scope "all".
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.audit.sshsig_check import signing_key
from gateway.domain.approval import NAMESPACE, Approval, ApprovalState
from gateway.domain.shelf import Document, Shown
from gateway.files.approval import request_name
from gateway.store import approvals
from gateway.store.engine import Store

SIGNERS_FILE = "allowed_signers"


class ApprovalShelf:
    """The requests that were approved, of the municipalities in scope, each with its signatures."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def listing(self, path: Sequence[str], scope: Sequence[str] | None) -> list[Shown] | None:
        """What is in the folder; it has no folders."""
        if path:
            return None
        files = self._files(scope)
        return [Shown(name=name, size=len(each.data), at=each.at) for name, each in sorted(files.items())]

    def document(self, path: Sequence[str], scope: Sequence[str] | None) -> Document | None:
        """A file, as it was signed."""
        return self._files(scope).get(path[0]) if len(path) == 1 else None

    def _files(self, scope: Sequence[str] | None) -> dict[str, Document]:
        with self._store.read() as conn:
            given = approvals.listed(conn, states=(ApprovalState.APPROVED, ApprovalState.DONE))
        seen = [each for each in given if scope is None or each.municipality in scope]
        files = {SIGNERS_FILE: Document(data=_signers(seen))}
        for each in seen:
            name = request_name(each.number)
            files[name] = Document(data=each.text, at=each.asked_at)
            for one in each.signatures:
                files[f"{name}.{one.principal}.sig"] = Document(data=one.armour, at=one.at)
        return files


def _signers(given: Sequence[Approval]) -> bytes:
    """The lines by which `ssh-keygen -Y verify -f` knows who signed, for this purpose only."""
    lines = {
        f'{one.principal} namespaces="{NAMESPACE}" {signing_key(one.armour)}\n'
        for each in given
        for one in each.signatures
    }
    return "".join(sorted(lines)).encode()
