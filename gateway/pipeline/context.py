"""What every step of the pipeline works with; built once by the daemon or a command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock
from gateway.domain.feedback import FeedbackPolicy
from gateway.domain.partner import Partner
from gateway.domain.policy import Policy
from gateway.domain.retention import Terms
from gateway.files.table import Limits
from gateway.store.engine import Store
from gateway.vault.blobs import BlobFolder
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One gateway as the pipeline sees it: stores, keys, clock and configuration, all values."""

    store: Store
    keyring: Keyring
    indexer: Indexer
    blobs: BlobFolder
    clock: Clock
    partners: Mapping[str, Partner]
    #: municipality code -> its policy
    policies: Mapping[str, Policy]
    #: municipality code -> the partner that serves it
    served_by: Mapping[str, str]
    terms: Terms
    limits: Limits
    #: the loaded table of Statistics Netherlands (CBS); may not exist
    reference: Path
    #: first four digits of a postcode -> municipality codes
    pc4: Mapping[str, tuple[str, ...]]
    node: str

    def policy(self, municipality: str) -> Policy:
        """A municipality's policy: its own, or the defaults."""
        return self.policies.get(municipality) or Policy(code=municipality)

    def feedback_policy(self, municipality: str) -> FeedbackPolicy:
        """What a municipality lets creditors know."""
        return self.policy(municipality).feedback

    def term_months(self, municipality: str) -> int:
        """Calendar months that a municipality's signals are held: the gateway's term or its own shorter one."""
        return min(self.terms.signals_months, self.policy(municipality).signals_months)
