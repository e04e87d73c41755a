"""Who writes down, signs and hands out what proves a destruction: the parties, the log, the post."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from gateway.audit.checkpoint import Signer
from gateway.audit.publish import seal_log
from gateway.audit.sequencer import Sequencer
from gateway.domain.certificate import Mandate
from gateway.domain.dispatch import Letter
from gateway.domain.partner import Partner, Role
from gateway.domain.retention import Terms
from gateway.store import Connection
from gateway.store.engine import Store
from gateway.store.going import Going

#: Seals letters, and gives what stores their rows in a transaction: with that they are listed.
Post = Callable[[Sequence[Letter]], Callable[[Connection, datetime], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """On whose certificate something comes: a municipality, or a partner for what is only its own."""

    code: str
    name: str
    is_municipality: bool
    #: who collects the certificate; None: nobody does, it lies in /audit only
    partner_id: str | None
    mandate: Mandate
    policy_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notary:
    """What certificates are made with."""

    signer: Signer
    sequencer: Sequencer
    #: where checkpoints and tiles lie, outside the data
    log_dir: Path
    #: partner id -> partner
    partners: Mapping[str, Partner]
    #: municipality code -> id of the partner that serves it
    served_by: Mapping[str, str]
    #: municipality code -> its name
    names: Mapping[str, str]
    #: municipality code -> the version of its policy
    policy_versions: Mapping[str, str]
    #: municipality code -> its mandate
    mandates: Mapping[str, Mandate]
    post: Post

    def seal_log(self, store: Store, now: datetime) -> str:
        """Number and sign the log as it is; the note. The caller holds the store's exclusive lock."""
        return seal_log(store, self.sequencer, self.signer, self.log_dir, now)

    def party_of(self, going: Going) -> str:
        """On whose certificate something comes (ADR 5).

        A municipality's own are its rows and outgoing files, and what its partner sent or got back when that
        partner serves it alone; all else is its partner's.
        """
        return self.party_for(going.municipality, going.partner_id)

    def party_for(self, municipality: str, partner_id: str) -> str:
        """As `party_of`, for what is a municipality's (empty: nobody's) and came from or for a partner."""
        if municipality:
            return municipality
        partner = self.partners.get(partner_id)
        return partner.serves[0] if partner is not None and len(partner.serves) == 1 else partner_id

    def party(self, code: str, terms: Terms) -> Party:
        """A party by its code, as it is configured now."""
        if code in self.names:
            return Party(
                code=code,
                name=self.names[code],
                is_municipality=True,
                partner_id=self.served_by.get(code),
                mandate=self.mandates.get(code, Mandate()),
                policy_version=self.policy_versions.get(code) or terms_version(terms),
            )
        partner = self.partners.get(code)
        collects = partner is not None and partner.role is Role.MUNICIPALITY
        return Party(
            code=code,
            name=code if partner is None else partner.name,
            is_municipality=False,
            partner_id=code if collects else None,
            mandate=Mandate(),
            policy_version=terms_version(terms),
        )


def terms_version(terms: Terms) -> str:
    """Names the gateway's own terms; the same terms have the same name."""
    said = json.dumps(asdict(terms), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]
