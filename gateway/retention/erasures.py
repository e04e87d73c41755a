"""What a municipality is told of a request to destroy of which a legal hold keeps something (spec 4, WISSEN)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from hashlib import sha256

from gateway.domain.certificate import LIST_DAYS
from gateway.domain.dispatch import DispatchKind, Letter
from gateway.domain.partner import Box
from gateway.files.erasurefile import render_erasure
from gateway.files.manifest import render_manifest
from gateway.files.names import erasure_name, manifest_name
from gateway.retention.run import Run
from gateway.store.holds import Hold
from gateway.store.requests import Stored


def waiting_letters(run: Run, request: Stored, kept_by: Sequence[Hold]) -> Iterator[Letter]:
    """`wissen_<verzoek_id>.txt` and its manifest, for the partner that asked; nothing when it is not there any more."""
    partner = run.notary.partners.get(request.partner_id)
    if partner is None:
        return
    name, due_on = erasure_name(request.number), run.today + timedelta(days=LIST_DAYS)
    municipality = partner.serves[0] if len(partner.serves) == 1 else ""
    content = render_erasure(
        number=request.number,
        received_at=request.received_at,
        done_at=run.now,
        kept_by=[(each.id, each.grounds, each.review_on) for each in kept_by],
    )
    manifest = render_manifest(
        name=name,
        size=len(content),
        sha256=sha256(content).hexdigest(),
        rows=len(kept_by),
        municipality=municipality,
        created_at=run.now,
        expires_on=due_on,
    )
    for letter_name, kind, data, parent in (
        (name, DispatchKind.ERASURE, content, None),
        (manifest_name(name), DispatchKind.MANIFEST, manifest, name),
    ):
        yield Letter(
            partner_id=partner.id,
            box=Box.OUTBOX,
            name=letter_name,
            kind=kind,
            content=data,
            due_on=due_on,
            municipality=municipality,
            belongs_to=parent,
        )
