"""Conservation: whether everything that came in is still accounted for (spec 1, Conservation).

Figures in, differences out. A difference names what it is about, and says what to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.delivery import DeliveryState

#: Ids that a difference names at most.
MOST_IDS = 20

#: Their rows are counted, also when only the tombstone is left.
_COUNTED = (DeliveryState.PROCESSED, DeliveryState.PURGING, DeliveryState.PURGED)
#: Their sender has a receipt, until it is purged.
_ANSWERED = (DeliveryState.PROCESSED, DeliveryState.REJECTED)
#: A receipt has two forms.
_RECEIPTS = 2

_RESTORE = (
    "Restore the database of the last night beside this one and compare what is named; then publish again."
)
_LOOK = "Look at it with: gateway deliveries show ID; what happened to it stands in: gateway audit show"
_TAMPERED = "Rows were changed by something else than the gateway: gateway audit verify, then restore."


class Check(StrEnum):
    """What is recomputed; the values name a check to programs."""

    ROWS = "rows"
    VERSIONS = "versions"
    SIGNALS = "signals"
    STATES = "states"
    OWNERS = "owners"
    IN_FORCE = "in_force"
    UNIQUE = "unique"
    MELDING = "melding"
    WAITING = "waiting"
    PUBLISHED = "published"
    FIGURES = "figures"
    VERSION = "version"
    TRACED = "traced"
    BLOBS = "blobs"
    ORPHANS = "orphans"
    KEYS = "keys"
    CONTENTS = "contents"
    RECEIPTS = "receipts"
    ARRIVALS = "arrivals"
    NUMBERS = "numbers"


#: What a check claims, and what to do when it does not hold.
CLAIMS: Mapping[Check, tuple[str, str]] = {
    Check.ROWS: (
        "rows of a file = new + changed + withdrawn + feedback + requests + listed + ended + rejected + duplicates; "
        "none of a refused one",
        _LOOK,
    ),
    Check.VERSIONS: (
        "each new or changed row of a file, each signal it answers and resident it lists, is held, or was purged",
        _LOOK,
    ),
    Check.SIGNALS: ("each signal of a creditor is in one state, or was purged", _RESTORE),
    Check.STATES: ("every signal is in a state that there is", _TAMPERED),
    Check.OWNERS: ("every signal, answer and listed resident came in a delivery that was processed", _LOOK),
    Check.IN_FORCE: ("of every signal one version is in force", _RESTORE),
    Check.UNIQUE: ("a signaal_id is in force once", _RESTORE),
    Check.MELDING: (
        "a waiting or passed-on signal is in one melding, of its municipality, month and key",
        _RESTORE,
    ),
    Check.WAITING: (
        "a waiting signal is in a melding that will be looked at",
        "Publish it: gateway publish --all",
    ),
    Check.PUBLISHED: ("a melding that is not waiting was published with exactly its signals", _RESTORE),
    Check.FIGURES: ("what was published of a melding counts what its signals say", _RESTORE),
    Check.VERSION: ("a melding's version, class and fingerprint are those of what was published", _RESTORE),
    Check.TRACED: ("a delivery with passed-on signals is in an outgoing file on record", _LOOK),
    Check.BLOBS: (
        "the sealed bytes of every file that is held are there, whole",
        "Bring the file back from a backup of data/vault: its name is that of the blob.",
    ),
    Check.ORPHANS: ("no sealed bytes without a row", "They are swept when the gateway starts: gateway serve"),
    Check.KEYS: (
        "every file that is held has its wrapped key, and that its key in the keyring",
        "Without its key it can't be read by anyone: ask its sender for it again. See: gateway status",
    ),
    Check.CONTENTS: (
        "every signal in a melding and every listed resident has its sealed contents and their key",
        _RESTORE,
    ),
    Check.RECEIPTS: ("whoever sent a file that was processed or refused has a receipt", _LOOK),
    Check.ARRIVALS: ("every number of arrival belongs to one delivery", _RESTORE),
    Check.NUMBERS: ("every number of an outgoing file was given to a file", _RESTORE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFigures:
    """A delivery in figures.

    `feedback` are its rows of feedback, `requests` those of requests, `answers` the signals they answer, each row by row. `listed` are its rows that
    list a resident, `ended` those that end an exclusion. `held` are its answers, its listed residents and
    its rows that are or were in force, `staged` rows that nobody sees yet, `receipts` the forms of
    its receipt that are on record.
    """

    id: str
    partner_id: str
    state: str
    rows: int = 0
    new: int = 0
    changed: int = 0
    withdrawn: int = 0
    rejected: int = 0
    duplicate: int = 0
    feedback: int = 0
    answers: int = 0
    listed: int = 0
    ended: int = 0
    requests: int = 0
    purged_rows: int = 0
    purged_signals: int = 0
    held: int = 0
    receipts: int = 0
    arrival: int | None = None

    @property
    def sum(self) -> int:
        """Its rows by what became of them."""
        others = self.listed + self.ended + self.requests
        return (
            self.new + self.changed + self.withdrawn + self.feedback + others + self.rejected + self.duplicate
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What does not hold of a check: how often, and the first of it."""

    check: Check
    count: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What tombstones that went after their term add up to.

    `arrivals` is how many had a number of arrival, `last_arrival` the highest of those. `new` and `purged` are signals
    by creditor, `numbered` files by the name of their numbers.
    """

    arrivals: int = 0
    last_arrival: int = 0
    new: Mapping[str, int] = field(default_factory=dict)
    purged: Mapping[str, int] = field(default_factory=dict)
    numbered: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What there is: deliveries, signals in force by creditor and state, the numbers given out, what was found.

    `arrivals` is the last number of arrival; `numbers` name -> last number, and `numbered` name -> files.
    `forgotten` are the deliveries and files of which not even a tombstone is left.
    """

    deliveries: Sequence[DeliveryFigures]
    in_force: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    states: frozenset[str] = frozenset()
    arrivals: int = 0
    numbers: Mapping[str, int] = field(default_factory=dict)
    numbered: Mapping[str, int] = field(default_factory=dict)
    forgotten: Forgotten = Forgotten()
    found: Sequence[Found] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that does not add up. `ids` are at most `MOST_IDS` of `count`."""

    check: Check
    count: int
    ids: tuple[str, ...]

    @property
    def claim(self) -> str:
        """What should hold."""
        return CLAIMS[self.check][0]

    @property
    def remedy(self) -> str:
        """What to do."""
        return CLAIMS[self.check][1]


def differences(figures: Figures) -> list[Difference]:
    """Everything that does not add up, in the order of `Check`; empty when nothing was lost or counted twice."""
    wrong: dict[Check, list[str]] = defaultdict(list)
    for check, subject in (
        *_of_deliveries(figures.deliveries),
        *_of_partners(figures),
        *_of_numbers(figures),
    ):
        wrong[check].append(subject)
    counted = [Found(check=check, count=len(ids), ids=tuple(ids)) for check, ids in wrong.items()]
    order = list(Check)
    return [
        Difference(check=each.check, count=each.count, ids=each.ids[:MOST_IDS])
        for each in sorted((*counted, *figures.found), key=lambda each: order.index(each.check))
        if each.count
    ]


def _of_deliveries(deliveries: Iterable[DeliveryFigures]) -> Iterator[tuple[Check, str]]:
    for each in deliveries:
        if each.rows != each.sum or (each.state not in _COUNTED and each.sum):
            yield Check.ROWS, f"{each.id}: {each.rows} rows, {each.sum} accounted for"
        accepted, there = each.new + each.changed + each.answers + each.listed, each.held + each.purged_rows
        if each.state in _COUNTED and accepted != there:
            yield (
                Check.VERSIONS,
                f"{each.id}: {accepted} accepted, {each.held} held and {each.purged_rows} purged",
            )
        if each.state in _ANSWERED and each.receipts != _RECEIPTS:
            yield Check.RECEIPTS, each.id


def _of_partners(figures: Figures) -> Iterator[tuple[Check, str]]:
    new: dict[str, int] = defaultdict(int, figures.forgotten.new)
    purged: dict[str, int] = defaultdict(int, figures.forgotten.purged)
    for each in figures.deliveries:
        new[each.partner_id] += each.new
        purged[each.partner_id] += each.purged_signals
    for partner in sorted(new.keys() | figures.in_force.keys()):
        states = figures.in_force.get(partner, {})
        held = sum(states.values())
        if new[partner] != held + purged[partner]:
            yield (
                Check.SIGNALS,
                f"{partner}: {new[partner]} signals, {held} held and {purged[partner]} purged",
            )
        yield from (
            (Check.STATES, f"{partner}: {count} in state {state!r}")
            for state, count in states.items()
            if state not in figures.states
        )


def _of_numbers(figures: Figures) -> Iterator[tuple[Check, str]]:
    arrived = {each.arrival for each in figures.deliveries if each.arrival is not None}
    forgotten = figures.forgotten
    # a tombstone keeps its number; of those that went it is known how many, and the highest
    amiss = sorted(set(range(1, figures.arrivals + 1)) ^ arrived)
    early = [number for number in amiss if number <= forgotten.last_arrival]
    yield from ((Check.ARRIVALS, f"arrival {number}") for number in amiss[len(early) :])
    if len(early) != forgotten.arrivals:
        yield (
            Check.ARRIVALS,
            f"arrivals up to {forgotten.last_arrival}: {len(early)} are not there, {forgotten.arrivals} were let go",
        )
    for name in sorted(figures.numbers.keys() | figures.numbered.keys()):
        last, files = figures.numbers.get(name, 0), figures.numbered.get(name, 0)
        files += forgotten.numbered.get(name, 0)
        if last != files:
            yield Check.NUMBERS, f"{name}: {last} numbers, {files} files"
