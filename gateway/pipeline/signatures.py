"""A municipality's signature under a request for approval, as it comes in its inbox (spec 4, Approvals)."""

from __future__ import annotations

from gateway.audit import approve
from gateway.audit.sshsig_check import ARMOUR, MOST_BYTES
from gateway.domain.approval import Approval, Signature
from gateway.domain.delivery import Kind
from gateway.domain.retention import dispatch_due
from gateway.errors import DeliveryError, SignatureRefused
from gateway.files.receipt import Sums
from gateway.pipeline.context import Context
from gateway.pipeline.received import Received, Taken, receipt
from gateway.pipeline.tally import Tally
from gateway.store import Connection, approvals
from gateway.vault.stream import SealedReader

_NOT_YOURS = "de handtekening hoort bij geen open verzoek van een gemeente die u bedient"
_NOT_TAKEN = (
    "de handtekening telt niet voor een open verzoek van uw gemeente: onderteken de tekst ongewijzigd, met "
    "-n retention@gateway en een sleutel van een goedkeurder die nog niet tekende"
)


def is_signature(reader: SealedReader) -> bool:
    """Whether a file is one: told by its first bytes, as a package is."""
    return reader.read(0, len(ARMOUR)) == ARMOUR


def take_signature(context: Context, received: Received, reader: SealedReader) -> Taken:
    """Take a signature under an open request of a municipality that the sender serves.

    Raises:
        DeliveryError: it counts for none: F11; F06 when it is too big to be one.
    """
    if reader.size > MOST_BYTES:
        raise DeliveryError("F06")
    approval, signature = _find(context, received, bytes(reader.read(0, reader.size)))
    actor = received.delivery.partner_id

    def show(conn: Connection) -> None:
        approve.take(conn, approval.number, signature, origin="pipeline", actor=actor, node=context.node)

    tally = Tally(due_on=dispatch_due(context.clock.now(), context.terms))
    return Taken(
        kind=Kind.SIGNATURE,
        tally=tally,
        counts={},
        files=receipt(context, received, tally, Sums(), approval=approval.number),
        show=show,
    )


def _find(context: Context, received: Received, armour: bytes) -> tuple[Approval, Signature]:
    """The request that a signature is under: the text tells, for it fits no other."""
    with context.store.read() as conn:
        asked = [each for each in approvals.listed(conn) if each.municipality in received.partner.serves]
    for approval in asked:
        try:
            return approval, approve.check(approval, armour, context.approvers, context.clock.now())
        except SignatureRefused:
            continue
    raise DeliveryError("F11", _NOT_TAKEN if asked else _NOT_YOURS)
