"""A publication in the making: which meldingen go where, and with what (spec 3, Publication)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from gateway.clock import local_day
from gateway.domain.melding import MeldingContent
from gateway.domain.policy import Policy
from gateway.pipeline.context import Context
from gateway.pipeline.lines import Line
from gateway.pipeline.sealing import Opened
from gateway.store.meldingen import Melding


class Due(NamedTuple):
    """A melding to publish, what it is now (None: it lapses), where, and who holds it and must let go."""

    melding: Melding
    content: MeldingContent | None
    partner_id: str
    former: str | None

    @property
    def lines(self) -> Iterator[tuple[str, Line]]:
        """Each partner that is told of it with what it is told: every line has a version of its own."""
        if self.former is not None:
            yield self.former, Line(self.melding, self.version - 1, None)
        yield self.partner_id, Line(self.melding, self.version, self.content)

    @property
    def version(self) -> int:
        """Its version from now on."""
        return self.melding.version + (1 if self.former is None else 2)


@dataclass(slots=True, kw_only=True)
class Draft:
    """A publication in the making."""

    context: Context
    #: of the municipality
    code: str
    #: who takes what no route takes
    server: str
    now: datetime
    actor: str
    origin: str
    #: month -> the policy that its meldingen are made under
    policies: dict[str, Policy] = field(default_factory=dict)
    due: dict[str, Due] = field(default_factory=dict)
    #: meldingen that were looked at in vain
    settled: list[str] = field(default_factory=list)
    #: every signal of `due`, opened
    opened: Opened = field(default_factory=lambda: Opened({}, {}))
    #: melding id -> its contracts that were reported before, in the look-back months, if any were
    reported: dict[str, frozenset[Hashable]] = field(default_factory=dict)

    #: the day of it in the Netherlands
    today: date = field(init=False)

    def __post_init__(self) -> None:
        self.today = local_day(self.now)

    @property
    def contents(self) -> dict[str, dict[str, MeldingContent]]:
        """What goes out, by month and melding id; what lapses has none."""
        found: dict[str, dict[str, MeldingContent]] = defaultdict(dict)
        for melding_id, due in self.due.items():
            month = found[due.melding.month]
            if due.content:
                month[melding_id] = due.content
        return found

    @property
    def refs(self) -> list[int]:
        """Every signal that goes out."""
        return [ref for due in self.due.values() if due.content for ref in due.content.refs]

    @property
    def lines(self) -> dict[str, list[Line]]:
        """What each partner is told."""
        found: dict[str, list[Line]] = defaultdict(list)
        for due in self.due.values():
            for partner_id, line in due.lines:
                found[partner_id].append(line)
        return found
