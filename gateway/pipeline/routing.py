"""Where meldingen go: what routes ask of them, looked up; `matching/route.py` decides (spec 3, Policy)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.clock import local_day
from gateway.domain.melding import MeldingContent
from gateway.domain.policy import Policy
from gateway.matching import normalise
from gateway.matching.exclusion import gather, is_excluded
from gateway.matching.route import Facts, asks_who, choose
from gateway.pipeline.context import Context
from gateway.pipeline.exclusions import known_residents, levels_of
from gateway.pipeline.sealing import Opened, open_signals
from gateway.store import Connection


class Router:
    """Says to which partner a municipality's meldingen go; opens their signals only where a route asks for it.

    Args:
        context: the gateway.
        conn: reads what is opened.
        policy: of the municipality.
        server: the partner that serves it.
    """

    def __init__(self, context: Context, conn: Connection, policy: Policy, server: str) -> None:
        self._context, self._conn, self._policy, self._server = context, conn, policy, server
        self._opened = Opened({}, {})
        self._known = gather(())

    def load(self, contents: Iterable[MeldingContent]) -> None:
        """Make ready what is asked of these meldingen."""
        if asks_who(self._policy.routes):
            refs = [ref for content in contents for ref in content.refs]
            self._opened = open_signals(self._context, self._conn, refs)
        if any(route.known is not None for route in self._policy.routes):
            today = local_day(self._context.clock.now())
            self._known = known_residents(self._context, self._conn, self._policy.code, today)

    def partner_of(self, content: MeldingContent) -> str:
        """The partner that a melding goes to; the one that serves where its route's is no partner any more."""
        if not self._policy.routes:
            return self._server
        chosen = choose(self._policy.routes, self._facts(content), self._server)
        return chosen if chosen in self._context.partners else self._server

    def _facts(self, content: MeldingContent) -> Facts:
        opened = [self._opened.fields[ref] for ref in content.refs if ref in self._opened.fields]
        return Facts(
            klasse=content.klasse,
            total_cents=content.total_cents,
            sectors=content.sectors,
            postcodes={normalise.postcode(each["postcode"]) for each in opened},
            is_known=not self._known.is_empty and any(map(self._knows, opened)),
        )

    def _knows(self, contents: dict[str, Any]) -> bool:
        """Whether the resident of a signal is known today."""
        today = local_day(self._context.clock.now())
        # who is in a crisis is known all the same
        return is_excluded(self._known, levels_of(contents), signalled_on=today, is_crisis=False)
