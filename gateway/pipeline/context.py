"""What every step of the pipeline works with; built once by the daemon or a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.clock import Clock, local_day
from gateway.domain.approval import Approver
from gateway.domain.feedback import FeedbackPolicy
from gateway.domain.partner import Partner
from gateway.domain.policy import Policy
from gateway.domain.retention import Terms
from gateway.files.table import Limits
from gateway.matching.municipality import Successor, follow, predecessors
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
    #: municipality code -> the partner that serves it; of several, the one that takes what no other route takes
    served_by: Mapping[str, str]
    #: code of a municipality that merged -> the one that took over
    successors: Mapping[str, Successor] = field(default_factory=dict)
    #: sector beyond those of the Wgs -> the municipalities that its legal basis names
    further_sectors: Mapping[str, frozenset[str]] = field(default_factory=dict)
    terms: Terms
    limits: Limits
    #: the loaded table of Statistics Netherlands (CBS); may not exist
    reference: Path
    #: first four digits of a postcode -> municipality codes
    pc4: Mapping[str, tuple[str, ...]]
    node: str
    #: who may approve what takes two people
    approvers: tuple[Approver, ...] = ()
    #: socket of the virus scanner (clamd), where there is one
    scanner: Path | None = None
    #: puts the list of early removals in `log/`: after the commit, by the holder of `Store.exclusive()`
    write_removals: Callable[[], None] = lambda: None

    def policy(self, municipality: str) -> Policy:
        """A municipality's policy: its own, or the defaults."""
        return self.policies.get(municipality) or Policy(code=municipality)

    def predecessors(self, municipality: str) -> tuple[str, ...]:
        """The municipalities that are part of this one by now: its look-back follows them (spec 3)."""
        return predecessors(municipality, local_day(self.clock.now()), self.successors)

    def server_of(self, municipality: str) -> str | None:
        """The partner that serves a municipality; where one merged and has none any more, its successor's."""
        today = local_day(self.clock.now())
        return self.served_by.get(municipality) or self.served_by.get(
            follow(municipality, today, self.successors)
        )

    def recipients(self, municipality: str) -> frozenset[str]:
        """The partners that a municipality's meldingen may go to: who serves it, and those of its routes."""
        found = {partner.id for partner in self.partners.values() if municipality in partner.serves}
        found |= {route.to for route in self.policy(municipality).routes}
        if server := self.server_of(municipality):
            found.add(server)
        return frozenset(found)

    def feedback_policy(self, municipality: str) -> FeedbackPolicy:
        """What a municipality lets creditors know."""
        return self.policy(municipality).feedback

    def term_months(self, municipality: str) -> int:
        """Calendar months that a municipality's signals are held: the gateway's term or its own shorter one."""
        return min(self.terms.signals_months, self.policy(municipality).signals_months)
