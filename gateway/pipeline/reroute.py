"""Signals that found no municipality (D40), looked at again with the table and the municipalities of now (spec 3).

What is found is as if it had been known when the signal came. A signal for a municipality that is served becomes
active there: sealed under that municipality's key of its due day, in its melding, with D10 at the publication that
follows; or excluded (D30), by whom the municipality lists now. One for a municipality that nobody serves becomes D41: its contents and its amount go at once. The others
stay as they are, until their contents go on their day.

Only now a signal's contract is known, so only now it is seen who superseded whom (D51), by the order of receipt as
ever: an N ends what was received before it, and is ended by an N that was received after it, whatever became of that
one since. A version that a W made ends nothing, also here, and of a signal that was changed since nobody knows what
it was when it came: both stay. So does what an N would have ended that was withdrawn while it had no municipality.

What a row stated as `gemeentecode` is not kept: a postcode in two municipalities needs the finer table.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

from gateway import logs
from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.codes import StatusCode
from gateway.domain.delivery import DeliveryState
from gateway.domain.signal import Signal, SignalState
from gateway.errors import KeyMissing, VaultError
from gateway.files.status import StatusRow
from gateway.matching import changes
from gateway.pipeline.context import Context
from gateway.pipeline.exclusions import excluded_residents, judged
from gateway.pipeline.keying import Keyed, Keying
from gateway.pipeline.locate import Located, locate
from gateway.pipeline.outgoing import store_files
from gateway.pipeline.rows import claim_of
from gateway.pipeline.sealing import Opener
from gateway.pipeline.staging import Placed, Staging, signal_of
from gateway.pipeline.statuses import status_of_delivery, use_status_number
from gateway.pipeline.tally import Tally
from gateway.pipeline.touching import mark_urgent
from gateway.store import Connection, data_keys, queue, signals
from gateway.store.places import chunks
from gateway.store.queue import Decidable
from gateway.store.signals import NotRoutable, Version

_log = logs.get("reroute")

#: What a creditor is told of a signal that does not become active.
_TOLD = {
    SignalState.EXCLUDED: StatusCode.NOT_PASSED_ON,
    SignalState.NOT_CONNECTED: StatusCode.NOT_CONNECTED,
    SignalState.SUPERSEDED: StatusCode.SUPERSEDED,
}

#: Signals of one delivery that are moved in one transaction, of a few dozen milliseconds.
_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerouted:
    """Signals by municipality, served or not; `left` still have none.

    Contents that can't be opened are `unreadable`; of `gone` nothing is held that could be looked at.
    """

    routed: Mapping[str, int]
    not_connected: Mapping[str, int]
    left: int
    unreadable: int
    gone: int


class _Found(NamedTuple):
    """A signal that waits, and where it belongs now."""

    version: Version
    row: Signal
    located: Located


def preview(context: Context) -> Rerouted:
    """What `reroute` would come to now; changes nothing."""
    today = local_day(context.clock.now())
    located: list[Located] = []
    with context.store.read() as conn:
        waiting = signals.not_routable_count(conn, today)
        for _, ids in _batches(conn, today):
            located += (each.located for each in _read(context, conn, ids))
    return _summed(waiting, located)


def reroute(context: Context, *, actor: str) -> Rerouted:
    """Look again at every D40 signal whose contents are held, a batch in a transaction.

    Intake, publication and purge wait meanwhile, so that a melding gets all its signals at once. After a kill the
    next run goes on with what was not reached.
    """
    today = local_day(context.clock.now())
    located: list[Located] = []
    with context.store.exclusive():
        with context.store.read() as conn:
            waiting = signals.not_routable_count(conn, today)
            batches = list(_batches(conn, today))
        for delivery, ids in batches:
            located += _move(context, delivery, ids, actor)
    found = _summed(waiting, located)
    _log.info("signals.rerouted", rows=waiting.held, count=sum(found.routed.values()))
    return found


def _batches(conn: Connection, today: date) -> Iterator[tuple[Decidable, list[int]]]:
    for delivery_id, ids in signals.not_routable(conn, today).items():
        delivery = queue.get_in(conn, delivery_id, DeliveryState.PROCESSED)
        if delivery is not None:
            yield from ((delivery, batch) for batch in chunks(ids, _BATCH))


def _read(context: Context, conn: Connection, ids: Sequence[int]) -> list[_Found]:
    """Signals of one delivery with their municipality of now; those that can't be opened are left out."""
    opener = Opener(context, conn)
    rows: dict[int, Signal] = {}
    for stored in signals.sealed(conn, ids):
        try:
            rows[stored.id] = signal_of(stored, opener.open(stored))
        except (KeyMissing, VaultError) as damage:  # it waits for its day, and stops none of the others
            _log.error("signal.damaged", delivery_id=stored.delivery_id, error=type(damage).__name__)
    located = locate(context, list(rows.values()))
    return [
        _Found(version, rows[version.id], located[rows[version.id].line])
        for version in signals.by_id(conn, rows)
    ]


def _summed(waiting: NotRoutable, located: Sequence[Located]) -> Rerouted:
    states = {state: [each.municipality for each in located if each.state is state] for state in SignalState}
    return Rerouted(
        routed=Counter(each.municipality for each in located if each.is_routed),
        not_connected=Counter(states[SignalState.NOT_CONNECTED]),
        left=len(states[SignalState.NOT_ROUTABLE]),
        unreadable=waiting.held - len(located),
        gone=waiting.gone,
    )


