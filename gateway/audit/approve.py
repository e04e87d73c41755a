"""Takes the signatures of approvers: whose they are, what they are for, and when two are enough (spec 4, Approvals).

The log names a key by its fingerprint. Principals stand on certificates only.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gateway.audit.log import record
from gateway.audit.sshsig_check import check_signature, signing_key
from gateway.clock import local_day
from gateway.domain.approval import (
    NAMESPACE,
    Approval,
    ApprovalState,
    Approver,
    Signature,
    is_approved,
)
from gateway.errors import SignatureRefused
from gateway.store import Connection, approvals


def check(approval: Approval, armour: bytes, approvers: Iterable[Approver], now: datetime) -> Signature:
    """The signature of an approver under a request, as it can be kept.

    Raises:
        SignatureRefused: it does not count; the text says why.
    """
    _check_open(approval, now)
    key = signing_key(armour)
    approver = next((each for each in approvers if each.public_key == key), None)
    if approver is None:
        raise SignatureRefused("no key of config/approvers made it")
    if not approver.is_valid(now):
        raise SignatureRefused(f"the key of {approver.principal} is not valid now: see config/approvers")
    check_signature(armour, approval.text, public_key=approver.public_key, namespace=NAMESPACE)
    signature = Signature(
        principal=approver.principal, fingerprint=approver.fingerprint, at=now, armour=armour
    )
    _check_new(approval, signature)
    return signature


def take(
    conn: Connection, number: str, signature: Signature, *, origin: str, actor: str, node: str
) -> Approval:
    """Keep a signature that was found good, in the caller's transaction; the request as it is then.

    Args:
        conn: a writing transaction.
        number: of the request.
        signature: as `check` gave it.
        origin: `cli`, or `pipeline` for what came in an inbox.
        actor: who handed it in, for the audit log.
        node: this node, for the audit log.

    Raises:
        SignatureRefused: meanwhile the request ended, or this person signed it.
    """
    approval = approvals.get(conn, number)
    if approval is None:
        raise SignatureRefused(f"there is no request {number}")
    _check_open(approval, signature.at)
    _check_new(approval, signature)
    approvals.sign(conn, number, signature, origin=actor if origin == "pipeline" else origin)
    told = {"approval.signed": {"key": signature.fingerprint, "subject": approval.subject.value}}
    if is_approved((*approval.signatures, signature)):
        approvals.advance(conn, number, ApprovalState.OPEN, ApprovalState.APPROVED, signature.at)
        told["approval.given"] = {"object": approval.object_id, "subject": approval.subject.value}
    for action, detail in told.items():
        record(
            conn,
            action=action,
            object_id=number,
            origin=origin,
            actor=actor,
            at=signature.at,
            node=node,
            detail=detail,
        )
    return approvals.get(conn, number) or approval


def _check_open(approval: Approval, now: datetime) -> None:
    if approval.state is not ApprovalState.OPEN:
        raise SignatureRefused(f"{approval.number} can't be signed any more: it is {approval.state}")
    if approval.open_until is not None and approval.open_until < local_day(now):
        raise SignatureRefused(f"{approval.number} could be signed until {approval.open_until}")


def _check_new(approval: Approval, signature: Signature) -> None:
    for each in approval.signatures:
        if signature.principal == each.principal or signature.fingerprint == each.fingerprint:
            raise SignatureRefused(
                f"{signature.principal} signed {approval.number} already: another person must sign too"
            )