def _move(context: Context, delivery: Decidable, ids: Sequence[int], actor: str) -> list[Located]:
    """One batch of a delivery: decide, then one transaction; where each signal belongs."""
    batch = _Batch(context, delivery)
    with context.store.read() as conn:
        found = _read(context, conn, ids)
        moving = [each for each in found if each.located.state is not SignalState.NOT_ROUTABLE]
        if moving:
            batch.place(conn, moving)
    if moving:
        batch.commit(sum(each.located.is_routed for each in moving), len(moving), actor)
    return [each.located for each in found]


class _Batch:
    """What moves with one transaction."""

    def __init__(self, context: Context, delivery: Decidable) -> None:
        self._context, self._delivery = context, delivery
        self._today = local_day(context.clock.now())
        received_on = local_day(delivery.received_at)
        self._keying = Keying(
            context.indexer, delivery.partner_id, received_on, self._today, context.predecessors
        )
        self._staging = Staging(context, delivery, self._keying)
        self._tally = Tally(due_on=self._staging.due_on(""))

    def place(self, conn: Connection, moving: Sequence[_Found]) -> None:
        """Decide on each; the newest first, so that an older one is told of with its municipality."""
        self._staging.load_keys(conn)
        keyed = self._keying.places(
            conn,
            [each.row for each in moving],
            {each.row.line: each.located for each in moving},
            {each.row.line: each.version.place_s1 for each in moving},
        )
        contracts = _Contracts(
            conn, {each.k1 for each in keyed.values()}, [each.version.id for each in moving], self._today
        )
        codes = {each.located.municipality for each in moving if each.located.is_routed}
        excluded = excluded_residents(self._context, conn, codes, self._today)
        for each in sorted(moving, key=lambda each: _order(each.version), reverse=True):
            located = judged(
                each.located, each.row, each.version.signalled_on, excluded.get(each.located.municipality)
            )
            self._place(conn, each._replace(located=located), keyed[each.row.line], contracts)

    def _place(self, conn: Connection, found: _Found, keyed: Keyed, contracts: _Contracts) -> None:
        """Put a signal where it belongs, and tell what became of it at once; D10 comes with its publication."""
        before, row, located = found
        after = replace(
            before,
            municipality=located.municipality,
            state=located.state,
            place_k1=keyed.k1,
            place_a1=keyed.a1,
            place_a2=keyed.a2,
            place_person=keyed.person,
            due_on=self._staging.due_on(located.municipality),
        )
        if located.is_routed or located.state is SignalState.EXCLUDED:
            contracts.add(after)
            for older in contracts.ended_by(after):
                older.state = SignalState.SUPERSEDED
                self._tally.superseded_ids.append(older.id)
                self._staging.touch(older, contracts.of(older))
            if contracts.is_ended(after):
                after.state = SignalState.SUPERSEDED
            elif located.is_routed:
                after.melding_id = self._staging.melding_of(conn, located.municipality, after.month, keyed)
                self._staging.touch(after, contracts.of(after))
        self._staging.move(Placed(row, row.signal_id or "", located, keyed), after)
        self._tell(after, row)

    def _tell(self, version: Version, row: Signal) -> None:
        code = _TOLD.get(SignalState(version.state))
        if code is None:
            return
        self._tally.note_due(version.due_on)
        self._tally.statuses.append(
            StatusRow(
                signal_id=row.signal_id or "",
                customer_number=row.customer_number,
                code=code,
                municipality=version.municipality,
                on=self._today,
            )
        )

    def commit(self, routed: int, moved: int, actor: str) -> None:
        """One transaction makes all of it true."""
        context, delivery = self._context, self._delivery
        files = status_of_delivery(context, delivery, self._tally)
        now = context.clock.now()
        with context.store.write() as conn:
            self._staging.store_in(conn)
            signals.supersede(conn, self._tally.superseded_ids)
            data_keys.drop_unused(conn, delivery.id)
            mark_urgent(self._context, conn)
            if files:
                use_status_number(conn, delivery.partner_id)
                store_files(context, conn, files, now)
            record(
                conn,
                action="signals.rerouted",
                object_id=delivery.id,
                origin="cli",
                actor=actor,
                at=now,
                node=context.node,
                detail={"routed": routed, "not_connected": moved - routed},
            )


class _Contracts:
    """The signals in force of each contract, and which of them are as they came."""

    def __init__(self, conn: Connection, places: Iterable[int], moving: Sequence[int], today: date) -> None:
        self._by_place: dict[int, list[Version]] = defaultdict(list)
        for version in signals.in_force(conn, "place_k1", set(places), today):
            self._by_place[version.place_k1].append(version)
        ids = (each.id for versions in self._by_place.values() for each in versions)
        self._first = signals.first_versions(conn, [*ids, *moving])

    def add(self, version: Version) -> None:
        """A signal whose contract is known from now on."""
        self._by_place[version.place_k1].append(version)

    def of(self, version: Version) -> list[Version]:
        """All of a signal's contract."""
        return self._by_place[version.place_k1]

    def ended_by(self, version: Version) -> list[Version]:
        """What was received before this signal and is the same debt, and still there."""
        if version.id not in self._first:
            return []
        return [
            each
            for each in self.of(version)
            if _order(each) < _order(version) and each.state not in changes.ENDED and _is_same(version, each)
        ]

    def is_ended(self, version: Version) -> bool:
        """Whether the same debt came again after this signal."""
        return any(
            _order(each) > _order(version) and each.id in self._first and _is_same(each, version)
            for each in self.of(version)
        )


def _order(version: Version) -> tuple[int, int]:
    return version.first_arrival, version.first_line


def _is_same(newer: Version, older: Version) -> bool:
    return bool(changes.superseded(claim_of(newer), (claim_of(older),)))
